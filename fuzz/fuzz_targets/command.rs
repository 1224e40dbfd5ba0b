//! The inputs of all commands, as JSON and as names and values: parsed or refused, and never repeated in an error.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidings_core::{Error, command::Command, handler::Handler};
use tidings_handlers::{project::ProjectHandler, session::SessionHandler};

#[path = "../house.rs"]
mod house;

static ROWS: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let handlers: [Arc<dyn Handler>; 2] =
        [Arc::new(ProjectHandler::new(house::projects())), Arc::new(SessionHandler::new(house::sessions()))];
    handlers.iter().flat_map(|handler| handler.commands()).collect()
});

fn refused(error: &Error) {
    assert!(!error.message().is_empty() && !error.retryable(), "{error}");
}

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    let row = &ROWS[usize::from(which) % ROWS.len()];
    match row.parse_json(text) {
        Ok(input) => drop(row.needs(&input).expect("an input of this row")),
        Err(error) => refused(&error),
    }
    let pairs: Vec<(String, String)> = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match row.parse_pairs(&pairs) {
        Ok(input) => drop(row.needs(&input).expect("an input of this row")),
        Err(error) => refused(&error),
    }
});
