//! Which pull is next: of those that are equally urgent the one that was asked the least for, so that a big one starves neither a small
//! nor a later one. Within a pull, files come one after the other.

use super::JobId;
use super::course::Priority;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A pull keeps its turn until it is ahead of the next by so many bytes: 256 KiB, four chunks. Ours; neighbours in a file are neighbours on the
/// disk of whoever gives them.
const AHEAD: u64 = 256 << 10;
/// A pull for which nobody has anything saves up so many bytes: 1 MiB. Ours; else it would starve the others once somebody has.
const SAVED: u64 = 1 << 20;

/// A pull's jobs that are equally urgent.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) wish: Priority,
    pub(super) pull: u32,
    /// In the order in which they are filled.
    pub(super) jobs: Vec<JobId>,
    /// Bytes that peers were asked for.
    had: u64,
}

impl Share {
    fn rank(&self) -> (Reverse<Priority>, u64, u32) {
        (Reverse(self.wish), self.had, self.pull)
    }
}

/// What is known of a job for its turn.
pub(super) struct Standing {
    pub(super) id: JobId,
    pub(super) wish: Priority,
    pub(super) pull: u32,
    pub(super) priority: u8,
    /// Of its file something is wanted before the rest.
    pub(super) has_front: bool,
}

/// All turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// In the order in which the next is looked for.
    shares: Vec<Share>,
    fronts: Vec<JobId>,
    /// First the fronts, then each job for all of it.
    order: Vec<(JobId, bool)>,
}

impl Turns {
    /// These are the jobs now.
    pub(super) fn set(&mut self, mut jobs: Vec<Standing>) {
        jobs.sort_unstable_by_key(|job| (Reverse(job.wish), job.pull, Reverse(job.priority), job.id));
        let before = core::mem::take(&mut self.shares);
        for job in &jobs {
            match self.shares.last_mut() {
                Some(share) if (share.wish, share.pull) == (job.wish, job.pull) => share.jobs.push(job.id),
                _ => {
                    let alike = || before.iter().filter(|share| share.wish == job.wish);
                    let same = alike().find(|share| share.pull == job.pull);
                    // Who comes anew begins beside whoever is behind.
                    let had = same.map(|share| share.had).or(alike().map(|share| share.had).min());
                    let (had, jobs) = (had.unwrap_or(0), Vec::from([job.id]));
                    self.shares.push(Share { wish: job.wish, pull: job.pull, jobs, had });
                }
            }
        }
        self.fronts.clear();
        self.fronts.extend(jobs.iter().filter(|job| job.has_front).map(|job| job.id));
        self.sort();
    }

    fn sort(&mut self) {
        self.shares.sort_unstable_by_key(Share::rank);
        self.order.clear();
        self.order.extend(self.fronts.iter().map(|id| (*id, true)));
        self.order.extend(self.shares.iter().flat_map(|share| &share.jobs).map(|id| (*id, false)));
    }

    /// Whose turn it is, for the front of its file or for all of it.
    pub(super) fn order(&self) -> &[(JobId, bool)] {
        &self.order
    }

    /// The pulls by whose turn it is.
    pub(super) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// A peer was asked for so many bytes for a job of this pull.
    pub(super) fn asked(&mut self, wish: Priority, pull: u32, bytes: u64) {
        if self.shares.len() < 2 {
            return;
        }
        let Some(at) = self.shares.iter().position(|share| (share.wish, share.pull) == (wish, pull)) else {
            return;
        };
        let had = self.shares[at].had + bytes;
        self.shares[at].had = had;
        let mut overtaken = false;
        for (nth, other) in self.shares.iter_mut().enumerate() {
            if other.wish == wish {
                other.had = other.had.max(had.saturating_sub(SAVED));
                overtaken |= nth > at && other.had + AHEAD <= had;
            }
        }
        if overtaken {
            self.sort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u32, wish: Priority, pull: u32) -> Standing {
        Standing { id: JobId(id), wish, pull, priority: 0, has_front: false }
    }

    fn ids(turns: &Turns) -> Vec<u32> {
        turns.order().iter().map(|(id, _)| id.0).collect()
    }

    const NORMAL: Priority = Priority::Normal;

    #[test]
    fn equals_are_asked_for_in_turn_and_the_less_urgent_come_last() {
        let mut turns = Turns::default();
        turns.set(Vec::from([
            job(1, Priority::Low, 1),
            job(2, NORMAL, 2),
            job(3, NORMAL, 3),
            job(4, NORMAL, 3),
            job(5, Priority::High, 4),
        ]));
        assert_eq!(ids(&turns), [5, 2, 3, 4, 1]);
        turns.asked(NORMAL, 2, AHEAD);
        assert_eq!(ids(&turns), [5, 3, 4, 2, 1]);
        turns.asked(NORMAL, 3, 2 * AHEAD);
        assert_eq!(ids(&turns), [5, 2, 3, 4, 1]);
    }

    #[test]
    fn of_one_pull_the_urgent_come_first_and_fronts_before_all() {
        let mut turns = Turns::default();
        let front = Standing { has_front: true, ..job(3, NORMAL, 1) };
        turns.set(Vec::from([job(1, NORMAL, 1), Standing { priority: 9, ..job(2, NORMAL, 1) }, front]));
        let order = [(3, true), (2, false), (1, false), (3, false)];
        assert_eq!(turns.order(), order.map(|(id, front)| (JobId(id), front)));
    }

    #[test]
    fn who_comes_later_begins_where_the_others_are_and_nobody_saves_up_much() {
        let mut turns = Turns::default();
        turns.set(Vec::from([job(1, NORMAL, 1)]));
        turns.set(Vec::from([job(1, NORMAL, 1), job(2, NORMAL, 2)]));
        // For the second nobody has anything.
        (0..1000).for_each(|_| turns.asked(NORMAL, 1, AHEAD));
        turns.set(Vec::from([job(1, NORMAL, 1), job(2, NORMAL, 2), job(3, NORMAL, 3)]));
        let had = |turns: &Turns, pull| turns.shares.iter().find(|share| share.pull == pull).unwrap().had;
        assert_eq!(had(&turns, 1) - had(&turns, 2), SAVED);
        assert_eq!(had(&turns, 3), had(&turns, 2));
    }
}
