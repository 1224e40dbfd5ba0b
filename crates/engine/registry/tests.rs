//! The registry: every way in which a set of handlers can be wrong, and who owns what in a right one.
//!
//! Guarantees: each error is asked for by name, so that a new one without a row here is noticed.

use std::{panic::AssertUnwindSafe, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use tidings_core::{
    Channel, Code,
    command::{Command, Method, Need},
    contract::{EventRow, Source},
    handler::{Handler, Retention},
    log::LogRule,
};
use validator::Validate;

use super::{RESERVED_DOMAINS, Registry, RegistryError};
use crate::house::{Things, channel, event};

#[derive(Deserialize, Validate, JsonSchema)]
struct Nothing {}

fn command(name: &'static str, method: Method, path: &'static str) -> Command {
    Command::new(name, (method, path), "", |_: &Nothing| Need::Login, |_, _| async { Ok(String::new()) })
}

fn other(domain: &'static str, namespaces: &'static [&'static str]) -> Things {
    Things { domain, namespaces, events: &[], ..Things::default() }
}

fn wrong(handlers: Vec<Things>) -> RegistryError {
    let handlers = handlers.into_iter().map(|things| Arc::new(things) as Arc<dyn Handler>).collect();
    Registry::new(handlers).expect_err("a set that is wrong")
}

#[test]
fn a_domain_and_a_namespace_have_one_owner_and_none_is_the_servers() {
    assert_eq!(wrong(vec![Things::default(), other("thing", &["x"])]), RegistryError::DomainTwice("thing"));
    assert_eq!(wrong(vec![Things::default(), other("y", &["board"])]), RegistryError::NamespaceTwice("board"));
    assert_eq!(wrong(vec![other("y", &["x", "x"])]), RegistryError::NamespaceTwice("x"));
    for reserved in RESERVED_DOMAINS {
        assert_eq!(wrong(vec![other(reserved, &["x"])]), RegistryError::DomainTwice(reserved));
    }
    assert_eq!(wrong(vec![other("y", &["server"])]), RegistryError::NamespaceTwice("server"));
}

#[test]
fn a_namespace_obeys_the_grammar_of_channels() {
    assert_eq!(wrong(vec![other("y", &["No"])]), RegistryError::BadNamespace("No"));
    assert_eq!(wrong(vec![other("y", &["a.b"])]), RegistryError::BadNamespace("a.b"));
    assert_eq!(wrong(vec![other("y", &[""])]), RegistryError::BadNamespace(""));
}

#[test]
fn an_event_type_is_one_of_its_domain_and_has_one_row() {
    const FOREIGN: &[EventRow] = &[EventRow::untyped("thing.said", true)];
    const BROKEN: &[EventRow] = &[EventRow::untyped("y:said", true)];
    const TWICE: &[EventRow] = &[EventRow::untyped("y.said", true), EventRow::untyped("y.said", false)];
    let of = |events: &'static [EventRow]| wrong(vec![Things { events, ..other("y", &["y"]) }]);
    assert_eq!(of(FOREIGN), RegistryError::ForeignEvent { domain: "y", event_type: "thing.said" });
    assert_eq!(of(BROKEN), RegistryError::ForeignEvent { domain: "y", event_type: "y:said" });
    assert_eq!(of(TWICE), RegistryError::EventTwice("y.said"));
}

#[test]
fn a_command_is_named_after_its_domain_and_neither_its_name_nor_its_route_is_there_twice() {
    let of = |commands| wrong(vec![Things { commands, ..other("y", &["y"]) }]);
    assert_eq!(
        of(vec![command("thing.go", Method::Post, "/api/y")]),
        RegistryError::ForeignCommand { domain: "y", command: "thing.go" }
    );
    let one = || command("y.go", Method::Post, "/api/y/{id}/go");
    assert_eq!(of(vec![one(), command("y.go", Method::Post, "/api/z")]), RegistryError::CommandTwice("y.go"));
    // The fields of a path compare by their place, not by their name.
    let same = command("y.run", Method::Post, "/api/y/{other}/go");
    assert_eq!(of(vec![one(), same]), RegistryError::CommandTwice("y.run"));
    let fine = Things { commands: vec![one(), command("y.see", Method::Get, "/api/y/{id}/go")], ..other("y", &["y"]) };
    let registry = Registry::new(vec![Arc::new(fine)]).expect("another method is another route");
    assert_eq!(registry.commands().len(), 2);
    assert!(registry.command("y.go").is_some() && registry.command("y.stop").is_none());
}

#[test]
fn every_error_says_which_name_is_wrong() {
    let errors = [
        (wrong(vec![other("auth", &["x"])]), "auth"),
        (wrong(vec![other("y", &["channel"])]), "channel"),
        (wrong(vec![other("y", &["a b"])]), "a b"),
    ];
    for (error, name) in errors {
        assert!(error.to_string().contains(&format!("'{name}'")), "{error}");
    }
}

#[test]
fn an_event_is_routed_by_its_domain_to_a_channel_that_somebody_owns() {
    let registry = Registry::new(vec![Arc::new(Things::default())]).expect("one owner each");
    assert_eq!(registry.route(&mut event("thing.said", "1", 1)).expect("routed").home, channel("thing:1"));
    let shown = registry.route(&mut event("thing.shown", "1", 1)).expect("routed");
    assert_eq!(shown.copies[0].channel, channel("board:all"));
    let lost = registry.route(&mut event("thing.lost", "1", 1)).expect_err("nobody owns where it goes");
    assert_eq!(lost.code(), Code::InvalidChannel);
    assert!(lost.message().contains("board, own, room, thing"), "it says which there are: {lost}");
    let mut stray = event("thing.said", "1", 1);
    stray.event_type = "nobody.spoke".parse().expect("a type");
    let stray = registry.route(&mut stray).expect_err("nobody routes it");
    assert_eq!(stray.code(), Code::InvalidEvent);
    assert!(stray.message().contains("there are thing"), "{stray}");
}

#[test]
fn the_channel_that_a_producer_names_has_to_be_the_one_of_its_data() {
    let registry = Registry::new(vec![Arc::new(Things::default())]).expect("one owner each");
    let asked = |name: &str| {
        let mut event = event("thing.said", "1", 1);
        event.channel = Some(channel(name));
        registry.route(&mut event)
    };
    assert!(asked("thing:1").is_ok());
    let error = asked("thing:2").expect_err("another thing's");
    assert_eq!((error.code(), error.fields().contains_key("channel")), (Code::InvalidData, true));
}

#[test]
fn before_the_binding_nobody_is_answered_by_a_default_and_there_is_one_binding() {
    let registry = Registry::default();
    let refused = [
        registry.owner(&channel("thing:1")).err().map(|error| error.code()),
        registry.route(&mut event("thing.said", "1", 1)).err().map(|error| error.code()),
    ];
    assert_eq!(refused, [Some(Code::Unavailable); 2], "not that there is no such thing");
    let said = "thing.said".parse().expect("a type");
    let questions: [&dyn Fn(&Registry) -> usize; 8] = [
        &|registry| registry.rules().into_iter().count(),
        &|registry| registry.namespaces().len(),
        &|registry| registry.handlers().len(),
        &|registry| registry.handler("thing").into_iter().count(),
        &|registry| registry.projection(&channel("thing:1")).into_iter().count(),
        &|registry| usize::from(registry.is_durable(&said)),
        &|registry| registry.source(&said).into_iter().count(),
        &|registry| registry.commands().len() + registry.command("thing.go").into_iter().count(),
    ];
    for (number, question) in questions.iter().enumerate() {
        let asked = std::panic::catch_unwind(AssertUnwindSafe(|| question(&registry)));
        assert!(asked.is_err(), "question {number} was answered");
    }
    registry.bind(vec![Arc::new(Things::default())]).expect("one owner each");
    let answers = questions.map(|question| question(&registry));
    assert_eq!(answers, [8, 4, 1, 1, 0, 1, 1, 0]);
    let again = registry.bind(vec![Arc::new(other("y", &["y"]))]);
    assert_eq!(again, Err(RegistryError::BoundTwice));
    assert_eq!(registry.namespaces(), ["board", "own", "room", "thing"]);
    assert!(registry.owner(&"y:1".parse::<Channel>().expect("a channel")).is_err());
}

#[test]
fn types_without_a_row_are_durable_and_not_built_in_and_the_servers_own_channels_keep_little() {
    let registry = Registry::new(vec![Arc::new(Things::default())]).expect("one owner each");
    let of = |text: &str| {
        let event_type = text.parse().expect("a type");
        (registry.source(&event_type) == Some(Source::Service), registry.is_durable(&event_type))
    };
    assert_eq!([of("thing.said"), of("thing.ticked"), of("thing.other")], [(true, true), (true, false), (false, true)]);
    let rules = registry.rules();
    let kept = Retention { messages: 0, bytes: 0, age_ms: 0 };
    assert_eq!(rules.of("thing"), Some(LogRule { retention: kept, projected: false }));
    let own = rules.of("server").expect("the server's own have a rule");
    assert_eq!((own.retention.messages, own.retention.bytes, own.retention.age_ms), (64, 65_536, 3_600_000));
    assert_eq!(rules.of("nobodys"), None);
}
