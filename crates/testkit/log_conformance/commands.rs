//! The memory of commands.

use tidings_core::{
    Code, UserId,
    log::{Ended, Remembered},
};

use super::{Case, DAY, MINUTE, Make};

pub(super) async fn cases(make: Make<'_>) {
    a_command_is_remembered_with_its_answer(make).await;
    a_command_is_forgotten_after_a_day(make).await;
}

fn remembered(digest: &str, ended: Option<Ended>) -> Option<Remembered> {
    Some(Remembered { digest: digest.to_owned(), ended })
}

/// A good end with this answer.
fn well(answer: &str) -> Option<Ended> {
    Some(Ended { code: None, answer: Some(answer.to_owned()) })
}

async fn a_command_is_remembered_with_its_answer(make: Make<'_>) {
    let mut case = Case::new(make);
    let (one, two): (UserId, UserId) = ("u1".parse().expect("an id"), "u2".parse().expect("an id"));
    let log = case.log();
    assert_eq!(log.begin_command(&one, "c", "d1").await.expect("noted"), None);
    assert_eq!(log.begin_command(&one, "c", "d2").await.expect("reads"), remembered("d1", None), "it runs");
    assert_eq!(log.begin_command(&two, "c", "d2").await.expect("noted"), None, "another user's is another");
    log.end_command(&one, "c", well("{\"ok\":1}")).await.expect("kept");
    log.end_command(&two, "c", None).await.expect("forgotten");
    assert_eq!(log.begin_command(&two, "c", "d3").await.expect("noted"), None, "it began anew");
    case.restart().await;
    let log = case.log();
    assert_eq!(log.begin_command(&one, "c", "d1").await.expect("reads"), remembered("d1", well("{\"ok\":1}")));
    assert_eq!(log.begin_command(&two, "c", "d3").await.expect("reads"), remembered("d3", None), "it was cut short");
    let refused = Ended { code: Some(Code::NotFound), answer: Some("no".to_owned()) };
    log.begin_command(&one, "refused", "d1").await.expect("noted");
    log.end_command(&one, "refused", Some(refused.clone())).await.expect("kept");
    assert_eq!(log.begin_command(&one, "refused", "d1").await.expect("reads"), remembered("d1", Some(refused)));
    log.end_command(&one, "never begun", well("1")).await.expect("nothing happens");
    assert_eq!(log.begin_command(&one, "never begun", "d").await.expect("noted"), None);
    case.end().await;
}

async fn a_command_is_forgotten_after_a_day(make: Make<'_>) {
    let case = Case::new(make);
    let user: UserId = "u1".parse().expect("an id");
    case.log().begin_command(&user, "c", "d").await.expect("noted");
    case.log().end_command(&user, "c", well("1")).await.expect("kept");
    for _ in 0..25 {
        assert_eq!(case.log().begin_command(&user, "c", "d").await.expect("reads"), remembered("d", well("1")));
        case.clock.advance(DAY / 25 - MINUTE / 60);
        case.publish("test:tick", &["tick"]).await;
    }
    case.clock.advance(MINUTE);
    case.publish("test:tick", &["tick"]).await;
    assert_eq!(case.log().begin_command(&user, "c", "other").await.expect("noted"), None);
    case.end().await;
}
