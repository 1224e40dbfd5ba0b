//! The tree of an expression.
//!
//! Guarantees: a tree that was read is no deeper than [`DEPTH`], so that walking it takes a bounded stack.
//! It is not its value.

/// The deepest tree.
pub const DEPTH: usize = 64;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A text.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// `true` or `false`.
    Boolean(bool),
    /// `none`.
    Nothing,
    /// Something that is known when it is evaluated.
    Name(Name),
    /// `[a, b]`.
    List(Vec<Tree>),
    /// `not a`.
    Not(Box<Tree>),
    /// `-a`.
    Minus(Box<Tree>),
    /// `a and b and c`.
    All(Vec<Tree>),
    /// `a or b or c`.
    Any(Vec<Tree>),
    /// `a ~ b ~ c`.
    Join(Vec<Tree>),
    /// `a == b` and others.
    Binary(Operator, Box<Tree>, Box<Tree>),
    /// `then if condition else otherwise`.
    Choice {
        /// Its value, if the condition is true.
        then: Box<Tree>,
        /// Which of both it is.
        condition: Box<Tree>,
        /// Its value, if the condition is false.
        otherwise: Box<Tree>,
    },
    /// `int(a)` and others.
    Convert(Conversion, Box<Tree>),
}

/// Something that has a value when an expression is evaluated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Whether all that the step needs succeeded.
    Success,
    /// Whether some of it failed.
    Failure,
    /// The id of the run.
    RunId,
    /// An input.
    Input(String),
    /// A value of the step's matrix.
    Matrix(String),
    /// How a step is.
    Status(String),
    /// An output of a step.
    Output {
        /// The step.
        step: String,
        /// Its output.
        output: String,
    },
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `in`
    In,
    /// `not in`
    NotIn,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `//`
    DivideWhole,
    /// `%`
    Remainder,
}

/// A conversion from one type to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// `int(a)`
    Int,
    /// `float(a)`
    Float,
    /// `string(a)`
    Text,
    /// `bool(a)`
    Boolean,
}

impl Operator {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::DivideWhole => "//",
            Self::Remainder => "%",
        }
    }
}

impl Conversion {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Int, Self::Float, Self::Text, Self::Boolean];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "string",
            Self::Boolean => "bool",
        }
    }
}

impl Tree {
    /// Calls with this part and every part of it.
    pub fn each<'a>(&'a self, with: &mut dyn FnMut(&'a Self)) {
        with(self);
        match self {
            Self::Text(_) | Self::Number(_) | Self::Boolean(_) | Self::Nothing | Self::Name(_) => {}
            Self::List(parts) | Self::All(parts) | Self::Any(parts) | Self::Join(parts) => {
                parts.iter().for_each(|part| part.each(with));
            }
            Self::Not(part) | Self::Minus(part) | Self::Convert(_, part) => part.each(with),
            Self::Binary(_, left, right) => {
                left.each(with);
                right.each(with);
            }
            Self::Choice { then, condition, otherwise } => {
                then.each(with);
                condition.each(with);
                otherwise.each(with);
            }
        }
    }
}
