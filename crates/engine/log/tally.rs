//! What was trimmed since the server's log was last told of it.
//!
//! Guarantees: each sweep that trims, and each look at the total that does, is one line: how many channels, how
//! many messages, by which rules. What goes in between is told within ten seconds. Bounded, however many channels
//! there are.
//! It is not the metric: that counts messages only.

use std::{
    collections::HashSet,
    fmt::{self, Write},
    time::Duration,
};

/// How long something that went may be untold, in monotonic time: a killed server tells no more.
const UNTOLD: Duration = Duration::from_secs(10);

/// So many channels are told apart; further ones are not counted.
const MOST_CHANNELS: usize = 64 * 1024;

/// The rule that messages went by. Where several hold, the first one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// `messages` of the namespace's retention.
    Messages,
    /// `bytes` of the namespace's retention.
    Bytes,
    /// `age` of the namespace's retention.
    Age,
    /// The limit of the log as a whole.
    TotalBytes,
    /// The disk was full.
    FullDisk,
}

impl Why {
    const ALL: [Self; 5] = [Self::Messages, Self::Bytes, Self::Age, Self::TotalBytes, Self::FullDisk];

    fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::TotalBytes => "total_bytes",
            Self::FullDisk => "full disk",
        }
    }
}

/// What was trimmed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    channels: HashSet<i64>,
    messages: [u64; Why::ALL.len()],
    /// How many of them were of namespaces that no rule keeps.
    ruleless: u64,
    /// Since when something is untold.
    since: Option<Duration>,
}

impl Tally {
    /// So many messages of a channel went.
    pub(super) fn add(&mut self, channel: i64, messages: u64, why: Why, ruled: bool) {
        if messages == 0 {
            return;
        }
        self.insert(channel);
        self.messages[why as usize] += messages;
        self.ruleless += if ruled { 0 } else { messages };
    }

    fn insert(&mut self, channel: i64) {
        if self.channels.len() < MOST_CHANNELS {
            self.channels.insert(channel);
        }
    }

    /// Takes in what another one has, at this time.
    pub(super) fn join(&mut self, other: Self, now: Duration) {
        if other.messages.iter().any(|count| *count > 0) {
            self.since.get_or_insert(now);
        }
        other.channels.into_iter().for_each(|channel| self.insert(channel));
        self.messages.iter_mut().zip(other.messages).for_each(|(sum, more)| *sum += more);
        self.ruleless += other.ruleless;
    }

    /// Whether something is untold for too long.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= UNTOLD)
    }

    /// Says in one line what there is to say, and begins anew.
    pub(super) fn tell(&mut self) {
        let Self { channels, messages, ruleless, .. } = std::mem::take(self);
        let all: u64 = messages.iter().sum();
        if all == 0 {
            return;
        }
        let rules = Rules(messages);
        tracing::info!(
            channels = channels.len(),
            messages = all,
            %rules,
            without_a_rule = ruleless,
            "the log trimmed its oldest messages"
        );
    }
}

/// How many messages went by each rule, in words.
struct Rules([u64; Why::ALL.len()]);

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for why in Why::ALL {
            let count = self.0[why as usize];
            if count > 0 {
                write!(f, "{between}{} {count}", why.as_str())?;
                between = ", ";
            }
        }
        if between.is_empty() { f.write_char('-') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use parking_lot::Mutex;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_went_is_told_once_in_one_line_with_the_rules_it_went_by() {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
        let _logs = tracing::subscriber::set_default(subscriber);
        let (mut tally, mut slice) = (Tally::default(), Tally::default());
        tally.tell();
        slice.add(1, 10, Why::Messages, true);
        slice.add(1, 0, Why::Bytes, true);
        tally.join(slice, Duration::from_secs(1));
        tally.join(Tally::default(), Duration::ZERO);
        assert!(!tally.is_due(Duration::from_secs(10)) && tally.is_due(Duration::from_secs(11)));
        let mut slice = Tally::default();
        slice.add(1, 5, Why::Age, true);
        slice.add(2, 7, Why::TotalBytes, false);
        tally.join(slice, Duration::from_secs(20));
        tally.tell();
        assert!(!tally.is_due(Duration::MAX), "nothing is untold");
        tally.tell();
        let told = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
        let figures = "channels=2 messages=22 rules=messages 10, age 5, total_bytes 7 without_a_rule=7";
        assert!(told.contains("INFO") && told.contains(figures), "{told}");
    }
}
