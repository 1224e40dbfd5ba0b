//! Who may open a channel that has messages already: whoever opens it decides who reads it, what came before included.
//!
//! Guarantees: nobody makes readable, for himself or for a project, what others have published.
//! It is not the log's refusal of a second opening by another user or in another project: that is where messages are
//! placed, so that of two at once one comes first.

use tidings_core::{Action, Channel, Code, Error, Principal, Result, log::Read};

use super::Gate;

/// The most messages that are looked through for what others have published, and their bytes.
const MOST: usize = 1000;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How many of them at once, and their bytes.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

impl Gate {
    /// Whether somebody may open a channel: one that is new, that he opened before or may read anyway, or in which only
    /// he has published.
    ///
    /// # Errors
    /// `conflict`; `unavailable`.
    pub(super) async fn authorise_to_open(&self, principal: &Principal, channel: &Channel) -> Result<()> {
        let log = &*self.parts.log;
        let Some(facts) = log.facts(channel).await?.filter(|facts| facts.head > 0) else { return Ok(()) };
        let is_known = match &facts.owner {
            Some(owner) => *owner == principal.user,
            None => self.is_all_of(principal, channel).await?,
        };
        if is_known || self.judge.authorise(log, principal, Action::Subscribe, channel).await.is_ok() {
            return Ok(());
        }
        metrics::counter!("tidings_denied_total", "action" => Action::Ingest.as_str()).increment(1);
        let why = "others have published in its channel: take another id";
        Err(Error::new(Code::Conflict, why).with_field("data", why))
    }

    /// Whether everything in a channel is of one user. What is too much to be looked through is not.
    async fn is_all_of(&self, principal: &Principal, channel: &Channel) -> Result<bool> {
        let (mut after, mut seen, mut bytes) = (0, 0, 0);
        loop {
            let read = Read { after, before: None, limit: PAGE, max_bytes: PAGE_BYTES, newest: false };
            let page = self.parts.log.read(channel, read).await?;
            if page.messages.iter().any(|message| message.by.as_ref() != Some(&principal.user)) {
                return Ok(false);
            }
            let Some(last) = page.messages.last().and_then(|message| message.seq) else { return Ok(true) };
            seen += page.messages.len();
            if last >= page.head {
                return Ok(true);
            }
            bytes += page.messages.iter().map(|message| message.payload.json().len()).sum::<usize>();
            if seen >= MOST || bytes >= MOST_BYTES {
                return Ok(false);
            }
            after = last;
        }
    }
}
