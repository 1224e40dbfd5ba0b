//! Rows that documents are made of, for what the transports offer themselves: routes and requests.
//!
//! Guarantees: data, and nothing but data; schemas are made of the types that are parsed and written.
//! It is neither events nor commands: those have rows of their own, which also do the work.

use crate::{command::Method, contract::Shape};

/// A field of a query string.
#[derive(Debug, Clone, Copy)]
pub struct QueryField {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its schema.
    pub shape: Shape,
}

/// What a route answers when all is well.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// Nothing, with the status 204.
    Nothing,
    /// JSON of this schema, with this status.
    Json(u16, Shape),
    /// Plain text, with the status 200.
    Text,
    /// A page for people, with the status 200.
    Page,
}

/// A route of the server's own.
#[derive(Debug, Clone, Copy)]
pub struct RouteRow {
    /// Its method.
    pub method: Method,
    /// Its path, with `{field}` for what is open in it.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Whether it answers without a token.
    pub public: bool,
    /// The schema of what is open in its path, which is one segment at most.
    pub segment: Option<Shape>,
    /// What its query may hold.
    pub query: &'static [QueryField],
    /// The schema of its body; none for a route that takes no body.
    pub body: Option<Shape>,
    /// What the header `Idempotency-Key` does; none for a route that takes none.
    pub key: Option<&'static str>,
    /// What it answers.
    pub reply: Reply,
}

impl RouteRow {
    /// A route that needs a token and takes nothing.
    #[must_use]
    pub const fn new(method: Method, path: &'static str, reply: Reply, doc: &'static str) -> Self {
        Self { method, path, doc, public: false, segment: None, query: &[], body: None, key: None, reply }
    }

    /// The same, for everybody.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// The same, of which a segment of the path is open.
    #[must_use]
    pub const fn with_segment(mut self, segment: Shape) -> Self {
        self.segment = Some(segment);
        self
    }

    /// The same, with fields in its query.
    #[must_use]
    pub const fn with_query(mut self, query: &'static [QueryField]) -> Self {
        self.query = query;
        self
    }

    /// The same, with an `Idempotency-Key` that does this.
    #[must_use]
    pub const fn with_key(mut self, doc: &'static str) -> Self {
        self.key = Some(doc);
        self
    }

    /// The same, with a body.
    #[must_use]
    pub const fn with_body(mut self, body: Shape) -> Self {
        self.body = Some(body);
        self
    }
}

/// Something that a connection may ask for, beside commands.
#[derive(Debug, Clone, Copy)]
pub struct RequestRow {
    /// Its name: the Socket.IO event.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// The schema of its argument.
    pub argument: Shape,
    /// The schema of the acknowledgement when all is well.
    pub answer: Shape,
}
