//! The service of projects: registers directories, keeps members, answers who is a member of what.
//!
//! Guarantees: every change is an event, decided under one lock and sent in the order of the
//! decisions, so that memory and log agree; a change whose event fails is taken back by reading the
//! log, and until that works nobody is a member. A root belongs to one project.
//! It is not where rights are judged, and it reads nothing of a project's directory.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    Code, Error, Event, Result, Seq, UserId,
    bus::{EventBus, Receipt},
    command::Json,
    principal::Membership,
    projection::{ListStates, Snapshot, States, View},
    runtime::Memberships,
};

use super::{
    contract::{
        List, Listed, MEMBER_REMOVED, MEMBER_SET, MEMBERS_LIMIT, MemberRemoved, MemberSet, Named, ProjectId,
        ProjectState, REGISTERED, REMOVED, Register, Registered, RemoveMember, Removed, SetMember, Shown,
    },
    roots::Roots,
};
use crate::blocking::blocking;

/// The domain's name among [`States`].
const DOMAIN: &str = "project";
/// How long a state that cannot be read is waited for: at first, and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How many states one read at the start takes.
const RECOVER_PAGE: usize = 200;
/// How many projects a page of the list has, unless asked otherwise.
const LIST_LIMIT: u32 = 100;

/// What is kept in memory of an open project.
#[derive(Debug, Clone, Default)]
struct Entry {
    name: String,
    root: String,
    members: BTreeMap<UserId, Membership>,
    /// Where it was last read back from the log; 0 for never.
    read_at: Seq,
}

#[derive(Debug, Default)]
struct Open {
    projects: BTreeMap<ProjectId, Entry>,
    roots: HashMap<String, ProjectId>,
    /// How often something was read back from the log: a change that was under way meanwhile may
    /// be missing in what was read, and reads once more.
    reloads: u64,
}

impl Open {
    fn put(&mut self, id: ProjectId, entry: Entry) {
        self.take(&id);
        self.roots.insert(entry.root.clone(), id.clone());
        self.projects.insert(id, entry);
    }

    fn take(&mut self, id: &ProjectId) {
        if let Some(entry) = self.projects.remove(id) {
            self.roots.remove(&entry.root);
        }
    }

    fn entry(&mut self, id: &ProjectId) -> Result<&mut Entry> {
        self.projects.get_mut(id).ok_or_else(Error::not_found)
    }
}

/// The projects.
pub struct Projects {
    bus: Arc<dyn EventBus>,
    states: Arc<dyn States>,
    roots: Arc<Roots>,
    open: Mutex<Open>,
}

impl std::fmt::Debug for Projects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Projects")
    }
}

impl Projects {
    /// The service, empty until [`Projects::recover`]. `roots` says where projects may be.
    #[must_use]
    pub fn new(bus: Arc<dyn EventBus>, states: Arc<dyn States>, roots: Arc<Roots>) -> Arc<Self> {
        Arc::new(Self { bus, states, roots, open: Mutex::default() })
    }

    /// Loads every open project. Once, before the first request.
    ///
    /// # Errors
    /// `unavailable` when the log cannot be read.
    pub async fn recover(&self) -> Result<()> {
        let mut below = None;
        loop {
            let query = ListStates { project: None, below, open: true, limit: RECOVER_PAGE };
            let page = self.states.list(DOMAIN, query).await?;
            let mut open = self.open.lock();
            for state in page.iter().filter_map(|view| view.state::<ProjectState>()) {
                if let Some((id, entry)) = opened(state, 0) {
                    open.put(id, entry);
                }
            }
            match page.last() {
                Some(last) if page.len() == RECOVER_PAGE => below = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// `project.register`: makes a project of an existing directory.
    ///
    /// # Errors
    /// `invalid_data` for a root that is no directory, or where none may be; `conflict` for one that is a project
    /// already; `unavailable`.
    pub async fn register(self: Arc<Self>, by: UserId, input: Register) -> Result<Json<Shown>> {
        let (roots, given) = (self.roots.clone(), PathBuf::from(input.root));
        let root = blocking(move || roots.admit(&given)).await??;
        let slot = self.bus.reserve().await?;
        let id = ProjectId::random();
        let answer = Shown { project_id: id.clone(), name: input.name.clone(), root: root.clone(), membership: None };
        let sent = {
            let mut open = self.open.lock();
            if open.roots.contains_key(&root) {
                return Err(Error::new(Code::Conflict, "this directory is a project already"));
            }
            let entry = Entry { name: input.name.clone(), root: root.clone(), ..Entry::default() };
            open.put(id.clone(), entry);
            let data = Registered { project_id: id.clone(), name: input.name, root };
            (slot.send(Event::new(REGISTERED, data).by(Some(by))), open.reloads)
        };
        self.settled(&id, sent).await?;
        Ok(Json(answer))
    }

    /// The open projects, newest first.
    #[must_use]
    pub fn all_open(&self) -> Vec<ProjectId> {
        self.open.lock().projects.keys().rev().cloned().collect()
    }

    /// `project.list`: the open projects that `visible` lets through, newest first, with the
    /// caller's membership in each.
    pub fn list(&self, caller: &UserId, input: &List, visible: impl Fn(&ProjectId) -> bool) -> Json<Listed> {
        let limit = input.limit.unwrap_or(LIST_LIMIT) as usize;
        let below = |id: &&ProjectId| input.cursor.as_ref().is_none_or(|cursor| *id < cursor);
        let ids: Vec<ProjectId> = self.open.lock().projects.keys().rev().filter(below).cloned().collect();
        // Not under the lock: whether a project is visible is judged by the memberships kept here.
        let mut seen = ids.iter().filter(|id| visible(id));
        let page: Vec<ProjectId> = seen.by_ref().take(limit).cloned().collect();
        let cursor = page.last().cloned().filter(|_| seen.next().is_some());
        let open = self.open.lock();
        let shown = |project_id: ProjectId| {
            let entry: &Entry = open.projects.get(&project_id)?;
            let membership = entry.members.get(caller).copied();
            Some(Shown { project_id, name: entry.name.clone(), root: entry.root.clone(), membership })
        };
        Json(Listed { projects: page.into_iter().filter_map(shown).collect(), cursor })
    }

    /// `project.get`: the state of one project, as its snapshot shows it; also of a removed one.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get(self: Arc<Self>, input: Named) -> Result<Snapshot<ProjectState>> {
        let view = self.states.get(DOMAIN, input.project_id.as_str()).await?.ok_or_else(Error::not_found)?;
        if view.state::<ProjectState>().is_none_or(|state| state.project_id.is_none()) {
            return Err(Error::not_found());
        }
        view.snapshot().ok_or_else(Error::internal)
    }

    /// `project.set_member`: makes somebody a member, or another kind of member. Repeating it is harmless.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the project has [`MEMBERS_LIMIT`] members; `unavailable`.
    pub async fn set_member(self: Arc<Self>, by: UserId, input: SetMember) -> Result<Json<MemberSet>> {
        let SetMember { project_id, user_id, membership } = input;
        let data = MemberSet { project_id: project_id.clone(), user_id: user_id.clone(), membership };
        let answer = Json(data.clone());
        let slot = self.bus.reserve().await?;
        let sent = {
            let mut open = self.open.lock();
            let members = &mut open.entry(&project_id)?.members;
            if members.len() >= MEMBERS_LIMIT && !members.contains_key(&user_id) {
                return Err(Error::new(Code::Conflict, format!("a project has at most {MEMBERS_LIMIT} members")));
            }
            if members.insert(user_id, membership) == Some(membership) {
                return Ok(answer);
            }
            (slot.send(Event::new(MEMBER_SET, data).by(Some(by))), open.reloads)
        };
        self.settled(&project_id, sent).await?;
        Ok(answer)
    }

    /// `project.remove_member`: ends a membership, at once.
    ///
    /// # Errors
    /// `not_found` for no such project or no such member; `unavailable`.
    pub async fn remove_member(self: Arc<Self>, by: UserId, input: RemoveMember) -> Result<Json<MemberRemoved>> {
        let RemoveMember { project_id, user_id } = input;
        let slot = self.bus.reserve().await?;
        let data = MemberRemoved { project_id: project_id.clone(), user_id: user_id.clone() };
        let answer = Json(data.clone());
        let sent = {
            let mut open = self.open.lock();
            open.entry(&project_id)?.members.remove(&user_id).ok_or_else(Error::not_found)?;
            (slot.send(Event::new(MEMBER_REMOVED, data).by(Some(by))), open.reloads)
        };
        self.settled(&project_id, sent).await?;
        Ok(answer)
    }

    /// `project.remove`: ends the project and all its memberships; its directory is not touched, and
    /// may become a project again. What still runs in it runs on.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn remove(self: Arc<Self>, by: UserId, input: Named) -> Result<Json<Removed>> {
        let slot = self.bus.reserve().await?;
        let data = Removed { project_id: input.project_id.clone() };
        let answer = Json(data.clone());
        let sent = {
            let mut open = self.open.lock();
            open.entry(&input.project_id)?;
            open.take(&input.project_id);
            (slot.send(Event::new(REMOVED, data).by(Some(by))), open.reloads)
        };
        self.settled(&input.project_id, sent).await?;
        Ok(answer)
    }

    /// Waits until a change is durable; if it fails, memory becomes what the log says.
    async fn settled(&self, id: &ProjectId, (receipt, reloads): (Receipt, u64)) -> Result<()> {
        let outcome = receipt.await.map(drop);
        {
            let mut open = self.open.lock();
            if outcome.is_ok() && open.reloads == reloads {
                return Ok(());
            }
            if outcome.is_err() {
                // Nobody is a member while it is not known what the log holds.
                open.take(id);
            }
            open.reloads += 1;
        }
        let mut wait = WAIT.0;
        loop {
            match self.states.get(DOMAIN, id.as_str()).await {
                Ok(Some(view)) => self.read_back(id, &view),
                Ok(None) => {}
                // Nobody else would read it before the next start, and until then it would be closed to all.
                Err(error) if error.code() != Code::Internal => {
                    tracing::warn!(project = %id, %error, "its state cannot be read: closed until it can");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT.1);
                    continue;
                }
                Err(error) => {
                    tracing::error!(project = %id, %error, "its state is damaged: closed until the next start");
                }
            }
            return outcome;
        }
    }

    fn read_back(&self, id: &ProjectId, view: &View) {
        let Some(state) = view.state::<ProjectState>() else { return };
        let mut open = self.open.lock();
        if open.projects.get(id).is_some_and(|entry| entry.read_at > view.seq) {
            return;
        }
        open.take(id);
        if let Some((id, entry)) = opened(state, view.seq) {
            open.put(id, entry);
        }
    }
}

impl Memberships for Projects {
    fn membership(&self, project: &str, user: &UserId) -> Option<Membership> {
        let id: ProjectId = project.parse().ok()?;
        self.open.lock().projects.get(&id)?.members.get(user).copied()
    }
}

fn opened(state: &ProjectState, read_at: Seq) -> Option<(ProjectId, Entry)> {
    let id = state.project_id.clone().filter(|_| state.is_open())?;
    Some((id, Entry { name: state.name.clone(), root: state.root.clone(), members: state.members.clone(), read_at }))
}

#[cfg(test)]
mod tests;
