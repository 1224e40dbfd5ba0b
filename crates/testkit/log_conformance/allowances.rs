//! What users may have in a log besides messages.

use tidings_core::{
    Code, Result, UserId,
    bus::Placed,
    log::{Allowances, Ended, Opens, Publication},
};

use super::{Case, DAY, MINUTE, Make, Setup, said, seqs, with_id};

pub(super) async fn cases(make: Make<'_>) {
    at_a_users_bound_the_oldest_answers_go_and_no_command_is_forgotten(make).await;
    at_the_bound_of_all_the_oldest_answers_go_whosever_they_are(make).await;
    a_long_answer_is_not_kept_and_nothing_goes_for_it(make).await;
    beyond_the_bound_of_commands_new_ones_are_refused_until_old_ones_are_forgotten(make).await;
    beyond_the_bound_of_ids_a_user_publishes_without(make).await;
    beyond_the_bound_of_channels_a_user_makes_no_more_that_day(make).await;
    without_a_bound_nothing_is_refused(make).await;
}

fn allowing(make: Make<'_>, allowed: Allowances) -> Case {
    Case::with(make, |setup| Setup { allowed, ..setup })
}

fn user(name: &str) -> UserId {
    name.parse().expect("an id")
}

/// Runs a command that ends so.
async fn run(case: &Case, user: &UserId, id: &str, code: Option<Code>, answer: String) -> Result<()> {
    let known = case.log().begin_command(user, id, "d").await?;
    assert_eq!(known, None, "{id} is new");
    case.log().end_command(user, id, Some(Ended { code, answer: Some(answer) })).await
}

/// How a command ended, as it is remembered, with how long its answer is.
async fn known(case: &Case, user: &UserId, id: &str) -> (Option<Code>, Option<usize>) {
    let known = case.log().begin_command(user, id, "d").await.expect("reads").expect("it is known");
    let ended = known.ended.expect("it ended");
    (ended.code, ended.answer.map(|answer| answer.len()))
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

async fn at_a_users_bound_the_oldest_answers_go_and_no_command_is_forgotten(make: Make<'_>) {
    let mut case = allowing(make, Allowances { answers_per_user: 1000, ..Allowances::default() });
    let (one, two) = (user("u1"), user("u2"));
    run(&case, &two, "a", None, text(900)).await.expect("kept");
    for (id, code) in [("a", None), ("b", Some(Code::Conflict)), ("c", None)] {
        run(&case, &one, id, code, text(300)).await.expect("kept");
        case.clock.advance(MINUTE);
    }
    run(&case, &one, "d", None, text(500)).await.expect("kept");
    case.restart().await;
    assert_eq!(known(&case, &one, "a").await, (None, None));
    assert_eq!(known(&case, &one, "b").await, (Some(Code::Conflict), None), "its code stays");
    assert_eq!(known(&case, &one, "c").await, (None, Some(300)), "no more go than must");
    assert_eq!(known(&case, &one, "d").await, (None, Some(500)));
    assert_eq!(known(&case, &two, "a").await, (None, Some(900)), "nobody else's goes");
    run(&case, &one, "e", None, text(200)).await.expect("it fits exactly, also after a restart");
    assert_eq!(known(&case, &one, "c").await, (None, Some(300)));
    run(&case, &one, "f", None, text(1)).await.expect("kept");
    assert_eq!(known(&case, &one, "c").await, (None, None));
    case.end().await;
}

async fn at_the_bound_of_all_the_oldest_answers_go_whosever_they_are(make: Make<'_>) {
    let case = allowing(make, Allowances { answers_per_user: 600, answers: 1000, ..Allowances::default() });
    for (whose, id) in [("u1", "a"), ("u2", "b"), ("u3", "c"), ("u1", "d")] {
        run(&case, &user(whose), id, None, text(300)).await.expect("kept");
        case.clock.advance(MINUTE);
    }
    assert_eq!(known(&case, &user("u1"), "a").await, (None, None));
    for (whose, id) in [("u2", "b"), ("u3", "c"), ("u1", "d")] {
        assert_eq!(known(&case, &user(whose), id).await, (None, Some(300)));
    }
    run(&case, &user("u1"), "e", None, text(300)).await.expect("the user's own bound counts what is left");
    assert_eq!(known(&case, &user("u1"), "d").await, (None, Some(300)));
    assert_eq!(known(&case, &user("u2"), "b").await, (None, None));
    case.end().await;
}

async fn a_long_answer_is_not_kept_and_nothing_goes_for_it(make: Make<'_>) {
    let case = allowing(make, Allowances { answers_per_user: 100_000, ..Allowances::default() });
    let one = user("u1");
    run(&case, &one, "a", None, text(50_000)).await.expect("kept");
    run(&case, &one, "long", None, text(Allowances::LONGEST_ANSWER + 1)).await.expect("noted");
    run(&case, &one, "longest", None, text(Allowances::LONGEST_ANSWER)).await.expect("kept");
    assert_eq!(known(&case, &one, "long").await, (None, None));
    assert_eq!(known(&case, &one, "longest").await, (None, Some(Allowances::LONGEST_ANSWER)));
    assert_eq!(known(&case, &one, "a").await, (None, None), "that one had to go");
    case.end().await;
    let case = allowing(make, Allowances { answers_per_user: 10, ..Allowances::default() });
    run(&case, &one, "a", None, text(10)).await.expect("kept");
    run(&case, &one, "b", Some(Code::NotFound), text(11)).await.expect("noted");
    assert_eq!(known(&case, &one, "a").await, (None, Some(10)));
    assert_eq!(known(&case, &one, "b").await, (Some(Code::NotFound), None));
    case.end().await;
}

async fn beyond_the_bound_of_commands_new_ones_are_refused_until_old_ones_are_forgotten(make: Make<'_>) {
    let mut case = allowing(make, Allowances { commands_per_user: 3, ..Allowances::default() });
    let (one, two) = (user("u1"), user("u2"));
    for id in ["a", "b", "c"] {
        run(&case, &one, id, None, text(1)).await.expect("noted");
    }
    case.restart().await;
    let refused = case.log().begin_command(&one, "d", "d").await.expect_err("too many");
    assert_eq!(refused.code(), Code::Overloaded);
    assert_eq!(known(&case, &one, "a").await, (None, Some(1)), "nothing old goes");
    run(&case, &two, "d", None, text(1)).await.expect("nobody else is refused");
    // What did not happen makes room.
    case.log().end_command(&one, "b", None).await.expect("forgotten");
    run(&case, &one, "d", None, text(1)).await.expect("noted");
    assert_eq!(case.log().begin_command(&one, "e", "d").await.expect_err("too many").code(), Code::Overloaded);
    pass_a_day(&case).await;
    for id in ["e", "f", "a"] {
        run(&case, &one, id, None, text(1)).await.expect("a day is over");
    }
    assert_eq!(case.log().begin_command(&one, "g", "d").await.expect_err("too many").code(), Code::Overloaded);
    case.end().await;
}

/// A day and a little, in steps, since a log may distrust a clock that leaps.
async fn pass_a_day(case: &Case) {
    for _ in 0..25 {
        case.clock.advance(DAY / 24);
        case.publish("test:tick", &["tick"]).await;
    }
}

async fn send_for(case: &Case, user: &UserId, publications: Vec<Publication>) -> Result<Vec<Placed>> {
    case.log().reserve(1024).await?.send_for(user.clone(), publications).await
}

fn by(user: &UserId, channel: &str, id: &str) -> Publication {
    let mut publication = with_id(said(channel, "x"), id);
    publication.event.by = Some(user.clone());
    publication
}

async fn beyond_the_bound_of_ids_a_user_publishes_without(make: Make<'_>) {
    let mut case = allowing(make, Allowances { ids_per_user: 3, ..Allowances::default() });
    let (one, two) = (user("u1"), user("u2"));
    send_for(&case, &one, vec![by(&one, "test:a", "1"), by(&one, "test:b", "1")]).await.expect("durable");
    let refused = send_for(&case, &one, vec![by(&one, "test:a", "2"), by(&one, "test:a", "3")]).await;
    assert_eq!(refused.expect_err("one too many, so none").code(), Code::Overloaded);
    let placed = send_for(&case, &one, vec![by(&one, "test:a", "2")]).await.expect("the refused send did not count");
    assert_eq!(seqs(&placed), [Some(2)], "and took no number");
    case.restart().await;
    assert_eq!(
        send_for(&case, &one, vec![by(&one, "test:a", "3")]).await.expect_err("too many").code(),
        Code::Overloaded
    );
    let repeat = send_for(&case, &one, vec![by(&one, "test:a", "2")]).await.expect("nothing old goes");
    assert_eq!(seqs(&repeat), [Some(2)]);
    let placed = send_for(&case, &one, vec![said("test:a", "without")]).await.expect("it needs none");
    assert_eq!(seqs(&placed), [Some(3)]);
    send_for(&case, &two, vec![by(&two, "test:a", "1")]).await.expect("nobody else is refused");
    case.send(vec![by(&one, "test:a", "the server's")]).await.expect("what the server says for a user is not counted");
    pass_a_day(&case).await;
    for id in ["1", "2", "3"] {
        let placed = send_for(&case, &one, vec![by(&one, "test:c", id)]).await.expect("a day is over");
        assert_eq!(placed.len(), 1);
    }
    assert_eq!(
        send_for(&case, &one, vec![by(&one, "test:c", "4")]).await.expect_err("too many").code(),
        Code::Overloaded
    );
    case.end().await;
}

async fn beyond_the_bound_of_channels_a_user_makes_no_more_that_day(make: Make<'_>) {
    let mut case = allowing(make, Allowances { channels_per_user: 3, ..Allowances::default() });
    let (one, two) = (user("u1"), user("u2"));
    send_for(&case, &one, vec![said("test:a", "x"), said("test:b", "x"), said("test:a", "x")]).await.expect("durable");
    let refused = send_for(&case, &one, vec![said("test:c", "x"), said("test:d", "x")]).await;
    assert_eq!(refused.expect_err("one too many, so none").code(), Code::Overloaded);
    assert!(case.log().facts(&super::name("test:c")).await.expect("reads").is_none());
    send_for(&case, &one, vec![said("test:c", "x")]).await.expect("the refused send did not count");
    case.restart().await;
    let opening = |channel: &str, owner: &UserId| {
        let opens = Opens { owner: Some(owner.clone()), project: None };
        vec![Publication { opens: Some(opens), ..said(channel, "opened") }]
    };
    let refused = [
        send_for(&case, &one, vec![said("test:d", "x")]).await,
        case.send(opening("test:d", &one)).await,
        case.send([opening("test:e", &two), opening("test:d", &one)].concat()).await,
    ];
    for refused in refused {
        assert_eq!(refused.expect_err("too many").code(), Code::Overloaded);
    }
    assert!(case.log().facts(&super::name("test:e")).await.expect("reads").is_none(), "all of a send or nothing");
    send_for(&case, &one, vec![said("test:a", "x")]).await.expect("a channel that is there is not new");
    send_for(&case, &two, vec![said("test:d", "x")]).await.expect("nobody else is refused");
    case.send(vec![said("test:f", "x")]).await.expect("what the server makes for nobody is not counted");
    pass_a_day(&case).await;
    case.send(opening("test:g", &one)).await.expect("another day");
    case.end().await;
}

async fn without_a_bound_nothing_is_refused(make: Make<'_>) {
    let none =
        Allowances { answers_per_user: 0, answers: 0, commands_per_user: 0, ids_per_user: 0, channels_per_user: 0 };
    let case = allowing(make, none);
    let one = user("u1");
    for n in 0..5 {
        run(&case, &one, &n.to_string(), None, text(100)).await.expect("kept");
        send_for(&case, &one, vec![by(&one, &format!("test:{n}"), "id")]).await.expect("durable");
    }
    assert_eq!(known(&case, &one, "0").await, (None, Some(100)));
    case.end().await;
}
