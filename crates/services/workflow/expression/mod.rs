//! Expressions: `if`, and `${{ … }}` in texts. A small language with types and bounds of its own.
//!
//! - `lexer`: a text becomes tokens; `parser` and `naming`: tokens become a [`tree`], with the names in it; `writing`:
//!   the other way round;
//! - [`kind`]: what each operation takes, seen before anything runs and kept to while it does;
//! - [`value`]: what is calculated with; [`evaluation`]: a tree and a [`Scope`] become a value;
//! - [`template`]: a text with expressions in it.
//!
//! Guarantees: reading an expression evaluates nothing and is bounded by its length and depth. Evaluating one has no
//! loop but those over its own parts; its operations and the bytes that it makes are counted by a [`Budget`]. Every
//! name is known when it is read. A text, a number and a flag are never taken for each other.
//! It is not a template language: a text is its own characters and the values of its expressions.

pub mod evaluation;
pub mod kind;
mod lexer;
mod naming;
mod parser;
pub mod template;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod value;
mod writing;

use self::{
    evaluation::evaluate,
    kind::{Kind, Kinds},
    tree::Tree,
};
pub use self::{
    evaluation::{Budget, Scope},
    template::{Rendered, Template},
    tree::Name,
    value::Value,
};

/// The most bytes of one expression.
const BYTES: usize = 1024;

/// An expression that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// As it was written, without the blanks around it.
    text: String,
    tree: Tree,
}

impl Expression {
    /// Reads an expression. Nothing is evaluated.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > BYTES {
            return Err(format!("the expression '{}' is longer than 1 KiB", shown(text)));
        }
        match parser::parse(text) {
            Ok(tree) => Ok(Self { text: text.to_owned(), tree }),
            Err(why) => Err(format!("the expression '{}' cannot be read: {why}", shown(text))),
        }
    }

    /// Its tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The names in it.
    pub fn names(&self) -> Vec<&Name> {
        let mut names = Vec::new();
        self.tree.each(&mut |tree| {
            if let Tree::Name(name) = tree {
                names.push(name);
            }
        });
        names
    }

    /// Whether it is a condition, as far as that is seen from the types of its names.
    ///
    /// # Errors
    /// Why it is none.
    pub fn check_condition(&self, kinds: &dyn Fn(&Name) -> Kinds) -> Result<(), String> {
        let of = kind::check(&self.tree, kinds).map_err(|why| self.told(&why))?;
        match of.only_without(Kind::Boolean) {
            Some(kind) => Err(self.told(&kind::no_condition(&self.tree, kind))),
            None => Ok(()),
        }
    }

    /// Whether it can stand in a text, as far as that is seen from the types of its names.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check_text(&self, kinds: &dyn Fn(&Name) -> Kinds) -> Result<(), String> {
        let of = kind::check(&self.tree, kinds).map_err(|why| self.told(&why))?;
        if of.may_be(Kind::Text) || of.may_be(Kind::Number) || of.may_be(Kind::Boolean) {
            return Ok(());
        }
        let kind = if of.may_be(Kind::List) { Kind::List } else { Kind::Nothing };
        Err(self.told(&kind::no_text(kind)))
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// Why that cannot be said: a name without a value, something of another type, or more than is allowed.
    pub fn is_true(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<bool, String> {
        match evaluate(&self.tree, scope, budget).map_err(|why| self.told(&why))? {
            Value::Boolean(is_true) => Ok(is_true),
            other => Err(self.told(&kind::no_condition(&self.tree, other.kind()))),
        }
    }

    /// A sentence about it.
    fn told(&self, why: &str) -> String {
        format!("the expression '{}' {why}", shown(&self.text))
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.tree)
    }
}

/// As much of it as a message shows.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}
