//! The command line against the real binary: users, tokens, events, following, wrong uses.
//!
//! Guarantees: every server has a directory and a port of its own, and ends with its test; the
//! environment of whoever runs the tests does not reach the programs.
//! They are not tests of the wire: those use clients.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{running::Running, server::program};

fn tidings(dir: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear().current_dir(dir).args(["--data-dir", "data"]);
    command
}

/// Runs a command to its end, with this on its standard input.
fn run(dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = tidings(dir);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    // A command that reads nothing may have ended already.
    drop(child.stdin.take().expect("piped").write_all(input.as_bytes()));
    child.wait_with_output().expect("ends")
}

/// The standard output of a command that succeeds.
fn success(dir: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(dir, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The standard error of a command that ends with this code.
fn failure(dir: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(dir, arguments, "");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).expect("text")
}

/// Starts a server and waits until it listens: the server, and its address.
fn serve(dir: &Path, listen: &str) -> (Running, String) {
    let server = Running::start(tidings(dir).args(["serve", "--listen", listen]));
    loop {
        if let Some(address) = server.line().strip_prefix("listening on http://") {
            return (server, address.to_owned());
        }
    }
}

fn emit(dir: &Path, text: &str) -> String {
    let data = format!("{{\"userId\":\"1\",\"text\":\"{text}\"}}");
    success(dir, &["emit", "user.notice", "--channel", "user:1", "--data", &data], "")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn users_are_added_listed_and_disabled_beside_a_running_server() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    let added = success(dir, &["user", "add", "ada", "--role", "operator"], "a long enough password\n");
    assert!(added.contains(" ada operator active "), "{added}");
    let list = success(dir, &["user", "list"], "");
    assert_eq!(list.lines().count(), 2, "{list}");
    let json = success(dir, &["user", "list", "--json"], "");
    assert!(json.lines().any(|line| line.contains("\"username\":\"ada\"")), "{json}");
    let disabled = success(dir, &["user", "disable", "ada"], "");
    assert!(disabled.contains(" ada operator disabled "), "{disabled}");
    assert!(success(dir, &["user", "enable", "ada"], "").contains(" ada operator active "));
    assert!(failure(dir, &["user", "enable", "nobody"], 1).contains("tidings: "));
    success(dir, &["user", "passwd", "ADA"], "another long password\n");
    let short = run(dir, &["user", "passwd", "ada"], "hunter2\n");
    let text = String::from_utf8_lossy(&short.stderr);
    assert!(short.status.code() == Some(1) && !text.contains("hunter2"), "{text}");
    assert!(failure(dir, &["user", "passwd", "ada"], 1).contains("standard input holds no password"));
}

#[test]
fn what_is_emitted_is_tailed_with_its_bytes_as_they_were() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    let placed = emit(dir, "one");
    assert!(placed.starts_with("user:1 #1 @"), "{placed}");
    let epoch = placed.trim().rsplit('@').next().expect("an epoch").to_owned();
    success(dir, &["emit", "user.notice", "--data", "-"], "{\"userId\":\"1\",  \"b\":1.0,\"a\":[]}");

    let all = Running::start(tidings(dir).args(["tail", "user:1", "--since", "0"]));
    assert!(all.line().ends_with(" user:1 #1 user.notice {\"userId\":\"1\",\"text\":\"one\"}"));
    assert!(all.line().ends_with(" user:1 #2 user.notice {\"userId\":\"1\",  \"b\":1.0,\"a\":[]}"));
    for since in ["1", &format!("1@{epoch}")] {
        let tail = Running::start(tidings(dir).args(["tail", "user:1", "--since", since, "--json"]));
        assert!(tail.line().contains("\"seq\":2"), "{since}");
    }
    let last = Running::start(tidings(dir).args(["tail", "user:1", "--last", "1"]));
    assert!(last.line().contains(" #2 "));
    emit(dir, "three");
    assert!(last.line().contains(" #3 ") && all.line().contains(" #3 "));
}

/// A `tidings tail` with this token, whose lines are those of its standard error.
fn tail_said(dir: &Path, channel: &str, token: &str) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" --data-dir data tail \"$1\" 2>&1 >/dev/null"]).arg(program()).arg(channel);
    Running::start(command.env_clear().current_dir(dir).env("TIDINGS_TOKEN", token))
}

#[test]
fn a_tail_shows_no_character_that_steers_a_terminal_and_its_json_is_the_same_json() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    let steers = "\u{7f}\u{80}\u{9b}\u{9f}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}";
    emit(dir, &format!("a{steers}b"));
    for json in [&["--json"][..], &[]] {
        let line = Running::start(tidings(dir).args(["tail", "user:1", "--since", "0"]).args(json)).line();
        let left: Vec<char> = line.chars().filter(|c| !c.is_ascii_graphic() && *c != ' ').collect();
        assert_eq!(left, Vec::<char>::new(), "{line:?}");
        if let [_] = json {
            let message: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(message["data"]["text"], format!("a{steers}b"));
            assert!(line.contains(r"\u009b"), "{line}");
        } else {
            assert!(line.contains(r"\u{202e}\u{2066}\u{2069}\u{2028}"), "{line}");
        }
    }
}

#[test]
fn a_token_that_could_never_do_anything_is_not_made_and_what_to_write_instead_is_said() {
    let dir = directory();
    let dir = dir.path();
    for (grant, instead) in [("session=subscribe", "'session:*'"), ("SESSION:*=subscribe", "'session:*'")] {
        let told = failure(dir, &["token", "--subject", "ci", "--grant", grant], 2);
        assert!(told.contains("matches no channel") && told.contains(instead), "{told}");
    }
    let added = success(dir, &["user", "add", "ada", "--role", "viewer"], "a long enough password\n");
    success(dir, &["user", "add", "root", "--role", "admin"], "a long enough password\n");
    let id = added.split(' ').next().expect("an id").to_owned();
    let (server, address) = serve(dir, "127.0.0.1:0");
    let token = success(dir, &["token", "--subject", "boss", "--role", "admin"], "");
    delete_user(&address, token.trim(), &id);
    let told = failure(dir, &["token", "--subject", &id, "--role", "viewer"], 1);
    assert!(told.contains("deleted") && told.contains("no token of it is ever good"), "{told}");
    drop(server);
}

fn delete_user(address: &str, token: &str, id: &str) {
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    let ask = format!(
        "DELETE /api/users/{id} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).expect("asks");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[test]
fn a_tail_says_why_its_token_is_refused_and_that_nothing_is_in_its_channel() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    let token = success(dir, &["token", "--subject", "a", "--role", "viewer"], "");
    let waits = tail_said(dir, "session:typo", token.trim()).line();
    assert!(waits.contains("session:typo: nothing was ever published there"), "{waits}");
    let refused = tail_said(dir, "session:1", "not-a-token").line();
    assert!(refused.contains("(unauthenticated)") && !refused.contains("not-a-token"), "{refused}");
}

#[test]
fn a_refused_event_says_its_reason_once() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    let told = failure(dir, &["emit", "build.done", "--data", "{}"], 1);
    let reason = told.split("refused: ").nth(1).and_then(|rest| rest.split(" (").next()).expect("a reason");
    assert_eq!(told.matches(reason).count(), 1, "{told}");
    let fields = failure(dir, &["emit", "user.notice", "--channel", "user:1", "--data", "{\"userId\":5}"], 1);
    assert!(fields.contains("; data.userId: "), "{fields}");
}

#[test]
fn a_revocation_says_what_was_revoked() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    success(dir, &["token", "--subject", "a", "--role", "viewer"], "");
    let list = success(dir, &["token", "list"], "");
    let id = list.split(' ').next().expect("an id");
    for (id, told) in [(id, "was revoked;"), (id, "was revoked already"), ("nope", "nope is not listed here; its id")] {
        let output = run(dir, &["token", "revoke", id], "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(told), "{said}");
    }
}

#[test]
fn a_tail_goes_on_where_it_was_after_the_server_was_killed() {
    let dir = directory();
    let dir = dir.path();
    let (mut server, address) = serve(dir, "127.0.0.1:0");
    emit(dir, "one");
    let tail = Running::start(tidings(dir).args(["tail", "user:1", "--since", "0"]));
    assert!(tail.line().contains(" #1 "));
    server.kill();
    let (_server, _) = serve(dir, &address);
    emit(dir, "two");
    emit(dir, "three");
    assert!(tail.line().contains(" #2 "));
    assert!(tail.line().contains(" #3 "));
}

#[test]
fn a_token_does_what_its_grants_say_and_no_more() {
    let dir = directory();
    let dir = dir.path();
    let (_server, _) = serve(dir, "127.0.0.1:0");
    emit(dir, "one");
    let token = success(dir, &["token", "--subject", "ci", "--grant", "user:1=subscribe", "--ttl", "5m"], "");
    assert_eq!(token.lines().count(), 1);
    std::fs::write(dir.join("token"), &token).expect("writes");
    let own = Running::start(tidings(dir).args(["tail", "user:1", "--last", "1", "--token-file", "token"]));
    assert!(own.line().contains(" #1 "));
    let refused = failure(dir, &["tail", "user:2", "--token-file", "token"], 1);
    assert!(refused.contains("(forbidden)"), "{refused}");
    let refused = failure(dir, &["emit", "user.notice", "--data", "{\"userId\":\"1\"}", "--token-file", "token"], 1);
    assert!(refused.contains("(forbidden)"), "{refused}");
    std::fs::write(dir.join("token"), "nonsense").expect("writes");
    let refused = failure(dir, &["tail", "user:1", "--token-file", "token"], 1);
    assert!(refused.contains("Authentication error") && !refused.contains("nonsense"), "{refused}");
}

#[test]
fn a_second_server_on_a_directory_names_the_first() {
    let dir = directory();
    let dir = dir.path();
    let (server, address) = serve(dir, "127.0.0.1:0");
    let error = failure(dir, &["serve", "--listen", "127.0.0.1:0"], 1);
    assert!(error.contains(&server.id().to_string()) && error.contains(&address), "{error}");
}

#[test]
fn without_a_server_or_a_directory_commands_say_so() {
    let dir = directory();
    let dir = dir.path();
    for arguments in [&["token", "--subject", "ci"][..], &["user", "list"], &["tail", "user:1"]] {
        assert!(failure(dir, arguments, 1).contains("data is no data directory"), "{arguments:?}");
    }
    assert!(!dir.join("data").exists());
    drop(serve(dir, "127.0.0.1:0"));
    let error = failure(dir, &["tail", "user:1", "--listen", "127.0.0.1:1"], 1);
    assert!(error.contains("cannot reach the server"), "{error}");
}

#[test]
fn a_wrong_configuration_is_named_and_nothing_starts() {
    let dir = directory();
    let dir = dir.path();
    std::fs::write(dir.join("tidings.toml"), "[socket]\nping_intervall_ms = 1\nmailbox = 1\n").expect("writes");
    for arguments in [&["serve"][..], &["check"], &["user", "list"]] {
        let error = failure(dir, arguments, 1);
        assert!(
            error.contains(
                "socket.ping_intervall_ms (tidings.toml): there is no such key; is socket.ping_interval_ms meant?"
            ),
            "{error}"
        );
        assert!(
            error.contains("socket.mailbox = 1 (tidings.toml): allowed is a whole number from 8 to 65536"),
            "{error}"
        );
    }
    assert!(!dir.join("data").exists());
    assert!(
        failure(dir, &["check", "--config", "other.toml"], 1)
            .contains("other.toml: the configuration file cannot be read")
    );
    failure(dir, &["dance"], 2);
}

#[test]
fn check_prints_what_counts_and_who_said_it() {
    let dir = directory();
    let dir = dir.path();
    std::fs::write(dir.join("tidings.toml"), "[auth]\nsecret = \"0123456789012345678901234567890123456789\"\n")
        .expect("writes");
    let mut command = tidings(dir);
    command.args(["check", "--listen", "0.0.0.0:1"]).env("TIDINGS_BUS__DEBUG", "true").env("PORT", "2");
    let output = command.output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    for part in [
        "listen = \"0.0.0.0:1\"  # --listen\n",
        "data_dir = \"data\"  # --data-dir\n",
        "debug = true  # TIDINGS_BUS__DEBUG\n",
        "secret = \"(hidden)\"  # tidings.toml\n",
        "# warning: PORT has no effect on listen: --listen",
        "# warning: listen = 0.0.0.0:1 is reachable from other machines",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("0123456789"), "{text}");
    assert!(!dir.join("data").exists());
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let dir = directory();
    let mut child =
        tidings(dir.path()).arg("check").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
