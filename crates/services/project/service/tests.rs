//! Tests of the service, over a bus and states in memory that can be made to fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tidings_core::{
    Channel, Epoch, Message, Pattern, Position, Timestamp,
    bus::{Listener, Listening, Placed, SendSlot, Slot},
    command::{Answer, Reply},
    projection::{Fold, Folded},
};

use super::*;
use crate::project::{ProjectReducer, RootsConfig};

#[derive(Default)]
struct House {
    messages: Mutex<Vec<Arc<Message>>>,
    failing: AtomicBool,
    /// So many reads of a state fail from now on.
    unread: AtomicUsize,
}

struct Room(Arc<House>);

impl SendSlot for Room {
    fn send(self: Box<Self>, events: Vec<Event>) -> Receipt {
        if self.0.failing.load(Ordering::SeqCst) {
            return Receipt::new(std::future::ready(Err(Error::unavailable("the disk is gone"))));
        }
        let mut messages = self.0.messages.lock();
        let mut placed = Vec::new();
        for event in events {
            let data: serde_json::Value = serde_json::from_str(event.payload.json()).expect("JSON");
            let id: ProjectId = data["projectId"].as_str().expect("an id").parse().expect("an id");
            let channel = Channel::of("project", &id);
            let seq = 1 + messages.iter().filter(|message| message.channel == channel).count() as u64;
            messages.push(Arc::new(Message::new(channel.clone(), Some(seq), Timestamp(0), event)));
            placed.push(Placed { channel, position: Some(Position { epoch: Epoch("e".into()), seq }) });
        }
        Receipt::new(std::future::ready(Ok(placed)))
    }
}

struct Ports(Arc<House>);

impl EventBus for Ports {
    fn reserve(&self) -> BoxFuture<'_, Result<Slot>> {
        Box::pin(std::future::ready(self.try_reserve()))
    }
    fn try_reserve(&self) -> Result<Slot> {
        Ok(Slot::new(Box::new(Room(self.0.clone()))))
    }
    fn on(&self, _pattern: Pattern, _listener: Arc<dyn Listener>) -> Listening {
        Listening::new(|| ())
    }
}

impl Ports {
    fn view(&self, id: &str) -> Option<View> {
        let mut state: Box<dyn Folded> = Fold::<ProjectReducer>::projection().start();
        let mut seq = 0;
        for message in self.0.messages.lock().iter().filter(|message| message.channel.id() == id) {
            state.apply(message);
            seq = message.seq.expect("durable");
        }
        let id = id.into();
        (seq > 0).then_some(View { id, owner: None, project: None, seq, updated_at: Timestamp(0), state: state.into() })
    }
}

impl States for Ports {
    fn get(&self, domain: &'static str, id: &str) -> BoxFuture<'_, Result<Option<View>>> {
        assert_eq!(domain, DOMAIN);
        if self.0.unread.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Box::pin(std::future::ready(Err(Error::unavailable("the disk gives nothing"))));
        }
        Box::pin(std::future::ready(Ok(self.view(id))))
    }
    fn list(&self, _domain: &'static str, query: ListStates) -> BoxFuture<'_, Result<Vec<View>>> {
        let mut ids: Vec<String> =
            self.0.messages.lock().iter().map(|message| message.channel.id().to_owned()).collect();
        ids.sort();
        ids.dedup();
        let below = |id: &String| query.below.as_ref().is_none_or(|below| id.as_str() < below.as_str());
        let page = ids.iter().rev().filter(|id| below(id)).take(query.limit).filter_map(|id| self.view(id)).collect();
        Box::pin(std::future::ready(Ok(page)))
    }
    fn messages(
        &self,
        _domain: &'static str,
        _id: &str,
        _after: Seq,
        _limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        Box::pin(std::future::ready(Ok((Vec::new(), false))))
    }
}

struct Case {
    house: Arc<House>,
    projects: Arc<Projects>,
    dir: tempfile::TempDir,
}

fn case() -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("data/inside")).expect("made");
    let house = Arc::new(House::default());
    let projects = restarted(&house, &dir);
    Case { house, projects, dir }
}

fn restarted(house: &Arc<House>, dir: &tempfile::TempDir) -> Arc<Projects> {
    let roots = Roots::new(RootsConfig { data_dir: Some(dir.path().join("data")), ..RootsConfig::default() });
    Projects::new(Arc::new(Ports(house.clone())), Arc::new(Ports(house.clone())), roots)
}

impl Case {
    fn directory(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).expect("made");
        path.to_str().expect("UTF-8").to_owned()
    }

    async fn register(&self, root: String) -> Result<ProjectId> {
        let input = Register { name: "one".into(), root };
        let answer = json(self.projects.clone().register(user("admin"), input).await?);
        Ok(answer["projectId"].as_str().expect("an id").parse().expect("an id"))
    }

    async fn set(&self, id: &ProjectId, who: &str, membership: Membership) -> Result<Json<MemberSet>> {
        let input = SetMember { project_id: id.clone(), user_id: user(who), membership };
        self.projects.clone().set_member(user("admin"), input).await
    }

    async fn unset(&self, id: &ProjectId, who: &str) -> Result<Json<MemberRemoved>> {
        let input = RemoveMember { project_id: id.clone(), user_id: user(who) };
        self.projects.clone().remove_member(user("admin"), input).await
    }
}

fn user(id: &str) -> UserId {
    id.parse().expect("an id")
}

fn json(answer: impl Reply) -> serde_json::Value {
    let Answer::Json(json) = answer.into_answer() else { panic!("no JSON") };
    serde_json::from_str(json.get()).expect("JSON")
}

fn listed(projects: &Projects, limit: u32, cursor: Option<ProjectId>) -> serde_json::Value {
    let input = List { limit: Some(limit), cursor };
    json(projects.list(&user("u1"), &input, |_| true))
}

#[tokio::test]
async fn a_root_is_registered_once_also_through_a_link_or_a_longer_path() {
    let case = case();
    let root = case.directory("repo");
    case.register(root.clone()).await.expect("registers");
    let link = case.dir.path().join("link");
    std::os::unix::fs::symlink(&root, &link).expect("links");
    for same in [root.clone(), format!("{root}/../repo/"), link.to_str().expect("UTF-8").to_owned()] {
        assert_eq!(case.register(same).await.expect_err("a conflict").code(), Code::Conflict);
    }
    assert_eq!(case.house.messages.lock().len(), 1);
}

#[tokio::test]
async fn a_root_that_is_missing_a_file_relative_or_touches_the_data_directory_is_refused() {
    let case = case();
    let file = case.dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let base = case.dir.path().to_str().expect("UTF-8").to_owned();
    let table = [
        (format!("{base}/missing"), "does not exist"),
        (file.to_str().expect("UTF-8").to_owned(), "is no directory"),
        ("repo".to_owned(), "is an absolute path"),
        (format!("{base}/data"), "data directory"),
        (format!("{base}/data/inside"), "data directory"),
        (base, "data directory"),
        ("/".to_owned(), "data directory"),
    ];
    for (root, why) in table {
        let error = case.register(root.clone()).await.expect_err("refused");
        assert!(error.fields()["root"].contains(why), "{root}: {error}");
    }
    assert!(case.house.messages.lock().is_empty());
}

#[tokio::test]
async fn memberships_come_change_go_and_survive_a_restart() {
    let case = case();
    let id = case.register(case.directory("repo")).await.expect("registers");
    let membership = |projects: &Projects, who: &str| projects.membership(id.as_str(), &user(who));
    assert_eq!(membership(&case.projects, "u1"), None);
    case.set(&id, "u1", Membership::Viewer).await.expect("sets");
    case.set(&id, "u1", Membership::Owner).await.expect("sets");
    case.set(&id, "u1", Membership::Owner).await.expect("is harmless");
    case.set(&id, "u2", Membership::Operator).await.expect("sets");
    assert_eq!(case.house.messages.lock().len(), 4, "the repeat is no event");
    assert_eq!(membership(&case.projects, "u1"), Some(Membership::Owner));

    case.unset(&id, "u2").await.expect("removes");
    assert_eq!(case.unset(&id, "u2").await.expect_err("no member").code(), Code::NotFound);

    let again = restarted(&case.house, &case.dir);
    assert_eq!(membership(&again, "u1"), None, "nothing is known before it is read");
    again.recover().await.expect("recovers");
    assert_eq!(membership(&again, "u1"), Some(Membership::Owner));
    assert_eq!(membership(&again, "u2"), None);
    assert_eq!(again.membership("nothing", &user("u1")), None);
    assert_eq!(again.membership("a:b", &user("u1")), None);
}

#[tokio::test]
async fn a_removed_project_has_no_members_frees_its_root_and_keeps_its_history() {
    let case = case();
    let root = case.directory("repo");
    let id = case.register(root.clone()).await.expect("registers");
    case.set(&id, "u1", Membership::Owner).await.expect("sets");
    case.projects.clone().remove(user("admin"), Named { project_id: id.clone() }).await.expect("removes");
    assert_eq!(case.projects.membership(id.as_str(), &user("u1")), None);
    assert_eq!(case.set(&id, "u1", Membership::Owner).await.expect_err("gone").code(), Code::NotFound);
    let state = json(case.projects.clone().get(Named { project_id: id.clone() }).await.expect("still there"));
    assert_eq!(state["removed"], true);

    let other = case.register(root).await.expect("the root is free again");
    let again = restarted(&case.house, &case.dir);
    again.recover().await.expect("recovers");
    let shown = listed(&again, 10, None);
    assert_eq!(shown["projects"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["projects"][0]["projectId"], other.as_str());
}

#[tokio::test]
async fn a_change_that_the_log_refuses_is_taken_back() {
    let case = case();
    let root = case.directory("repo");
    let id = case.register(root).await.expect("registers");
    case.set(&id, "u1", Membership::Viewer).await.expect("sets");
    case.house.failing.store(true, Ordering::SeqCst);
    assert_eq!(case.set(&id, "u1", Membership::Owner).await.expect_err("fails").code(), Code::Unavailable);
    assert_eq!(case.projects.membership(id.as_str(), &user("u1")), Some(Membership::Viewer));
    let other = case.directory("other");
    assert_eq!(case.register(other.clone()).await.expect_err("fails").code(), Code::Unavailable);
    case.house.failing.store(false, Ordering::SeqCst);
    case.register(other).await.expect("the root was not kept");
}

#[tokio::test]
async fn a_project_whose_state_cannot_be_read_after_a_refusal_is_open_again_once_it_can() {
    let case = case();
    let root = case.directory("repo");
    let id = case.register(root).await.expect("registers");
    case.set(&id, "u1", Membership::Viewer).await.expect("sets");
    case.house.failing.store(true, Ordering::SeqCst);
    case.house.unread.store(2, Ordering::SeqCst);
    let refused = case.set(&id, "u1", Membership::Owner);
    assert_eq!(refused.await.expect_err("fails").code(), Code::Unavailable);
    assert_eq!(case.house.unread.load(Ordering::SeqCst), 0, "it was tried until it could be read");
    assert_eq!(case.projects.membership(id.as_str(), &user("u1")), Some(Membership::Viewer));
}

#[tokio::test]
async fn the_list_comes_in_pages_newest_first_and_shows_only_what_is_visible() {
    let case = case();
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(case.register(case.directory(name)).await.expect("registers"));
    }
    ids.sort();
    ids.reverse();
    case.set(&ids[0], "u1", Membership::Operator).await.expect("sets");
    let first = listed(&case.projects, 2, None);
    assert_eq!(first["projects"][0]["projectId"], ids[0].as_str());
    assert_eq!(first["projects"][0]["membership"], "operator");
    assert_eq!(first["cursor"], ids[1].as_str());
    let second = listed(&case.projects, 2, Some(ids[1].clone()));
    assert_eq!(second["projects"][0]["projectId"], ids[2].as_str());
    assert!(second.get("cursor").is_none());
    let input = List { limit: None, cursor: None };
    let own = json(case.projects.list(&user("u1"), &input, |id| *id == ids[2]));
    assert_eq!(own["projects"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_unknown_project_is_not_found() {
    let case = case();
    let id = ProjectId::random();
    assert_eq!(case.set(&id, "u1", Membership::Owner).await.expect_err("unknown").code(), Code::NotFound);
    assert_eq!(case.projects.clone().get(Named { project_id: id }).await.expect_err("unknown").code(), Code::NotFound);
}
