//! Types: what each operation takes, for what is checked before anything runs and for what is evaluated.
//!
//! Guarantees: both ask the same rule, so that what passes the check fails for its types only where a name has a value
//! of a type that was not known. A refusal says what to write instead.
//! It is not the evaluation.

use super::tree::{Conversion, Name, Operator, Tree};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// `none`.
    Nothing,
}

/// The types that a value may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kind {
    const ALL: [Self; 5] = [Self::Text, Self::Number, Self::Boolean, Self::List, Self::Nothing];

    /// In a sentence.
    fn told(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Boolean => "a flag",
            Self::List => "a list",
            Self::Nothing => "none",
        }
    }
}

impl From<Kind> for Kinds {
    fn from(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }
}

impl Kinds {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// What an input may be of which nothing is said.
    pub const SCALAR: Self = Self(1 << Kind::Text as u8 | 1 << Kind::Number as u8 | 1 << Kind::Boolean as u8);

    /// These and others.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        Self(self.0 | other.into().0)
    }

    /// Whether it may be of this type.
    #[must_use]
    pub fn may_be(self, kind: Kind) -> bool {
        self.0 & Self::from(kind).0 != 0
    }

    /// A type that it may be of, if it cannot be of this one.
    pub(super) fn only_without(self, kind: Kind) -> Option<Kind> {
        if self.may_be(kind) { None } else { self.each().next() }
    }

    fn each(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.may_be(*kind))
    }
}

/// The type of what an operation makes; none where it does not take these. What is in a list is not looked at.
pub(super) fn binary(operator: Operator, left: Kind, right: Kind) -> Option<Kind> {
    match operator {
        Operator::Equal | Operator::Unequal => {
            (left == right || left == Kind::Nothing || right == Kind::Nothing).then_some(Kind::Boolean)
        }
        Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => {
            (left == right && matches!(left, Kind::Text | Kind::Number)).then_some(Kind::Boolean)
        }
        Operator::In | Operator::NotIn => {
            (right == Kind::List || (left, right) == (Kind::Text, Kind::Text)).then_some(Kind::Boolean)
        }
        Operator::Add
        | Operator::Subtract
        | Operator::Multiply
        | Operator::Divide
        | Operator::DivideWhole
        | Operator::Remainder => (left == Kind::Number && right == Kind::Number).then_some(Kind::Number),
    }
}

/// The type of what a conversion makes; none where it does not take this.
pub(super) fn convert(conversion: Conversion, from: Kind) -> Option<Kind> {
    match (conversion, from) {
        (Conversion::Int | Conversion::Float, Kind::Text | Kind::Number) => Some(Kind::Number),
        (Conversion::Text, Kind::Text | Kind::Number | Kind::Boolean) => Some(Kind::Text),
        (Conversion::Boolean, Kind::Text | Kind::Boolean) => Some(Kind::Boolean),
        _ => None,
    }
}

/// The types that an expression may be of.
///
/// # Errors
/// An operation that cannot take what it is given, whatever its names are.
pub(super) fn check(tree: &Tree, kinds: &dyn Fn(&Name) -> Kinds) -> Result<Kinds, String> {
    let check = |tree: &Tree| check(tree, kinds);
    let condition = |tree: &Tree| match check(tree)?.only_without(Kind::Boolean) {
        Some(kind) => Err(no_condition(tree, kind)),
        None => Ok(()),
    };
    match tree {
        Tree::Text(_) => Ok(Kind::Text.into()),
        Tree::Number(_) => Ok(Kind::Number.into()),
        Tree::Boolean(_) => Ok(Kind::Boolean.into()),
        Tree::Nothing => Ok(Kind::Nothing.into()),
        Tree::Name(name) => Ok(kinds(name)),
        Tree::List(parts) => {
            parts.iter().try_for_each(|part| check(part).map(drop))?;
            Ok(Kind::List.into())
        }
        Tree::Not(part) => {
            condition(part)?;
            Ok(Kind::Boolean.into())
        }
        Tree::Minus(part) => match check(part)?.only_without(Kind::Number) {
            Some(kind) => Err(no_minus(part, kind)),
            None => Ok(Kind::Number.into()),
        },
        Tree::All(parts) | Tree::Any(parts) => {
            parts.iter().try_for_each(condition)?;
            Ok(Kind::Boolean.into())
        }
        Tree::Join(parts) => {
            for part in parts {
                let of = check(part)?;
                if let (false, Some(kind)) = (of.0 & Kinds::SCALAR.0 != 0, of.each().next()) {
                    return Err(no_text(kind));
                }
            }
            Ok(Kind::Text.into())
        }
        // Each part is checked once: what stands in a list is held against the left side as it is checked.
        Tree::Binary(operator @ (Operator::In | Operator::NotIn), left, right) => {
            let lefts = check(left)?;
            let Tree::List(parts) = &**right else { return pairs(*operator, left, lefts, right, check(right)?) };
            for part in parts {
                pairs(Operator::Equal, left, lefts, part, check(part)?)?;
            }
            Ok(Kind::Boolean.into())
        }
        Tree::Binary(operator, left, right) => pairs(*operator, left, check(left)?, right, check(right)?),
        Tree::Choice { then, condition: judged, otherwise } => {
            condition(judged)?;
            Ok(check(then)?.or(check(otherwise)?))
        }
        Tree::Convert(conversion, part) => {
            let (mut made, mut refused) = (Kinds::NONE, None);
            for kind in check(part)?.each() {
                match convert(*conversion, kind) {
                    Some(kind) => made = made.or(kind),
                    None => refused = Some(kind),
                }
            }
            match refused {
                Some(kind) if made == Kinds::NONE => Err(no_conversion(*conversion, kind)),
                _ => Ok(made),
            }
        }
    }
}

/// What an operation makes of each pair of types that it takes.
fn pairs(operator: Operator, left: &Tree, lefts: Kinds, right: &Tree, rights: Kinds) -> Result<Kinds, String> {
    let (mut made, mut refused) = (Kinds::NONE, None);
    for (one, other) in lefts.each().flat_map(|one| rights.each().map(move |other| (one, other))) {
        match binary(operator, one, other) {
            Some(kind) => made = made.or(kind),
            None => refused = Some((one, other)),
        }
    }
    match refused {
        Some((one, other)) if made == Kinds::NONE => Err(no_binary(operator, left, one, right, other)),
        _ => Ok(made),
    }
}

/// Why this is no condition.
pub(super) fn no_condition(tree: &Tree, kind: Kind) -> String {
    let instead = match kind {
        Kind::Text => format!(": write {} == 'true', or what else it is to be", operand(tree)),
        Kind::Number => format!(": write {} != 0, or what else it is to be", operand(tree)),
        Kind::Boolean | Kind::List | Kind::Nothing => String::new(),
    };
    format!("has {} as a condition{instead}", kind.told())
}

/// Why this has no opposite.
pub(super) fn no_minus(tree: &Tree, kind: Kind) -> String {
    let instead = if kind == Kind::Text { format!(": write -int({tree})") } else { String::new() };
    format!("puts '-' before {}{instead}", kind.told())
}

/// Why this cannot stand in a text.
pub(super) fn no_text(kind: Kind) -> String {
    format!("puts {} into a text: texts, numbers and flags can stand in one", kind.told())
}

/// Why this cannot be converted.
pub(super) fn no_conversion(conversion: Conversion, kind: Kind) -> String {
    format!("calls {} with {}", conversion.as_str(), kind.told())
}

/// Why an operation does not take these.
pub(super) fn no_binary(operator: Operator, left: &Tree, one: Kind, right: &Tree, other: Kind) -> String {
    let (sign, compares) = (operator.as_str(), binary(operator, Kind::Number, Kind::Number) == Some(Kind::Boolean));
    let (first, second) = (operand(left), operand(right));
    let instead = match (one, other) {
        (Kind::Text, Kind::Number) if matches!(left, Tree::Text(_)) && compares => {
            format!(": write {first} {sign} string({right})")
        }
        (Kind::Number, Kind::Text) if matches!(right, Tree::Text(_)) && compares => {
            format!(": write string({left}) {sign} {second}")
        }
        (Kind::Text, Kind::Number) => format!(": write {}({left}) {sign} {second}", like(right)),
        (Kind::Number, Kind::Text) => format!(": write {first} {sign} {}({right})", like(left)),
        (Kind::Text, Kind::Boolean) => match right {
            Tree::Boolean(flag) => format!(": write {first} {sign} '{flag}'"),
            _ => format!(": write bool({left}) {sign} {second}"),
        },
        (Kind::Boolean, Kind::Text) => match left {
            Tree::Boolean(flag) => format!(": write '{flag}' {sign} {second}"),
            _ => format!(": write {first} {sign} bool({right})"),
        },
        (Kind::Text, Kind::Text) if operator == Operator::Add => format!(": write {first} ~ {second} to join texts"),
        (Kind::Text, Kind::Text) => format!(": write int({left}) {sign} int({right})"),
        _ => String::new(),
    };
    let (one, other) = (one.told(), other.told());
    match operator {
        Operator::In | Operator::NotIn => format!("looks for {one} in {other}"),
        _ if compares => format!("compares {one} with {other}{instead}"),
        _ => format!("calculates {one} {sign} {other}{instead}"),
    }
}

/// The conversion that makes a number like this one.
fn like(tree: &Tree) -> &'static str {
    match tree {
        Tree::Number(spelling) if spelling.contains(['.', 'e', 'E']) => "float",
        _ => "int",
    }
}

/// A part as it stands beside an operator.
fn operand(tree: &Tree) -> String {
    match tree {
        Tree::Choice { .. } | Tree::Any(_) | Tree::All(_) | Tree::Not(_) | Tree::Binary(..) => format!("({tree})"),
        _ => tree.to_string(),
    }
}
