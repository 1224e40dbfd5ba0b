//! The command line in what its own tests of commands do not have: help, precedence, stopping, directories.
//!
//! Guarantees: as those; every program ends with its test.
//! They are not the tests of single commands: see `commands`.

use std::process::Output;

use tempfile::TempDir;

use crate::server::{Server, tidings};

fn directory(config: &str) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("tidings.toml"), config).expect("writes");
    home
}

fn run(home: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tidings(home.path());
    command.args(arguments).envs(environment.iter().copied()).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let home = directory("");
    let commands: [&[&str]; 13] = [
        &[],
        &["serve"],
        &["check"],
        &["token"],
        &["token", "list"],
        &["token", "revoke"],
        &["emit"],
        &["tail"],
        &["user", "add"],
        &["user", "list"],
        &["user", "passwd"],
        &["user", "disable"],
        &["user", "enable"],
    ];
    for command in commands {
        let help = run(&home, &[command, &["--help"]].concat(), &[]);
        let shown = text(&help.stdout);
        let example = format!("Example:\n  tidings {}", command.join(" "));
        assert!(help.status.success() && shown.contains(example.trim_end()), "{command:?}: {shown}");
    }
}

#[test]
fn a_token_without_whose_it_is_names_both_that_it_may_be() {
    let refused = run(&directory(""), &["token"], &[]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("--user <NAME>") && told.contains("--subject <ID>"), "{told}");
}

#[test]
fn a_flag_counts_more_than_the_file_and_the_file_more_than_the_environment() {
    let home = directory("[socket]\nmailbox = 100\n");
    let environment = [("TIDINGS_SOCKET__MAILBOX", "200"), ("TIDINGS_DRAIN_MS", "7"), ("PORT", "4242")];
    let shown = text(&run(&home, &["check"], &environment).stdout);
    for line in [
        "mailbox = 100  # tidings.toml\n",
        "drain_ms = 7  # TIDINGS_DRAIN_MS\n",
        "listen = \"127.0.0.1:4242\"  # PORT\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
    let shown = text(&run(&home, &["check", "--listen", "127.0.0.1:1"], &environment).stdout);
    assert!(shown.contains("listen = \"127.0.0.1:1\"  # --listen\n"), "{shown}");
}

#[test]
fn what_is_wrong_in_the_environment_is_named_with_what_is_allowed() {
    let home = directory("");
    let table = [
        (("TIDINGS_SOKET__MAILBOX", "200"), "TIDINGS_SOKET__MAILBOX", "no such"),
        (("TIDINGS_SOCKET__MAILBOX", "many"), "socket.mailbox = ", "a whole number from 8 to 65536"),
        (("TIDINGS_LOG__DURABILITY", "none"), "log.durability = ", "one of power, process"),
        (("PORT", "http"), "PORT", "65535"),
    ];
    for (variable, named, allowed) in table {
        for command in ["check", "serve"] {
            let output = run(&home, &[command], &[variable]);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{variable:?}: {error}");
            assert!(error.contains(named) && error.contains(allowed), "{variable:?}: {error}");
        }
    }
    let output = run(&home, &["check"], &[("TIDINGS_AUTH__SECRET", "too-short-a-secret")]);
    let error = text(&output.stderr);
    assert!(error.contains("auth.secret") && !error.contains("too-short-a-secret"), "{error}");
    assert!(!home.path().join("data").exists());
}

#[test]
fn check_hides_every_secret() {
    let secrets = ["0123456789abcdef0123456789abcdef", "key-of-an-agent"];
    let home =
        directory(&format!("[auth]\nsecret = \"{}\"\n[run]\nset = {{ KEY = \"{}\" }}\n", secrets[0], secrets[1]));
    let output = run(&home, &["check"], &[]);
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && shown.matches("(hidden)").count() == 2, "{shown}");
    assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[test]
fn check_hides_the_values_in_command_lines_also_where_something_is_wrong() {
    let sandbox = "[run]\nwrapper = [\"bwrap\", \"--setenv\", \"GITHUB_TOKEN\", \"hunter2\", \"--ro-bind\"]\n";
    let agent =
        "[agents.x]\ncommand = [\"a\", \"--api-key\", \"hunter2\", \"--token=hunter2\", \"--\", \"{prompt}\"]\n";
    let fine = run(&directory(&format!("{sandbox}{agent}")), &["check"], &[]);
    let shown = text(&fine.stdout);
    assert!(fine.status.success() && shown.contains("\"--api-key\", \"[redacted]\""), "{shown}");
    let wrapper = "wrapper = [\"bwrap\", \"--setenv\", \"[redacted]\", \"[redacted]\", \"--ro-bind\"]";
    assert!(shown.contains(wrapper), "{shown}");
    let variable = ("TIDINGS_AGENTS__Y__COMMAND", "[\"b\", \"--password\", \"hunter2\", 5]");
    let wrong = run(&directory(agent), &["check"], &[variable]);
    let said = text(&wrong.stdout) + &text(&wrong.stderr);
    assert!(!wrong.status.success() && said.contains("agents.y.command"), "{said}");
    assert!(!said.contains("hunter2") && !shown.contains("hunter2"), "{said}{shown}");
}

#[test]
fn check_refuses_what_the_start_would_refuse() {
    let table = [
        ("[run]\nuser = \"nobody-of-this-name\"\n", "run.user", "there is no such user"),
        ("[agents.x]\ncommand = [\"{prompt}\"]\n", "agents.x.command", "names its program itself"),
        (
            "[agents.x]\ncommand = [\"a\"]\nterminal = [\"a\", \"--{prompt}\"]\n",
            "agents.x.terminal",
            "names its options",
        ),
    ];
    for (config, key, why) in table {
        let home = directory(config);
        for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let output = run(&home, command, &[]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.contains(key) && said.contains(why), "{command:?}: {said}");
        }
    }
}

#[test]
fn a_log_that_would_be_silent_by_a_typing_error_is_refused_by_the_start_and_the_check() {
    let home = directory("[log_output]\nfilter = \"loud\"\n");
    for command in ["check", "serve"] {
        let refused = run(&home, &[command, "--listen", "127.0.0.1:0"], &[]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command}: {told}");
        assert!(told.contains("log_output.filter") && told.contains("target=level"), "{command}: {told}");
    }
}

#[test]
fn one_fault_of_each_kind_and_all_are_told_at_once_in_a_line_each() {
    let config = r#"
        colour = "blue"
        [socket]
        mailbox = 3
        [auth]
        secret_file = "gone.txt"
        [[auth.keys]]
        kid = "a"
        algorithm = "RS256"
        public_key_file = "tidings.toml"
        [[auth.keys]]
        algorithm = "ES256"
        public_key_file = "gone.pem"
        [run]
        user = "nobody-of-this-name"
        [redaction]
        patterns = ["("]
        [agents.x]
        command = ["{prompt}"]
        [agents.y]
        stdin = "close"
        [[domains]]
        name = "build"
        channel = "build:{buildId}"
        events = [{ type = "build.finished", schema_file = "nope.json" }]
        [[domains]]
        name = "ticket"
        channel = "ticket:{ticketId}"
        events = [{ type = "ticket.opened", schema = { properties = { title = { type = "strng" } } } }]
        [retention.build]
        messages = 5
    "#;
    let told = [
        "colour (tidings.toml): there is no such key",
        "socket.mailbox = 3 (tidings.toml): allowed is",
        "auth.secret_file (tidings.toml): gone.txt cannot be read",
        "auth.keys[0].public_key_file (tidings.toml): tidings.toml: the pem is no public key of this algorithm",
        "auth.keys[1].public_key_file (tidings.toml): gone.pem cannot be read",
        "run.user = nobody-of-this-name (tidings.toml): there is no such user",
        "redaction.patterns = [\"[redacted]\"] (tidings.toml): allowed is a list, each a regular expression",
        "agents.x.command (tidings.toml): names its program itself",
        "agents.y (tidings.toml): missing field `command`",
        "domains[0].events[0].schema_file (tidings.toml): nope.json cannot be read",
        "domains[1].events[0].schema (tidings.toml): is no JSON Schema: schema.properties.title.type: ",
        "TIDINGS_NOTHING (TIDINGS_NOTHING): there is no such variable",
    ];
    let home = directory(config);
    for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = run(&home, command, &[("TIDINGS_NOTHING", "1")]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        for part in told {
            assert_eq!(said.matches(part).count(), 1, "{part}: {said}");
        }
        // A line says that it is not valid, one each what is wrong, and nothing more.
        assert_eq!(said.trim_end().lines().count(), 1 + told.len(), "{said}");
        assert!(!said.contains("urn:") && !home.path().join("data").exists(), "{said}");
    }
    // Whoever only asks the server needs no right to read its keys.
    let home = directory("[auth]\nsecret_file = \"gone.txt\"\n");
    assert!(run(&home, &["schema", "typescript"], &[]).status.success());
}

#[test]
fn the_patterns_of_secrets_are_shown_neither_by_check_nor_in_the_error_for_one_that_is_none() {
    let home = directory("[redaction]\npatterns = [\"hunter2\", \"hush-[0-9]+\"]\n");
    let shown = text(&run(&home, &["check"], &[]).stdout);
    assert!(shown.contains("patterns = [\"[redacted]\", \"[redacted]\"]  # tidings.toml"), "{shown}");
    let bad = directory("[redaction]\npatterns = [\"ok\", \"hunter2(\"]\n");
    let output = run(&bad, &["check"], &[]);
    let said = text(&output.stderr);
    assert!(said.contains("item 2 is none") && output.status.code() == Some(1), "{said}");
    assert!(!shown.contains("hunter2") && !shown.contains("hush") && !said.contains("hunter2"), "{shown}{said}");
}

#[tokio::test]
async fn a_server_with_a_configured_secret_takes_the_tokens_of_that_secret_only() {
    let config = "[auth]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    let (one, other) = (Server::start(config), Server::start(config));
    let apart = Server::start("");
    let token = one.admin();
    assert_eq!(one.get("/api/auth/me", &token).await.status, 200);
    assert_eq!(other.get("/api/auth/me", &token).await.status, 200);
    assert_eq!(apart.get("/api/auth/me", &token).await.status, 401);
}

#[test]
fn the_first_start_says_the_password_once_and_a_second_one_does_not() {
    let mut server = Server::start("");
    let password = server.password().to_owned();
    server.stop();
    server.start_again();
    server.stop();
    assert!(!server.said().contains(&password));
    let log = std::fs::read_dir(server.data_dir()).expect("is there");
    for file in log.flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).expect("reads");
        assert!(!bytes.windows(password.len()).any(|part| part == password.as_bytes()), "{:?}", file.path());
    }
}

#[test]
fn nobody_else_may_look_into_the_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start("");
    let mode = std::fs::metadata(server.data_dir()).expect("is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_its_name() {
    let server = Server::start("");
    let home = directory("");
    let address = server.url().trim_start_matches("http://").to_owned();
    let output = run(&home, &["serve", "--listen", &address], &[]);
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains(&address), "{error}");
}

#[test]
fn the_scripts_for_shells_know_every_command_and_need_no_configuration() {
    let home = directory("this is no TOML");
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&home, &["completions", shell], &[]);
        let (script, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && said.is_empty(), "{said}");
        for word in ["serve", "check", "user", "token", "emit", "schema", "tail", "data-dir"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(&home, &["completions", "cmd"], &[]).status.code(), Some(2));
}
