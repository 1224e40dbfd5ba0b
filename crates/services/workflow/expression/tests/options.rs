//! Who begins an option: the definition's author, and nobody else.

use proptest::prelude::*;

use super::{known, number};
use crate::workflow::expression::{Budget, Template};

fn scope() -> super::Known {
    known([
        ("inputs.safe", "x".into()),
        ("inputs.odd", "-x".into()),
        ("inputs.dash", "-".into()),
        ("inputs.n", number("-5")),
        ("inputs.yes", true.into()),
        ("inputs.no", false.into()),
        ("inputs.empty", "".into()),
        ("matrix.flag", "-O2".into()),
        ("steps.a.status", "completed".into()),
        ("steps.a.outputs.v", "--force".into()),
    ])
}

#[test]
fn an_option_is_begun_by_who_wrote_the_definition_and_by_nobody_else() {
    let table = [
        ("${{ inputs.odd }}", true),
        ("${{ steps.a.outputs.v }}", true),
        ("${{ steps['a']['outputs']['v'] }}", true),
        ("${{ inputs.n }}", true),
        ("${{ string(inputs.odd) }}", true),
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
        ("${{ string('-v') if inputs.yes else '' }}", true),
        ("${{ matrix.flag }}${{ inputs.odd }}", false),
        ("${{ inputs.safe }}", false),
        ("${{ matrix.flag }}", false),
        ("${{ '-v' if inputs.yes else '' }}", false),
        ("${{ '-q' if inputs.no else '-v' if inputs['yes'] else '' }}", false),
        ("${{ '-v' if steps.a.status == 'completed' else '' }}", false),
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
        let template = Template::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let made = template.render(&scope(), &mut Budget::default());
        let made = made.unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(made.is_option_of_others, expected, "{text}: {}", made.text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    /// Whatever stands in a part: where others begin it, they cannot make an option of it, also by being empty.
    #[test]
    fn whether_a_part_is_an_option_is_the_same_whatever_others_say(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["-", "--x=", "a", "${{ inputs.a }}", "${{ inputs.b }}", "${{ steps.s.outputs.v }}",
                "${{ inputs.a ~ '-' ~ inputs.b }}", "${{ '' }}", "${{ matrix.none }}", "${{ matrix.flag }}",
                "${{ '-v' if inputs.a == '-' else inputs.b }}", "${{ string('-') ~ matrix.none }}"]), 1..5),
        values in prop::array::uniform3("[-a]{0,2}"),
    ) {
        let seen = |[a, b, v]: [&str; 3]| known([
            ("inputs.a", a.into()),
            ("inputs.b", b.into()),
            ("matrix.none", "".into()),
            ("matrix.flag", "-O".into()),
            ("steps.s.outputs.v", v.into()),
        ]);
        let template = Template::parse(&pieces.concat()).expect("parses");
        let render = |values| template.render(&seen(values), &mut Budget::default()).expect("renders");
        let made = render(values.each_ref().map(String::as_str));
        let chooses = pieces.len() == 1 && pieces[0].contains(" if ");
        if made.text.starts_with('-') && !made.is_option_of_others && !chooses {
            let plain = render(["x", "x", "x"]);
            let name = |text: &str| text.chars().position(|char| char != '-').map(|at| text[..=at].to_owned());
            prop_assert_eq!(name(&made.text), name(&plain.text), "{} is another option than {}", made.text, plain.text);
        }
        if !made.text.starts_with('-') || !pieces.concat().contains("inputs") && !pieces.concat().contains("steps") {
            prop_assert!(!made.is_option_of_others, "{} is the author's", made.text);
        }
        if chooses && made.text.starts_with('-') && !made.is_option_of_others {
            prop_assert_eq!(made.text, "-v", "the author's own");
        }
    }
}
