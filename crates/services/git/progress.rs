//! What git says on standard error while it works: how far it is, and lines for people.
//!
//! Guarantees: memory is bounded, whatever is said; a line of progress is never taken for a message.
//! It is not the decision what is told when: that is the operation's.

use super::contract::Progress;

/// The longest line that is looked at; the rest of a longer one is dropped.
const LINE: usize = 4096;
/// How much of the newest lines is kept.
const KEPT: usize = 8 * 1024;

/// Takes standard error apart.
#[derive(Debug, Default)]
pub(super) struct Listener {
    line: Vec<u8>,
    said: String,
}

impl Listener {
    /// Hears bytes: the newest progress in them, if there is any, and whether a phase is done by it.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Progress> {
        let mut heard: Vec<Progress> = Vec::new();
        for &byte in bytes {
            if byte != b'\r' && byte != b'\n' {
                if self.line.len() < LINE {
                    self.line.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_owned();
            self.line.clear();
            match parse(&line) {
                // Of one phase only the newest counts.
                Some(progress) => match heard.last_mut() {
                    Some(last) if last.phase == progress.phase => *last = progress,
                    _ => heard.push(progress),
                },
                None => self.keep(&line),
            }
        }
        heard
    }

    /// Notes a line for people.
    pub(super) fn keep(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.said.push_str(line);
        self.said.push('\n');
        if self.said.len() > KEPT {
            let from = self.said.len() - KEPT;
            let cut = self.said[self.said.ceil_char_boundary(from)..].find('\n').map_or(from, |at| from + at + 1);
            self.said.drain(..self.said.ceil_char_boundary(cut));
        }
    }

    /// The newest lines for people.
    pub(super) fn said(mut self) -> String {
        let rest = String::from_utf8_lossy(&self.line).trim().to_owned();
        if parse(&rest).is_none() {
            self.keep(&rest);
        }
        self.said
    }
}

/// A line such as `remote: Counting objects:  33% (1/3)` or `Receiving objects: 100% (3/3), 1.2 MiB | 3 MiB/s, done.`
/// or `Enumerating objects: 5, done.`
fn parse(line: &str) -> Option<Progress> {
    let line = line.strip_prefix("remote: ").unwrap_or(line).trim();
    let (phase, rest) = line.split_once(": ")?;
    let is_phase = phase.len() <= 60 && phase.starts_with(|c: char| c.is_ascii_uppercase());
    if !is_phase || !phase.chars().all(|c| c.is_ascii_alphabetic() || " -'".contains(c)) {
        return None;
    }
    let (figure, detail) = rest.trim().split_once(", ").map_or((rest.trim(), None), |(a, b)| (a, Some(b)));
    let detail = detail.map(|text| text.trim_end_matches("done.").trim_end_matches(", ").to_owned());
    let detail = detail.filter(|text| !text.is_empty());
    let (current, total): (u64, Option<u64>) = match figure.split_once('(').and_then(|(_, pair)| pair.strip_suffix(')'))
    {
        Some(pair) => {
            let (current, total) = pair.split_once('/')?;
            (current.parse().ok()?, Some(total.parse().ok()?))
        }
        None => (figure.parse().ok()?, None),
    };
    let percentage = total.map(|total| current.saturating_mul(100).checked_div(total).unwrap_or(100).min(100));
    Some(Progress { phase: phase.to_owned(), current, total, percentage, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(text: &str) -> (Vec<(String, u64, Option<u64>)>, String) {
        let mut listener = Listener::default();
        let heard = listener.hear(text.as_bytes());
        (heard.into_iter().map(|it| (it.phase, it.current, it.total)).collect(), listener.said())
    }

    #[test]
    fn progress_is_read_whatever_separates_it_and_messages_stay() {
        let text = "Cloning into '.'...\nremote: Enumerating objects: 5, done.        \nremote: Counting objects:  20% (1/5)\r\
                    remote: Counting objects: 100% (5/5), done.\nReceiving objects:  50% (1/2), 1.00 MiB | 2.00 MiB/s\r\
                    fatal: the remote end hung up: really";
        let (heard, said) = hear(text);
        let expected =
            [("Enumerating objects", 5, None), ("Counting objects", 5, Some(5)), ("Receiving objects", 1, Some(2))];
        assert_eq!(heard, expected.map(|(phase, current, total)| (phase.to_owned(), current, total)));
        assert_eq!(said, "Cloning into '.'...\nfatal: the remote end hung up: really\n");
        let progress = parse("Receiving objects:  50% (1/2), 1.00 MiB | 2.00 MiB/s").expect("progress");
        assert_eq!((progress.percentage, progress.detail.as_deref()), (Some(50), Some("1.00 MiB | 2.00 MiB/s")));
    }

    #[test]
    fn endless_lines_and_endless_messages_take_a_bounded_room() {
        let mut listener = Listener::default();
        for n in 0..1000 {
            assert!(listener.hear(&[b'x'; 1000]).is_empty());
            assert!(listener.hear(format!("\nhint: {n} é\n").as_bytes()).is_empty());
        }
        assert!(listener.line.len() <= LINE && listener.said.len() <= KEPT);
        assert!(listener.said().ends_with("hint: 999 é\n"));
    }
}
