//! A log that fails, panics, or takes nothing: nothing is lost, doubled or left open.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt, future::join};
use serde_json::json;
use tidings_core::Code;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
};

use super::house::{Bus, Fault, House};
use crate::programs::reader::{Reader, Watched};
use crate::session::{
    contract::{SessionId, Stream},
    output::{Meter, PIECE_BYTES, Pump, QUEUE, Record, tell_all},
    telling::Telling,
};

#[tokio::test]
async fn output_that_the_log_refused_or_took_without_saying_so_comes_once() {
    let house = House::new();
    // The first send is the start; the next ones are output, in whatever units it forms.
    house.memory.fail(&[Fault::None, Fault::Lost, Fault::Kept, Fault::Lost, Fault::Lost, Fault::None, Fault::Kept]);
    let id = house.sh("seq 20000; read x; seq 20001 40000").await;
    house.until_printed(&id, "\n20000\n").await;
    house.say(&id, "on", Some("k")).await.ok();
    house.say(&id, "on", Some("k")).await.expect("accepted at last");
    house.memory.fail(&[Fault::Kept, Fault::Lost, Fault::Kept, Fault::Lost]);
    house.memory.fail_reads(1);
    assert_eq!(house.end(&id).await.0, "session.completed");
    let expected: String = (1..=40_000).map(|number| format!("{number}\n")).collect();
    assert!(house.printed(&id, Stream::Stdout) == expected);
    house.close().await;
}

#[tokio::test]
async fn a_start_that_the_log_refuses_is_told_to_its_caller_and_leaves_nothing_open() {
    let house = House::new();
    let request = json!({"projectId": "p1", "command": ["true"], "idempotencyKey": "k"});
    house.memory.fail(&[Fault::Lost; 3]);
    let refused = house.try_start("u1", request.clone()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    // Until it is known that nothing was kept, a repeat gets the same answer.
    let id = loop {
        match house.try_start("u1", request.clone()).await {
            Ok(id) => break id,
            Err(error) => assert_eq!(error.code(), Code::Unavailable),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(house.end(&id).await.0, "session.completed");
    house.close().await;
}

#[tokio::test]
async fn a_start_that_was_kept_without_saying_so_goes_on() {
    let house = House::new();
    house.memory.fail(&[Fault::Kept]);
    let id = house.sh("echo up").await;
    assert_eq!(house.end(&id).await.0, "session.completed");
    assert_eq!(house.types(&id).iter().filter(|name| *name == "session.started").count(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_task_that_panics_still_gives_its_session_an_end_and_kills_its_program() {
    let house = House::new();
    house.memory.fail(&[Fault::None, Fault::Panic]);
    let id = house.sh("echo $$; sleep 600").await;
    let (name, data) = house.end(&id).await;
    assert_eq!((name.as_str(), &data["code"]), ("session.error", &json!("internal")));
    assert!(!house.sessions.runs(&id));
    house.close().await;
}

#[tokio::test]
async fn a_program_that_prints_faster_than_the_log_takes_it_is_held_back() {
    const PIPE: usize = 64 * 1024;
    let house = House::new();
    let id: SessionId = "s1".parse().expect("an id");
    let (mut program, source) = tokio::io::duplex(PIPE);
    let (items, queue) = mpsc::channel(QUEUE);
    let (killed, rest) = watch::channel(false);
    let pump = Pump { stream: Stream::Stdout, redaction: house.sessions.config.redaction.clone(), items };
    let meter = Arc::new(Meter::new(0, house.clock.clone()));
    let source = Reader::new(source, Watched { meter, killed: rest, over: Arc::new(|| ()) });
    let bus = Arc::new(Bus(house.memory.clone()));
    let telling = Telling { bus, states: house.memory.clone(), id: id.clone() };
    house.memory.hold(true);
    let mut reading = pin!(join(pump.run(source), tell_all(&telling, Record::default(), queue)).fuse());
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let mut written = 0;
    // Nothing here waits for anything but the other side: when neither moves, the program is blocked.
    let mut idle = 0;
    while idle < 100 {
        assert!(futures_util::poll!(reading.as_mut()).is_pending());
        match program.write(&line).now_or_never() {
            Some(count) => {
                written += count.expect("open");
                idle = 0;
            }
            None => idle += 1,
        }
    }
    let bounds = PIPE..=PIPE + (2 * QUEUE + 3) * PIECE_BYTES;
    assert!(bounds.contains(&written), "{written} bytes were taken");
    house.memory.hold(false);
    drop(program);
    let ((), told) = reading.await;
    told.expect("told");
    assert_eq!(house.printed(&id, Stream::Stdout).len(), written);
    drop(killed);
    house.close().await;
}
