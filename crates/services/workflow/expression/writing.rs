//! How a tree is written: for messages, and for what reads it again.
//!
//! Guarantees: what a tree is written as is read as the same tree.
//! It is not how the expression was written: blanks, quotes and parentheses are its own.

use std::fmt;

use super::tree::{Name, Operator, Tree};

impl Operator {
    /// How tightly it binds, as in [`Tree::level`].
    fn level(self) -> u8 {
        match self {
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::DivideWhole | Self::Remainder => 7,
            _ => 4,
        }
    }
}

impl Tree {
    /// How tightly it binds: what binds less stands in parentheses inside of it.
    fn level(&self) -> u8 {
        match self {
            Self::Choice { .. } => 0,
            Self::Any(_) => 1,
            Self::All(_) => 2,
            Self::Not(_) => 3,
            Self::Binary(operator, ..) => operator.level(),
            Self::Join(_) => 6,
            Self::Minus(_) => 8,
            _ => 9,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.level() < least { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

fn separated(f: &mut fmt::Formatter<'_>, parts: &[Tree], by: &str, least: u8) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(by)?;
        }
        part.write(f, least)?;
    }
    Ok(())
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quoted(f, text),
            Self::Number(spelling) => f.write_str(spelling),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::Nothing => f.write_str("none"),
            Self::Name(name) => write!(f, "{name}"),
            Self::List(parts) => {
                f.write_str("[")?;
                separated(f, parts, ", ", 0)?;
                f.write_str("]")
            }
            Self::Not(part) => {
                f.write_str("not ")?;
                part.write(f, 3)
            }
            Self::Minus(part) => {
                f.write_str("-")?;
                part.write(f, 8)
            }
            Self::All(parts) => separated(f, parts, " and ", 3),
            Self::Any(parts) => separated(f, parts, " or ", 2),
            Self::Join(parts) => separated(f, parts, " ~ ", 7),
            Self::Binary(operator, left, right) => {
                // Of those that can follow each other, the first two belong together; two comparisons cannot.
                let level = operator.level();
                left.write(f, if level == 4 { 5 } else { level })?;
                write!(f, " {} ", operator.as_str())?;
                right.write(f, level + 1)
            }
            Self::Choice { then, condition, otherwise } => {
                then.write(f, 1)?;
                f.write_str(" if ")?;
                condition.write(f, 1)?;
                f.write_str(" else ")?;
                otherwise.write(f, 0)
            }
            Self::Convert(conversion, part) => write!(f, "{}({part})", conversion.as_str()),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for char in text.chars() {
        match char {
            '\'' => f.write_str("\\'")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("'")
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Failure => f.write_str("failure"),
            Self::RunId => f.write_str("run.id"),
            Self::Input(name) => member(f, "inputs", name),
            Self::Matrix(name) => member(f, "matrix", name),
            Self::Status(step) => {
                member(f, "steps", step)?;
                f.write_str(".status")
            }
            Self::Output { step, output } => {
                member(f, "steps", step)?;
                member(f, ".outputs", output)
            }
        }
    }
}

fn member(f: &mut fmt::Formatter<'_>, of: &str, name: &str) -> fmt::Result {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    f.write_str(of)?;
    if is_word {
        return write!(f, ".{name}");
    }
    f.write_str("[")?;
    quoted(f, name)?;
    f.write_str("]")
}
