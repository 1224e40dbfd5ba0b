//! What a program has set that the emulator does not keep: how keys and the mouse are to be reported, the
//! shape of the cursor, the window's title.
//!
//! Guarantees: bounded, however long a sequence is; [`Modes::draw`] makes the same modes of a fresh
//! terminal; a sequence that comes in parts counts when its last part does.
//! It is not a parser of everything: what changes cells is the emulator's.

use std::{collections::BTreeSet, fmt::Write};

/// The most characters of a sequence that are kept; a longer one says nothing here.
const SEQUENCE: usize = 512;
/// The most characters of a title.
const TITLE: usize = 256;

const ESCAPE: char = '\u{1b}';
/// Begin a sequence without an escape: CSI, OSC, and the strings DCS, SOS, PM, APC.
const CSI: char = '\u{9b}';
const OSC: char = '\u{9d}';
const STRINGS: [char; 4] = ['\u{90}', '\u{98}', '\u{9e}', '\u{9f}'];
const BEGINNINGS: [char; 7] = [ESCAPE, CSI, OSC, '\u{90}', '\u{98}', '\u{9e}', '\u{9f}'];

/// Which of the mouse's doings are reported: the last one set counts.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];
/// How they are written: the last one set counts.
const MOUSE_FORM: [u16; 4] = [1005, 1006, 1015, 1016];
/// What is on or off: reverse video, blinking, the keypad, the focus, the wheel, pasted text.
const FLAGS: [u16; 6] = [5, 12, 66, 1004, 1007, 2004];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Ground,
    Escape,
    /// After the intermediate of an escape.
    Designating,
    Csi,
    Osc,
    /// In a string that says nothing here.
    Str,
}

/// The modes, and the sequence that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Modes {
    at: At,
    sequence: String,
    title: Option<String>,
    cursor: Option<u16>,
    mouse: Option<u16>,
    mouse_form: Option<u16>,
    flags: BTreeSet<u16>,
}

impl Modes {
    /// The window's title.
    pub(super) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Whether what is pasted comes in brackets.
    pub(super) fn brackets_what_is_pasted(&self) -> bool {
        self.flags.contains(&2004)
    }

    /// Takes the next part of the output in.
    pub(super) fn write(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.at == At::Ground {
                let Some(begin) = rest.find(BEGINNINGS) else { return };
                rest = &rest[begin..];
            }
            let mut characters = rest.chars();
            if let Some(character) = characters.next() {
                self.step(character);
            }
            rest = characters.as_str();
        }
    }

    fn step(&mut self, character: char) {
        match (self.at, character) {
            (_, '\u{18}' | '\u{1a}') => self.begin(At::Ground),
            (at, ESCAPE) => {
                self.end_of_string(at);
                self.begin(At::Escape);
            }
            (_, CSI) => self.begin(At::Csi),
            (_, OSC) => self.begin(At::Osc),
            (_, character) if STRINGS.contains(&character) => self.begin(At::Str),
            (at @ (At::Osc | At::Str), '\u{9c}') | (at @ At::Osc, '\u{7}') => {
                self.end_of_string(at);
                self.begin(At::Ground);
            }
            (At::Ground | At::Str, _) => {}
            (At::Escape, _) => self.escaped(character),
            (At::Designating, '\u{30}'..='\u{7e}') => self.begin(At::Ground),
            (At::Csi, '\u{40}'..='\u{7e}') => {
                self.control(character);
                self.begin(At::Ground);
            }
            (At::Csi, '\u{20}'..='\u{3f}') => self.collect(character),
            (At::Osc, ' '..) => self.collect(character),
            (At::Designating | At::Csi | At::Osc, _) => {}
        }
    }

    fn begin(&mut self, at: At) {
        self.at = at;
        self.sequence.clear();
    }

    fn collect(&mut self, character: char) {
        if self.sequence.len() < SEQUENCE {
            self.sequence.push(character);
        }
    }

    fn escaped(&mut self, character: char) {
        let next = match character {
            '[' => At::Csi,
            ']' => At::Osc,
            'P' | 'X' | '^' | '_' => At::Str,
            '\u{20}'..='\u{2f}' => At::Designating,
            '\0'..='\u{1f}' => At::Escape,
            _ => At::Ground,
        };
        match character {
            'c' => *self = Self::default(),
            '=' => drop(self.flags.insert(66)),
            '>' => drop(self.flags.remove(&66)),
            _ => {}
        }
        self.begin(next);
    }

    fn end_of_string(&mut self, at: At) {
        if at != At::Osc || self.sequence.len() >= SEQUENCE {
            return;
        }
        if let Some((kind, text)) = self.sequence.split_once(';')
            && matches!(kind, "0" | "2")
        {
            let shown: String = text.chars().filter(|character| !character.is_control()).take(TITLE).collect();
            self.title = Some(shown).filter(|shown| !shown.is_empty());
        }
    }

    fn control(&mut self, last: char) {
        match (self.sequence.strip_prefix('?'), last) {
            (Some(list), 'h' | 'l') => {
                let modes: Vec<u16> = list.split(';').filter_map(|mode| mode.parse().ok()).collect();
                modes.into_iter().for_each(|mode| self.set(mode, last == 'h'));
            }
            (None, 'q') => {
                if let Some(shape) = self.sequence.strip_suffix(' ') {
                    self.cursor = shape.parse().ok().filter(|shape| (1..=6).contains(shape));
                }
            }
            (None, 'p') if self.sequence == "!" => drop(self.flags.remove(&66)),
            _ => {}
        }
    }

    fn set(&mut self, mode: u16, on: bool) {
        if MOUSE.contains(&mode) {
            self.mouse = on.then_some(mode);
        } else if MOUSE_FORM.contains(&mode) {
            self.mouse_form = on.then_some(mode);
        } else if FLAGS.contains(&mode) {
            if on {
                self.flags.insert(mode);
            } else {
                self.flags.remove(&mode);
            }
        }
    }

    /// Writes what makes these modes of a fresh terminal's. An unfinished sequence is left to the emulator,
    /// which has the same one.
    pub(super) fn draw(&self, out: &mut String) {
        let on = self.flags.iter().copied().chain(self.mouse).chain(self.mouse_form);
        for mode in on {
            write!(out, "\u{1b}[?{mode}h").expect("a string takes everything");
        }
        if let Some(shape) = self.cursor {
            write!(out, "\u{1b}[{shape} q").expect("a string takes everything");
        }
        if let Some(title) = &self.title {
            write!(out, "\u{1b}]2;{title}\u{7}").expect("a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Modes {
        let mut modes = Modes::default();
        modes.write(text);
        modes
    }

    fn drawn(text: &str) -> String {
        let mut out = String::new();
        after(text).draw(&mut out);
        out
    }

    #[test]
    fn what_is_set_is_drawn_and_what_is_reset_is_not() {
        let table = [
            ("\u{1b}[?2004h", "\u{1b}[?2004h"),
            ("\u{1b}[?2004h\u{1b}[?2004l", ""),
            ("\u{1b}[?1000;1006h\u{1b}[?1002h", "\u{1b}[?1002h\u{1b}[?1006h"),
            ("\u{1b}[?1000h\u{1b}[?1003l", ""),
            ("\u{1b}=", "\u{1b}[?66h"),
            ("\u{1b}=\u{1b}>", ""),
            ("\u{1b}[5 q", "\u{1b}[5 q"),
            ("\u{1b}[5 q\u{1b}[0 q", ""),
            ("\u{1b}]0;vim é\u{7}", "\u{1b}]2;vim é\u{7}"),
            ("\u{1b}]2;a\u{1b}\\\u{1b}]2;\u{7}", ""),
            ("\u{9d}2;a\u{9c}\u{9b}?1004h", "\u{1b}[?1004h\u{1b}]2;a\u{7}"),
            ("\u{1b}[?2004h\u{1b}]2;a\u{7}\u{1b}c", ""),
        ];
        for (text, expected) in table {
            assert_eq!(drawn(text), expected, "{text:?}");
        }
    }

    #[test]
    fn other_sequences_set_nothing_whatever_is_in_them() {
        for text in [
            "?2004h",
            "\u{1b}P\u{1b}\\[?2004h",
            "\u{1b}P1;?2004h q",
            "\u{1b}]8;;x[?2004h\u{7}",
            "\u{1b}[?20\u{18}04h",
            "\u{1b}(B[?2004h",
            "\u{1b}[>1u\u{1b}[?1049h\u{1b}[31m",
        ] {
            assert_eq!(drawn(text), "", "{text:?}");
        }
    }

    #[test]
    fn a_sequence_in_parts_counts_with_its_last_one() {
        let whole = "a\u{1b}[?1000;1006hb\u{1b}]2;t\u{1b}\\c";
        for cut in whole.char_indices().map(|(at, _)| at) {
            let mut modes = after(&whole[..cut]);
            modes.write(&whole[cut..]);
            assert_eq!(modes, after(whole), "cut at {cut}");
        }
    }

    #[test]
    fn a_sequence_without_an_end_is_bounded() {
        let mut modes = after("\u{1b}]2;");
        modes.write(&"x".repeat(1 << 20));
        assert!(modes.sequence.len() <= SEQUENCE);
        modes.write("\u{7}");
        assert_eq!(modes, Modes::default());
    }
}
