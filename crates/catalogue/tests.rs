//! The catalogue over a small domain: what is in its documents, and that they hold together.
//!
//! Guarantees: every form is made of the same rows.
//! Whether parsers of others take the documents is tested in tests/documents.

use std::future::ready;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::{
    Error, Message, Timestamp,
    command::{Command, Json, Method, Need},
    document::{Reply, RequestRow, RouteRow},
    projection::{Fold, Reducer},
};
use validator::Validate;

use crate::{Catalogue, ChannelKind, Domain, Form, Wire};

tidings_core::events! {
    /// The events of shops.
    const EVENTS;

    /// A shop was opened.
    OPENED = "shop.opened": durable Opened, r#"{"shopId":"s1","at":"2026-11-20T20:31:29.123Z"}"#;
    /// Somebody looks.
    LOOKED = "shop.looked": ephemeral Opened, from anyone, r#"{"shopId":"s1"}"#;
    /// A copy for the street.
    LISTED = "shop.listed": durable Opened, from server, in "street", r#"{"shopId":"s1"}"#;
}

/// `shop.opened`: see [`ShopState`].
#[derive(Debug, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Opened {
    /// Which.
    #[validate(length(max = 9))]
    shop_id: String,
    /// When.
    at: Option<Timestamp>,
}

/// How a shop is.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct ShopState {
    open: bool,
}

struct Shop;

impl Reducer for Shop {
    type State = ShopState;
    const VERSION: u32 = 1;
    fn apply(_: &mut ShopState, _: &Message) {}
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
#[expect(dead_code, reason = "only its schema counts")]
enum Notice {
    /// That it is well.
    #[serde(rename = "server.well")]
    Well { reason: String },
    /// That it goes.
    #[serde(rename = "server.gone")]
    Gone(Box<Opened>),
}

fn catalogue() -> Catalogue {
    let (post, get) = ((Method::Post, "/api/shops/{shopId}"), (Method::Get, "/api/shops/{shopId}/text"));
    let open =
        Command::new("shop.open", post, "Opens.", |_: &Opened| Need::Login, |_, input: Opened| ready(Ok(Json(input))));
    let text =
        Command::new("shop.text", get, "Reads.", |_: &Opened| Need::Login, |_, input: Opened| ready(Ok(input.shop_id)));
    let shop = ChannelKind { template: "shop:{shopId}".to_owned(), projection: Some(Fold::<Shop>::projection()) };
    let street = ChannelKind { template: "street:{streetId}:side:{side}".to_owned(), projection: None };
    const ROUTES: &[RouteRow] =
        &[RouteRow::new(Method::Get, "/health", Reply::Json(200, ShopState::json_schema), "Asks.").public()];
    const REQUESTS: &[RequestRow] = &[RequestRow {
        name: "follow",
        doc: "Follows.",
        argument: String::json_schema,
        answer: ShopState::json_schema,
    }];
    Catalogue {
        domains: vec![
            Domain {
                name: "shop".into(),
                channels: vec![shop],
                events: EVENTS.to_vec(),
                commands: vec![open, text],
                is_strict: false,
            },
            Domain { name: "street".into(), channels: vec![street], events: vec![], commands: vec![], is_strict: true },
        ],
        wire: Wire {
            version: "0.0.0",
            routes: ROUTES,
            requests: REQUESTS,
            notices: Notice::json_schema,
            problem: Error::json_schema,
            refused: Error::json_schema,
        },
    }
}

fn parsed(form: Form) -> Value {
    serde_json::from_str(&catalogue().render(form)).expect("JSON")
}

/// Every reference of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    for form in Form::ALL {
        assert_eq!(catalogue().render(form), catalogue().render(form), "{form:?}");
    }
}

#[test]
fn every_reference_leads_somewhere_in_its_document() {
    for form in [Form::JsonSchema, Form::AsyncApi] {
        let (document, mut found) = (parsed(form), Vec::new());
        references(&document, &mut found);
        assert!(found.len() > 5, "{form:?}");
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{form:?}: {reference}");
        }
    }
}

#[test]
fn a_copy_is_in_the_channel_where_it_comes_and_not_in_its_domains() {
    let document = parsed(Form::AsyncApi);
    let messages = |key: &str| -> Vec<String> {
        document["channels"][key]["messages"].as_object().expect("messages").keys().cloned().collect()
    };
    assert_eq!(messages("shop"), ["ShopLookedMessage", "ShopOpenedMessage"]);
    assert_eq!(messages("street"), ["ShopListedMessage"]);
    let published: Vec<_> =
        document["operations"]["shop.publish"]["messages"].as_array().expect("some").iter().collect();
    assert_eq!(published.len(), 2, "the server's own are not published by others");
    assert!(document["operations"].get("street.publish").is_none());
}

#[test]
fn the_input_of_a_command_is_divided_over_path_query_and_body() {
    let document = parsed(Form::OpenApi);
    let open = &document["paths"]["/api/shops/{shopId}"]["post"];
    let body = &open["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"].as_object().expect("fields").keys().collect::<Vec<_>>(), ["at", "commandId"]);
    assert_eq!(open["requestBody"]["required"], false, "nothing of it is needed");
    let statuses: Vec<_> = open["responses"].as_object().expect("responses").keys().collect();
    assert_eq!(statuses, ["200", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "500", "503"]);
    let codes = |name: &str| {
        document["components"]["responses"][name]["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"].clone()
    };
    assert_eq!(codes("Unavailable"), serde_json::json!(["overloaded", "unavailable", "draining"]));
    assert_eq!(codes("UnsupportedMediaType"), codes("BadRequest"), "HTTP's own have the nearest code");
    let text = &document["paths"]["/api/shops/{shopId}/text"]["get"];
    let places: Vec<_> =
        text["parameters"].as_array().expect("some").iter().map(|it| (&it["name"], &it["in"])).collect();
    assert_eq!(places, [(&Value::from("shopId"), &Value::from("path")), (&Value::from("at"), &Value::from("query"))]);
    assert_eq!(text["responses"]["200"]["content"]["text/plain"]["schema"]["type"], "string");
    assert_eq!(document["paths"]["/health"]["get"]["security"], Value::Array(vec![]), "it needs no token");
}

#[test]
fn a_durable_message_has_a_number_in_its_type_and_an_ephemeral_one_has_none() {
    let text = catalogue().render(Form::TypeScript);
    for part in [
        "\"shop.opened\": Durable<\"shop.opened\", ShopOpened>;",
        "\"shop.looked\": Ephemeral<\"shop.looked\", ShopLooked>;",
        "\"server.well\": Notice<\"server.well\", ServerWell>;",
        "name: `street:${string}:side:${string}`;",
        "snapshot: ShopState;",
        "\"shop.text\": { input: ShopTextInput; answer: string };",
        "\"shop:{shopId}\": {\n    \"shop.opened\": ShopOpened;\n    \"shop.looked\": ShopLooked;\n  };",
        "commandId?: string;",
        "/** `shop.opened`: see `ShopState`. */",
        "at?: Timestamp | null;",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_page_has_each_event_with_its_example_and_what_its_fields_are_of() {
    let page = catalogue().render(Form::Markdown);
    for part in [
        "### shop.opened\n\nA shop was opened. **durable**, said by **a service**.",
        "{\"shopId\":\"s1\",\"at\":\"2026-11-20T20:31:29.123Z\"}",
        "| `at`? | `Timestamp \\| null` | When. |",
        "A copy for the street. **durable**, said by **the server**. It is a copy.",
        "### ShopState",
        // Also where the data are of a type of their own.
        "### server.gone\n\nThat it goes.\n\n| field | type | meaning |\n|---|---|---|\n| `at` | `Timestamp \\| null` | When. |",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
