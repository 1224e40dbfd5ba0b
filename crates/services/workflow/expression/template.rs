//! A text with expressions in it.
//!
//! Guarantees: what it becomes is bounded together with what its expressions make. It is known whether what begins it
//! was named by the definition's author, or came with a value that somebody else gave.
//! It is not a command line: whether a text may be an option is for whoever puts it into one.

use super::{
    Expression, Name,
    evaluation::{Budget, Scope, evaluate},
    kind,
    tree::Tree,
};

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A text with expressions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Expression(Expression),
}

/// What a text has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Whether it is an option because of an input, or of an output of another step: by its value, or because that is
    /// empty and what follows comes first. The definition's author names an option, with more than dashes, before any
    /// of them stands, or in a whole text that an expression chose.
    pub is_option_of_others: bool,
}

/// Who named the beginning of a text, as far as it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// Nobody yet: it is empty, or has nothing but dashes of the author's.
    Open,
    /// The author.
    ByAuthor,
    /// Others, as far as it can be.
    ByOthers,
}

/// Whether the author names an option with this, if it comes first.
fn names_one(text: &str) -> bool {
    text.bytes().any(|byte| byte != b'-')
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with an expression in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, after) = after.split_once(CLOSE).ok_or("'${{' without its '}}'")?;
            pieces.push(Piece::Expression(Expression::parse(inner)?));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The expressions in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Expression(expression) => Some(expression),
            Piece::Text(_) => None,
        })
    }

    /// The text with its values.
    ///
    /// # Errors
    /// An expression that has no value, or more than is allowed.
    pub fn render(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Rendered, String> {
        let (mut text, mut begun) = (String::new(), Begun::Open);
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => {
                    budget.make(piece.len()).map_err(|why| format!("a text {why}"))?;
                    if begun == Begun::Open && names_one(piece) {
                        begun = Begun::ByAuthor;
                    }
                    text.push_str(piece);
                }
                Piece::Expression(expression) => {
                    let (value, chosen) = expression.text(scope, budget)?;
                    if begun == Begun::Open {
                        begun = match expression.is_of_others() {
                            true if self.0.len() == 1 && chosen => Begun::ByAuthor,
                            true => Begun::ByOthers,
                            false if names_one(&value) => Begun::ByAuthor,
                            false => Begun::Open,
                        };
                    }
                    text.push_str(&value);
                }
            }
        }
        if text.contains('\0') {
            return Err("a text holds a NUL".to_owned());
        }
        let is_option_of_others = begun == Begun::ByOthers && text.starts_with('-');
        Ok(Rendered { text, is_option_of_others })
    }
}

impl Expression {
    /// Whether something in it is not the author's: an input, or an output of a step.
    fn is_of_others(&self) -> bool {
        self.names().into_iter().any(|name| matches!(name, Name::Input(_) | Name::Output { .. }))
    }

    /// Its value as a text, and whether that is, as a whole, a text of its own that it chose and did not put together.
    fn text(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<(String, bool), String> {
        let mut tree = self.tree();
        while let Tree::Choice { then, condition, otherwise } = tree {
            tree = match evaluate(condition, scope, budget).map_err(|why| self.told(&why))? {
                super::Value::Boolean(true) => then,
                super::Value::Boolean(false) => otherwise,
                other => return Err(self.told(&kind::no_condition(condition, other.kind()))),
            };
        }
        let value = evaluate(tree, scope, budget).map_err(|why| self.told(&why))?;
        let text = value.text().ok_or_else(|| self.told(&kind::no_text(value.kind())))?;
        budget.make(text.len()).map_err(|why| self.told(&why))?;
        Ok((text.into_owned(), matches!(tree, Tree::Text(_))))
    }
}
