//! The gate over a log in memory: who may do what, and what happens once and no more.
//!
//! Guarantees: effects are counted where they happen, so that a refusal that had one shows.

mod authorising;
mod commands;
mod existing;
mod history;
mod publishing;
mod repeats;
mod unread;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use smol_str::SmolStr;
use tidings_core::{
    Action, Code, Error, Principal, Result, UserId,
    command::{Answer, Command, Json, Method, Need, Repeated, Reply},
};
use tidings_testkit::PATIENCE;
use tokio::sync::{Semaphore, watch};
use validator::Validate;

use crate::house::{House, Things, channel};

#[derive(Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Say {
    id: UserId,
    #[validate(length(min = 1, max = 10, message = "1 to 10 characters"))]
    text: String,
    #[serde(default)]
    more: Option<serde_json::Value>,
}

#[derive(Deserialize, Validate, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, Validate, JsonSchema)]
struct Fail {
    code: Code,
}

#[derive(Deserialize, Validate, JsonSchema)]
struct Own {
    project: SmolStr,
}

/// What the commands have done.
struct Effects {
    count: AtomicUsize,
    /// A command that waits says so here, and goes on when it gets a permit.
    waiting: watch::Sender<usize>,
    leave: Semaphore,
}

impl Effects {
    fn new() -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), waiting: watch::Sender::new(0), leave: Semaphore::new(0) })
    }

    fn happen(&self) -> usize {
        self.count.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    async fn until_waiting(&self, commands: usize) {
        let mut waiting = self.waiting.subscribe();
        let waited = tokio::time::timeout(PATIENCE, waiting.wait_for(|waiting| *waiting >= commands)).await;
        assert!(waited.is_ok(), "no command waits");
    }
}

/// The answer of the commands: which effect it was.
fn nth(count: usize) -> Result<Json<serde_json::Value>> {
    Ok(Json(json!({"nth": count})))
}

/// The two forms of an answer.
enum Either {
    Text(String),
    Nth(Json<serde_json::Value>),
}

impl Reply for Either {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Json::<serde_json::Value>::schema(generator)
    }
    fn into_answer(self) -> Answer {
        match self {
            Self::Text(text) => text.into_answer(),
            Self::Nth(json) => json.into_answer(),
        }
    }
}

/// A row that needs this, and whose call happens at once.
fn at_once<I>(
    effects: &Arc<Effects>,
    name: &'static str,
    route: (Method, &'static str),
    needs: impl Fn(&I) -> Need + Send + Sync + 'static,
) -> Command
where
    I: DeserializeOwned + Validate + JsonSchema + Send + Sync + 'static,
{
    let effects = effects.clone();
    Command::new(name, route, "", needs, move |_, _: I| ready(nth(effects.happen())))
}

fn commanding(input: &Say) -> Need {
    Need::On(Action::Command, channel(&format!("thing:{}", input.id)))
}

/// Says its text back if there is more, else which effect it was.
fn say(effects: &Arc<Effects>) -> Command {
    let effects = effects.clone();
    Command::new("thing.say", (Method::Post, "/api/things/{id}/say"), "", commanding, move |_, input: Say| {
        ready(match input.more {
            Some(_) => Ok(Either::Text(input.text)),
            None => nth(effects.happen()).map(Either::Nth),
        })
    })
}

/// Goes on when the test lets it.
fn wait(effects: &Arc<Effects>) -> Command {
    let effects = effects.clone();
    Command::new("thing.wait", (Method::Post, "/api/things/{id}/wait"), "", commanding, move |_, _| {
        let effects = effects.clone();
        async move {
            effects.waiting.send_modify(|waiting| *waiting += 1);
            effects.leave.acquire().await.expect("never closed").forget();
            nth(effects.happen())
        }
    })
}

/// Fails with the code that it is asked for.
fn fail(effects: &Arc<Effects>) -> Command {
    let (effects, route) = (effects.clone(), (Method::Post, "/api/things/fail"));
    Command::new(
        "thing.fail",
        route,
        "",
        |_: &Fail| Need::Login,
        move |_, input: Fail| {
            effects.happen();
            ready(Err::<String, _>(Error::new(input.code, "as asked")))
        },
    )
}

fn rows(effects: &Arc<Effects>) -> Vec<Command> {
    let both = |input: &Say| {
        let board = Need::On(Action::Publish, channel("board:all"));
        Need::Both(Box::new(commanding(input)), Box::new(board))
    };
    let own = |input: &Own| Need::ProjectOwner(input.project.clone());
    let panics = |_, _| async {
        if true {
            panic!("a command of a test")
        }
        Ok(String::new())
    };
    let panics_route = (Method::Post, "/api/things/panic");
    vec![
        say(effects),
        wait(effects),
        fail(effects),
        at_once(effects, "thing.both", (Method::Post, "/api/things/{id}/both"), both),
        at_once(effects, "thing.admin", (Method::Post, "/api/things/admin"), |_: &Nothing| Need::Admin),
        at_once(effects, "thing.own", (Method::Patch, "/api/things/own"), own),
        at_once(effects, "thing.list", (Method::Get, "/api/things"), |_: &Nothing| Need::Login),
        Command::new(
            "thing.refuse",
            (Method::Post, "/api/things/refuse"),
            "",
            |_: &Nothing| Need::Login,
            |_, _| ready(Err::<String, _>(Error::invalid_field("place", "is not there"))),
        ),
        Command::new("thing.panic", panics_route, "", |_: &Nothing| Need::Login, panics),
    ]
}

fn things(effects: &Arc<Effects>) -> Things {
    Things { commands: rows(effects), ..Things::default() }
}

/// A command's answer, as JSON.
async fn run(house: &House, who: &Principal, name: &str, json: &str, id: Option<&str>) -> Result<serde_json::Value> {
    let command = house.gate.command(name).expect("a command of the test");
    match house.gate.run_json(who, command, json, id).await? {
        Answer::Json(json) => Ok(serde_json::from_str(json.get()).expect("JSON")),
        Answer::Text(text) => Ok(text.into()),
        Answer::Repeated => Ok(serde_json::to_value(Repeated::TOLD).expect("JSON")),
    }
}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|error| error.code())
}
