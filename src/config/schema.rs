//! Every key of the configuration.
//!
//! Guarantees: the one list of keys; files, variables, `tidings check` and docs/OPERATIONS.md all go by it.
//! It is not where values live: see the sections.

use super::{
    agents, git,
    key::{Key, count, key, line, list, secret},
    kind::Kind,
    passes::{
        is_absolute, is_any, is_filter, is_long, is_network, is_origin, is_pattern, is_protocol, is_role, is_segment,
        is_variable,
    },
    walls,
};

const MS: u64 = 1000;
const MINUTE: u64 = 60;
const DAY: u64 = 86_400;
const CENTURY: u64 = 36_500 * DAY;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;

/// Every key, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key(
        "listen",
        Kind::Address,
        "Where the server listens; port 0 takes a free one. `PORT` of the environment sets its port only.",
    ),
    key(
        "data_dir",
        Kind::Text,
        "The directory that holds everything: the event log, the users, the signing key. One server at a time.",
    ),
    key(
        "drain_ms",
        Kind::Whole(0, 600 * MS),
        "How long a stop may take, beside `run.grace_ms` for programs and five seconds: clients are sent away over this time.",
    ),
    key(
        "log.durability",
        Kind::Word(&["power", "process"]),
        "What a commit waits for: `power` for the disk, so that nothing is lost with the power; `process` for the operating system, so that only a crash of the machine can take back the newest messages (their channels then get a new epoch).",
    ),
    key(
        "log.total_bytes",
        Kind::Size(0, PIB),
        "The most that all messages together take, with their rows; beyond it the oldest go. Nothing else in the log counts. 0: without limit.",
    ),
    key("log.reserve_bytes", Kind::Size(0, 100 * GIB), "Disk space held back so that trimming works on a full disk."),
    key(
        "log.answers_bytes",
        Kind::Size(0, PIB),
        "The most that the answers of all commands take that are kept for repeats; beyond it the oldest go. 0: without limit.",
    ),
    key(
        "log.answers_per_user_bytes",
        Kind::Size(0, PIB),
        "The same of one user. Of an answer longer than 64 KiB only its outcome is kept. 0: without limit.",
    ),
    key(
        "log.commands_per_user",
        Kind::Whole(0, 1 << 53),
        "Commands with a `commandId` of one user in 24 hours, without reads; more are `overloaded`. 0: without limit.",
    ),
    key(
        "log.ids_per_user",
        Kind::Whole(0, 1 << 53),
        "Publications with an `id` of one user in 24 hours; more are `overloaded`, and without an `id` they pass. Administrators are not counted. 0: without limit.",
    ),
    key(
        "log.channels_per_user",
        Kind::Whole(0, 1 << 53),
        "New channels of one user in a day of UTC, by what it publishes and starts; more are `overloaded`. What administrators publish is not counted. 0: without limit.",
    ),
    key(
        "retention.*.messages",
        Kind::Whole(0, 1 << 53),
        "The most messages that a channel of this namespace keeps. 0: without limit. Absent: as the domain has it.",
    ),
    key(
        "retention.*.bytes",
        Kind::Size(0, PIB),
        "The most data that a channel of this namespace keeps. 0: without limit.",
    ),
    key(
        "retention.*.age",
        Kind::Time(0, CENTURY),
        "How long a message of this namespace is kept. `0s`: without limit.",
    ),
    key("auth.issuer", Kind::Text, "The `iss` of the server's own tokens."),
    key("auth.audience", Kind::Text, "The `aud` that a token must have."),
    secret(
        "auth.secret",
        Kind::Checked { what: "a text of at least 32 bytes", passes: is_long },
        "The HS256 secret that tokens are signed with. Without it, one is made in the data directory.",
    ),
    key(
        "auth.secret_file",
        Kind::Text,
        "A file that holds that secret instead; white space at its ends does not count.",
    ),
    key("auth.access_ttl", Kind::Time(1, 365 * DAY), "How long an access token lives."),
    key("auth.refresh_ttl", Kind::Time(MINUTE, 3650 * DAY), "How long a refresh token waits for its use."),
    key(
        "auth.refresh_grace",
        Kind::Time(0, 3600),
        "How long a used refresh token gets the same answer again. `0s`: never.",
    ),
    key(
        "auth.leeway",
        Kind::Time(0, 3600),
        "How far the clocks of other applications may be off. So long a revocation holds for new tokens of theirs.",
    ),
    key(
        "auth.login_per_address",
        Kind::Whole(0, 1_000_000),
        "Failed logins of one address (of IPv6, of a /64) in a window, under names as which it never logged in. 0: \
         without limit.",
    ),
    key(
        "auth.login_per_name",
        Kind::Whole(0, 1_000_000),
        "Logins of one name in a window: of each address that logged in as it before, and of all others together, of \
         which one gets half. 0: without limit.",
    ),
    key("auth.login_window", Kind::Time(1, DAY), "The window of both."),
    key(
        "auth.login_remembered",
        Kind::Time(0, 3650 * DAY),
        "How long it counts that an address logged in under a name; the last 32 of a user do. `0s`: never.",
    ),
    key(
        "auth.max_logins_per_user",
        Kind::Whole(0, 1000),
        "Logins of one user that go on; one more ends that which was not used for longest. 0: without limit.",
    ),
    key("auth.keys", Kind::Tables, "Keys of applications whose tokens are accepted, as `[[auth.keys]]`: see below."),
    key("socket.ping_interval_ms", Kind::Whole(MS, 120 * MS), "The time between pings to a client."),
    key("socket.ping_timeout_ms", Kind::Whole(MS, 120 * MS), "The time a client has to answer one."),
    key(
        "socket.connect_timeout_ms",
        Kind::Whole(MS, 120 * MS),
        "The time to present a token after a connection was opened or the namespace was left, and to finish an upgrade.",
    ),
    key("socket.max_message_bytes", Kind::Size(KIB, 16 * MIB), "The largest message, to the server and to clients."),
    key("socket.max_subscriptions", Kind::Whole(1, 100_000), "The most channels that one connection follows."),
    key(
        "socket.rate_burst",
        Kind::Whole(1, 1_000_000),
        "How many events a connection may send at once before it is slowed down.",
    ),
    key("socket.rate_per_second", Kind::Whole(1, 1_000_000), "How many events a second it may send after that."),
    key(
        "socket.mailbox",
        Kind::Whole(8, 65_536),
        "How many events of a connection may wait; beyond it the connection is not read.",
    ),
    key(
        "socket.mailbox_bytes",
        Kind::Size(4 * MIB, GIB),
        "How many bytes of a connection's events may wait; from half of it on the connection is not read. At least four times `socket.max_message_bytes`, whatever is said here.",
    ),
    key(
        "socket.answer_bytes",
        Kind::Size(64 * KIB, GIB),
        "From so many bytes of answers that a connection has not read none of its further events is taken. With four times as many it is ended.",
    ),
    key(
        "socket.held_bytes_per_user",
        Kind::Size(0, 1 << 40),
        "How many bytes may be held for one user over all connections and requests: events until they are answered, answers until they are read (over HTTP those above 64 KiB), filters of subscriptions as long as these, bodies until they are answered. At least twice `socket.mailbox_bytes` and `http.body_limit_bytes`. 0: without limit.",
    ),
    key("socket.held_bytes_total", Kind::Size(0, 1 << 40), "The same of all users together. 0: without limit."),
    key(
        "socket.max_connections",
        Kind::Whole(1, 10_000_000),
        "How many connections the server takes; more are asked to come back.",
    ),
    key(
        "socket.max_connections_per_user",
        Kind::Whole(0, 10_000_000),
        "How many of them one user may have; more are refused as `overloaded`. 0: a user has no bound of its own, and one may take all.",
    ),
    key(
        "socket.max_handshakes",
        Kind::Whole(1, 1_000_000),
        "How many WebSockets and polling sessions may be open whose client is not connected yet. One more replaces the oldest of the address (of IPv6, a /64) that holds most; where its own holds as many, only one that is older than 2 s, and else it is asked to come back.",
    ),
    key(
        "http.cors_origins",
        list(0, "an origin such as https://app.example.com with nothing behind it, not even a /; or *", is_origin),
        "Origins whose pages may use the server, over Socket.IO and HTTP. None: pages of its own origin only, and where it listens to this machine alone those of this machine (`localhost`, any port), unless a proxy passes them on. `*`: any, without credentials.",
    ),
    key(
        "http.accept_per_second",
        Kind::Whole(0, 1_000_000),
        "How many TCP connections the server takes in a second while live deliveries would suffer for more: while its tasks wait 20 ms or longer for their turn. At other times nobody is held back. 0: never.",
    ),
    key("http.body_limit_bytes", Kind::Size(KIB, 256 * MIB), "The largest body of a request."),
    key(
        "http.body_timeout",
        Kind::Time(0, DAY),
        "How long the server waits for a body of which no byte comes, on every route; then it answers 408, and the connection ends. So long, too, may a WebSocket message take to come whole. `0s`: for ever.",
    ),
    key(
        "http.body_bytes_per_second",
        Kind::Size(0, GIB),
        "The least rate of a body: all its pauses together may take `http.body_timeout`, and a second more for so many bytes that have come. So a body of 1 MiB has ended after 15 s + 256 s. 0: without.",
    ),
    key(
        "http.answer_timeout",
        Kind::Time(0, DAY),
        "How long an answer may wait for a client that reads nothing of it; then the connection ends. It counts only while the system takes no more of the answer, so never for a poll that waits, and not for WebSockets. `0s`: for ever.",
    ),
    key("http.answer_bytes_per_second", Kind::Size(0, GIB), "The same least rate for the reading of answers."),
    key(
        "http.rate_burst",
        Kind::Whole(1, 1_000_000),
        "How many requests a user may send at once, or an address without a good token (of IPv6, a /64). `POST /api/events` does not count: its events wait for room in the log's queue.",
    ),
    key(
        "http.rate_per_second",
        Kind::Whole(0, 1_000_000),
        "How many requests a second after that; more are `rate_limited`. 0: without limit.",
    ),
    key(
        "http.max_requests_per_user",
        Kind::Whole(0, 1_000_000),
        "Requests of one user, or of one address without a good token, that are under way at once; more are `rate_limited`. 0: without limit.",
    ),
    key(
        "http.max_requests",
        Kind::Whole(0, 1_000_000),
        "Requests that are under way at once; more are `overloaded`. 0: without limit.",
    ),
    key("http.metrics_public", Kind::Flag, "Whether `/metrics` answers without a token."),
    key(
        "http.trusted_proxies",
        list(0, "an address or a network such as 10.0.0.0/8", is_network),
        "Proxies whose `X-Forwarded-For` says who the client is.",
    ),
    key(
        "commands.max_per_user",
        Kind::Whole(0, 1_000_000),
        "Commands of one user that run at once, over Socket.IO and HTTP and whether or not somebody still waits for their answers; more are `rate_limited`. 0: without limit.",
    ),
    key(
        "commands.max_total",
        Kind::Whole(0, 1_000_000),
        "Commands that run at once; more are `overloaded`. 0: without limit.",
    ),
    key(
        "domains",
        Kind::Tables,
        "Domains of your own, as `[[domains]]`: a name, a form of channels, schemas of events. See [ADDING_A_DOMAIN.md](ADDING_A_DOMAIN.md#by-configuration-alone).",
    ),
    agents::ENABLED,
    agents::ADAPTER,
    line(
        "agents.*.command",
        1,
        "The program and its arguments. `{prompt}` in one is replaced by the prompt; without it the prompt goes to standard input. A prompt that begins with `-` is refused where its argument would, unless `--` stands before it.",
    ),
    key(
        "agents.*.stdin",
        Kind::Word(&["open", "close"]),
        "Whether standard input stays open for messages after the prompt.",
    ),
    line(
        "agents.*.resume",
        1,
        "The program and its arguments when an earlier conversation is to go on: `{agentSessionId}` in one is replaced by the agent's own id of it. Absent: it cannot be resumed (`acp` can without).",
    ),
    line(
        "agents.*.terminal",
        1,
        "The program and its arguments where a session is started with `pty`: what a person would type, without a format for programs. `{prompt}` in one is replaced by the prompt; without it the prompt is typed. Absent: `command` for the adapter `lines`, no terminal for the others.",
    ),
    key(
        "agents.*.projects",
        list(1, "the id of a project", is_segment),
        "The projects that it may be started in. Absent: all.",
    ),
    key(
        "agents.*.roles",
        list(1, "one of admin, owner, operator, viewer", is_role),
        "Who may start it, of those who may command the project: users of one of these roles, on the server or in the project, and administrators. Absent: all of them.",
    ),
    key(
        "agents.*.sandbox",
        Kind::Word(&["off", "data", "project"]),
        "What its program is kept from, as `run.sandbox`. Absent: as there.",
    ),
    key(
        "agents.*.sandbox_read",
        list(0, "an absolute path", is_absolute),
        "What it may read and run in its sandbox, beside `run.sandbox_read`.",
    ),
    key(
        "agents.*.sandbox_write",
        list(0, "an absolute path", is_absolute),
        "What it may read, run and change in its sandbox, beside `run.sandbox_write`: for one the folder of its own settings.",
    ),
    agents::PUBLISH,
    key(
        "project.roots",
        list(0, "an absolute path", is_absolute),
        "The directories that roots of projects lie beneath. None: anywhere but in `/proc`, `/sys`, `/dev` and `/etc`. No root is, holds or lies in the data directory, or holds the configuration.",
    ),
    key(
        "run.user",
        Kind::Text,
        "The system user that programs run as. Needs a server that runs as root. Absent: the server's own.",
    ),
    line(
        "run.wrapper",
        0,
        "A program and arguments put before every command, such as a sandbox; `{root}` is the project's root. The program is an absolute path, or found on the absolute folders of `PATH`, never in a project.",
    ),
    walls::SANDBOX,
    walls::SANDBOX_READ,
    walls::SANDBOX_WRITE,
    key(
        "run.env",
        list(0, "the name of a variable, none of TIDINGS_*", is_variable),
        "What programs get of the server's environment.",
    ),
    secret("run.set.*", Kind::Checked { what: "a text", passes: is_any }, "A further variable for programs."),
    key(
        "run.nice",
        Kind::Whole(0, 19),
        "How far programs step back behind the server where both want the same processor: with 15 a program gets a thirtieth of what the server gets. 0: not at all.",
    ),
    key("run.grace_ms", Kind::Whole(0, 600 * MS), "The time from TERM to KILL."),
    key("run.heartbeat_ms", Kind::Whole(0, 600 * MS), "The time between heartbeats of a session. 0: none."),
    key("run.max_per_user", Kind::Whole(0, 100_000), "Sessions of one user that run at once. 0: without limit."),
    key("run.max_per_project", Kind::Whole(0, 100_000), "Sessions of one project that run at once. 0: without limit."),
    key("run.max_total", Kind::Whole(0, 100_000), "Sessions that run at once. 0: without limit."),
    key("run.max_time", Kind::Time(0, 365 * DAY), "How long a session may run. `0s`: without limit."),
    key("run.max_output_bytes", Kind::Size(0, PIB), "How much a session may print. 0: without limit."),
    key(
        "run.max_silence",
        Kind::Time(0, 365 * DAY),
        "How long a session may print nothing while it works; waiting for a person is no silence. `0s`: without limit.",
    ),
    key(
        "run.linger_ms",
        Kind::Whole(0, 600 * MS),
        "How long an agent whose standard input is closed may stay after it has answered. 0: for ever.",
    ),
    key("workflow.max_per_user", Kind::Whole(0, 100_000), "Runs of one user that are open at once. 0: without limit."),
    key(
        "workflow.max_per_project",
        Kind::Whole(0, 100_000),
        "Runs of one project that are open at once. 0: without limit.",
    ),
    key("workflow.max_total", Kind::Whole(0, 100_000), "Runs that are open at once. 0: without limit."),
    key(
        "workflow.max_concurrency",
        Kind::Whole(0, 10_000),
        "Steps of one run that work at once; a definition may say fewer. 0: without limit.",
    ),
    key(
        "workflow.max_working_steps",
        Kind::Whole(0, 100_000),
        "Steps of all runs that work at once; more wait for their turn. 0: without limit.",
    ),
    key("workflow.max_steps", Kind::Whole(1, 10_000), "Steps of a run, with each of a matrix."),
    key("workflow.max_definition_bytes", Kind::Size(KIB, 16 * MIB), "The longest definition."),
    key(
        "workflow.max_output_bytes",
        Kind::Size(0, PIB),
        "How much one attempt of a step may print and report. 0: without limit.",
    ),
    key(
        "workflow.max_step_time",
        Kind::Time(0, 365 * DAY),
        "How long an attempt may take whose step has no `timeout`; approvals wait. `0s`: without limit.",
    ),
    key(
        "fs.max_read_bytes",
        Kind::Size(KIB, 16 * MIB),
        "The most of a file that one answer of `fs.read` holds; the rest comes in further parts.",
    ),
    key("fs.max_entries", Kind::Whole(1, 10_000), "The most entries that one answer of `fs.list` holds."),
    key(
        "fs.max_watched",
        Kind::Whole(0, 10_000),
        "Projects that are watched at once. Each takes one of the system's inotify instances.",
    ),
    key(
        "fs.max_directories",
        Kind::Whole(1, 1_000_000),
        "Directories of a project that are watched, without those that `.gitignore` leaves out; of more, `fs.rescan` is told.",
    ),
    key(
        "fs.linger",
        Kind::Time(0, DAY),
        "How long a project stays watched after the last subscriber of its channel has gone.",
    ),
    key(
        "git.operation_timeout",
        Kind::Time(0, 30 * DAY),
        "How long an operation such as a clone may take. `0s`: without limit.",
    ),
    key("git.read_timeout", Kind::Time(1, 3600), "How long a command that only reads, such as `git.status`, may take."),
    key(
        "git.max_operations",
        Kind::Whole(1, 10_000),
        "Operations that run at once, of all projects. In a project one runs at a time. More wait for their turn.",
    ),
    key(
        "git.max_waiting_operations",
        Kind::Whole(0, 10_000),
        "How many of them may wait for their turn; more are `overloaded`. Those of a project come in their order, and between projects the next turn is for the user with the fewest running.",
    ),
    key("git.max_waiting_operations_per_project", Kind::Whole(0, 100), "The same of one project."),
    key("git.max_waiting_operations_per_user", Kind::Whole(0, 10_000), "The same of one user."),
    key(
        "git.max_reads",
        Kind::Whole(1, 10_000),
        "Commands that only read at once, of all projects; each runs a few processes, one after the other. More wait for their turn.",
    ),
    key("git.max_reads_per_project", Kind::Whole(1, 10_000), "The same of one project."),
    key(
        "git.max_waiting_reads",
        Kind::Whole(0, 1_000_000),
        "How many of them may wait for their turn; more are `overloaded`. Turns go round between the users that wait.",
    ),
    key("git.max_waiting_reads_per_project", Kind::Whole(0, 1_000_000), "The same of one project."),
    key("git.max_waiting_reads_per_user", Kind::Whole(0, 1_000_000), "The same of one user."),
    key(
        "git.max_patch_bytes",
        Kind::Size(KIB, 16 * MIB),
        "The longest patch in an answer; what is longer is cut, and said to be.",
    ),
    key(
        "git.protocols",
        list(1, "one of https, http, ssh, git, file", is_protocol),
        "How remotes may be reached. With `file`, whoever may command a project can clone what the user that programs run as can read, and a push runs the hooks of the repository that it goes to.",
    ),
    key(
        "git.repository_programs",
        Kind::Flag,
        "Whether operations run what a repository itself names: its hooks, its filters, its merge drivers. Then neither wall stands before them. Reading never does.",
    ),
    git::PROGRAMS,
    git::READABLE,
    git::UNCONFINED,
    git::SHADOW_DIR,
    line(
        "shell.command",
        0,
        "The program and arguments of a terminal that names none. Empty: `SHELL` of the programs' environment, else `/bin/sh`.",
    ),
    key(
        "shell.idle",
        Kind::Time(0, 365 * DAY),
        "How long a terminal may be without a viewer and without input before it is ended. `0s`: for ever.",
    ),
    key(
        "shell.max_per_user",
        Kind::Whole(0, 100_000),
        "Terminals of one user at once, without those of sessions. 0: without limit.",
    ),
    key(
        "shell.max_per_project",
        Kind::Whole(0, 100_000),
        "Terminals of one project at once, without those of sessions. 0: without limit.",
    ),
    key("shell.max_total", Kind::Whole(0, 100_000), "Terminals at once, without those of sessions. 0: without limit."),
    key(
        "redaction.enabled",
        Kind::Flag,
        "Whether what looks like a key, a token or a password is taken out of programs' output.",
    ),
    count(
        "redaction.patterns",
        list(0, "a regular expression", is_pattern),
        "Patterns beside the built-in ones. Where one has a group named `secret`, only that is hidden.",
    ),
    key("bus.debug", Kind::Flag, "Whether every event is logged, without its data."),
    key(
        "log_output.filter",
        Kind::Checked {
            what: "a filter such as info or tidings=debug,info: a level (off, error, warn, info, debug, trace), target=level, or several with commas",
            passes: is_filter,
        },
        "What the server logs on standard error. Of libraries it is never more than warnings: some would write whole messages, with the tokens in them.",
    ),
    key("log_output.format", Kind::Word(&["text", "json"]), "Lines for people, or one JSON object a line."),
];
