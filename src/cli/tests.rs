//! Tests of what the command line takes.
//!
//! Guarantees: arguments only; what commands do is tested against the real binary elsewhere.

use clap::CommandFactory;

use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"tidings").chain(arguments))
}

#[test]
fn the_commands_are_consistent_and_each_help_has_an_example() {
    fn check(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let group = command.has_subcommands() && command.get_name() != "tidings";
        assert!(group || help.contains("Example:\n  tidings "), "{}", command.get_name());
        command.get_subcommands().for_each(check);
    }
    let command = Cli::command();
    command.clone().debug_assert();
    check(&command);
}

#[test]
fn no_command_serves_and_shared_options_stand_anywhere() {
    let cli = parse(&["--listen", "127.0.0.1:0"]).expect("parses");
    assert!(cli.command.is_none());
    let cli = parse(&["tail", "session:1", "--data-dir", "d", "--config", "c.toml"]).expect("parses");
    assert_eq!((cli.shared.data_dir, cli.shared.config), (Some("d".into()), Some("c.toml".into())));
}

#[test]
fn wrong_uses_are_refused_with_exit_code_two() {
    let table: [&[&str]; 14] = [
        &["dance"],
        &["--listen", "4100"],
        &["tail"],
        &["tail", "session.1"],
        &["tail", "session:1", "--since", "1", "--last", "2"],
        &["emit", "session:started", "--data", "{}"],
        &["emit", "session.started"],
        &["token"],
        &["token", "--subject", "a b"],
        &["token", "--subject", "a", "--user", "a"],
        &["token", "--user", "a", "--grant", "session:*"],
        &["token", "revoke"],
        &["token", "list", "--user", "a"],
        &["user", "add", "ada", "--password", "x"],
    ];
    for arguments in table {
        let error = parse(arguments).expect_err("is refused");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn a_token_takes_roles_grants_and_a_time() {
    let arguments = [
        "token",
        "--subject",
        "ci",
        "--name",
        "the nightly build",
        "--role",
        "viewer",
        "--grant",
        "session:*=publish",
        "--grant",
        "user:1=subscribe",
        "--ttl",
        "90s",
    ];
    assert!(parse(&arguments).is_ok());
    for others in [&["token", "--user", "ada b"][..], &["token", "list", "--json"], &["token", "revoke", "x"]] {
        assert!(parse(others).is_ok(), "{others:?}");
    }
}
