//! `tidings tail` through what networks and people do: cuts, dead cables, stopped programs, restarts.
//!
//! Guarantees: the real program, the real server; every line is compared with what was published.
//! They are not tests of its options: see `commands`.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    cable::Cable,
    running::Running,
    server::{Server, eventually, notes, tidings},
};

/// A running `tidings tail` of `session:1`, from its beginning.
fn tail(server: &Server, listen: &str) -> Running {
    let mut command = tidings(server.home());
    command.args(["--listen", listen, "tail", "session:1", "--since", "0", "--json"]);
    Running::start(command.env("TIDINGS_TOKEN", server.admin()))
}

/// The numbers of its next lines, up to this one.
fn notes_to(tail: &Running, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let message: Value = serde_json::from_str(&tail.line()).expect("JSON");
        seen.extend(message["data"]["n"].as_u64());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_prints_each_message_once_through_cuts_dead_cables_a_stop_of_its_own_and_a_killed_server() {
    let mut server = Server::start("socket.ping_interval_ms = 1000\nsocket.ping_timeout_ms = 1000\n");
    let admin = server.admin();
    let address = server.url().trim_start_matches("http://").parse().expect("an address");
    let cable = Cable::to(address);
    let tail = tail(&server, &cable.address());
    let expect = |last: u64, from: u64| {
        let seen = tokio::task::block_in_place(|| notes_to(&tail, last));
        assert_eq!(seen, (from..=last).collect::<Vec<_>>());
    };
    server.publish(&admin, notes("1", 1..=10)).await;
    expect(10, 1);
    cable.cut();
    server.publish(&admin, notes("1", 11..=20)).await;
    expect(20, 11);
    // Nobody is told, so both ends have to find out.
    cable.go_dead();
    server.publish(&admin, notes("1", 21..=30)).await;
    expect(30, 21);
    let silent = "tidings_connections_ended_total{code=\"silent\"}";
    eventually("the server let the dead one go", async || server.metric(silent).await == 1.0).await;
    server.kill();
    server.start_again();
    server.publish(&admin, notes("1", 31..=40)).await;
    expect(40, 31);
    // Longer than the server waits for a sign, with more than the sockets hold.
    tail.signal(Signal::STOP);
    let filling = "x".repeat(10_000);
    for n in 41..=540 {
        let note = json!({"type": "session.note", "channel": "session:1", "data": {"sessionId": "1", "n": n, "filling": filling}});
        server.publish(&admin, note).await;
    }
    eventually("the server let the stopped one go", async || server.metric(silent).await == 1.0).await;
    tail.signal(Signal::CONT);
    let seen = tokio::task::block_in_place(|| notes_to(&tail, 540));
    assert_eq!(seen, (41..=540).collect::<Vec<_>>());
}
