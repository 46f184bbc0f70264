//! The claims of a job, by unit.

use super::mouth::Mouth;
use super::standing::{DEAD, Standing};
use crate::link::Claim;
use crate::{Duration, Instant, LinkId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A claim to a unit of which nothing new turns up nearby for as long as [`PACES`] of its chunks usually take is an empty
/// word, as long as that is no shorter than this: 3 s. Ours; news need a second to cross a large swarm.
const IDLE_MIN: Duration = Duration::from_secs(3);
/// The same as long as nothing is known of that, and for units whose owner has them whole: 5 s. Ours.
const IDLE_USUAL: Duration = Duration::from_secs(5);
/// And at the longest: 60 s. Ours.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// As long as there is no manifest nothing of a unit can turn up before it is there as a whole and proven: its claim is
/// believed for as long as it takes at this rate, within the same bounds: 500 kB/s. Ours; less than an origin usually gives to
/// each of those that share its work.
const UNSEEN_BYTES_S: u64 = 500_000;
/// Chunks in whose time at least one must turn up: 32. Ours.
const PACES: u32 = 32;
/// The beat of a claim that is not believed any more, whatever is still said of it.
pub(super) const DISBELIEVED: u16 = Claim::RELEASED - 1;

/// Claims that a peer told of and that are remembered before it is known what the file is made of: 64 of a link. Ours; many times as
/// many as are due.
pub const EARLY_CLAIMS_MAX: usize = 64;
/// And so many of a file: 2,048, some 100 KiB. Ours.
pub const EARLY_CLAIMS_JOB_MAX: usize = 2048;

/// The claims of a job.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// What was told before it had a meaning, by link and first chunk.
    early: BTreeMap<(LinkId, u32), Claim>,
    pub(super) units: BTreeMap<u32, Standing>,
    /// Units whose claim is new and to be passed on, and the links that said the same meanwhile.
    pub(super) dirty: BTreeMap<u32, Vec<LinkId>>,
    /// Claims that were taken back, by score, of which peers are to be told.
    pub(super) released: BTreeMap<u32, u64>,
    /// Units whose claim is known and still stands, which is to be passed on when there is time.
    pub(super) stands: BTreeSet<u32>,
    /// When that is.
    pub(super) stands_at: Option<Instant>,
    /// Units that are held here or whole at peers.
    pub(super) there: BTreeSet<u32>,
    /// We had a unit that somebody else claimed to be at.
    pub(super) doubtful: bool,
    /// More others are known than everybody is linked with.
    pub(super) far: bool,
    /// The next time our claims are due to be renewed.
    pub(super) beat_at: Option<Instant>,
    /// Time from one chunk of a claimed unit to the next, µs, on average; 0: not known.
    pace_us: u64,
}

impl Claims {
    /// Whether nothing follows from a claim that was heard, whoever says it: it is the one that stands or an earlier one of the same
    /// owner, that owner said so itself or we are it, and it waits for nobody to be passed on.
    pub(super) fn is_settled(&self, unit: u32, heard: &Claim) -> bool {
        let Some(standing) = self.units.get(&unit).filter(|_| heard.beat != Claim::RELEASED) else {
            return false;
        };
        let known = standing.claim.filter(|(score, beat)| *score == heard.score && *beat >= heard.beat);
        let is_new = known.is_none_or(|(_, beat)| beat == heard.beat && self.dirty.contains_key(&unit));
        !is_new && standing.told_by.is_none_or(|by| by.own)
    }

    /// It is not known yet what the file is made of: what a peer says is kept until it is, or until the peer takes it back.
    pub(super) fn keep_early(&mut self, link: LinkId, claim: Claim) {
        let at = (link, claim.first);
        if claim.beat == Claim::RELEASED {
            if self.early.get(&at).is_some_and(|kept| kept.score == claim.score) {
                self.early.remove(&at);
            }
            return;
        }
        let theirs = self.early.range((link, 0)..=(link, u32::MAX)).count();
        let has_room = theirs < EARLY_CLAIMS_MAX && self.early.len() < EARLY_CLAIMS_JOB_MAX;
        if has_room || self.early.contains_key(&at) {
            self.early.insert(at, claim);
        }
    }

    /// A link is gone.
    pub(super) fn drop_early(&mut self, link: LinkId) {
        self.early.retain(|(other, _), _| *other != link);
    }

    /// What was told before it had a meaning: now it has.
    pub(super) fn take_early(&mut self) -> BTreeMap<LinkId, Vec<Claim>> {
        let mut told: BTreeMap<LinkId, Vec<Claim>> = BTreeMap::new();
        for ((link, _), claim) in core::mem::take(&mut self.early) {
            told.entry(link).or_default().push(claim);
        }
        told
    }

    /// Peers went or came, or blocks that were one unit are units of their own now: what is there has to be looked at again.
    pub(crate) fn look_again(&mut self) {
        self.there.clear();
    }

    /// How long a claim is believed of which nothing is seen.
    pub(super) fn idle(&self, done: bool) -> Duration {
        let pace = Duration::from_micros(self.pace_us) * PACES;
        match self.pace_us {
            0 => IDLE_USUAL,
            _ if done => pace.clamp(IDLE_USUAL, IDLE_MAX),
            _ => pace.clamp(IDLE_MIN, IDLE_MAX),
        }
    }

    /// The same of a unit of so many bytes that cannot be seen in parts.
    pub(super) fn idle_unseen(&self, done: bool, bytes: u64) -> Duration {
        let whole = Duration::from_micros(bytes.saturating_mul(1_000_000) / UNSEEN_BYTES_S).min(IDLE_MAX);
        if done { self.idle(done) } else { self.idle(done).max(whole) }
    }

    /// Notes how much of a unit is nearby.
    pub(super) fn saw(&mut self, now: Instant, unit: u32, near: u32, due: bool) {
        let Some(standing) = self.units.get_mut(&unit) else { return };
        if near > standing.near {
            if let Some(moved) = standing.moved.filter(|_| standing.near > 0) {
                let each = now.since(moved).as_micros() as u64 / u64::from(near - standing.near);
                self.pace_us = if self.pace_us == 0 { each } else { (7 * self.pace_us + each) / 8 };
            }
            // Before its turn nothing has to come of it. What is there of a stream that was stopped is no begin.
            if due || standing.moved.is_some() || standing.is_done() {
                standing.moved = Some(now);
            }
        } else if standing.moved.is_none() && (due || standing.is_done()) {
            standing.moved = Some(now);
        }
        standing.near = near;
    }

    /// A claim has outlived itself. Of an owner that fell silent it is heard again when it comes back; one that did not do
    /// what it said is not listened to any more: whose word that was. While the origin is `out` nobody could do it.
    pub(super) fn disbelieve(&mut self, now: Instant, unit: u32, out: bool) -> Option<Mouth> {
        let quiet = |standing: &Standing| !standing.is_done() && now.since(standing.heard) >= DEAD;
        let quiet = self.units.get(&unit).is_some_and(quiet);
        let told_by = self.units.get(&unit).and_then(|standing| standing.told_by);
        if let Some((score, beat)) = self.forget(unit)
            && let Some(standing) = self.units.get_mut(&unit)
        {
            let hearsay = !quiet && !out && told_by.is_some_and(|by| !by.own);
            standing.dead.put(score, if quiet { beat } else { DISBELIEVED }, hearsay);
        }
        told_by.filter(|_| !quiet)
    }

    /// Whoever has this score is not believed that it is at a unit, whenever it says so.
    pub(super) fn never(&mut self, unit: u32, score: u64) {
        self.units.entry(unit).or_default().dead.put(score, DISBELIEVED, false);
    }

    /// The origin was out: whoever did not do what it said may say it again.
    pub(super) fn forgive(&mut self) {
        self.units.values_mut().for_each(|standing| standing.dead = standing.dead.last());
    }

    /// A claim does not stand any more, and peers are to hear of it.
    pub(super) fn release(&mut self, unit: u32) {
        if let Some((score, _)) = self.forget(unit) {
            self.released.insert(unit, score);
        }
    }

    /// A claim does not stand any more.
    pub(super) fn forget(&mut self, unit: u32) -> Option<(u64, u16)> {
        let standing = self.units.get_mut(&unit)?;
        let claim = standing.claim.take()?;
        *standing = Standing { dead: standing.dead, near: standing.near, ..Standing::default() };
        standing.dead.put(claim.0, claim.1, false);
        self.dirty.remove(&unit);
        Some(claim)
    }

    /// A unit of ours is somebody else's, who was not believed and does it all the same.
    pub(super) fn give_way(&mut self, now: Instant, unit: u32, score: u64, mouth: Mouth) {
        let Some(standing) = self.units.get_mut(&unit) else { return };
        *standing = Standing {
            claim: Some((score, 0)),
            told_by: Some(mouth),
            since: now,
            heard: now,
            moved: Some(now),
            near: standing.near,
            ..Standing::default()
        };
        self.dirty.insert(unit, alloc::vec![mouth.link]);
    }

    /// A unit is somebody's who said that it is at it while another's claim stood.
    pub(super) fn succeed(&mut self, now: Instant, unit: u32, score: u64, mouth: Mouth) {
        let Some(dead) = self.units.get(&unit).map(|standing| standing.dead) else { return };
        self.give_way(now, unit, score, mouth);
        if let Some(standing) = self.units.get_mut(&unit) {
            standing.dead = dead;
        }
    }

    pub(super) fn is_mine(&self, unit: u32) -> bool {
        self.units.get(&unit).is_some_and(|standing| standing.mine)
    }

    pub(super) fn mine(&self) -> impl Iterator<Item = u32> + '_ {
        self.units.iter().filter(|(_, standing)| standing.mine).map(|(unit, _)| *unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(1_000_000 + ms * 1000)
    }

    fn claimed(beat: u16) -> Claims {
        let mut claims = Claims::default();
        let standing = Standing { claim: Some((7, beat)), since: at(0), heard: at(0), ..Standing::default() };
        claims.units.insert(3, standing);
        claims
    }

    #[test]
    fn a_claim_of_which_nothing_is_seen_ends_once_its_time_has_come() {
        let mut claims = claimed(0);
        assert_eq!(
            claims.units[&3].until(claims.idle(false)),
            at(0) + DEAD,
            "its time has not come: beats count"
        );
        claims.saw(at(100), 3, 0, true);
        assert_eq!(claims.units[&3].until(claims.idle(false)), at(100) + IDLE_USUAL);
        claims.disbelieve(at(5100), 3, false);
        assert_eq!(claims.units[&3].dead.beat(7), Some(DISBELIEVED), "no beat brings it back");
    }

    #[test]
    fn a_claim_of_which_nothing_can_be_seen_before_the_end_is_given_the_time_it_takes() {
        let claims = claimed(0);
        assert_eq!(claims.idle_unseen(false, 10_000_000), Duration::from_secs(20));
        assert_eq!(claims.idle_unseen(false, 1000), IDLE_USUAL);
        assert_eq!(claims.idle_unseen(false, u64::MAX), IDLE_MAX);
        assert_eq!(claims.idle_unseen(true, 10_000_000), IDLE_USUAL, "what is whole there will spread");
    }

    #[test]
    fn chunks_that_turn_up_keep_a_claim_alive_without_beats() {
        let mut claims = claimed(0);
        for chunk in 1..=100 {
            claims.saw(at(chunk * 200), 3, chunk as u32, true);
        }
        assert_eq!(claims.pace_us, 200_000);
        let idle = claims.idle(false);
        assert_eq!(idle, Duration::from_millis(200) * PACES);
        assert_eq!(claims.units[&3].until(idle), at(20_000) + idle);
    }

    #[test]
    fn before_its_turn_nothing_has_to_come_of_what_is_claimed() {
        let mut claims = claimed(0);
        claims.saw(at(0), 3, 40, false);
        assert!(claims.units[&3].moved.is_none(), "what is here is left of a stream that was stopped");
        claims.saw(at(9000), 3, 40, true);
        assert_eq!(claims.units[&3].moved, Some(at(9000)), "its time has come");
        claims.saw(at(9500), 3, 50, false);
        assert_eq!(claims.units[&3].moved, Some(at(9500)), "and is not over when others are before it again");
    }

    #[test]
    fn what_is_told_before_it_has_a_meaning_is_bounded_and_can_be_taken_back() {
        let mut claims = Claims::default();
        let claim = |first, beat| Claim { first, score: 7, beat };
        (0..1000).for_each(|first| claims.keep_early(LinkId(1), claim(first, 0)));
        claims.keep_early(LinkId(1), claim(3, 5));
        claims.keep_early(LinkId(1), claim(4, Claim::RELEASED));
        claims.keep_early(LinkId(2), claim(5, 0));
        claims.keep_early(LinkId(2), Claim { score: 8, ..claim(5, Claim::RELEASED) });
        (3..1000).for_each(|link| claims.keep_early(LinkId(link), claim(0, 0)));
        claims.drop_early(LinkId(7));
        let told = claims.take_early();
        assert_eq!(told[&LinkId(1)].len(), EARLY_CLAIMS_MAX - 1);
        assert!(told[&LinkId(1)].contains(&claim(3, 5)), "what it said of a part before makes room");
        assert_eq!(told[&LinkId(2)], [claim(5, 0)], "it is somebody else's that was taken back");
        assert!(!told.contains_key(&LinkId(7)) && claims.take_early().is_empty());
        (0..9000).for_each(|link| claims.keep_early(LinkId(link), claim(0, 0)));
        assert_eq!(claims.take_early().len(), EARLY_CLAIMS_JOB_MAX);
    }

    #[test]
    fn an_owner_that_fell_silent_is_heard_again_when_it_comes_back() {
        let mut claims = claimed(4);
        claims.disbelieve(at(0) + DEAD, 3, false);
        assert_eq!(claims.units[&3].dead.beat(7), Some(4), "a later beat counts");
        assert!(claims.units[&3].claim.is_none());
    }
}
