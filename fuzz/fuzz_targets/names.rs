//! Channels, event types and patterns: what parses reads back as itself, and no text is two kinds at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::{Channel, EventType, Pattern};

fuzz_target!(|text: &str| {
    let (channel, event) = (text.parse::<Channel>(), text.parse::<EventType>());
    assert!(channel.is_err() || event.is_err());
    if let Ok(channel) = &channel {
        assert_eq!(channel.as_str(), text);
        assert!(Pattern::from(channel).matches_channel(channel) && Pattern::all().matches_channel(channel));
    }
    if let Ok(event) = &event {
        assert_eq!(event.as_str(), text);
        assert!(text.starts_with(event.domain()) && Pattern::all().matches_event(event));
    }
    let Ok(pattern) = text.parse::<Pattern>() else { return };
    assert_eq!(pattern.as_str(), text);
    for name in ["session:1", "workflow:run:2", "a:b:c:d"] {
        let name: Channel = name.parse().expect("a channel");
        // Without a star, a pattern is one name.
        assert!(text.contains('*') || !pattern.matches_channel(&name) || text == name.as_str());
    }
});
