//! Every figure of `/metrics`: what it counts, by which labels, and that it is there from the start.
//!
//! Guarantees: each counter and gauge whose labels are known stands in the metrics of a fresh server, at zero, so that
//! an alert on it can be written; a tidy test holds this list against the code, and another the page for operators
//! against what a server shows.
//! It counts nothing: whoever does what is counted does.

use metrics::{Label, Unit, describe_counter, describe_gauge, describe_histogram};
use tidings_core::{Action, Code};

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Seconds,
    Sizes,
}

/// The values of one label.
type Values = fn() -> Vec<&'static str>;

/// By which labels.
#[derive(Debug, Clone, Copy)]
enum Labels {
    None,
    /// All of these.
    Known(&'static [(&'static str, Values)]),
    /// As many as come up: nothing is there before something is counted.
    Open,
}

struct Figure {
    name: &'static str,
    kind: Kind,
    labels: Labels,
    doc: &'static str,
}

const fn counter(name: &'static str, doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Counter, labels: Labels::None, doc }
}

const fn by(name: &'static str, labels: &'static [(&'static str, Values)], doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Counter, labels: Labels::Known(labels), doc }
}

const fn gauge(name: &'static str, doc: &'static str) -> Figure {
    Figure { name, kind: Kind::Gauge, labels: Labels::None, doc }
}

fn codes() -> Vec<&'static str> {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}

fn actions() -> Vec<&'static str> {
    Action::ALL.iter().map(|action| action.as_str()).collect()
}

fn endings() -> Vec<&'static str> {
    let ended =
        [Code::TokenExpired, Code::TokenRevoked, Code::RateLimited, Code::Overloaded, Code::Internal, Code::Draining];
    ended.iter().map(|code| code.as_str()).chain(["left", "silent"]).collect()
}

fn refusals_at_the_door() -> Vec<&'static str> {
    [Code::Unauthenticated, Code::TokenExpired, Code::TokenRevoked, Code::BadRequest, Code::Overloaded]
        .iter()
        .map(|code| code.as_str())
        .collect()
}

/// What is refused for its number.
const LIMITS: &[&str] = &[
    "requests",
    "requests_at_once",
    "commands",
    "git_operations",
    "git_reads",
    "login_address",
    "login_name",
    "login_name_share",
    "login_known_address",
    "own_password",
];

/// Whatever may panic and is caught.
const TASKS: &[&str] = &[
    "auth.follow",
    "bus.hear",
    "bus.listener",
    "connection.answer",
    "connection.command",
    "connection.commands",
    "fs.watch",
    "gate.command",
    "gate.once",
    "gate.rejudge",
    "git.operation",
    "git.refresh",
    "http.accept",
    "http.arrivals",
    "http.connection",
    "http.request",
    "hub.drain",
    "hub.fanout",
    "hub.reload",
    "hub.sweep",
    "log.query",
    "log.reader",
    "log.sink",
    "log.writer",
    "programs.start",
    "programs.wall",
    "server.stop",
    "services.blocking",
    "session.run",
    "shell.display",
    "shell.run",
    "sink.bus",
    "sink.hub",
    "sink.states",
    "socketio.close",
    "socketio.session",
    "socketio.sweep",
    "socketio.upgrade",
    "states.draft",
    "states.fold",
    "states.save",
    "telemetry.upkeep",
    "workflow.run",
    "workflow.step",
];

const FIGURES: &[Figure] = &[
    gauge("tidings_connections", "Connections that are logged in"),
    gauge("tidings_subscriptions", "Subscriptions of all connections"),
    counter("tidings_events_in_total", "Events that were accepted"),
    counter("tidings_deliveries_total", "Messages that were written to clients"),
    counter("tidings_delivered_bytes_total", "Bytes of messages that were written to clients"),
    counter("tidings_commands_total", "Events that clients sent over Socket.IO and that were taken"),
    Figure {
        name: "tidings_http_requests_total",
        kind: Kind::Counter,
        labels: Labels::Open,
        doc: "HTTP requests, by matched route and status",
    },
    gauge("tidings_behind_subscriptions", "Subscriptions that are behind the head of their channel"),
    gauge("tidings_slow_clients", "Connections that have more to read than they take"),
    counter("tidings_fell_behind_total", "How often a live subscription fell behind"),
    counter("tidings_replayed_total", "Messages that were read back for subscriptions behind"),
    counter("tidings_replay_failures_total", "How often reading back failed; it is tried again"),
    by(
        "tidings_gaps_total",
        &[("reason", || vec!["trimmed", "lag", "reset"])],
        "How often a subscriber was told of messages that will not come",
    ),
    counter("tidings_ephemeral_dropped_total", "Ephemeral messages that were left out for clients behind"),
    counter(
        "tidings_bus_ephemeral_dropped_total",
        "Ephemeral messages that were left out before a listener of the server",
    ),
    counter("tidings_deltas_dropped_total", "Pieces of text that were left out because the log was slow"),
    counter("tidings_drafts_dropped_total", "Texts in progress that were too many or too large to be kept"),
    Figure {
        name: "tidings_log_commit_seconds",
        kind: Kind::Seconds,
        labels: Labels::None,
        doc: "How long a commit took",
    },
    Figure {
        name: "tidings_log_batch_size",
        kind: Kind::Sizes,
        labels: Labels::None,
        doc: "How many messages went into a commit",
    },
    gauge("tidings_bus_depth", "Bytes that wait to be written to the log"),
    gauge("tidings_log_waiting", "Sends that wait to be written to the log"),
    gauge("tidings_log_healthy", "Whether the log takes writes"),
    gauge("tidings_log_file_bytes", "The size of the log's file"),
    gauge("tidings_log_message_bytes", "What messages take of log.total_bytes, as it was weighed last"),
    counter("tidings_log_failed_total", "Commits that failed"),
    counter("tidings_log_trimmed_total", "Messages that were trimmed"),
    by(
        "tidings_log_answers_dropped_total",
        &[("reason", || vec!["oldest", "too_long", "no_room"])],
        "Answers of commands that a repeat will not get",
    ),
    by(
        "tidings_log_allowance_refused_total",
        &[("what", || vec!["command", "id", "channel"])],
        "Refusals because a user has as much in the log as one may",
    ),
    by("tidings_refusals_total", &[("code", codes)], "Refused requests, by error code"),
    by("tidings_denied_total", &[("action", actions)], "Refusals for want of a right, by what was to be done"),
    by("tidings_bus_refused_total", &[("code", codes)], "Events of the server's own that could not be routed"),
    counter("tidings_bus_listener_failures_total", "Panics of listeners of the server"),
    counter("tidings_rights_unread_total", "Rights of live subscriptions that the log could not give"),
    by("tidings_connections_ended_total", &[("code", endings)], "Connections that ended, by why"),
    by(
        "tidings_connections_refused_total",
        &[("code", refusals_at_the_door)],
        "Connections that were not let in, by why",
    ),
    by(
        "tidings_handshakes_refused_total",
        &[("reason", || vec!["origin", "draining", "connections", "handshakes"])],
        "Connections that were not heard at all, and with the reason origin every request of a foreign page",
    ),
    counter(
        "tidings_handshakes_replaced_total",
        "Connections that were ended before their client had logged in, to make room for one of another address",
    ),
    counter("tidings_handshakes_unfinished_total", "Connections that ended before their client had logged in"),
    counter(
        "tidings_waiting_connections_ended_total",
        "Connections without a request that were ended to make room for another one",
    ),
    counter("tidings_upgrades_failed_total", "Changes from polling to a WebSocket that came to nothing"),
    counter("tidings_accept_paused_total", "How often a crowd was held back"),
    counter("tidings_messages_timed_out_total", "WebSocket messages that did not come whole in their time"),
    counter("tidings_bodies_timed_out_total", "Bodies of requests that did not arrive in their time"),
    counter("tidings_answers_timed_out_total", "Connections that ended because an answer was not read in its time"),
    counter("tidings_accept_failures_total", "Connections that the system did not give"),
    counter(
        "tidings_subscribers_from_the_future_total",
        "Subscriptions that went on from a number that was never given",
    ),
    Figure {
        name: "tidings_running",
        kind: Kind::Gauge,
        labels: Labels::Known(&[("of", || {
            vec!["session", "terminal", "run", "operation", "waiting_operation", "watch", "command"]
        })]),
        doc: "How many run now",
    },
    gauge("tidings_held_bytes", "Bytes that clients make the server hold"),
    by(
        "tidings_held_refused_total",
        &[("bound", || vec!["connection", "user", "total"]), ("of", || vec!["events", "answers", "filters", "bodies"])],
        "How often a bound of held bytes was reached",
    ),
    by(
        "tidings_limited_total",
        &[("limit", || LIMITS.to_vec())],
        "Requests and tries to log in that were refused for their number",
    ),
    by("tidings_logins_total", &[("result", || vec!["ok", "wrong"])], "Tries to log in, by what became of them"),
    by("tidings_logins_ended_total", &[("why", || vec!["too_many", "reused"])], "Logins that the server ended"),
    by(
        "tidings_engine_refusals_total",
        &[("code", || vec!["0", "1", "2", "3", "4", "5"])],
        "Requests under /socket.io/ that Engine.IO refuses, by its code",
    ),
    by(
        "tidings_websockets_failed_total",
        &[("code", || vec!["1002", "1003", "1007", "1008", "1009"])],
        "WebSockets that broke the protocol, by the code of their close frame",
    ),
    gauge("tidings_channels_in_memory", "Channels that are kept in memory"),
    counter("tidings_state_folds_total", "States that were folded from messages"),
    counter("tidings_states_unsettled_total", "Things that ended and that the next start looks at again"),
    counter("tidings_state_wishes_dropped_total", "States that were to be saved and were not: the next time they are"),
    by("tidings_panics_total", &[("task", || TASKS.to_vec())], "Panics that were caught, by where"),
];

/// Says what each figure is, and lets it begin at zero.
pub(crate) fn register() {
    for Figure { name, kind, labels, doc } in FIGURES {
        match kind {
            Kind::Counter => describe_counter!(*name, *doc),
            Kind::Gauge => describe_gauge!(*name, *doc),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *doc),
            Kind::Sizes => describe_histogram!(*name, *doc),
        }
        for labels in every(labels) {
            match kind {
                Kind::Counter => metrics::counter!(*name, labels).increment(0),
                Kind::Gauge => metrics::gauge!(*name, labels).increment(0.0),
                // Nothing has been measured: a histogram has nothing to show.
                Kind::Seconds | Kind::Sizes => {}
            }
        }
    }
}

/// Every set of labels that there can be.
fn every(labels: &Labels) -> Vec<Vec<Label>> {
    match labels {
        Labels::None => vec![Vec::new()],
        Labels::Open => Vec::new(),
        Labels::Known(labels) => labels.iter().fold(vec![Vec::new()], |all, (name, values)| {
            let with = |before: &Vec<Label>| {
                let before = before.clone();
                values()
                    .into_iter()
                    .map(move |value| [before.clone(), vec![Label::from_static_parts(name, value)]].concat())
            };
            all.iter().flat_map(with).collect()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_labels_is_there_once() {
        let two = Labels::Known(&[("a", || vec!["1", "2"]), ("b", || vec!["3", "4", "5"])]);
        let all = every(&two);
        let shown: Vec<String> =
            all.iter().map(|set| set.iter().map(Label::value).collect::<Vec<_>>().join("")).collect();
        assert_eq!(shown, ["13", "14", "15", "23", "24", "25"]);
        assert_eq!((every(&Labels::None).len(), every(&Labels::Open).len()), (1, 0));
        let mut names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "each once");
    }
}
