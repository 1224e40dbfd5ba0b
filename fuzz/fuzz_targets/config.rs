//! The configuration file: loaded, or refused with problems that name no secret.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "the server uses more of it than its loading")]
#[path = "../../src/config/mod.rs"]
mod config;

fuzz_target!(|text: &str| {
    let file = config::FileText { path: "tidings.toml".into(), text: text.to_owned() };
    match config::Config::load([], Some(&file), &config::Flags::default(), |_| Vec::new()) {
        Ok(_) => {}
        Err(error) => assert!(!error.0.is_empty() && error.0.iter().all(|problem| !problem.why.is_empty())),
    }
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (format!("TIDINGS_{name}"), value.to_owned()));
    drop(config::Config::load(variables, None, &config::Flags::default(), |_| Vec::new()));
});
