//! The bodies of requests: their deadline, and what a client still sends of a request that is answered already, because
//! it was refused before its body was read.
//!
//! Guarantees: a body that does not arrive in its time fails, whatever reads it, and its connection ends with the answer;
//! a client that sends its whole request before it reads gets the answer, and its connection can be used
//! again; what it still sends is read and thrown away, up to a bound of bytes and time. Beyond the bound it is told
//! with the answer that the connection closes.
//! It holds nothing: not one byte of what it reads is kept.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
};
use tidings_transports::{
    body::TooSlow,
    patience::{Patience, Wait},
};
use tokio::sync::oneshot;

/// So many bytes are read and thrown away for an answer.
const MOST: usize = 8 * 1024 * 1024;
/// So long is waited for them.
const PATIENCE: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, which has to arrive in its time. What is not read of it when it is dropped is handed back.
#[derive(Debug)]
pub(super) struct Watched {
    body: Option<Incoming>,
    arrival: Wait,
    unread: Option<oneshot::Sender<Left>>,
}

/// What is left of a body that was not read to its end.
#[derive(Debug)]
enum Left {
    /// This is still to come.
    Rest(Incoming),
    /// It did not arrive in its time.
    TooSlow,
}

/// Where the body of a request is handed back, if not all of it was read.
pub(super) struct Unread(oneshot::Receiver<Left>);

/// Watches a body of a client that has so much patience to send it.
pub(super) fn watch(body: Incoming, patience: Patience) -> (Watched, Unread) {
    let (unread, handed_back) = oneshot::channel();
    (Watched { body: Some(body), arrival: Wait::new(patience), unread: Some(unread) }, Unread(handed_back))
}

impl Watched {
    fn hand_back(&mut self, left: Left) {
        if let Some(unread) = self.unread.take() {
            // Whoever would take it may be gone with the connection.
            drop(unread.send(left));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
        {
            self.hand_back(Left::Rest(body));
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                self.arrival.passed(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.arrival.poll(context));
        metrics::counter!("tidings_bodies_timed_out_total").increment(1);
        self.body = None;
        self.hand_back(Left::TooSlow);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Unread {
    /// Reads what is left of a request that is answered, unless its client `asks` first whether its body is wanted: it
    /// does not send it after a refusal. A body that is still being read is not touched.
    pub(super) async fn discard<B>(mut self, asks: bool, answer: &mut Response<B>) {
        let is_read = match self.0.try_recv() {
            Ok(Left::Rest(body)) => asks || tokio::time::timeout(PATIENCE, is_read(body)).await.unwrap_or(false),
            Ok(Left::TooSlow) => false,
            Err(_) => true,
        };
        if !is_read {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads a body. Whether it has ended within the bound.
async fn is_read(mut body: Incoming) -> bool {
    let mut left = MOST;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(bytes) else { return false };
        left = rest;
    }
    true
}
