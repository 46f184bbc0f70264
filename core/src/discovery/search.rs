//! Looking for peers of wanted files: rounds, what stands for what, and when xorbs help.

use super::plan::GET_PACKETS;
use super::swarm::{Group, JobSwarms, Kind, Round};
use super::{
    ALONE_PAUSE, Action, CACHE, Discovery, GATHER, JOBS_MAX, LOOK_AGAIN, LOOK_AGAIN_FEW, LOOK_AGAIN_MAX,
    OPS_MAX, OpId, PEERS_ENOUGH, PEERS_FEW, ROUND_MAX, ROUND_MIN, Shareable, SharedFile, XORBS_MAX,
};
use crate::tracker::{self, Rank};
use crate::{Duration, InfoHash, Instant, JobId, lsd};
use alloc::vec::Vec;
use core::cmp::Reverse;
use zest_xet::Hash;

impl Discovery {
    pub(super) fn want(&mut self, now: Instant, id: JobId, file: SharedFile, xorbs: &[Hash]) {
        if self.jobs.contains_key(&id) || self.jobs.len() >= JOBS_MAX {
            return;
        }
        let Some(hash) = self.file_swarm(now, &file) else { return };
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let xorbs = xorbs.iter().take(XORBS_MAX).map(InfoHash::of_xorb).collect();
        self.jobs.insert(id, JobSwarms { file: hash, xorbs, by_xorb: false });
        let first = swarm.jobs.is_empty();
        swarm.jobs.insert(id);
        let looking = swarm.search.round.is_some();
        if first {
            if let Kind::File { bytes, group } = swarm.kind {
                self.groups.entry(group).or_default().wanted.insert((Reverse(bytes), hash));
            }
            let seeded = swarm.seeding.is_some();
            self.tell_trackers(
                now,
                tracker::Event::Add { swarm: hash, rank: Rank::Wanted, left: file.bytes },
            );
            if seeded {
                self.tell_trackers(now, tracker::Event::Hungry { swarm: hash });
            }
            self.tell_lsd(now, lsd::Event::Add { swarm: hash, wanted: true });
        }
        // What another job found counts for this one.
        let looked = self.known.get(&hash).and_then(|known| known.looked);
        let known = self.known.get(&hash).into_iter().flat_map(|known| &known.peers);
        let fresh: Vec<_> =
            known.filter(|(_, (_, at))| now.since(*at) < CACHE).map(|(a, (h, _))| (*a, *h)).collect();
        for (addr, how) in &fresh {
            self.actions.push_back(Action::Found { addr: *addr, how: *how, swarm: Some(hash) });
        }
        if looking {
            return;
        }
        let stale = looked.is_none_or(|at| now.since(at) >= CACHE);
        if first || stale {
            self.look_soon(now, hash);
        }
        if !stale {
            let pause = self.pause(ALONE_PAUSE);
            self.actions.push_back(Action::Searched { job: id, peers: fresh.len(), pause });
        }
    }

    /// Begins a round as soon as what is known is no longer fresh.
    fn look_soon(&mut self, now: Instant, hash: InfoHash) {
        let looked = self.known.get(&hash).and_then(|known| known.looked);
        let at = looked.map_or(now, |at| at + CACHE).max(now + GATHER);
        self.set_search(hash, at);
    }

    /// The last look could not ask the DHT, and now it could: the next one is due.
    pub(super) fn look_again(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        swarm.search.vain = false;
        if let Some(round) = &mut swarm.search.round {
            self.rounds.remove(&(round.ends, hash));
            round.ends = now;
            self.rounds.insert((now, hash));
            self.end_rounds(now);
        }
        self.set_search(hash, now);
    }

    /// Puts the next round of a wanted swarm at `at`.
    fn set_search(&mut self, hash: InfoHash, at: Instant) {
        let Some(swarm) = self.swarms.get_mut(&hash).filter(|swarm| swarm.is_wanted()) else { return };
        debug_assert!(swarm.search.round.is_none(), "a round ends before the next is planned");
        if let Some(was) = swarm.search.due.replace(at) {
            self.searches.remove(&(was, hash));
        }
        self.searches.insert((at, hash));
    }

    pub(super) fn stop_search(&mut self, hash: InfoHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let search = core::mem::take(&mut swarm.search);
        if let Some(at) = search.due {
            self.searches.remove(&(at, hash));
        }
        if let Some(round) = search.round {
            self.rounds.remove(&(round.ends, hash));
            round.op.into_iter().for_each(|op| self.stop_op(op));
        }
    }

    pub(super) fn starved(&mut self, now: Instant, id: JobId) {
        let Some(hash) = self.jobs.get(&id).map(|job| job.file) else { return };
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        swarm.search.alone = true;
        let waits = swarm.search.round.is_none();
        if waits {
            self.look_soon(now, hash);
        }
        self.tell_trackers(now, tracker::Event::Hungry { swarm: hash });
        self.look_by_xorb(now, id);
    }

    /// A job's xorbs are known. If they were wanted before that, they are looked up now.
    pub(super) fn planned(&mut self, now: Instant, id: JobId, xorbs: &[Hash]) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.xorbs.is_empty()) else { return };
        job.xorbs = xorbs.iter().take(XORBS_MAX).map(InfoHash::of_xorb).collect();
        if core::mem::take(&mut job.by_xorb) {
            self.look_by_xorb(now, id);
        }
    }

    /// Looks up the xorbs of a job's file as well.
    fn look_by_xorb(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.by_xorb) else { return };
        job.by_xorb = true;
        let (file, xorbs) = (job.file, job.xorbs.clone());
        // Xorbs are looked up at trackers and in the DHT alone.
        let Some(until) = self.swarms.get(&file).filter(|swarm| !swarm.near).map(|swarm| swarm.until) else {
            return;
        };
        for hash in xorbs {
            let other = self.swarms.get(&hash).is_some_and(|swarm| swarm.kind != Kind::Xorb);
            if other || !self.swarm(now, hash, Kind::Xorb, Shareable { until, near: false }) {
                continue;
            }
            let Some(swarm) = self.swarms.get_mut(&hash) else { continue };
            if swarm.jobs.insert(id) && swarm.jobs.len() == 1 {
                self.tell_trackers(now, tracker::Event::Add { swarm: hash, rank: Rank::Wanted, left: 1 });
                self.look_soon(now, hash);
            }
        }
    }

    /// Begins the rounds that are due, as far as the budget goes.
    pub(super) fn pump_searches(&mut self, now: Instant) {
        self.search_wake = loop {
            let Some((at, hash)) = self.searches.first().copied() else { break None };
            if at > now {
                break Some(at);
            }
            if let Some(later) = self.stands_back(now, hash) {
                self.set_search(hash, later);
                continue;
            }
            let ask = self.dht_up && !self.is_near(hash);
            if ask && self.ops.len() >= OPS_MAX {
                // An answer comes, or its time is up.
                break None;
            }
            if ask && !self.bucket.take(now, GET_PACKETS) {
                break Some(self.bucket.ready_at(now, GET_PACKETS));
            }
            self.begin_round(now, hash, ask);
        };
    }

    /// Whether another file of the group is looked up first, and until when to wait for that.
    fn stands_back(&self, now: Instant, hash: InfoHash) -> Option<Instant> {
        let swarm = self.swarms.get(&hash)?;
        if swarm.search.alone {
            return None;
        }
        let lead =
            self.groups.get(&swarm.group()?).and_then(Group::lead_wanted).filter(|lead| *lead != hash)?;
        // Its end calls the others.
        (self.swarms.get(&lead)?.search.rounds == 0).then_some(now + ROUND_MAX)
    }

    fn begin_round(&mut self, now: Instant, hash: InfoHash, ask: bool) {
        let op = ask.then(|| self.new_op(now, hash, GET_PACKETS));
        if let Some(op) = op {
            self.actions.push_back(Action::DhtGet { op, swarm: hash });
        }
        self.known(now, hash).looked = Some(now);
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let search = &mut swarm.search;
        search.vain = false;
        if let Some(at) = search.due.take() {
            self.searches.remove(&(at, hash));
        }
        let ends = now + if ask { ROUND_MAX } else { ROUND_MIN };
        search.round = Some(Round { began: now, ends, op });
        let again = search.rounds > 0;
        self.rounds.insert((ends, hash));
        if again {
            self.tell_trackers(now, tracker::Event::Hungry { swarm: hash });
        }
    }

    /// The DHT has said what it knows: the round ends as soon as others had their time.
    pub(super) fn round_answered(&mut self, now: Instant, op: OpId, hash: InfoHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let Some(round) = swarm.search.round.as_mut().filter(|round| round.op == Some(op)) else { return };
        self.rounds.remove(&(round.ends, hash));
        round.op = None;
        round.ends = round.ends.min((round.began + ROUND_MIN).max(now));
        self.rounds.insert((round.ends, hash));
    }

    pub(super) fn end_rounds(&mut self, now: Instant) {
        while let Some((ends, hash)) = self.rounds.first().copied().filter(|(at, _)| *at <= now) {
            self.rounds.remove(&(ends, hash));
            self.end_round(now, hash);
        }
    }

    fn end_round(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let Some(round) = swarm.search.round.take() else { return };
        let search = &mut swarm.search;
        let first = search.rounds == 0;
        search.rounds = search.rounds.saturating_add(1);
        let known = self.known.get(&hash).map(|known| &known.peers);
        let since = known.map(|peers| peers.values().filter(|(_, at)| *at >= round.began).count());
        let peers = since.unwrap_or(0);
        search.empty = if peers == 0 { search.empty.saturating_add(1) } else { 0 };
        let (empty, group, is_file) = (search.empty, swarm.group(), swarm.kind != Kind::Xorb);
        let jobs: Vec<JobId> = swarm.jobs.iter().copied().collect();
        // What the DHT still finds is welcome, but nobody waits for it.
        let pause = match peers {
            0 => (LOOK_AGAIN * (1 << empty.saturating_sub(1).min(8))).min(LOOK_AGAIN_MAX / 2),
            n if n < PEERS_ENOUGH => LOOK_AGAIN_FEW,
            _ => LOOK_AGAIN_MAX,
        };
        let spread = if peers == 0 { pause } else { pause / 5 };
        let at = (now + pause + self.pause(spread)).max(round.began + CACHE);
        self.set_search(hash, at);
        for job in jobs.into_iter().filter(|_| is_file) {
            let pause = self.pause(ALONE_PAUSE);
            self.actions.push_back(Action::Searched { job, peers, pause });
            if peers < PEERS_FEW {
                self.look_by_xorb(now, job);
            }
        }
        if let Some(group) = group.and_then(|group| self.groups.get(&group))
            && first
            && group.lead_wanted() == Some(hash)
        {
            self.call_others(now, hash, peers);
        }
    }

    /// The first look for the file that stands for its group is over: what of the others?
    fn call_others(&mut self, now: Instant, lead: InfoHash, peers: usize) {
        let Some(group) = self.swarms.get(&lead).and_then(super::Swarm::group) else { return };
        let others: Vec<InfoHash> =
            self.groups[&group].wanted.iter().map(|(_, hash)| *hash).filter(|hash| *hash != lead).collect();
        for hash in others {
            let search = self.swarms[&hash].search;
            if search.round.is_some() || search.rounds > 0 {
                continue;
            }
            if peers >= PEERS_ENOUGH {
                let spread: Duration = self.pause(LOOK_AGAIN_MAX / 5);
                self.set_search(hash, now + LOOK_AGAIN_MAX + spread);
                for job in self.swarms[&hash].jobs.clone() {
                    let pause = self.pause(ALONE_PAUSE);
                    self.actions.push_back(Action::Searched { job, peers, pause });
                }
            } else {
                self.set_search(hash, now);
            }
        }
    }
}
