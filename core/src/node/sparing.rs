//! Policy `fastest` where many fetch the same and the origin is the bottleneck: then its work is shared as under
//! `spare-origin`, because that is faster for all.
//!
//! The peers are not slower than the origin there, only short of what nobody has yet. A node that then streams all it can
//! from the origin takes from others what they would have given it a moment later.

use super::from_origin::OriginState;
use super::job::Job;
use super::left::Left;
use super::peer::{Has, Peer};
use super::tentative::HARDLY_BEGUN;
use super::units::score;
use super::{Action, Node, Policy};
use crate::{Duration, Instant, JobId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Peers that fetch the same file, from which on its origin may be shared: 3. Ours.
const MANY: usize = 3;
/// And where it is known what it is made of: 1. Ours; what each brings is of use to the other at once.
const MANY_LISTED: usize = 1;
/// Measurements with the origin at work before its rate is believed: 4, a second. Ours.
const MEASURED_MIN: u32 = 4;
/// Where few fetch the same ([`LEAVING`]), each begins with the blocks it is first in line for; so long the others are left to those who
/// are: 1 s. Ours; by then they have said that they stream them, or do not.
const LEFT: Duration = Duration::from_secs(1);
/// Who began all of a file's blocks before knowing of anybody stops those that are another's turn, of which less than a quarter has
/// come. Ours; that is what is lost at most to somebody who then fetches nothing, and more would be a disappointment to who follows them.
const AT_THE_BEGIN: u32 = HARDLY_BEGUN;
/// The origin is shared once the peers give so many times as much as it does: 2. Ours.
const WORTH: u64 = 2;

/// Whatever the peers give, sharing is tried once, for a part of the time that the rest of the origin would take alone: a twentieth. Ours;
/// whoever tried in vain has lost no more than that. Who comes first has begun all of it and gets nothing of the others, who
/// stream the same behind it in vain: it can be told from no measurement that half of what the origin gives is lost.
const TRIAL_PART: u64 = 20;
/// But at the least 2 s. Ours; who came a moment later has to have measured for a second before it leaves to us what we claim.
const TRIAL_MIN: Duration = Duration::from_secs(2);
/// And at the longest: 2 min. Ours.
const TRIAL_MAX: Duration = Duration::from_secs(120);

/// Others that fetch the same file, to which what was begun already is left as well: 2. Ours.
const SEVERAL: usize = 2;

/// From so many others on nobody is left anything before it is shared: 8. Ours; those are a crowd, or about to be one.
const LEAVING: u32 = 8;
/// The same where the list is known: 2. Ours; of what is left to one that does nothing or denies half, more is lost than two lose that stream it
/// for a second, as what each has is of use to the others whoever streams it.
const LEAVING_LISTED: u32 = 2;
/// Where nothing proves yet what a file is made of, what was hardly begun is left for later when they share, if more others than
/// these are known: 16. Ours; few are done with what they began nearly as soon, and begin anew what somebody stopped whom they followed.
const NARROWED: usize = 16;

/// Sharing goes on while all together bring this many tenths of what the origin did alone, and is taken up again once that falls below
/// as much of what they brought: 9. Ours; a line that is shared by all is no faster for it, only the others are.
const TENTHS: u64 = 9;

/// What comes in whole xorbs is measured over so many measurements: 32, eight seconds. Ours.
const LUMPS: u64 = 32;

/// What the origin gives, against what the peers give.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    /// Bytes of the origin since the last measurement, of jobs under this policy.
    bytes: u64,
    /// The same of the peers.
    of_peers: u64,
    /// Bytes/s of late, when it was at work and not shared.
    rate: u64,
    /// Bytes/s of late of origin and peers together, while it is shared.
    together: u64,
    measured: u32,
    /// Its work is shared.
    pub(super) on: bool,
    /// Until when it is shared though nobody gives anything yet, once that was tried.
    trial: Option<Instant>,
}

/// What a node has to do with the origin, for the moment of a measurement.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    elapsed_us: u64,
    /// It is at work.
    active: bool,
    /// Bytes/s of the peers.
    peers: u64,
    /// Many fetch the same.
    many: bool,
    /// Nothing proves what it is made of: who is not linked with whoever streams a xorb has nothing of it before it is whole.
    in_lumps: bool,
    /// Bytes missing of files that many fetch.
    missing: u64,
}

impl Sparing {
    pub(crate) fn came(&mut self, len: u32) {
        self.bytes += u64::from(len);
    }

    pub(crate) fn came_of_peer(&mut self, len: u32) {
        self.of_peers += u64::from(len);
    }

    /// Bytes/s of the peers since it was last asked.
    fn take_of_peers(&mut self, elapsed_us: u64) -> u64 {
        core::mem::take(&mut self.of_peers) * 1_000_000 / elapsed_us.max(1)
    }

    /// Takes in a measurement. Says whether sharing begins or ends.
    fn measure(&mut self, now: Instant, seen: Measured) -> Option<bool> {
        let rate = core::mem::take(&mut self.bytes) * 1_000_000 / seen.elapsed_us.max(1);
        let was = self.on;
        if was {
            // Fewer streams for all say nothing of what ours would be.
            let times = if seen.in_lumps { LUMPS } else { 4 };
            self.together = ((times - 1) * self.together + seen.peers + rate) / times;
        } else if seen.active || rate > 0 {
            self.rate = if self.measured == 0 { rate } else { (3 * self.rate + rate) / 4 };
            self.measured += 1;
        }
        let known = seen.many && self.measured >= MEASURED_MIN;
        let enough = match was {
            true => self.together * 10 > self.rate * TENTHS,
            false => seen.peers > self.rate * WORTH || self.together * TENTHS > self.rate * 10,
        };
        if known && !enough && seen.missing > 0 && self.trial.is_none() {
            let alone_us = seen.missing.saturating_mul(1_000_000) / self.rate.max(1);
            self.trial = Some(now + Duration::from_micros(alone_us / TRIAL_PART).clamp(TRIAL_MIN, TRIAL_MAX));
        }
        self.on = known && (enough || self.trial.is_some_and(|until| now < until));
        if self.on && !was {
            self.together = seen.peers + rate;
        }
        (self.on != was).then_some(self.on)
    }
}

/// How many machines those are. Two that dialled each other at the same time are linked twice, and so is one over IPv4 and IPv6, or where
/// it came from another address than the one it is reached at.
pub(super) fn machines<'a>(peers: impl Iterator<Item = &'a Peer>) -> usize {
    peers.map(|peer| peer.who.id).collect::<BTreeSet<_>>().len()
}

impl Job {
    /// Whether the origin's work on it is shared among those that fetch it; `sharing` where that is worth it.
    pub(super) fn shares_origin(&self, sharing: bool) -> bool {
        self.spec.peers
            && match self.origin.policy {
                Policy::SpareOrigin => !self.origin.joined,
                Policy::Fastest => sharing && self.origin.many,
            }
    }

    /// Bytes of a chunk, on average.
    pub(super) fn usual_len(&self) -> u32 {
        u32::try_from(self.spec.size / u64::from(self.len().max(1))).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// Whether some job asks the origin whenever the peers alone are slower, or would if there were one.
    pub(super) fn is_fast(&self) -> bool {
        match self.jobs.is_empty() {
            true => self.config.policy == Policy::Fastest,
            false => self.jobs.values().any(Job::is_fast),
        }
    }

    /// Whether the origin's work on a job is shared among those that fetch it.
    pub(super) fn shares_origin(&self, job: &Job) -> bool {
        job.shares_origin(self.origin.sparing.on)
    }

    /// Counts who else fetches a job's file.
    pub(super) fn count_fetchers(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let fetches = |peer: &&Peer| peer.fetches(&job.spec.file);
        job.origin.fetchers = machines(self.peers.values().filter(fetches)) as u32;
        let few = job.lists.manifest.is_some() || job.origin.many && self.origin.sparing.on;
        let many = if few { MANY_LISTED } else { MANY };
        job.origin.many = job.is_fast() && job.spec.peers && job.origin.fetchers as usize >= many;
    }

    /// Blocks that another who fetches the same is first in line for, while those are left to it. No message is needed: all count alike. Whoever
    /// was left something finds out anew each time the others have become twice as many, until they are a crowd.
    pub(super) fn leave_to_others(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|_| self.config.tentative) else { return };
        let listed = job.lists.manifest.is_some();
        let ready = job.is_fast()
            && job.origin.state == OriginState::Ready
            && job.origin.fetchers < if listed { LEAVING_LISTED } else { LEAVING }
            && !self.shares_origin(job)
            && job.spec.peers;
        if !ready {
            return;
        }
        let file = job.spec.file;
        // Who says that it has all of the file streams nothing.
        let has_all = |peer: &Peer| peer.jobs.get(&id).is_some_and(|with| with.has == Has::All);
        let fetches = |peer: &&Peer| peer.fetches(&file) && !has_all(peer);
        let others: BTreeSet<_> = self.peers.values().filter(fetches).map(|peer| peer.who.id).collect();
        let least = job.origin.left.as_ref().map_or(1, |left| 2 * left.others);
        if others.len() < least {
            return;
        }
        let theirs =
            (0u32..).zip(&job.origin.blocks).filter(|(_, state)| state.block.whole).filter(|(_, state)| {
                let ours = score(&state.block.xorb, &self.config.peer_id);
                others.iter().any(|id| score(&state.block.xorb, id) > ours)
            });
        let blocks: BTreeSet<u32> = theirs.map(|(at, _)| at).collect();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let begun = job.origin.left.take().map_or_else(|| job.active_blocks().collect(), |left| left.begun);
        // One other has from us at once what we stream. Several would have to share what we upload.
        for &block in blocks.iter().filter(|_| others.len() >= SEVERAL) {
            if begun.contains(&block) && job.begun_of(block, AT_THE_BEGIN) {
                job.origin.blocks[block as usize].stopping = true;
                self.actions.push_back(Action::OriginStop { job: id, block });
            }
        }
        job.origin.left = Some(Left::new(blocks, now + LEFT, others.len(), begun));
        self.origin.breadth.share(now, true);
    }

    /// Finds out anew whether the origin is worth asking beside peers that give so much together.
    pub(super) fn measure_origin(&mut self, now: Instant, elapsed_us: u64) {
        for id in self.asking.jobs.clone() {
            self.count_fetchers(id);
        }
        if !self.is_fast() {
            return;
        }
        let peers = self.origin.sparing.take_of_peers(elapsed_us);
        let crowded = || self.jobs.values().filter(|job| job.wants() && job.origin.many);
        // What is shared takes uplinks from what others wait for: nothing is tried beside a job that spares the origin.
        let spares = self.jobs.values().any(|job| job.wants() && !job.is_fast());
        let missing = |job: &Job| u64::from(job.sets.missing.count()) * u64::from(job.usual_len());
        let seen = Measured {
            elapsed_us,
            active: self.jobs.values().any(|job| job.is_fast() && job.blocks_active() > 0),
            peers,
            many: crowded().next().is_some(),
            in_lumps: crowded().any(|job| job.lists.manifest.is_none()),
            missing: if spares { 0 } else { crowded().map(missing).sum() },
        };
        let Some(begins) = self.origin.sparing.measure(now, seen) else { return };
        for id in self.asking.jobs.clone() {
            if !self.jobs.get(&id).is_some_and(Job::is_fast) {
                continue;
            }
            if !begins {
                self.release_idle(now, id);
                continue;
            }
            // What is under way already is ours, unless somebody said before that it is theirs, or its turn is far and hardly
            // anything of it came: the fewer are streamed at once, the sooner one of them is whole.
            let Some(job) = self.jobs.get(&id).filter(|job| self.shares_origin(job)) else { continue };
            let active = |at: &usize| job.origin.blocks[*at].goes_on();
            let (fetchers, at_once) =
                (job.origin.fetchers, job.units_at_once(self.config.origin_fetches_max));
            let narrows =
                job.lists.manifest.is_none() && self.knows_more_than(NARROWED) && fetchers > at_once;
            let due = self.units_due(job);
            for at in (0..job.origin.blocks.len()).filter(active).collect::<Vec<_>>() {
                let Some(job) = self.jobs.get_mut(&id) else { continue };
                let unit = job.unit_of(at as u32);
                if narrows && !due.contains(&unit) && job.begun_of(at as u32, HARDLY_BEGUN) {
                    job.origin.blocks[at].stopping = true;
                    self.actions.push_back(Action::OriginStop { job: id, block: at as u32 });
                    continue;
                }
                let ours = score(&job.origin.blocks[unit as usize].block.xorb, &self.config.peer_id);
                // Nobody stops what it streams on the word of one of whom nothing is seen.
                let far = job.claims.far;
                let by = job.claims.units.get(&unit).and_then(|known| known.told_by);
                let seen = by.is_some_and(|by| by.useful || far || self.shows_some(id, unit, by));
                let Some(job) = self.jobs.get_mut(&id) else { continue };
                match job.claims.units.get(&unit) {
                    Some(known) if known.mine => {}
                    Some(known) if seen && known.claim.is_some_and(|(theirs, _)| theirs > ours) => {
                        self.yield_unit(id, unit);
                    }
                    _ => self.claim(now, id, unit, ours),
                }
            }
            self.pass_on_soon(now, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// One measurement after a second: MB of the origin and MB/s of the peers.
    fn measure(sparing: &mut Sparing, origin: u32, peers: u64) -> Option<bool> {
        at(sparing, 0, Measured { active: origin > 0, peers: peers * 1_000_000, ..many() }, origin)
    }

    fn many() -> Measured {
        Measured { elapsed_us: SECOND, many: true, ..Measured::default() }
    }

    fn at(sparing: &mut Sparing, second: u64, seen: Measured, origin: u32) -> Option<bool> {
        sparing.came(origin * 1_000_000);
        sparing.measure(Instant(second * SECOND), seen)
    }

    #[test]
    fn an_origin_that_gives_less_than_half_of_what_the_peers_give_is_shared() {
        let mut sparing = Sparing::default();
        for _ in 0..3 {
            assert_eq!(measure(&mut sparing, 1, 10), None, "one second has to be believed");
        }
        assert_eq!(measure(&mut sparing, 1, 10), Some(true));
        for _ in 0..20 {
            assert_eq!(measure(&mut sparing, 0, 2), None, "it is not measured while it is shared");
            assert_eq!(measure(&mut sparing, 3, 0), None, "nor by those whose turn it is");
        }
        let slow = Measured { peers: 800_000, ..many() };
        let ends = (0..20).find_map(|_| at(&mut sparing, 0, slow, 0));
        assert_eq!(ends, Some(false), "all together bring less than nine tenths of what it did alone");
    }

    #[test]
    fn an_origin_that_keeps_up_is_used_beside_the_peers() {
        let mut sparing = Sparing::default();
        for _ in 0..20 {
            assert_eq!(measure(&mut sparing, 6, 10), None);
        }
    }

    #[test]
    fn few_share_nothing() {
        let mut sparing = Sparing::default();
        let few = Measured { active: true, peers: 10_000_000, many: false, ..many() };
        for _ in 0..20 {
            assert_eq!(at(&mut sparing, 0, few, 1), None);
        }
        assert_eq!(measure(&mut sparing, 1, 10), Some(true));
        assert_eq!(at(&mut sparing, 0, few, 0), Some(false), "the others have gone");
    }

    #[test]
    fn sharing_is_tried_once_for_a_twentieth_of_the_time() {
        let mut sparing = Sparing::default();
        let cold = Measured { active: true, missing: 400_000_000, ..many() };
        for second in 0..3 {
            assert_eq!(at(&mut sparing, second, cold, 1), None);
        }
        assert_eq!(at(&mut sparing, 3, cold, 1), Some(true), "400 s alone");
        let waits = Measured { active: false, ..cold };
        assert_eq!(at(&mut sparing, 22, waits, 0), None);
        assert_eq!(at(&mut sparing, 23, waits, 0), Some(false));
        for second in 24..100 {
            assert_eq!(at(&mut sparing, second, cold, 1), None, "it was tried");
        }
    }

    #[test]
    fn a_trial_is_long_enough_for_others_to_join() {
        let mut sparing = Sparing::default();
        let short = Measured { active: true, missing: 1_000_000, ..many() };
        for second in 0..3 {
            assert_eq!(at(&mut sparing, second, short, 1), None);
        }
        assert_eq!(at(&mut sparing, 3, short, 1), Some(true), "a second alone");
        assert_eq!(at(&mut sparing, 4, Measured { active: false, ..short }, 0), None);
        assert_eq!(at(&mut sparing, 5, Measured { active: false, ..short }, 0), Some(false));
    }

    #[test]
    fn sharing_a_line_goes_on_though_it_is_no_faster_for_us() {
        let mut sparing = Sparing::default();
        let alone = Measured { active: true, many: false, ..many() };
        for second in 0..4 {
            assert_eq!(at(&mut sparing, second, alone, 40), None);
        }
        assert_eq!(at(&mut sparing, 4, Measured { missing: 800_000_000, ..many() }, 40), Some(true), "tried");
        for second in 5..60 {
            let shared = Measured { peers: 20_000_000, ..many() };
            assert_eq!(at(&mut sparing, second, shared, 19), None, "39 of 40 MB/s");
        }
    }

    #[test]
    fn what_comes_xorb_by_xorb_is_not_given_up_between_two_of_them() {
        let mut sparing = Sparing::default();
        let quarter = Measured { elapsed_us: SECOND / 4, in_lumps: true, ..many() };
        let mut now = 0;
        let mut after = |sparing: &mut Sparing, seen, origin: u32| {
            now += SECOND / 4;
            sparing.came(origin * 250_000);
            sparing.measure(Instant(now), seen)
        };
        for _ in 0..3 {
            assert_eq!(after(&mut sparing, Measured { active: true, ..quarter }, 10), None);
        }
        let missing = Measured { active: true, missing: 400_000_000, ..quarter };
        assert_eq!(after(&mut sparing, missing, 10), Some(true), "10 MB/s alone");
        for second in 0..60 {
            // 120 MB within a second, and nothing for five.
            let peers = if second % 6 == 1 { 120_000_000 } else { 0 };
            for _ in 0..4 {
                assert_eq!(after(&mut sparing, Measured { peers, ..quarter }, 0), None, "second {second}");
            }
        }
        let ends = (0..200).find_map(|_| after(&mut sparing, quarter, 0));
        assert_eq!(ends, Some(false), "nothing comes any more");
    }

    #[test]
    fn what_sharing_brought_is_not_forgotten() {
        let mut sparing = Sparing::default();
        for second in 0..3 {
            assert_eq!(at(&mut sparing, second, Measured { active: true, ..many() }, 40), None);
        }
        let missing = Measured { active: true, missing: 800_000_000, ..many() };
        assert_eq!(at(&mut sparing, 3, missing, 40), Some(true));
        // The other does not share yet and takes half of the line.
        let ended = (4..20).find(|second| at(&mut sparing, *second, missing, 25) == Some(false));
        assert!(ended.is_some(), "25 of 40 MB/s");
        let again = (20..60).find(|second| at(&mut sparing, *second, missing, 20) == Some(true));
        assert!(again.is_some(), "20 alone, 25 together");
    }
}
