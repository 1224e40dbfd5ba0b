//! The names in an expression.
//!
//! Guarantees: a name that is read is one of those that a run has: no part of it is looked for when it is evaluated.
//! It is not the judgement whether an input, a step or an output of this name is there.

use super::{lexer::Token, parser::Parser, tree::Name};

impl Parser<'_, '_> {
    /// The parts of a name after its root: `.NAME` or `['NAME']`.
    fn parts(&mut self) -> Result<Vec<String>, String> {
        let mut parts = Vec::new();
        loop {
            if self.sign(".") {
                match self.take() {
                    Some(Token::Word(word)) => parts.push((*word).to_owned()),
                    _ => return Err("a name is missing after '.'".to_owned()),
                }
            } else if self.sign("[") {
                match self.take() {
                    Some(Token::Text(text)) => parts.push(text.clone()),
                    _ => return Err("a name in '[' and ']' is a text in quotes".to_owned()),
                }
                self.needs("]")?;
            } else {
                return Ok(parts);
            }
        }
    }

    pub(super) fn name(&mut self, root: &str) -> Result<Name, String> {
        let parts = self.parts()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        match (root, &parts[..]) {
            ("success", []) => Ok(Name::Success),
            ("failure", []) => Ok(Name::Failure),
            ("run", ["id"]) => Ok(Name::RunId),
            ("inputs", [name]) => Ok(Name::Input(owned(name))),
            ("matrix", [name]) => Ok(Name::Matrix(owned(name))),
            ("steps", [step, "status"]) => Ok(Name::Status(owned(step))),
            ("steps", [step, "outputs", output]) => Ok(Name::Output { step: owned(step), output: owned(output) }),
            ("steps", [step] | [step, "outputs"]) => {
                Err(format!("it names 'steps.{step}' without saying what of it: its status, or outputs.NAME"))
            }
            ("run" | "inputs" | "matrix" | "steps", []) => {
                Err(format!("it names '{root}' without saying which, as in {root}.name"))
            }
            ("success" | "failure" | "run" | "inputs" | "matrix" | "steps", parts) => {
                Err(format!("it names '{root}.{}', which is not there", parts.join(".")))
            }
            _ => Err(format!(
                "it names '{root}', which is not known: success, failure, inputs, matrix, steps and run are"
            )),
        }
    }
}
