//! What happened to the pulls, numbered, so that a listener that was away goes on where it was.
//!
//! Everything is kept for a while but pictures of progress, of which each pull's last one is enough.

use crate::limits::EVENTS_KEPT_MAX;
use axum::body::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use zest_runtime_tokio::PullEvent;

/// Ends that are remembered: 1,024, four times the pulls that a session remembers.
const ENDS_MAX: usize = 1024;

/// Events that a reader takes at a time: 256.
const BATCH_MAX: usize = 256;

/// Number of an event. The first is 1.
pub(crate) type EventId = u64;

/// One event, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pull: u64,
    /// The whole record of the stream: id, name, data.
    pub(crate) text: Bytes,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Log {
    /// Stands before every number: those of another process are not ours.
    run: String,
    inner: Mutex<Inner>,
    newest: watch::Sender<EventId>,
}

#[derive(Debug, Default)]
struct Inner {
    last: EventId,
    kept: VecDeque<Event>,
    /// The newest that was dropped.
    dropped: EventId,
    /// The last picture of each pull under way.
    pictures: BTreeMap<u64, Event>,
    /// The last event of each pull that has ended.
    ends: BTreeMap<u64, EventId>,
}

/// What a reader gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    /// Some that were not seen are not kept any more.
    pub(crate) lost: bool,
}

impl Log {
    pub(crate) fn new(run: String) -> Self {
        Self { run, inner: Mutex::default(), newest: watch::Sender::new(0) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened to a pull.
    pub(crate) fn note(&self, pull: u64, event: &PullEvent) {
        let mut inner = self.inner();
        inner.last += 1;
        let id = inner.last;
        let text = self.text(id, pull, event);
        let noted = Event { id, pull, text };
        match event {
            PullEvent::Progress(_) => drop(inner.pictures.insert(pull, noted)),
            event => {
                if matches!(event, PullEvent::Done(_) | PullEvent::Failed(_)) {
                    inner.pictures.remove(&pull);
                    inner.ends.insert(pull, id);
                    while inner.ends.len() > ENDS_MAX {
                        inner.ends.pop_first();
                    }
                }
                inner.kept.push_back(noted);
                while inner.kept.len() > EVENTS_KEPT_MAX {
                    let gone = inner.kept.pop_front().map_or(0, |event| event.id);
                    inner.dropped = inner.dropped.max(gone);
                }
            }
        }
        drop(inner);
        self.newest.send_replace(id);
    }

    /// An event as a record of `text/event-stream`. JSON has no line breaks.
    pub(crate) fn text(&self, id: EventId, pull: u64, event: &PullEvent) -> Bytes {
        #[derive(Serialize)]
        struct Document<'a> {
            pull: u64,
            #[serde(flatten)]
            event: &'a PullEvent,
        }
        let value = serde_json::to_value(Document { pull, event }).unwrap_or_default();
        let name = value["event"].as_str().unwrap_or("event");
        format!("id: {}-{id}\nevent: {name}\ndata: {value}\n\n", self.run).into()
    }

    /// The number that a reader names, if it is one of this process. One that is none, or another process's, is 0: from the
    /// beginning of what is kept.
    pub(crate) fn read_id(&self, text: &str) -> EventId {
        let number =
            text.trim().strip_prefix(&self.run).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        number.filter(|id| *id <= self.inner().last).unwrap_or(0)
    }

    /// What came after a number, oldest first: of one pull, or of all.
    pub(crate) fn after(&self, after: EventId, pull: Option<u64>) -> Batch {
        let inner = self.inner();
        let is_wanted = |event: &&Event| event.id > after && pull.is_none_or(|pull| event.pull == pull);
        let from = inner.kept.partition_point(|event| event.id <= after);
        let mut events: Vec<Event> =
            inner.kept.range(from..).filter(is_wanted).take(BATCH_MAX).cloned().collect();
        // What is left for the next batch comes before newer pictures.
        let until =
            if events.len() == BATCH_MAX { events.last().map_or(0, |event| event.id) } else { u64::MAX };
        events.extend(inner.pictures.values().filter(is_wanted).filter(|event| event.id < until).cloned());
        events.sort_by_key(|event| event.id);
        Batch { events, lost: after < inner.dropped && after > 0 }
    }

    /// The last event of a pull that has ended.
    pub(crate) fn end_of(&self, pull: u64) -> Option<EventId> {
        self.inner().ends.get(&pull).copied()
    }

    /// The newest number.
    pub(crate) fn last(&self) -> EventId {
        self.inner().last
    }

    /// Tells of news.
    pub(crate) fn news(&self) -> watch::Receiver<EventId> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_runtime_tokio::{Progress, PullReport};

    fn progress(done: u64) -> PullEvent {
        PullEvent::Progress(Progress { bytes_done: done, ..Progress::default() })
    }

    fn ids(batch: &Batch) -> Vec<EventId> {
        batch.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn a_listener_that_was_away_goes_on_where_it_was() {
        let log = Log::new("ab12".into());
        log.note(1, &PullEvent::Paused);
        log.note(2, &PullEvent::Paused);
        log.note(1, &PullEvent::Resumed);
        assert_eq!(ids(&log.after(0, None)), [1, 2, 3]);
        assert_eq!(ids(&log.after(log.read_id("ab12-1"), None)), [2, 3]);
        assert_eq!(ids(&log.after(1, Some(1))), [3]);
        for foreign in ["cd34-1", "ab12", "ab12-", "ab12-9", "", "1", "ab12--1"] {
            assert_eq!(log.read_id(foreign), 0, "{foreign}");
        }
        let text = String::from_utf8(log.after(2, None).events[0].text.to_vec()).expect("text");
        assert_eq!(text, "id: ab12-3\nevent: resumed\ndata: {\"event\":\"resumed\",\"pull\":1}\n\n");
    }

    #[test]
    fn of_pictures_the_last_is_kept_and_nothing_else_is_lost_by_them() {
        let log = Log::new("r".into());
        log.note(7, &PullEvent::Paused);
        for done in 0..10_000 {
            log.note(7, &progress(done));
        }
        log.note(7, &PullEvent::Resumed);
        let batch = log.after(0, None);
        assert_eq!((ids(&batch), batch.lost), (vec![1, 10_001, 10_002], false));
        log.note(7, &PullEvent::Done(Box::default()));
        assert_eq!(ids(&log.after(0, None)), [1, 10_002, 10_003], "a pull that is over has no picture");
        assert_eq!(log.end_of(7), Some(10_003));
        let _ = PullReport::default();
    }

    #[test]
    fn who_was_away_for_too_long_is_told() {
        let log = Log::new("r".into());
        for _ in 0..EVENTS_KEPT_MAX + 10 {
            log.note(1, &PullEvent::Paused);
        }
        assert!(log.after(5, None).lost && !log.after(10, None).lost);
        let first = log.after(10, None);
        assert_eq!(first.events.len(), BATCH_MAX);
        // A newer picture does not overtake what is left for the next batch.
        log.note(1, &progress(1));
        assert_eq!(log.after(10, None).events.len(), BATCH_MAX);
        let (mut at, mut count) = (10, 0);
        loop {
            let batch = log.after(at, None);
            let Some(last) = batch.events.last() else { break };
            at = last.id;
            count += batch.events.len();
        }
        assert_eq!((count, at), (EVENTS_KEPT_MAX + 1, log.last()));
    }
}
