//! Values of expressions, and calculating with numbers.
//!
//! Guarantees: a number is a whole one of 64 bits or a finite double; what leaves that is an error, never another
//! number. A number that was not calculated keeps its spelling as a text.
//! It is not the judgement of what goes together: that is [`super::kind`]'s.

use std::{borrow::Cow, cmp::Ordering};

use super::{kind::Kind, tree::Operator};
use crate::workflow::scalar::Scalar;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number as it was written.
    Written(&'a str),
    /// A number that was calculated.
    Number(Number),
    /// True or false.
    Boolean(bool),
    /// Several values.
    List(Vec<Value<'a>>),
    /// `none`.
    Nothing,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// A finite double.
    Double(f64),
}

impl<'a> From<&'a Scalar> for Value<'a> {
    fn from(scalar: &'a Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => Self::Text(text.into()),
            Scalar::Number(_) => Self::Written(scalar.as_str()),
            Scalar::Boolean(flag) => Self::Boolean(*flag),
        }
    }
}

impl Value<'_> {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Written(_) | Self::Number(_) => Kind::Number,
            Self::Boolean(_) => Kind::Boolean,
            Self::List(_) => Kind::List,
            Self::Nothing => Kind::Nothing,
        }
    }

    /// It as a text: a number that was written, as it was. None for a list and for nothing.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Written(spelling) => Cow::Borrowed(spelling),
            Self::Number(Number::Whole(whole)) => Cow::Owned(whole.to_string()),
            // With its fraction, also if that is 0: it says that this was calculated with fractions.
            Self::Number(Number::Double(double)) => Cow::Owned(format!("{double:?}")),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::List(_) | Self::Nothing => return None,
        })
    }
}

/// A number that leaves what is calculated with.
fn beyond() -> String {
    "gives a number that is too large".to_owned()
}

impl Number {
    /// A number as JSON and expressions write it.
    ///
    /// # Errors
    /// Why it cannot be calculated with.
    pub fn parse(spelling: &str) -> Result<Self, String> {
        if spelling.contains(['.', 'e', 'E']) {
            let double = spelling.parse().ok().filter(|double: &f64| double.is_finite());
            return double.map(Self::Double).ok_or_else(|| "has a number that is too large".to_owned());
        }
        spelling.parse().map(Self::Whole).map_err(|_| "has a whole number beyond 64 bits".to_owned())
    }

    /// It as a double, to the precision of one.
    #[must_use]
    pub fn double(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Double(double) => double,
        }
    }

    /// It without its fraction.
    ///
    /// # Errors
    /// For what is beyond 64 bits.
    pub fn whole(self) -> Result<i64, String> {
        match self {
            Self::Whole(whole) => Ok(whole),
            Self::Double(double) => {
                let whole = double.trunc();
                // The next doubles below and above are beyond 64 bits.
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole);
                if fits { Ok(whole as i64) } else { Err("makes a whole number beyond 64 bits".to_owned()) }
            }
        }
    }

    fn finite(double: f64) -> Result<Self, String> {
        if double.is_finite() { Ok(Self::Double(double)) } else { Err(beyond()) }
    }

    /// Its opposite.
    ///
    /// # Errors
    /// Where that is too large.
    pub fn minus(self) -> Result<Self, String> {
        match self {
            Self::Whole(whole) => whole.checked_neg().map(Self::Whole).ok_or_else(beyond),
            Self::Double(double) => Ok(Self::Double(-double)),
        }
    }

    /// Calculates. Two whole numbers give a whole one, except for `/`; what is left of a division is not negative.
    ///
    /// # Errors
    /// For a division by zero, and where the result is too large.
    pub fn calculate(self, operator: Operator, other: Self) -> Result<Self, String> {
        let divides = matches!(operator, Operator::Divide | Operator::DivideWhole | Operator::Remainder);
        if divides && other.double() == 0.0 {
            return Err("divides by zero".to_owned());
        }
        if let (Self::Whole(left), Self::Whole(right)) = (self, other) {
            let whole = match operator {
                Operator::Add => left.checked_add(right),
                Operator::Subtract => left.checked_sub(right),
                Operator::Multiply => left.checked_mul(right),
                Operator::DivideWhole => left.checked_div_euclid(right),
                Operator::Remainder => left.checked_rem_euclid(right),
                _ => return Self::finite(left as f64 / right as f64),
            };
            return whole.map(Self::Whole).ok_or_else(beyond);
        }
        let (left, right) = (self.double(), other.double());
        Self::finite(match operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::DivideWhole => left.div_euclid(right),
            Operator::Remainder => left.rem_euclid(right),
            _ => left / right,
        })
    }

    /// Which of both is greater, exactly: a whole number is not rounded for it.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => left.cmp(&right),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
            (Self::Whole(left), double @ Self::Double(right)) => match double.whole() {
                // What a double has beyond its whole part decides where those are equal.
                Ok(whole) => left.cmp(&whole).then_with(|| 0.0.partial_cmp(&right.fract()).unwrap_or(Ordering::Equal)),
                Err(_) if right > 0.0 => Ordering::Less,
                Err(_) => Ordering::Greater,
            },
            (Self::Double(_), Self::Whole(_)) => other.compare(self).reverse(),
        }
    }
}
