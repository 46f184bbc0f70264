//! One file on its way for every pull of the engine that wants it: one job, however many wait for it. It ends when nobody does.

use super::Pull;
use crate::PullError;
use crate::context::Context;
use crate::hubs::ClientKey;
use crate::jobs::{Counts, JobState};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use zest_core::node::{Event, Policy, Priority};
use zest_store::Endpoint;
use zest_xet::Hash;

/// What makes two pulls want the same: the place, the content, the Hub and the token, and whether peers may be asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ErrandKey {
    pub(super) place: PathBuf,
    pub(super) file: Hash,
    pub(super) client: Option<ClientKey>,
    pub(super) public: bool,
    /// Whose it is.
    pub(super) hub: Option<Endpoint>,
}

/// How an errand ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The file is in its place.
    Landed,
    /// Another process has put it there meanwhile, or nobody waited any more: whoever wants it looks again.
    LookAgain,
    /// It could not be had.
    Failed(Arc<PullError>),
}

/// A file on its way.
pub(crate) struct Errand {
    /// Its job, once that has begun.
    pub(super) job: RefCell<Option<Rc<JobState>>>,
    users: RefCell<Vec<Weak<Pull>>>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Told when nobody waits for it any more.
    pub(super) left: Notify,
    /// What the node was told last.
    wishes: Cell<Wishes>,
}

/// What those want who wait for a file, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wishes {
    paused: bool,
    urgency: Priority,
    policy: Option<Policy>,
}

/// How the origin is used for a file that several pulls want: nobody waits for others whose own pull would not. `None`: as the engine
/// does.
fn one_policy(wanted: impl Iterator<Item = Option<Policy>>) -> Option<Policy> {
    let rank = |policy: &Option<Policy>| match policy {
        Some(Policy::Fastest) => 2,
        None => 1,
        Some(Policy::SpareOrigin) => 0,
    };
    wanted.max_by_key(rank).flatten()
}

impl Errand {
    pub(super) fn new() -> Self {
        Self {
            job: RefCell::default(),
            users: RefCell::default(),
            outcome: watch::channel(None).0,
            left: Notify::new(),
            wishes: Cell::default(),
        }
    }

    /// A pull waits for it.
    pub(super) fn join(&self, pull: &Rc<Pull>) {
        self.users.borrow_mut().push(Rc::downgrade(pull));
    }

    /// The pulls that wait for it.
    pub(super) fn users(&self) -> Vec<Rc<Pull>> {
        self.users.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Bytes of the file, once its job has begun.
    pub(crate) fn size(&self) -> Option<u64> {
        self.job.borrow().as_ref().map(|job| job.file.size)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.users.borrow().iter().any(|user| user.strong_count() > 0)
    }

    /// Its job has begun.
    pub(super) fn began(&self, context: &Rc<Context>, job: &Rc<JobState>) {
        *self.job.borrow_mut() = Some(job.clone());
        for user in self.users() {
            user.figures.has_job(job.file.id);
            user.control.under_way(&job.file);
        }
        self.wish(context);
    }

    /// Waits for its end.
    pub(super) async fn over(&self) -> Outcome {
        let mut outcome = self.outcome.subscribe();
        let end = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        end.unwrap_or(Outcome::LookAgain)
    }

    pub(super) fn ended(&self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }

    /// How the origin is to be used for it.
    pub(super) fn policy(&self) -> Option<Policy> {
        one_policy(self.users().iter().map(|user| user.options.policy))
    }

    /// Tells the node what its users want: it rests if all of them rest, is as urgent as the most urgent of them, and waits for others
    /// only if none of them minds.
    pub(crate) fn wish(&self, context: &Rc<Context>) {
        let Some(id) = self.job.borrow().as_ref().map(|job| job.file.id) else { return };
        let users = self.users();
        let paused = !users.is_empty() && users.iter().all(|user| user.control.is_paused());
        let urgency = users.iter().map(|user| user.control.priority().into()).max().unwrap_or_default();
        let policy = self.policy();
        let was = self.wishes.replace(Wishes { paused, urgency, policy });
        if was.policy != policy {
            context.event(Event::JobPolicy { job: id, policy });
        }
        if was.urgency != urgency {
            context.event(Event::JobPriority { job: id, priority: urgency });
        }
        if was.paused != paused {
            context.event(Event::JobPaused { job: id, paused });
        }
    }
}

/// A pull's part in an errand, from when it joined.
pub(crate) struct Share {
    pub(crate) errand: Rc<Errand>,
    /// The file's name in the pull.
    pub(crate) path: String,
    /// This pull began it, so that the file lands under its name.
    pub(super) began: bool,
    /// What the job had counted before.
    before: Counts,
    context: Rc<Context>,
    user: Weak<Pull>,
}

impl Share {
    pub(super) fn new(
        user: &Rc<Pull>,
        errand: Rc<Errand>,
        path: String,
        began: bool,
        before: Counts,
    ) -> Self {
        let (context, user) = (user.context.clone(), Rc::downgrade(user));
        Self { errand, path, began, before, context, user }
    }

    /// What counts for the pull: what came before it joined is on this machine already.
    pub(crate) fn counts(&self) -> Counts {
        let Some(job) = self.errand.job.borrow().as_ref().map(|job| job.counts.all()) else {
            return Counts::default();
        };
        job.since(&self.before)
    }

    /// Bytes of the file that are in place.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.errand.job.borrow().as_ref().map_or(0, |job| job.counts.all().done_bytes())
    }

    /// Its end.
    pub(super) async fn over(&self) -> Outcome {
        self.errand.over().await
    }

    /// What ended it, as this pull's error.
    pub(super) fn own(&self, error: Arc<PullError>) -> PullError {
        if self.errand.users().len() <= 1 {
            // Nobody else wants to hear of it.
            self.errand.ended(Outcome::LookAgain);
        }
        Arc::try_unwrap(error).unwrap_or_else(PullError::Shared)
    }

    /// The pull does not wait for it any more. Gives whether nobody does.
    pub(super) fn leave(&self) -> bool {
        let mut users = self.errand.users.borrow_mut();
        users.retain(|user| user.strong_count() > 0 && !Weak::ptr_eq(user, &self.user));
        let nobody = users.is_empty();
        drop(users);
        if nobody {
            self.errand.left.notify_one();
        } else {
            self.errand.wish(&self.context);
        }
        nobody
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_others_who_would_not_alone() {
        let (fast, spare) = (Some(Policy::Fastest), Some(Policy::SpareOrigin));
        let of = |wanted: &[Option<Policy>]| one_policy(wanted.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[spare]), spare);
        assert_eq!(of(&[spare, None, spare]), None, "as the engine does, which may be faster");
        assert_eq!(of(&[spare, fast, None]), fast);
    }
}
