//! What of the HTTP transport can be configured.
//!
//! Guarantees: the defaults are safe: no foreign origin, no trusted proxy, bounded bodies.
//! It is not the reading of a configuration: that is the root's.

use http::{HeaderValue, Uri};
use tidings_core::rate::Rate;
use tidings_engine::seats::SeatsConfig;

use super::address::Network;

/// Limits and policies of the HTTP transport.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Origins whose pages may use the API, such as `https://app.example.com`; `*` for every
    /// origin. Empty, the default, allows none.
    pub cors_origins: Vec<String>,
    /// Whether pages of this machine (localhost, 127.0.0.0/8, `[::1]`, any port) may, too: where the server listens to
    /// this machine only. Not what a proxy passes on. False by default.
    pub loopback_origins: bool,
    /// The most bytes of a request's body; 1 MiB by default. Zero refuses every body.
    pub body_limit: usize,
    /// The proxies whose `X-Forwarded-For` counts. Empty, the default, trusts nobody's.
    pub trusted_proxies: Vec<Network>,
    /// Whether `/metrics` answers without a token; true by default, for a scraper on the same
    /// machine. If not, it asks for the token of any user with a role.
    pub metrics_public: bool,
    /// How often one user may ask, or one address without a token: 5,000 at once and 500 a second by default. None
    /// means no limit. Events that are published do not count.
    pub rate: Option<Rate>,
    /// How many requests may be under way at once: 512 of one user or address, 4,096 in all by default.
    pub requests: SeatsConfig,
}

impl HttpConfig {
    /// Whether this text can be one of [`HttpConfig::cors_origins`].
    #[must_use]
    pub fn is_origin(text: &str) -> bool {
        parse_origin(text).is_ok()
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            loopback_origins: false,
            body_limit: 1024 * 1024,
            trusted_proxies: Vec::new(),
            metrics_public: true,
            rate: Rate::per_second(500, 5000),
            requests: SeatsConfig { user: 512, total: 4096 },
        }
    }
}

/// A configured origin that no browser would ever send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no origin: an origin is *, or scheme://host[:port] in lower case with nothing behind it, not even a /, such as https://app.example.com"
)]
pub struct InvalidOrigin(String);

pub(super) fn parse_origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
    let refused = || InvalidOrigin(text.to_owned());
    let value = HeaderValue::from_str(text).map_err(|_| refused())?;
    if text == "*" {
        return Ok(value);
    }
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    // Browsers send an origin in lower case, without a path and without a user: any other text never matches.
    let normal = format!("{scheme}://{authority}").to_ascii_lowercase();
    if normal == text && !text.contains('@') { Ok(value) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_a_browser_sends_are_origins() {
        for good in ["https://app.example.com", "http://localhost:3000", "http://[::1]:80", "*"] {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in ["", "example.com", "https://a.example/", "https://a.example/x", "https://A.example", "null"] {
            assert_eq!(parse_origin(bad).expect_err(bad), InvalidOrigin(bad.to_owned()));
        }
    }
}
