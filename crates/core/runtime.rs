//! What the house needs of its surroundings: time, tasks, memberships, viewers.
//!
//! Guarantees: only the root's implementations read the system's clock or spawn; tests hand in their own.
//! It is not a runtime: the traits name none.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::{Timestamp, UserId, principal::Membership};

/// Time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The wall clock. It may leap; use it for what people read.
    fn now(&self) -> Timestamp;

    /// A clock that never goes back, from an arbitrary start. Windows and timers use it.
    fn monotonic(&self) -> Duration;
}

/// What makes a task that is restarted: given how often it panicked before, 0 for its first start.
pub type Make = Box<dyn FnMut(usize) -> BoxFuture<'static, ()> + Send>;

/// Tasks with an owner: every one has a name and is waited for at shutdown.
///
/// A panic ends the task that it is in and nothing else: it is counted and named, and what the task held is
/// dropped, so what others wait for is to be released by a `Drop`.
pub trait Tasks: Send + Sync + fmt::Debug + 'static {
    /// Runs a future to its end, as a task of this name, such as `session.run`.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>);

    /// Runs what has to run as long as the server does, or until it returns. When it panics it is made again
    /// after a pause; when it does so too often, the server is not ready any more and ends.
    fn supervise(&self, name: &'static str, make: Make);

    /// Resolves when the server is stopping: long tasks end themselves then.
    fn stopping(&self) -> BoxFuture<'static, ()>;
}

/// Who follows what live.
pub trait Audience: Send + Sync + 'static {
    /// How many connections are subscribed to a thing of a domain now.
    fn watching(&self, domain: &'static str, id: &str) -> usize;
}

/// Who is a member of which project.
pub trait Memberships: Send + Sync + 'static {
    /// What `user` is in `project`; none for an outsider or an unknown project.
    fn membership(&self, project: &str, user: &UserId) -> Option<Membership>;
}
