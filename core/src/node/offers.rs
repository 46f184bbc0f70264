//! Whom we follow: peers offer blocks that they stream from the origin (`tentative.rs` says what becomes of one that is followed). Of all
//! that offer the same block one is followed, and of two that stream it one leaves it to the other.

use super::authors::Author;
use super::from_origin::OriginState;
use super::job::Job;
use super::taking::Taking;
use super::tentative::{HARDLY_BEGUN, TENTATIVE_BYTES_MAX, TENTATIVE_PARTY_BYTES_MAX};
use super::units::score;
use super::{Action, Node};
use crate::ids::FileKey;
use crate::link::{Outgoing, ZestMessage};
use crate::{Instant, JobId, LinkId};
use alloc::vec::Vec;

/// Links remembered over which the same block is offered: 8. Ours; when one fails the next is followed. Of more those that all others leave
/// it to in the end: of many that begin at once, most stop a moment later.
pub const OFFERS_MAX: usize = 8;
/// And of one author: 4. Ours; whoever comes in many ids leaves room for others.
const OFFERS_OF_ONE_MAX: usize = 4;
/// Blocks that a peer offers and that are remembered before it is known what the file is made of: 64 of a link. Ours; eight times
/// as many as somebody streams side by side.
pub const EARLY_OFFERS_MAX: usize = 64;
/// A block is followed so many times, then the origin gives it: 4. Ours; whoever takes back what it offered, or falls silent, holds
/// it up no longer than that, from however many addresses.
pub const FOLLOWS_MAX: u8 = 4;
/// The longest block that is to be expected: 64 MiB, the most bytes that a xorb has.
const EXPECTED: u64 = 64 << 20;

impl Job {
    /// Whether a block may be followed: nobody is at it, and nothing proves it yet.
    fn can_follow(&self, block: u32) -> bool {
        let Some(state) = self.origin.blocks.get(block as usize) else { return false };
        self.wants()
            && !self.unproven.no_room
            && self.origin.state == OriginState::Ready
            && self.is_unproven(block)
            && !state.active
            && state.peer.is_none()
            && !state.followed
            && state.follows < FOLLOWS_MAX
            && state.any_in(&self.sets.missing, None)
            && !self.lists.list_asks.contains_key(&block)
            && !self.claims.is_mine(block)
    }
}

impl Node {
    /// A peer streams a block and would give of it.
    pub(super) fn offered(&mut self, now: Instant, link: LinkId, file: FileKey, first: u32) {
        let able = self.config.tentative;
        // One that is slow just now may be followed in a moment, and says so once.
        let Some(peer) = self.peers.get(&link).filter(|peer| able && peer.ready() && peer.who.zest) else {
            return;
        };
        let theirs =
            |job: &Job| FileKey::of(&job.spec.file) == file && job.spec.is_open_to(peer) && !job.course.ended;
        let ids: Vec<JobId> = self.jobs.iter().filter(|(_, job)| theirs(job)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if job.origin.state.is_unplanned() {
                let of_link = (link, 0)..=(link, u32::MAX);
                if job.unproven.early_offers.range(of_link).count() < EARLY_OFFERS_MAX {
                    job.unproven.early_offers.insert((link, first));
                }
                // What they stream they do not have, and it has a meaning only in the layout.
                self.ask_layout(id);
                continue;
            }
            if let Some(block) = self.remember_offer(id, link, first) {
                self.yield_stream(now, id, block, link);
                self.follow_offers(now, id);
            }
        }
    }

    /// It is known what the file is made of: what was offered before has its meaning now.
    pub(super) fn resolve_offers(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for (link, first) in core::mem::take(&mut job.unproven.early_offers) {
            self.remember_offer(id, link, first);
        }
        self.follow_offers(now, id);
    }

    /// A peer offers the block that begins with this chunk, if one does.
    fn remember_offer(&mut self, id: JobId, link: LinkId, first: u32) -> Option<u32> {
        let job = self.jobs.get(&id)?;
        let block = job.block_at(first)?;
        let xorb = &job.origin.blocks[block as usize].block.xorb;
        let mut links = job.unproven.offers.get(&block).cloned().unwrap_or_default();
        if links.contains(&link) {
            return Some(block);
        }
        links.push(link);
        let author = self.author(link);
        let theirs = |link: &&LinkId| self.author(**link) == author;
        let of_one = links.iter().filter(theirs).count() > OFFERS_OF_ONE_MAX;
        if of_one || links.len() > OFFERS_MAX {
            let last = |link: &&LinkId| self.peers.get(link).map(|peer| score(xorb, &peer.who.id));
            let last = links.iter().filter(|link| !of_one || theirs(link)).min_by_key(last).copied()?;
            links.retain(|link| *link != last);
        }
        self.jobs.get_mut(&id)?.unproven.offers.insert(block, links);
        Some(block)
    }

    /// Two stream the same block: the one with the lower score leaves it to the other, if it has hardly begun. Where claims say whose it
    /// is, ours gives way: whoever offers does what it says, whatever was thought of its word.
    fn yield_stream(&mut self, now: Instant, id: JobId, block: u32, link: LinkId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_unproven(block) && !job.unproven.no_room)
        else {
            return;
        };
        let state = &job.origin.blocks[block as usize];
        if !job.begun_of(block, HARDLY_BEGUN) || state.follows >= FOLLOWS_MAX {
            return;
        }
        let theirs = self.peers.get(&link).map(|peer| score(&state.block.xorb, &peer.who.id));
        let better = theirs.filter(|theirs| *theirs > score(&state.block.xorb, &self.config.peer_id));
        let better = better.filter(|_| !self.denies(now, link));
        let Some(theirs) = better.filter(|_| self.able_author(now, job, link).is_some()) else { return };
        let unit = job.unit_of(block);
        let claimed = job.claims.is_mine(unit);
        let mouth = self.any_mouth(now, id, link, true).filter(|_| claimed);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.origin.blocks[block as usize].stopping = true;
        self.actions.push_back(Action::OriginStop { job: id, block });
        if let Some(mouth) = mouth {
            job.claims.give_way(now, unit, theirs, mouth);
            self.pass_on_soon(now, id);
        }
    }

    /// Who may be followed at the moment: it is believed, and what it would give has room.
    fn able_author(&self, now: Instant, job: &Job, link: LinkId) -> Option<Author> {
        let peer =
            self.peers.get(&link).filter(|peer| peer.counts() && peer.who.zest && !peer.pace.doubted)?;
        let author = self.author(link).filter(|_| job.spec.is_open_to(peer))?;
        let (theirs, all) = self.tentative_bytes(&author);
        // The list is not known: what it says is held to the same bounds again.
        let fits = theirs + EXPECTED <= TENTATIVE_PARTY_BYTES_MAX && all + EXPECTED <= TENTATIVE_BYTES_MAX;
        (fits && self.contacts.authors.is_trusted(now, &author)).then_some(author)
    }

    /// Follows what is offered and nobody is at.
    pub(super) fn follow_offers(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| !job.unproven.offers.is_empty()) else { return };
        let blocks: Vec<u32> =
            job.unproven.offers.keys().copied().filter(|block| job.can_follow(*block)).collect();
        for block in blocks {
            self.follow(now, id, block);
        }
    }

    fn follow(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        let xorb = job.origin.blocks[block as usize].block.xorb;
        let able = |link: &LinkId| Some((*link, self.able_author(now, job, *link)?));
        // The one that all others leave it to.
        let lot = |(link, _): &(LinkId, Author)| self.peers.get(link).map(|peer| score(&xorb, &peer.who.id));
        let links = job.unproven.offers.get(&block).into_iter().flatten();
        let Some((link, author)) = links.filter_map(able).max_by_key(lot) else { return };
        let (file, Some(first)) = (job.spec.file, job.first_of(block)) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unproven.takings.insert(block, Taking::new(now, link, author));
        job.origin.blocks[block as usize].followed = true;
        job.origin.blocks[block as usize].follows += 1;
        job.cover(block as usize);
        self.send(link, Outgoing::Zest(ZestMessage::Follow { file: FileKey::of(&file), first, on: true }));
    }

    /// What is offered is bounded, and looked at as soon as it has a meaning.
    pub(super) fn check_offers(&self) {
        for job in self.jobs.values() {
            assert!(
                job.origin.blocks.is_empty() || job.unproven.early_offers.is_empty(),
                "what was offered is looked at"
            );
            assert!(
                job.unproven.offers.values().all(|links| links.len() <= OFFERS_MAX),
                "offers are bounded"
            );
        }
    }
}
