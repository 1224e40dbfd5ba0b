//! What the commands of terminals take.
//!
//! Guarantees: what parses and validates is bounded; an id is one segment of a name.
//! It is not the judgement of who may: that is each row's.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_core::{Error, Result as Outcome};
use validator::{Validate, ValidationError};

use super::contract::{DEFAULT_COLS, DEFAULT_ROWS, MAX_COLS, MAX_ROWS, Status, TerminalId};
use crate::{programs::line, project::ProjectId};

/// The most bytes that are typed at once.
pub const INPUT_BYTES: usize = 64 * 1024;
/// The longest directory, in bytes.
const DIRECTORY_BYTES: usize = 4096;
/// The most variables that a terminal may be opened with, and their bytes together.
const VARIABLES: usize = 64;
const VARIABLES_BYTES: usize = 64 * 1024;

/// Input of `shell.open`.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenShell {
    /// Where it runs.
    pub project_id: ProjectId,
    /// A program and its arguments; the configured shell by default.
    #[serde(default)]
    #[validate(custom(function = "line::a_command"))]
    #[schemars(length(min = 1, max = line::PARTS), inner(regex(pattern = line::PART)), extend("prefixItems" = line::program()))]
    pub command: Option<Vec<String>>,
    /// Its directory, relative to the project's root or absolute, and inside it once symbolic links are
    /// followed; the root by default.
    #[serde(default)]
    #[validate(custom(function = "a_directory"))]
    #[schemars(length(min = 1, max = DIRECTORY_BYTES), regex(pattern = line::PART))]
    pub cwd: Option<String>,
    /// How many columns: 1 to 500, 80 by default.
    #[serde(default = "default_cols")]
    #[validate(range(min = 1, max = "MAX_COLS", message = "is 1 to 500"))]
    pub cols: u16,
    /// How many rows: 1 to 200, 24 by default.
    #[serde(default = "default_rows")]
    #[validate(range(min = 1, max = "MAX_ROWS", message = "is 1 to 200"))]
    pub rows: u16,
    /// Variables beside those that every program gets; none may be called `TIDINGS_*`.
    #[serde(default)]
    #[validate(custom(function = "an_environment"))]
    #[schemars(extend(
        "maxProperties" = VARIABLES,
        "propertyNames" = { "pattern": VARIABLE },
        "additionalProperties" = { "type": "string", "pattern": line::PART }
    ))]
    pub env: BTreeMap<String, String>,
}

fn default_cols() -> u16 {
    DEFAULT_COLS
}

fn default_rows() -> u16 {
    DEFAULT_ROWS
}

/// Input of `shell.list`.
#[derive(Debug, Clone, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListShells {
    /// Only those of this project.
    #[serde(default)]
    pub project_id: Option<ProjectId>,
    /// Only those that are so.
    #[serde(default)]
    pub status: Option<Status>,
    /// At most so many: 1 to 200, 50 by default.
    #[serde(default)]
    #[validate(range(min = 1, max = 200, message = "is 1 to 200"))]
    pub limit: Option<u32>,
    /// The `cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<TerminalId>,
}

/// Input of `shell.get` and `shell.close`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneShell {
    /// The terminal.
    pub terminal_id: TerminalId,
}

/// How bytes are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As a text; its bytes are UTF-8.
    #[default]
    Utf8,
    /// As base64, for bytes that are no text, such as old reports of a mouse.
    Base64,
}

/// Input of `shell.input`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("if" = base64(), "then" = bytes(), "else" = text()))]
pub struct TypeInput {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// What is typed, at most 64 KiB. Nothing is added to it: Enter is `\r`, an interrupt `\u0003`.
    #[validate(length(min = 1, max = 98_304, message = "is not empty, and at most 64 KiB"))]
    pub data: String,
    /// How `data` is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// 1, 2, 3 … of one user and `writer`: a repeat is ignored, a hole refused.
    #[serde(default)]
    #[validate(range(min = 1, message = "begins at 1"))]
    pub input_seq: Option<u64>,
    /// Who counts, for a user who types at several places: a new name for whoever begins at 1.
    #[serde(default)]
    #[validate(length(min = 1, max = 64, message = "is 1 to 64 characters"))]
    pub writer: Option<String>,
}

fn base64() -> Value {
    json!({ "required": ["encoding"], "properties": { "encoding": { "const": "base64" } } })
}

/// Base64 with its padding, whose last bits are 0.
fn bytes() -> Value {
    let pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
    json!({ "properties": { "data": { "pattern": pattern } } })
}

fn text() -> Value {
    json!({ "properties": { "data": { "maxLength": INPUT_BYTES } } })
}

impl TypeInput {
    /// The bytes that are typed.
    ///
    /// # Errors
    /// `invalid_data` for what is no base64 or too long.
    pub(super) fn bytes(&self) -> Outcome<Vec<u8>> {
        let bytes = match self.encoding {
            Encoding::Utf8 => self.data.clone().into_bytes(),
            Encoding::Base64 => {
                STANDARD.decode(&self.data).map_err(|_| Error::invalid_field("data", "is not base64"))?
            }
        };
        if bytes.len() > INPUT_BYTES {
            return Err(Error::invalid_field("data", "is at most 64 KiB"));
        }
        Ok(bytes)
    }
}

/// Input of `shell.resize`.
#[derive(Debug, Clone, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResizeShell {
    /// The terminal.
    pub terminal_id: TerminalId,
    /// How many columns: 1 to 500.
    #[validate(range(min = 1, max = "MAX_COLS", message = "is 1 to 500"))]
    pub cols: u16,
    /// How many rows: 1 to 200.
    #[validate(range(min = 1, max = "MAX_ROWS", message = "is 1 to 200"))]
    pub rows: u16,
}

/// The name of a variable that may be set.
const VARIABLE: &str = "^(?![tT][iI][dD][iI][nN][gG][sS]_)[A-Za-z_][A-Za-z0-9_]*$";

fn refused(why: &'static str) -> Result<(), ValidationError> {
    Err(ValidationError::new("text").with_message(why.into()))
}

fn a_directory(path: &str) -> Result<(), ValidationError> {
    match path {
        "" => refused("is not empty"),
        _ if path.len() > DIRECTORY_BYTES => refused("is at most 4096 bytes"),
        _ if path.contains('\0') => refused("holds no NUL"),
        _ => Ok(()),
    }
}

fn an_environment(variables: &BTreeMap<String, String>) -> Result<(), ValidationError> {
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let is_name = |name: &str| {
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        letters && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
    };
    if variables.len() > VARIABLES || bytes > VARIABLES_BYTES {
        return refused("has at most 64 variables, of at most 64 KiB");
    }
    if !variables.keys().all(|name| is_name(name)) {
        return refused("names are letters, digits and '_'");
    }
    if variables.keys().any(|name| name.to_ascii_uppercase().starts_with("TIDINGS_")) {
        return refused("sets no variable of the server");
    }
    if variables.values().any(|value| value.contains('\0')) {
        return refused("holds no NUL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(more: &Value) -> String {
        let mut input = json!({"projectId": "p"});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let input: OpenShell = serde_json::from_value(input).expect("parses");
        tidings_core::command::check(&input).expect_err("refused").to_string()
    }

    #[test]
    fn an_opening_with_parts_out_of_bounds_is_refused_with_the_field_and_the_reason() {
        let table = [
            (json!({"command": []}), "command: names a program"),
            (json!({"command": ["a\u{0}"]}), "command: holds no NUL"),
            (json!({"cols": 0}), "cols: is 1 to 500"),
            (json!({"cols": 501}), "cols: is 1 to 500"),
            (json!({"rows": 201}), "rows: is 1 to 200"),
            (json!({"cwd": "a\u{0}b"}), "cwd: holds no NUL"),
            (json!({"cwd": ""}), "cwd: is not empty"),
            (json!({"env": {"A=B": "x"}}), "env: names are letters"),
            (json!({"env": {"tidings_secret": "x"}}), "env: sets no variable of the server"),
            (json!({"env": {"A": "x\u{0}"}}), "env: holds no NUL"),
            (json!({"env": {"A": "x".repeat(VARIABLES_BYTES)}}), "env: has at most"),
        ];
        for (input, why) in table {
            assert!(refusal(&input).contains(why), "{why}: {}", refusal(&input));
        }
    }

    fn typed(data: &str, encoding: Encoding) -> Outcome<Vec<u8>> {
        let input = json!({"terminalId": "t", "data": data, "encoding": encoding});
        let input: TypeInput = serde_json::from_value(input).expect("parses");
        tidings_core::command::check(&input)?;
        input.bytes()
    }

    #[test]
    fn what_is_typed_is_text_or_base64_of_at_most_64_kib() {
        assert_eq!(typed("é\r", Encoding::Utf8).expect("text"), "é\r".as_bytes());
        assert_eq!(typed("/wA=", Encoding::Base64).expect("bytes"), [0xFF, 0]);
        assert_eq!(typed(&"x".repeat(INPUT_BYTES), Encoding::Utf8).expect("fits").len(), INPUT_BYTES);
        for (data, encoding) in [
            ("x".repeat(INPUT_BYTES + 1), Encoding::Utf8),
            (String::new(), Encoding::Utf8),
            ("%".to_owned(), Encoding::Base64),
            (STANDARD.encode(vec![0; INPUT_BYTES + 1]), Encoding::Base64),
        ] {
            assert!(typed(&data, encoding).is_err());
        }
    }
}
