//! YAML as a tree whose every part knows its line. JSON is read as the YAML that it is.
//!
//! Guarantees: what is read is bounded in depth and in parts before it is built; nothing in a text can
//! refer to another part of it, so that a small text never becomes a large tree.
//! It is not the meaning of a definition: scalars keep their spelling, and whoever reads them says what they are.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use tidings_core::json;

use super::flaws::Flaw;
use crate::workflow::scalar::Scalar;

/// The deepest nesting that is read.
pub(super) const DEPTH: usize = 24;
/// The most scalars, lists and maps of a text.
const PARTS: usize = 200_000;

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) tree: Tree,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// A text; a plain one, without quotes, may also be a number, a flag or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// Whether nothing is written here.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.tree, Tree::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// A scalar as it is written.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// A scalar as a value: a number or a flag where it is spelled as one, without quotes. None if nothing is written.
    pub(super) fn value(&self) -> Option<Scalar> {
        let Tree::Scalar { text, plain } = &self.tree else { return None };
        Some(match text.as_str() {
            _ if !plain => Scalar::Text(text.clone()),
            "" | "~" | "null" => return None,
            "true" => Scalar::Boolean(true),
            "false" => Scalar::Boolean(false),
            // What JSON calls a number: a version such as 1.2.3 or an octal such as 0644 stays a text.
            text => Scalar::number(text).unwrap_or_else(|| Scalar::Text(text.to_owned())),
        })
    }

    /// What it is, for a refusal.
    pub(super) fn kind(&self) -> &'static str {
        match self.tree {
            _ if self.is_null() => "nothing",
            Tree::Scalar { .. } => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }
}

/// Reads a text.
///
/// # Errors
/// Where it is no YAML, or asks for what is not allowed in it.
pub(super) fn parse(text: &str) -> Result<Node, Flaw> {
    let text = paired(text);
    let mut loader = Loader { parser: Parser::new_from_str(&text), parts: 0 };
    loop {
        match loader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Err(Flaw::at(1, "is empty")),
            (event, span) => {
                let root = loader.node(event, span, 0)?;
                return loader.nothing_follows().map(|()| root);
            }
        }
    }
}

/// JSON writes a character beyond the first 65,536 as two escapes, which YAML does not know: as itself, and
/// one half alone as U+FFFD.
fn paired(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with('{') {
        return Cow::Borrowed(text);
    }
    let text = &*json::readable(text);
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let pair = unit(rest).zip(rest.get(6..).and_then(unit));
        let decoded = pair.and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok());
        // A pair is one character beyond; two escapes that are none stay as they are.
        let taken = match decoded.filter(|char| u32::from(*char) > 0xFFFF) {
            Some(char) => {
                out.push(char);
                12
            }
            None => {
                let escape = rest.ceil_char_boundary(2);
                out.push_str(&rest[..escape]);
                escape
            }
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

struct Loader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    parts: usize,
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Flaw> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Flaw::at(error.marker().line(), format!("is no YAML: {}", error.info()))),
            None => Err(Flaw::at(1, "ends too early")),
        }
    }

    fn nothing_follows(&mut self) -> Result<(), Flaw> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), span) => {
                    return Err(Flaw::at(span.start.line(), "a second document: a definition is one"));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Flaw> {
        let line = span.start.line();
        self.parts += 1;
        if self.parts > PARTS {
            return Err(Flaw::at(line, format!("more than {PARTS} values")));
        }
        if depth > DEPTH {
            return Err(Flaw::at(line, format!("nested deeper than {DEPTH} levels")));
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor > 0 || matches!(event, Event::Alias(_)) {
            return Err(Flaw::at(line, "anchors and aliases (& and *) are not part of a definition"));
        }
        if tagged {
            return Err(Flaw::at(line, "tags (!) are not part of a definition"));
        }
        let tree = match event {
            Event::Scalar(text, style, ..) => {
                Tree::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(Flaw::at(line, "is no YAML")),
        };
        Ok(Node { line, tree })
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Flaw> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Tree::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree, Flaw> {
        let (mut entries, mut known) = (Vec::new(), std::collections::HashSet::new());
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Tree::Map(entries));
            }
            let Node { line, tree } = self.node(event, span, depth + 1)?;
            let Tree::Scalar { text: key, .. } = tree else { return Err(Flaw::at(line, "a key is a text")) };
            if !known.insert(key.clone()) {
                return Err(Flaw::at(line, format!("'{key:.64}' is there twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { line, key, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let flaw = parse(text).expect_err("refused");
        (flaw.line, flaw.reason)
    }

    #[test]
    fn every_part_knows_its_line_in_yaml_and_in_json() {
        for text in ["a: 1\nb:\n  - x\n  - y\n", "{\n\"a\": 1, \"b\":\n[\n\"x\",\n\"y\"]}"] {
            let Tree::Map(entries) = parse(text).expect("parses").tree else { panic!("a map") };
            assert_eq!(entries[0].value.value(), Some(Scalar::from(1)));
            let Tree::List(items) = &entries[1].value.tree else { panic!("a list") };
            assert_eq!(items[1].text(), Some("y"));
            assert_eq!(items[1].line, text.lines().position(|line| line.contains('y')).expect("there") + 1);
        }
    }

    #[test]
    fn a_scalar_is_what_it_is_spelled_as_unless_it_is_quoted() {
        let number = |spelling: &str| Some(Scalar::number(spelling).expect("a number"));
        let table = [
            ("7", number("7")),
            ("'7'", Some("7".into())),
            ("1.5", number("1.5")),
            ("3.10", number("3.10")),
            ("1e3", number("1e3")),
            ("-0", number("-0")),
            ("1.2.3", Some("1.2.3".into())),
            ("0644", Some("0644".into())),
            ("yes", Some("yes".into())),
            ("true", Some(true.into())),
            ("'true'", Some("true".into())),
            ("~", None),
        ];
        for (text, expected) in table {
            let value = parse(text).expect("parses").value();
            assert_eq!(value, expected, "{text}");
            assert!(value.is_none_or(|value| value.as_str() == text.trim_matches('\'')), "{text} keeps its spelling");
        }
    }

    #[test]
    fn the_escapes_of_json_are_read() {
        let text = r#"{"a": "\u00e9\ud83d\ude00 \\ud83d\\ude00 \n \ude00\uD83D"}"#;
        let Tree::Map(entries) = parse(text).expect("parses").tree else { panic!("a map") };
        assert_eq!(entries[0].value.text(), Some("é😀 \\ud83d\\ude00 \n \u{FFFD}\u{FFFD}"));
    }

    #[test]
    fn what_could_grow_and_what_is_no_yaml_is_refused_with_its_line() {
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
        assert_eq!(refused(bomb), (1, "anchors and aliases (& and *) are not part of a definition".to_owned()));
        assert_eq!(refused("x: 1\ny: !!binary aGk=\n").0, 2);
        assert_eq!(refused("x: 1\nx: 2\n"), (2, "'x' is there twice".to_owned()));
        assert_eq!(refused("a: 1\n---\nb: 2\n").0, 2);
        assert!(refused(&"[".repeat(100)).1.starts_with("nested deeper"));
        assert!(refused(&format!("[{}]", "0,".repeat(PARTS + 1))).1.starts_with("more than"));
        assert_eq!(refused("a: b\n c: [\n").0, 2);
        assert_eq!(refused("").1, "is empty");
    }
}
