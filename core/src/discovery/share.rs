//! What is seeded, what stands for what, and the end of the permission to speak of a file.

use super::swarm::{Group, Kind, Seeding, Swarm};
use super::{Discovery, GATHER, OpId, Shareable, SharedFile};
use crate::tracker::{self, Rank};
use crate::{InfoHash, Instant, JobId, lsd};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

impl Discovery {
    pub(super) fn seed(&mut self, now: Instant, file: SharedFile) {
        let Some(hash) = self.file_swarm(now, &file) else { return };
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let Kind::File { bytes, group } = swarm.kind else { return };
        if swarm.seeding.is_none() {
            swarm.seeding = Some(Seeding {
                since: now,
                last: None,
                next: now,
                asked: None,
                vain: false,
                lead: false,
                op: None,
            });
            let before = self.groups.entry(group).or_default().lead_seeded();
            self.groups.entry(group).or_default().seeded.insert((Reverse(bytes), hash));
            self.rank(now, hash, 0);
            if let Some(before) = before.filter(|before| *before != hash) {
                self.rank(now, before, 0);
            }
            // What comes with it is announced in the right order.
            let at = now + GATHER;
            self.announce_wake =
                Some(self.announce_wake.map_or(at, |wake| wake.min(at))).filter(|_| self.dht_up);
        }
        let wanted = self.swarms.get(&hash).is_some_and(Swarm::is_wanted);
        self.tell_lsd(now, lsd::Event::Add { swarm: hash, wanted });
    }

    /// Notes whether a swarm stands for its group, and tells trackers how urgent it is.
    pub(super) fn rank(&mut self, now: Instant, hash: InfoHash, left: u64) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let group = swarm.group().and_then(|group| self.groups.get(&group));
        let lead = group.and_then(Group::lead_seeded) == Some(hash);
        if let Some(seeding) = &mut swarm.seeding {
            seeding.lead = lead;
        }
        let rank = if swarm.is_wanted() {
            Rank::Wanted
        } else if lead {
            Rank::Lead
        } else {
            Rank::Rest
        };
        self.tell_trackers(now, tracker::Event::Add { swarm: hash, rank, left });
    }

    pub(super) fn unseed(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let Some(seeding) = swarm.seeding.take() else { return };
        if let Some(op) = seeding.op {
            self.stop_op(op);
        }
        self.leave_group(now, hash, false);
        self.release(now, hash);
    }

    /// A file is no longer wanted, or no longer seeded.
    pub(super) fn leave_group(&mut self, now: Instant, hash: InfoHash, wanted: bool) {
        let Some(Kind::File { bytes, group: id }) = self.swarms.get(&hash).map(|swarm| swarm.kind) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&id) else { return };
        let set = if wanted { &mut group.wanted } else { &mut group.seeded };
        set.remove(&(Reverse(bytes), hash));
        let lead = group.lead_seeded();
        if group.is_empty() {
            self.groups.remove(&id);
        }
        if let Some(lead) = lead {
            self.rank(now, lead, 0);
        }
    }

    /// Forgets a swarm that nobody needs any more, with a farewell.
    pub(super) fn release(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.swarms.get(&hash) else { return };
        if swarm.is_wanted() || swarm.seeding.is_some() {
            let (wanted, seeded) = (swarm.is_wanted(), swarm.seeding.is_some());
            self.rank(now, hash, 0);
            if seeded {
                self.tell_lsd(now, lsd::Event::Add { swarm: hash, wanted });
            }
            return;
        }
        self.proofs.remove(&(swarm.until, hash));
        self.swarms.remove(&hash);
        // A question may outlive the round it was asked in.
        let ops: Vec<OpId> = self.ops.iter().filter(|(_, op)| op.swarm == hash).map(|(op, _)| *op).collect();
        ops.into_iter().for_each(|op| self.stop_op(op));
        self.tell_lsd(now, lsd::Event::Remove { swarm: hash });
        self.tell_trackers(now, tracker::Event::Remove { swarm: hash });
    }

    /// Not a packet more about this file, nor about the xorbs that were looked up for it.
    pub(super) fn withdraw(&mut self, now: Instant, hash: InfoHash) {
        self.tell_trackers(now, tracker::Event::Forget { swarm: hash });
        self.known.remove(&hash);
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let jobs: Vec<JobId> = swarm.jobs.iter().copied().collect();
        for job in &jobs {
            let xorbs = self.jobs.get(job).map(|job| job.xorbs.clone()).unwrap_or_default();
            for xorb in xorbs {
                let only =
                    self.swarms.get(&xorb).is_some_and(|swarm| swarm.jobs.iter().all(|j| jobs.contains(j)));
                if only {
                    self.tell_trackers(now, tracker::Event::Forget { swarm: xorb });
                    self.known.remove(&xorb);
                }
            }
        }
        jobs.into_iter().for_each(|job| self.dropped(now, job));
        self.unseed(now, hash);
    }

    pub(super) fn end_proofs(&mut self, now: Instant) {
        while let Some((_, hash)) = self.proofs.first().copied().filter(|(until, _)| *until <= now) {
            if self.swarms.get(&hash).is_some_and(|swarm| swarm.kind == Kind::Xorb) {
                self.renew_xorb(now, hash);
            } else {
                self.withdraw(now, hash);
            }
        }
    }

    /// A xorb may be spoken of as long as a file it is looked up for.
    pub(super) fn renew_xorb(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.swarms.get(&hash) else { return };
        let files: BTreeSet<InfoHash> =
            swarm.jobs.iter().filter_map(|job| self.jobs.get(job)).map(|job| job.file).collect();
        let longest = files.iter().filter_map(|file| self.swarms.get(file)).map(|file| file.until).max();
        if let Some(until) = longest.filter(|until| *until > now) {
            self.swarm(now, hash, Kind::Xorb, Shareable { until, near: false });
        } else {
            files.into_iter().for_each(|file| self.withdraw(now, file));
        }
    }
}
