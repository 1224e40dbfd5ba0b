//! Whose pages may use the server: the one judgement of where a request comes from, for every door that browsers come
//! through.
//!
//! Guarantees: a program passes, which says nothing of a page; a page passes whose origin is listed, is the server's
//! own, or, where only this machine reaches the server, is of this machine; everything else is foreign. Of a request
//! without an origin the browser says in `Sec-Fetch-Site` whether it is of the server's own page; one that is not
//! passes only where somebody follows a link. `X-Forwarded-Host` counts where a trusted proxy wrote it, and from
//! nobody else.
//! It is not a right: whoever passes still shows a token. Nor is it the refusal: that is `guard`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Uri, header, request::Parts, uri::Authority};

use super::{
    address::{Network, is_trusted, parse_hop},
    config::{HttpConfig, InvalidOrigin, parse_origin},
};

/// The headers by which proxies say that they pass something on for somebody else.
const FORWARDING: [&str; 7] =
    ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];

/// The origins that may use the server.
#[derive(Debug, Clone)]
pub struct Origins {
    listed: Vec<HeaderValue>,
    all: bool,
    loopback: bool,
    trusted: Vec<Network>,
}

/// What of a request says whose page asks.
struct Asked<'a> {
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
}

impl<'a> Asked<'a> {
    fn new(headers: &'a HeaderMap, extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        Self { headers, peer }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
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
    pub(super) fn names(&self, origin: &HeaderValue, request: &Parts) -> bool {
        self.knows(origin, &Asked::new(&request.headers, &request.extensions))
    }

    /// Whether a request comes from a program, or from a page that may use the server.
    #[must_use]
    pub fn admits<B>(&self, request: &Request<B>) -> bool {
        let asked = Asked::new(request.headers(), request.extensions());
        let headers = request.headers();
        if !headers.contains_key(header::ORIGIN) {
            return self.all || is_of_own_page(&asked) || is_a_visit(&asked, request.method());
        }
        // A browser sends one: of several, each has to pass.
        headers.get_all(header::ORIGIN).iter().all(|origin| self.admits_origin(origin, &asked))
    }

    fn admits_origin(&self, origin: &HeaderValue, asked: &Asked<'_>) -> bool {
        self.all || self.knows(origin, asked) || self.is_own(origin, asked).unwrap_or(false)
    }

    fn knows(&self, origin: &HeaderValue, asked: &Asked<'_>) -> bool {
        self.listed.contains(origin) || (self.loopback && is_loopback(origin) && self.is_of_this_machine(asked))
    }

    /// Whether the browser that asks runs on this machine, as far as a request to a loopback address tells: no proxy
    /// passes it on for somebody else, and it was sent to a name of this machine. Development servers that pass on
    /// what their own machine asks say so.
    fn is_of_this_machine(&self, asked: &Asked<'_>) -> bool {
        if self.is_by_proxy(asked) || !asked.text("host").is_some_and(is_loopback_authority) {
            return false;
        }
        if !FORWARDING.iter().any(|name| asked.headers.contains_key(*name)) {
            return true;
        }
        let told = asked.headers.get_all("x-forwarded-for");
        let mut hops = told.iter().flat_map(|hops| hops.to_str().unwrap_or_default().split(',')).peekable();
        let is_here = |hop: &str| parse_hop(hop.trim()).is_some_and(|address| address.to_canonical().is_loopback());
        hops.peek().is_some() && hops.all(is_here)
    }

    fn is_by_proxy(&self, asked: &Asked<'_>) -> bool {
        asked.peer.is_some_and(|peer| is_trusted(&self.trusted, peer))
    }

    /// Whether an origin is the host that the request was sent to. None where one of them cannot be read.
    fn is_own(&self, origin: &HeaderValue, asked: &Asked<'_>) -> Option<bool> {
        let forwarded = asked.headers.get("x-forwarded-host").filter(|_| self.is_by_proxy(asked));
        let host = forwarded.or_else(|| asked.headers.get(header::HOST))?.to_str().ok()?;
        // Each proxy adds the host that it was asked for: the first is what the browser asked for.
        let host: Authority = host.split(',').next()?.trim().parse().ok()?;
        let (scheme, own) = read(origin)?;
        // TLS may end in a proxy, so that only the page says which port goes without saying.
        let usual = if scheme == "https" { 443 } else { 80 };
        let same_port = own.port_u16().unwrap_or(usual) == host.port_u16().unwrap_or(usual);
        Some(same_port && own.host().eq_ignore_ascii_case(host.host()))
    }
}

/// Whether a request without an origin is of the server's own page, of nobody's (an address was typed), or of a
/// program. Browsers leave the origin out of what a page merely loads, such as an image, and say this instead.
fn is_of_own_page(asked: &Asked<'_>) -> bool {
    asked.headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none")
}

/// Whether somebody follows a link to here, in a window of its own.
fn is_a_visit(asked: &Asked<'_>, method: &Method) -> bool {
    let is = |name, value| asked.text(name) == Some(value);
    method.is_safe() && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// The scheme and the authority of an origin of the web.
fn read(origin: &HeaderValue) -> Option<(String, Authority)> {
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?.to_owned();
    Some((scheme, uri.authority()?.clone()))
}

/// Whether the page is of this machine.
fn is_loopback(origin: &HeaderValue) -> bool {
    read(origin).is_some_and(|(_, authority)| is_loopback_host(authority.host()))
}

fn is_loopback_authority(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|authority| is_loopback_host(authority.host()))
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "https://app.example.com";

    fn admits(config: &HttpConfig, headers: &[(&'static str, &str)]) -> bool {
        admits_with(config, "GET", headers)
    }

    fn admits_with(config: &HttpConfig, method: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut request = Request::new(());
        *request.method_mut() = method.parse().expect("a method");
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
            assert!(admits(&config, &[("origin", good), ("host", "localhost:4100")]), "{good}");
        }
        for bad in ["http://localhost.evil.example", "http://128.0.0.1", "http://evil.example", "null"] {
            assert!(!admits(&config, &[("origin", bad), ("host", "localhost:4100")]), "{bad}");
        }
    }

    #[test]
    fn pages_of_the_visitors_machine_are_foreign_where_a_proxy_passes_them_on() {
        const PAGE: (&str, &str) = ("origin", "http://localhost:5173");
        let config = HttpConfig { loopback_origins: true, ..HttpConfig::default() };
        for host in ["localhost:4100", "127.0.0.1:4100", "[::1]:4100", "LOCALHOST"] {
            assert!(admits(&config, &[PAGE, ("host", host)]), "{host}");
        }
        for host in ["tidings.example", "localhost.example", "tidings.example, localhost", ""] {
            assert!(!admits(&config, &[PAGE, ("host", host)]), "{host}");
        }
        assert!(!admits(&config, &[PAGE]), "without a host");
        for (name, value, passes) in [
            ("x-forwarded-for", "203.0.113.9", false),
            ("x-forwarded-for", "127.0.0.1, 203.0.113.9", false),
            ("x-forwarded-for", "203.0.113.9, 127.0.0.1", false),
            ("x-forwarded-for", "", false),
            ("x-forwarded-for", "unknown", false),
            ("x-forwarded-for", "::ffff:127.0.0.1", true),
            ("x-forwarded-for", "127.0.0.1, ::1", true),
            ("x-forwarded-host", "localhost:4100", false),
            ("x-forwarded-proto", "https", false),
            ("x-real-ip", "127.0.0.1", false),
            ("forwarded", "for=127.0.0.1", false),
            ("via", "1.1 proxy", false),
        ] {
            let asked = [PAGE, ("host", "127.0.0.1:4100"), (name, value)];
            assert_eq!(admits(&config, &asked), passes, "{name}: {value}");
        }
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let behind = HttpConfig { trusted_proxies, ..config };
        assert!(!admits(&behind, &[PAGE, ("host", "127.0.0.1:4100")]));
    }

    #[test]
    fn without_an_origin_the_browser_says_whose_page_asks() {
        let config = HttpConfig { cors_origins: vec![LISTED.to_owned()], ..HttpConfig::default() };
        for (site, passes) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("new", false)]
        {
            assert_eq!(admits(&config, &[("sec-fetch-site", site)]), passes, "{site}");
            assert!(admits(&config, &[("sec-fetch-site", site), ("origin", LISTED)]), "{site} of a listed origin");
        }
        let visit = |method: &str, dest: &str| {
            let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", dest)];
            admits_with(&config, method, &headers)
        };
        assert!(visit("GET", "document") && visit("HEAD", "document"));
        assert!(!visit("POST", "document") && !visit("GET", "iframe") && !visit("GET", "image"));
        let all = HttpConfig { cors_origins: vec!["*".to_owned()], ..HttpConfig::default() };
        assert!(admits(&all, &[("sec-fetch-site", "cross-site")]));
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
