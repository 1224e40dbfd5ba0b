//! Listing the things of a domain: page by page, newest first, and only what the caller may see.
//!
//! Guarantees: what is listed is the projection; one request looks through a bounded number of states, and
//! then answers with a cursor.
//! It is not the judgement of who may see what: that is the caller's.

use std::{fmt::Display, str::FromStr};

use tidings_core::{
    Result, UserId,
    projection::{ListStates, States, View},
};

use crate::project::ProjectId;

/// How many things a page has, unless the caller says.
const PAGE: usize = 50;
/// How many states one request looks through at most; then it answers with a cursor.
const SCAN: usize = 2_000;

/// How many outputs of one domain are put together at once: each takes megabytes until its client has it.
pub(crate) const OUTPUTS_AT_ONCE: usize = 4;

/// A thing in a list.
pub(crate) trait Listed: Sized {
    /// The thing's id.
    type Id: Display + FromStr + Clone;
    /// Its domain, as states are read back by it.
    const DOMAIN: &'static str;
    /// How many of its states are read at once.
    const BATCH: usize;
    /// What its state says; none where nothing was started.
    fn of(view: &View) -> Option<Self>;
    /// Which one it is.
    fn id(&self) -> &Self::Id;
}

/// What is listed.
pub(crate) struct Listing<'a, I> {
    /// Only those of this project.
    pub(crate) project_id: Option<&'a ProjectId>,
    /// At most so many; 50 by default.
    pub(crate) limit: Option<u32>,
    /// The `cursor` of the page before.
    pub(crate) cursor: Option<&'a I>,
}

/// A page of things, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, I> {
    /// The things; there may be fewer than asked for and a cursor all the same.
    pub items: Vec<T>,
    /// For the next page; none on the last one.
    pub cursor: Option<I>,
}

/// Things that are `wanted` and that `visible` lets through. It is asked with id, owner and project.
///
/// # Errors
/// `unavailable`.
pub(crate) async fn list<T: Listed>(
    states: &dyn States,
    listing: Listing<'_, T::Id>,
    wanted: impl Fn(&T) -> bool,
    visible: impl Fn(&T::Id, Option<&UserId>, Option<&str>) -> bool,
) -> Result<Page<T, T::Id>> {
    let limit = listing.limit.map_or(PAGE, |limit| limit as usize);
    let project = listing.project_id.map(ProjectId::as_str);
    let mut below = listing.cursor.map(|cursor| cursor.to_string().into());
    let mut page = Page { items: Vec::new(), cursor: None };
    for _ in 0..SCAN / T::BATCH {
        let ask = ListStates { project: project.map(Into::into), below, open: false, limit: T::BATCH };
        let views = states.list(T::DOMAIN, ask).await?;
        let Some(last) = views.last() else { return Ok(page) };
        below = Some(last.id.clone());
        for view in views {
            let Some(item) = T::of(&view).filter(|item| wanted(item)) else { continue };
            if !visible(item.id(), view.owner.as_ref(), view.project.as_deref()) {
                continue;
            }
            if page.items.len() == limit {
                page.cursor = page.items.last().map(|last: &T| last.id().clone());
                return Ok(page);
            }
            page.items.push(item);
        }
    }
    page.cursor = below.and_then(|id| id.parse().ok());
    Ok(page)
}
