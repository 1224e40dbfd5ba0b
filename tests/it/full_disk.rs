//! A disk that is full when the server starts: it comes up, says why it is not ready, and goes on by itself.
//!
//! Guarantees: the disk is a small one of the test's own, which only its servers see; it is gone with the test. Where
//! the machine allows no mount, the tests say so and are skipped.
//! They are not the chaos run: nobody is connected here.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Server, eventually};

/// The least that a disk needs for a reserve of this size is 32 MiB more.
const CONFIG: &str = "log.reserve_bytes = \"8MiB\"\n";
const DISK: &str = "size=64m";

/// A small disk at `data` in a home: a process holds the mount, in which servers are started.
struct Disk {
    holder: Child,
    data: PathBuf,
    /// How a program is started so that it sees the disk.
    before: Vec<String>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

impl Disk {
    /// None where the machine does not allow it.
    fn mount(home: &TempDir) -> Option<Self> {
        let place = home.path().join("data");
        fs::create_dir_all(&place).expect("a folder");
        let kinds: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
        let mounted = kinds.into_iter().find_map(|kind| {
            let mount = "mount -t tmpfs -o \"$1\" tidings-it \"$2\" && echo mounted && exec sleep infinity";
            let mut command = Command::new("unshare");
            command.args(kind).args(["--", "sh", "-c", mount, "sh", DISK]).arg(&place);
            let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut line = String::new();
            let output = holder.stdout.take().expect("piped");
            drop(BufReader::new(output).read_line(&mut line));
            if line.trim() == "mounted" {
                return Some((holder, kind.len() > 1));
            }
            drop(holder.kill());
            drop(holder.wait());
            None
        });
        let Some((holder, with_user)) = mounted else {
            writeln!(std::io::stderr(), "skipped: this machine allows no mount of a test's own").expect("says so");
            return None;
        };
        let pid = holder.id();
        let mut before = vec!["nsenter".to_owned(), "--target".to_owned(), pid.to_string(), "--mount".to_owned()];
        if with_user {
            before.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        // Entering a namespace loses the directory that a program was started in.
        before.push(format!("--wdns={}", home.path().display()));
        before.push("--".to_owned());
        let seen = format!("/proc/{pid}/root{}", place.display());
        Some(Self { holder, data: seen.into(), before })
    }

    /// Takes all room that there is, to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.data.join("greed")).expect("a file");
        for size in [1 << 20, 4096, 1] {
            let chunk = vec![0x5a_u8; size];
            while file.write_all(&chunk).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.data.join("greed")).expect("was there");
    }

    /// The reserve was needed in a former life.
    fn spend_reserve(&self) {
        fs::remove_file(self.data.join("reserve")).expect("was there");
    }
}

fn event(n: u64) -> Value {
    json!({"type": "user.note", "data": {"userId": "x", "n": n, "filling": "x".repeat(20_000)}})
}

const EACH: u64 = 100;

/// A server with two megabytes of messages on a small disk of its own; none where there can be no such disk.
async fn started() -> Option<(Server, Disk, String)> {
    let home = tempfile::tempdir().expect("a directory");
    let disk = Disk::mount(&home)?;
    fs::write(home.path().join("tidings.toml"), CONFIG).expect("writes");
    let server = Server::start_within(home, &disk.before);
    let bearer = server.admin();
    for from in (1..=EACH).step_by(10) {
        server.publish(&bearer, (from..from + 10).map(event).collect()).await;
    }
    assert!(disk.data.join("reserve").is_file(), "{}", server.said());
    Some((server, disk, bearer))
}

/// The first and the newest number, and the epoch.
async fn standing(server: &Server, bearer: &str) -> (u64, u64, String) {
    let page = server.get("/api/channels/user:x/events?limit=1", bearer).await.json();
    let number = |name: &str| page[name].as_u64().expect("a number");
    (number("first"), number("head"), page["epoch"].as_str().expect("a text").to_owned())
}

async fn is_ready(server: &Server) -> bool {
    server.get("/health/ready", "").await.status == 200
}

/// It lives, says why it is not ready, takes nothing, and says the same in its log.
async fn waits_for_room(server: &Server, bearer: &str) {
    let names_the_disk = async || {
        let ready = server.get("/health/ready", "").await;
        assert_ne!(ready.status, 200, "there is no room");
        ready.status == 503 && ready.text().contains("the disk is full")
    };
    eventually("it says why it is not ready", names_the_disk).await;
    assert_eq!(server.get("/health/live", "").await.status, 200);
    let refused = server.post("/api/events", bearer, event(0)).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("unavailable")), "{}", refused.text());
    assert!(server.said().contains("the disk is full"), "{}", server.said());
}

/// What was there is there, under the same numbers, and more goes in.
async fn goes_on(server: &Server, bearer: &str, before: &(u64, u64, String)) {
    eventually("it is ready", async || is_ready(server).await).await;
    let (first, head, epoch) = standing(server, bearer).await;
    assert_eq!((first, head, &epoch), (before.0, before.1, &before.2));
    let place = server.publish(bearer, json!([event(head + 1)])).await;
    assert_eq!(place[0]["seq"], head + 1);
}

#[tokio::test]
async fn on_a_full_disk_it_starts_with_its_reserve_and_goes_on() {
    let Some((mut server, disk, bearer)) = started().await else { return };
    let (_, head, epoch) = standing(&server, &bearer).await;
    for kills in [false, true] {
        if kills {
            server.kill()
        } else {
            server.stop()
        }
        if kills {
            // Between the two the reserve is made again, as on a disk that somebody has tidied.
            disk.free();
            server.start_again();
            eventually("there is a reserve", async || {
                server.post("/api/events", &bearer, event(0)).await;
                disk.data.join("reserve").is_file()
            })
            .await;
            server.kill();
        }
        disk.fill();
        server.start_again();
        eventually("it is ready", async || is_ready(&server).await).await;
        let (first, now, same) = standing(&server, &bearer).await;
        assert!(first <= now && now >= head && same == epoch, "{first} to {now} in {same}");
        let place = server.publish(&bearer, json!([event(0)])).await;
        assert_eq!(place[0]["seq"], now + 1);
        assert!(server.said().contains("the disk is full: the log gives up its reserve"), "{}", server.said());
    }
    server.stop();
}

#[tokio::test]
async fn on_a_disk_that_is_full_to_the_last_byte_it_comes_up_and_waits_for_room() {
    let Some((mut server, disk, bearer)) = started().await else { return };
    let before = standing(&server, &bearer).await;
    server.stop();
    disk.spend_reserve();
    disk.fill();
    server.start_again();
    waits_for_room(&server, &bearer).await;
    disk.free();
    goes_on(&server, &bearer, &before).await;
    server.stop();
}

#[tokio::test]
async fn after_a_kill_on_a_full_disk_it_comes_up_and_waits_for_room() {
    let Some((mut server, disk, bearer)) = started().await else { return };
    let before = standing(&server, &bearer).await;
    disk.spend_reserve();
    server.kill();
    disk.fill();
    server.start_again();
    waits_for_room(&server, &bearer).await;
    // Once more, as an operator does who does not read.
    server.kill();
    server.start_again();
    waits_for_room(&server, &bearer).await;
    disk.free();
    goes_on(&server, &bearer, &before).await;
    server.stop();
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_waits_and_ends_when_it_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let Some(disk) = Disk::mount(&home) else { return };
    disk.fill();
    let mut server = Server::start_within(home, &disk.before);
    waits_for_room(&server, "").await;
    server.stop();
    server.start_again();
    waits_for_room(&server, "").await;
    disk.free();
    eventually("it is ready", async || is_ready(&server).await).await;
    let bearer = server.admin();
    assert_eq!(server.publish(&bearer, json!([event(1)])).await[0]["seq"], 1);
    let left: Vec<_> =
        fs::read_dir(&disk.data).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".new")), "{left:?}");
    server.stop();
}
