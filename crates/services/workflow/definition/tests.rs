//! Definitions that are read, and those that are refused with line and reason.

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, steps: 1_000, expanded: EXPANDED_BYTES };

fn flaws(text: &str) -> Vec<(usize, String)> {
    let flaws = read(text, BOUNDS).expect_err("refused");
    flaws.into_iter().map(|flaw| (flaw.line, flaw.reason)).collect()
}

/// Refused for one reason, in this line.
fn refused(text: &str, line: usize, reason: &str) {
    let flaws = flaws(text);
    assert_eq!(flaws.len(), 1, "{text}: {flaws:?}");
    assert_eq!(flaws[0].0, line, "{text}: {flaws:?}");
    assert!(flaws[0].1.contains(reason), "{text}: {flaws:?}");
}

#[test]
fn a_definition_says_what_each_step_is_and_needs() {
    let text = r#"
name: All of it
inputs: {version: "1.0", target:, level: {default: 3}}
env: {CI: "1"}
concurrency: 3
steps:
  build:
    command: [make, "V=${{ inputs.version }}", 1]
    timeout: 1m 30s
    retries: {max: 2, backoff: 10ms, factor: 3, maxBackoff: 50ms, onServerStop: true}
  test:
    needs: build
    matrix: {os: [linux, mac], n: [1, 2]}
    command: [sh, -c, "test $OS"]
    env: {OS: "${{ matrix.os }}"}
    continueOnError: true
  review:
    needs: [test, build]
    if: steps.build.status == 'completed' and steps.test.status != 'failed'
    session: {agent: claude, prompt: "look at ${{ steps.build.outputs.file }}"}
  ship:
    needs: review
    approval: {message: Ship it?}
"#;
    let read = read(text, BOUNDS).expect("a definition");
    let [build, test, review, ship] = &read.steps[..] else { panic!("four steps") };
    assert_eq!((read.name.as_deref(), read.concurrency), (Some("All of it"), Some(3)));
    assert_eq!((build.timeout_ms, build.retries.max, build.retries.on_server_stop), (Some(90_000), 2, true));
    assert_eq!([1, 2, 3, 9].map(|attempts| build.retries.wait_ms(attempts)), [10, 30, 50, 50]);
    assert_eq!((test.matrix.len(), test.continue_on_error, &test.needs), (4, true, &vec![0]));
    assert_eq!(review.needs, [1, 0]);
    assert_eq!((0..4).filter(|place| ship.ancestors.contains(*place)).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(ship.work.kind(), StepKind::Approval);
    let ids: Vec<String> = read.instances().map(|instance| read.instance_id(instance)).collect();
    assert_eq!(ids, ["build", "test.1", "test.2", "test.3", "test.4", "review", "ship"]);
    assert_eq!(test.matrix[1], BTreeMap::from([("os".to_owned(), "linux".into()), ("n".to_owned(), 2.into())]));
    assert_eq!(read.inputs["level"], Input { r#type: InputType::Number, default: Some(3.into()), description: None });
}

#[test]
fn the_same_as_json_is_the_same() {
    let yaml = "steps:\n  a: {command: [sh, -c, 'echo \"x\"']}\n  b: {needs: [a], command: [ls]}\n";
    let json = r#"{"steps": {
      "a": {"command": ["sh", "-c", "echo \"x\""]},
      "b": {"needs": ["a"], "command": ["ls"]}}}"#;
    let without_lines = |text| {
        let mut definition = read(text, BOUNDS).expect("a definition");
        definition.steps.iter_mut().for_each(|step| step.line = 0);
        definition
    };
    assert_eq!(without_lines(yaml), without_lines(json));
}

#[test]
fn inputs_are_given_or_have_a_default() {
    let text = "inputs: {a: x, b: }\nsteps: {s: {command: [ls, '${{ inputs.a }}']}}";
    let definition = read(text, BOUNDS).expect("a definition");
    let given = |name: &str| BTreeMap::from([(name.to_owned(), "1".into())]);
    let refused = |name: &str| definition.inputs(given(name)).expect_err("refused").fields().clone();
    assert_eq!(definition.inputs(given("b")).expect("enough")["a"], "x".into());
    assert_eq!(refused("a"), BTreeMap::from([("inputs.b".to_owned(), "has to be given".to_owned())]));
    assert_eq!(refused("c")["inputs.c"], "is not an input of this workflow");
}

#[test]
fn an_input_is_of_its_type_or_of_its_defaults() {
    let text = r#"
inputs:
  text: "1.0"
  number: 3.10
  flag: false
  any:
  said: {type: string, default: 3.10}
  needed: {type: number, description: how many}
  sure: {type: boolean}
  one: {type: choice, options: [3.9, 3.10, "no"], default: 3.10}
steps: {s: {command: [ls]}}
"#;
    let definition = read(text, BOUNDS).expect("a definition");
    let number = |spelling: &str| Scalar::number(spelling).expect("a number");
    let needed = [("any", "".into()), ("needed", 1.into()), ("sure", true.into())];
    let given = |name: &str, value: Scalar| {
        let mut given = BTreeMap::from(needed.clone().map(|(name, value)| (name.to_owned(), value)));
        given.insert(name.to_owned(), value);
        definition.inputs(given)
    };
    let all = given("any", 1.into()).expect("all of their types");
    let spelled: Vec<&str> = all.values().map(Scalar::as_str).collect();
    assert_eq!(spelled, ["1", "false", "1", "3.10", "3.10", "3.10", "true", "1.0"]);
    assert_eq!(definition.inputs["needed"].description.as_deref(), Some("how many"));
    assert_eq!((&all["said"], &all["one"], &all["number"]), (&"3.10".into(), &"3.10".into(), &number("3.10")));
    let table: [(&str, Vec<Scalar>, Vec<Scalar>); 6] = [
        ("text", vec!["".into(), "false".into()], vec![1.into(), true.into()]),
        ("number", vec![0.into(), number("1e3")], vec!["1".into(), false.into()]),
        ("flag", vec![true.into()], vec!["false".into(), 0.into()]),
        ("any", vec!["x".into(), 0.into(), true.into()], vec![]),
        ("said", vec!["x".into()], vec![number("3.10")]),
        ("one", vec!["no".into(), "3.9".into()], vec!["yes".into(), number("3.10"), false.into()]),
    ];
    for (name, right, wrong) in table {
        for value in right {
            assert!(given(name, value.clone()).is_ok(), "{name}: {value:?}");
        }
        for value in wrong {
            let refused = given(name, value.clone()).expect_err(name);
            assert!(refused.fields().contains_key(&format!("inputs.{name}")), "{name}: {value:?}");
        }
    }
}

#[test]
fn what_is_said_of_an_input_fits_together() {
    let table = [
        ("{type: text}", "is string, number, boolean or choice"),
        ("{type: [string]}", "is string, number, boolean or choice"),
        ("{type: number, default: \"1\"}", "the default of the input 'v' is a number"),
        ("{type: boolean, default: 0}", "is true or false"),
        ("{type: choice}", "is a choice without 'options'"),
        ("{type: choice, options: x}", "no list"),
        ("{type: choice, options: []}", "has 1 to 256 'options'"),
        ("{type: choice, options: [a, a]}", "has an option twice"),
        ("{type: choice, options: [[a]]}", "an option that is no text"),
        ("{type: choice, options: [a], default: b}", "is one of these texts: a"),
        ("{options: [a]}", "write 'type: choice'"),
        ("{typ: string}", "'typ' is not a key of the input 'v'"),
    ];
    for (input, reason) in table {
        refused(&format!("inputs:\n  v: {input}\nsteps: {{s: {{command: [ls]}}}}"), 2, reason);
    }
}

#[test]
fn what_cannot_be_for_its_types_is_refused_where_it_is_seen_and_read_again_all_the_same() {
    let one = |step: &str| {
        format!(
            "inputs: {{n: 3, deploy: false, tag: \"1.0\", any: }}\nsteps:\n  o: {{command: [ls]}}\n  s: {{needs: o, matrix: \
             {{m: [1, 2], x: [a, 1]}}, {step}}}\n"
        )
    };
    let table = [
        ("if: steps.o.outputs.n > 10, command: [ls]", "write int(steps.o.outputs.n) > 10"),
        ("if: steps.o.outputs.ok, command: [ls]", "write steps.o.outputs.ok == 'true'"),
        ("if: steps.o.status, command: [ls]", "has a text as a condition"),
        ("if: inputs.tag, command: [ls]", "write inputs.tag == 'true'"),
        ("if: inputs.n == '3', command: [ls]", "compares a number with a text"),
        ("if: matrix.m == 'a', command: [ls]", "compares a number with a text"),
        ("if: '2 in ([1] * 9000000000000)', command: [ls]", "calculates a list * a number"),
        ("command: [ls, \"${{ ['x' * 100000] * 9000000 }}\"]", "calculates a text * a number"),
        ("command: [ls, '${{ [1] }}']", "puts a list into a text"),
        ("command: [ls], env: {A: '${{ inputs.tag + 1 }}'}", "calculates a text + a number"),
        ("approval: {message: '${{ -inputs.tag }}'}", "puts '-' before a text"),
    ];
    for (step, reason) in table {
        refused(&one(step), 4, reason);
        assert_eq!(read_again(&one(step)).expect("is read").steps.len(), 2, "{step}");
    }
    for step in ["if: inputs.deploy", "if: inputs.any", "if: inputs.any == 1", "if: matrix.x == 'a'", "if: success"] {
        assert!(read(&one(&format!("{step}, command: [ls]")), BOUNDS).is_ok(), "{step}");
    }
    refused("env: {A: '${{ none }}'}\nsteps: {s: {command: [ls]}}", 1, "puts none into a text");
}

#[test]
fn a_cycle_is_refused_with_the_steps_in_it_and_the_line_that_closes_it() {
    let text = "steps:\n  z: {command: [ls]}\n  a: {needs: [z, c], command: [ls]}\n  b: {needs: a, command: [ls]}\n  c:\n    command: [ls]\n    needs:\n    - z\n    - b\n  d: {needs: c, command: [ls]}\n";
    refused(text, 4, "in a circle: a needs c needs b needs a");
    refused("steps:\n  a: {needs: a, command: [ls]}\n", 2, "a needs a");
}

#[test]
fn unknown_names_are_refused_with_their_line() {
    let one = |step: &str| format!("inputs: {{v: 1}}\nsteps:\n  o: {{command: [ls]}}\n  s: {{{step}}}\n");
    let table = [
        ("needs: [x], command: [ls]", "'s' needs 'x', which is no step"),
        ("needs: [o, o], command: [ls]", "needs 'o' twice"),
        ("comand: [ls], command: [ls]", "'comand' is not a key of the step 's'"),
        ("command: ['${{ steps.o.outputs.x }}']", "names 'steps.o', which it does not need"),
        ("command: ['${{ steps.q.outputs.x }}']", "names 'steps.q', which is not there"),
        ("command: ['${{ inputs.w }}']", "names 'inputs.w', which is not there"),
        ("command: ['${{ matrix.w }}']", "names 'matrix.w', which is not there"),
        ("command: ['${{ env.w }}']", "names 'env', which is not known"),
        ("needs: o, if: steps, command: [ls]", "names 'steps' without saying which"),
    ];
    for (step, reason) in table {
        refused(&one(step), 4, reason);
    }
}

#[test]
fn wrong_types_are_refused_with_their_line() {
    let one = |step: &str| format!("steps:\n  s: {{{step}}}\n");
    let table = [
        ("command: ls", "'command' is a list"),
        ("command: []", "begins with a program"),
        ("command: [ls, {a: 1}]", "'command' is a text, not a map"),
        ("command: [ls], timeout: 5", "'timeout' is a duration"),
        ("command: [ls], timeout: 0s", "'timeout' is a duration"),
        ("command: [ls], retries: 11", "'retries' is a whole number from 0 to 10"),
        ("command: [ls], retries: {max: 1, factor: 0}", "'factor' is a number"),
        ("command: [ls], continueOnError: maybe", "'continueOnError' is true or false"),
        ("command: [ls], if: [a]", "'if' is a text, not a list"),
        ("command: [ls], if: 'a =='", "the expression 'a ==' cannot be read"),
        ("command: [ls, '${{ a']", "without its '}}'"),
        ("command: [ls], env: {TIDINGS_X: 1}", "the server's own"),
        ("command: [ls], env: {A-B: 1}", "the name 'A-B' of a variable"),
        ("command: [ls], matrix: {a: 1}", "'a' of a matrix is a list"),
        ("command: [ls], matrix: {}", "'matrix' has no values"),
        ("command: [ls], approval: {message: x}", "has one of"),
        ("needs: []", "has one of"),
        ("session: {agent: a}", "'prompt' is missing"),
        ("session: {agent: a, prompt: b}, env: {A: 1}", "'env' is for commands"),
        ("approval: {message: x}, retries: 1", "has no 'retries'"),
        ("session: {agent: '', prompt: b}", "'agent' is 1 to 64 bytes long"),
        (
            "session: {agent: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, prompt: b}",
            "'agent' is 1 to 64 bytes long",
        ),
    ];
    for (step, reason) in table {
        refused(&one(step), 2, reason);
    }
    refused("steps: {}\n", 1, "has no step");
    refused("name: x\n", 1, "'steps' is missing");
    refused("- a\n", 1, "the definition is a map, not a list");
    refused("steps:\n  1a: {command: [ls]}\n", 2, "the name '1a' of a step");
    assert_eq!(flaws("steps:\n  a: {command: 1}\n  b: {needs: q, command: [ls]}\n").len(), 2);
}

#[test]
fn too_many_steps_are_refused_before_they_are_made() {
    let axis = |name: &str| format!("{name}: [{}]", (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let million =
        format!("steps:\n  a:\n    matrix: {{{}, {}, {}}}\n    command: [ls]\n", axis("x"), axis("y"), axis("z"));
    refused(&million, 3, "this matrix makes 1000000 steps: more than 1000 in all");
    let many: String = (0..1_001).map(|n| format!("  s{n}: {{command: [ls]}}\n")).collect();
    refused(&format!("steps:\n{many}"), 1_002, "more than 1000 steps");
    let huge = format!("steps: {{a: {{command: [ls, '{}']}}}}", "x".repeat(1 << 20));
    refused(&huge, 1, "at most 1048576 are allowed");
}

#[test]
fn a_thousand_steps_in_a_row_are_read_in_no_time() {
    let many: String = (1..1_000).map(|n| format!("  s{n}: {{needs: s{}, command: [ls]}}\n", n - 1)).collect();
    let definition = read(&format!("steps:\n  s0: {{command: [ls]}}\n{many}"), BOUNDS).expect("a definition");
    assert_eq!(definition.steps[999].ancestors.count(), 999);
}

#[test]
fn steps_that_all_need_each_other_know_what_they_build_on() {
    // Each needs all of the hundred before it, and builds on all that those build on.
    let layer = |layer: usize| (0..100).map(move |n| format!("s{layer}_{n}"));
    let mut text = "steps:\n".to_owned();
    for step in 0..10_usize {
        let needs: Vec<String> = step.checked_sub(1).into_iter().flat_map(layer).collect();
        for name in layer(step) {
            text += &format!("  {name}: {{needs: [{}], command: [ls]}}\n", needs.join(","));
        }
    }
    let definition = read(&text, BOUNDS).expect("a definition");
    let counts: Vec<usize> = definition.steps.iter().step_by(100).map(|step| step.ancestors.count()).collect();
    assert_eq!(counts, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
    let last = &definition.steps[999].ancestors;
    assert!(last.contains(899) && !last.contains(900));
}

#[test]
fn what_steps_are_told_with_is_bounded_in_all_before_it_is_made() {
    let numbers = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let matrix = |bytes: usize| {
        let long = "x".repeat(bytes);
        format!("steps:\n  s:\n    matrix: {{long: [{long}], n: [{}]}}\n    command: [ls]\n", numbers(500))
    };
    assert_eq!(read(&matrix(8_000), BOUNDS).expect("fits").steps[0].matrix.len(), 500);
    refused(&matrix(9_000), 3, "take more than 4194304 bytes");
    assert!(read_again(&matrix(9_000)).is_ok(), "what was let in once goes on");
    // Of several steps together, too.
    let two = matrix(5_000) + &matrix(5_000).replace("steps:\n  s:", "  t:");
    refused(&two, 6, "take more than 4194304 bytes");
    let names: Vec<String> = (0..400).map(|n| format!("{}{n}", "x".repeat(60))).collect();
    let needed: String = names.iter().map(|name| format!("  {name}: {{command: [ls]}}\n")).collect();
    let all = format!(
        "steps:\n{needed}  s: {{needs: [{}], matrix: {{n: [{}]}}, command: [ls]}}\n",
        names.join(","),
        numbers(500)
    );
    refused(&all, 402, "take more than 4194304 bytes: each of a matrix has its own");
}

#[test]
fn flaws_are_few_and_short_whatever_a_definition_says() {
    let long = "k".repeat(400 << 10);
    let many = |one: &str| (0..5_000).map(|n| format!("{one}{n}: 1, ")).collect::<String>();
    let table = [
        format!("steps: {{? {long} : {{{}}}}}", many("a")),
        format!("inputs: {{? {long} : {{{}}}}}\nsteps: {{a: {{command: [ls]}}}}", many("a")),
        format!("steps: {{? {long} : {{needs: [{}], command: [ls]}}}}", "q,".repeat(5_000)),
        format!("steps: {{? {long} : {{command: [ls]}}, ? {long} : {{command: [ls]}}}}"),
        format!("inputs: {{a: {{type: choice, default: x, options: [{long}]}}}}\nsteps: {{a: {{command: [ls]}}}}"),
        format!("steps: {{? {long}1 : {{command: [ls]}}, ? {long}2 : {{needs: ['{long}1'], command: [ls]}}}}"),
    ];
    for text in table {
        let flaws = flaws(&text);
        let bytes: usize = flaws.iter().map(|(_, reason)| reason.len()).sum();
        assert!((1..=FLAWS).contains(&flaws.len()) && bytes <= FLAWS * 2_100, "{}: {bytes}", &text[..80]);
    }
}

#[test]
fn the_inputs_of_the_page_are_inputs_and_what_it_says_of_them_holds() {
    let page = include_str!("../../../../docs/WORKFLOWS.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let (block, _) = blocks.into_iter().find(|(block, _)| block.starts_with("inputs:\n")).expect("a sample of inputs");
    let definition = read(&format!("{block}steps: {{a: {{command: [make]}}}}"), BOUNDS).expect("a definition");
    let given = |json: &str| definition.inputs(serde_json::from_str(json).expect("JSON"));
    assert!(given(r#"{"parallel": 3}"#).is_ok());
    for refused in
        ["{}", r#"{"parallel": "3"}"#, r#"{"parallel": 3, "deploy": "false"}"#, r#"{"parallel": 3, "stage": "x"}"#]
    {
        assert!(given(refused).is_err(), "{refused}");
    }
}
