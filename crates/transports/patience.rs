//! How long a client is waited for that is to send or to read: a time, and a least rate.
//!
//! Guarantees: only the time counts in which the server waits for the client; each byte that passes gives time back,
//! never more than there was at first, so a client that stops is given up after that time, and one that is slower than
//! the rate when it has used it up; nothing is armed and nothing allocated while nobody is waited for.
//! It is not the end of what waits: whoever asks here ends that, and counts it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// What a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long it is waited for without a byte. Zero: for ever.
    pub time: Duration,
    /// How many bytes give a second of it back. Zero: each byte gives back all of it.
    pub bytes_per_second: u64,
}

/// What a client has for each direction.
#[derive(Debug, Clone, Copy)]
pub struct Patiences {
    /// To send the body of a request.
    pub body: Patience,
    /// To read an answer.
    pub answer: Patience,
}

/// What a client has left of it.
#[derive(Debug)]
pub struct Wait {
    patience: Patience,
    left: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// All of it.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, left: patience.time, since: None, timer: None }
    }

    /// The client is waited for, from the first such call on. Ready when it is to be given up; until then whoever
    /// asks is woken at that time.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.patience.time.is_zero() {
            return Poll::Pending;
        }
        let due = *self.since.get_or_insert_with(Instant::now) + self.left;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(context)
    }

    /// So many bytes have passed: it is not waited for any more.
    pub fn passed(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.timer = None;
            self.left = self.left.saturating_sub(since.elapsed());
        }
        if self.left < self.patience.time {
            self.left = self.left.saturating_add(self.worth(bytes)).min(self.patience.time);
        }
    }

    /// The time that so many bytes give back.
    fn worth(&self, bytes: usize) -> Duration {
        match (bytes, self.patience.bytes_per_second) {
            (0, _) => Duration::ZERO,
            (_, 0) => self.patience.time,
            (bytes, rate) => {
                let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(rate);
                Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    const PATIENCE: Patience = Patience { time: Duration::from_secs(10), bytes_per_second: 1000 };

    /// How many seconds a client lives that sends so many bytes at a time, after each pause of so many seconds; at most
    /// a day.
    async fn life(patience: Patience, (bytes, pause): (usize, u32)) -> u64 {
        let (mut wait, begin) = (Wait::new(patience), Instant::now());
        while begin.elapsed() < DAY {
            if timeout(SECOND * pause, poll_fn(|context| wait.poll(context))).await.is_ok() {
                break;
            }
            wait.passed(bytes);
        }
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_or_is_slower_than_the_rate_is_given_up_and_nobody_else() {
        let table = [
            ("nothing at all", PATIENCE, (0, 1_000_000), 10),
            ("a pause that is longer, after bytes for an hour", PATIENCE, (3_600_000, 11), 10),
            ("a byte a second", PATIENCE, (1, 1), 10),
            ("half the rate", PATIENCE, (500, 1), 19),
            ("the rate", PATIENCE, (1000, 1), 86_400),
            ("the rate, with pauses", PATIENCE, (9000, 9), 86_400),
            ("no least rate", Patience { bytes_per_second: 0, ..PATIENCE }, (1, 9), 86_400),
            ("no least rate, and nothing", Patience { bytes_per_second: 0, ..PATIENCE }, (0, 9), 10),
            ("no limit", Patience { time: Duration::ZERO, ..PATIENCE }, (0, 9), 86_400),
        ];
        for (what, patience, client, seconds) in table {
            let life = life(patience, client).await;
            assert!((seconds..=seconds + 9).contains(&life), "{what}: {life}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_does_not_count() {
        let mut wait = Wait::new(PATIENCE);
        for _ in 0..100 {
            advance(SECOND * 9).await;
            wait.passed(1);
        }
        assert!(wait.timer.is_none());
        let begin = Instant::now();
        poll_fn(|context| wait.poll(context)).await;
        assert_eq!(begin.elapsed().as_secs(), 10);
    }
}
