//! What a client still sends of a request that is answered already, because it was refused before its body was read.
//!
//! Guarantees: a client that sends its whole request before it reads gets the answer, and its connection can be used
//! again; what it still sends is read and thrown away, up to a bound of bytes and time. Beyond the bound it is told
//! with the answer that the connection closes.
//! It holds nothing: not one byte of what it reads is kept.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
};
use tokio::sync::oneshot;

/// So many bytes are read and thrown away for an answer.
const MOST: usize = 8 * 1024 * 1024;
/// So long is waited for them.
const PATIENCE: Duration = Duration::from_secs(2);

/// The body of a request. What is not read of it when it is dropped is handed back.
#[derive(Debug)]
pub(super) struct Watched {
    body: Option<Incoming>,
    unread: Option<oneshot::Sender<Incoming>>,
}

/// Where the body of a request is handed back, if not all of it was read.
pub(super) type Unread = oneshot::Receiver<Incoming>;

/// Watches a body.
pub(super) fn watch(body: Incoming) -> (Watched, Unread) {
    let (unread, handed_back) = oneshot::channel();
    (Watched { body: Some(body), unread: Some(unread) }, handed_back)
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), self.unread.take())
            && !body.is_end_stream()
        {
            // Whoever would read it may be gone with the connection.
            drop(unread.send(body));
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Reads what is left of a request that is answered. A body that is still being read is not touched.
pub(super) async fn discard<B>(mut unread: Unread, answer: &mut Response<B>) {
    let Ok(body) = unread.try_recv() else { return };
    if !tokio::time::timeout(PATIENCE, is_read(body)).await.unwrap_or(false) {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
