//! Inputs: what a definition says of them, and whether what is given is that.
//!
//! Guarantees: a default is of its input's type; what is given to a run is, too, or the run does not start.
//! It is not what becomes of them: that is an expression's.

use std::collections::BTreeMap;

use super::{
    Flaw, Flaws,
    reading::{Fields, check_name, entries, scalar},
    yaml::{Node, Tree},
};
use crate::{
    programs::decode::shortened,
    workflow::{
        expression::kind::{Kind, Kinds},
        scalar::Scalar,
    },
};

/// The most options of a choice.
const OPTIONS: usize = 256;
/// The types, as they are written.
const TYPES: &str = "string, number, boolean or choice";

/// Something that is given to a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Input {
    /// What it may be.
    pub r#type: InputType,
    /// What it is when nothing is given. Without one, something has to be.
    pub default: Option<Scalar>,
    /// For people.
    pub description: Option<String>,
}

/// What an input may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InputType {
    /// A text, a number or a flag: nothing is said of it.
    #[default]
    Any,
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// One of these texts.
    Choice(Vec<String>),
}

impl InputType {
    /// The type of a default.
    fn of(default: Option<&Scalar>) -> Self {
        match default {
            None => Self::Any,
            Some(Scalar::Text(_)) => Self::Text,
            Some(Scalar::Number(_)) => Self::Number,
            Some(Scalar::Boolean(_)) => Self::Boolean,
        }
    }

    /// The name of the type, as it is written; none where nothing is said.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Text => Some("string"),
            Self::Number => Some("number"),
            Self::Boolean => Some("boolean"),
            Self::Choice(_) => Some("choice"),
        }
    }

    /// What an expression may find there.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        match self {
            Self::Any => Kinds::SCALAR,
            Self::Text | Self::Choice(_) => Kind::Text.into(),
            Self::Number => Kind::Number.into(),
            Self::Boolean => Kind::Boolean.into(),
        }
    }

    /// Holds a value against it.
    ///
    /// # Errors
    /// What it is to be.
    pub fn check(&self, value: &Scalar) -> Result<(), String> {
        match (self, value) {
            (Self::Any, _)
            | (Self::Text, Scalar::Text(_))
            | (Self::Number, Scalar::Number(_))
            | (Self::Boolean, Scalar::Boolean(_)) => Ok(()),
            (Self::Choice(options), Scalar::Text(text)) if options.contains(text) => Ok(()),
            (Self::Text, _) => Err("is a text, as in \"1\"".to_owned()),
            (Self::Number, _) => Err("is a number, without quotes".to_owned()),
            (Self::Boolean, _) => Err("is true or false, without quotes".to_owned()),
            (Self::Choice(options), _) => {
                let shown: Vec<&str> = options.iter().take(20).map(|option| shortened(option, 64)).collect();
                let more = if options.len() > shown.len() { " and others" } else { "" };
                Err(format!("is one of these texts: {}{more}", shown.join(", ")))
            }
        }
    }
}

/// Reads the inputs of a definition.
pub(super) fn inputs(node: &Node, flaws: &mut Flaws) -> BTreeMap<String, Input> {
    let mut inputs = BTreeMap::new();
    for entry in entries(node, "inputs", flaws).unwrap_or_default() {
        check_name(&entry.key, "an input", entry.line, flaws);
        let read = match &entry.value.tree {
            Tree::Map(_) => input(&entry.key, &entry.value, flaws),
            Tree::List(_) => {
                let why = format!("the input '{}' is a text, a number or a flag", entry.key);
                flaws.push(Flaw::at(entry.value.line, why));
                None
            }
            Tree::Scalar { .. } => {
                let default = entry.value.value();
                Some(Input { r#type: InputType::of(default.as_ref()), default, description: None })
            }
        };
        inputs.insert(entry.key.clone(), read.unwrap_or_default());
    }
    inputs
}

/// Reads an input that is written as a map. None with a flaw.
fn input(name: &str, node: &Node, flaws: &mut Flaws) -> Option<Input> {
    let map =
        Fields::of(node, &format!("the input '{name:.64}'"), &["type", "default", "options", "description"], flaws)?;
    let written = map.get("default").filter(|node| !node.is_null());
    let mut default = match written {
        Some(node) => Some(scalar(node, "default", flaws)?),
        None => None,
    };
    let options = map.get("options");
    let is_choice = map.get("type").and_then(Node::text) == Some("choice");
    if let (Some(node), false) = (options, is_choice) {
        flaws.push(Flaw::at(
            node.line,
            format!("the input '{name}' has 'options' and is no choice: write 'type: choice'"),
        ));
        return None;
    }
    let r#type = match map.get("type") {
        None => InputType::of(default.as_ref()),
        Some(node) => match node.text() {
            Some("string") => InputType::Text,
            Some("number") => InputType::Number,
            Some("boolean") => InputType::Boolean,
            Some("choice") => InputType::Choice(self::options(name, options, node.line, flaws)?),
            _ => {
                flaws.push(Flaw::at(node.line, format!("the type of the input '{name}' is {TYPES}")));
                return None;
            }
        },
    };
    if let (Some(node), Some(value)) = (written, &mut default) {
        // Where it is said that it is a text, it needs no quotes to be one.
        if let InputType::Text | InputType::Choice(_) = r#type {
            *value = Scalar::from(value.as_str());
        }
        if let Err(why) = r#type.check(value) {
            flaws.push(Flaw::at(node.line, format!("the default of the input '{name}' {why}")));
            return None;
        }
    }
    let description = map.get("description").and_then(Node::text).map(str::to_owned);
    Some(Input { r#type, default, description })
}

fn options(name: &str, node: Option<&Node>, line: usize, flaws: &mut Flaws) -> Option<Vec<String>> {
    let mut refused = |line: usize, why: &str| {
        flaws.push(Flaw::at(line, format!("the input '{name}' {why}")));
        None
    };
    let Some(node) = node else { return refused(line, "is a choice without 'options'") };
    let Tree::List(items) = &node.tree else { return refused(node.line, "has 'options' that are no list") };
    if items.is_empty() || items.len() > OPTIONS {
        return refused(node.line, &format!("has 1 to {OPTIONS} 'options'"));
    }
    let mut options: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        match item.text() {
            Some(text) if options.iter().any(|known| known == text) => {
                return refused(item.line, "has an option twice");
            }
            Some(text) => options.push(text.to_owned()),
            None => return refused(item.line, "has an option that is no text"),
        }
    }
    Some(options)
}
