//! How the claims of policy `spare-origin` get about: what peers say of them, what is passed on, and when a claim is renewed.
//!
//! Every node tells its neighbours of a claim once, and of its renewals when there is time; nobody is told what it has just
//! said itself. So a claim crosses a swarm in a few hops, and a renewal costs each link one short message.

use super::job::Job;
use super::mouth::Mouth;
use super::standing::{BEAT, DEAD, DONE, Rival, Standing};
use super::timers::Timer;
use super::units::score;
use super::{Action, Node};
use crate::link::{Claim, Outgoing, ZestMessage};
use crate::wire::zest::CLAIMS_MAX;
use crate::{Duration, FileKey, Instant, JobId, LinkId, PeerId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use zest_xet::Hash;

/// New claims wait this long to be passed on together: 5 ms. Ours.
const GATHER: Duration = Duration::from_millis(5);
/// That they stand is passed on after this long, all together: 500 ms. Ours.
const GATHER_BEATS: Duration = Duration::from_millis(500);
/// What peers told is looked through after this long, together: 10 ms. Ours.
const LOOK: Duration = Duration::from_millis(10);
/// A claim that is renewed sooner than this is no news to anybody: a quarter of the time that its owner should take. Ours.
const BEAT_MIN: Duration = Duration::from_secs(1);
const _: () = assert!(BEAT_MIN.as_micros() * 4 == BEAT.as_micros());

/// What hearing of a claim comes to.
enum Heard {
    /// It was known, or is dead.
    Old,
    /// We know a better one.
    Less,
    /// Somebody else has the unit now, or nobody, or it is whole.
    News,
}

impl Node {
    /// What a peer heard or says of claims.
    pub(super) fn claims_heard(&mut self, now: Instant, link: LinkId, file: FileKey, claims: &[Claim]) {
        let ids: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| {
                FileKey::of(&job.spec.file) == file
                    && self.peers.get(&link).is_some_and(|peer| job.spec.is_open_to(peer))
                    && !job.course.ended
                    && (!job.origin.blocks.is_empty() || job.origin.state.is_unplanned())
            })
            .map(|(id, _)| *id)
            .collect();
        let Some(peer) = self.peers.get_mut(&link).filter(|_| !ids.is_empty()) else { return };
        if peer.word.haves == super::peer::HAVES_MAX {
            return;
        }
        peer.word.haves += 1;
        for id in ids {
            match self.jobs.get_mut(&id).filter(|job| job.origin.blocks.is_empty()) {
                Some(job) => claims.iter().for_each(|claim| job.claims.keep_early(link, *claim)),
                None => self.take_claims(now, id, link, claims),
            }
        }
    }

    /// It is known what the file is made of: what was claimed before has its meaning now.
    pub(super) fn resolve_claims(&mut self, now: Instant, id: JobId) {
        let early = self.jobs.get_mut(&id).map(|job| job.claims.take_early()).unwrap_or_default();
        early.iter().for_each(|(link, claims)| self.take_claims(now, id, *link, claims));
    }

    fn take_claims(&mut self, now: Instant, id: JobId, link: LinkId, claims: &[Claim]) {
        let mut better: Vec<Claim> = Vec::new();
        let mut news = false;
        for claim in claims {
            match self.claim_heard(now, id, link, *claim) {
                Heard::Old => {}
                Heard::Less => {
                    let unit = self.jobs.get(&id).and_then(|job| job.unit_at(claim.first));
                    better.extend(unit.and_then(|unit| self.jobs.get(&id)?.claim_to_pass_on(unit)));
                }
                Heard::News => news = true,
            }
        }
        self.send_claims(id, &better, link);
        // What changes nothing wakes nobody, however often it is said.
        if news {
            self.look_soon(now, id);
        }
        self.pass_on_soon(now, id);
    }

    /// Peers told something that may change who has to ask the origin.
    pub(super) fn look_soon(&mut self, now: Instant, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| self.shares_origin(job) && job.wants()) {
            self.timers.set_no_later(Timer::Claims(id), now + LOOK);
        }
    }

    /// Takes in what was heard of one claim.
    fn claim_heard(&mut self, now: Instant, id: JobId, link: LinkId, claim: Claim) -> Heard {
        let Some(job) = self.jobs.get(&id) else { return Heard::Old };
        let Some(unit) = job.unit_at(claim.first) else { return Heard::Old };
        // Most of what is heard: nothing follows from it, whoever says it, and so nobody has to find out whose score it is.
        if job.claims.is_settled(unit, &claim) {
            return Heard::Old;
        }
        let peer_id = self.peers.get(&link).map(|peer| peer.who.id);
        let xorb = job.origin.blocks[unit as usize].block.xorb;
        let own = peer_id.is_some_and(|peer_id| score(&xorb, &peer_id) == claim.score);
        let hearsay = !own && claim.beat != Claim::RELEASED;
        if hearsay && self.is_of_one_unheard(now, id, &xorb, claim.score) {
            return Heard::Old;
        }
        let Some(mouth) = self.mouth(now, id, link, own) else { return Heard::Old };
        let dials = !own && mouth.early && self.dialling_somebody_new(now);
        let Some(job) = self.jobs.get_mut(&id) else { return Heard::Old };
        let teller = job.claims.units.get(&unit).and_then(|standing| self.peers.get(&standing.told_by?.link));
        let unseen = job.believes(id, unit, false, teller) > job.claims.idle(false);
        // What was under way is due, if it is left to one of whom nothing is seen yet.
        let due = job.is_fast()
            && own
            && !mouth.useful
            && self.peers.get(&link).is_some_and(|peer| peer.told_nothing(id))
            && job.blocks_of(unit).any(|block| job.origin.blocks[block as usize].active);
        let standing = job.claims.units.entry(unit).or_default();
        let known = standing.claim;
        if claim.beat == Claim::RELEASED {
            if known.is_none_or(|(score, _)| score != claim.score) {
                return Heard::Old;
            }
            return if standing.mine
                || score(&job.origin.blocks[unit as usize].block.xorb, &self.config.peer_id) == claim.score
            {
                // Somebody lost its link to us: we are still there.
                if let Some((_, beat)) = &mut standing.claim {
                    *beat = if *beat >= DONE { DONE | (*beat + 1) } else { (*beat + 1) % DONE };
                    *beat = (*beat).min(Claim::RELEASED - 1);
                }
                job.claims.dirty.insert(unit, Vec::new());
                Heard::Old
            } else {
                // Who says so says it to all that may know the owner; the others miss its beat soon.
                job.claims.forget(unit);
                Heard::News
            };
        }
        let old = |(score, beat): (u64, u16)| score == claim.score && beat >= claim.beat;
        let dead = if own { standing.dead.last() } else { standing.dead };
        if dead.beat(claim.score).is_some_and(|beat| beat >= claim.beat) {
            return Heard::Old;
        }
        match known {
            Some((score, _)) if score > claim.score => {
                let done = claim.beat >= DONE;
                if own && let Some(rival) = Rival::first(standing.rival, link, done) {
                    standing.rival = Some(rival);
                    if done && standing.told_by.is_some_and(|by| !by.is_known()) {
                        // It may be time for the next one.
                        self.look_soon(now, id);
                    }
                }
                return Heard::Less;
            }
            Some(known) if old(known) => {
                // What was passed on is its owner's word as soon as it says so itself.
                if own && known.0 == claim.score && standing.told_by.is_some_and(|by| !by.own) {
                    standing.told_by = Some(mouth);
                    job.claims.dirty.entry(unit).or_default();
                }
                if known.1 == claim.beat
                    && let Some(links) = job.claims.dirty.get_mut(&unit)
                {
                    links.push(link);
                }
                return Heard::Old;
            }
            Some((score, _)) if score == claim.score => {
                let done = claim.beat >= DONE && known.is_some_and(|(_, beat)| beat < DONE);
                if standing.mine || !done && now.since(standing.heard) < BEAT_MIN {
                    return Heard::Old;
                }
                standing.claim = Some((claim.score, claim.beat));
                standing.heard = now;
                if !done {
                    job.claims.stands.insert(unit);
                    job.claims.stands_at.get_or_insert(now + GATHER_BEATS);
                    return Heard::Old;
                }
                // Where nothing could be seen of it before, that it is whole is news: now it has its time to spread.
                if unseen {
                    standing.moved = Some(now);
                }
            }
            // Where all are linked an owner says itself that it has what we are at. Who has just come and still dials does not know yet
            // how many there are.
            _ if standing.mine && !own && !job.claims.far && !dials => return Heard::Old,
            // What we contest is not left to the next one of whom nothing is seen.
            _ if standing.contested.is_some_and(|by| mouth.is_strange() || by.author == mouth.author) => {
                return Heard::Old;
            }
            _ => {
                let mine = known.filter(|_| standing.mine);
                *standing = Standing {
                    claim: Some((claim.score, claim.beat)),
                    mine: false,
                    told_by: Some(Mouth { instead_of_ours: mine.is_some(), ..mouth }),
                    since: now,
                    heard: now,
                    dead: standing.dead,
                    near: standing.near,
                    moved: mine.filter(|_| due).map(|_| now),
                    ..Standing::default()
                };
                if let Some((ours, _)) = mine {
                    // Who does not believe the better one would wait for us.
                    if !mouth.is_known() {
                        job.claims.released.insert(unit, ours);
                    }
                    self.yield_unit(id, unit);
                }
            }
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.claims.dirty.insert(unit, alloc::vec![link]);
        }
        Heard::News
    }

    /// Somebody with a higher score has a unit that we had begun: a stream that is not half done is left to them. What peers gave of it counts
    /// for nothing: all have half of what two stream by then, and both would go on to the end.
    pub(super) fn yield_unit(&mut self, id: JobId, unit: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for block in job.blocks_of(unit).collect::<Vec<u32>>() {
            let state = &mut job.origin.blocks[block as usize];
            if state.goes_on() && state.passed() * 2 < state.indices().count() {
                state.stopping = true;
                self.actions.push_back(Action::OriginStop { job: id, block });
            }
        }
    }

    /// A peer is gone. What it had claimed and nobody near has is up for the next in line, here and everywhere.
    pub(super) fn owner_gone(&mut self, now: Instant, peer_id: &PeerId) {
        let ids = self.asking.jobs.clone();
        for id in ids {
            let sharing = self.origin.sparing.on;
            let concerns = |job: &&mut Job| !job.course.ended && job.shares_origin(sharing);
            let Some(job) = self.jobs.get_mut(&id).filter(concerns) else { continue };
            let theirs = |job: &Job, unit: u32, standing: &Standing| {
                let xorb = &job.origin.blocks[unit as usize].block.xorb;
                standing.claim.is_some_and(|(claimed, _)| claimed == score(xorb, peer_id))
            };
            let lost: Vec<u32> = job
                .claims
                .units
                .iter()
                .filter(|(unit, standing)| {
                    (**unit as usize) < job.origin.blocks.len()
                        && !standing.mine
                        && theirs(job, **unit, standing)
                        && !job.is_there(**unit)
                })
                .map(|(unit, _)| *unit)
                .collect();
            if lost.is_empty() {
                continue;
            }
            lost.iter().for_each(|unit| job.claims.release(*unit));
            self.pass_on(id);
            self.timers.set_no_later(Timer::Claims(id), now + GATHER);
        }
    }

    pub(super) fn pass_on_soon(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let news = !job.claims.dirty.is_empty() || !job.claims.released.is_empty();
        let new = news.then_some(now + GATHER);
        if let Some(at) = new.into_iter().chain(job.claims.stands_at).min() {
            self.timers.set_no_later(Timer::Claims(id), at);
        }
    }

    /// Renews our claims if that is due, passes on what is new, and looks at what is nobody's.
    pub(super) fn claims_timer(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.course.ended {
            return;
        }
        if job.claims.beat_at.is_some_and(|at| at <= now) {
            let mine: Vec<u32> = job.claims.mine().collect();
            job.claims.beat_at = (!mine.is_empty()).then_some(now + BEAT);
            for unit in mine {
                // A fetch that has stood still for a whole life of a claim is no reason for others to wait.
                let stuck = job.blocks_of(unit).any(|block| job.origin.blocks[block as usize].active)
                    && now.since(job.origin.moved_at) >= DEAD;
                if let Some(standing) = job.claims.units.get_mut(&unit)
                    && let Some((score, beat)) = standing.claim.filter(|_| !stuck)
                {
                    standing.claim = Some((score, (beat + 1) % DONE));
                    standing.heard = now;
                    job.claims.dirty.insert(unit, Vec::new());
                }
            }
        }
        if let Some(at) = job.claims.beat_at {
            self.timers.set_no_later(Timer::Claims(id), at);
        }
        if job.claims.stands_at.is_some_and(|at| at <= now) {
            job.claims.stands_at = None;
            let stands = core::mem::take(&mut job.claims.stands);
            for unit in stands {
                job.claims.dirty.entry(unit).or_default();
            }
        }
        self.pass_on_soon(now, id);
        self.pass_on(id);
        self.fill_origin(now);
    }

    /// Tells every interested peer of the claims that are new to it.
    pub(super) fn pass_on(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let file = job.spec.file;
        let dirty = core::mem::take(&mut job.claims.dirty);
        let released = core::mem::take(&mut job.claims.released);
        let mut news: Vec<(Claim, Vec<LinkId>)> = dirty
            .into_iter()
            .filter_map(|(unit, knows)| Some((job.claim_to_pass_on(unit)?, knows)))
            .collect();
        let back = |(unit, score)| Some((job.claim_to(unit, score, Claim::RELEASED)?, Vec::new()));
        news.extend(released.into_iter().filter_map(back));
        if news.is_empty() {
            return;
        }
        for (&link, _) in self.peers.iter().filter(|(_, peer)| peer.hears_of(&file)) {
            let new = news.iter().filter(|(_, knows)| !knows.contains(&link));
            let claims: Vec<Claim> = new.map(|(claim, _)| *claim).collect();
            say(&mut self.actions, link, file, &claims);
        }
    }

    /// A peer has come to the swarm: it is told how things stand.
    pub(super) fn greet_with_claims(&mut self, now: Instant, link: LinkId, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let alive = |unit: &u32| {
            let standing = &job.claims.units[unit];
            let teller = standing.told_by.and_then(|by| self.peers.get(&by.link));
            standing.mine || now < standing.until(job.believes(id, *unit, standing.is_done(), teller))
        };
        let claims: Vec<Claim> = job
            .claims
            .units
            .keys()
            .filter(|unit| alive(unit))
            .filter_map(|unit| job.claim_to_pass_on(*unit))
            .collect();
        self.send_claims(id, &claims, link);
    }

    fn send_claims(&mut self, id: JobId, claims: &[Claim], link: LinkId) {
        let Some(file) = self.jobs.get(&id).map(|job| job.spec.file) else { return };
        if self.peers.get(&link).is_some_and(|peer| peer.hears_of(&file)) {
            say(&mut self.actions, link, file, claims);
        }
    }
}

fn say(actions: &mut VecDeque<Action>, link: LinkId, file: Hash, claims: &[Claim]) {
    for claims in claims.chunks(CLAIMS_MAX) {
        actions.push_back(Action::Send {
            link,
            message: Outgoing::Zest(ZestMessage::Claim { file: FileKey::of(&file), claims: claims.to_vec() }),
        });
    }
}

impl Job {
    /// The unit that this chunk is in.
    pub(super) fn unit_at(&self, index: u32) -> Option<u32> {
        self.lists.layout.block_of(index).map(|block| self.unit_of(block))
    }

    fn claim_to_pass_on(&self, unit: u32) -> Option<Claim> {
        let standing = self.claims.units.get(&unit).filter(|standing| standing.is_passed_on())?;
        let (score, beat) = standing.claim?;
        self.claim_to(unit, score, beat)
    }

    fn claim_to(&self, unit: u32, score: u64, beat: u16) -> Option<Claim> {
        let first = self.origin.blocks.get(unit as usize)?.block.runs.first()?.first;
        Some(Claim { first, score, beat })
    }
}
