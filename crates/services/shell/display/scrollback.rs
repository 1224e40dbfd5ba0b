//! The newest lines that left the screen at its top, as text that draws them.
//!
//! Guarantees: at most [`LINES`] lines and [`BYTES`] bytes; a line that was wrapped is one line again.
//! It is not the whole output: that is in the channel's history.

use std::{collections::VecDeque, fmt::Write};

use avt::{
    Color, Line, Observation, Observer, Operation, Pen,
    parser::{EdScope, Function},
};

/// The most lines.
pub const LINES: usize = 1_000;
/// The most bytes, as JSON has them.
pub const BYTES: usize = 64 * 1024;
/// The most bytes of one line, as JSON has them; a longer one is cut.
const LINE_BYTES: usize = 8 * 1024;

/// The lines, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scrollback {
    pub(super) lines: VecDeque<String>,
    /// Whether the screen's first line goes on the last of these.
    pub(super) wrapped: bool,
    bytes: usize,
}

impl Scrollback {
    /// As it was saved.
    pub(super) fn restored(lines: VecDeque<String>, wrapped: bool) -> Self {
        let bytes = lines.iter().map(|line| weight(line)).sum();
        Self { lines, wrapped, bytes }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, line: &Line) {
        let text = drawn(line);
        self.bytes += weight(&text);
        match self.lines.back_mut().filter(|_| self.wrapped) {
            Some(last) => last.push_str(&text),
            None => self.lines.push_back(text),
        }
        let long = self.lines.back().is_some_and(|last| weight(last) > LINE_BYTES);
        self.wrapped = line.is_wrapped() && !long;
        while self.lines.len() > LINES || (self.bytes > BYTES && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |oldest| weight(&oldest));
        }
    }
}

/// Hears of the lines that leave.
impl Observer for Scrollback {
    type Output = ();

    fn before(&mut self, _: &mut Observation<'_>, operation: &Operation) {
        if let Operation::Function(Function::Ed(EdScope::SavedLines) | Function::Ris) = operation {
            self.clear();
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Line) {
        self.push(line);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

/// How long a text is in JSON, where a control character takes up to six bytes.
fn weight(text: &str) -> usize {
    text.bytes().map(|byte| if byte < 0x20 { 6 } else { 1 }).sum()
}

/// A line as text and attributes. Of one that does not go on in the next, blanks at the end are left out.
fn drawn(line: &Line) -> String {
    let cells = line.cells();
    let blank = |cell: &avt::Cell| cell.char() == ' ' && cell.width() == 1 && cell.pen().is_default();
    let length = if line.is_wrapped() {
        cells.len()
    } else {
        cells.iter().rposition(|cell| !blank(cell)).map_or(0, |at| at + 1)
    };
    let (mut text, mut pen) = (String::with_capacity(length), Pen::default());
    for cell in cells[..length].iter().filter(|cell| cell.width() > 0) {
        if *cell.pen() != pen {
            pen = *cell.pen();
            attributes(&pen, &mut text);
        }
        text.push(cell.char());
    }
    if !pen.is_default() {
        text.push_str("\u{1b}[m");
    }
    text
}

fn attributes(pen: &Pen, out: &mut String) {
    out.push_str("\u{1b}[0");
    let flags = [
        (pen.is_bold(), "1"),
        (pen.is_faint(), "2"),
        (pen.is_italic(), "3"),
        (pen.is_underline(), "4"),
        (pen.is_blink(), "5"),
        (pen.is_inverse(), "7"),
        (pen.is_strikethrough(), "9"),
    ];
    for (_, code) in flags.into_iter().filter(|(on, _)| *on) {
        out.push(';');
        out.push_str(code);
    }
    for (color, base) in [(pen.foreground(), 38), (pen.background(), 48)] {
        match color {
            Some(Color::Indexed(index)) => write!(out, ";{base};5;{index}"),
            Some(Color::RGB(rgb)) => write!(out, ";{base};2;{};{};{}", rgb.r, rgb.g, rgb.b),
            None => Ok(()),
        }
        .expect("a string takes everything");
    }
    out.push('m');
}

#[cfg(test)]
mod tests {
    use avt::Terminal;

    use super::*;

    fn after(cols: usize, rows: usize, text: &str) -> Scrollback {
        let (mut terminal, mut scrollback) = (Terminal::new(cols, rows).expect("a size"), Scrollback::default());
        terminal.feed_with(text, &mut scrollback);
        scrollback
    }

    #[test]
    fn lines_that_leave_are_kept_with_their_colours_and_without_their_blanks() {
        let scrollback = after(10, 1, "\u{1b}[1;31mred\u{1b}[m x  \r\n\u{1b}[48;2;1;2;3m \u{1b}[m界\r\nlast");
        assert_eq!(scrollback.lines, ["\u{1b}[0;1;38;5;1mred\u{1b}[0m x", "\u{1b}[0;48;2;1;2;3m \u{1b}[0m界"]);
        assert!(!scrollback.wrapped);
    }

    #[test]
    fn a_wrapped_line_is_one_line_again_also_while_its_end_is_on_the_screen() {
        let scrollback = after(4, 1, "abcdefghij");
        assert_eq!((scrollback.lines.clone(), scrollback.wrapped), (["abcdefgh".to_owned()].into(), true));
        assert_eq!(after(4, 1, "abcdefghij\r\nnext").lines, ["abcdefghij"]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let many: String = (0..3 * LINES).map(|number| format!("{number}\r\n")).collect();
        let scrollback = after(10, 1, &many);
        assert_eq!(scrollback.lines.len(), LINES);
        assert_eq!(scrollback.lines.back().map(String::as_str), Some("2999"));
        let endless = after(80, 2, &"\u{1b}[31mx\u{1b}[32my".repeat(100_000));
        assert!(endless.bytes <= BYTES + LINE_BYTES, "{}", endless.bytes);
        assert_eq!(endless, Scrollback::restored(endless.lines.clone(), endless.wrapped));
    }

    #[test]
    fn clearing_the_saved_lines_and_a_reset_leave_none() {
        assert_eq!(after(4, 1, "a\r\nb\r\n\u{1b}[3J"), Scrollback::default());
        assert_eq!(after(4, 1, "a\r\nb\r\n\u{1b}c"), Scrollback::default());
    }
}
