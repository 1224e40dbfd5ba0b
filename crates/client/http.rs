//! Single HTTP requests: one connection each, JSON in and out.
//!
//! Guarantees: an answer of at most 64 MiB, within 60 seconds, or an error; a token only in its header.
//! It is not a connection pool and follows no redirects.

use std::time::Duration;

use bytes::Bytes;
pub use http::Method;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::{BadUrl, Endpoint};

const MAX_BODY_BYTES: usize = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailed {
    /// The URL is not usable.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The path or a header value is not valid in HTTP.
    #[error("the request is not valid HTTP")]
    Invalid,
    /// Nobody listens there.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// The connection ended before the whole answer was there.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer took too long.
    #[error("no answer within 60 seconds")]
    Late,
}

/// `GET base + path`.
///
/// # Errors
/// See [`RequestFailed`]; any status is an answer.
pub async fn get(base: &str, path: &str, bearer: Option<&str>) -> Result<Response, RequestFailed> {
    request(Method::GET, base, path, bearer, None).await
}

/// `POST base + path` with a JSON body.
///
/// # Errors
/// See [`RequestFailed`]; any status is an answer.
pub async fn post_json(base: &str, path: &str, bearer: Option<&str>, body: &Value) -> Result<Response, RequestFailed> {
    request(Method::POST, base, path, bearer, Some(("application/json", body.to_string().into()))).await
}

/// Any request; `body` is its content type and bytes.
///
/// # Errors
/// See [`RequestFailed`]; any status is an answer.
pub async fn request(
    method: Method,
    base: &str,
    path: &str,
    bearer: Option<&str>,
    body: Option<(&str, Bytes)>,
) -> Result<Response, RequestFailed> {
    let endpoint = Endpoint::parse(base)?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, endpoint.authority());
    if let Some(token) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some((content_type, _)) = &body {
        request = request.header(header::CONTENT_TYPE, *content_type);
    }
    let body = Full::new(body.map(|(_, bytes)| bytes).unwrap_or_default());
    let request = request.body(body).map_err(|_| RequestFailed::Invalid)?;
    send(&endpoint, request).await
}

/// Sends a request that is already built. Its `Host` header and target are the caller's.
///
/// # Errors
/// See [`RequestFailed`].
pub async fn send(endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Result<Response, RequestFailed> {
    tokio::time::timeout(DEADLINE, exchange(endpoint, request)).await.map_err(|_| RequestFailed::Late)?
}

async fn exchange(endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Result<Response, RequestFailed> {
    let broken = |error: hyper::Error| RequestFailed::Broken(error.to_string());
    let tcp = endpoint.connect().await.map_err(|error| RequestFailed::Unreachable(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(tcp)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|error| RequestFailed::Broken(error.to_string()))?
            .to_bytes();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    };
    // Hyper's connection does the reading and writing: it runs beside the answer, and its own end
    // says nothing that the answer does not say.
    tokio::pin!(answer);
    tokio::select! {
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Accepts one connection, reads the request up to `until`, answers and closes.
    async fn serve(listener: TcpListener, until: &str, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).ends_with(until) {
            assert_ne!(stream.read_buf(&mut seen).await.expect("reads"), 0, "ended early");
        }
        stream.write_all(answer.as_bytes()).await.expect("writes");
        String::from_utf8(seen).expect("text")
    }

    #[tokio::test]
    async fn a_request_carries_its_token_in_the_header_and_its_body_as_json() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("has an address"));
        let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 14\r\n\r\n{\"code\":\"no\"}\n";
        let body = serde_json::json!({"a": 1});
        let (seen, response) =
            tokio::join!(serve(listener, "{\"a\":1}", answer), post_json(&base, "/api/events", Some("secret"), &body));
        let response = response.expect("an answer");
        assert_eq!((response.status, response.json()["code"].as_str()), (409, Some("no")));
        assert!(seen.starts_with("POST /api/events HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("authorization: Bearer secret\r\n"), "{seen}");
        assert!(seen.contains("content-type: application/json\r\n"), "{seen}");
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_an_answer_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("has an address"));
        let (_, result) = tokio::join!(serve(listener, "\r\n\r\n", ""), get(&base, "/", None));
        assert!(matches!(result, Err(RequestFailed::Broken(_))));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("has an address"));
        drop(listener);
        assert!(matches!(get(&base, "/", None).await, Err(RequestFailed::Unreachable(_))));
        assert!(matches!(get("https://localhost", "/", None).await, Err(RequestFailed::Url(BadUrl::Tls))));
    }
}
