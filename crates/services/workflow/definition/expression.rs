//! Expressions: `if`, and `${{ … }}` in texts.
//!
//! Guarantees: an expression has no loops, filters or functions, so it is over soon, and its result is
//! bounded; every name in it is checked before anything runs.
//! It is not a template language: a text is its own characters and the values of its expressions.

use std::collections::BTreeSet;

use minijinja::{Environment, UndefinedBehavior, Value as Computed};
use serde_json::{Map, Value};

use super::yaml::Flaw;

/// The most bytes of one expression.
const EXPRESSION_BYTES: usize = 1024;
/// The most bytes that a text becomes.
pub(super) const TEXT_BYTES: usize = 1024 * 1024;
/// How many operations an expression may take.
const FUEL: u64 = 10_000;
const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// An expression that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(String);

/// A text with expressions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Expression(Expression),
}

/// A name in an expression: `steps.build` of `steps.build.outputs.version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) root: String,
    /// What follows the root's dot; none if the root stands alone.
    pub(super) member: Option<String>,
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Why it is none, with the line that it stands in.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, Flaw> {
        let bad = |why: &str| Flaw::at(line, format!("the expression '{}' {why}", shown(text)));
        if text.len() > EXPRESSION_BYTES {
            return Err(bad("is longer than 1 KiB"));
        }
        if let Some(why) = beyond_the_language(text) {
            return Err(bad(why));
        }
        engine()
            .compile_expression(text)
            .map_err(|error| bad(&format!("cannot be read: {}", error.detail().unwrap_or("it is not complete"))))?;
        Ok(Self(text.trim().to_owned()))
    }

    /// The names in it.
    pub(super) fn names(&self) -> BTreeSet<Name> {
        let engine = engine();
        let compiled = engine.compile_expression(&self.0).expect("it was compiled before");
        let of = |name: String| {
            let mut parts = name.split('.').map(str::to_owned);
            Name { root: parts.next().unwrap_or_default(), member: parts.next() }
        };
        compiled.undeclared_variables(true).into_iter().map(of).collect()
    }

    /// The values in it that the definition's author did not write: inputs, and outputs of steps.
    fn values_of_others<'a>(&self, context: &'a Value) -> Vec<&'a Value> {
        let of = |name: Name| match (name.root.as_str(), name.member) {
            ("inputs", Some(member)) => vec![&context["inputs"][member]],
            ("inputs", None) => context["inputs"].as_object().into_iter().flat_map(Map::values).collect(),
            ("steps", Some(member)) => outputs(&context["steps"][member]),
            ("steps", None) => {
                context["steps"].as_object().into_iter().flat_map(Map::values).flat_map(outputs).collect()
            }
            _ => Vec::new(),
        };
        self.names().into_iter().flat_map(of).collect()
    }

    fn is_of_others(&self, context: &Value) -> bool {
        !self.values_of_others(context).is_empty()
    }

    /// Whether a text is, as a whole, one of the literals in this expression, which it chose and did not put together.
    fn chose(&self, text: &str, context: &Value) -> bool {
        let is_others = |value: &&Value| value.as_str().is_some_and(|value| value.starts_with('-'));
        let bare = literals(&self.0).iter().fold(self.0.clone(), |bare, literal| bare.replacen(literal, "", 1));
        literals(&self.0).contains(&text)
            && !bare.contains(['~', '+', '*', ':'])
            && !self.values_of_others(context).iter().any(is_others)
    }

    fn compute(&self, context: &Value) -> Result<Computed, String> {
        let engine = engine();
        let compiled = engine.compile_expression(&self.0).expect("it was compiled before");
        compiled.eval(context).map_err(|error| {
            format!(
                "the expression '{}' cannot be computed: {}",
                shown(&self.0),
                error.detail().unwrap_or("something in it is not there")
            )
        })
    }

    /// Whether it is true. What is empty, zero or not there is not.
    ///
    /// # Errors
    /// Why it cannot be said.
    pub fn is_true(&self, context: &Value) -> Result<bool, String> {
        self.compute(context).map(|value| value.is_true())
    }

    fn text(&self, context: &Value) -> Result<String, String> {
        let value = self.compute(context)?;
        if value.is_undefined() || value.is_none() {
            return Err(format!("the expression '{}' has no value", shown(&self.0)));
        }
        Ok(value.to_string())
    }
}

/// The outputs in what an expression sees of a step.
fn outputs(step: &Value) -> Vec<&Value> {
    step["outputs"].as_object().into_iter().flat_map(Map::values).collect()
}

/// The texts in quotes, as they are written.
fn literals(expression: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(open) = rest.find(['\'', '"']) {
        let quote = rest.as_bytes()[open];
        let inside = &rest[open + 1..];
        let mut escaped = false;
        let close = inside.bytes().position(|byte| {
            let closes = byte == quote && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let Some(close) = close else { break };
        found.push(&inside[..close]);
        rest = &inside[close + 1..];
    }
    found
}

/// What the library could do and a definition may not, if there is some of it outside quotes.
fn beyond_the_language(text: &str) -> Option<&'static str> {
    let (mut words, mut quote, mut word) = (Vec::new(), None, String::new());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match quote {
            Some(_) if char == '\\' => {
                chars.next();
            }
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if char.is_alphanumeric() || char == '_' => word.push(char),
            None => {
                if char == '('
                    && !word.is_empty()
                    && !matches!(word.as_str(), "and" | "or" | "not" | "in" | "if" | "else")
                {
                    return Some("calls a function: there are none");
                }
                // A space between a name and its parenthesis makes it no less a call.
                if !(char.is_whitespace() && chars.as_str().trim_start().starts_with('(')) {
                    words.push(std::mem::take(&mut word));
                }
                match char {
                    '|' => return Some("uses a filter: there are none"),
                    '\'' | '"' => quote = Some(char),
                    _ => {}
                }
            }
        }
    }
    words.push(word);
    words.iter().any(|word| word == "is").then_some("uses a test with 'is': there are none")
}

fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with an expression in it, with the line that the text begins in.
    pub(super) fn parse(text: &str, line: usize) -> Result<Self, Flaw> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, after) = after.split_once(CLOSE).ok_or_else(|| Flaw::at(line, "'${{' without its '}}'"))?;
            pieces.push(Piece::Expression(Expression::parse(inner, line)?));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The names in it.
    pub(super) fn names(&self) -> BTreeSet<Name> {
        let expressions = self.0.iter().filter_map(|piece| match piece {
            Piece::Expression(expression) => Some(expression.names()),
            Piece::Text(_) => None,
        });
        expressions.flatten().collect()
    }

    /// Whether a text that was made of this one is an option because of an input, or of an output of another step: by
    /// its value, or because that is empty and what follows comes first. The definition's author names an option, with
    /// more than dashes, before any of them stands, or in a whole text that an expression chose.
    #[must_use]
    pub fn lets_others_begin_an_option(&self, rendered: &str, context: &Value) -> bool {
        if !rendered.starts_with('-') {
            return false;
        }
        let names_it = |text: &str| text.bytes().any(|byte| byte != b'-');
        for piece in &self.0 {
            match piece {
                Piece::Text(text) if names_it(text) => return false,
                Piece::Text(_) => {}
                Piece::Expression(expression) if expression.is_of_others(context) => {
                    return self.0.len() > 1 || !expression.chose(rendered, context);
                }
                Piece::Expression(expression) => match expression.text(context) {
                    Ok(text) if names_it(&text) => return false,
                    Ok(_) => {}
                    Err(_) => return true,
                },
            }
        }
        false
    }

    /// The text with its values.
    ///
    /// # Errors
    /// An expression that has no value, or a text that becomes too long.
    pub fn render(&self, context: &Value) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expression(expression) => text.push_str(&expression.text(context)?),
            }
        }
        match text {
            _ if text.len() > TEXT_BYTES => Err("a text is longer than 1 MiB with its values".to_owned()),
            _ if text.contains('\0') => Err("a text holds a NUL".to_owned()),
            _ => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn context() -> Value {
        json!({
            "inputs": {"n": 3, "name": "x"}, "success": true,
            "steps": {"a": {"status": "completed", "outputs": {"v": "1.2"}}},
        })
    }

    #[test]
    fn the_language_compares_combines_and_chooses() {
        let table = [
            ("success", true),
            ("not success", false),
            ("inputs.n > 2 and inputs.n * 2 == 6", true),
            ("steps.a.status == 'completed' or inputs.n == 0", true),
            ("inputs.name in ['x', 'y']", true),
            ("(inputs.n == 1) or (not (inputs.n == 2))", true),
            ("'a' ~ 'b' == 'ab'", true),
            ("('yes' if inputs.n == 3 else '') == 'yes'", true),
            ("steps.a.outputs.v == \"1.2\"", true),
            ("'is | f(x)' == ''", false),
        ];
        for (text, expected) in table {
            let expression = Expression::parse(text, 1).unwrap_or_else(|flaw| panic!("{text}: {flaw}"));
            assert_eq!(expression.is_true(&context()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_of_the_language_is_refused_with_its_line() {
        for text in [
            "",
            "a ==",
            "inputs.n | upper",
            "range(9)",
            "range (9)",
            "a is defined",
            "1 +* 2",
            "'open",
            "inputs.",
            "{%",
        ] {
            let flaw = Expression::parse(text, 7).expect_err(text);
            assert_eq!(flaw.line, 7, "{text}");
        }
        let deep = format!("{}1{}", "(".repeat(400), ")".repeat(400));
        assert!(Expression::parse(&deep, 1).is_err());
        assert!(Expression::parse(&"1+".repeat(600), 1).expect_err("long").reason.ends_with("is longer than 1 KiB"));
    }

    #[test]
    fn a_text_is_its_characters_and_the_values_in_it() {
        let text = |text: &str| Template::parse(text, 1).expect("parses").render(&context());
        assert_eq!(text("v${{ steps.a.outputs.v }}-${{inputs.n}}!").as_deref(), Ok("v1.2-3!"));
        assert_eq!(text("{{ as it is }} $HOME").as_deref(), Ok("{{ as it is }} $HOME"));
        assert_eq!(text("").as_deref(), Ok(""));
        assert!(text("${{ steps.a.outputs.w }}").expect_err("missing").contains("has no value"));
        assert!(text("${{ steps.b.outputs.w }}").is_err());
        assert!(text("${{ 'x' * 1100000 }}").expect_err("long").contains("1 MiB"));
        assert!(Template::parse("a ${{ b", 3).is_err());
    }

    #[test]
    fn an_option_is_begun_by_who_wrote_the_definition_and_by_nobody_else() {
        let context = json!({
            "inputs": {"safe": "x", "odd": "-x", "dash": "-", "n": -5, "yes": true, "no": false, "empty": ""},
            "matrix": {"flag": "-O2"},
            "steps": {"a": {"status": "completed", "outputs": {"v": "--force"}}, "b": {"outputs": {}}},
        });
        let table = [
            ("${{ inputs.odd }}", true),
            ("${{ steps.a.outputs.v }}", true),
            ("${{ steps['a']['outputs']['v'] }}", true),
            ("${{ inputs.n }}", true),
            ("${{ inputs.empty ~ inputs.odd }}", true),
            ("${{ inputs.dash ~ inputs.safe }}", true),
            ("${{ inputs.odd if inputs.yes else '-x' }}", true),
            ("${{ '-v' ~ inputs.safe if inputs.no else inputs.odd }}", true),
            ("${{ 0 - 5 if inputs.yes else 0 }}", true),
            ("${{ inputs.odd }}${{ inputs.safe }}", true),
            ("${{ '' }}${{ inputs.empty }}${{ inputs.odd }}", true),
            ("${{ inputs.empty }}-${{ inputs.safe }}", true),
            ("${{ inputs.empty }}--name=x", true),
            ("${{ inputs.empty }}${{ matrix.flag }}", true),
            ("${{ inputs.empty ~ '-' ~ inputs.safe }}", true),
            ("${{ inputs.empty ~ '-v' }}", true),
            ("${{ \"--level=\" ~ inputs.safe }}", true),
            ("${{ '-v' if inputs.yes else '' }}${{ inputs.safe }}", true),
            ("${{ '-x-v'[2:] if inputs.yes else '-v' }}", true),
            ("${{ matrix.flag }}${{ inputs.odd }}", false),
            ("${{ inputs.safe }}", false),
            ("${{ matrix.flag }}", false),
            ("${{ '-v' if inputs.yes else '' }}", false),
            ("${{ inputs.no or '-v' }}", false),
            ("${{ inputs.yes and '-v' }}", false),
            ("${{ inputs['yes'] and '-v' }}", true),
            ("--name=${{ inputs.odd }}", false),
            ("-${{ inputs.odd }}", true),
            ("-${{ inputs.safe }}", true),
            ("--${{ inputs.safe }}", true),
            ("-${{ matrix.flag }}${{ inputs.safe }}", false),
            ("-n${{ inputs.n }}", false),
            ("x${{ inputs.odd }}", false),
            ("-v", false),
        ];
        for (text, expected) in table {
            let template = Template::parse(text, 1).unwrap_or_else(|flaw| panic!("{text}: {flaw}"));
            let rendered = template.render(&context).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(template.lets_others_begin_an_option(&rendered, &context), expected, "{text}: {rendered}");
        }
    }

    proptest! {
        /// Whatever stands in a part: where others begin it, they cannot make an option of it, also by being empty.
        #[test]
        fn whether_a_part_is_an_option_is_the_same_whatever_others_say(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["-", "--x=", "a", "${{ inputs.a }}", "${{ inputs.b }}", "${{ steps.s.outputs.v }}",
                    "${{ inputs.a ~ '-' ~ inputs.b }}", "${{ '' }}", "${{ matrix.none }}", "${{ matrix.flag }}"]), 1..5),
            values in prop::array::uniform3("[-a]{0,2}"),
        ) {
            let seen = |[a, b, v]: [&str; 3]| json!({
                "inputs": {"a": a, "b": b}, "matrix": {"none": "", "flag": "-O"},
                "steps": {"s": {"status": "completed", "outputs": {"v": v}}},
            });
            let template = Template::parse(&pieces.concat(), 1).expect("parses");
            let context = seen(values.each_ref().map(String::as_str));
            let rendered = template.render(&context).expect("renders");
            if rendered.starts_with('-') && !template.lets_others_begin_an_option(&rendered, &context) {
                let plain = template.render(&seen(["x", "x", "x"])).expect("renders");
                let name = |text: &str| text.chars().position(|char| char != '-').map(|at| text[..=at].to_owned());
                prop_assert_eq!(name(&rendered), name(&plain), "{} is another option than {}", rendered, plain);
            }
            if !rendered.starts_with('-') || !pieces.concat().contains("inputs") && !pieces.concat().contains("steps") {
                prop_assert!(!template.lets_others_begin_an_option(&rendered, &context), "{rendered} is the author's");
            }
        }
    }

    #[test]
    fn the_names_in_an_expression_are_known_before_it_is_computed() {
        let names = Expression::parse("steps.a.outputs.v == inputs.n and steps['b'] and success", 1).expect("parses");
        let names: Vec<_> = names.names().into_iter().map(|name| (name.root, name.member)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            names,
            [
                ("inputs".to_owned(), some("n")),
                ("steps".to_owned(), None),
                ("steps".to_owned(), some("a")),
                ("success".to_owned(), None)
            ]
        );
    }
}
