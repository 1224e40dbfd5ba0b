//! Scripts of recorded agents: what a program prints, when, and what it waits to be told.
//!
//! A script is text, one instruction a line:
//!
//! | line | what the program does |
//! |---|---|
//! | `# ...`, or nothing | nothing |
//! | `> TEXT` | prints the text and a newline on standard output |
//! | `part TEXT` | prints the text without a newline |
//! | `! TEXT` | prints the text and a newline on standard error |
//! | `wait N` | waits N milliseconds |
//! | `expect WHAT` | reads lines of standard input until one fits: an object has all that `WHAT` has, any other text stands in the line |
//! | `repeat N` ... `end` | does what stands between N times |
//! | `exit N` | exits with that code; the end of the script exits with 0 |
//! | `hang` | never exits |
//!
//! In a printed text `{{/a/b}}` is what the line that was last expected has at this JSON pointer, as
//! JSON, and `{{n}}` the number of the repetition, from 0.
//!
//! Guarantees: a script that parsed can be played by the program `tidings-player`, and read by a test
//! that plays the program itself.
//! It is not a language: whoever needs a branch writes a second script.

use std::path::PathBuf;

use serde_json::Value;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Print this on standard output, newline included where there is one.
    Print(String),
    /// Print this on standard error, newline included.
    Complain(String),
    /// Wait so many milliseconds.
    Wait(u64),
    /// Read until a line fits.
    Expect(String),
    /// Do this so many times.
    Repeat(u64, Vec<Instruction>),
    /// Exit with this code.
    Exit(u8),
    /// Never exit.
    Hang,
}

/// Reads a script.
///
/// # Errors
/// The number of the first line that is no instruction, and the line.
pub fn parse(text: &str) -> Result<Vec<Instruction>, String> {
    let mut open: Vec<(u64, Vec<Instruction>)> = vec![(1, Vec::new())];
    for (index, line) in text.lines().enumerate() {
        let wrong = || format!("line {}: {line}", index + 1);
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let instruction = match word {
            "" | "#" => continue,
            ">" => Instruction::Print(format!("{rest}\n")),
            "part" => Instruction::Print(rest.to_owned()),
            "!" => Instruction::Complain(format!("{rest}\n")),
            "wait" => Instruction::Wait(number(rest)?),
            "expect" => Instruction::Expect(rest.to_owned()),
            "exit" => Instruction::Exit(rest.trim().parse().map_err(|_| wrong())?),
            "hang" => Instruction::Hang,
            "repeat" => {
                open.push((number(rest)?, Vec::new()));
                continue;
            }
            "end" if open.len() > 1 => {
                let (times, body) = open.pop().ok_or_else(wrong)?;
                Instruction::Repeat(times, body)
            }
            _ => return Err(wrong()),
        };
        open.last_mut().ok_or_else(wrong)?.1.push(instruction);
    }
    match open.pop() {
        Some((_, whole)) if open.is_empty() => Ok(whole),
        _ => Err("a repeat has no end".to_owned()),
    }
}

/// Whether a line is what was expected: an object has at least all that `expected` has, any other
/// text stands in the line.
#[must_use]
pub fn fits(expected: &str, line: &str) -> bool {
    match serde_json::from_str::<Value>(expected) {
        Ok(expected @ Value::Object(_)) => {
            serde_json::from_str::<Value>(line).is_ok_and(|line| contains(&line, &expected))
        }
        _ => line.contains(expected),
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        _ => whole == part,
    }
}

/// A text with its places filled in from the line that was last expected. What that line does not have
/// becomes `null`.
#[must_use]
pub fn fill(text: &str, heard: &str, round: u64) -> String {
    let heard: Value = serde_json::from_str(heard).unwrap_or_default();
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((place, behind)) = after.split_once("}}") else { break };
        let value = match place {
            "n" => Some(round.to_string()),
            _ if place.starts_with('/') => Some(heard.pointer(place).unwrap_or(&Value::Null).to_string()),
            _ => None,
        };
        filled.push_str(before);
        match value {
            Some(value) => {
                filled.push_str(&value);
                rest = behind;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled + rest
}

/// The folder of the recorded scripts.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("agents")
}

/// The text of a recorded script, such as `claude_turn`.
///
/// # Panics
/// Where there is no such script.
#[must_use]
pub fn recorded(name: &str) -> String {
    let path = folder().join(format!("{name}.script"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program that plays scripts, beside the running test: `tidings-player SCRIPT` is its whole use.
/// `cargo test` of the whole workspace builds it; for one package alone,
/// `cargo build -p tidings-testkit` does.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn player() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let folder = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let player = folder.join(format!("tidings-player{}", std::env::consts::EXE_SUFFIX));
    assert!(player.exists(), "{} is not there: cargo build -p tidings-testkit", player.display());
    player
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_as_its_instructions() {
        let text =
            "# first\n\n> a b\npart {\"x\n! oops\nwait 5\nexpect {\"a\":1}\nrepeat 2\n> {{n}}\nend\nhang\nexit 3";
        let print = |text: &str| Instruction::Print(text.to_owned());
        let expected = vec![
            print("a b\n"),
            print("{\"x"),
            Instruction::Complain("oops\n".to_owned()),
            Instruction::Wait(5),
            Instruction::Expect("{\"a\":1}".to_owned()),
            Instruction::Repeat(2, vec![print("{{n}}\n")]),
            Instruction::Hang,
            Instruction::Exit(3),
        ];
        assert_eq!(parse(text), Ok(expected));
        for wrong in ["say x", "wait long", "exit 900", "end", "repeat 2\n> a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_fits_an_object_that_it_contains_and_a_text_that_stands_in_it() {
        assert!(fits(r#"{"a":{"b":1}}"#, r#"{"c":2,"a":{"b":1,"d":3}}"#));
        assert!(!fits(r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#));
        assert!(!fits(r#"{"a":1}"#, "a:1"));
        assert!(fits("fix it", "please fix it now"));
    }

    #[test]
    fn places_are_filled_from_what_was_heard() {
        let heard = r#"{"id":7,"params":{"name":"x"}}"#;
        assert_eq!(
            fill(r#"{"id":{{/id}},"n":{{/params/name}},"o":{{/no}}} {{n}}"#, heard, 4),
            r#"{"id":7,"n":"x","o":null} 4"#
        );
        assert_eq!(fill(r#"{"a":{"b":{{"c"}}}}"#, heard, 0), r#"{"a":{"b":{{"c"}}}}"#);
    }

    #[test]
    fn every_recorded_script_is_one() {
        let scripts = std::fs::read_dir(folder()).expect("the folder is there");
        let mut count = 0;
        for path in scripts.map(|entry| entry.expect("an entry").path()) {
            let text = std::fs::read_to_string(&path).expect("reads");
            assert!(text.starts_with("# "), "{} says what it is", path.display());
            parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += 1;
        }
        assert!(count > 10);
    }
}
