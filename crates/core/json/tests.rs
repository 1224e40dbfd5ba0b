//! Tests of the reading of JSON: beside serde_json's, beside a lenient reader of its own, and at its bounds.
//!
//! Guarantees: documents are made by the grammar, and not of what a reader takes.
//! They are not tests of the doors that read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{fit::LARGEST, *};

/// How Python and JavaScript write what they have as UTF-16: as escapes, or as themselves, or half.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[a-z \u{e9}\u{1F980}]{0,4}",
        Just("\\ud83d".to_owned()),
        Just("\\uDE00".to_owned()),
        Just("\\uD83D\\ude00".to_owned()),
        Just("\\\\".to_owned()),
        Just("\\\\ud83d".to_owned()),
        Just("\\\"".to_owned()),
        Just("\\u00e9".to_owned()),
        Just("\\u001b[0m".to_owned()),
        Just("{[3e400".to_owned()),
        Just("x".repeat(63)),
        Just("x\\\\".repeat(30)),
        Just("\\\"[".repeat(40)),
    ];
    proptest::collection::vec(pieces, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(|it| format!("{it:e}")),
        (any::<bool>(), 300_usize..320, -330_i32..330).prop_map(|(minus, digits, exponent)| {
            format!("{}{}e{exponent}", if minus { "-" } else { "" }, "7".repeat(digits))
        }),
        (300_usize..320).prop_map(|digits| "7".repeat(digits)),
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,3})?[eE][+-]?[0-9]{1,3}",
    ]
}

/// What is JSON by its grammar, whatever serde_json says of it.
fn documents() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![texts(), numbers(), Just("null".to_owned()), Just("true".to_owned())];
    leaf.prop_recursive(6, 48, 4, |inner| {
        let entry = (texts(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec(entry, 0..4).prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}

/// A lenient reader of texts of its own: UTF-16, decoded with U+FFFD for what is no pair.
fn leniently(text: &str) -> String {
    let (mut units, mut chars) = (Vec::new(), text[1..text.len() - 1].chars());
    while let Some(char) = chars.next() {
        match (char, if char == '\\' { chars.next() } else { None }) {
            (_, Some('u')) => {
                let digits: String = chars.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&digits, 16).expect("hex"));
            }
            (_, Some(escaped)) => units.push(u16::try_from(u32::from(escaped)).expect("a quote or a backslash")),
            (char, None) => units.extend_from_slice(char.encode_utf16(&mut [0; 2])),
        }
    }
    String::from_utf16_lossy(&units)
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_serde_json_takes_is_read_as_it_reads_it(text in prop_oneof![documents(), "\\PC{0,40}"]) {
        if let Ok(expected) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(from_str::<Value>(&text).expect("the same"), expected.clone());
            prop_assert_eq!(Text::new(&text).read::<Value>().expect("the same"), expected.clone());
            // The copy is never needed where serde_json takes the text, and would change nothing.
            prop_assert_eq!(readable(&text), text.as_str());
            prop_assert_ne!(fits(&text), Err(Unfit::Number));
        }
    }

    #[test]
    fn a_text_is_read_as_a_lenient_reader_reads_it(text in texts()) {
        prop_assert_eq!(from_str::<String>(&text).expect("reads"), leniently(&text));
        let object = format!("{{{text}:[{text}]}}");
        prop_assert_eq!(from_str::<Value>(&object).expect("reads"), json!({ leniently(&text): [leniently(&text)] }));
    }

    #[test]
    fn every_document_whose_numbers_fit_is_read(text in documents()) {
        let read = from_str::<Value>(&text);
        prop_assert_eq!(read.is_ok(), fits(&text).is_ok(), "{:?}", read);
    }

    #[test]
    fn every_document_can_be_made_to_fit(text in documents(), levels in 1_usize..5) {
        let made = fitted(&text, levels);
        let value: Value = from_str(&made).expect("fits");
        prop_assert!(depth(&value) <= levels);
        if let Ok(read) = from_str::<Value>(&text) && depth(&read) <= levels {
            prop_assert_eq!(value, read);
        }
    }

    #[test]
    fn what_is_no_json_is_looked_at_without_a_panic(text in "[\\[\\]{}\",:\\\\ud8de0-9+.\u{e9}\u{1F980}-]{0,40}") {
        drop((fits(&text), fitted(&text, 1), readable(&text), from_str::<Value>(&text)));
    }

    #[test]
    fn a_part_is_passed_on_as_it_came(data in documents(), id in texts()) {
        #[derive(Deserialize)]
        struct Publication<'a> {
            id: String,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let came = format!(r#" {{"id":{id}, "data": {data} }}"#);
        let text = Text::new(&came);
        let Publication { id: read, data: part } = text.read().expect("reads");
        prop_assert_eq!(read, leniently(&id));
        prop_assert_eq!(text.came(part).get(), data);
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[test]
fn the_bounds_of_data_are_where_they_are_said_to_be() {
    assert_eq!((fits(&nested(LEVELS)), fits(&nested(LEVELS + 1))), (Ok(()), Err(Unfit::Deep)));
    // Many are no depth, and brackets in a text are none.
    assert_eq!(fits(&format!("[{}[]]", "[],".repeat(1_000))), Ok(()));
    assert_eq!(fits(&format!(r#"["\\\"{}"]"#, "[".repeat(1_000))), Ok(()));
    for number in ["1e400", "-1E+400", "1.7976931348623159e308", &"9".repeat(400)] {
        assert_eq!(fits(&format!(r#"{{"a":[{number}]}}"#)), Err(Unfit::Number), "{number}");
        assert!(serde_json::from_str::<Value>(number).is_err());
    }
    let zeros = format!("0.{}1", "0".repeat(400));
    for number in ["1e308", "1e-400", LARGEST, "0e999", &"9".repeat(308), &zeros] {
        assert_eq!(fits(&format!(r#"{{"a":[{number}]}}"#)), Ok(()), "{number}");
        assert!(serde_json::from_str::<Value>(number).is_ok());
    }
    assert_eq!(fits(r#"{"a":"1e400","1e400":"\"1e400"}"#), Ok(()));
}

#[test]
fn what_does_not_fit_is_made_to_fit_and_nothing_else_is_touched() {
    let table = [
        (
            r#"{"a":1e400,"b": -1e400 ,"c":1e4}"#,
            r#"{"a":1.7976931348623157e308,"b": -1.7976931348623157e308 ,"c":1e4}"#,
        ),
        (r#"[[ {"x":1e400} , "]"],[]]"#, r#"["[ {\"x\":1e400} , \"]\"]","[]"]"#),
        (r#"["1e400"]"#, r#"["1e400"]"#),
    ];
    for (text, expected) in table {
        assert_eq!(fitted(text, 1), expected);
    }
    assert_eq!(depth(&from_str(&fitted(&nested(100_000), 60)).expect("fits")), 60);
}
