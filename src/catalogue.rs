//! The catalogue of this server: what its handlers and transports say, gathered.
//!
//! Guarantees: it is made of the registry that routes and checks, configured domains included.
//! It renders nothing: see `tidings-catalogue`.

use std::sync::Arc;

use tidings_catalogue::{Catalogue, ChannelKind, Domain, Form, Wire};
use tidings_core::{handler::Handler, schemars::JsonSchema};
use tidings_engine::{hub::Notice, registry::Registry};
use tidings_transports::{
    connection::{REQUESTS, refused_shape},
    http::{Documents, ROUTES, problem_shape},
};

/// Everything that goes over the wire of a server with these handlers.
#[must_use]
pub(crate) fn of(registry: &Registry) -> Catalogue {
    Catalogue {
        domains: registry.handlers().into_iter().map(domain).collect(),
        wire: Wire {
            version: env!("CARGO_PKG_VERSION"),
            routes: ROUTES,
            requests: REQUESTS,
            notices: Notice::<'static>::json_schema,
            problem: problem_shape,
            refused: refused_shape,
        },
    }
}

fn domain(handler: &Arc<dyn Handler>) -> Domain {
    let projection = handler.projection();
    let channels = handler.channels().into_iter();
    Domain {
        name: handler.domain().to_owned(),
        channels: channels.map(|template| ChannelKind { template, projection: projection.clone() }).collect(),
        events: handler.events(),
        commands: handler.commands(),
        is_strict: handler.is_strict(),
    }
}

/// The documents that are served.
#[must_use]
pub(crate) fn documents(registry: &Registry) -> Arc<Documents> {
    let catalogue = of(registry);
    let document = |form| catalogue.render(form).into();
    Arc::new(Documents { openapi: document(Form::OpenApi), asyncapi: document(Form::AsyncApi) })
}
