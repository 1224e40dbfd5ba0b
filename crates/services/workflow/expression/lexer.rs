//! Tokens of an expression.
//!
//! Guarantees: every character of the text belongs to a token or is a blank; nothing is judged but its form.
//! It is not the grammar: a word may be a name or an operator.

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Letters, digits and `_`: a name, or an operator such as `and`.
    Word(&'a str),
    /// A text, without its quotes and escapes.
    Text(String),
    /// A number, as it is written.
    Number(&'a str),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// What is made of signs, those first that begin like others.
const SIGNS: [&str; 18] =
    ["==", "!=", "<=", ">=", "//", "<", ">", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", ","];

/// The tokens of a text.
///
/// # Errors
/// What none begins with.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let (token, taken) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let taken = length(rest, is_of_a_word);
                (Token::Word(&rest[..taken]), taken)
            }
            '0'..='9' => {
                let taken = number(rest)?;
                (Token::Number(&rest[..taken]), taken)
            }
            '\'' | '"' => quoted(rest, first)?,
            '.' => (Token::Sign("."), 1),
            _ => sign(rest, first)?,
        };
        tokens.push(token);
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

fn is_of_a_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// How many bytes at the beginning are so.
fn length(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|char| !is(char)).unwrap_or(text.len())
}

/// How long the number is that begins here: digits, perhaps a fraction, perhaps an exponent.
fn number(text: &str) -> Result<usize, String> {
    let digits = |from: usize| length(&text[from..], |char| char.is_ascii_digit());
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        match digits(end + 1) {
            0 => return Err("a number has digits after its '.'".to_owned()),
            fraction => end += 1 + fraction,
        }
    }
    if text[end..].starts_with(['e', 'E']) {
        let signed = usize::from(text[end + 1..].starts_with(['+', '-']));
        match digits(end + 1 + signed) {
            0 => return Err("a number has digits after its exponent's 'e'".to_owned()),
            exponent => end += 1 + signed + exponent,
        }
    }
    if text[end..].starts_with(is_of_a_word) {
        return Err("a number ends before a letter or '_'".to_owned());
    }
    Ok(end)
}

fn sign(text: &str, first: char) -> Result<(Token<'static>, usize), String> {
    if let Some(sign) = SIGNS.into_iter().find(|sign| text.starts_with(sign)) {
        // Two of them are one operator elsewhere, and none here.
        return match sign {
            "*" if text.starts_with("**") => Err("there are no powers ('**')".to_owned()),
            sign => Ok((Token::Sign(sign), sign.len())),
        };
    }
    Err(match first {
        '|' => "there are no filters ('|')".to_owned(),
        '=' => "'=' compares nothing: write '=='".to_owned(),
        '{' | '}' => "there are no maps".to_owned(),
        ':' => "there are no parts of texts and lists ('[…:…]')".to_owned(),
        other => format!("'{}' is not part of the language", other.escape_debug()),
    })
}

/// A text in quotes, and how many bytes it takes with them.
fn quoted(text: &str, quote: char) -> Result<(Token<'static>, usize), String> {
    let mut plain = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            _ if char == quote => return Ok((Token::Text(plain), at + 1)),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some(same @ ('\'' | '"' | '\\' | '/')) => plain.push(same),
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                    plain.push(character(&digits)?);
                }
                Some(other) => {
                    return Err(format!("'\\{}' has no meaning: '\\\\' is a '\\'", other.escape_debug()));
                }
                None => break,
            },
            _ => plain.push(char),
        }
    }
    Err(format!("a text without its closing {quote}"))
}

/// What `\uXXXX` stands for.
fn character(digits: &str) -> Result<char, String> {
    let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
    unit.and_then(char::from_u32).ok_or_else(|| "'\\u' has four hexadecimal digits of a character after it".to_owned())
}
