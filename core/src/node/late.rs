//! When the origin is asked how a file is laid out: at once if it is all there is, and else not before something of the file is to come
//! from there. Whoever fetches beside peers that have it all asks the origin for nothing.

use super::from_origin::OriginState;
use super::job::Job;
use super::origin::GRACE_MAX;
use super::peer::{Has, Peer};
use super::timers::Timer;
use super::{Action, Node};
use crate::{Duration, Instant, JobId};

/// Peers that have all of a file and gave nothing of it for so long do not keep the origin from being asked: 0.3 s. Ours; its answer is
/// there when such peers are no longer relied on.
const IDLE: Duration = Duration::from_millis(300);

impl Job {
    /// Whether its layout may still be wanted.
    fn is_unasked(&self) -> bool {
        self.origin.state == OriginState::Unasked && !self.course.ended && !self.course.paused
    }

    /// Whether peers say that they have all that nobody has given or was asked for yet.
    fn peers_have_the_rest(&self) -> bool {
        self.supply.has_seeds() || self.sets.missing.next(0, None, Some(self.supply.parts())).is_none()
    }
}

impl Node {
    /// A job begins whose layout is asked for when it is wanted.
    pub(super) fn watch_layout(&mut self, now: Instant, id: JobId) {
        if self.jobs.get(&id).is_some_and(Job::is_unasked) {
            self.timers.set(Timer::Layout(id), now + self.config.origin_grace);
            self.want_layout(now, id);
        }
    }

    /// The moment for peers to show what they have is over, unless a list is coming in.
    pub(super) fn layout_due(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_unasked()) else { return };
        let coming = job.lists.ask.is_some_and(|ask| ask.moved || ask.proving);
        // What an unasked origin moved at is when the job began.
        let end = job.origin.moved_at + GRACE_MAX;
        if coming {
            self.another_moment(now, Timer::Layout(id), end);
        }
        self.want_layout(now, id);
        let known = |job: &&Job| job.is_unasked() && job.lists.manifest.is_some();
        if let Some(job) = self.jobs.get(&id).filter(known) {
            self.timers.set(Timer::Layout(id), job.course.progress_at + IDLE);
        }
    }

    /// Whether somebody may be about to say what it has of a job's file.
    fn more_may_be_said(&self, now: Instant, id: JobId) -> bool {
        let unsaid =
            |peer: &Peer| peer.jobs.get(&id).is_none_or(|with| !matches!(with.has, Has::Some(_) | Has::All));
        self.dialling_somebody_new(now)
            || self.peers.values().any(|peer| peer.is_worth_waiting_for() && unsaid(peer))
    }

    /// Asks for the layout, if it is wanted and was not asked for.
    pub(super) fn want_layout(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_unasked()) else { return };
        let moment = now < job.origin.moved_at + self.config.origin_grace;
        let listed_soon = self.timers.is_set(Timer::Layout(id));
        let peers_give = job.spec.peers
            && !job.origin.joined
            && match job.lists.manifest.is_some() {
                true if !job.peers_have_the_rest() => moment && self.more_may_be_said(now, id),
                true => now.since(job.course.progress_at) < IDLE,
                false => listed_soon && !self.nobody_can_start(now, id),
            };
        if !peers_give {
            self.ask_layout(id);
        }
    }

    /// Asks for the layout, if it was not asked for.
    pub(super) fn ask_layout(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_unasked()) else { return };
        job.origin.state = OriginState::Waiting;
        self.timers.cancel(Timer::Layout(id));
        self.actions.push_back(Action::OriginPlan { job: id });
    }
}
