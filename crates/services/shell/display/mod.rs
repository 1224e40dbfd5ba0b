//! What a terminal shows: cells, cursor, modes, alternate screen, and the lines that left at the top.
//!
//! Guarantees: a pure fold of what was written and of the sizes; bounded by its size and by
//! [`SCROLLBACK_LINES`] and [`SCROLLBACK_BYTES`]; its JSON, restored, goes on as it would have itself; a copy
//! costs nothing until it is written to; what the emulator cannot take clears the screen and stops nothing.
//! It is not a program's terminal: that is the system's.

mod modes;
mod scrollback;

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use avt::Terminal;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_core::panics;

use self::{modes::Modes, scrollback::Scrollback};

pub use self::scrollback::{BYTES as SCROLLBACK_BYTES, LINES as SCROLLBACK_LINES};

/// Moves to the first cell, where a drawing begins.
const HOME: &str = "\u{1b}[H";

/// Where the cursor is, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// The column.
    pub x: u16,
    /// The row.
    pub y: u16,
    /// Whether it is shown.
    pub visible: bool,
}

/// A terminal's display. Its JSON is that of [`Shown`].
#[derive(Clone)]
pub struct Display(Arc<Body>);

/// How a display is shown and saved. Written to a terminal emulator of this size that is empty, each line
/// of `scrollback` and `\r\n`, then as many `\r\n` as it has rows but one, then `screen`, make the same of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Shown {
    /// How many columns.
    pub cols: u16,
    /// How many rows.
    pub rows: u16,
    /// Text and control sequences that draw the screen and set cursor and modes.
    pub screen: String,
    /// The newest lines that left the screen at its top, oldest first.
    pub scrollback: VecDeque<String>,
    /// Whether the screen's first line goes on the last of these.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wrapped: bool,
    /// Where the cursor is.
    pub cursor: Cursor,
}

impl Default for Shown {
    fn default() -> Self {
        let cursor = Cursor { visible: true, ..Cursor::default() };
        Self { cols: 80, rows: 24, screen: HOME.to_owned(), scrollback: VecDeque::new(), wrapped: false, cursor }
    }
}

struct Body {
    cols: u16,
    rows: u16,
    picture: Picture,
    modes: Modes,
    scrollback: Scrollback,
}

/// A screen that is only shown needs no emulator.
enum Picture {
    Drawn { screen: String, cursor: Cursor },
    Live(Box<Terminal>),
}

impl Display {
    /// An empty one of this size; at least one column and row.
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Self {
        Self::from(Shown { cols: cols.max(1), rows: rows.max(1), ..Shown::default() })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        (self.0.cols, self.0.rows)
    }

    /// The title that the program gave its window, if it gave one.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.0.modes.title()
    }

    /// Whether the program has asked that what is pasted comes in brackets.
    #[must_use]
    pub fn brackets_what_is_pasted(&self) -> bool {
        self.0.modes.brackets_what_is_pasted()
    }

    /// Takes the next part of the program's output in.
    pub fn write(&mut self, text: &str) {
        self.change(|body, terminal| {
            terminal.feed_with(text, &mut body.scrollback);
            body.modes.write(text);
        });
    }

    /// Makes it another size.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        let (cols, rows) = (cols.max(1), rows.max(1));
        if (cols, rows) != self.size() {
            self.change(|body, terminal| {
                terminal.resize_with(usize::from(cols), usize::from(rows), &mut body.scrollback);
                (body.cols, body.rows) = (cols, rows);
            });
        }
    }

    /// Gives the emulator up: nothing will be written any more.
    pub fn settle(&mut self) {
        *self = Self::from(self.shown());
    }

    /// As it is shown.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let body = &*self.0;
        Shown {
            cols: body.cols,
            rows: body.rows,
            screen: body.screen(),
            scrollback: body.scrollback.lines.clone(),
            wrapped: body.scrollback.wrapped,
            cursor: body.cursor(),
        }
    }

    /// Changes it. The emulator is another's code, fed with whatever a program writes: if it fails, the
    /// screen is cleared, and whoever watches goes on.
    fn change(&mut self, change: impl FnOnce(&mut Body, &mut Terminal)) {
        let size = self.size();
        let done = panics::caught("shell.display", || {
            if Arc::get_mut(&mut self.0).is_none_or(|body| matches!(body.picture, Picture::Drawn { .. })) {
                self.0 = Arc::new(self.0.copy());
            }
            let body = Arc::get_mut(&mut self.0).expect("it was made just now, or nobody else has it");
            let blank = Picture::Drawn { screen: String::new(), cursor: Cursor::default() };
            if let Picture::Live(mut terminal) = std::mem::replace(&mut body.picture, blank) {
                change(body, &mut terminal);
                body.picture = Picture::Live(terminal);
            }
        });
        if done.is_err() {
            tracing::error!(?size, "the terminal emulator failed; the screen is cleared");
            *self = Self::new(size.0, size.1);
        }
    }
}

impl Body {
    /// One with an emulator of its own, which shows the same.
    fn copy(&self) -> Self {
        let size = (usize::from(self.cols), usize::from(self.rows));
        let mut terminal = Terminal::new(size.0, size.1).expect("a display has columns and rows");
        match &self.picture {
            Picture::Drawn { screen, .. } => terminal.feed(screen.as_str()),
            Picture::Live(shown) => terminal.feed(shown.dump()),
        }
        let (modes, scrollback) = (self.modes.clone(), self.scrollback.clone());
        Self { cols: self.cols, rows: self.rows, picture: Picture::Live(Box::new(terminal)), modes, scrollback }
    }

    /// The emulator's own part comes last: it ends with what a program has not finished.
    fn screen(&self) -> String {
        match &self.picture {
            Picture::Drawn { screen, .. } => screen.clone(),
            Picture::Live(terminal) => {
                let mut screen = HOME.to_owned();
                self.modes.draw(&mut screen);
                screen.push_str(&terminal.dump());
                screen
            }
        }
    }

    fn cursor(&self) -> Cursor {
        match &self.picture {
            Picture::Drawn { cursor, .. } => *cursor,
            Picture::Live(terminal) => {
                let cursor = terminal.cursor();
                let within = |at: usize, size: u16| u16::try_from(at).unwrap_or(u16::MAX).min(size - 1);
                Cursor { x: within(cursor.col, self.cols), y: within(cursor.row, self.rows), visible: cursor.visible }
            }
        }
    }
}

impl From<Shown> for Display {
    fn from(shown: Shown) -> Self {
        let mut modes = Modes::default();
        modes.write(&shown.screen);
        Self(Arc::new(Body {
            cols: shown.cols.max(1),
            rows: shown.rows.max(1),
            picture: Picture::Drawn { screen: shown.screen, cursor: shown.cursor },
            modes,
            scrollback: Scrollback::restored(shown.scrollback, shown.wrapped),
        }))
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::from(Shown::default())
    }
}

impl std::fmt::Debug for Display {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Display({} by {})", self.0.cols, self.0.rows)
    }
}

impl Serialize for Display {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Display {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Shown::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Display {
    fn schema_name() -> Cow<'static, str> {
        Shown::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shown::json_schema(generator)
    }
}

#[cfg(test)]
mod tests;
