//! A bare Engine.IO polling session: requests as they are.
//!
//! Guarantees: sends exactly what it is told and polls only when asked.
//! It is not a client: it answers no heartbeat and keeps no order between its requests.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use crate::{
    ConnectError, Endpoint,
    http::{RequestFailed, Response, request},
};

/// What separates packets in one polling payload.
const SEPARATOR: char = '\u{1e}';

#[derive(Deserialize)]
struct Open {
    sid: String,
}

/// A polling session.
#[derive(Debug, Clone)]
pub struct Polling {
    base: String,
    sid: String,
}

impl Polling {
    /// Opens a session with its first request.
    ///
    /// # Errors
    /// `Unreachable`, `Status` when the server refuses, `Protocol` when its answer opens nothing.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let base = endpoint.to_string();
        let response = request(Method::GET, &base, "/socket.io/?EIO=4&transport=polling", None, None)
            .await
            .map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        if response.status != 200 {
            return Err(ConnectError::Status(response.status));
        }
        let text = response.text();
        let open = text.strip_prefix('0').and_then(|json| serde_json::from_str::<Open>(json).ok());
        Ok(Self { base, sid: open.ok_or(ConnectError::Protocol)?.sid })
    }

    /// The session's id.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    /// One poll: the packets of the answer.
    ///
    /// # Errors
    /// When there is no answer; `Broken` with the status when it is not 200.
    pub async fn poll(&self) -> Result<Vec<String>, RequestFailed> {
        let response = request(Method::GET, &self.base, &self.path(), None, None).await?;
        if response.status != 200 {
            return Err(RequestFailed::Broken(format!("HTTP status {}", response.status)));
        }
        Ok(response.text().split(SEPARATOR).map(str::to_owned).collect())
    }

    /// Sends packets in one request.
    ///
    /// # Errors
    /// When there is no answer; any status is one.
    pub async fn send(&self, packets: &[&str]) -> Result<Response, RequestFailed> {
        let body = packets.join(&SEPARATOR.to_string());
        self.send_body(Bytes::from(body)).await
    }

    /// Sends any body.
    ///
    /// # Errors
    /// When there is no answer; any status is one.
    pub async fn send_body(&self, body: Bytes) -> Result<Response, RequestFailed> {
        let content = Some(("text/plain;charset=UTF-8", body));
        request(Method::POST, &self.base, &self.path(), None, content).await
    }
}
