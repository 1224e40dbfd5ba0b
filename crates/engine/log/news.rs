//! What the log's sink is to hear, and how it is told.
//!
//! Guarantees: in order; messages that follow each other come as one batch; a sink that panics takes
//! nothing with it and hears that it missed something.
//! It is not a queue: the writer tells at once, on its own thread.

use std::mem;

use tidings_core::{
    Channel, Seq,
    log::{Committed, LogSink},
    panics::caught,
};

/// Something that the sink is to hear.
#[derive(Debug)]
pub(super) enum News {
    Committed(Vec<Committed>),
    Trimmed(Channel, Seq),
    StateWanted(Channel, Seq),
    Deleted(Channel),
    Uncertain,
}

/// Tells all of it, in order.
pub(super) fn tell(sink: &dyn LogSink, news: Vec<News>) {
    let mut committed = Vec::new();
    for news in news {
        match news {
            News::Committed(more) => committed.extend(more),
            other => {
                announce(sink, News::Committed(mem::take(&mut committed)));
                announce(sink, other);
            }
        }
    }
    announce(sink, News::Committed(committed));
}

fn announce(sink: &dyn LogSink, news: News) {
    let told = caught("log.sink", || match news {
        News::Committed(batch) if batch.is_empty() => {}
        News::Committed(batch) => {
            metrics::histogram!("tidings_log_batch_size").record(batch.len() as f64);
            sink.committed(&batch);
        }
        News::Trimmed(channel, first) => sink.trimmed(&channel, first),
        News::StateWanted(channel, through) => sink.state_wanted(&channel, through),
        News::Deleted(channel) => sink.deleted(&channel),
        News::Uncertain => sink.uncertain(),
    });
    if told.is_err() && caught("log.sink", || sink.uncertain()).is_err() {
        tracing::error!("a sink of the log panicked again: what it missed comes with what it hears next");
    }
}
