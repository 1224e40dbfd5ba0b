//! The documents as they are served, and the routes of the server's own as rows: what the documents say of them.
//!
//! Guarantees: a document is made once, and all who ask share its bytes; every route of the server's own has its row: rows of domains are held against this list, and
//! a test holds the list against the router.
//! It is not the router: that names the functions behind the routes.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use tidings_core::{
    Channel, Seq, UserId,
    command::Method::{Delete, Get, Patch, Post},
    document::{QueryField, Reply, RouteRow},
    identity::{Login, NewUser, OwnPassword, User, UserChange},
    name::MAX_CHANNEL_BYTES,
};
use tidings_engine::hub::ChannelView;

use super::{
    account::{Credentials, Me, OwnLogins, RefreshBody},
    channels::{Channels, history_shape},
    events::{Incoming, MAX_EVENTS, Results},
    health::Health,
    tokens::Tokens,
    users::Users,
};

/// A document that is served as it is.
#[derive(Debug, Clone, Default)]
pub struct Document {
    json: Bytes,
    tag: String,
}

impl From<String> for Document {
    fn from(json: String) -> Self {
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        Self { tag: format!("\"{:016x}\"", hasher.finish()), json: json.into() }
    }
}

impl Document {
    /// The answer to whoever asks for it: that it is the same still, if that is known.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let same = |tag: &str| tag.trim().trim_start_matches("W/") == self.tag || tag.trim() == "*";
        let tag = [(header::ETAG, self.tag.as_str())];
        if known.flat_map(|tags| tags.split(',')).any(same) {
            return (StatusCode::NOT_MODIFIED, tag).into_response();
        }
        (tag, [(header::CONTENT_TYPE, "application/json")], self.json.clone()).into_response()
    }
}

const fn field(name: &'static str, doc: &'static str, shape: fn(&mut SchemaGenerator) -> Schema) -> QueryField {
    QueryField { name, doc, shape }
}

const LIMIT: QueryField = field(
    "limit",
    "At most so many: 1 to 1000, 100 by default.",
    |_| schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE }),
);
/// The most things of one page of a list.
const MAX_PAGE: u64 = 1000;
/// The longest namespace that leaves room for a channel in it.
const MAX_NAMESPACE: usize = MAX_CHANNEL_BYTES - 2;
/// Patterns over event types, separated by commas.
const TYPES: &str =
    r"^(\*|[A-Za-z0-9_-]+)(\.(\*|[A-Za-z0-9_-]+)){0,4}(,(\*|[A-Za-z0-9_-]+)(\.(\*|[A-Za-z0-9_-]+)){0,4})*$";
const KEY: &str =
    "The `id` of each event that has none of its own; in an array with its place, as in `key.0`. At most 124 bytes.";
const CURSOR: &str = "The cursor of the page before; without it, the first page.";

/// Every route of the server's own, but for the documents that are made of these rows.
pub const ROUTES: &[RouteRow] = &[
    RouteRow::new(Post, "/api/auth/login", Reply::Json(200, Login::json_schema), "Logs in.")
        .public()
        .with_body(Credentials::json_schema),
    RouteRow::new(Post, "/api/auth/refresh", Reply::Json(200, Login::json_schema), "Gives the next pair of tokens.")
        .public()
        .with_body(RefreshBody::json_schema),
    RouteRow::new(Post, "/api/auth/logout", Reply::Nothing, "Ends the login, or a token of none, and its live connections."),
    RouteRow::new(Get, "/api/auth/me", Reply::Json(200, Me::json_schema), "Who the caller is, and what it may do."),
    RouteRow::new(
        Post,
        "/api/auth/password",
        Reply::Nothing,
        "Changes the own password and ends all other logins of the user.",
    )
    .with_body(OwnPassword::json_schema),
    RouteRow::new(Get, "/api/auth/logins", Reply::Json(200, OwnLogins::json_schema), "Lists the own logins."),
    RouteRow::new(
        Delete,
        "/api/auth/logins/{id}",
        Reply::Nothing,
        "Ends one of the own logins and its live connections.",
    )
    .with_segment(String::json_schema),
    RouteRow::new(
        Get,
        "/api/tokens",
        Reply::Json(200, Tokens::json_schema),
        "Lists tokens that belong to no login, the newest first: the caller's own, or all for an administrator.",
    )
    .with_query(&[
        LIMIT,
        field("cursor", CURSOR, String::json_schema),
        field("userId", "Only those of this user or subject.", UserId::json_schema),
    ]),
    RouteRow::new(
        Delete,
        "/api/tokens/{id}",
        Reply::Nothing,
        "Revokes one of them, or for an administrator any token by its `jti`.",
    )
    .with_segment(String::json_schema),
    RouteRow::new(Get, "/api/users", Reply::Json(200, Users::json_schema), "Lists the users, by name.")
        .with_query(&[LIMIT, field("cursor", CURSOR, String::json_schema)]),
    RouteRow::new(Post, "/api/users", Reply::Json(201, User::json_schema), "Makes a user.")
        .with_body(NewUser::json_schema),
    RouteRow::new(Get, "/api/users/{id}", Reply::Json(200, User::json_schema), "Shows a user.")
        .with_segment(UserId::json_schema),
    RouteRow::new(Patch, "/api/users/{id}", Reply::Json(200, User::json_schema), "Changes a user.")
        .with_segment(UserId::json_schema)
        .with_body(UserChange::json_schema),
    RouteRow::new(Delete, "/api/users/{id}", Reply::Nothing, "Deletes a user and ends its logins.")
        .with_segment(UserId::json_schema),
    RouteRow::new(Post, "/api/users/{id}/revoke", Reply::Nothing, "Ends every login and connection of a user.")
        .with_segment(UserId::json_schema),
    RouteRow::new(
        Post,
        "/api/events",
        Reply::Json(200, Results::json_schema),
        "Publishes an event, or an array of them: all or nothing.",
    )
    .with_key(KEY)
    .with_body(one_or_many),
    RouteRow::new(
        Get,
        "/api/channels",
        Reply::Json(200, Channels::json_schema),
        "Lists the live channels, by name; with a namespace what exists in it, live or not, the newest name first.",
    )
    .with_query(&[
        field("namespace", "What exists in this namespace, such as `session`.", |_| {
            schemars::json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "maxLength": MAX_NAMESPACE })
        }),
        LIMIT,
        field("cursor", CURSOR, Channel::json_schema),
    ]),
    RouteRow::new(Get, "/api/channels/{channel}", Reply::Json(200, ChannelView::json_schema), "Shows a channel.")
        .with_segment(Channel::json_schema),
    RouteRow::new(
        Delete,
        "/api/channels/{channel}",
        Reply::Nothing,
        "Deletes a channel's messages; its numbers go on.",
    )
    .with_segment(Channel::json_schema),
    RouteRow::new(
        Get,
        "/api/channels/{channel}/events",
        Reply::Json(200, history_shape),
        "Reads a channel's history, page by page.",
    )
    .with_segment(Channel::json_schema)
    .with_query(&[
        field("after", "Only messages above this number.", Seq::json_schema),
        field("before", "Only messages below this number; without `after`, the newest of them.", Seq::json_schema),
        LIMIT,
        field("types", "Only these types: patterns, separated by commas.", |_| {
            schemars::json_schema!({ "type": "string", "pattern": TYPES })
        }),
    ]),
    RouteRow::new(Get, "/health/live", Reply::Json(200, Health::json_schema), "Whether the process lives.").public(),
    RouteRow::new(Get, "/health/ready", Reply::Json(200, Health::json_schema), "Whether messages flow.").public(),
    RouteRow::new(Get, "/", Reply::Page, "Says what this is and where to go.").public(),
    RouteRow::new(Get, "/metrics", Reply::Text, "Figures, as Prometheus reads them."),
];

/// The paths of all routes of the server's own.
pub(super) fn own_paths() -> Vec<&'static str> {
    ROUTES.iter().map(|row| row.path).chain(["/openapi.json", "/asyncapi.json"]).collect()
}

fn one_or_many(generator: &mut SchemaGenerator) -> Schema {
    let event = generator.subschema_for::<Incoming<'static>>();
    schemars::json_schema!({
        "anyOf": [event, { "type": "array", "items": event, "minItems": 1, "maxItems": MAX_EVENTS }],
    })
}
