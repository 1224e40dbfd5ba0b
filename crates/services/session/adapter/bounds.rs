//! Bounds: what of an agent's words fits into an event.
//!
//! Guarantees: a value is at most [`VALUE_BYTES`] as JSON, else a text with its beginning; a text is
//! at most [`TEXT_BYTES`], and the last word of a turn at most [`LAST_WORD_BYTES`]; an id is 1 to 256 bytes, and two long ids that differ stay apart. What was
//! cut ends in `…`. What is too deep for an event's data is a text of its JSON, and a number that is too large
//! for it is the largest: a line that says so is a line like others.
//! It is not a bound of lines: the run does not give longer ones than it reads.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use tidings_core::json;

use super::{
    super::{
        config::AdapterKind,
        contract::{SessionId, Stream, StreamOutput, agent::Raw},
        output::PIECE_BYTES,
    },
    Step,
};
use crate::programs::decode::{pieces, shortened};

/// The most bytes of a value, as JSON.
pub(super) const VALUE_BYTES: usize = 64 * 1024;
/// The most bytes of the text of one block. No model says so much at once; a program may.
pub(super) const TEXT_BYTES: usize = 512 * 1024;
/// The most bytes of the last word of a turn: as much as a step of a workflow may give to the next.
pub(super) const LAST_WORD_BYTES: usize = 256 * 1024;
/// The most levels of what an agent says: an event puts a few around it.
const LEVELS: usize = json::LEVELS - 4;
/// The most bytes of a name.
pub(super) const NAME_BYTES: usize = 1024;
/// The most bytes of an id.
const ID_BYTES: usize = 256;
/// What stands where something was cut off.
pub(super) const CUT: &str = "…";

/// The first part of a text, of at most `limit` bytes, the mark of the cut included.
pub(super) fn text(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}{CUT}", shortened(text, limit - CUT.len()))
}

/// Leaves of a text what fits.
pub(super) fn fit(text: &mut String, limit: usize) {
    if text.len() > limit {
        *text = self::text(text, limit);
    }
}

/// The last word of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastWord {
    text: String,
    /// Whether it is only its beginning.
    cut: bool,
}

impl LastWord {
    /// What fits of a text, of which something may be missing already.
    pub(super) fn of(text: &str, cut: bool) -> Self {
        Self { text: self::text(text, LAST_WORD_BYTES), cut: cut || text.len() > LAST_WORD_BYTES }
    }

    /// As the end of a turn has it: the text, and whether it is only the beginning.
    pub(super) fn told(word: Option<Self>) -> (Option<String>, bool) {
        word.map_or((None, false), |word| (Some(word.text), word.cut))
    }
}

/// A value that fits.
pub(super) fn value(value: &Value) -> Value {
    let json = value.to_string();
    if json.len() <= VALUE_BYTES {
        return value.clone();
    }
    Value::String(text(value.as_str().unwrap_or(&json), VALUE_BYTES))
}

/// An id that fits; none where there is none.
pub(super) fn id(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    if text.len() <= ID_BYTES {
        return Some(text.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Some(format!("{}~{:016x}", shortened(text, 200), hasher.finish()))
}

/// The agent's own id of a conversation, by which it is resumed; none where there is none, and of one that is too long:
/// a part of it would be the id of another.
pub(super) fn own_id(value: &Value) -> Option<String> {
    id(value).filter(|id| value.as_str() == Some(id))
}

/// A short text, such as a name; none where there is none.
pub(super) fn name(value: &Value) -> Option<String> {
    value.as_str().filter(|name| !name.is_empty()).map(|name| text(name, NAME_BYTES))
}

/// A line that is none of the agent's format, as output.
pub(super) fn output(session_id: &SessionId, line: &str) -> Vec<Step> {
    let line = format!("{line}\n");
    let piece = |content: &str| StreamOutput {
        session_id: session_id.clone(),
        r#type: Stream::Stdout,
        content: content.to_owned(),
        offset: None,
    };
    pieces(&line, PIECE_BYTES).into_iter().map(|content| Step::Output(piece(content))).collect()
}

/// What an adapter does not know.
pub(super) fn raw(session_id: &SessionId, source: AdapterKind, data: &Value) -> Step {
    let (session_id, source) = (session_id.clone(), source.as_str().to_owned());
    Step::Raw(Raw { session_id, source, data: value(data) })
}

/// The value that an agent wrote, if it is JSON.
pub(super) fn read(text: &str) -> Option<Value> {
    json::from_str(&json::fitted(text, LEVELS)).ok()
}

/// The object that a line is, if it is one.
pub(super) fn object(line: &str) -> Option<Value> {
    read(line).filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = json!({ "a": "ü".repeat(VALUE_BYTES) });
        let Value::String(cut) = value(&long) else { panic!("a long value becomes a text") };
        assert!(cut.len() <= VALUE_BYTES && cut.starts_with("{\"a\":\"ü") && cut.ends_with(CUT), "{}", cut.len());
        assert_eq!(value(&json!([1, null])), json!([1, null]));
        assert_eq!(value(&Value::String("x".repeat(VALUE_BYTES))).as_str().map(str::len), Some(VALUE_BYTES));
        assert_eq!(text("abc", 3), "abc");
    }

    #[test]
    fn a_last_word_says_whether_it_is_whole() {
        let word = |length: usize, cut| LastWord::told(Some(LastWord::of(&"x".repeat(length), cut)));
        assert_eq!(word(LAST_WORD_BYTES, false), (Some("x".repeat(LAST_WORD_BYTES)), false));
        let (text, cut) = word(LAST_WORD_BYTES + 1, false);
        assert!(cut && text.is_some_and(|text| text.len() <= LAST_WORD_BYTES && text.ends_with(CUT)));
        assert_eq!(word(1, true), (Some("x".to_owned()), true), "something is missing already");
        assert_eq!(LastWord::told(None), (None, false));
    }

    #[test]
    fn an_object_is_one_however_odd_its_parts_are() {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let line = format!(r#"{{"type":"a","text":"\ud83d","\ude00":-1e400,"deep":{deep}}}"#);
        let read = object(&line).expect("an object");
        assert_eq!(
            (&read["type"], &read["text"], &read["\u{FFFD}"]),
            (&json!("a"), &json!("\u{FFFD}"), &json!(-f64::MAX))
        );
        assert_eq!(json::fits(&json!({ "data": [[[read]]] }).to_string()), Ok(()));
        assert_eq!((object("[1]"), object("{")), (None, None));
    }

    #[test]
    fn long_ids_that_differ_at_their_end_only_stay_apart() {
        let [a, b] = ["a", "b"].map(|end| id(&json!("x".repeat(300) + end)).expect("an id"));
        assert!(a != b && a.len() <= ID_BYTES, "{a} {b}");
        assert_eq!((id(&json!("")), id(&json!(7)), id(&json!("a"))), (None, None, Some("a".to_owned())));
        assert_eq!((own_id(&json!("x".repeat(300))), own_id(&json!("a"))), (None, Some("a".to_owned())));
    }
}
