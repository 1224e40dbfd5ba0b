//! Evaluation: a tree and what its names stand for become a value.
//!
//! Guarantees: each operation is counted, and each byte that is made; beyond a [`Budget`] it ends with an error. What is
//! not chosen is not evaluated. Only the names that are come to are looked up, and nothing of them is copied.
//! It has no effect.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    kind::{self, Kind},
    tree::{Conversion, Name, Operator, Tree},
    value::{Number, Value},
};

/// The most bytes that are made in all: values between, and texts that grow.
const BYTES: usize = 1 << 20;
/// The most operations.
const STEPS: usize = 100_000;
/// So many bytes are looked at in one of them.
const BYTES_A_STEP: usize = 1024;
/// Looking at a step, for what it gave or how it is, costs as much as so many bytes.
const BYTES_A_LOOK: usize = 64;

/// What names stand for.
pub trait Scope {
    /// The value of a name; none if it has none by now.
    fn value(&self, name: &Name) -> Option<Value<'_>>;

    /// How many steps are looked at for the value of a name, at most.
    fn looks(&self, _: &Name) -> usize {
        0
    }
}

/// How much may still be done. One is for all that belongs together: a condition, or all texts of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    steps: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: STEPS, bytes: BYTES }
    }
}

impl Budget {
    /// How many operations were counted.
    #[must_use]
    pub fn spent(&self) -> usize {
        STEPS - self.steps
    }

    /// Counts an operation that looks at so many bytes. Of one that is too much, all that is left is spent.
    fn step(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.steps.checked_sub(1 + bytes / BYTES_A_STEP);
        self.steps = left.unwrap_or(0);
        left.map(drop).ok_or_else(|| format!("takes more than {STEPS} operations"))
    }

    /// Counts bytes that are made.
    ///
    /// # Errors
    /// That they are too many.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| format!("makes more than {} MiB of values and texts", BYTES >> 20))?;
        Ok(())
    }
}

/// The value of an expression.
///
/// # Errors
/// Why it has none, as the rest of a sentence about the expression.
pub(super) fn evaluate<'a>(tree: &'a Tree, scope: &'a dyn Scope, budget: &mut Budget) -> Result<Value<'a>, String> {
    Evaluation { scope, budget }.value(tree)
}

struct Evaluation<'a, 'b> {
    scope: &'a dyn Scope,
    budget: &'b mut Budget,
}

impl<'a> Evaluation<'a, '_> {
    fn value(&mut self, tree: &'a Tree) -> Result<Value<'a>, String> {
        self.budget.step(0)?;
        Ok(match tree {
            Tree::Text(text) => Value::Text(Cow::Borrowed(text)),
            Tree::Number(spelling) => Value::Written(spelling),
            Tree::Boolean(flag) => Value::Boolean(*flag),
            Tree::Nothing => Value::Nothing,
            Tree::Name(name) => {
                self.budget.step(self.scope.looks(name).saturating_mul(BYTES_A_LOOK))?;
                self.scope.value(name).ok_or_else(|| format!("names '{name}', which has no value"))?
            }
            Tree::List(parts) => {
                self.budget.make(size_of::<Value<'_>>().saturating_mul(parts.len()))?;
                Value::List(parts.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?)
            }
            Tree::Not(part) => Value::Boolean(!self.condition(part)?),
            Tree::Minus(part) => Value::Number(self.number(part)?.minus()?),
            Tree::All(parts) => Value::Boolean(self.until(parts, false)?),
            Tree::Any(parts) => Value::Boolean(self.until(parts, true)?),
            Tree::Join(parts) => self.join(parts)?,
            Tree::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Tree::Choice { then, condition, otherwise } => {
                let chosen = if self.condition(condition)? { then } else { otherwise };
                self.value(chosen)?
            }
            Tree::Convert(conversion, part) => self.convert(*conversion, part)?,
        })
    }

    fn condition(&mut self, tree: &'a Tree) -> Result<bool, String> {
        match self.value(tree)? {
            Value::Boolean(is_true) => Ok(is_true),
            other => Err(kind::no_condition(tree, other.kind())),
        }
    }

    /// Whether one of these is so. Those after it are not looked at.
    fn until(&mut self, parts: &'a [Tree], so: bool) -> Result<bool, String> {
        for part in parts {
            if self.condition(part)? == so {
                return Ok(so);
            }
        }
        Ok(!so)
    }

    fn number(&mut self, tree: &'a Tree) -> Result<Number, String> {
        let value = self.value(tree)?;
        if value.kind() != Kind::Number {
            return Err(kind::no_minus(tree, value.kind()));
        }
        self.calculable(&value)
    }

    /// A number as one that is calculated with: what was written is read.
    fn calculable(&mut self, value: &Value<'_>) -> Result<Number, String> {
        match value {
            Value::Written(spelling) => {
                self.budget.step(spelling.len())?;
                Number::parse(spelling)
            }
            Value::Number(number) => Ok(*number),
            other => Err(kind::no_minus(&Tree::Nothing, other.kind())),
        }
    }

    fn join(&mut self, parts: &'a [Tree]) -> Result<Value<'a>, String> {
        let mut joined = String::new();
        for part in parts {
            let value = self.value(part)?;
            let text = value.text().ok_or_else(|| kind::no_text(value.kind()))?;
            self.budget.make(text.len())?;
            joined.push_str(&text);
        }
        Ok(Value::Text(joined.into()))
    }

    fn binary(&mut self, operator: Operator, left: &'a Tree, right: &'a Tree) -> Result<Value<'a>, String> {
        let (one, other) = (self.value(left)?, self.value(right)?);
        if kind::binary(operator, one.kind(), other.kind()).is_none() {
            return Err(kind::no_binary(operator, left, one.kind(), right, other.kind()));
        }
        let is = |so: bool| Ok(Value::Boolean(so));
        match operator {
            Operator::Equal => is(self.equal(left, &one, right, &other)?),
            Operator::Unequal => is(!self.equal(left, &one, right, &other)?),
            Operator::In => is(self.holds(right, &other, left, &one)?),
            Operator::NotIn => is(!self.holds(right, &other, left, &one)?),
            Operator::Less => is(self.order(&one, &other)?.is_lt()),
            Operator::AtMost => is(self.order(&one, &other)?.is_le()),
            Operator::Greater => is(self.order(&one, &other)?.is_gt()),
            Operator::AtLeast => is(self.order(&one, &other)?.is_ge()),
            _ => Ok(Value::Number(self.calculable(&one)?.calculate(operator, self.calculable(&other)?)?)),
        }
    }

    fn equal(&mut self, left: &Tree, one: &Value<'_>, right: &Tree, other: &Value<'_>) -> Result<bool, String> {
        self.budget.step(0)?;
        match (one, other) {
            (Value::Nothing, Value::Nothing) => Ok(true),
            (Value::Nothing, _) | (_, Value::Nothing) => Ok(false),
            (Value::Boolean(one), Value::Boolean(other)) => Ok(one == other),
            (Value::List(ones), Value::List(others)) => {
                if ones.len() != others.len() {
                    return Ok(false);
                }
                for (one, other) in ones.iter().zip(others) {
                    if !self.equal(left, one, right, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ if kind::binary(Operator::Equal, one.kind(), other.kind()).is_none() => {
                Err(kind::no_binary(Operator::Equal, left, one.kind(), right, other.kind()))
            }
            _ => Ok(self.order(one, other)?.is_eq()),
        }
    }

    /// Whether a list, or a text, holds something.
    fn holds(&mut self, whole: &Tree, all: &Value<'_>, part: &Tree, wanted: &Value<'_>) -> Result<bool, String> {
        match (all, wanted) {
            (Value::List(values), _) => {
                for (place, value) in values.iter().enumerate() {
                    // The part of the list that this is, to name it if it is of another type.
                    let named = match whole {
                        Tree::List(parts) => parts.get(place).unwrap_or(whole),
                        _ => whole,
                    };
                    if self.equal(part, wanted, named, value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Value::Text(text), Value::Text(wanted)) => {
                self.budget.step(text.len())?;
                Ok(text.contains(&**wanted))
            }
            _ => Ok(false),
        }
    }

    /// The order of two texts or two numbers.
    fn order(&mut self, one: &Value<'_>, other: &Value<'_>) -> Result<Ordering, String> {
        if let (Value::Text(one), Value::Text(other)) = (one, other) {
            self.budget.step(one.len().min(other.len()))?;
            return Ok(one.cmp(other));
        }
        self.budget.step(0)?;
        Ok(self.calculable(one)?.compare(self.calculable(other)?))
    }

    fn convert(&mut self, conversion: Conversion, part: &'a Tree) -> Result<Value<'a>, String> {
        let value = self.value(part)?;
        if let Value::Text(text) = &value {
            self.budget.step(text.len())?;
        }
        let no = |what: &str| Err(format!("calls {}({part}), and this text is {what}", conversion.as_str()));
        match (conversion, value) {
            (Conversion::Int, Value::Text(text)) => match text.trim().parse() {
                Ok(whole) => Ok(Value::Number(Number::Whole(whole))),
                Err(_) => no("no whole number of 64 bits"),
            },
            (Conversion::Float, Value::Text(text)) => match double(text.trim()) {
                Some(double) => Ok(Value::Number(Number::Double(double))),
                None => no("no number"),
            },
            (Conversion::Boolean, Value::Text(text)) => match text.trim() {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => no("neither 'true' nor 'false'"),
            },
            (Conversion::Text, value @ Value::Text(_)) | (Conversion::Boolean, value @ Value::Boolean(_)) => Ok(value),
            (Conversion::Int, value) if value.kind() == Kind::Number => {
                Ok(Value::Number(Number::Whole(self.calculable(&value)?.whole()?)))
            }
            (Conversion::Float, value) if value.kind() == Kind::Number => {
                Ok(Value::Number(Number::Double(self.calculable(&value)?.double())))
            }
            (Conversion::Text, value) => match value.text() {
                Some(text) => {
                    self.budget.make(text.len())?;
                    Ok(Value::Text(text.into_owned().into()))
                }
                None => Err(kind::no_conversion(conversion, value.kind())),
            },
            (_, value) => Err(kind::no_conversion(conversion, value.kind())),
        }
    }
}

/// A finite number, spelled with digits.
fn double(text: &str) -> Option<f64> {
    let is_spelled = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|double: &f64| is_spelled && double.is_finite())
}
