//! Redaction of a stream: however it is cut, nothing shows that a look at the whole would hide.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tidings_services::redaction::{HOLD_BYTES, Redaction, RedactionConfig, Redactor};

static RULES: LazyLock<Arc<Redaction>> =
    LazyLock::new(|| Arc::new(Redaction::new(&RedactionConfig::default()).expect("the built-in rules")));

fuzz_target!(|input: (u8, &str)| {
    let (size, text) = input;
    let mut redactor = Redactor::new(RULES.clone());
    let (mut shown, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let cut = rest.ceil_char_boundary(usize::from(size).max(1).min(rest.len()));
        shown.push_str(&redactor.push(&rest[..cut]));
        rest = &rest[cut..];
    }
    shown.push_str(&redactor.flush());
    assert!(!redactor.holds());
    // Longer lines, and private keys that are longer than what is held, are hidden in parts.
    if text.lines().all(|line| line.len() < HOLD_BYTES) && !text.contains("-----BEGIN") {
        assert_eq!(shown, RULES.redact(text));
    }
});
