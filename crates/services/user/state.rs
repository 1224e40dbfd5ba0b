//! The projection of `user:*`: what waits for that person, wherever it is.
//!
//! Guarantees: a pure fold, bounded by [`OPEN`]; what waits is in it until its end is told, the oldest first; of what
//! is left out for lack of room it says how much.
//! It is not the thing itself: that is in the state of the channel that an entry names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidings_core::{Channel, Message, Seq, Timestamp, projection::Reducer};

use super::contract::{ATTENTION_REQUESTED, ATTENTION_RESOLVED, Attention, AttentionKind};

/// The most that a state has of what waits.
pub const OPEN: usize = 500;

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The channel of that which waits.
    pub channel: Channel,
    /// What it is.
    pub kind: AttentionKind,
    /// Which one: of a permission or a question, its `requestId`; of an approval, its `stepId`.
    pub id: String,
    /// Since when.
    pub since: Timestamp,
    /// The message that told of it.
    pub seq: Seq,
}

/// The state of a user's channel: the fold of it. Its JSON is the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserState {
    /// What waits for this person, the oldest first.
    pub open: Vec<Waiting>,
    /// How much of it was left out: the oldest, where more waits than a state has.
    pub left_out: u64,
}

/// The reducer of a user's channel.
#[derive(Debug)]
pub struct UserReducer;

impl Reducer for UserReducer {
    type State = UserState;
    const VERSION: u32 = 1;

    fn apply(state: &mut UserState, message: &Message) {
        let Some(seq) = message.seq else { return };
        let requested = match message.event_type.as_str() {
            ATTENTION_REQUESTED => true,
            ATTENTION_RESOLVED => false,
            _ => return,
        };
        // Whatever is not of its type changes nothing: it was let in by an older server.
        let Ok(event) = message.payload.typed::<Attention>() else { return };
        let is_it = |waiting: &Waiting| {
            waiting.channel == event.channel && waiting.kind == event.kind && waiting.id == event.id
        };
        let before = state.open.len();
        state.open.retain(|waiting| !is_it(waiting));
        if !requested {
            if state.open.len() == before {
                state.left_out = state.left_out.saturating_sub(1);
            }
            return;
        }
        if state.open.len() >= OPEN {
            state.open.remove(0);
            state.left_out += 1;
        }
        let (channel, kind, id) = (event.channel.clone(), event.kind, event.id.clone());
        state.open.push(Waiting { channel, kind, id, since: message.time, seq });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_core::{
        Event,
        projection::{Fold, Folded},
    };

    use super::*;

    fn tell(state: &mut dyn Folded, seq: Seq, event_type: &'static str, data: Value) {
        let channel = "user:u1".parse().expect("a channel");
        let time = Timestamp(i64::try_from(seq).expect("small"));
        state.apply(&Message::new(channel, Some(seq), time, Event::new(event_type, data)));
    }

    fn attention(channel: &str, kind: &str, id: &str) -> Value {
        json!({"userId": "u1", "channel": channel, "kind": kind, "id": id})
    }

    fn open(state: &dyn Folded) -> Vec<String> {
        let state = state.as_any().downcast_ref::<UserState>().expect("its state");
        state.open.iter().map(|it| format!("{} {} {}", it.channel, it.id, it.seq)).collect()
    }

    #[test]
    fn what_waits_for_a_person_is_open_until_it_is_resolved_by_the_same_channel_kind_and_id() {
        let mut state = Fold::<UserReducer>::projection().start();
        let told = [
            (ATTENTION_REQUESTED, attention("session:s1", "permission", "r1")),
            (ATTENTION_REQUESTED, attention("session:s1", "question", "r1")),
            (ATTENTION_REQUESTED, attention("workflow:w1", "approval", "a")),
            ("user.notice", json!({"text": "x"})),
            (ATTENTION_RESOLVED, attention("session:s1", "permission", "r1")),
            (ATTENTION_RESOLVED, attention("session:s2", "question", "r1")),
        ];
        for (seq, (event_type, data)) in (1..).zip(told) {
            tell(&mut *state, seq, event_type, data);
        }
        assert_eq!(open(&*state), ["session:s1 r1 2", "workflow:w1 a 3"]);
        tell(&mut *state, 7, ATTENTION_REQUESTED, attention("workflow:w1", "approval", "a"));
        assert_eq!(open(&*state), ["session:s1 r1 2", "workflow:w1 a 7"], "it is there once");
    }

    #[test]
    fn a_state_stays_small_whatever_waits_and_says_what_it_leaves_out() {
        let mut state = Fold::<UserReducer>::projection().start();
        for seq in 1..=OPEN as Seq + 5 {
            tell(&mut *state, seq, ATTENTION_REQUESTED, attention("session:s1", "permission", &format!("r{seq}")));
        }
        assert_eq!((open(&*state).len(), open(&*state)[0].as_str()), (OPEN, "session:s1 r6 6"));
        tell(&mut *state, 9_999, ATTENTION_RESOLVED, attention("session:s1", "permission", "r1"));
        let left_out = state.as_any().downcast_ref::<UserState>().expect("its state").left_out;
        assert_eq!(left_out, 4);
    }
}
