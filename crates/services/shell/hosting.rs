//! Terminals that the programs of sessions run in.
//!
//! Guarantees: such a terminal is like any other for whoever watches it and types; it stays until its program
//! or its session ends or somebody closes it, watched or not, and is counted as a session only.
//! It is not the session: that hears how the terminal ended.

use std::sync::Arc;

use futures_util::FutureExt;
use tidings_core::{BoxFuture, Result, projection::States};
use tokio::sync::oneshot;

use super::{
    plan::Plan,
    registry::{Live, Reason},
    shells::Shells,
    state::ShellState,
};
use crate::{
    project::Place,
    session::surroundings::{Ended, Keys, Terminal, Wanted},
    telling::Told,
};

const ENTER: &[u8] = b"\r";
/// Around a text that is pasted, where the program has asked for it.
const PASTE: [&str; 2] = ["\u{1b}[200~", "\u{1b}[201~"];

impl Shells {
    /// Opens a terminal for a session, and starts its program in it. Resolves when the start is durable.
    ///
    /// # Errors
    /// `conflict` when the project's directory is gone, `invalid_data` for a directory that is not inside it,
    /// `draining`, `unavailable`.
    pub async fn host(self: Arc<Self>, wanted: Wanted) -> Result<Terminal> {
        let place = Place::look(wanted.root.clone(), wanted.cwd.clone()).await?;
        let states = self.ports.states.clone();
        let (over, ended) = oneshot::channel();
        let (live, begun) = self.begin(Plan::of_session(wanted, place), Some(over))?;
        let keys = Box::new(Typist { live, states });
        let id = begun.await?;
        let lost = |_| Ended::Failed("internal", "the terminal was lost sight of".to_owned());
        Ok(Terminal { id, keys, ended: ended.map(move |ended| ended.unwrap_or_else(lost)).boxed() })
    }
}

/// Types into a terminal for its session, and closes it; so does dropping it.
struct Typist {
    live: Arc<Live>,
    states: Arc<dyn States>,
}

impl Drop for Typist {
    fn drop(&mut self) {
        // Where the session's task is gone before its time, nobody else would end it.
        self.hang_up();
    }
}

impl Keys for Typist {
    fn paste(&self, text: String) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            // What cannot be read now is as if the program had not asked.
            let view = self.states.get(ShellState::DOMAIN, self.live.id.as_str()).await.ok().flatten();
            let brackets = view.as_ref().and_then(|view| view.state::<ShellState>());
            let brackets = brackets.is_some_and(|state| state.display.brackets_what_is_pasted());
            self.live.type_in(pasted(&text, brackets)).await?;
            self.live.type_in(ENTER.to_vec()).await
        })
    }

    fn exited(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.live.course.over())
    }

    fn hang_up(&self) {
        self.live.course.ask_to_end(Reason::SessionEnded);
    }
}

/// A text as emulators paste it: lines end as by Enter, and nothing in it ends the paste.
fn pasted(text: &str, brackets: bool) -> Vec<u8> {
    let text = text.strip_suffix('\n').unwrap_or(text).replace("\r\n", "\r").replace('\n', "\r");
    if !brackets {
        return text.into_bytes();
    }
    let [begin, end] = PASTE;
    [begin, &text.replace('\u{1b}', ""), end].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_ends_its_lines_by_enter_and_cannot_leave_its_brackets() {
        assert_eq!(pasted("a\r\nb\nc\n", false), b"a\rb\rc");
        assert_eq!(pasted("a\u{1b}[201~b\n", true), b"\x1b[200~a[201~b\x1b[201~");
    }
}
