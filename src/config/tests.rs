//! Tests of the configuration as a whole.
//!
//! Guarantees: they read no environment and no file but their own.
//! It is not a test of quantities: those have theirs.

use tidings_auth::KeyUsers;

use super::{quantity::Size, schema::KEYS, *};

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> FileText {
    FileText { path: PathBuf::from("tidings.toml"), text: text.to_owned() }
}

fn load(environment: &[(&str, &str)], text: &str) -> Result<Config, ConfigError> {
    Config::load(variables(environment), Some(&file(text)), &Flags::default(), |_| Vec::new())
}

fn refusal(environment: &[(&str, &str)], text: &str) -> String {
    load(environment, text).expect_err("is refused").to_string()
}

#[test]
fn a_filter_of_the_log_is_a_level_or_targets_with_levels() {
    for filter in ["off", "INFO", "tidings=debug,info", "info, tidings_engine::hub=trace", "tidings_engine::hub=off"] {
        let config = load(&[], &format!("log_output.filter = \"{filter}\"")).expect(filter);
        assert_eq!(config.log_output.filter, filter);
    }
}

#[test]
fn without_anything_there_are_the_defaults() {
    let config = Config::load([], None, &Flags::default(), |_| Vec::new()).expect("loads");
    assert_eq!(config.listen.to_string(), "127.0.0.1:4100");
    assert_eq!(config.data_dir, PathBuf::from("tidings-data"));
    assert_eq!((config.socket.ping_interval_ms, config.socket.max_message_bytes), (15_000, Size(262_144)));
    assert_eq!(config.origin_of("listen"), Origin::Default);
}

#[test]
fn the_file_counts_more_than_the_environment_and_a_flag_more_than_both() {
    let environment =
        variables(&[("TIDINGS_LISTEN", "127.0.0.1:1"), ("TIDINGS_DATA_DIR", "a"), ("TIDINGS_BUS__DEBUG", "true")]);
    let text = file("listen = \"127.0.0.1:2\"\ndata_dir = \"b\"");
    let flags = Flags { data_dir: Some("c".into()), listen: None };
    let config = Config::load(environment, Some(&text), &flags, |_| Vec::new()).expect("loads");
    assert_eq!((config.listen.port(), config.data_dir.to_str(), config.bus.debug), (2, Some("c"), true));
    assert_eq!(config.origin_of("listen"), Origin::File("tidings.toml".into()));
    assert_eq!(config.origin_of("data_dir"), Origin::Flag("--data-dir"));
    assert_eq!(config.origin_of("bus.debug"), Origin::Variable("TIDINGS_BUS__DEBUG".to_owned()));
    let warnings = config.warnings().join("\n");
    assert!(warnings.contains("TIDINGS_LISTEN has no effect on listen: tidings.toml"), "{warnings}");
}

#[test]
fn port_sets_the_port_only() {
    assert_eq!(load(&[("PORT", "80")], "").expect("loads").listen.to_string(), "127.0.0.1:80");
    let both = [("PORT", "80"), ("TIDINGS_LISTEN", "[::1]:1")];
    assert_eq!(load(&both, "").expect("loads").listen.to_string(), "[::1]:80");
    assert_eq!(load(&both, "listen = \"127.0.0.2:7\"").expect("loads").listen.to_string(), "127.0.0.2:7");
    assert!(refusal(&[("PORT", "http")], "").contains("listen = \"http\" (PORT): allowed is a port from 0 to 65535"));
}

#[test]
fn variables_take_lists_with_commas_and_tables_as_toml() {
    let config = load(
        &[
            ("TIDINGS_HTTP__CORS_ORIGINS", "https://a.example, https://b.example"),
            ("TIDINGS_AGENTS__CLAUDE__COMMAND", r#"["claude", "-p", "{prompt}"]"#),
            ("TIDINGS_AUTH__KEYS", r#"[{algorithm = "RS256", public_key_file = "k.pem"}]"#),
            ("TIDINGS_RUN__SET__API_KEY", "0123"),
            ("TIDINGS_RETENTION__SESSION__AGE", "7d"),
            ("TIDINGS_SOCKET__RATE_BURST", "5"),
            ("TIDINGS_TOKEN", "is no setting"),
        ],
        "",
    )
    .expect("loads");
    assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.agents["claude"].command, ["claude", "-p", "{prompt}"]);
    assert_eq!((config.auth.keys[0].user_claim.as_str(), config.auth.keys[0].users), ("sub", KeyUsers::Foreign));
    assert_eq!(config.run.set["API_KEY"].0, "0123");
    assert_eq!(config.retention["session"].age, Some(Span::seconds(7 * 86_400)));
    assert_eq!(config.socket.rate_burst, 5);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    let error = refusal(
        &[("TIDINGS_SOCKET_PING_INTERVAL_MS", "1"), ("TIDINGS_XYZZY", "1")],
        "[sokcet]\nx = 1\n[http]\ncors = 1",
    );
    assert!(error.contains("is TIDINGS_SOCKET__PING_INTERVAL_MS meant?"), "{error}");
    assert!(error.contains("TIDINGS_XYZZY (TIDINGS_XYZZY): there is no such variable"), "{error}");
    assert!(error.contains("sokcet (tidings.toml): there is no such key; is socket meant?"), "{error}");
    assert!(error.contains("http.cors (tidings.toml): there is no such key"), "{error}");
}

#[test]
fn a_bad_value_is_named_with_where_it_was_said_and_what_is_allowed() {
    let table = [
        (
            "[socket]\nping_interval_ms = 5",
            "socket.ping_interval_ms = 5 (tidings.toml): allowed is a whole number from 1000 to 120000",
        ),
        ("listen = 4100", "listen = 4100 (tidings.toml): allowed is an IP address and a port"),
        ("[log]\ndurability = \"none\"", "log.durability = \"none\" (tidings.toml): allowed is one of power, process"),
        ("[auth]\naccess_ttl = \"15\"", "allowed is a duration from 1s to 365d"),
        ("[auth]\naccess_ttl = 15", "auth.access_ttl = 15 (tidings.toml): allowed is a duration"),
        ("[log]\ntotal_bytes = \"much\"", "allowed is a size"),
        (
            "[http]\ncors_origins = [\"example\"]",
            "http.cors_origins = [\"example\"] (tidings.toml): allowed is a list, each an origin",
        ),
        ("[http]\ntrusted_proxies = [\"10.0.0.0/99\"]", "allowed is a list, each an address or a network"),
        ("[redaction]\npatterns = [\"(\"]", "allowed is a list, each a regular expression"),
        ("[log_output]\nfilter = \"tidings=loud\"", "allowed is a filter"),
        ("[log_output]\nfilter = \"loud\"", "a level (off, error, warn, info, debug, trace), target=level"),
        ("[log_output]\nfilter = \"info,tidings\"", "allowed is a filter"),
        ("[log_output]\nfilter = \"info,tidings=\"", "allowed is a filter"),
        ("[log_output]\nfilter = \"\"", "allowed is a filter"),
        ("[http]\ncors_origins = [\"https://a.example/\"]", "with nothing behind it, not even a /"),
        ("[agents.x]\ncommand = []", "agents.x.command = [] (tidings.toml): allowed is a list that is not empty"),
        ("[agents.x]\ncommand = [\"a\"]\nroles = [\"king\"]", "each one of admin, owner, operator, viewer"),
        ("[agents.x]\ncommand = [\"a\"]\nprojects = []", "a list that is not empty, each the id of a project"),
        (
            "[project]\nroots = [\"srv\"]",
            "project.roots = [\"srv\"] (tidings.toml): allowed is a list, each an absolute",
        ),
        ("[agents.x]\nstdin = \"open\"", "agents.x (tidings.toml): missing field `command`"),
        ("[agents.x]", "agents.x (tidings.toml): an agent needs its command"),
        ("[agents.\"a b\"]\ncommand = [\"x\"]", "agents.a b (tidings.toml): there is no such key"),
        ("log = 1", "log (tidings.toml): is a section of keys, not a value"),
        ("[[auth.keys]]\nalgorithm = \"none\"", "auth.keys[0] (tidings.toml): allowed algorithms are"),
        ("[[auth.keys]]\nalgorithm = \"RS256\"\nfile = \"x\"", "auth.keys[0]"),
        ("[[auth.keys]]\nalgorithm = \"HS256\"\npublic_key_file = \"x\"", "HS256 takes a secret_file"),
        (
            "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret_file = \"x\"\nusers = \"all\"",
            "auth.keys[0].users (tidings.toml): unknown variant `all`, expected `foreign` or `local`",
        ),
    ];
    for (text, expected) in table {
        let error = refusal(&[], text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    let error = refusal(&[("TIDINGS_SOCKET__MAILBOX", "many")], "");
    assert!(
        error.contains("socket.mailbox = \"many\" (TIDINGS_SOCKET__MAILBOX): allowed is a whole number"),
        "{error}"
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let error = load(&[("TIDINGS_A", "1")], "b = 1\n[bus]\ndebug = 1").expect_err("is refused");
    assert_eq!(error.0.len(), 3, "{error}");
}

#[test]
fn a_secret_is_in_no_error_and_no_report() {
    let short = refusal(&[("TIDINGS_AUTH__SECRET", "hunter2")], "[auth]\nsecret = \"hunter2\"\n");
    assert!(!short.contains("hunter2"), "{short}");
    let broken = refusal(&[], "[auth]\nsecret = hunter2\n");
    assert!(!broken.contains("hunter2") && broken.contains("line 2"), "{broken}");
    let typed = refusal(&[], "[auth]\nsecret = [\"hunter2\"]\n[run.set]\nKEY = 31337");
    assert!(!typed.contains("hunter2") && !typed.contains("31337"), "{typed}");
    let typed = refusal(&[], "[agents.x]\ncommand = [\"a\", \"--api-key\", \"hunter2\", 5]");
    assert!(!typed.contains("hunter2") && typed.contains("--api-key"), "{typed}");
    let long = "hunter2".repeat(8);
    let config = load(&[("TIDINGS_RUN__SET__KEY", "hunter2")], &format!("[auth]\nsecret = \"{long}\"")).expect("loads");
    let report = config.effective();
    assert!(!report.contains("hunter2"), "{report}");
    assert!(report.contains("secret = \"(hidden)\"  # tidings.toml"), "{report}");
    assert!(report.contains("KEY = \"(hidden)\"  # TIDINGS_RUN__SET__KEY"), "{report}");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(load(&[], &format!("[auth]\nsecret = \"{long}\"\nsecret_file = \"x\"")).is_err());
}

#[test]
fn the_report_loads_as_the_same_configuration() {
    let text = r#"
        listen = "0.0.0.0:4100"
        [agents.b]
        command = ["b \"x\""]
        [agents.a]
        command = ["a"]
        stdin = "close"
        [retention.session]
        messages = 5
        age = "90m"
        [[auth.keys]]
        algorithm = "HS256"
        secret_file = "s"
    "#;
    let config = load(&[], text).expect("loads");
    let report = config.effective();
    let again = load(&[], &report).expect("loads again");
    // But for the program of `b`, which is no path: a text that nobody knows how to read.
    let said = Value::try_from(&*config).expect("plain values").to_string().replace("'b \"x\"'", "\"[redacted]\"");
    assert_eq!(said, Value::try_from(&*again).expect("plain values").to_string(), "{report}");
    assert!(
        report.contains("[retention.session]\nmessages = 5  # tidings.toml\nage = \"90m\"  # tidings.toml\n"),
        "{report}"
    );
    assert!(report.contains("# secret is not set\n"), "{report}");
    assert!(report.contains("ping_interval_ms = 15000  # default\n"), "{report}");
}

#[test]
fn the_schema_has_every_key_of_the_sections_and_allows_the_defaults() {
    let text = r#"
        [agents.a]
        command = ["a"]
        resume = ["a"]
        terminal = ["a"]
        projects = ["p1"]
        roles = ["owner"]
        publish = ["build.*"]
        [retention.session]
        messages = 0
        bytes = 0
        age = "0s"
        [auth]
        secret_file = "x"
        [run]
        user = "nobody"
        [run.set]
        A = "b"
    "#;
    let config =
        load(&[("TIDINGS_AUTH__SECRET", &"x".repeat(32))], &text.replace("secret_file = \"x\"", "")).expect("loads");
    let report = config.effective();
    for key in KEYS {
        let name = key.path.rsplit('.').next().expect("a name").replace('*', "A");
        let there = report.contains(&format!("\n{name} = ")) || report.starts_with(&format!("{name} = "));
        assert!(there || report.contains(&format!("# {name} is not set")), "{}\n{report}", key.path);
    }
    let defaults = Config::load([], None, &Flags::default(), |_| Vec::new()).expect("loads");
    load(&[], &defaults.effective()).expect("the defaults are allowed");
}

#[test]
fn the_values_in_command_lines_are_in_no_report() {
    let text = r#"
        [agents.x]
        command = ["a", "--token", "hunter2", "OPENAI_KEY=hunter2", "--", "{prompt}"]
        resume = ["a", "--api-key=hunter2", "{agentSessionId}"]
        terminal = ["sh", "-c", "KEY=hunter2 exec a \"$1\"", "a", "{prompt}"]
        [run]
        wrapper = ["box", "--password", "hunter2"]
        [shell]
        command = ["bash", "-c", "API_TOKEN=hunter2 bash"]
        [redaction]
        enabled = false
    "#;
    let report = load(&[], text).expect("loads").effective();
    assert!(!report.contains("hunter2"), "{report}");
    assert_eq!(report.matches("[redacted]").count(), 7, "{report}");
}

#[test]
fn the_patterns_of_secrets_are_in_no_report_and_in_no_error() {
    let report = load(&[], "[redaction]\npatterns = [\"hunter2\", \"hush-[0-9]+\"]").expect("loads").effective();
    assert!(report.contains("patterns = [\"[redacted]\", \"[redacted]\"]  # tidings.toml"), "{report}");
    load(&[], &report).expect("loads as TOML");
    for (bad, told) in [
        ("[\"a\", \"hunter2(\"]", "redaction.patterns = [\"[redacted]\", \"[redacted]\"] (tidings.toml): allowed is"),
        ("[\"a\", \"hunter2(\"]", "a list, each a regular expression; item 2 is none"),
        ("\"hunter2\"", "redaction.patterns = \"[redacted]\""),
    ] {
        let error = load(&[], &format!("[redaction]\npatterns = {bad}")).expect_err("refused").to_string();
        assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
    }
    let variable = [("TIDINGS_REDACTION__PATTERNS", "hunter2(")];
    let error = load(&variable, "").expect_err("refused").to_string();
    assert!(error.contains("[redacted]") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_command_line_that_leaves_its_program_or_an_option_to_others_is_named_without_its_words() {
    let refused = |text: &str| {
        let config = load(&[], text).expect("loads");
        config.sessions(config.redaction().expect("compiles")).expect_err("refused").to_string()
    };
    let program = refused("[agents.x]\ncommand = [\"{prompt}\", \"hunter2\"]");
    assert!(program.contains("agents.x.command (tidings.toml): names its program itself"), "{program}");
    let option = refused("[agents.x]\ncommand = [\"a\"]\nresume = [\"a\", \"--{agentSessionId}\", \"hunter2\"]");
    assert!(option.contains("agents.x.resume (tidings.toml): names its options itself"), "{option}");
    assert!(!program.contains("hunter2") && !option.contains("hunter2"));
}

#[test]
fn what_is_dangerous_is_said() {
    let quiet = load(&[], "[run]\nwrapper = [\"sh\"]").expect("loads");
    assert_eq!(quiet.warnings(), Vec::<String>::new());
    for sandbox in ["data", "project"] {
        let fenced = load(&[], &format!("[run]\nsandbox = \"{sandbox}\"")).expect("loads");
        assert_eq!(fenced.warnings(), Vec::<String>::new());
    }
    let loud = load(&[], "listen = \"0.0.0.0:1\"\n[http]\ncors_origins = [\"*\"]").expect("loads");
    let warnings = loud.warnings().join("\n");
    for part in ["can read the data directory", "without TLS", "/metrics", "every origin"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    let text =
        "[agents.s]\ncommand = [\"/bin/bash\", \"-lc\", \"a {prompt}\"]\n[project]\nroots = [\"/nowhere/at/all\"]";
    let warnings = load(&[], text).expect("loads").warnings().join("\n");
    for part in ["agents.s puts what people write into the text of a shell", "/nowhere/at/all is no directory"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    let fine =
        "[run]\nwrapper = [\"sh\"]\n[agents.s]\ncommand = [\"sh\", \"-c\", \"a \\\"$1\\\"\", \"a\", \"{prompt}\"]";
    assert_eq!(load(&[], fine).expect("loads").warnings(), Vec::<String>::new());
}

#[test]
fn an_agent_that_cannot_be_started_or_understood_is_said() {
    let warned = |agent: &str, others: &str| {
        let text = format!("[agents.x]\n{agent}\n{others}");
        let mut warnings = load(&[], &text).expect("loads").warnings();
        warnings.retain(|warning| warning.contains("agents.x") || warning.contains("run.wrapper:"));
        // That has a test of its own.
        warnings.retain(|warning| !warning.contains("relative path"));
        warnings.join("\n")
    };
    let lacks = |adapter: &str, line: &str| warned(&format!("adapter = \"{adapter}\"\ncommand = {line}"), "");
    let table = [
        ("command = [\"no-such-agent\", \"hunter2\"]", "", "agents.x.command: no-such-agent was not found"),
        ("command = [\"/nowhere/agent\"]", "", "agents.x.command: /nowhere/agent was not found"),
        ("command = [\"sh\"]\nterminal = [\"no-such-agent\"]", "", "agents.x.terminal: no-such-agent was not found"),
        ("command = [\"sh\"]", "[run]\nwrapper = [\"no-such-box\"]", "run.wrapper: no-such-box is not there"),
    ];
    for (agent, others, part) in table {
        let warnings = warned(agent, others);
        assert!(warnings.contains(part) && !warnings.contains("hunter2"), "{agent}: {warnings}");
    }
    // Only the system, the sandbox or the project can tell.
    for (agent, others) in [
        ("command = [\"sh\"]", ""),
        ("command = [\"./bin/agent\"]", ""),
        ("command = [\"no-such-agent\"]", "[run]\nwrapper = [\"sh\"]"),
    ] {
        assert_eq!(warned(agent, others), "", "{agent}");
    }
    for (adapter, line, option) in [
        ("claude-code", "[\"claude\", \"-p\", \"--verbose\"]", "--output-format stream-json"),
        ("claude-code", "[\"npx\", \"claude\", \"--output-format\", \"json\"]", "--output-format stream-json"),
        ("codex", "[\"codex\", \"exec\", \"--\", \"{prompt}\"]", "--json"),
        ("gemini", "[\"/opt/gemini\", \"--prompt={prompt}\"]", "-o stream-json"),
    ] {
        let warnings = lacks(adapter, line);
        assert!(warnings.contains(&format!("agents.x.command lacks {option}: ")), "{line}: {warnings}");
    }
    for (adapter, line) in [
        ("claude-code", "[\"claude\", \"-p\", \"--output-format=stream-json\"]"),
        ("claude-code", "[\"/opt/of-mine.sh\"]"),
        ("gemini", "[\"gemini\", \"--output-format\", \"stream-json\"]"),
        ("lines", "[\"claude\", \"-p\"]"),
    ] {
        let warnings = lacks(adapter, line);
        assert!(!warnings.contains(" lacks "), "{line}: {warnings}");
    }
}

#[test]
fn a_program_that_each_project_would_bring_along_is_told_of() {
    let text = "[run]\nwrapper = [\"bin/box\"]\n[shell]\ncommand = [\"./sh\"]\n\
                [agents.a]\ncommand = [\"a\"]\nresume = [\"../b\"]\nterminal = [\"/c\"]\n[agents.d]\ncommand = [\"./d\"]";
    let warnings = load(&[], text).expect("loads").warnings();
    for key in ["run.wrapper", "shell.command", "agents.a.resume", "agents.d.command"] {
        let told = warnings.iter().filter(|line| line.starts_with(&format!("{key} names its program by a relative")));
        assert_eq!(told.count(), 1, "{key}: {warnings:?}");
    }
    let all = warnings.iter().filter(|line| line.contains("relative path"));
    assert_eq!(all.count(), 4, "{warnings:?}");
}

#[test]
fn a_sandbox_that_cannot_be_is_refused_and_never_left_out() {
    let refused = |text: &str, kernel_has_walls: bool| {
        let config = load(&[], text).expect("loads");
        config.check_sandboxes(kernel_has_walls).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let agent = "[agents.a]\ncommand = [\"sh\"]\n";
    for text in ["", agent, "[run]\nwrapper = [\"sh\"]"] {
        assert_eq!((refused(text, true), refused(text, false)), (String::new(), String::new()), "{text}");
    }
    let of_all = "[run]\nsandbox = \"data\"";
    let of_one = format!("{agent}sandbox = \"project\"");
    for (text, key) in [
        (of_all, "run.sandbox = data (tidings.toml): "),
        (of_one.as_str(), "agents.a.sandbox = project (tidings.toml): "),
    ] {
        assert_eq!(refused(text, true), "", "{text}");
        let without = refused(text, false);
        assert!(without.contains(&format!("{key}this kernel has no Landlock")), "{without}");
    }
    let opened = format!("{of_all}\n{agent}sandbox = \"off\"");
    assert!(!refused(&opened, false).contains("agents.a"));
    let both = format!("{of_one}\n[run]\nwrapper = [\"sh\"]");
    assert!(refused(&both, true).contains("agents.a.sandbox = project (tidings.toml): run.wrapper is configured"));
}

#[test]
fn an_agent_whose_program_lies_outside_of_its_sandbox_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let tool = dir.path().join("tool");
    std::fs::copy("/bin/true", &tool).expect("copies");
    let warned = |more: &str| {
        let agent = format!("[agents.x]\ncommand = [{:?}]\n{more}", tool.display().to_string());
        load(&[], &agent).expect("loads").warnings().join("\n").contains("lies where its sandbox lets nothing be run")
    };
    assert!(warned("sandbox = \"project\""));
    assert!(!warned("") && !warned("sandbox = \"data\""));
    assert!(!warned(&format!("sandbox = \"project\"\nsandbox_read = [{:?}]", dir.path())));
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let error = FileText::read(Some(Path::new("/nowhere/else.toml"))).expect_err("is not there");
    assert!(error.to_string().contains("/nowhere/else.toml: the configuration file cannot be read"), "{error}");
}

#[test]
fn retention_changes_what_it_names_and_only_for_namespaces_that_somebody_owns() {
    let config = load(&[], "[retention.session]\nmessages = 5\n[retention.sesion]\nbytes = 1").expect("loads");
    let domain = tidings_core::handler::Retention { messages: 1, bytes: 2, age_ms: 3 };
    assert_eq!(config.retention_of("session", domain).messages, 5);
    assert_eq!(config.retention_of("session", domain).age_ms, 3);
    assert_eq!(config.retention_of("project", domain), domain);
    let problems = ConfigError(config.namespace_problems(&["session", "project"])).to_string();
    assert!(problems.contains("retention.sesion (tidings.toml): no domain owns this namespace"), "{problems}");
}

#[test]
fn secret_files_are_read_and_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{}\n", "s".repeat(32))).expect("writes");
    let good = load(&[], &format!("[auth]\nsecret_file = {:?}", path.display().to_string())).expect("loads");
    let identity = good.identity().expect("reads");
    assert_eq!(identity.secret.expect("a secret").0, "s".repeat(32));
    let gone =
        load(&[], "[[auth.keys]]\nalgorithm = \"ES256\"\npublic_key_file = \"/nowhere/key.pem\"").expect("loads");
    let error = gone.identity().expect_err("is not there").to_string();
    assert!(error.contains("auth.keys[0].public_key_file (tidings.toml): /nowhere/key.pem cannot be read"), "{error}");
}

#[test]
fn the_operators_page_has_a_row_for_every_key() {
    let page = include_str!("../../docs/OPERATIONS.md");
    let missing: Vec<String> = markdown().into_iter().filter(|row| !page.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md lacks\n{}", missing.join("\n"));
}
