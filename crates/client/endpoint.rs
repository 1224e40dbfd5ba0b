//! Where a server is: the parsed base URL.
//!
//! Guarantees: what parses here can be connected to over plain TCP; `https` is refused with the reason.
//! It is not a general URL: it has no path, no query and no user.

use std::{fmt, io};

use tokio::net::TcpStream;

/// Why a text is no base URL of a server. The text itself is not repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It asks for TLS.
    #[error("TLS is not spoken here: use http://HOST:PORT of the server itself, or a proxy on this machine")]
    Tls,
    /// It is something else.
    #[error("a server's address is http://HOST:PORT, without a path")]
    Form,
}

/// A server's base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Parses `http://HOST[:PORT]` (the port is 80 if absent); `ws://` means the same.
    ///
    /// # Errors
    /// See [`BadUrl`].
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let uri: http::Uri = url.parse().map_err(|_| BadUrl::Form)?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => return Err(BadUrl::Tls),
            _ => return Err(BadUrl::Form),
        }
        let authority = uri.authority().ok_or(BadUrl::Form)?;
        let plain = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
        if !plain || authority.host().is_empty() {
            return Err(BadUrl::Form);
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: authority.to_string(), host: authority.host().to_owned(), port })
    }

    /// Host and port, as the `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A fresh TCP connection.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(format!("{}:{}", self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_parse_and_tls_is_refused_with_the_reason() {
        for good in ["http://127.0.0.1:4100", "http://localhost:1/", "ws://[::1]:4100", "http://example.org"] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        assert_eq!(Endpoint::parse("https://example.org"), Err(BadUrl::Tls));
        for bad in ["", "127.0.0.1:4100", "http://", "http://a/b", "http://a/?token=x", "http://u:p@a", "ftp://a"] {
            assert_eq!(Endpoint::parse(bad), Err(BadUrl::Form), "{bad}");
        }
    }
}
