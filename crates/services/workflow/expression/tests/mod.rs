//! The language, its types and its bounds. `options`: what others may make of a text; `random`: whatever is written.

mod options;
mod random;

use std::collections::BTreeMap;

use super::*;
use crate::workflow::scalar::Scalar;

/// Names as they are written, and what they stand for.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, Scalar>);

impl Scope for Known {
    fn value(&self, name: &Name) -> Option<Value<'_>> {
        self.0.get(&name.to_string()).map(Value::from)
    }
}

fn known<const N: usize>(values: [(&str, Scalar); N]) -> Known {
    Known(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn number(spelling: &str) -> Scalar {
    Scalar::number(spelling).expect("a number")
}

fn some() -> Known {
    known([
        ("success", true.into()),
        ("inputs.n", 3.into()),
        ("inputs.name", "x".into()),
        ("inputs.deploy", "false".into()),
        ("inputs.version", number("3.10")),
        ("matrix.zero", number("-0")),
        ("matrix.large", number("1e3")),
        ("matrix.long", number("12345678901234567890")),
        ("steps.a.status", "completed".into()),
        ("steps.a.outputs.v", "1.2".into()),
        ("steps.a.outputs.n", "9".into()),
        ("steps.a.outputs.ok", "false".into()),
        ("steps.a.outputs.half", "0.5".into()),
    ])
}

fn parsed(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|why| panic!("{why}"))
}

fn is_true(text: &str) -> Result<bool, String> {
    parsed(text).is_true(&some(), &mut Budget::default())
}

fn rendered(text: &str) -> Result<String, String> {
    let template = Template::parse(text).unwrap_or_else(|why| panic!("{why}"));
    template.render(&some(), &mut Budget::default()).map(|rendered| rendered.text)
}

#[test]
fn the_language_compares_combines_calculates_and_chooses() {
    let table = [
        ("success", true),
        ("not success", false),
        ("not not success", true),
        ("inputs.n > 2 and inputs.n * 2 == 6", true),
        ("steps.a.status == 'completed' or inputs.n == 0", true),
        ("inputs.name in ['x', 'y']", true),
        ("inputs.name not in ['x', 'y',]", false),
        ("not inputs.name in []", true),
        ("'b' in 'abc' and 'd' not in 'abc'", true),
        ("(inputs.n == 1) or (not (inputs.n == 2))", true),
        ("'a' ~ 'b' == 'ab'", true),
        ("('yes' if inputs.n == 3 else '') == 'yes'", true),
        ("steps.a.outputs.v == \"1.2\"", true),
        ("steps['a'].outputs['v'] == '1.2'", true),
        ("'is | f(x)' == ''", false),
        ("7 // 2 == 3 and 7 % 2 == 1 and 7 / 2 == 3.5 and -7 // 2 == -4 and -7 % 2 == 1", true),
        ("1 + 2 * 3 - -4 == 11 and (1 + 2) * 3 == 9", true),
        ("1 == 1.0 and 2 < 2.5 and -3 < -2.5 and 9007199254740993 > 9007199254740992.0", true),
        ("'a' < 'b' and 'a' <= 'a'", true),
        ("[1, 'a'] == [1, 'a'] and [1] != [1, 2] and [[1]] == [[1.0]]", true),
        ("none == none and 1 != none and 'a' != None", true),
        ("int(steps.a.outputs.n) > 8 and float(steps.a.outputs.half) == 0.5 and int(' 9 ') == 9", true),
        ("string(inputs.version) == '3.10' and bool(steps.a.outputs.ok) == false and not bool('false')", true),
        ("int(7 / 2) == 3 and int(-3.9) == -3 and float(1) == 1", true),
        ("True and not False", true),
        ("success or steps.none.outputs.missing == ''", true),
    ];
    for (text, expected) in table {
        assert_eq!(is_true(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_expression_of_the_language_is_refused_and_says_why() {
    let table = [
        ("", "not complete"),
        ("inputs.n ==", "not complete"),
        ("inputs.n | upper", "no filters"),
        ("range(9)", "no function 'range'"),
        ("range (9)", "no function 'range'"),
        ("(success)(1)", "only int, float, string and bool are called"),
        ("success is defined", "no tests"),
        ("1 +* 2", "'*' is not expected"),
        ("'open", "without its closing '"),
        ("'\\q'", "has no meaning"),
        ("'\\ud83d'", "four hexadecimal digits"),
        ("inputs.", "a name is missing"),
        ("inputs", "without saying which"),
        ("steps.a", "without saying what of it"),
        ("steps.a.outputs", "without saying what of it"),
        ("steps.a.outputs[inputs.name]", "a text in quotes"),
        ("inputs.a.b", "names 'inputs.a.b', which is not there"),
        ("env.w", "names 'env', which is not known"),
        ("{%", "no maps"),
        ("{'a': 1}", "no maps"),
        ("(1, 2)", "lists stand in"),
        ("'abc'[1:]", "no parts of texts"),
        ("inputs.name[1:]", "no parts of texts"),
        ("[1][0]", "only names have"),
        ("2 ** 3", "no powers"),
        ("1 < 2 < 3", "two are compared at a time"),
        ("1 not 2", "'not' is followed by 'in'"),
        ("1 if success", "no 'else'"),
        ("1 = 1", "write '=='"),
        ("1.", "digits after its '.'"),
        ("1e", "digits after its exponent"),
        ("12a", "ends before a letter"),
        ("0x10", "ends before a letter"),
        ("9223372036854775808", "beyond 64 bits"),
        ("1e999", "too large"),
        ("and", "'and' is not expected"),
        ("a b", "names 'a'"),
        ("1 2", "'2' is not expected"),
        ("(1", "')' is missing at its end"),
        ("[1 2]", "',' is missing before '2'"),
        ("int 1", "names 'int'"),
        ("ü", "is not part of the language"),
    ];
    for (text, why) in table {
        let refused = Expression::parse(text).expect_err(text);
        assert!(refused.contains("cannot be read: ") && refused.contains(why), "{text}: {refused}");
    }
    for (open, close) in [("(", ")"), ("[", "]"), ("not ", ""), ("-", ""), ("1 if true else ", "")] {
        let levels = (BYTES - 1) / (open.len() + close.len());
        let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        let refused = Expression::parse(&deep);
        assert!(refused.is_err_and(|why| why.contains("nested deeper")) || levels < tree::DEPTH, "{open}");
    }
    let chain = "1+".repeat(500) + "1";
    assert!(Expression::parse(&chain).expect_err("deep").contains("nested deeper"));
    assert!(Expression::parse(&"1+".repeat(600)).expect_err("long").ends_with("is longer than 1 KiB"));
}

#[test]
fn a_text_is_its_characters_and_the_values_in_it() {
    let text = |text: &str| rendered(text);
    assert_eq!(text("v${{ steps.a.outputs.v }}-${{inputs.n}}!").as_deref(), Ok("v1.2-3!"));
    assert_eq!(text("{{ as it is }} $HOME").as_deref(), Ok("{{ as it is }} $HOME"));
    assert_eq!(text("").as_deref(), Ok(""));
    assert_eq!(text("${{ 4 / 2 }} ${{ 4 // 2 }} ${{ 1 + 0.5 }} ${{ 1e20 * 1e20 }}").as_deref(), Ok("2.0 2 1.5 1e40"));
    assert!(text("${{ steps.a.outputs.w }}").expect_err("missing").contains("has no value"));
    assert!(text("${{ none }}").expect_err("nothing").contains("puts none into a text"));
    assert!(text("${{ ['a'] }}").expect_err("a list").contains("puts a list into a text"));
    assert!(text("a${{ '\\u0000' }}").expect_err("a NUL").contains("NUL"));
    assert!(Template::parse("a ${{ b").is_err_and(|why| why.contains("without its '}}'")));
}

#[test]
fn a_number_and_a_flag_keep_their_spelling_until_they_are_calculated_with() {
    let table = [
        ("${{ inputs.version }}", "3.10"),
        ("${{ inputs.version ~ '-' ~ matrix.zero }}", "3.10--0"),
        ("${{ string(matrix.large) }}", "1e3"),
        ("${{ inputs.version if success else '' }}", "3.10"),
        ("${{ 3.10 }}", "3.10"),
        ("${{ matrix.large + 0 }}", "1000.0"),
        ("${{ matrix.zero + 0 }}", "0"),
        ("${{ matrix.long }}", "12345678901234567890"),
        ("${{ success }}", "true"),
    ];
    for (text, expected) in table {
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(is_true("inputs.version == 3.1"), Ok(true));
    assert!(rendered("${{ matrix.long + 1 }}").expect_err("too long").contains("beyond 64 bits"));
}

#[test]
fn a_text_is_no_number_and_no_condition_and_what_to_write_is_said() {
    let table = [
        ("steps.a.outputs.n > 10", "compares a text with a number: write int(steps.a.outputs.n) > 10"),
        ("10 < steps.a.outputs.n", "write 10 < int(steps.a.outputs.n)"),
        ("steps.a.outputs.v >= 1.5", "write float(steps.a.outputs.v) >= 1.5"),
        ("inputs.n == '3'", "compares a number with a text: write string(inputs.n) == '3'"),
        ("steps.a.outputs.n == 9", "write int(steps.a.outputs.n) == 9"),
        ("steps.a.outputs.n != inputs.n", "write int(steps.a.outputs.n) != inputs.n"),
        ("steps.a.outputs.ok", "has a text as a condition: write steps.a.outputs.ok == 'true'"),
        ("not steps.a.outputs.ok", "write steps.a.outputs.ok == 'true'"),
        ("success and inputs.deploy", "write inputs.deploy == 'true'"),
        ("inputs.deploy or success", "write inputs.deploy == 'true'"),
        ("1 == (1 if inputs.deploy else 2)", "write inputs.deploy == 'true'"),
        ("steps.a.outputs.ok == true", "compares a text with a flag: write steps.a.outputs.ok == 'true'"),
        ("success == steps.a.outputs.ok", "write success == bool(steps.a.outputs.ok)"),
        ("inputs.n", "has a number as a condition: write inputs.n != 0"),
        ("none", "has none as a condition"),
        ("[1]", "has a list as a condition"),
        ("inputs.n in [1, '3']", "compares a number with a text"),
        ("inputs.n in '123'", "looks for a number in a text"),
        ("true < false", "compares a flag with a flag"),
        ("success == 1", "compares a flag with a number"),
        ("inputs.name + 'y' == 'xy'", "calculates a text + a text: write inputs.name ~ 'y' to join texts"),
        ("steps.a.outputs.n + 1 == 10", "write int(steps.a.outputs.n) + 1"),
        ("'x' * 3 == 'xxx'", "calculates a text * a number"),
        ("2 in ([1] * 9000000000000)", "calculates a list * a number"),
        ("-inputs.name == 1", "puts '-' before a text: write -int(inputs.name)"),
        ("int(success) == 1", "calls int with a flag"),
        ("int('x') == 1", "no whole number"),
        ("float('nan') == 1", "no number"),
        ("bool('yes')", "neither 'true' nor 'false'"),
        ("1 / 0 == 1", "divides by zero"),
        ("1 // 0 == 1", "divides by zero"),
        ("1 % 0.0 == 1", "divides by zero"),
        ("9223372036854775807 + 1 == 1", "too large"),
        ("9223372036854775807 * 2 == 1", "too large"),
        ("1e300 * 1e300 == 1", "too large"),
        ("int(1e300) == 1", "beyond 64 bits"),
    ];
    for (text, why) in table {
        let refused = is_true(text).expect_err(text);
        assert!(refused.starts_with("the expression '") && refused.contains(why), "{text}: {refused}");
    }
}

/// Types as a definition gives them, for the check.
fn kinds(name: &Name) -> Kinds {
    match name {
        Name::Success | Name::Failure => Kind::Boolean.into(),
        Name::Input(name) if name == "n" => Kind::Number.into(),
        Name::Input(name) if name == "any" => Kinds::SCALAR,
        Name::Matrix(name) if name == "mixed" => Kinds::from(Kind::Number).or(Kind::Boolean),
        _ => Kind::Text.into(),
    }
}

#[test]
fn what_is_wrong_whatever_the_values_are_is_seen_before_anything_runs() {
    let wrong = [
        "steps.a.outputs.n > 10",
        "steps.a.outputs.ok",
        "not steps.a.outputs.ok",
        "inputs.n == '3'",
        "inputs.n in ['1', '2']",
        "success and steps.a.status",
        "(1 if inputs.name else 2) == 1",
        "steps.a.outputs.n + 1 == 2",
        "'x' * 3 == 'xxx'",
        "2 in ([1] * 9000000000000)",
        "matrix.mixed == 'a'",
        "(1 if success else 2) == 'a'",
        "[int(success)] == []",
        "inputs.n",
        "'a' ~ none == 'a'",
        "-inputs.name == 1",
        "inputs.any in 1",
    ];
    for text in wrong {
        assert!(parsed(text).check_condition(&kinds).is_err(), "{text}");
    }
    let right = [
        "inputs.any",
        "inputs.any == 3 or inputs.any == 'x'",
        "inputs.any > 1",
        "matrix.mixed == 1",
        "matrix.mixed",
        "int(steps.a.outputs.n) > 10",
        "steps.a.outputs.ok == 'true'",
        "('1' if success else 2) == 2",
        "inputs.n in [1, 2, none]",
        // It fails, and only where it is evaluated.
        "1 // 0 == 1",
        "int('x') == 1",
    ];
    for text in right {
        assert_eq!(parsed(text).check_condition(&kinds), Ok(()), "{text}");
    }
    assert!(parsed("['a']").check_text(&kinds).is_err() && parsed("none").check_text(&kinds).is_err());
    assert_eq!(parsed("inputs.n if success else none").check_text(&kinds), Ok(()));
}

#[test]
fn what_is_made_is_bounded_in_all() {
    let scope = known([("inputs.long", "x".repeat(100 << 10).as_str().into())]);
    let template = Template::parse("${{ inputs.long }}").expect("parses");
    let mut budget = Budget::default();
    let fit = (0..20).take_while(|_| template.render(&scope, &mut budget).is_ok()).count();
    assert_eq!(fit, 10, "the texts of all templates together");
    let joined = format!("{} == ''", vec!["inputs.long"; 60].join(" ~ "));
    let why = parsed(&joined).is_true(&scope, &mut Budget::default()).expect_err("too much");
    assert!(why.contains("makes more than 1 MiB"), "{why}");
    let long = Template::parse(&"y".repeat((1 << 20) + 1)).expect("parses");
    assert!(long.render(&scope, &mut Budget::default()).is_err());
    let looks = vec!["'z' in inputs.long"; 40].join(" or ");
    let mut budget = Budget::default();
    let done = (0..100).take_while(|_| parsed(&looks).is_true(&scope, &mut budget).is_ok()).count();
    assert!((10..40).contains(&done), "operations are counted: {done}");
}

/// A flag that a thousand steps are looked at for.
struct Many;

impl Scope for Many {
    fn value(&self, _: &Name) -> Option<Value<'_>> {
        Some(Value::Boolean(true))
    }

    fn looks(&self, _: &Name) -> usize {
        1_000
    }
}

#[test]
fn whatever_looks_at_a_long_value_or_at_many_steps_is_counted_for_it() {
    let blank = format!("1{}", " ".repeat(256 << 10));
    let zeros = number(&format!("1.{}", "0".repeat(256 << 10)));
    let scope = known([("inputs.blank", blank.as_str().into()), ("inputs.zeros", zeros), ("inputs.n", 1.into())]);
    for (text, least) in [
        ("int(inputs.blank) == 1", 256),
        ("float(inputs.blank) == 1", 256),
        ("bool(inputs.blank)", 256),
        ("inputs.zeros == 1", 256),
        ("inputs.zeros + 1 == 2", 256),
        ("-inputs.zeros == -1", 256),
        ("int(inputs.zeros) == 1", 256),
        ("inputs.n + 1 == 2", 0),
    ] {
        let mut budget = Budget::default();
        drop(parsed(text).is_true(&scope, &mut budget));
        assert!((least..least + 20).contains(&budget.spent()), "{text}: {}", budget.spent());
    }
    let mut budget = Budget::default();
    let all = vec!["success"; 50].join(" and ");
    let done = (0..100).take_while(|_| parsed(&all).is_true(&Many, &mut budget).is_ok()).count();
    assert_eq!((done, budget.spent()), (31, 100_000), "and what is too much is not done");
}

#[test]
fn the_names_in_an_expression_are_known_before_it_is_computed() {
    let read = parsed("steps.a.outputs.v == inputs.n and steps['b'].status == '' and success and run.id in [matrix.m]");
    let names: Vec<String> = read.names().into_iter().map(ToString::to_string).collect();
    assert_eq!(names, ["steps.a.outputs.v", "inputs.n", "steps.b.status", "success", "run.id", "matrix.m"]);
}
