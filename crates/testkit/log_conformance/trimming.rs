//! Retention: what goes, when, and what never goes.

use tidings_core::{
    Seq,
    handler::Retention,
    log::{Read, SavedState},
};

use super::{ALL, Case, DAY, KEEP_ALL, MINUTE, Make, name, numbers};

pub(super) async fn cases(make: Make<'_>) {
    the_oldest_go_by_count(make).await;
    the_oldest_go_by_bytes(make).await;
    the_oldest_go_by_age(make).await;
    nothing_goes_that_is_not_in_a_saved_state(make).await;
    a_trimmed_channel_counts_on_after_a_restart(make).await;
}

async fn the_oldest_go_by_count(make: Make<'_>) {
    let case = Case::keeping(make, Retention { messages: 5, ..KEEP_ALL }, &[]);
    for _ in 0..10 {
        case.publish("test:a", &["x", "y"]).await;
    }
    case.publish("test:b", &["1", "2", "3"]).await;
    case.sink.until_trimmed(&name("test:a"), 16).await;
    let page = case.kept("test:a").await;
    assert_eq!((numbers(&page.messages), page.first, page.head), (vec![16, 17, 18, 19, 20], 16, 20));
    let early = case.read("test:a", Read { after: 3, limit: 2, ..ALL }).await;
    assert_eq!(numbers(&early.messages), [16, 17], "a read of what is gone begins with what is kept");
    assert_eq!(case.kept("test:b").await.messages.len(), 3);
    let facts = case.log().facts(&name("test:a")).await.expect("reads").expect("known");
    assert_eq!((facts.first, facts.head, facts.bytes), (16, 20, 5 * r#"{"text":"x"}"#.len() as u64));
    case.end().await;
}

async fn the_oldest_go_by_bytes(make: Make<'_>) {
    let case = Case::keeping(make, Retention { bytes: 1000, ..KEEP_ALL }, &[]);
    let hundred = "x".repeat(100 - r#"{"text":""}"#.len());
    case.publish("test:a", &vec![hundred.as_str(); 25]).await;
    case.sink.until_trimmed(&name("test:a"), 16).await;
    let facts = case.log().facts(&name("test:a")).await.expect("reads").expect("known");
    assert_eq!((facts.first, facts.head, facts.bytes), (16, 25, 1000));
    case.end().await;
}

async fn the_oldest_go_by_age(make: Make<'_>) {
    let case = Case::keeping(make, Retention { age_ms: 60 * 60 * 1000, ..KEEP_ALL }, &[]);
    case.publish("test:a", &["1", "2"]).await;
    // In steps, since a log may distrust a clock that leaps.
    for _ in 0..45 {
        case.clock.advance(MINUTE);
        case.publish("test:tick", &["tick"]).await;
    }
    case.publish("test:a", &["3"]).await;
    assert_eq!(case.kept("test:a").await.first, 1, "nothing goes early");
    for _ in 0..30 {
        case.clock.advance(MINUTE);
        case.publish("test:tick", &["tick"]).await;
    }
    case.sink.until_trimmed(&name("test:a"), 3).await;
    assert_eq!(numbers(&case.kept("test:a").await.messages), [3]);
    case.end().await;
}

async fn nothing_goes_that_is_not_in_a_saved_state(make: Make<'_>) {
    let case = Case::keeping(make, Retention { messages: 2, ..KEEP_ALL }, &["test"]);
    case.publish("test:a", &["1", "2", "3", "4", "5", "6"]).await;
    case.publish("free:a", &["1", "2", "3", "4", "5", "6"]).await;
    let through = case.sink.until_state_wanted(&name("test:a")).await;
    assert_eq!(through, 4);
    case.sink.until_trimmed(&name("free:a"), 5).await;
    assert_eq!(case.kept("test:a").await.first, 1, "not without a state");
    let save = |seq: Seq| SavedState { seq, version: 1, bytes: vec![1] };
    case.log().save_state(&name("test:a"), save(2), false).await.expect("saved");
    case.sink.until_trimmed(&name("test:a"), 3).await;
    assert_eq!(case.kept("test:a").await.first, 3, "not beyond the state");
    case.log().save_state(&name("test:a"), save(6), false).await.expect("saved");
    case.sink.until_trimmed(&name("test:a"), 5).await;
    assert_eq!(numbers(&case.kept("test:a").await.messages), [5, 6], "not more than the retention says");
    let facts = case.log().facts(&name("test:a")).await.expect("reads").expect("known");
    assert_eq!(facts.saved, Some(save(6).at()));
    assert_eq!(case.state("test:a").await, Some(save(6)));
    case.end().await;
}

async fn a_trimmed_channel_counts_on_after_a_restart(make: Make<'_>) {
    let mut case = Case::keeping(make, Retention { age_ms: 1000, ..KEEP_ALL }, &[]);
    case.publish("test:a", &["1", "2", "3"]).await;
    for _ in 0..30 {
        case.clock.advance(MINUTE / 2);
        case.publish("test:tick", &["tick"]).await;
    }
    case.sink.until_trimmed(&name("test:a"), 4).await;
    for _ in 0..2 {
        let page = case.kept("test:a").await;
        assert_eq!((page.messages.len(), page.first, page.head), (0, 4, 3), "empty, but not forgotten");
        case.restart().await;
    }
    assert_eq!(case.publish("test:a", &["4"]).await, 4);
    case.clock.advance(DAY / 2);
    case.end().await;
}
