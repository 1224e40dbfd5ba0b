//! A bare WebSocket to the Socket.IO door: text frames as they are.
//!
//! Guarantees: sends exactly what it is told, answers nothing by itself but WebSocket pings, and reads
//! only when asked. `next_text` may be cancelled without losing a frame.
//! It is not a client: it does not even answer the server's heartbeat.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::{ConnectError, Endpoint};

/// The most bytes of one frame that are accepted: a channel's snapshot is the largest thing that comes.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// A WebSocket connection.
#[derive(Debug)]
pub struct Raw {
    stream: WebSocketStream<TcpStream>,
}

impl Raw {
    /// Connects to the Engine.IO door and says nothing.
    ///
    /// # Errors
    /// `Unreachable`, or `Status` when the server refuses the upgrade.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        Self::connect_to(endpoint, "/socket.io/?EIO=4&transport=websocket").await
    }

    /// Upgrades a polling session: the caller sends the probe.
    ///
    /// # Errors
    /// As [`Raw::connect`].
    pub async fn upgrade(endpoint: &Endpoint, sid: &str) -> Result<Self, ConnectError> {
        Self::connect_to(endpoint, &format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")).await
    }

    /// Opens a WebSocket at any path.
    ///
    /// # Errors
    /// As [`Raw::connect`].
    pub async fn connect_to(endpoint: &Endpoint, path_and_query: &str) -> Result<Self, ConnectError> {
        let tcp = endpoint.connect().await.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let url = format!("ws://{}{path_and_query}", endpoint.authority());
        match client_async_with_config(url, tcp, Some(config)).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(response)) => Err(ConnectError::Status(response.status().as_u16())),
            Err(error) => Err(ConnectError::Unreachable(error.to_string())),
        }
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.stream.send(Message::text(text.into())).await
    }

    /// Puts a text frame into the outgoing buffer; [`Raw::flush`] sends it. Once this returned, the
    /// frame will go out whole, whatever is cancelled later.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.stream.feed(Message::text(text.into())).await
    }

    /// Sends what waits in the outgoing buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush().await
    }

    /// Sends any WebSocket message, such as a binary one.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await
    }

    /// The next text frame; none once the connection ended, however it did. Other frames are passed over.
    pub async fn next_text(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            }
        }
    }

    /// How the server closes it: the code of its close frame and the words in it. None if it ends without one.
    /// Other frames are passed over.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Close(frame)) => {
                    return frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Closes the WebSocket in order. Dropping it cuts the connection instead.
    ///
    /// # Errors
    /// When it is gone already.
    pub async fn close(mut self) -> Result<(), Error> {
        self.stream.close(None).await
    }
}
