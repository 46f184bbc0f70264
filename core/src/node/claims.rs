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
//! its fetch moves, and as long as something of the unit turns up nearby (`standing.rs`); then the next one takes over. Nobody waits for a node that is gone, and nobody runs to the origin
//! because others do.

use super::Node;
use super::authors::Author;
use super::from_origin::OriginState;
use super::job::Job;
use super::mouth::Mouth;
use super::peer::Has;
use super::standing::{BEAT, DONE, Rival, Standing};
use super::timers::Timer;
use super::unit_claims::DISBELIEVED;
use super::units::score;
use crate::endpoint::{Found, Party};
use crate::{Duration, Instant, JobId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use zest_xet::Hash;

/// A node without any other in sight waits this long before it begins: 300 ms, and up to as much again three times over,
/// drawn at random. Ours; nodes that started together and find nobody must not all ask at once.
const ALONE: Duration = Duration::from_millis(300);
/// A claim is taken to stand when nobody contradicted it for this long: 80 ms. Ours; three hops of a few round trips on a
/// LAN. On longer lines two nodes may begin the same unit; the lower one stops when it hears of the other.
const SETTLE: Duration = Duration::from_millis(80);
/// A node that is not the first in line for a unit gives each one before it this long: 150 ms. Ours.
const STEP: Duration = Duration::from_millis(150);
/// Places in line that count for that; farther back all wait the same, plus something random.
const STEPS_MAX: u32 = 8;
/// The place in line of a node whose uplink is much slower than others'. Ours; what it alone has, others have to wait for.
const LAGGING_STEPS: u32 = 16;
/// A job under this policy that got nothing for this long asks the origin like any other: 60 s, and up to as much again,
/// drawn at random. Ours; a last resort.
const STARVED: Duration = Duration::from_secs(60);
/// A claim of which nothing is seen for so long since its turn came, and whose owner has given nothing yet, is contested by who has nothing
/// to do: 1 s. Ours; a stream is offered when its first byte is there, and a CDN takes half a second for that.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Others that may be known: 32. Ours; where there are more, many are idle because they are far from those who stream.
const CONTEST_KNOWN_MAX: usize = 32;
/// And one that had such a part after so long: 250 ms. Ours.
const DOUBTFUL: Duration = Duration::from_millis(250);
/// Who is linked with all that it knows of, one of them at least that fetches the same and has nothing, has found whom it waits for, if those
/// are so few: 8. Ours; among more it is not known whether all have found each other.
const FEW_KNOWN: usize = 8;
/// But not before this: 150 ms. Ours; in a crowd more are known by then.
const FOUND: Duration = Duration::from_millis(150);
/// A swarm fetches an eighth of a file's units at once, but at least so many, and at most what one node alone would.
/// Ours; what is under way everywhere at once is nowhere complete for long.
const UNITS_AT_ONCE_MIN: u32 = 3;

fn are_more(than: usize, mut others: impl Iterator<Item = Author>) -> bool {
    let mut different = BTreeSet::new();
    others.any(|other| different.insert(other) && different.len() > than)
}

impl Job {
    /// Units that are fetched from the origin at once by all together, where one node alone would fetch `alone`.
    pub(super) fn units_at_once(&self, alone: u32) -> u32 {
        (self.origin.blocks.len() as u32 / 8).clamp(UNITS_AT_ONCE_MIN, alone.max(UNITS_AT_ONCE_MIN))
    }

    /// All units, in the order in which a swarm fetches them.
    fn units(&self) -> impl Iterator<Item = u32> + '_ {
        let alone = (0..self.origin.blocks.len() as u32).filter(|block| self.stands_alone(*block));
        self.group().into_iter().chain(alone)
    }
}

impl Node {
    /// How long a job waits for others to turn up.
    pub(super) fn spare_grace(&mut self) -> Duration {
        ALONE + Duration::from_micros(u64::from(self.rng.below(3 * ALONE.as_micros() as u32)))
    }

    /// A job that waits for others to turn up waits until then: somebody is looking for them.
    pub(super) fn job_looking(&mut self, id: JobId, until: Instant) {
        let waits = self.timers.is_set(Timer::OriginGrace(id));
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| waits && !job.is_fast()) {
            (job.origin.grace_end, job.origin.is_sought) = (until, true);
            self.timers.set(Timer::OriginGrace(id), until);
        }
    }

    /// Our place in the line for a unit among the peers that are interested in the file. Who has many ids at one address stands in it once, who
    /// made the claim that is contested not at all.
    fn place_in_line(&self, id: JobId, xorb: &Hash, contested: Option<u64>) -> u32 {
        let ours = score(xorb, &self.config.peer_id);
        let file = self.jobs.get(&id).map(|job| job.spec.file);
        let before: BTreeSet<Option<Author>> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.counts()
                    && peer.who.zest
                    && file.is_some_and(|file| peer.wants.interests.contains_key(&file))
            })
            .filter(|(_, peer)| {
                let theirs = score(xorb, &peer.who.id);
                theirs > ours && Some(theirs) != contested
            })
            .map(|(link, _)| self.author(*link))
            .collect();
        before.len() as u32
    }

    /// Whether more others are known than a swarm has in which claims are contested. One address counts once, and what peers told of
    /// others not at all: else who lies would only have to name many.
    pub(super) fn is_among_many(&self) -> bool {
        are_more(CONTEST_KNOWN_MAX, self.linked()) || are_more(CONTEST_KNOWN_MAX, self.told_of())
    }

    fn linked(&self) -> impl Iterator<Item = Author> + '_ {
        self.peers.keys().filter_map(|link| self.author(*link))
    }

    /// Those who were found, but not by what peers told of others.
    fn told_of(&self) -> impl Iterator<Item = Author> + '_ {
        let told = self.contacts.candidates.iter().filter(|(_, candidate)| candidate.how != Found::Pex);
        told.map(|(addr, _)| (Party::of(addr.ip()), None))
    }

    /// Whether more than so many others are linked or known.
    pub(super) fn knows_more_than(&self, others: usize) -> bool {
        are_more(others, self.linked().chain(self.told_of()))
    }

    /// A job that waits for others to turn up has found them: it waits no longer. Where somebody looks for more it does.
    pub(super) fn found_few(&mut self, now: Instant, id: JobId) {
        let waits = self.timers.is_set(Timer::OriginGrace(id));
        let Some(job) = self.jobs.get(&id).filter(|job| waits && !job.is_fast()) else { return };
        let since = job.course.since;
        if job.origin.fetchers > 0
            && !job.origin.is_sought
            && !self.knows_more_than(FEW_KNOWN)
            && self.nobody_can_start(now, id)
        {
            self.timers.set_no_later(Timer::OriginGrace(id), now.max(since + FOUND));
        }
    }

    /// A job has waited for others: as long as it had to, or until it had found few. Until when it goes on, as more are known by now.
    pub(super) fn waits_on(&self, now: Instant, id: JobId) -> Option<Instant> {
        let job = self.jobs.get(&id).filter(|job| !job.is_fast() && now < job.origin.grace_end)?;
        self.knows_more_than(FEW_KNOWN).then_some(job.origin.grace_end)
    }

    /// Finds out whether some that fetch a file may be linked with others alone: more are known than everybody dials.
    pub(super) fn look_how_far(&mut self) {
        let far = self.knows_more_than(self.config.dials_max);
        self.jobs.values_mut().for_each(|job| job.claims.far = far);
    }

    /// Whether one who tells something comes in several ids.
    fn has_many_ids(&self, author: &Author) -> bool {
        let ids = self.peers.iter().filter(|(link, _)| self.author(**link).as_ref() == Some(author));
        ids.map(|(_, peer)| peer.who.id).collect::<BTreeSet<_>>().len() > 1
    }

    /// Since when a job has had nothing to do; `None`: it has something to do, follows a stream, or there are too many others.
    fn idle_since(&self, id: JobId) -> Option<Instant> {
        let job = self.jobs.get(&id)?;
        if job.blocks_active() > 0 || self.is_among_many() {
            return None;
        }
        // A stream that is told of is followed as long as it moves.
        let offered = job.unproven.offers.keys().map(|block| job.unit_of(*block));
        let moved = offered
            .filter(|unit| !job.claims.there.contains(unit))
            .filter_map(|unit| job.claims.units.get(&unit)?.moved);
        let moved = moved.max().unwrap_or_default();
        // What another job takes of the line is no reason to doubt anybody.
        let fed_at = self.jobs.values().map(|job| job.course.progress_at).max()?;
        Some(fed_at.max(job.course.since).max(moved))
    }

    /// Units that a swarm which begins to share them would fetch first.
    pub(super) fn units_due(&self, job: &Job) -> BTreeSet<u32> {
        let at_once = job.units_at_once(self.config.origin_fetches_max);
        job.units().filter(|unit| !job.is_there(*unit)).take(at_once as usize).collect()
    }

    /// Claims what nobody sees to, and begins what is ours and due.
    pub(super) fn fill_shared(&mut self, now: Instant, id: JobId) {
        let (out, tried_at) = (self.blocks_are_out(), self.origin.out.tried_at);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.supply.take_shrunk() {
            job.claims.look_again();
        }
        // Whoever finds that the origin is out is starved by nobody, but has to be able to find that it is back.
        let fed_at = if out { job.course.progress_at.max(tried_at) } else { job.course.progress_at };
        if now.since(fed_at) >= STARVED && job.blocks_active() == 0 {
            // Not all in the same moment.
            let more = Duration::from_micros(u64::from(self.rng.u32()) % 60_000_000);
            if now.since(fed_at) >= STARVED + more {
                job.origin.joined = true;
            }
        }
        self.units_done(now, id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let at_once = job.units_at_once(self.config.origin_fetches_max);
        let in_view = at_once * 2;
        let lagging = self.uploads.lag.is_lagging();
        let mut given_up: Vec<u32> = Vec::new();
        let mut nowhere = 0;
        let mut unseen: BTreeSet<Author> = BTreeSet::new();
        let mut ours = job.claims.mine().count() as u32;
        let order: Vec<u32> = job.units().filter(|unit| !job.claims.there.contains(unit)).collect();
        for unit in order {
            let Some(job) = self.jobs.get_mut(&id) else { return };
            if nowhere >= in_view {
                break;
            }
            let (all, near) = job.near(unit);
            if near >= all {
                job.claims.there.insert(unit);
                let standing = job.claims.units.get(&unit).copied().unwrap_or_default();
                let Some(mouth) = standing.told_by else { continue };
                let outdone = |rival: Rival| self.has_unit(id, unit, rival.link());
                if mouth.own && self.shows_unit(id, unit, mouth.link) {
                    self.contacts.tellers.kept(now, &mouth);
                } else if standing.rival.is_some_and(outdone) && self.word_outdone(now, &mouth) {
                    continue;
                }
                if let Some(job) = self.jobs.get_mut(&id) {
                    // What others passed on came true.
                    job.claims.doubtful &= mouth.own;
                }
                continue;
            }
            job.claims.saw(now, unit, near, nowhere < at_once);
            let standing = job.claims.units.get(&unit).copied().unwrap_or_default();
            let done = standing.is_done() && !standing.mine;
            let teller = standing.told_by.and_then(|by| self.peers.get(&by.link));
            let until = standing.until(job.believes(id, unit, done, teller));
            // What its owner has whole will spread: the next one can begin.
            if done && now < until {
                self.timers.set_no_later(Timer::Claims(id), until);
                continue;
            }
            nowhere += 1;
            let due = nowhere <= at_once;
            if standing.mine {
                if lagging
                    && !job.blocks_of(unit).any(|block| job.origin.blocks[block as usize].active)
                    && near == 0
                {
                    given_up.push(unit);
                } else if due && now.since(standing.since) >= SETTLE {
                    self.begin_unit(now, id, unit);
                } else if due {
                    self.timers.set_no_later(Timer::Claims(id), standing.since + SETTLE);
                }
                continue;
            }
            if standing.claim.is_some() {
                let far = self.jobs.get(&id).is_some_and(|job| job.claims.far);
                let doubts = |by: Mouth| !by.is_known() && (by.own || !far);
                let contests = ours == 0 && near == 0 && due && standing.told_by.is_some_and(doubts);
                let unknown = standing.told_by.filter(|by| near == 0 && by.own && !by.useful);
                // Where an address with several ids has claimed an earlier unit, and nothing is seen of that, one wait is enough.
                let again = unknown.filter(|by| !unseen.insert(by.author));
                let idle_since = if contests && !out { self.idle_since(id) } else { None };
                let contest_at = idle_since.map(|since| {
                    let doubtful = self.jobs.get(&id).is_none_or(|job| job.claims.doubtful)
                        || again.is_some_and(|by| self.has_many_ids(&by.author));
                    // Who claims it itself could have said something while we had something to do; what is passed on may be far away.
                    let silent = |by: Mouth| {
                        let peer = self.peers.get(&by.link).filter(|peer| !peer.counts());
                        peer.is_some_and(|peer| peer.jobs.get(&id).is_some_and(|with| with.has == Has::All))
                    };
                    let turn = match unknown {
                        // It says that it has all, and gave nothing when it was asked: what should it fetch?
                        Some(by) if silent(by) => standing.since,
                        Some(_) => standing.moved.unwrap_or(since),
                        None => since,
                    };
                    if doubtful { since + DOUBTFUL } else { turn + FIRST_WORD }
                });
                let Some(job) = self.jobs.get_mut(&id) else { return };
                if now < until && contest_at.is_none_or(|at| now < at) {
                    if let Some(standing) = job.claims.units.get_mut(&unit) {
                        standing.wanted = None;
                    }
                    self.timers.set_no_later(Timer::Claims(id), contest_at.map_or(until, |at| at.min(until)));
                    continue;
                }
                if now >= until && self.disbelieve(now, id, unit, out) {
                    continue;
                }
            }
            // Whoever is followed sees to it, and says so as soon as it shares, too: a claim of ours would stop its stream.
            let followed = |job: &Job| {
                job.is_fast() && job.blocks_of(unit).all(|block| job.origin.blocks[block as usize].followed)
            };
            if self.jobs.get(&id).is_some_and(followed) {
                continue;
            }
            // Nobody sees to it.
            if ours >= self.config.origin_fetches_max {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else { return };
            let wanted = job.claims.units.get(&unit).and_then(|standing| standing.wanted);
            let doubtful = job.claims.doubtful && now < until && standing.claim.is_some();
            let xorb = job.origin.blocks[unit as usize].block.xorb;
            let contested = standing.claim.map(|(score, _)| score);
            let (wanted, turn) = match wanted {
                Some(wanted) => (wanted, standing.turn),
                None => {
                    // Who contested one before goes on.
                    let mut place = if doubtful { 0 } else { self.place_in_line(id, &xorb, contested) };
                    if self.uploads.lag.is_lagging() {
                        place = place.max(LAGGING_STEPS);
                    }
                    let jitter = match place {
                        0 => 0,
                        _ => self.rng.below(STEP.as_micros() as u32),
                    };
                    let turn = STEP * place.min(STEPS_MAX.max(LAGGING_STEPS))
                        + Duration::from_micros(u64::from(jitter));
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
        if !given_up.is_empty() {
            self.give_up(now, id, &given_up);
        }
        self.pass_on_soon(now, id);
    }

    pub(super) fn claim(&mut self, now: Instant, id: JobId, unit: u32, score: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let standing = job.claims.units.entry(unit).or_default();
        let contested = standing.told_by.filter(|_| standing.claim.is_some() && !standing.mine);
        // Ours died once: the new one must be told from it.
        let beat = standing.dead.beat(score).map_or(0, |beat| beat.wrapping_add(1) % DONE);
        if let Some((score, _)) = standing.claim.filter(|_| contested.is_some()) {
            standing.dead.put(score, DISBELIEVED, true);
        }
        *standing = Standing {
            claim: Some((score, beat)),
            mine: true,
            contested,
            since: now,
            heard: now,
            dead: standing.dead,
            near: standing.near,
            ..Standing::default()
        };
        job.claims.dirty.insert(unit, Vec::new());
        let beat_at = *job.claims.beat_at.get_or_insert(now + BEAT);
        self.timers.set_no_later(Timer::Claims(id), (now + SETTLE).min(beat_at));
    }

    /// Fetches the next block of a unit of ours.
    fn begin_unit(&mut self, now: Instant, id: JobId, unit: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.origin.state != OriginState::Ready {
            return;
        }
        let (pull, room) = (job.spec.pull, self.rooms(now).of(job.course.wish));
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for block in job.blocks_of(unit).collect::<Vec<u32>>() {
            let Some(job) = self.jobs.get_mut(&id) else { return };
            let state = &job.origin.blocks[block as usize];
            if self.origin.active.is_full(pull, room) {
                return;
            }
            if state.is_idle() && state.any_in(&job.sets.missing, None) {
                if job.blocks_active() == 0 {
                    job.origin.moved_at = now;
                }
                self.actions.push_back(job.begin_fetch(id, block as usize, &mut self.origin.active));
                let alone = job.stands_alone(unit);
                self.block_tried(now);
                if !alone {
                    // One after another: nothing is gained by having half of each.
                    return;
                }
            }
        }
    }

    /// We cannot or will not see to our units any more.
    pub(super) fn release_claims(&mut self, now: Instant, id: JobId) {
        let mine: Vec<u32> = self.jobs.get(&id).map(|job| job.claims.mine().collect()).unwrap_or_default();
        self.give_up(now, id, &mine);
    }

    /// The origin's work is not shared any more: what we do not stream is nobody's again. What we do is ours to its end: who took it over would
    /// have it from us before it has it from the origin.
    pub(super) fn release_idle(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let streams =
            |unit: &u32| job.blocks_of(*unit).any(|block| job.origin.blocks[block as usize].goes_on());
        let idle: Vec<u32> = job.claims.mine().filter(|unit| !streams(unit)).collect();
        if !idle.is_empty() {
            self.give_up(now, id, &idle);
        }
    }

    /// Units of ours are nobody's again: the next ones in line need not wait.
    fn give_up(&mut self, now: Instant, id: JobId, units: &[u32]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for unit in units {
            job.claims.release(*unit);
            if let Some(standing) = job.claims.units.get_mut(unit) {
                standing.wanted = Some(now);
                standing.turn = STEP * STEPS_MAX.max(LAGGING_STEPS);
            }
        }
        self.pass_on(id);
    }

    /// Units of ours that are whole: everybody is told, so that the next ones begin.
    pub(super) fn units_done(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let mine: Vec<u32> = job.claims.mine().collect();
        let done: Vec<u32> = mine.into_iter().filter(|unit| job.is_held(*unit)).collect();
        let mut outdone: Vec<Mouth> = Vec::new();
        for unit in done {
            if let Some(standing) = job.claims.units.get_mut(&unit) {
                job.claims.doubtful |= standing.contested.is_some();
                outdone.extend(standing.contested);
                standing.mine = false;
                standing.heard = now;
                standing.claim = standing.claim.map(|(score, _)| (score, DONE));
                job.claims.dirty.insert(unit, Vec::new());
            }
        }
        for mouth in &outdone {
            self.word_outdone(now, mouth);
        }
        self.pass_on_soon(now, id);
    }
}
