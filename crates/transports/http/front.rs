//! The page at `/`: what this server is, and where to go from here.
//!
//! Guarantees: it is made of nothing that a request says, holds no secret, and loads nothing.
//! It is not a front end: that is for whoever writes one.

use axum::response::{IntoResponse, Response};
use http::header;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Tidings</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>Tidings</h1>
<p>This is a Tidings server. Programs tell it what happens, and people watch it live: over Socket.IO at
<code>/socket.io/</code>, with a token from <code>POST /api/auth/login</code>.</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a>: every route, for programs and generators of clients</li>
<li><a href="/asyncapi.json">/asyncapi.json</a>: every message and command of a connection</li>
<li><a href="/health/ready">/health/ready</a>: whether messages flow</li>
</ul>
<p>The pages that explain it come with the program: begin with its <code>README.md</code>, then
<code>docs/PROTOCOL.md</code>. <code>tidings schema typescript</code> prints the types for a front end.</p>
</html>
"#;

/// What a browser may do with the page: show it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page.
pub(super) async fn page() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE).into_response()
}
