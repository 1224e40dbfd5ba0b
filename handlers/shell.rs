//! The domain `shell`: terminals, which live in `shell:terminal:{terminalId}`.
//!
//! Guarantees: owns the namespace `shell`; an event goes to the terminal that its data names; `shell.summary`
//! comes from a terminal's start and ends only. The service is the only source of its events, unless somebody
//! has the grant to ingest.
//! It is not the service: what a command does is in `tidings-services`.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{
    Action, Channel, Error, Event, Result, UserId,
    command::{Caller, Command, Json, Method, Need, answer_with},
    contract::EventRow,
    handler::{Handler, Hosted, Retention, Route},
    projection::{Fold, Projection},
};
use tidings_services::{
    project::contract::{SHELL_SUMMARIES, SHELL_SUMMARY},
    shell::{
        Page, ShellReducer, Shells, TerminalId,
        answer::{ListedShell, ListedShells, OfShell, OpenedShell},
        contract::{Board, ERROR, EVENTS, EXIT, Exited, Failed, OPENED, OUTPUT, Opened, Output},
        input::{ListShells, OneShell, OpenShell, ResizeShell, TypeInput},
    },
};

use crate::project;

const NAMESPACE: &str = "shell";
const KIND: &str = "terminal";

/// The channel of a terminal.
#[must_use]
pub fn channel(id: &TerminalId) -> Channel {
    Channel::of(NAMESPACE, &format!("{KIND}:{id}"))
}

/// The handler of terminals.
#[derive(Debug)]
pub struct ShellHandler {
    shells: Arc<Shells>,
}

impl ShellHandler {
    /// A handler over the service.
    #[must_use]
    pub fn new(shells: Arc<Shells>) -> Self {
        Self { shells }
    }
}

impl Handler for ShellHandler {
    fn domain(&self) -> &'static str {
        "shell"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &[NAMESPACE]
    }

    fn channels(&self) -> Vec<String> {
        vec!["shell:terminal:{terminalId}".to_owned()]
    }

    fn events(&self) -> Vec<EventRow> {
        [EVENTS, SHELL_SUMMARIES].concat()
    }

    fn route(&self, event: &Event) -> Result<Route> {
        route(event)
    }

    fn admit(&self, event: &Event) -> Result<()> {
        if event.event_type.as_str() == OPENED && event.payload.typed::<Opened>()?.hosted {
            return Err(project::only_the_server_hosts());
        }
        Ok(())
    }

    /// Of a terminal that this server runs, producers say nothing.
    fn hosted(&self, event: &Event, home: &Channel) -> Hosted {
        match terminal_of(home) {
            None => Hosted::No,
            Some(id) if self.shells.runs(&id) => Hosted::Yes,
            // It is frequent, and of what has ended it changes nothing.
            Some(_) if event.event_type.as_str() == OUTPUT => Hosted::No,
            Some(id) => Hosted::Ask(Box::pin(self.shells.clone().hosts(id))),
        }
    }

    fn channel(&self, id: &str) -> Option<Channel> {
        id.parse().ok().map(|id: TerminalId| channel(&id))
    }

    fn commands(&self) -> Vec<Command> {
        let mut rows = acting(&self.shells);
        rows.extend(reading(&self.shells));
        rows
    }

    fn projection(&self) -> Option<Arc<dyn Projection>> {
        Some(Fold::<ShellReducer>::projection())
    }

    // A screen needs none of it: what is kept is for whoever reads the history.
    fn retention(&self) -> Retention {
        Retention { messages: 0, bytes: 20_000_000, age_ms: 7 * 24 * 3_600_000 }
    }
}

fn route(event: &Event) -> Result<Route> {
    match event.event_type.as_str() {
        OPENED => {
            let data = event.payload.typed::<Opened>()?;
            let project = data.project_id.as_ref().map(|id| id.as_str().into());
            let route = home(event, &data.terminal_id)?.opening(event.by.clone(), project);
            Ok(with_summary(route, data.board.as_ref()))
        }
        EXIT => {
            let data = event.payload.typed::<Exited>()?;
            home(event, &data.terminal_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        ERROR => {
            let data = event.payload.typed::<Failed>()?;
            home(event, &data.terminal_id).map(|route| with_summary(route, data.board.as_ref()))
        }
        // What is frequent is not looked into again.
        OUTPUT => home(event, &event.payload.typed::<Output>()?.terminal_id),
        _ => other(event),
    }
}

/// To the channel of a terminal, which the event's own must agree with.
fn home(event: &Event, id: &TerminalId) -> Result<Route> {
    Route::named_by("data.terminalId", event, channel(id))
}

/// By the terminal in the data, else, of a type that only its producer knows, by the channel.
fn other(event: &Event) -> Result<Route> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Carried {
        terminal_id: Option<TerminalId>,
    }
    let is_object = event.payload.json().starts_with('{');
    let carried = if is_object { event.payload.typed::<Carried>()?.terminal_id.clone() } else { None };
    match (carried, &event.channel) {
        (Some(id), _) => home(event, &id),
        (None, Some(named)) if terminal_of(named).is_some() => Ok(Route::to(named.clone())),
        (None, Some(_)) => Err(Error::invalid_field("channel", "is shell:terminal:{terminalId}")),
        (None, None) => Err(Error::invalid_field("data.terminalId", "names the terminal")),
    }
}

/// The terminal that a channel is of, if it is a whole `shell:terminal:{terminalId}`.
fn terminal_of(named: &Channel) -> Option<TerminalId> {
    let of = |text: &'static str, rest: &str| rest.strip_prefix(text)?.strip_prefix(':').map(str::to_owned);
    of(KIND, &of(NAMESPACE, named.as_str())?)?.parse().ok()
}

/// With a summary for the project's board, where the service gave something to show.
fn with_summary(route: Route, board: Option<&Board>) -> Route {
    project::with_summary(route, SHELL_SUMMARY, board)
}

/// Whoever has a terminal runs what they like: that needs the right to execute.
fn needs_to_open(input: &OpenShell) -> Need {
    let project = project::channel(&input.project_id);
    let execute = Need::On(Action::Execute, project.clone());
    Need::Both(Box::new(Need::On(Action::Command, project)), Box::new(execute))
}

/// The rows that change something.
fn acting(shells: &Arc<Shells>) -> Vec<Command> {
    let (open, input, resize, close) = (shells.clone(), shells.clone(), shells.clone(), shells.clone());
    vec![
        Command::new(
            "shell.open",
            (Method::Post, "/api/shells"),
            "Opens a terminal in a project: its shell, or a program.",
            needs_to_open,
            move |caller: Caller, input: OpenShell| {
                answer_with(open.clone().open(caller.principal.user, input), |id| {
                    Json(OpenedShell { id: id.clone(), channel: channel(&id), terminal_id: id })
                })
            },
        )
        .with_status(201),
        Command::new(
            "shell.input",
            (Method::Post, "/api/shells/{terminalId}/input"),
            "Types into the terminal. Numbered inputs are taken once, in their order.",
            |input: &TypeInput| Need::On(Action::Command, channel(&input.terminal_id)),
            move |caller: Caller, typed: TypeInput| {
                answer_with(input.clone().input(caller.principal.user, typed), Json)
            },
        )
        .with_status(202),
        Command::new(
            "shell.resize",
            (Method::Post, "/api/shells/{terminalId}/resize"),
            "Makes the terminal another size. The last one wins.",
            |input: &ResizeShell| Need::On(Action::Command, channel(&input.terminal_id)),
            move |caller: Caller, input: ResizeShell| {
                let id = input.terminal_id.clone();
                answer_with(resize.clone().resize(caller.principal.user, input), named(id))
            },
        ),
        Command::new(
            "shell.close",
            (Method::Delete, "/api/shells/{terminalId}"),
            "Closes the terminal: its program hangs up, and after a grace is killed, with all that it started in it.",
            |input: &OneShell| Need::On(Action::Command, channel(&input.terminal_id)),
            move |caller: Caller, input: OneShell| {
                let id = input.terminal_id;
                answer_with(close.clone().close(caller.principal.user, id.clone()), named(id))
            },
        )
        .with_status(202),
    ]
}

/// The answer that names the terminal only.
fn named(terminal_id: TerminalId) -> impl FnOnce(()) -> Json<OfShell> {
    move |()| Json(OfShell { terminal_id })
}

/// The rows that read.
fn reading(shells: &Arc<Shells>) -> Vec<Command> {
    let (list, get) = (shells.clone(), shells.clone());
    vec![
        Command::new(
            "shell.list",
            (Method::Get, "/api/shells"),
            "Lists the terminals that the caller may see, newest first.",
            |_: &ListShells| Need::Login,
            move |caller: Caller, input: ListShells| {
                let visible = move |id: &TerminalId, owner: Option<&UserId>, project: Option<&str>| {
                    caller.visibility.allows(&caller.principal, Action::Subscribe, &channel(id), owner, project)
                };
                answer_with(list.clone().list(input, visible), listed)
            },
        ),
        Command::new(
            "shell.get",
            (Method::Get, "/api/shells/{terminalId}"),
            "The state of a terminal with its screen, as its channel's snapshot has it.",
            |input: &OneShell| Need::On(Action::Subscribe, channel(&input.terminal_id)),
            move |_: Caller, input: OneShell| get.clone().get(input.terminal_id),
        ),
    ]
}

fn listed(page: Page) -> Json<ListedShells> {
    let shells = page.items.into_iter().map(|brief| ListedShell { channel: channel(&brief.id), brief });
    Json(ListedShells { shells: shells.collect(), cursor: page.cursor })
}

#[cfg(test)]
#[path = "cases/shell.rs"]
mod tests;
