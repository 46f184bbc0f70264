//! Events of a pull, made of the pictures that it gives of itself: a slow reader misses pictures, never what matters.

use crate::PullError;
use crate::api::{Phase, Progress, PullEvent, PullFailure, PullReport};
use crate::outages::Service;
use crate::pull::Arrivals;
use futures_util::{Stream, stream};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How a pull ended.
pub(super) type End = Result<Arc<PullReport>, Arc<PullError>>;

/// An outage is an event once it has lasted so long: 2 s.
const OUT_AFTER: Duration = Duration::from_secs(2);

pub(super) fn of(
    progress: watch::Receiver<Progress>,
    end: watch::Receiver<Option<End>>,
    arrivals: Arrivals,
) -> impl Stream<Item = PullEvent> + Send + Unpin + use<> {
    let mut progress = progress;
    // What was before is news to this reader.
    progress.mark_changed();
    let state = State { seen: Seen::default(), progress, end, arrivals, queue: VecDeque::new(), over: false };
    Box::pin(stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((event, state))
    }))
}

struct State {
    seen: Seen,
    progress: watch::Receiver<Progress>,
    end: watch::Receiver<Option<End>>,
    arrivals: Arrivals,
    queue: VecDeque<PullEvent>,
    over: bool,
}

impl State {
    async fn next(&mut self) -> Option<PullEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                changed = self.progress.changed() => drop(changed),
                end = self.end.wait_for(Option::is_some) => drop(end),
            }
            let end = self.end.borrow().clone();
            let now = self.progress.borrow_and_update().clone();
            self.seen.compare(&now, &mut self.queue);
            let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            let new = arrivals.get(self.seen.files..).unwrap_or_default();
            self.queue.extend(new.iter().cloned().map(PullEvent::File));
            self.seen.files = arrivals.len();
            drop(arrivals);
            if let Some(end) = end {
                self.over = true;
                self.queue.push_back(match end {
                    Ok(report) => PullEvent::Done(Box::new(PullReport::clone(&report))),
                    Err(error) => PullEvent::Failed(PullFailure::from(&*error)),
                });
            }
        }
    }
}

/// What a reader was told already.
#[derive(Default)]
struct Seen {
    phase: Option<Phase>,
    paused: bool,
    notices: usize,
    files: usize,
    out: Vec<Service>,
    last: Option<Progress>,
}

impl Seen {
    fn compare(&mut self, now: &Progress, queue: &mut VecDeque<PullEvent>) {
        if self.phase.replace(now.phase) != Some(now.phase) {
            queue.push_back(PullEvent::Phase { phase: now.phase });
        }
        if std::mem::replace(&mut self.paused, now.paused) != now.paused {
            queue.push_back(if now.paused { PullEvent::Paused } else { PullEvent::Resumed });
        }
        let notices = now.notices.get(self.notices..).unwrap_or_default();
        queue.extend(notices.iter().cloned().map(PullEvent::Notice));
        self.notices = self.notices.max(now.notices.len());
        self.out.retain(|service| {
            let still = now.outages.iter().any(|out| out.service == *service);
            if !still {
                queue.push_back(PullEvent::Back { service: *service });
            }
            still
        });
        for out in now.outages.iter().filter(|out| out.for_ >= OUT_AFTER) {
            if !self.out.contains(&out.service) {
                self.out.push(out.service);
                queue.push_back(PullEvent::Out { service: out.service, why: out.why.clone() });
            }
        }
        if self.last.as_ref() != Some(now) {
            self.last = Some(now.clone());
            queue.push_back(PullEvent::Progress(now.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::How;
    use crate::api::{Notice, PulledFile};
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn a_slow_reader_misses_pictures_and_nothing_else() {
        let (tell, progress) = watch::channel(Progress::default());
        let (end, ended) = watch::channel(None);
        let arrivals = Arrivals::default();
        let mut events = of(progress, ended, arrivals.clone());
        let notice = |text: &str| Notice { kind: "x".into(), path: None, text: text.into() };
        let mut now = Progress { phase: Phase::Fetching, ..Progress::default() };
        for text in ["a", "b", "c"] {
            now.notices.push(notice(text));
            now.bytes_done += 1;
            tell.send_replace(now.clone());
        }
        let file = PulledFile { path: "f".into(), size: 1, how: How::Hub };
        arrivals.lock().unwrap().push(file.clone());
        end.send_replace(Some(Err(Arc::new(PullError::Interrupted))));
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        let count = |is: fn(&PullEvent) -> bool| all.iter().filter(|event| is(event)).count();
        assert_eq!(count(|event| matches!(event, PullEvent::Notice(_))), 3);
        assert_eq!(count(|event| matches!(event, PullEvent::Progress(_))), 1);
        assert!(all.contains(&PullEvent::File(file)));
        assert!(matches!(all.last(), Some(PullEvent::Failed(failure)) if failure.kind == "interrupted"));
    }
}
