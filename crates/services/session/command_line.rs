//! The command line of a configured agent, with what people and agents said in the places for it.
//!
//! Guarantees: no word that somebody outside chose becomes an option of the agent's program, or the program; an
//! agent's id of a conversation becomes an argument only where it is one plain word.
//! It is not the configuration, which says where the places are. It does not know what a program makes of its
//! arguments: one that looks for options behind a `--` is told to by its configuration.

use tidings_core::{Error, Result};

use crate::programs::line;

/// The place of the prompt.
const PROMPT: &str = "{prompt}";
/// The place of the agent's own id of a conversation.
const AGENT_SESSION_ID: &str = "{agentSessionId}";
/// Every place.
const PLACES: [&str; 2] = [PROMPT, AGENT_SESSION_ID];
/// What says that no option follows.
const NO_MORE_OPTIONS: &str = "--";
/// The longest id of a conversation that becomes an argument.
const ID_BYTES: usize = 256;

/// A command line that can be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) argv: Vec<String>,
    /// Whether the prompt is in it.
    pub(super) placed: bool,
}

/// Whether a text of the configuration has a place in it.
fn has_place(part: &str) -> bool {
    PLACES.iter().any(|place| part.contains(place))
}

/// What is wrong with a command line of the configuration, if something is.
pub(super) fn flaw(command: &[String]) -> Option<&'static str> {
    let Some((program, arguments)) = command.split_first() else { return Some("names a program") };
    if !line::is_program(program) {
        return Some("names a program, which begins with no '-'");
    }
    if has_place(program) {
        return Some("names its program itself: a place such as {prompt} is for its arguments");
    }
    let names_an_option = |part: &String| {
        let before = PLACES.iter().filter_map(|place| part.find(place)).min().map(|at| &part[..at]);
        before.is_some_and(|before| !before.is_empty() && before.bytes().all(|byte| byte == b'-'))
    };
    if arguments.iter().any(names_an_option) {
        return Some("names its options itself, as in --prompt={prompt}");
    }
    None
}

/// Whether it needs a prompt.
pub(super) fn needs_prompt(command: &[String]) -> bool {
    command.iter().any(|part| part.contains(PROMPT))
}

/// A command line of the configuration, with a prompt and the agent's id of a conversation in their places.
///
/// # Errors
/// `invalid_data` for a missing prompt, for one that would be an option, and for an id that is no plain word.
pub(super) fn fill(command: &[String], prompt: Option<&str>, resume: Option<&str>) -> Result<Filled> {
    let placed = needs_prompt(command);
    if placed && prompt.is_none() {
        return Err(Error::invalid_field("prompt", "is needed by this agent"));
    }
    let resumes = command.iter().any(|part| part.contains(AGENT_SESSION_ID));
    if resumes && resume.is_some_and(|id| !is_plain(id)) {
        return Err(Error::invalid_field(
            "resume",
            "the agent's own id of it is no plain word, and no argument for it",
        ));
    }
    let (prompt, resume) = (prompt.unwrap_or_default(), resume.unwrap_or_default());
    let mut argv = Vec::with_capacity(command.len());
    let mut options = true;
    for part in command {
        // The prompt last: what it holds is not looked at again.
        let filled = part.replace(AGENT_SESSION_ID, resume).replace(PROMPT, prompt);
        // An id never begins so: it is the prompt.
        if options && filled.starts_with('-') && !part.starts_with('-') {
            let why = "begins with '-', which the agent's program would take for an option: begin with something else";
            return Err(Error::invalid_field("prompt", why));
        }
        options &= part != NO_MORE_OPTIONS;
        argv.push(filled);
    }
    Ok(Filled { argv, placed })
}

/// Whether an id can be an argument: neither an option nor a path, and nothing that is written otherwise.
fn is_plain(id: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let further = |byte: u8| first(byte) || b"-.:".contains(&byte);
    (1..=ID_BYTES).contains(&id.len()) && first(id.as_bytes()[0]) && id.bytes().all(further)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn filled(command: &[&str], prompt: Option<&str>, resume: Option<&str>) -> Result<Vec<String>, String> {
        let filled = fill(&words(command), prompt, resume).map(|filled| filled.argv);
        filled.map_err(|error| error.fields().keys().next().expect("a field").clone())
    }

    #[test]
    fn a_prompt_that_would_be_an_option_is_refused_unless_the_command_line_says_what_it_is() {
        for bad in ["-x", "--dangerously-skip-permissions", "-", "--"] {
            assert_eq!(filled(&["a", "{prompt}"], Some(bad), None), Err("prompt".to_owned()), "{bad}");
            assert_eq!(filled(&["a", "-p", "{prompt}"], Some(bad), None), Err("prompt".to_owned()), "{bad}");
            assert_eq!(filled(&["a", "{agentSessionId}{prompt}"], Some(bad), None), Err("prompt".to_owned()), "{bad}");
            for fine in [
                &["a", "--prompt={prompt}"][..],
                &["a", "-p{prompt}"],
                &["a", "--", "{prompt}"],
                &["a", "to: {prompt}"],
            ] {
                let last = fine.last().expect("some").replace(PROMPT, bad);
                assert_eq!(filled(fine, Some(bad), None).expect("fine").last(), Some(&last), "{fine:?}");
            }
        }
        assert_eq!(filled(&["a", "{prompt}", "--"], Some("-x"), None), Err("prompt".to_owned()), "only what follows");
        assert_eq!(filled(&["a", "{prompt}"], Some("a -x"), None), Ok(words(&["a", "a -x"])));
        assert_eq!(filled(&["a", "{prompt}"], Some(""), None), Ok(words(&["a", ""])));
    }

    #[test]
    fn an_id_of_a_conversation_is_one_plain_word_or_no_argument() {
        let command = ["a", "--resume", "{agentSessionId}"];
        for good in ["s", "0199a2b3-c4d5-7e6f-8a9b-0c1d2e3f4a5b", "sess_1:2.3", &"x".repeat(ID_BYTES)] {
            assert_eq!(filled(&command, None, Some(good)), Ok(words(&["a", "--resume", good])), "{good}");
        }
        for bad in ["", "-x", "--dangerously-skip-permissions", "../a", ".a", "/etc/passwd", "a b", "a\nb", "é", "a=b"]
        {
            assert_eq!(filled(&command, None, Some(bad)), Err("resume".to_owned()), "{bad:?}");
            assert_eq!(filled(&["a", "--", "{agentSessionId}"], None, Some(bad)), Err("resume".to_owned()), "{bad:?}");
            assert_eq!(
                filled(&["a", "--resume={agentSessionId}"], None, Some(bad)),
                Err("resume".to_owned()),
                "{bad:?}"
            );
        }
        assert!(filled(&command, None, Some(&"x".repeat(ID_BYTES + 1))).is_err());
        assert_eq!(filled(&["a", "--continue"], None, Some("-x")), Ok(words(&["a", "--continue"])), "it has no place");
    }

    #[test]
    fn the_prompt_is_filled_in_last_and_not_looked_at_again() {
        let command = ["a", "--resume", "{agentSessionId}", "--", "{prompt}"];
        let expected = words(&["a", "--resume", "s1", "--", "{prompt} {agentSessionId}"]);
        assert_eq!(filled(&command, Some("{prompt} {agentSessionId}"), Some("s1")), Ok(expected));
        assert_eq!(filled(&["a", "{prompt}"], None, None), Err("prompt".to_owned()));
    }

    #[test]
    fn a_configured_command_line_names_its_program_and_its_options_itself() {
        for fine in [
            &["a"][..],
            &["a", "{prompt}"],
            &["a", "-p{prompt}"],
            &["a", "--prompt={prompt}", "-"],
            &["a", "x--{prompt}"],
        ] {
            assert_eq!(flaw(&words(fine)), None, "{fine:?}");
        }
        for bad in [
            &[][..],
            &[""],
            &["-a"],
            &["{prompt}"],
            &["bin/{agentSessionId}"],
            &["a", "-{prompt}"],
            &["a", "--{prompt}=x"],
        ] {
            assert!(flaw(&words(bad)).is_some(), "{bad:?}");
        }
    }
}
