//! What the program of a step reports: however it is cut, it is read the same, and outputs come back as they were given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_services::redaction::{self, Redaction, RedactionConfig};

#[expect(dead_code, reason = "the bounds of a run are not those of a report")]
#[path = "../../crates/services/workflow/outputs.rs"]
mod outputs;
#[path = "../../crates/services/workflow/step/report.rs"]
mod report;
/// Where a report finds what it is made of.
mod workflow {
    pub(crate) use tidings_services::workflow::contract;

    pub(crate) use crate::outputs;
}

use outputs::{MOST, Outputs, STEP_BYTES, bytes};
use report::Report;

/// What is read of a report that comes in such pieces.
fn read(data: &[u8], size: usize) -> (String, Result<Outputs, String>) {
    let mut report = Report::default();
    for part in data.chunks(size) {
        report.push(part);
    }
    report.finish();
    let plain = Redaction::new(&RedactionConfig { enabled: false, ..RedactionConfig::default() }).expect("no rules");
    (format!("{:?}", report.progress), report.into_outputs(&plain))
}

/// A report that gives these.
fn written(outputs: &Outputs) -> String {
    let mut text = String::new();
    for (name, value) in outputs {
        let mut delimiter = "END".to_owned();
        while value.contains(&delimiter) {
            delimiter.push('D');
        }
        text += &format!("output {name}<<{delimiter}\n{value}\n{delimiter}\n");
    }
    text
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, data)) = data.split_first() else { return };
    let (progress, outputs) = read(data, usize::from(size).max(1));
    assert_eq!((&progress, &outputs), (&read(data, usize::MAX).0, &read(data, usize::MAX).1));
    let Ok(outputs) = outputs else { return };
    assert!(outputs.len() <= MOST && bytes(&outputs) <= STEP_BYTES);
    // Bytes that are no UTF-8 become longer: a line of those may not be one of a report any more.
    if data.len() < 16 * 1024 {
        assert_eq!(read(written(&outputs).as_bytes(), 4096).1, Ok(outputs));
    }
});
