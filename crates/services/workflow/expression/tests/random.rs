//! Whatever is written: it is read or refused, and ends within its bounds.

use proptest::prelude::*;

use super::number;
use crate::workflow::{
    expression::{
        BYTES, Budget, Expression, Name, Scope, Template, Value,
        evaluation::evaluate,
        kind,
        tree::{Conversion, Operator, Tree},
    },
    scalar::Scalar,
};

/// Any name.
fn name() -> impl Strategy<Value = Name> {
    let word = || prop::sample::select(vec!["a", "n", "in", "not", "a b", "0", "'", "é\\\n"]).prop_map(str::to_owned);
    prop_oneof![
        Just(Name::Success),
        Just(Name::RunId),
        word().prop_map(Name::Input),
        word().prop_map(Name::Matrix),
        word().prop_map(Name::Status),
        (word(), word()).prop_map(|(step, output)| Name::Output { step, output }),
    ]
}

const OPERATORS: [Operator; 14] = [
    Operator::Equal,
    Operator::Unequal,
    Operator::Less,
    Operator::AtMost,
    Operator::Greater,
    Operator::AtLeast,
    Operator::In,
    Operator::NotIn,
    Operator::Add,
    Operator::Subtract,
    Operator::Multiply,
    Operator::Divide,
    Operator::DivideWhole,
    Operator::Remainder,
];

/// Any tree.
fn tree() -> impl Strategy<Value = Tree> {
    let single = prop_oneof![
        "[a'\"\\\\\n\té ]{0,4}".prop_map(Tree::Text),
        prop::sample::select(vec!["0", "3.10", "1e3", "007", "9223372036854775807", "2.5E-3"])
            .prop_map(|spelling| Tree::Number(spelling.to_owned())),
        any::<bool>().prop_map(Tree::Boolean),
        Just(Tree::Nothing),
        name().prop_map(Tree::Name),
    ];
    single.prop_recursive(5, 48, 4, |part| {
        let boxed = || part.clone().prop_map(Box::new);
        let many = || prop::collection::vec(part.clone(), 2..4);
        prop_oneof![
            prop::collection::vec(part.clone(), 0..4).prop_map(Tree::List),
            boxed().prop_map(Tree::Not),
            boxed().prop_map(Tree::Minus),
            many().prop_map(Tree::All),
            many().prop_map(Tree::Any),
            many().prop_map(Tree::Join),
            (prop::sample::select(OPERATORS.to_vec()), boxed(), boxed())
                .prop_map(|(operator, left, right)| Tree::Binary(operator, left, right)),
            (boxed(), boxed(), boxed()).prop_map(|(then, condition, otherwise)| Tree::Choice {
                then,
                condition,
                otherwise
            }),
            (prop::sample::select(Conversion::ALL.to_vec()), boxed())
                .prop_map(|(conversion, part)| Tree::Convert(conversion, part)),
        ]
    })
}

/// What stands for every name: an empty text, a long one, a number, a flag.
struct Everything(Scalar);

impl Scope for Everything {
    fn value(&self, _: &Name) -> Option<Value<'_>> {
        Some(Value::from(&self.0))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_a_tree_is_written_as_is_read_as_the_same_tree(tree in tree()) {
        let written = tree.to_string();
        match Expression::parse(&written) {
            Ok(read) => prop_assert_eq!(read.tree(), &tree, "{}", written),
            Err(why) => prop_assert!(written.len() > BYTES, "{written}: {why}"),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        text in "[-a-z0-9'\"().,\\[\\]~+*/%<>=! \\\\|{}é$]{0,60}",
        words in prop::collection::vec(prop::sample::select(vec!["(", ")", "[", "]", ",", ".", "a", "steps", "inputs", "'x'", "1",
            "not ", " in ", " and ", " or ", " if ", " else ", "==", "<", "-", "+", "~", "//", "int", "${{", "}}"]), 0..40),
    ) {
        for text in [text, words.concat()] {
            if let Ok(read) = Expression::parse(&text) {
                let again = Expression::parse(&read.to_string());
                prop_assert!(again.is_ok_and(|again| again.tree() == read.tree()) || read.to_string().len() > BYTES);
            }
            drop(Template::parse(&text));
        }
    }

    #[test]
    fn every_expression_ends_soon_within_its_bounds_and_a_check_that_passed_holds(tree in tree(), long in any::<bool>()) {
        let values: [Scalar; 4] = [
            if long { "x1".repeat(200 << 10).as_str().into() } else { "".into() },
            number("1e308"),
            i64::MAX.into(),
            true.into(),
        ];
        for value in values {
            let kind = Value::from(&value).kind();
            let scope = Everything(value);
            let mut budget = Budget::default();
            let made = evaluate(&tree, &scope, &mut budget);
            let (mut parts, looked) = (0, budget.spent());
            tree.each(&mut |_| parts += 1);
            // Each part once, and what it compares: every pair of a list's, and the longest text.
            prop_assert!(looked <= parts * (parts + 1 + 400), "{tree} takes {looked} operations");
            if let Ok(made) = &made {
                prop_assert!(made.text().is_none_or(|text| text.len() <= 1 << 20));
                // Whatever has a value has passed the check, unless what is wrong in it was not come to.
                let checked = kind::check(&tree, &|_| kind.into());
                prop_assert!(checked.is_err() || checked.is_ok_and(|kinds| kinds.may_be(made.kind())), "{tree}");
            }
            if kind::check(&tree, &|_| kind.into()).is_ok() && let Err(why) = made {
                // What is left to fail are values, and types that only a choice leaves open.
                let open = tree.to_string().contains(" if ") || tree.to_string().contains('[');
                let by_type = ["compares ", "calculates a", "as a condition", "puts ", "looks for"];
                prop_assert!(open || !by_type.iter().any(|start| why.contains(start)), "{tree}: {why}");
            }
        }
    }
}
