//! Names: event types with dots, channels with colons, patterns over both.
//!
//! Guarantees: a value of these types obeys the grammar of protocol.md, section 1; past the door
//! there is no free string. Cloning is a reference count.
//! It is not a list of the names that exist: that is what the handlers register.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::{SmolStr, format_smolstr};

use crate::{Code, Error, id::is_word};

/// The most bytes an event type may have.
pub const MAX_EVENT_TYPE_BYTES: usize = 128;
/// The most bytes a channel's name may have.
pub const MAX_CHANNEL_BYTES: usize = 255;

// Names are read for every event that comes in, so they are taken apart as bytes, which is quicker than
// searching a text for a character.
fn is_lower_word(segment: &[u8], dash: bool) -> bool {
    segment.first().is_some_and(u8::is_ascii_lowercase)
        && segment.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_' || (dash && *b == b'-'))
}

fn segments(text: &str, separator: u8) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().split(move |b| *b == separator)
}

/// What comes before the first separator.
fn first(text: &str, separator: u8) -> &str {
    text.bytes().position(|b| b == separator).map_or(text, |end| &text[..end])
}

/// A text as a message may show it: short, without control characters.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect();
    if short.len() < text.len() && short.chars().count() == 64 { format!("{short}…") } else { short }
}

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The whole name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = SmolStr::deserialize(deserializer)?;
                Self::check(&text).map_err(|error| serde::de::Error::custom(error.message()))?;
                Ok(Self(text))
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

crate::text_schema!(EventType, {
    description: "The type of an event: two to five segments joined by dots, such as session.started.",
    pattern: r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,4}$",
    maxLength: MAX_EVENT_TYPE_BYTES,
});
crate::text_schema!(Channel, {
    description: "A channel: a namespace and one to three further segments joined by colons, such as session:123.",
    pattern: "^[a-z][a-z0-9_-]*(:[A-Za-z0-9_-]+){1,3}$",
    maxLength: MAX_CHANNEL_BYTES,
});
crate::text_schema!(Pattern, {
    description: "A pattern: a channel or an event type in which * stands for one segment, at the end for one or more.",
    pattern: r"^(\*|[A-Za-z0-9_-]+)((\.(\*|[A-Za-z0-9_-]+)){0,4}|(:(\*|[A-Za-z0-9_-]+)){0,4})$",
    maxLength: MAX_CHANNEL_BYTES,
});

/// The type of an event: two to five dot-separated segments, such as `session.stream_output`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(SmolStr);
name_type!(EventType);

impl EventType {
    /// The first segment: the domain whose handler routes the event.
    #[must_use]
    pub fn domain(&self) -> &str {
        first(&self.0, b'.')
    }

    fn check(text: &str) -> Result<(), Error> {
        let refuse = |why: &str| {
            let message = format!("event type '{}': {why}", shown(text));
            Err(Error::new(Code::InvalidEvent, message.clone()).with_field("type", message))
        };
        if text.len() > MAX_EVENT_TYPE_BYTES {
            return refuse("at most 128 bytes");
        }
        if text.contains(':') {
            return refuse("dots separate the segments of an event type, as in session.started");
        }
        if !(2..=5).contains(&segments(text, b'.').count()) {
            return refuse("two to five segments, as in session.started");
        }
        if !segments(text, b'.').all(|segment| is_lower_word(segment, false)) {
            return refuse("each segment is [a-z][a-z0-9_]*");
        }
        Ok(())
    }
}

/// A channel: a namespace and one to three further segments, such as `session:123`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(SmolStr);
name_type!(Channel);

impl Channel {
    /// The first segment: the namespace, which one handler owns.
    #[must_use]
    pub fn namespace(&self) -> &str {
        first(&self.0, b':')
    }

    /// The last segment: the id of what the channel is about.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(_, last)| last)
    }

    /// The channel of a namespace and an id.
    ///
    /// # Panics
    /// If `namespace` breaks the grammar: it is a constant of the caller. Ids obey it by their type.
    #[must_use]
    pub fn of(namespace: &'static str, id: &impl fmt::Display) -> Self {
        let text = format_smolstr!("{namespace}:{id}");
        Self::check(&text).unwrap_or_else(|error| panic!("a namespace that is no channel: {error}"));
        Self(text)
    }

    fn check(text: &str) -> Result<(), Error> {
        let refuse = |why: &str| {
            let message = format!("channel '{}': {why}", shown(text));
            Err(Error::new(Code::InvalidChannel, message.clone()).with_field("channel", message))
        };
        if text.len() > MAX_CHANNEL_BYTES {
            return refuse("at most 255 bytes");
        }
        if text.contains('.') {
            return refuse("colons separate the segments of a channel, as in session:123");
        }
        if !is_lower_word(first(text, b':').as_bytes(), true) {
            return refuse("the first segment is [a-z][a-z0-9_-]*");
        }
        if !(2..=4).contains(&segments(text, b':').count()) {
            return refuse("one to three segments after the first, as in session:123");
        }
        if !segments(text, b':').skip(1).all(is_word) {
            return refuse("each segment is [A-Za-z0-9_-]+");
        }
        Ok(())
    }
}

/// A pattern over channels (`session:*`) or event types (`session.*`).
///
/// `*` stands for one whole segment; as the last segment it stands for one or more. `*` alone
/// matches every name of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(SmolStr);
name_type!(Pattern);

impl Pattern {
    /// The pattern that matches everything.
    #[must_use]
    pub fn all() -> Self {
        Self(SmolStr::new_static("*"))
    }

    /// Whether this pattern matches a channel.
    #[must_use]
    pub fn matches_channel(&self, channel: &Channel) -> bool {
        self.matches(channel.as_str(), ':')
    }

    /// Whether this pattern matches an event type.
    #[must_use]
    pub fn matches_event(&self, event_type: &EventType) -> bool {
        self.matches(event_type.as_str(), '.')
    }

    /// Why there is no channel that this pattern matches, and what to write instead; none if there may be one.
    #[must_use]
    pub fn matches_no_channel(&self) -> Option<String> {
        let (namespace, rest) = self.0.split_once(':').map_or((&*self.0, None), |(first, rest)| (first, Some(rest)));
        let count = segments(&self.0, b':').count();
        let is_open = namespace == "*";
        if self.0.contains('.') {
            return Some("a pattern over channels has colons, as in session:*".to_owned());
        }
        if count > 4 {
            return Some("matches no channel: a channel has two to four segments".to_owned());
        }
        if (is_open && (rest.is_none() || count > 1)) || (rest.is_some() && is_lower_word(namespace.as_bytes(), true)) {
            return None;
        }
        let lower = namespace.to_ascii_lowercase();
        Some(if is_lower_word(lower.as_bytes(), true) {
            format!("matches no channel: write '{lower}:{}'", rest.unwrap_or("*"))
        } else {
            "matches no channel: the first segment is [a-z][a-z0-9_-]*".to_owned()
        })
    }

    fn matches(&self, name: &str, separator: char) -> bool {
        // Most patterns are a name, or a star behind one; every message is held against many of them.
        let Some(star) = self.0.bytes().position(|b| b == b'*') else { return self.0 == name };
        if star + 1 == self.0.len() {
            return name.len() > star && name.as_bytes().starts_with(&self.0.as_bytes()[..star]);
        }
        let mut parts = self.0.split(separator).peekable();
        let mut segments = name.split(separator);
        while let Some(part) = parts.next() {
            let Some(segment) = segments.next() else { return false };
            if part == "*" && parts.peek().is_none() {
                return true;
            }
            if part != "*" && part != segment {
                return false;
            }
        }
        segments.next().is_none()
    }

    fn check(text: &str) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::bad_request(format!("pattern '{}': {why}", shown(text))));
        if text.len() > MAX_CHANNEL_BYTES {
            return refuse("at most 255 bytes");
        }
        if text.contains(':') && text.contains('.') {
            return refuse("a pattern is over channels (colons) or over event types (dots), not both");
        }
        let separator = if text.contains('.') { b'.' } else { b':' };
        if !segments(text, separator).all(|segment| segment == b"*" || is_word(segment)) {
            return refuse("each segment is a word or a single *");
        }
        if segments(text, separator).count() > 5 {
            return refuse("at most five segments");
        }
        Ok(())
    }
}

impl From<&Channel> for Pattern {
    fn from(channel: &Channel) -> Self {
        Self(channel.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_that_no_channel_matches_says_what_to_write_instead() {
        let said = |text: &str| text.parse::<Pattern>().expect("a pattern").matches_no_channel();
        for good in ["*", "*:*", "*:1", "session:*", "session:1", "a:*:c", "a:b:c:*", "a-b_1:*"] {
            assert_eq!(said(good), None, "{good}");
        }
        for (bad, instead) in [
            ("session", "write 'session:*'"),
            ("SESSION:*", "write 'session:*'"),
            ("Session:A:*", "write 'session:A:*'"),
            ("SESSION", "write 'session:*'"),
            ("1:*", "the first segment is [a-z]"),
            ("a:b:c:d:*", "two to four segments"),
            ("session.*", "has colons"),
        ] {
            assert!(said(bad).is_some_and(|why| why.contains(instead)), "{bad}: {:?}", said(bad));
        }
    }

    #[test]
    fn the_channels_and_events_of_the_seed_are_valid_and_its_donts_are_refused_with_the_reason() {
        for good in ["session:123", "project:abc", "workflow:run:456", "shell:terminal:789"] {
            assert!(good.parse::<Channel>().is_ok(), "{good}");
        }
        for good in ["session.stream_output", "workflow.run.step.completed", "shell.output"] {
            assert!(good.parse::<EventType>().is_ok(), "{good}");
        }
        let error = "session.123".parse::<Channel>().expect_err("dots");
        assert_eq!(error.code(), Code::InvalidChannel);
        assert_eq!(
            error.message(),
            "channel 'session.123': colons separate the segments of a channel, as in session:123"
        );
        assert_eq!("session:started".parse::<EventType>().expect_err("colons").code(), Code::InvalidEvent);
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for bad in ["", ":", "session", "session:", ":1", "Session:1", "a:b:c:d:e", "session:1 2", "session:é", "1:2"]
        {
            assert!(bad.parse::<Channel>().is_err(), "{bad}");
        }
        for bad in ["", "session", "a.b.c.d.e.f", "Session.a", "session.A", "session..a", "session.a-b", ".a"] {
            assert!(bad.parse::<EventType>().is_err(), "{bad}");
        }
        assert!(format!("session:{}", "x".repeat(248)).parse::<Channel>().is_err());
        assert!(format!("session:{}", "x".repeat(247)).parse::<Channel>().is_ok());
    }

    #[test]
    fn a_star_is_one_segment_and_at_the_end_one_or_more() {
        let table = [
            ("*", "session:1", true),
            ("session:*", "session:1", true),
            ("session:*", "workflow:run:1", false),
            ("workflow:*", "workflow:run:1", true),
            ("workflow:run:*", "workflow:run:1", true),
            ("workflow:*:1", "workflow:run:1", true),
            ("workflow:*:2", "workflow:run:1", false),
            ("session:1", "session:1", true),
            ("session:1", "session:12", false),
            ("session:1:*", "session:1", false),
        ];
        for (pattern, channel, expected) in table {
            let pattern: Pattern = pattern.parse().expect("a pattern");
            assert_eq!(pattern.matches_channel(&channel.parse().expect("a channel")), expected, "{pattern} {channel}");
        }
        let events: Pattern = "session.*".parse().expect("a pattern");
        assert!(events.matches_event(&"session.started".parse().expect("an event")));
        assert!(!events.matches_event(&"shell.opened".parse().expect("an event")));
    }

    proptest! {
        #[test]
        fn whatever_parses_reads_back_as_itself(text in "[a-z*:._A-Z0-9-]{0,40}") {
            if let Ok(channel) = text.parse::<Channel>() {
                prop_assert_eq!(channel.as_str(), &text);
                prop_assert!(Pattern::from(&channel).matches_channel(&channel));
                prop_assert!(Pattern::all().matches_channel(&channel));
                prop_assert!(text.parse::<EventType>().is_err());
            }
            if let Ok(event_type) = text.parse::<EventType>() {
                prop_assert_eq!(event_type.as_str(), &text);
                prop_assert!(text.parse::<Channel>().is_err());
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,300}") {
            let _ = (text.parse::<Channel>().is_ok(), text.parse::<EventType>().is_ok(), text.parse::<Pattern>().is_ok());
        }
    }
}
