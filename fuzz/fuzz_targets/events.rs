//! The lines of a program that prints events: whatever it says, what begins has one end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_services::session::{AdapterKind, trial};

fuzz_target!(|text: &str| {
    let tried = trial::lines(AdapterKind::Events, text);
    assert!(tried.is_ok(), "{tried:?}");
});
