//! What the tests share: identity over a directory of its own, and short ways to use it.

use std::{sync::Arc, time::Duration};

use tidings_auth::{Auth, AuthConfig, NewToken, Whose};
use tidings_core::{
    Code, Error, Principal, Result, UserId,
    identity::{Identity, Login, NewUser, Origin, OwnLogin, Revocation, Secret, User, UserChange},
    principal::Role,
    runtime::Clock,
};
use tidings_testkit::{PATIENCE, TestClock, TestTasks};
use tokio::sync::mpsc;

pub(crate) const PASSWORD: &str = "a long enough password";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct House {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) auth: Arc<Auth>,
    change: fn(&mut AuthConfig),
    // Dropping them would stop the task that follows other processes.
    _tasks: Arc<TestTasks>,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: fn(&mut AuthConfig)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::over(dir, TestClock::new(), change)
    }

    fn over(dir: Arc<tempfile::TempDir>, clock: Arc<TestClock>, change: fn(&mut AuthConfig)) -> Self {
        let mut config = AuthConfig::new(dir.path());
        change(&mut config);
        let port: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let tasks = TestTasks::new();
        let auth = Auth::open(config, port, Arc::<TestTasks>::clone(&tasks)).unwrap();
        Self { dir, clock, auth, change, _tasks: tasks }
    }

    /// Another `Auth` on the same directory, as another process has it, or the same one later.
    pub(crate) fn second(&self) -> Self {
        Self::over(Arc::clone(&self.dir), Arc::clone(&self.clock), self.change)
    }

    pub(crate) async fn user(&self, username: &str, roles: &[Role]) -> User {
        let password = Secret(PASSWORD.to_owned());
        let user = NewUser { username: username.to_owned(), password, roles: roles.to_vec() };
        self.auth.create_user(user).await.unwrap()
    }

    pub(crate) async fn try_login(&self, username: &str, password: &str) -> Result<Login> {
        self.try_login_from("192.0.2.1", username, password).await
    }

    pub(crate) async fn try_login_from(&self, address: &str, username: &str, password: &str) -> Result<Login> {
        let from = Origin { address: address.parse().unwrap(), agent: format!("agent at {address}") };
        self.auth.login(username.to_owned(), Secret(password.to_owned()), from).await
    }

    pub(crate) async fn login(&self, username: &str) -> Login {
        self.try_login(username, PASSWORD).await.unwrap()
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<Login> {
        self.auth.refresh(Secret(refresh_token.to_owned())).await
    }

    /// The logins that somebody sees who has this one.
    pub(crate) async fn own(&self, login: &Login) -> Vec<OwnLogin> {
        self.auth.logins(&self.verify(&login.token).unwrap()).await.unwrap()
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Principal> {
        self.auth.verify(token)
    }

    pub(crate) async fn change(&self, id: &UserId, change: UserChange) -> User {
        self.auth.change_user(id, change).await.unwrap()
    }

    /// A token on the list, for whoever this is.
    pub(crate) fn issue(&self, whose: Whose) -> Result<String> {
        let new = NewToken { whose, name: Some("for a test".to_owned()), roles: vec![], grants: vec![], ttl: HOUR };
        Ok(self.auth.issue(&new)?.0)
    }

    pub(crate) async fn logout(&self, principal: &Principal) -> Result<()> {
        self.auth.logout(principal).await
    }

    pub(crate) fn mint(&self, user: &UserId, roles: &[Role]) -> String {
        self.auth.mint(user.clone(), roles, &[], HOUR).unwrap().0
    }

    /// What is revoked from now on.
    pub(crate) fn revocations(&self) -> Heard {
        let (sender, heard) = mpsc::channel(64);
        self.auth.watch_revocations(Arc::new(move |revocation| sender.try_send(revocation.clone()).unwrap()));
        Heard(heard)
    }
}

pub(crate) struct Heard(mpsc::Receiver<Revocation>);

impl Heard {
    /// What was heard up to now.
    pub(crate) fn so_far(&mut self) -> Vec<Revocation> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    pub(crate) async fn next(&mut self) -> Revocation {
        tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("nothing was heard").unwrap()
    }
}

pub(crate) fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.code(), code, "{error}");
    error
}
