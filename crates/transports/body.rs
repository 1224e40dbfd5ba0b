//! The bodies of requests, for every transport: how long they say they are, and reading them whole.
//!
//! Guarantees: a body is read into room of its own that grows with what has come, so that many small pieces take no
//! more than their bytes; no more than the limit is read; why one could not be read is known.
//! It is not the deadline of a body: whoever serves the routers gives each request a body that fails with [`TooSlow`].

use std::error::Error;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;

/// The failure of a body that does not arrive in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body took too long to arrive")]
pub struct TooSlow;

impl TooSlow {
    /// Whether it is what an error came of.
    fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
        error.is::<Self>() || error.source().is_some_and(Self::is_cause_of)
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive in its time.
    TooSlow,
    /// It broke off.
    Broken,
}

/// How many bytes a body is said to have, if that is said.
pub(crate) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// Why it could not be read.
pub(crate) async fn read(mut body: Body, most: usize) -> Result<Bytes, Unread> {
    // Not the pieces as they come: each may be a byte of a buffer of its own that it keeps.
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| if TooSlow::is_cause_of(&error) { Unread::TooSlow } else { Unread::Broken })?;
        let Some(piece) = frame.data_ref() else { continue };
        if piece.len() > most - whole.len() {
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(piece);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    type Piece = Result<&'static str, Box<dyn Error + Send + Sync>>;

    async fn told(pieces: Vec<Piece>, most: usize) -> Result<Bytes, Unread> {
        read(Body::from_stream(futures_util::stream::iter(pieces)), most).await
    }

    #[tokio::test]
    async fn a_body_is_read_whole_or_it_is_known_why_not() {
        assert_eq!(told(vec![Ok("ab"), Ok(""), Ok("c")], 3).await, Ok(Bytes::from("abc")));
        assert_eq!(told(vec![Ok("ab"), Ok("cd")], 3).await, Err(Unread::TooLarge));
        assert_eq!(told(vec![Ok("ab"), Err(TooSlow.into())], 3).await, Err(Unread::TooSlow));
        assert_eq!(told(vec![Ok("ab"), Err("gone".into())], 3).await, Err(Unread::Broken));
        assert_eq!(told(vec![], 0).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_small_piece_of_a_large_buffer_does_not_keep_the_buffer() {
        let buffer = Bytes::from(vec![b'x'; 8192]);
        let pieces = vec![Ok::<_, Infallible>(buffer.slice(..1)), Ok(buffer.slice(7..8))];
        let whole = read(Body::from_stream(futures_util::stream::iter(pieces)), 10).await;
        assert_eq!(whole, Ok(Bytes::from("xx")));
        assert!(buffer.is_unique(), "nothing else holds it");
    }
}
