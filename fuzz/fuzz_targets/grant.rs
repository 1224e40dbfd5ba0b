//! Grants: what parses reads back as the same grant, and allows nothing that it does not name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::{Action, Channel, Grant};

fuzz_target!(|text: &str| {
    let Ok(grant) = text.parse::<Grant>() else { return };
    assert_eq!(grant.to_string().parse::<Grant>().expect("its own text"), grant);
    let json = serde_json::to_string(&grant).expect("serialises");
    assert_eq!(serde_json::from_str::<Grant>(&json).expect("its own JSON"), grant);
    let channel: Channel = "session:1".parse().expect("a channel");
    for action in Action::ALL {
        assert!(!grant.allows(action, &channel) || text.contains(action.as_str()));
    }
});
