//! The catalogue: everything that goes over the wire, and the documents and types that are made of it.
//!
//! - [`Catalogue`]: what there is, as the handlers and the transports say it in rows.
//! - `vocabulary`: the schemas of all of it, each under one name.
//! - `openapi`, `asyncapi`, `json_schema`, `typescript`, `markdown`: one form each.
//!
//! Guarantees: pure functions: the same rows give the same bytes. What is written is what the types say
//! that parse, check and write at run time: there is no second list.
//! It serves nothing and writes no file.

mod asyncapi;
mod json_schema;
mod markdown;
mod openapi;
mod responses;
mod typescript;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use tidings_core::{
    command::Command,
    contract::{EventRow, Shape},
    document::{RequestRow, RouteRow},
    projection::Projection,
};

use vocabulary::Vocabulary;

/// A kind of channel.
#[derive(Clone)]
pub struct ChannelKind {
    /// The form of its names, such as `session:{sessionId}`.
    pub template: String,
    /// Its state, if it has one.
    pub projection: Option<Arc<dyn Projection>>,
}

impl ChannelKind {
    /// The first segment of its names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.template.split(':').next().unwrap_or_default()
    }
}

impl fmt::Debug for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelKind({})", self.template)
    }
}

/// A domain: what its handler says.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its channels.
    pub channels: Vec<ChannelKind>,
    /// Its events.
    pub events: Vec<EventRow>,
    /// Its commands.
    pub commands: Vec<Command>,
    /// Whether its events are all there are: others of its name are refused.
    pub is_strict: bool,
}

/// What the transports have beside events and commands.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// The version of the server.
    pub version: &'static str,
    /// Routes of the server's own.
    pub routes: &'static [RouteRow],
    /// What a connection may ask for.
    pub requests: &'static [RequestRow],
    /// The notices: a union whose members have a `type` and `data`.
    pub notices: Shape,
    /// An error over HTTP.
    pub problem: Shape,
    /// What is answered to a request that is refused.
    pub refused: Shape,
}

/// Everything that goes over the wire.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The domains.
    pub domains: Vec<Domain>,
    /// The rest.
    pub wire: Wire,
}

/// A file that is made of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An OpenAPI 3.1 document, JSON.
    OpenApi,
    /// An AsyncAPI 3.0 document, JSON.
    AsyncApi,
    /// A JSON Schema of messages, with all types as its definitions.
    JsonSchema,
    /// Types, and the functions that tell them apart.
    TypeScript,
    /// A reference of all events, with an example of each.
    Markdown,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::OpenApi, Self::AsyncApi, Self::JsonSchema, Self::TypeScript, Self::Markdown];

    /// The name of its file.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::OpenApi => "openapi.json",
            Self::AsyncApi => "asyncapi.json",
            Self::JsonSchema => "events.schema.json",
            Self::TypeScript => "tidings.ts",
            Self::Markdown => "EVENTS.md",
        }
    }
}

impl Catalogue {
    /// One form of it.
    #[must_use]
    pub fn render(&self, form: Form) -> String {
        let vocabulary = Vocabulary::of(self);
        let json = |value: serde_json::Value| format!("{value:#}\n");
        match form {
            Form::OpenApi => json(openapi::document(self, &vocabulary)),
            Form::AsyncApi => json(asyncapi::document(self, &vocabulary)),
            Form::JsonSchema => json(json_schema::document(&vocabulary)),
            Form::TypeScript => typescript::document(&vocabulary),
            Form::Markdown => markdown::document(&vocabulary),
        }
    }
}
