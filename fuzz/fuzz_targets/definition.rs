//! Definitions of workflows: read, or refused with lines that are there. What is read once is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_services::workflow::definition::{Bounds, FLAWS, read, read_again};

fuzz_target!(|text: &str| {
    match read(text, Bounds { bytes: 1 << 20, steps: 100, expanded: 1 << 20 }) {
        Ok(definition) => {
            assert!(!definition.steps.is_empty() && definition.instances().count() <= 100);
            assert_eq!(definition.order.len(), definition.steps.len());
            assert_eq!(read_again(text).as_ref(), Ok(&definition));
        }
        Err(flaws) => {
            assert!(!flaws.is_empty() && flaws.len() <= FLAWS);
            assert!(flaws.iter().all(|flaw| !flaw.reason.is_empty()));
        }
    }
});
