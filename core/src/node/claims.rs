//! Policy `spare-origin`: the nodes of a swarm fetch each part of a file from the origin once, together.
//!
//! The origin's work is split into units: a block, or, as long as the file's manifest is not known, all blocks together
//! that no xorb hash can prove. Units have one order, the same for all nodes. For each unit every node has a score, drawn
//! from the xorb's hash and its peer id (rendezvous hashing). A node that knows of nobody with a higher score among its
//! links claims the unit; claims are passed on, and of two claims the one with the higher score stands. So a swarm in
//! which everybody knows only a few others agrees on one node per unit within a few hops.
//!
//! All together the swarm asks the origin for no more units at once than one node alone would: a unit is begun when few
//! enough units before it are still nowhere. A claim lives as long as its owner keeps saying so, which it does only while
//! its fetch moves; then the next one takes over. Nobody waits for a node that is gone, and nobody runs to the origin
//! because others do.

use super::job::{Job, OriginState};
use super::timers::Timer;
use super::units::{score, unit_time};
use super::{Action, Node};
use crate::link::{Claim, Outgoing};
use crate::wire::zest::CLAIMS_MAX;
use crate::{Duration, Instant, JobId, LinkId, PeerId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use zest_xet::Hash;

/// A node without any other in sight waits this long before it begins: 300 ms, and up to as much again three times over,
/// drawn at random. Ours; nodes that started together and find nobody must not all ask at once.
const ALONE: Duration = Duration::from_millis(300);
/// A claim is taken to stand when nobody contradicted it for this long: 80 ms. Ours; three hops of a few round trips on a
/// LAN. On longer lines two nodes may begin the same unit; the lower one stops when it hears of the other.
const SETTLE: Duration = Duration::from_millis(80);
/// New claims wait this long to be passed on together: 5 ms. Ours.
const GATHER: Duration = Duration::from_millis(5);
/// An owner says that its claims stand this often: 2 s. Ours.
const BEAT: Duration = Duration::from_secs(2);
/// That they stand is passed on after this long, all together: 500 ms. Ours.
const GATHER_BEATS: Duration = Duration::from_millis(500);
/// A claim that nobody heard of for this long is dead: 8 s, four beats. Ours; that an owner's link broke is heard sooner.
const DEAD: Duration = Duration::from_secs(8);
/// A node that is not the first in line for a unit gives each one before it this long: 150 ms. Ours.
const STEP: Duration = Duration::from_millis(150);
/// Places in line that count for that; farther back all wait the same, plus something random.
const STEPS_MAX: u32 = 8;
/// An owner whose unit is complete says so once. If the unit has not turned up nearby after this long, or after
/// [`DONE_UNITS`] times what a unit takes here if that is longer, it is taken for lost: 5 s. Ours.
const DONE_LIFE: Duration = Duration::from_secs(5);
/// Times the duration of a unit: 4. Ours.
const DONE_UNITS: u64 = 4;
/// What peers told is looked through after this long, together: 10 ms. Ours.
const LOOK: Duration = Duration::from_millis(10);
/// Beats from here on belong to units that are complete.
const DONE: u16 = 0x8000;
/// No claim lives longer than this without the unit turning up: 10 min. Ours.
pub(crate) const CLAIM_MAX: Duration = Duration::from_secs(600);
/// A job under this policy that got nothing for this long asks the origin like any other: 60 s, and up to as much again,
/// drawn at random. Ours; a last resort.
const STARVED: Duration = Duration::from_secs(60);
/// A swarm fetches an eighth of a file's units at once, but at least so many, and at most what one node alone would.
/// Ours; what is under way everywhere at once is nowhere complete for long.
const UNITS_AT_ONCE_MIN: u32 = 3;

/// What is known of a unit's claims.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// The claim that stands: score and beat.
    claim: Option<(u64, u16)>,
    mine: bool,
    /// When the claim came up.
    since: Instant,
    /// When it was last heard of.
    heard: Instant,
    /// A claim that died: what is still passed around of it is no news.
    dead: Option<(u64, u16)>,
    /// When the unit was first found to be in need of somebody.
    wanted: Option<Instant>,
    /// How long our turn is away from then.
    turn: Duration,
}

impl Standing {
    /// How long the claim lives after it was last heard of, where a unit takes `unit`.
    fn life(&self, unit: Duration) -> Duration {
        match self.claim {
            Some((_, beat)) if beat >= DONE => DONE_LIFE.max(unit * DONE_UNITS as u32),
            _ => DEAD,
        }
    }
}

/// The claims of a job.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    units: BTreeMap<u32, Standing>,
    /// Units whose claim is new and to be passed on.
    dirty: BTreeSet<u32>,
    /// Units whose claim is known and still stands, which is to be passed on when there is time.
    stands: BTreeSet<u32>,
    /// When that is.
    stands_at: Option<Instant>,
    /// Units that are held here or whole at peers.
    there: BTreeSet<u32>,
    /// The next time our claims are due to be renewed.
    beat_at: Option<Instant>,
}

impl Claims {
    /// Peers went or came, or blocks that were one unit are units of their own now: what is there has to be looked at again.
    pub(crate) fn look_again(&mut self) {
        self.there.clear();
    }

    fn mine(&self) -> impl Iterator<Item = u32> + '_ {
        self.units.iter().filter(|(_, standing)| standing.mine).map(|(unit, _)| *unit)
    }
}

impl Node {
    /// How long a job waits for others to turn up.
    pub(super) fn spare_grace(&mut self) -> Duration {
        ALONE + Duration::from_micros(u64::from(self.rng.below(3 * ALONE.as_micros() as u32)))
    }

    /// Our place in the line for a unit among the peers that are interested in the file.
    fn place_in_line(&self, id: JobId, xorb: &Hash) -> u32 {
        let ours = score(xorb, &self.config.peer_id);
        let file = self.jobs.get(&id).map(|job| job.spec.file);
        let before = self
            .peers
            .values()
            .filter(|peer| {
                peer.counts() && peer.zest && file.is_some_and(|file| peer.interests.contains_key(&file))
            })
            .filter(|peer| score(xorb, &peer.id) > ours)
            .count();
        before as u32
    }

    /// Claims what nobody sees to, and begins what is ours and due.
    pub(super) fn fill_shared(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.supply.take_shrunk() {
            job.claims.look_again();
        }
        if now.since(job.progress_at) >= STARVED && job.blocks_active() == 0 {
            // Not all in the same moment.
            if now.since(job.progress_at)
                >= STARVED + Duration::from_micros(u64::from(self.rng.u32()) % 60_000_000)
            {
                job.joined = true;
            }
        }
        self.units_done(now, id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let group = job.group();
        let units = job.blocks.len() as u32;
        let unit_time = unit_time(job, self.income_bytes_s);
        let at_once =
            (units / 8).clamp(UNITS_AT_ONCE_MIN, self.config.origin_fetches_max.max(UNITS_AT_ONCE_MIN));
        let in_view = at_once * 2;
        let mut nowhere = 0;
        let mut ours = job.claims.mine().count() as u32;
        let order = group.into_iter().chain((0..units).filter(|block| job.stands_alone(*block)));
        let order: Vec<u32> = order.filter(|unit| !job.claims.there.contains(unit)).collect();
        for unit in order {
            let Some(job) = self.jobs.get_mut(&id) else { return };
            if nowhere >= in_view {
                break;
            }
            if job.is_there(unit) {
                job.claims.there.insert(unit);
                continue;
            }
            let standing = job.claims.units.get(&unit).copied().unwrap_or_default();
            // What its owner has whole will spread: the next one can begin.
            let done = standing.claim.is_some_and(|(_, beat)| beat >= DONE);
            if done && !standing.mine && now.since(standing.heard) < standing.life(unit_time) {
                continue;
            }
            nowhere += 1;
            let due = nowhere <= at_once;
            if standing.mine {
                if due && now.since(standing.since) >= SETTLE {
                    self.begin_unit(now, id, unit);
                } else if due {
                    self.timers.set_no_later(Timer::Claims(id), standing.since + SETTLE);
                }
                continue;
            }
            if standing.claim.is_some() {
                let life = standing.life(unit_time);
                let quiet = now.since(standing.heard) >= life;
                let old = now.since(standing.since) >= CLAIM_MAX;
                if !quiet && !old {
                    self.timers.set_no_later(Timer::Claims(id), standing.heard + life);
                    continue;
                }
                let standing = job.claims.units.entry(unit).or_default();
                standing.dead = standing.claim.take();
                standing.wanted = None;
            }
            // Nobody sees to it.
            if ours >= self.config.origin_fetches_max {
                continue;
            }
            let wanted = job.claims.units.get(&unit).and_then(|standing| standing.wanted);
            let xorb = job.blocks[unit as usize].block.xorb;
            let (wanted, turn) = match wanted {
                Some(wanted) => (wanted, standing.turn),
                None => {
                    let place = self.place_in_line(id, &xorb);
                    let jitter = match place {
                        0 => 0,
                        _ => self.rng.below(STEP.as_micros() as u32),
                    };
                    let turn = STEP * place.min(STEPS_MAX) + Duration::from_micros(u64::from(jitter));
                    let Some(job) = self.jobs.get_mut(&id) else { return };
                    let standing = job.claims.units.entry(unit).or_default();
                    standing.wanted = Some(now);
                    standing.turn = turn;
                    (now, turn)
                }
            };
            if now.since(wanted) < turn {
                self.timers.set_no_later(Timer::Claims(id), wanted + turn);
                continue;
            }
            ours += 1;
            let ours = score(&xorb, &self.config.peer_id);
            self.claim(now, id, unit, ours);
        }
        self.pass_on_soon(now, id);
    }

    fn claim(&mut self, now: Instant, id: JobId, unit: u32, score: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let standing = job.claims.units.entry(unit).or_default();
        let beat = match standing.dead {
            // Ours died once: the new one must be told from it.
            Some((dead, beat)) if dead == score => beat.wrapping_add(1) % DONE,
            _ => 0,
        };
        *standing = Standing {
            claim: Some((score, beat)),
            mine: true,
            since: now,
            heard: now,
            dead: standing.dead,
            wanted: None,
            turn: Duration::ZERO,
        };
        job.claims.dirty.insert(unit);
        let beat_at = *job.claims.beat_at.get_or_insert(now + BEAT);
        self.timers.set_no_later(Timer::Claims(id), (now + SETTLE).min(beat_at));
    }

    /// Fetches the next block of a unit of ours.
    fn begin_unit(&mut self, now: Instant, id: JobId, unit: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.origin != OriginState::Ready {
            return;
        }
        for block in job.blocks_of(unit).collect::<Vec<u32>>() {
            let state = &job.blocks[block as usize];
            if self.origin_active >= self.config.origin_fetches_max {
                return;
            }
            if !state.active && !state.resting && state.peer.is_none() && state.any_in(&job.missing, None) {
                if job.blocks_active() == 0 {
                    job.origin_moved_at = now;
                }
                job.begin_fetch(block as usize);
                self.origin_active += 1;
                self.actions.push_back(Action::OriginFetch { job: id, block });
                if !job.stands_alone(unit) {
                    // One after another: nothing is gained by having half of each.
                    return;
                }
            }
        }
    }

    /// What a peer heard or says of claims.
    pub(super) fn claims_heard(&mut self, now: Instant, link: LinkId, file: &Hash, claims: &[Claim]) {
        let ids: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                job.spec.file == *file && job.spec.peers && !job.ended && !job.blocks.is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        let Some(peer) = self.peers.get_mut(&link).filter(|_| !ids.is_empty()) else { return };
        if peer.haves == super::have::HAVES_MAX {
            return;
        }
        peer.haves += 1;
        for id in ids {
            let mut better: Vec<Claim> = Vec::new();
            for claim in claims {
                if self.claim_heard(now, id, *claim) {
                    let unit = self.jobs.get(&id).and_then(|job| job.unit_at(claim.first));
                    better.extend(unit.and_then(|unit| self.jobs.get(&id)?.claim_of(unit)));
                }
            }
            self.send_claims(id, &better, Some(link));
            self.look_soon(now, id);
            self.pass_on_soon(now, id);
        }
    }

    /// Peers told something that may change who has to ask the origin.
    pub(super) fn look_soon(&mut self, now: Instant, id: JobId) {
        if self.config.policy == super::Policy::SpareOrigin && self.jobs.get(&id).is_some_and(Job::wants) {
            self.timers.set_no_later(Timer::Claims(id), now + LOOK);
        }
    }

    /// Takes in what was heard of one claim; true if we know better.
    fn claim_heard(&mut self, now: Instant, id: JobId, claim: Claim) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let Some(unit) = job.unit_at(claim.first) else { return false };
        let standing = job.claims.units.entry(unit).or_default();
        let known = standing.claim;
        if claim.beat == Claim::RELEASED {
            if known.is_none_or(|(score, _)| score != claim.score) {
                return false;
            }
            if standing.mine
                || score(&job.blocks[unit as usize].block.xorb, &self.config.peer_id) == claim.score
            {
                // Somebody lost its link to us: we are still there.
                if let Some((_, beat)) = &mut standing.claim {
                    *beat = if *beat >= DONE { DONE | (*beat + 1) } else { (*beat + 1) % DONE };
                    *beat = (*beat).min(Claim::RELEASED - 1);
                }
                job.claims.dirty.insert(unit);
            } else {
                standing.claim = None;
                standing.dead = Some((claim.score, Claim::RELEASED));
                standing.wanted = None;
                job.claims.dirty.insert(unit);
            }
            return false;
        }
        let old = |(score, beat): (u64, u16)| {
            score == claim.score && (beat >= claim.beat || beat == Claim::RELEASED)
        };
        if standing.dead.is_some_and(|(score, beat)| {
            score == claim.score && beat != Claim::RELEASED && beat >= claim.beat
        }) {
            return false;
        }
        match known {
            Some((score, _)) if score > claim.score => {
                return true;
            }
            Some(known) if old(known) => return false,
            Some((score, _)) if score == claim.score => {
                if standing.mine {
                    return false;
                }
                let done = claim.beat >= DONE && known.is_some_and(|(_, beat)| beat < DONE);
                standing.claim = Some((claim.score, claim.beat));
                standing.heard = now;
                if !done {
                    job.claims.stands.insert(unit);
                    job.claims.stands_at.get_or_insert(now + GATHER_BEATS);
                    return false;
                }
            }
            _ => {
                let was_mine = standing.mine;
                *standing = Standing {
                    claim: Some((claim.score, claim.beat)),
                    mine: false,
                    since: now,
                    heard: now,
                    dead: standing.dead,
                    wanted: None,
                    turn: Duration::ZERO,
                };
                if was_mine {
                    self.yield_unit(id, unit);
                }
            }
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.claims.dirty.insert(unit);
        }
        false
    }

    /// Somebody with a higher score has a unit that we had begun: what is not nearly done is left to them.
    fn yield_unit(&mut self, id: JobId, unit: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for block in job.blocks_of(unit).collect::<Vec<u32>>() {
            let state = &mut job.blocks[block as usize];
            let (mut all, mut here) = (0u32, 0u32);
            for index in state.indices() {
                all += 1;
                here += u32::from(job.held.contains(index));
            }
            if state.active && !state.stopping && here * 2 < all {
                state.stopping = true;
                self.actions.push_back(Action::OriginStop { job: id, block });
            }
        }
    }

    /// We cannot or will not see to our units any more: the next ones in line need not wait.
    pub(super) fn release_claims(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mine: Vec<u32> = job.claims.mine().collect();
        for unit in mine {
            if let Some(standing) = job.claims.units.get_mut(&unit) {
                standing.mine = false;
                standing.claim = standing.claim.map(|(score, _)| (score, Claim::RELEASED));
            }
            job.claims.dirty.insert(unit);
        }
        self.pass_on(id);
        // What is given back is nobody's.
        if let Some(job) = self.jobs.get_mut(&id) {
            for standing in job.claims.units.values_mut() {
                if standing.claim.is_some_and(|(_, beat)| beat == Claim::RELEASED) {
                    standing.dead = standing.claim.take();
                    standing.wanted = Some(now);
                    standing.turn = STEP * STEPS_MAX;
                }
            }
        }
    }

    /// Units of ours that are whole: everybody is told, so that the next ones begin.
    pub(super) fn units_done(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mine: Vec<u32> = job.claims.mine().collect();
        let done: Vec<u32> = mine.into_iter().filter(|unit| job.is_held(*unit)).collect();
        for unit in done {
            if let Some(standing) = job.claims.units.get_mut(&unit) {
                standing.mine = false;
                standing.heard = now;
                standing.claim = standing.claim.map(|(score, _)| (score, DONE));
                job.claims.dirty.insert(unit);
            }
        }
        self.pass_on_soon(now, id);
    }

    /// A peer is gone. What it had claimed and nobody near has is up for the next in line, here and everywhere.
    pub(super) fn owner_gone(&mut self, now: Instant, peer_id: &PeerId) {
        if self.config.policy != super::Policy::SpareOrigin {
            return;
        }
        let ids = self.job_order.clone();
        for id in ids {
            let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.ended && job.spec.peers) else {
                continue;
            };
            let theirs = |job: &Job, unit: u32, standing: &Standing| {
                let xorb = &job.blocks[unit as usize].block.xorb;
                standing.claim.is_some_and(|(claimed, _)| claimed == score(xorb, peer_id))
            };
            let lost: Vec<u32> = job
                .claims
                .units
                .iter()
                .filter(|(unit, standing)| {
                    (**unit as usize) < job.blocks.len()
                        && !standing.mine
                        && theirs(job, **unit, standing)
                        && !job.is_there(**unit)
                })
                .map(|(unit, _)| *unit)
                .collect();
            for &unit in &lost {
                if let Some(standing) = job.claims.units.get_mut(&unit) {
                    standing.claim = standing.claim.map(|(score, _)| (score, Claim::RELEASED));
                }
                job.claims.dirty.insert(unit);
            }
            if lost.is_empty() {
                continue;
            }
            self.pass_on(id);
            if let Some(job) = self.jobs.get_mut(&id) {
                for unit in lost {
                    if let Some(standing) = job.claims.units.get_mut(&unit) {
                        standing.dead = standing.claim.take();
                        standing.wanted = None;
                    }
                }
            }
            self.timers.set_no_later(Timer::Claims(id), now + GATHER);
        }
    }

    fn pass_on_soon(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let new = (!job.claims.dirty.is_empty()).then_some(now + GATHER);
        if let Some(at) = new.into_iter().chain(job.claims.stands_at).min() {
            self.timers.set_no_later(Timer::Claims(id), at);
        }
    }

    /// Renews our claims if that is due, passes on what is new, and looks at what is nobody's.
    pub(super) fn claims_timer(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.ended {
            return;
        }
        if job.claims.beat_at.is_some_and(|at| at <= now) {
            let mine: Vec<u32> = job.claims.mine().collect();
            job.claims.beat_at = (!mine.is_empty()).then_some(now + BEAT);
            for unit in mine {
                // A fetch that has stood still for a whole life of a claim is no reason for others to wait.
                let stuck = job.blocks_of(unit).any(|block| job.blocks[block as usize].active)
                    && now.since(job.origin_moved_at) >= DEAD;
                if let Some(standing) = job.claims.units.get_mut(&unit)
                    && let Some((score, beat)) = standing.claim.filter(|_| !stuck)
                {
                    standing.claim = Some((score, (beat + 1) % DONE));
                    standing.heard = now;
                    job.claims.dirty.insert(unit);
                }
            }
        }
        if let Some(at) = job.claims.beat_at {
            self.timers.set_no_later(Timer::Claims(id), at);
        }
        if job.claims.stands_at.is_some_and(|at| at <= now) {
            job.claims.stands_at = None;
            let stands = core::mem::take(&mut job.claims.stands);
            job.claims.dirty.extend(stands);
        }
        self.pass_on_soon(now, id);
        self.pass_on(id);
        self.fill_origin(now);
    }

    /// Tells every interested peer of the claims that are new.
    fn pass_on(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let dirty = core::mem::take(&mut job.claims.dirty);
        let claims: Vec<Claim> = dirty.iter().filter_map(|unit| job.claim_of(*unit)).collect();
        self.send_claims(id, &claims, None);
    }

    /// A peer has come to the swarm: it is told how things stand.
    pub(super) fn greet_with_claims(&mut self, now: Instant, link: LinkId, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let unit_time = unit_time(job, self.income_bytes_s);
        let alive = |unit: &u32| {
            let standing = &job.claims.units[unit];
            standing.mine || now.since(standing.heard) < standing.life(unit_time)
        };
        let claims: Vec<Claim> = job
            .claims
            .units
            .keys()
            .filter(|unit| alive(unit))
            .filter_map(|unit| job.claim_of(*unit))
            .collect();
        self.send_claims(id, &claims, Some(link));
    }

    fn send_claims(&mut self, id: JobId, claims: &[Claim], to: Option<LinkId>) {
        let Some(file) = self.jobs.get(&id).map(|job| job.spec.file) else { return };
        for claims in claims.chunks(CLAIMS_MAX) {
            for (&link, peer) in &self.peers {
                let told = to.is_none_or(|to| to == link) && peer.interests.contains_key(&file);
                if told && peer.zest && !peer.closing {
                    let message = Outgoing::Claim { file, claims: claims.to_vec() };
                    self.actions.push_back(Action::Send { link, message });
                }
            }
        }
    }
}
impl Job {
    /// The unit that this chunk is in.
    fn unit_at(&self, index: u32) -> Option<u32> {
        self.layout.block_of(index).map(|block| self.unit_of(block))
    }

    fn claim_of(&self, unit: u32) -> Option<Claim> {
        let (score, beat) = self.claims.units.get(&unit)?.claim?;
        let first = self.blocks.get(unit as usize)?.block.runs.first()?.first;
        Some(Claim { first, score, beat })
    }
}
