//! The simulated log as the server sees it.
//!
//! Guarantees: every call that waits lets others go on, as often as the dice say, before it happens
//! and before it is answered.
//! It is not the log's thread: that is [`SimulatedLog::write`].

use super::*;

struct Slot {
    inside: Arc<Mutex<Inside>>,
    work: Arc<Notify>,
}

impl LogSlot for Slot {
    fn send(self: Box<Self>, publications: Vec<Publication>) -> Appended {
        let (to, answer) = oneshot::channel();
        let mut inside = self.inside.lock();
        if !inside.closed {
            inside.queue.push_back(Entry::Send(publications, to));
            self.work.notify_one();
        }
        drop(inside);
        Appended::new(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }
}

fn closed() -> Error {
    Error::unavailable("the log is closed")
}

impl EventLog for SimulatedLog {
    fn epoch(&self) -> Epoch {
        self.meanwhile();
        self.inside.lock().store.epoch.clone()
    }

    fn attach(&self, sink: Arc<dyn LogSink>) {
        self.inside.lock().sink = Some(sink);
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Box<dyn LogSlot>>> {
        Box::pin(async move { self.try_reserve(bytes) })
    }

    fn try_reserve(&self, _bytes: usize) -> Result<Box<dyn LogSlot>> {
        if self.inside.lock().closed {
            return Err(closed());
        }
        Ok(Box::new(Slot { inside: self.inside.clone(), work: self.work.clone() }))
    }

    fn read(&self, channel: &Channel, read: Read) -> BoxFuture<'_, Result<Page>> {
        let channel = channel.clone();
        Box::pin(async move { self.reading(&channel, |store| store.read(&channel, &read)).await })
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Committed>>> {
        Box::pin(async move { Ok(self.inside.lock().store.feed(after, limit)) })
    }

    fn facts(&self, channel: &Channel) -> BoxFuture<'_, Result<Option<ChannelFacts>>> {
        let channel = channel.clone();
        Box::pin(async move { self.reading(&channel, |store| store.facts(&channel)).await })
    }

    fn states(&self, channels: Vec<Channel>) -> BoxFuture<'_, Result<Vec<Option<SavedState>>>> {
        Box::pin(async move {
            let Some(first) = channels.first() else { return Ok(Vec::new()) };
            self.reading(first, |store| store.states(&channels)).await
        })
    }

    fn states_of_others(&self, query: OtherVersions) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        Box::pin(async move { Ok(self.inside.lock().store.states_of_others(&query)) })
    }

    fn states_are_of(&self, namespace: &str, version: u32) -> BoxFuture<'_, Result<()>> {
        self.inside.lock().store.states_are_of(namespace.to_owned(), version);
        Box::pin(async { Ok(()) })
    }

    fn list(&self, query: ListChannels) -> BoxFuture<'_, Result<Vec<ChannelFacts>>> {
        Box::pin(async move { Ok(self.inside.lock().store.list(&query)) })
    }

    fn save_state(&self, channel: &Channel, state: SavedState, settled: bool) -> BoxFuture<'_, Result<()>> {
        let (to, saved) = oneshot::channel();
        self.enter(Entry::Save(channel.clone(), state, settled, to));
        Box::pin(async move { saved.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn delete(&self, channel: &Channel) -> BoxFuture<'_, Result<()>> {
        let (to, deleted) = oneshot::channel();
        self.enter(Entry::Delete(channel.clone(), to));
        Box::pin(async move { deleted.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn begin_command(&self, _: &UserId, _: &str, _: &str) -> BoxFuture<'_, Result<Option<Remembered>>> {
        Box::pin(async { Err(Error::unavailable("a simulated log has no commands")) })
    }

    fn end_command(&self, _: &UserId, _: &str, _: Option<&str>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Err(Error::unavailable("a simulated log has no commands")) })
    }

    fn status(&self) -> LogStatus {
        let inside = self.inside.lock();
        LogStatus { waiting: inside.queue.len(), healthy: !inside.closed, file_bytes: 0 }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let mut inside = self.inside.lock();
        inside.closed = true;
        // Whoever hears of the log holds it: the circle ends here.
        let sink = inside.sink.take();
        inside.queue.clear();
        inside.next.clear();
        drop(inside);
        drop(sink);
        Box::pin(async {})
    }
}

impl fmt::Debug for SimulatedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedLog")
    }
}
