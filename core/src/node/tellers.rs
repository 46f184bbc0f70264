//! What claims were worth, by who told of them.
//!
//! A claim goes from node to node, and nothing proves it but what turns up of its part. So it is the word of whoever told us of it
//! first: of its owner, if the score is its own, or of one who passed it on. A word that comes to nothing counts against that party.
//! It is not listened to for a while, and what else it told of that kind is dropped at once: one who claims everything holds up a
//! swarm once, not part after part. What owners say of themselves and what is passed on are held apart: who passed on a lie in good
//! faith is still believed what it does itself.

use super::Node;
use super::authors::{Author, DENIALS_MAX};
use super::job::Job;
use super::mouth::Mouth;
use super::peer::{Has, Peer};
use super::standing::Standing;
use super::timers::Timer;
use super::units::score;
use crate::{Duration, Instant, JobId, LinkId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use zest_xet::Hash;

/// Who broke its word is not listened to for so long: 60 s, twice as long each time. Ours.
pub const DEAF: Duration = Duration::from_secs(60);
/// And at the longest: 16 times as long. Ours.
const DOUBLINGS_MAX: u32 = 4;
/// Of whom so many words came true for each that did not, it is still believed: 8. Ours; an owner may crash, or its line break.
const KEPT_PER_BROKEN: u32 = 8;
/// What is passed on by whom nothing proves is passed on for so long after a job has begun: 5 s. Ours; so long such a word is believed.
const EARLY: Duration = Duration::from_secs(5);
/// So many words that come to nothing are forgiven in any case: 2. Ours; a liar claims more at once.
const FORGIVEN: u32 = 2;
/// Parties remembered at most: 1,024. Ours; the one that was heard of longest ago makes room.
pub const TELLERS_MAX: usize = 1024;

/// Words of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    kept: u32,
    broken: u32,
    /// How often it was not listened to any more.
    times: u32,
    until: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Teller {
    own: Tally,
    passed_on: Tally,
    heard: Instant,
}

impl Teller {
    fn tally(&mut self, own: bool) -> &mut Tally {
        if own { &mut self.own } else { &mut self.passed_on }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Tellers {
    known: BTreeMap<Author, Teller>,
    /// What is passed on by those who have given nothing, all together: when one of them lied none is heard for a while.
    strangers: Tally,
}

impl Tellers {
    fn note(&mut self, now: Instant, mouth: &Mouth) -> &mut Tally {
        if self.known.len() >= TELLERS_MAX
            && !self.known.contains_key(&mouth.author)
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, teller)| teller.heard).map(|(author, _)| *author)
        {
            self.known.remove(&oldest);
        }
        let teller = self.known.entry(mouth.author).or_default();
        teller.heard = now;
        teller.tally(mouth.own)
    }

    /// A word came true.
    pub(super) fn kept(&mut self, now: Instant, mouth: &Mouth) {
        let tally = self.note(now, mouth);
        tally.kept = tally.kept.saturating_add(1);
    }

    /// A word came to nothing: whether its party is not listened to any more.
    fn broken(&mut self, now: Instant, mouth: &Mouth) -> bool {
        // Who told the same lie in good faith is a stranger, too: they are not told apart.
        let tally = if mouth.is_strange() { &mut self.strangers } else { self.note(now, mouth) };
        tally.broken = tally.broken.saturating_add(1);
        let lies = tally.broken.saturating_sub(FORGIVEN).saturating_mul(KEPT_PER_BROKEN) > tally.kept;
        if lies {
            tally.until = now + DEAF * (1 << tally.times.min(DOUBLINGS_MAX));
            tally.times += 1;
        }
        lies
    }

    /// Somebody else did what was said, all of it, and nothing was seen of whom the word was about: that is proof enough where nothing
    /// speaks for it.
    fn outdone(&mut self, now: Instant, mouth: &Mouth) -> bool {
        let tally = if mouth.is_strange() { &mut self.strangers } else { self.note(now, mouth) };
        tally.broken = tally.broken.max(FORGIVEN);
        self.broken(now, mouth)
    }

    fn is_heard(&self, now: Instant, mouth: &Mouth) -> bool {
        let deaf = |teller: &Teller| now < if mouth.own { teller.own } else { teller.passed_on }.until;
        let stranger = mouth.is_strange() && now < self.strangers.until;
        !stranger && !self.known.get(&mouth.author).is_some_and(deaf)
    }

    /// Nobody has kept a word that was given while the origin was out.
    pub(super) fn forgive(&mut self) {
        self.strangers.until = Instant::ZERO;
        for teller in self.known.values_mut() {
            teller.own.until = Instant::ZERO;
            teller.passed_on.until = Instant::ZERO;
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.known.len() <= TELLERS_MAX, "tellers stay within their limit");
    }
}

impl Node {
    /// Whose word it is what a peer says of a claim; `None`: it is not listened to.
    pub(super) fn mouth(&self, now: Instant, id: JobId, link: LinkId, own: bool) -> Option<Mouth> {
        let mouth = self.any_mouth(now, id, link, own)?;
        self.contacts.tellers.is_heard(now, &mouth).then_some(mouth)
    }

    /// The same, whether it is listened to or not.
    pub(super) fn any_mouth(&self, now: Instant, id: JobId, link: LinkId, own: bool) -> Option<Mouth> {
        let author = self.author(link)?;
        let useful = self.peers.get(&link).is_some_and(|peer| peer.word.useful);
        let early = self.jobs.get(&id).is_some_and(|job| now.since(job.course.since) < EARLY);
        let offers = own && self.config.tentative;
        Some(Mouth { author, link, own, useful, early, offers, instead_of_ours: false })
    }

    /// Whether a claim is of a linked peer that is not listened to and has given nothing: what others still pass on of it is worth no
    /// more than what it says.
    pub(super) fn is_of_one_unheard(&self, now: Instant, id: JobId, xorb: &Hash, claimed: u64) -> bool {
        self.peers.iter().any(|(link, peer)| {
            (!peer.word.useful || self.denies(now, *link))
                && self.mouth(now, id, *link, true).is_none()
                && score(xorb, &peer.who.id) == claimed
        })
    }

    /// Whether a peer has given something useful.
    fn has_given(&self, link: LinkId) -> bool {
        self.peers.get(&link).is_some_and(|peer| peer.word.useful)
    }

    /// Whether a peer has all of a unit: it gives, or told of it bit by bit. That it has all of the file anybody can say at once.
    pub(super) fn shows_unit(&self, id: JobId, unit: u32, link: LinkId) -> bool {
        let bit_by_bit = |peer: &Peer| matches!(peer.jobs.get(&id).map(|with| &with.has), Some(Has::Some(_)));
        let shows = self.has_given(link) || self.peers.get(&link).is_some_and(bit_by_bit);
        shows && self.has_unit(id, unit, link)
    }

    /// Whether something is seen of a claim's owner: it gives, offers what it streams of the unit, or told of some of it.
    pub(super) fn shows_some(&self, id: JobId, unit: u32, by: Mouth) -> bool {
        let Some((job, peer)) = self.jobs.get(&id).zip(self.peers.get(&by.link)) else { return false };
        let told = || match peer.jobs.get(&id).map(|with| &with.has) {
            Some(Has::Some(set)) => job.indices_of(unit).any(|index| set.contains(index)),
            _ => false,
        };
        peer.word.useful || by.own && (job.unproven.is_offered(unit, by.link) || told())
    }

    /// Whether a peer has all of a unit, as it says.
    pub(super) fn has_unit(&self, id: JobId, unit: u32, link: LinkId) -> bool {
        let has = self.peers.get(&link).and_then(|peer| Some(&peer.jobs.get(&id)?.has));
        self.jobs
            .get(&id)
            .zip(has)
            .is_some_and(|(job, has)| job.indices_of(unit).all(|index| has.may_have(index)))
    }

    /// Nothing came of a claim. While the origin is out, or our line, nobody can do what it said.
    pub(super) fn word_broken(&mut self, now: Instant, mouth: &Mouth) {
        if !self.blocks_are_out() && self.contacts.tellers.broken(now, mouth) {
            self.drop_words(now, mouth);
        }
    }

    /// A peer lacks a chunk that it said it has. If the part is its own as it says, and nobody else has that chunk, its claim is worth nothing.
    pub(super) fn word_denied(&mut self, now: Instant, link: LinkId, id: JobId, index: u32) {
        let (author, out) = (self.author(link), self.blocks_are_out());
        let Some(job) = self.jobs.get(&id).filter(|job| !job.origin.blocks.is_empty()) else { return };
        if job.sets.held.contains(index) || job.supply.has_seeds() || job.supply.parts().contains(index) {
            return;
        }
        let Some(unit) = job.unit_at(index) else { return };
        let own =
            |standing: &Standing| standing.told_by.is_some_and(|by| by.own && Some(by.author) == author);
        if job.claims.units.get(&unit).is_some_and(own) {
            self.disbelieve(now, id, unit, out);
            self.look_soon(now, id);
        }
    }

    /// A peer denied what it had told of: what it says of whose work something is counts for nothing, now or later.
    pub(super) fn author_denied(&mut self, now: Instant, link: LinkId, id: JobId, unit: u32) {
        self.never_theirs(now, link, id, unit..unit + 1);
        let Some(mouth) = self.any_mouth(now, id, link, true) else { return };
        self.contacts.authors.denied(now, mouth.author, 1);
        if self.contacts.authors.denies(now, &mouth.author) {
            self.unheard(now, &mouth);
        }
    }

    /// A peer that fetches a file denied too many of the chunks that it told of, one by one: the same, of all parts at once.
    pub(super) fn found_to_deny(&mut self, now: Instant, link: LinkId, id: JobId) {
        let Some(mouth) = self.any_mouth(now, id, link, true) else { return };
        if self.contacts.authors.denies(now, &mouth.author) {
            return;
        }
        self.contacts.authors.denied(now, mouth.author, DENIALS_MAX);
        let blocks = |(id, job): (&JobId, &Job)| (*id, job.origin.blocks.len() as u32);
        let jobs: Vec<(JobId, u32)> = self.jobs.iter().map(blocks).collect();
        for (id, blocks) in jobs {
            self.never_theirs(now, link, id, 0..blocks);
        }
        self.unheard(now, &mouth);
    }

    /// Whoever says so, parts are not a peer's.
    fn never_theirs(&mut self, now: Instant, link: LinkId, id: JobId, units: Range<u32>) {
        let out = self.blocks_are_out();
        for unit in units {
            let Some((job, peer)) = self.jobs.get_mut(&id).zip(self.peers.get(&link)) else { return };
            let theirs = score(&job.origin.blocks[unit as usize].block.xorb, &peer.who.id);
            let stands = job.claims.units.get(&unit).and_then(|standing| standing.claim);
            job.claims.never(unit, theirs);
            if stands.is_some_and(|(stands, _)| stands == theirs) {
                self.disbelieve(now, id, unit, out);
            }
        }
        self.look_soon(now, id);
    }

    /// Whether a peer denied what it had told of, more than once.
    pub(super) fn denies(&self, now: Instant, link: LinkId) -> bool {
        self.author(link).is_some_and(|author| self.contacts.authors.denies(now, &author))
    }

    /// A claim has outlived itself. Whether another who gives, or told of some of the part, said that it is at it, too, and has it now.
    pub(super) fn disbelieve(&mut self, now: Instant, id: JobId, unit: u32, out: bool) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let rival = job.claims.units.get(&unit).and_then(|standing| standing.rival);
        if let Some(mouth) = job.claims.disbelieve(now, unit, out) {
            self.word_broken(now, &mouth);
        }
        // Two that dialled each other at the same time are linked twice, and give on one of them.
        let Some(said) = rival.and_then(|rival| self.peers.get(&rival.link())).map(Peer::machine) else {
            return false;
        };
        let theirs = self.peers.iter().filter(|(_, peer)| peer.machine() == said && peer.counts());
        let mut mouths = theirs.filter_map(|(link, _)| self.mouth(now, id, *link, true));
        let Some(mouth) = mouths.find(|mouth| self.shows_some(id, unit, *mouth)) else { return false };
        let (Some(job), Some(peer)) = (self.jobs.get_mut(&id), self.peers.get(&mouth.link)) else {
            return false;
        };
        let theirs = score(&job.origin.blocks[unit as usize].block.xorb, &peer.who.id);
        job.claims.succeed(now, unit, theirs, mouth);
        true
    }

    /// A claimed part is whole, and it was somebody else who fetched it while nothing was seen of its owner: whether that counts.
    pub(super) fn word_outdone(&mut self, now: Instant, mouth: &Mouth) -> bool {
        // It may have given something since it said so.
        let known = mouth.is_known() || mouth.own && self.has_given(mouth.link);
        let counts = !known && !self.blocks_are_out() && !self.is_among_many();
        if counts {
            self.unheard(now, mouth);
        }
        counts
    }

    /// A word came to nothing for which nothing speaks: once its party is not listened to, what else it said is dropped, too.
    fn unheard(&mut self, now: Instant, mouth: &Mouth) {
        if self.contacts.tellers.outdone(now, mouth) {
            self.drop_words(now, mouth);
        }
    }

    /// What else the same party said of that kind is dropped.
    fn drop_words(&mut self, now: Instant, mouth: &Mouth) {
        let empty = |standing: &Standing| {
            !standing.mine
                && standing.near == 0
                && standing.told_by.is_some_and(|by| {
                    by.own == mouth.own
                        && (by.author == mouth.author || mouth.is_strange() && by.is_strange())
                })
        };
        let mut ids: Vec<JobId> = Vec::new();
        for (id, job) in &mut self.jobs {
            let units: Vec<u32> = job
                .claims
                .units
                .iter()
                .filter(|(_, standing)| empty(standing))
                .map(|(unit, _)| *unit)
                .collect();
            if !units.is_empty() {
                ids.push(*id);
            }
            // Nobody else is told: each finds out for itself whose word it was.
            for unit in units {
                job.claims.forget(unit);
            }
        }
        for id in ids {
            self.timers.set_no_later(Timer::Claims(id), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Party;

    fn at(s: u64) -> Instant {
        Instant(1_000_000 + s * 1_000_000)
    }

    fn mouth(own: bool) -> Mouth {
        let author = (Party::of("10.0.0.1".parse().unwrap()), None);
        let link = LinkId(1);
        Mouth { author, link, own, useful: true, early: false, offers: false, instead_of_ours: false }
    }

    #[test]
    fn who_breaks_a_word_of_one_kind_is_still_believed_the_other() {
        let mut tellers = Tellers::default();
        (0..FORGIVEN).for_each(|_| assert!(!tellers.broken(at(0), &mouth(false))));
        assert!(tellers.broken(at(0), &mouth(false)));
        assert!(!tellers.is_heard(at(1), &mouth(false)));
        assert!(tellers.is_heard(at(1), &mouth(true)));
        assert!(tellers.is_heard(at(0) + DEAF, &mouth(false)));
    }

    #[test]
    fn one_broken_word_among_many_kept_is_forgiven() {
        let mut tellers = Tellers::default();
        (0..FORGIVEN).for_each(|_| assert!(!tellers.broken(at(0), &mouth(true)), "as every beginner's"));
        (0..KEPT_PER_BROKEN).for_each(|_| tellers.kept(at(0), &mouth(true)));
        assert!(!tellers.broken(at(0), &mouth(true)));
        assert!(tellers.broken(at(0), &mouth(true)), "two are too many");
    }

    #[test]
    fn who_did_nothing_while_another_did_it_all_is_not_heard_at_once() {
        let mut tellers = Tellers::default();
        assert!(tellers.outdone(at(0), &mouth(false)));
        assert!(!tellers.is_heard(at(1), &mouth(false)));
        assert!(tellers.is_heard(at(1), &mouth(true)));
        (0..KEPT_PER_BROKEN).for_each(|_| tellers.kept(at(2), &mouth(true)));
        assert!(!tellers.outdone(at(2), &mouth(true)), "what it did before speaks for it");
    }

    #[test]
    fn whoever_goes_on_lying_is_not_heard_for_longer_and_longer() {
        let mut tellers = Tellers::default();
        let mut now = at(0);
        (0..FORGIVEN).for_each(|_| assert!(!tellers.broken(now, &mouth(false))));
        for times in 0..DOUBLINGS_MAX + 3 {
            tellers.broken(now, &mouth(false));
            let deaf = DEAF * (1 << times.min(DOUBLINGS_MAX));
            now = now + deaf;
            assert!(!tellers.is_heard(Instant(now.0 - 1), &mouth(false)));
            assert!(tellers.is_heard(now, &mouth(false)));
        }
    }
}
