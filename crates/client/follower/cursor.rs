//! Where one followed channel stands, and what to ask for it.
//!
//! Guarantees: what it asks for goes on exactly after the last message taken; a number is taken once;
//! a number that was jumped over without a notice is told.
//! It is not a connection: it only sees answers, notices and numbers.

use serde_json::{Value, json};

use super::{Item, notice::Change};

/// A position in a channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// What the numbering belongs to.
    pub epoch: String,
    /// The number; 0 is before the first message.
    pub seq: u64,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// With what comes from now on.
    #[default]
    Now,
    /// With the oldest that is kept.
    Oldest,
    /// After this position.
    Since(Position),
    /// With the newest so many.
    Last(u64),
}

/// A channel to be followed.
#[derive(Debug, Clone, Default)]
pub struct Follow {
    /// The channel.
    pub channel: String,
    /// Where to begin.
    pub start: Start,
    /// Whether to get the channel's state, at the beginning and where messages are missing.
    pub snapshot: bool,
    /// A filter, as the wire has it. With one, numbers may be left out without a notice.
    pub filter: Option<Value>,
}

impl Follow {
    /// A channel from this beginning, without snapshots and without a filter.
    #[must_use]
    pub fn new(channel: impl Into<String>, start: Start) -> Self {
        Self { channel: channel.into(), start, snapshot: false, filter: None }
    }
}

/// What a number is.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// It was taken before.
    pub(super) repeat: bool,
    /// The numbers that were left out before it, without a word.
    pub(super) untold: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct Cursor {
    follow: Follow,
    position: Option<Position>,
    /// The epoch of the running subscription, where no position is known yet.
    epoch: String,
    /// Whether anything of the channel came: a snapshot that was asked for at the start is owed until then.
    begun: bool,
    repeats: u64,
}

impl Cursor {
    pub(super) fn new(follow: Follow) -> Self {
        Self { follow, position: None, epoch: String::new(), begun: false, repeats: 0 }
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether no subscription of it was ever answered.
    pub(super) fn is_new(&self) -> bool {
        self.epoch.is_empty() && self.position.is_none()
    }

    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// The request for a subscription, on a new connection.
    pub(super) fn request(&self) -> Value {
        let mut request = json!({ "channel": self.follow.channel });
        match (&self.position, &self.follow.start) {
            // With a position, a recovered subscription would never bring the snapshot.
            (_, Start::Now) if self.follow.snapshot && !self.begun => {}
            (Some(position), _) | (None, Start::Since(position)) => request["since"] = json!(position),
            (None, Start::Oldest) => request["since"] = json!({ "seq": 0 }),
            (None, Start::Last(count)) => request["last"] = json!(count),
            (None, Start::Now) => {}
        }
        if self.follow.snapshot {
            request["snapshot"] = json!(true);
        }
        if let Some(filter) = &self.follow.filter {
            request["filter"] = filter.clone();
        }
        request
    }

    /// The server attached the subscription, at this head.
    pub(super) fn answered(&mut self, epoch: &str, head: u64) {
        epoch.clone_into(&mut self.epoch);
        if self.position.is_some() {
            return;
        }
        let at = |seq| Some(Position { epoch: epoch.to_owned(), seq });
        self.position = match &self.follow.start {
            Start::Now => at(head),
            Start::Oldest => at(0),
            Start::Since(position) => Some(position.clone()),
            Start::Last(_) if head == 0 => at(0),
            // The first message will say where the newest so many begin.
            Start::Last(_) => None,
        };
    }

    /// A durable message came.
    pub(super) fn took(&mut self, seq: u64) -> Verdict {
        let mut verdict = Verdict::default();
        self.begun = true;
        if let Some(position) = &mut self.position {
            if seq <= position.seq {
                self.repeats += 1;
                return Verdict { repeat: true, untold: None };
            }
            if seq > position.seq + 1 && self.follow.filter.is_none() {
                verdict.untold = Some((position.seq + 1, seq - 1));
            }
            position.seq = seq;
        } else {
            self.position = Some(Position { epoch: self.epoch.clone(), seq });
        }
        verdict
    }

    /// A notice about the channel came: what to tell of it.
    pub(super) fn changed(&mut self, channel: &str, change: Change) -> Vec<Item> {
        let channel = channel.to_owned();
        match change {
            Change::Snapshot { position, reason, snapshot } => {
                self.move_to(&position);
                vec![Item::Snapshot { channel, position, reason, snapshot }]
            }
            Change::Gap { epoch, from, to, reason } => {
                self.move_to(&Position { epoch, seq: to });
                vec![Item::Gap { channel, from, to, reason }]
            }
            Change::Reset { position, reason } => {
                self.move_to(&position);
                vec![Item::Reset { channel, position, reason }]
            }
            Change::Stands { position, live } => self.stands(channel, position, live),
            Change::Closed { code, message } => vec![Item::Closed { channel, code, message }],
        }
    }

    /// Filtered-out messages move a subscription on; without a filter that is a hole.
    fn stands(&mut self, channel: String, position: Position, live: bool) -> Vec<Item> {
        let mut items = Vec::new();
        let now = self.position.as_ref().filter(|now| now.epoch == position.epoch).map(|now| now.seq);
        if let Some(seq) = now
            && seq < position.seq
            && self.follow.filter.is_none()
        {
            let (from, to, reason) = (seq + 1, position.seq, "untold".to_owned());
            items.push(Item::Gap { channel: channel.clone(), from, to, reason });
        }
        if self.position.is_none() || now.is_some_and(|seq| seq < position.seq) {
            self.move_to(&position);
        }
        if live {
            items.push(Item::Live { channel, position });
        }
        items
    }

    fn move_to(&mut self, position: &Position) {
        self.begun = true;
        self.epoch.clone_from(&position.epoch);
        self.position = Some(position.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, seq: u64) -> Position {
        Position { epoch: epoch.to_owned(), seq }
    }

    fn cursor(start: Start) -> Cursor {
        Cursor::new(Follow::new("session:1", start))
    }

    #[test]
    fn the_first_request_asks_for_the_start_and_the_next_for_what_follows() {
        let table = [
            (Start::Now, json!({"channel": "session:1"})),
            (Start::Oldest, json!({"channel": "session:1", "since": {"seq": 0}})),
            (Start::Since(at("e", 4)), json!({"channel": "session:1", "since": {"epoch": "e", "seq": 4}})),
            (Start::Last(3), json!({"channel": "session:1", "last": 3})),
        ];
        for (start, request) in table {
            let mut cursor = cursor(start);
            assert_eq!(cursor.request(), request);
            cursor.answered("e", 9);
            cursor.took(10);
            assert_eq!(cursor.request(), json!({"channel": "session:1", "since": {"epoch": "e", "seq": 10}}));
        }
    }

    #[test]
    fn a_connection_that_breaks_before_the_first_message_loses_none() {
        let mut now = cursor(Start::Now);
        now.answered("e", 9);
        assert_eq!(now.request()["since"], json!({"epoch": "e", "seq": 9}));
        let mut last = cursor(Start::Last(3));
        last.answered("e", 9);
        assert_eq!(last.request()["last"], 3);
        let mut since = cursor(Start::Since(at("e", 4)));
        since.answered("e", 9);
        assert_eq!(since.request()["since"], json!({"epoch": "e", "seq": 4}));
    }

    #[test]
    fn a_number_is_taken_once_and_a_hole_is_told() {
        let mut cursor = cursor(Start::Now);
        cursor.answered("e", 4);
        assert_eq!(cursor.took(5), Verdict::default());
        assert!(cursor.took(5).repeat);
        assert!(cursor.took(3).repeat);
        assert_eq!(cursor.took(9).untold, Some((6, 8)));
        assert_eq!((cursor.repeats(), cursor.position()), (2, Some(&at("e", 9))));
    }

    #[test]
    fn a_filter_leaves_numbers_out_and_that_is_no_hole() {
        let mut cursor = cursor(Start::Now);
        cursor.follow.filter = Some(json!({"types": ["session.*"]}));
        cursor.answered("e", 4);
        assert_eq!(cursor.took(9), Verdict::default());
        assert_eq!(cursor.request()["filter"], json!({"types": ["session.*"]}));
    }

    #[test]
    fn notices_move_the_position() {
        let mut cursor = cursor(Start::Since(at("e", 4)));
        cursor.answered("e", 9);
        let gap = Change::Gap { epoch: "e".to_owned(), from: 5, to: 7, reason: "trimmed".to_owned() };
        assert!(matches!(cursor.changed("session:1", gap)[..], [Item::Gap { from: 5, to: 7, .. }]));
        assert_eq!(cursor.took(8), Verdict::default());
        let stands = Change::Stands { position: at("e", 2), live: false };
        assert!(cursor.changed("session:1", stands).is_empty());
        assert_eq!(cursor.position(), Some(&at("e", 8)));
        let reset = Change::Reset { position: at("f", 2), reason: "epoch".to_owned() };
        assert!(matches!(cursor.changed("session:1", reset)[..], [Item::Reset { .. }]));
        assert_eq!(cursor.took(3), Verdict::default());
        assert_eq!(cursor.position(), Some(&at("f", 3)));
    }

    #[test]
    fn a_position_beyond_what_was_taken_is_a_hole_unless_a_filter_left_it_out() {
        let mut plain = cursor(Start::Now);
        plain.answered("e", 4);
        let items = plain.changed("session:1", Change::Stands { position: at("e", 6), live: true });
        assert!(matches!(items[..], [Item::Gap { from: 5, to: 6, .. }, Item::Live { .. }]), "{items:?}");
        let mut filtered = cursor(Start::Now);
        filtered.follow.filter = Some(json!({}));
        filtered.answered("e", 4);
        let items = filtered.changed("session:1", Change::Stands { position: at("e", 6), live: true });
        assert!(matches!(items[..], [Item::Live { .. }]), "{items:?}");
        assert_eq!(filtered.request()["since"], json!({"epoch": "e", "seq": 6}));
    }

    #[test]
    fn a_snapshot_is_asked_for_until_something_came() {
        let mut cursor = cursor(Start::Now);
        cursor.follow.snapshot = true;
        cursor.answered("e", 4);
        assert_eq!(cursor.request(), json!({"channel": "session:1", "snapshot": true}));
        cursor.answered("e", 7);
        // The channel turned out to have none: what was published in between is told.
        assert_eq!(cursor.took(8).untold, Some((5, 7)));
        assert_eq!(cursor.request()["since"], json!({"epoch": "e", "seq": 8}));
    }
}
