//! Whose pages may use the server: the one judgement of an `Origin`, for every door that browsers come through.
//!
//! Guarantees: a program that sends no origin passes; a page passes whose origin is listed, is the server's own, or,
//! where only this machine reaches the server, is of this machine; everything else is foreign. `X-Forwarded-Host`
//! counts where a trusted proxy wrote it, and from nobody else.
//! It is not a right: whoever passes still shows a token.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderValue, Request, Uri, header, uri::Authority};

use super::{
    address::{Network, is_trusted},
    config::{HttpConfig, InvalidOrigin, parse_origin},
};

/// The origins that may use the server.
#[derive(Debug, Clone)]
pub struct Origins {
    listed: Vec<HeaderValue>,
    all: bool,
    loopback: bool,
    trusted: Vec<Network>,
}

impl Origins {
    /// Those of a configuration.
    ///
    /// # Errors
    /// [`InvalidOrigin`] names the first text that is no origin.
    pub fn new(config: &HttpConfig) -> Result<Self, InvalidOrigin> {
        let origins = &config.cors_origins;
        let listed = origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>()?;
        let all = origins.iter().any(|origin| origin == "*");
        Ok(Self { listed, all, loopback: config.loopback_origins, trusted: config.trusted_proxies.clone() })
    }

    /// Whether no origin but the server's own may use it.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.loopback
    }

    /// Whether every origin may.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// Whether this origin is listed, or of this machine where that is enough.
    pub(super) fn names(&self, origin: &HeaderValue) -> bool {
        self.listed.contains(origin) || (self.loopback && is_loopback(origin))
    }

    /// Whether a request comes from a program, or from a page that may use the server.
    #[must_use]
    pub fn admits<B>(&self, request: &Request<B>) -> bool {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let headers = request.headers();
        // A browser sends one: of several, each has to pass.
        headers.get_all(header::ORIGIN).iter().all(|origin| self.admits_origin(origin, peer, headers))
    }

    fn admits_origin(&self, origin: &HeaderValue, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
        self.all || self.names(origin) || self.is_own(origin, peer, headers).unwrap_or(false)
    }

    /// Whether an origin is the host that the request was sent to. None where one of them cannot be read.
    fn is_own(&self, origin: &HeaderValue, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<bool> {
        let by_proxy = peer.is_some_and(|peer| is_trusted(&self.trusted, peer));
        let forwarded = headers.get("x-forwarded-host").filter(|_| by_proxy);
        let host = forwarded.or_else(|| headers.get(header::HOST))?.to_str().ok()?;
        // Each proxy adds the host that it was asked for: the first is what the browser asked for.
        let host: Authority = host.split(',').next()?.trim().parse().ok()?;
        let (scheme, own) = read(origin)?;
        // TLS may end in a proxy, so that only the page says which port goes without saying.
        let usual = if scheme == "https" { 443 } else { 80 };
        let same_port = own.port_u16().unwrap_or(usual) == host.port_u16().unwrap_or(usual);
        Some(same_port && own.host().eq_ignore_ascii_case(host.host()))
    }
}

/// The scheme and the authority of an origin of the web.
fn read(origin: &HeaderValue) -> Option<(String, Authority)> {
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?.to_owned();
    Some((scheme, uri.authority()?.clone()))
}

/// Whether the page is of this machine.
fn is_loopback(origin: &HeaderValue) -> bool {
    let Some((_, authority)) = read(origin) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "https://app.example.com";

    fn admits(config: &HttpConfig, headers: &[(&'static str, &str)]) -> bool {
        let mut request = Request::new(());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 1, 2, 3], 4711))));
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header"));
        }
        Origins::new(config).expect("origins").admits(&request)
    }

    #[test]
    fn programs_listed_pages_and_pages_of_its_own_host_pass_and_no_other() {
        let config = HttpConfig { cors_origins: vec![LISTED.to_owned()], ..HttpConfig::default() };
        assert!(admits(&config, &[("host", "tidings.example")]));
        let table = [
            (LISTED, "tidings.example", true),
            ("https://app.example.com.evil.example", "tidings.example", false),
            ("https://app.example.com:8443", "tidings.example", false),
            ("http://app.example.com", "tidings.example", false),
            ("https://tidings.example", "tidings.example", true),
            ("https://tidings.example", "Tidings.Example:443", true),
            ("http://tidings.example:4000", "tidings.example:4000", true),
            ("http://tidings.example:4001", "tidings.example:4000", false),
            ("http://[::1]:4000", "[::1]:4000", true),
            ("http://localhost:5173", "tidings.example", false),
            ("null", "null", false),
            ("file://tidings.example", "tidings.example", false),
            ("", "tidings.example", false),
        ];
        for (origin, host, expected) in table {
            assert_eq!(admits(&config, &[("origin", origin), ("host", host)]), expected, "{origin} at {host}");
        }
        assert!(!admits(&config, &[("origin", LISTED), ("origin", "https://evil.example"), ("host", "x")]));
        let all = HttpConfig { cors_origins: vec!["*".to_owned()], ..HttpConfig::default() };
        assert!(admits(&all, &[("origin", "https://evil.example"), ("host", "x")]));
    }

    #[test]
    fn pages_of_this_machine_pass_where_only_this_machine_reaches_the_server() {
        let config = HttpConfig { loopback_origins: true, ..HttpConfig::default() };
        for good in [
            "http://localhost:5173",
            "https://localhost",
            "http://127.0.0.1:3000",
            "http://127.8.9.1",
            "http://[::1]:80",
        ] {
            assert!(admits(&config, &[("origin", good), ("host", "x")]), "{good}");
        }
        for bad in ["http://localhost.evil.example", "http://128.0.0.1", "http://evil.example", "null"] {
            assert!(!admits(&config, &[("origin", bad), ("host", "x")]), "{bad}");
        }
    }

    #[test]
    fn a_forwarded_host_counts_from_a_trusted_proxy_only() {
        let asked = [
            ("origin", "https://public.example"),
            ("host", "inside:4000"),
            ("x-forwarded-host", "public.example, inside"),
        ];
        assert!(!admits(&HttpConfig::default(), &asked));
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        assert!(admits(&HttpConfig { trusted_proxies, ..HttpConfig::default() }, &asked));
    }
}
