//! The grammar: tokens become a tree.
//!
//! Guarantees: reading takes a stack and a time that the length and the depth of the text bound; every name in the tree
//! is one that a run may have. What binds how: choice, `or`, `and`, `not`, comparison, `+ -`, `~`, `* / // %`, sign.
//! It is not the judgement whether a name is there, nor of types.

use super::{
    lexer::{Token, tokens},
    tree::{Conversion, DEPTH, Operator, Tree},
    value::Number,
};

/// A tree, and how deep it is.
type Parsed = Result<(Tree, usize), String>;

/// Words that are operators or values.
const RESERVED: [&str; 13] =
    ["and", "or", "not", "in", "if", "else", "is", "true", "True", "false", "False", "none", "None"];

/// Reads an expression.
///
/// # Errors
/// Why it is none.
pub(super) fn parse(text: &str) -> Result<Tree, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, level: 0 };
    let (tree, _) = parser.choice()?;
    match parser.tokens.first() {
        None => Ok(tree),
        Some(Token::Word("is")) => Err("there are no tests with 'is'".to_owned()),
        Some(token) => Err(format!("{} is not expected there", told(token))),
    }
}

pub(super) struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    /// How many parts that are not complete the next one stands in.
    level: usize,
}

/// A token in a message.
fn told(token: &Token<'_>) -> String {
    match token {
        Token::Word(word) | Token::Number(word) => format!("'{word}'"),
        Token::Text(_) => "a text".to_owned(),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

/// The depth of what has parts that are so deep.
fn above(depth: usize) -> Result<usize, String> {
    if depth >= DEPTH { Err(format!("it is nested deeper than {DEPTH} levels")) } else { Ok(depth + 1) }
}

impl<'t, 'a> Parser<'t, 'a> {
    pub(super) fn take(&mut self) -> Option<&'t Token<'a>> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn takes(&mut self, token: &Token<'_>) -> bool {
        let is_next = self.tokens.first() == Some(token);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word))
    }

    pub(super) fn sign(&mut self, sign: &'static str) -> bool {
        self.takes(&Token::Sign(sign))
    }

    pub(super) fn needs(&mut self, sign: &'static str) -> Result<(), String> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(match self.tokens.first() {
            Some(token) => format!("'{sign}' is missing before {}", told(token)),
            None => format!("'{sign}' is missing at its end"),
        })
    }

    /// What stands inside of something.
    fn inside(&mut self, parse: fn(&mut Self) -> Parsed) -> Parsed {
        self.level = above(self.level)?;
        let parsed = parse(self);
        self.level -= 1;
        parsed
    }

    fn choice(&mut self) -> Parsed {
        let (then, first) = self.any()?;
        if !self.word("if") {
            return Ok((then, first));
        }
        let (condition, second) = self.any()?;
        if !self.word("else") {
            return Err("'if' has no 'else'".to_owned());
        }
        let (otherwise, third) = self.inside(Self::choice)?;
        let depth = above(first.max(second).max(third))?;
        let (then, condition, otherwise) = (Box::new(then), Box::new(condition), Box::new(otherwise));
        Ok((Tree::Choice { then, condition, otherwise }, depth))
    }

    /// One part, or several with the same operator between them.
    fn several(
        &mut self,
        part: fn(&mut Self) -> Parsed,
        between: fn(&mut Self) -> bool,
        all: fn(Vec<Tree>) -> Tree,
    ) -> Parsed {
        let (first, mut depth) = part(self)?;
        if !between(self) {
            return Ok((first, depth));
        }
        let mut parts = vec![first];
        loop {
            let (next, deep) = part(self)?;
            depth = depth.max(deep);
            parts.push(next);
            if !between(self) {
                return Ok((all(parts), above(depth)?));
            }
        }
    }

    fn any(&mut self) -> Parsed {
        self.several(Self::all, |parser| parser.word("or"), Tree::Any)
    }

    fn all(&mut self) -> Parsed {
        self.several(Self::not, |parser| parser.word("and"), Tree::All)
    }

    fn not(&mut self) -> Parsed {
        if !self.word("not") {
            return self.comparison();
        }
        let (part, depth) = self.inside(Self::not)?;
        Ok((Tree::Not(Box::new(part)), above(depth)?))
    }

    fn comparison(&mut self) -> Parsed {
        let (left, first) = self.sum()?;
        let Some(operator) = self.comparing()? else { return Ok((left, first)) };
        let (right, second) = self.sum()?;
        if self.comparing()?.is_some() {
            return Err("two are compared at a time: write 'a < b and b < c'".to_owned());
        }
        Ok((Tree::Binary(operator, Box::new(left), Box::new(right)), above(first.max(second))?))
    }

    fn comparing(&mut self) -> Result<Option<Operator>, String> {
        if self.word("not") {
            let is_in = self.word("in");
            return if is_in { Ok(Some(Operator::NotIn)) } else { Err("'not' is followed by 'in' there".to_owned()) };
        }
        if self.word("in") {
            return Ok(Some(Operator::In));
        }
        let comparing = [
            Operator::Equal,
            Operator::Unequal,
            Operator::AtMost,
            Operator::AtLeast,
            Operator::Less,
            Operator::Greater,
        ];
        Ok(comparing.into_iter().find(|operator| self.sign(operator.as_str())))
    }

    /// Parts with operators between them that bind alike: the first two belong together.
    fn chain(&mut self, part: fn(&mut Self) -> Parsed, operators: &[Operator]) -> Parsed {
        let (mut left, mut depth) = part(self)?;
        while let Some(&operator) = operators.iter().find(|operator| self.sign(operator.as_str())) {
            let (right, deep) = part(self)?;
            depth = above(depth.max(deep))?;
            left = Tree::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok((left, depth))
    }

    fn sum(&mut self) -> Parsed {
        self.chain(Self::joined, &[Operator::Add, Operator::Subtract])
    }

    fn joined(&mut self) -> Parsed {
        self.several(Self::product, |parser| parser.sign("~"), Tree::Join)
    }

    fn product(&mut self) -> Parsed {
        let operators = [Operator::Multiply, Operator::Divide, Operator::DivideWhole, Operator::Remainder];
        self.chain(Self::signed, &operators)
    }

    fn signed(&mut self) -> Parsed {
        if !self.sign("-") {
            return self.single();
        }
        let (part, depth) = self.inside(Self::signed)?;
        Ok((Tree::Minus(Box::new(part)), above(depth)?))
    }

    fn single(&mut self) -> Parsed {
        let (tree, depth) = match self.take() {
            Some(Token::Text(text)) => (Tree::Text(text.clone()), 1),
            Some(Token::Number(spelling)) => {
                Number::parse(spelling)?;
                (Tree::Number((*spelling).to_owned()), 1)
            }
            Some(Token::Word(word)) => self.named(word)?,
            Some(Token::Sign("(")) => {
                let inside = self.inside(Self::choice)?;
                if self.sign(",") {
                    return Err("lists stand in '[' and ']'".to_owned());
                }
                self.needs(")")?;
                inside
            }
            Some(Token::Sign("[")) => self.list()?,
            Some(token) => return Err(format!("{} is not expected there", told(token))),
            None => return Err("it is not complete".to_owned()),
        };
        match self.tokens.first() {
            Some(Token::Sign("(")) => Err("only int, float, string and bool are called".to_owned()),
            Some(Token::Sign("[" | ".")) => Err("it has no parts: only names have".to_owned()),
            _ => Ok((tree, depth)),
        }
    }

    fn list(&mut self) -> Parsed {
        let (mut parts, mut depth) = (Vec::new(), 1);
        while !self.sign("]") {
            if !parts.is_empty() {
                self.needs(",")?;
                // One more may stand after the last.
                if self.sign("]") {
                    break;
                }
            }
            let (part, deep) = self.inside(Self::choice)?;
            parts.push(part);
            depth = depth.max(deep);
        }
        Ok((Tree::List(parts), above(depth)?))
    }

    /// What begins with a word.
    fn named(&mut self, word: &str) -> Parsed {
        let value = match word {
            "true" | "True" => Tree::Boolean(true),
            "false" | "False" => Tree::Boolean(false),
            "none" | "None" => Tree::Nothing,
            reserved if RESERVED.contains(&reserved) => return Err(format!("'{reserved}' is not expected there")),
            called if self.tokens.first() == Some(&Token::Sign("(")) => return self.call(called),
            root => Tree::Name(self.name(root)?),
        };
        Ok((value, 1))
    }

    fn call(&mut self, called: &str) -> Parsed {
        let Some(conversion) = Conversion::ALL.into_iter().find(|known| known.as_str() == called) else {
            return Err(format!("there is no function '{called}', only int, float, string and bool"));
        };
        self.needs("(")?;
        let (part, depth) = self.inside(Self::choice)?;
        self.needs(")")?;
        Ok((Tree::Convert(conversion, Box::new(part)), above(depth)?))
    }
}
