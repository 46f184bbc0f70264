//! What of the Hub's services does not answer, for everybody who asks them outside the node: when each may be tried again, and
//! how long the user waits. The node keeps the same account of layouts and blocks (`zest_core::node`); both show in
//! [`crate::Progress::outages`].

use crate::api::PastOutage;
use crate::clock::Clock;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use zest_core::Instant;
use zest_core::outage::{Outage, PATIENCE_UNHEARD, Patience, Trouble};
use zest_hub::{ErrorKind, HubError, Persistence};

/// Whoever waits looks again this often: 1 s. What is left of the patience counts by looks.
const LOOK: Duration = Duration::from_secs(1);

/// Something that can be out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The Hub: names, listings, small files.
    Hub,
    /// The CAS: how files are laid out.
    Cas,
    /// The CDN: their bytes.
    Cdn,
}

impl Service {
    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "the Hub",
            Self::Cas => "the CAS",
            Self::Cdn => "the CDN",
        }
    }

    /// Its name for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Cas => "cas",
            Self::Cdn => "cdn",
        }
    }
}

/// A service that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Out {
    /// Which.
    pub service: Service,
    /// For how long already; whole seconds in a document.
    #[serde(rename = "seconds", with = "seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub for_: Duration,
    /// What it said last, or what the network said of it.
    pub why: String,
    /// Whether it is waited for as long as the user waits: it has answered before, or others give meanwhile.
    #[serde(default)]
    pub heard: bool,
}

impl Out {
    /// How long nothing may come until a pull gives up, of a user who waits for so long.
    #[must_use]
    pub fn patience(&self, give_up_after: Duration) -> Duration {
        if self.heard { give_up_after } else { give_up_after.min(PATIENCE_UNHEARD) }
    }
}

tokio::task_local! {
    /// Set for what need not wait for the Hub, because the cache can answer in its place. Of one request, not of the client:
    /// others that share the client wait all the same.
    static IMPATIENT: ();
}

/// Runs a request that is not to wait for a Hub that is out.
pub(crate) fn without_patience<F: Future>(request: F) -> impl Future<Output = F::Output> {
    IMPATIENT.scope((), request)
}

mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// An outage is worth a word when it has lasted so long: 2 s. Shorter ones are nobody's concern.
const WORTH_NOTING: Duration = Duration::from_secs(2);

/// The outages that one pull has lived through.
#[derive(Debug, Default)]
pub(crate) struct Spells {
    /// What is out, and since when, in time since the pull began.
    open: Vec<(Service, Duration)>,
    past: Vec<(Service, Duration)>,
}

impl Spells {
    /// What is out, seen `now` after the pull began.
    pub(crate) fn note(&mut self, now: Duration, out: &[Out]) {
        for (service, since) in
            self.open.extract_if(.., |(service, _)| out.iter().all(|out| out.service != *service))
        {
            self.past.push((service, now.saturating_sub(since)));
        }
        for out in out.iter().filter(|out| out.for_ >= WORTH_NOTING) {
            if self.open.iter().all(|(service, _)| *service != out.service) {
                self.open.push((out.service, now.saturating_sub(out.for_)));
            }
        }
    }

    /// All of them, `now` after the pull began.
    pub(crate) fn all(&self, now: Duration) -> Vec<PastOutage> {
        let open = self.open.iter().map(|(service, since)| (*service, now.saturating_sub(*since)));
        let all = self.past.iter().copied().chain(open);
        all.map(|(service, lasted)| PastOutage { service, seconds: lasted.as_secs() }).collect()
    }
}

/// What an error of the Hub client means for the service; `None` if the service is well and asking again is no use.
pub(crate) fn trouble(error: &HubError) -> Option<Trouble> {
    match (error, error.kind()) {
        (HubError::Server { .. }, _) | (_, ErrorKind::RateLimited { .. }) => {
            Some(Trouble::Busy { retry_after: error.retry_after() })
        }
        // Behind a log-in page there may be a Hub.
        (HubError::Page { .. }, _) | (_, ErrorKind::Offline | ErrorKind::Server | ErrorKind::Stalled) => {
            Some(Trouble::Unreachable)
        }
        _ => None,
    }
}

#[derive(Debug)]
struct State {
    outage: Outage,
    patience: Patience,
    why: String,
}

/// The account of one engine for one Hub, shared by all pulls that ask it.
#[derive(Debug)]
pub(crate) struct Outages {
    clock: Clock,
    give_up_after: Duration,
    hub: Mutex<State>,
    /// When something last came from anywhere, in core's microseconds.
    moved_at: AtomicU64,
    back: Notify,
}

impl Outages {
    pub(crate) fn new(clock: Clock, give_up_after: Duration) -> Arc<Self> {
        let (outage, patience) = (Outage::default(), Patience::new(give_up_after));
        Arc::new(Self {
            clock,
            give_up_after,
            hub: Mutex::new(State { outage, patience, why: String::new() }),
            moved_at: AtomicU64::new(0),
            back: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the user waits.
    pub(crate) fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// Bytes came, from wherever: nobody waits in vain.
    pub(crate) fn moved(&self) {
        self.moved_at.store(self.clock.now().0, Relaxed);
    }

    /// A request failed. Gives the pause before the next try, or nothing if it is no use or the user's patience is over.
    ///
    /// Those that ask together are to take turns: [`Outages::turn`].
    pub(crate) fn failed(&self, error: &HubError) -> Option<Duration> {
        let trouble = trouble(error)?;
        let now = self.clock.now();
        // Without randomness the pauses are merely less spread.
        let jitter = getrandom::u32().map_or(0, |random| random as u16);
        let mut state = self.state();
        let pause = state.outage.failed(now, trouble, jitter);
        state.why = error.to_string();
        self.left(&mut state, now).map(|_| pause)
    }

    /// A request was answered.
    pub(crate) fn answered(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        state.patience.moved(now);
        if let Some(lasted) = state.outage.answered(now) {
            tracing::info!(seconds = lasted.as_secs(), "the Hub answers again");
            self.back.notify_waiters();
        }
    }

    fn left(&self, state: &mut State, now: Instant) -> Option<Duration> {
        let moved_at = Instant(self.moved_at.swap(0, Relaxed));
        if moved_at > Instant::ZERO {
            state.patience.moved(moved_at);
        }
        state.patience.left(now, state.outage.has_answered())
    }

    /// Waits until the Hub may be asked: not at all while it is well. While it is out, one of those that wait tries at a
    /// time, and the first answer lets all of them go on. `false`: it asked to be left alone for longer than the user waits, and the
    /// user has waited; else the last word is a try's, not a pause's.
    pub(crate) async fn turn(&self) -> bool {
        loop {
            let back = self.back.notified();
            let wait = {
                let now = self.clock.now();
                let mut state = self.state();
                let is_out = state.outage.since().is_some();
                let is_over = is_out && self.left(&mut state, now).is_none();
                let due = state.outage.due();
                if due <= now {
                    state.outage.trying(now);
                    return true;
                }
                if is_over && state.outage.asked() > now {
                    return false;
                }
                (due - now).min(LOOK)
            };
            tokio::select! {
                () = back => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether the Hub ever answered.
    pub(crate) fn heard(&self) -> bool {
        self.state().outage.has_answered()
    }

    /// Since when the Hub is out, if it is, and why.
    pub(crate) fn out(&self) -> Option<Out> {
        let (now, mut state) = (self.clock.now(), self.state());
        let since = state.outage.since()?;
        // This is asked several times a second: waiting is measured by it, too.
        self.left(&mut state, now);
        let (why, heard) = (state.why.clone(), state.outage.has_answered());
        Some(Out { service: Service::Hub, for_: now - since, why, heard })
    }
}

impl Persistence for Outages {
    fn is_patient(&self) -> bool {
        IMPATIENT.try_with(|()| ()).is_err()
    }

    fn turn(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(Self::turn(self))
    }

    fn failed(&self, error: &HubError) -> bool {
        Self::failed(self, error).is_some()
    }

    fn answered(&self) {
        Self::answered(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_out_for_a_while_is_in_the_report_and_a_hiccup_is_not() {
        let out = |seconds| Out {
            service: Service::Cdn,
            for_: Duration::from_secs(seconds),
            why: String::new(),
            heard: true,
        };
        let mut spells = Spells::default();
        spells.note(Duration::from_secs(5), &[out(1)]);
        spells.note(Duration::from_secs(6), &[]);
        for second in 0..=70 {
            spells.note(Duration::from_secs(10 + second), &[out(second)]);
        }
        assert_eq!(spells.all(Duration::from_secs(50)), [PastOutage { service: Service::Cdn, seconds: 40 }]);
        spells.note(Duration::from_secs(81), &[]);
        spells.note(Duration::from_secs(82), &[]);
        assert_eq!(spells.all(Duration::from_secs(90)), [PastOutage { service: Service::Cdn, seconds: 71 }]);
    }
}
