//! The gate over a log in memory: who may do what, and what happens once and no more.
//!
//! Guarantees: effects are counted where they happen, so that a refusal that had one shows.

mod authorising;
mod commands;
mod history;
mod publishing;
mod repeats;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::Deserialize;
use serde_json::json;
use smol_str::SmolStr;
use tidings_core::{
    Action, Code, Error, Principal, Result, UserId,
    command::{Answer, Command, Method, Need},
};
use tidings_testkit::PATIENCE;
use tokio::sync::{Semaphore, watch};
use validator::Validate;

use crate::house::{House, Things, channel};

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Say {
    id: UserId,
    #[validate(length(min = 1, max = 10, message = "1 to 10 characters"))]
    text: String,
    #[serde(default)]
    more: Option<serde_json::Value>,
}

#[derive(Deserialize, Validate)]
struct Nothing {}

#[derive(Deserialize, Validate)]
struct Fail {
    code: Code,
}

#[derive(Deserialize, Validate)]
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
fn nth(count: usize) -> Result<Answer> {
    Ok(Answer::json(&json!({"nth": count})))
}

fn rows(effects: &Arc<Effects>) -> Vec<Command> {
    let on = |action, id: &UserId| Need::On(action, channel(&format!("thing:{id}")));
    let (say, slow, both) = (effects.clone(), effects.clone(), effects.clone());
    let (admin, fail, list, own) = (effects.clone(), effects.clone(), effects.clone(), effects.clone());
    vec![
        Command::new(
            "thing.say",
            (Method::Post, "/api/things/{id}/say"),
            "",
            move |input: &Say| on(Action::Command, &input.id),
            move |_, input: Say| {
                let effects = say.clone();
                async move {
                    if input.more.is_some() { Ok(Answer::Text(input.text)) } else { nth(effects.happen()) }
                }
            },
        ),
        Command::new(
            "thing.wait",
            (Method::Post, "/api/things/{id}/wait"),
            "",
            move |input: &Say| on(Action::Command, &input.id),
            move |_, _| {
                let effects = slow.clone();
                async move {
                    effects.waiting.send_modify(|waiting| *waiting += 1);
                    effects.leave.acquire().await.expect("never closed").forget();
                    nth(effects.happen())
                }
            },
        ),
        Command::new(
            "thing.both",
            (Method::Post, "/api/things/{id}/both"),
            "",
            move |input: &Say| {
                let board = Need::On(Action::Publish, channel("board:all"));
                Need::Both(Box::new(on(Action::Command, &input.id)), Box::new(board))
            },
            move |_, _| std::future::ready(nth(both.happen())),
        ),
        Command::new(
            "thing.admin",
            (Method::Post, "/api/things/admin"),
            "",
            |_: &Nothing| Need::Admin,
            move |_, _| std::future::ready(nth(admin.happen())),
        ),
        Command::new(
            "thing.own",
            (Method::Patch, "/api/things/own"),
            "",
            |input: &Own| Need::ProjectOwner(input.project.clone()),
            move |_, _| std::future::ready(nth(own.happen())),
        ),
        Command::new(
            "thing.list",
            (Method::Get, "/api/things"),
            "",
            |_: &Nothing| Need::Login,
            move |_, _| std::future::ready(nth(list.happen())),
        ),
        Command::new(
            "thing.fail",
            (Method::Post, "/api/things/fail"),
            "",
            |_: &Fail| Need::Login,
            move |_, input: Fail| {
                fail.happen();
                std::future::ready(Err(Error::new(input.code, "as asked")))
            },
        ),
        Command::new(
            "thing.panic",
            (Method::Post, "/api/things/panic"),
            "",
            |_: &Nothing| Need::Login,
            |_, _| async { panic!("a command of a test") },
        ),
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
    }
}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|error| error.code())
}
