//! Chunks of a block that a peer streams from the origin, had from it before anything proves them (`docs/protocol.md` §4.6).
//!
//! What comes is compared with the hash that its author told, and kept (the runtime says where): it is not held, not
//! used, not landed and not served. Once the whole list hashes to the xorb, or another proven list names the same chunks, what was
//! kept is asked for like a chunk of any other file on this machine. A lie has one author, and
//! costs one block: all that it gave is dropped, and it is not followed any more.

use super::authors::{AUTHORS_MAX, Author, TENTATIVE_LIES_MAX};
use super::job::Job;
use super::peer::{Peer, Pending};
use super::taking::Taking;
use super::timers::Timer;
use super::{Action, Node};
use crate::endpoint::Party;
use crate::ids::FileKey;
use crate::link::{Outgoing, ZestMessage};
use crate::{BufId, Duration, Instant, JobId, LinkId, Location};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use zest_xet::{CHUNK_BYTES_MAX, ChunkRef, xorb_hash};

/// Bytes kept of one party that nothing proves: 512 MiB. Ours; the eight blocks of 64 MiB that somebody streams side by side.
pub const TENTATIVE_PARTY_BYTES_MAX: u64 = 512 << 20;
/// And of all parties together: 1 GiB of disk. Ours.
pub const TENTATIVE_BYTES_MAX: u64 = 1 << 30;
/// Who leaves a block to another so soon after it was followed does not count for that: 1.5 s. Ours; machines that begin together
/// know of each other by then.
const BRIEF: Duration = Duration::from_millis(1500);
/// But so many times at most: 8 of a block. Ours; with the former it is held up by 12 s.
pub const BRIEFS_MAX: u8 = 8;
/// As long as less than a quarter of a block has come, a stream makes room for that of another, and one that is taken back is no
/// disappointment. Ours; what came stays.
pub(super) const HARDLY_BEGUN: u32 = 4;
/// An author of whom nothing comes for so long is not waited for: 3 s, as a claim of which nothing turns up. Ours.
const SILENT: Duration = Duration::from_secs(3);
/// A block is given up that takes this long, and its bytes at [`LEAST_BYTES_S`]: 10 s. Ours.
const AT_MOST: Duration = Duration::from_secs(10);
/// 500 kB/s, as claims are believed. Ours.
const LEAST_BYTES_S: u64 = 500_000;
/// Others that fetch a file, among whom one that answers nothing is no author worth following: 8. Ours; the uplinks of more are busy.
const FEW: u32 = 8;
/// Whose list of a block was proven says in a moment that it has the block: so long the origin is not asked for the rest of it: 500 ms.
/// Ours; it says so 20 ms after its own proof, and two round trips of a long line are 500 ms.
const HAS_SHOWS: Duration = Duration::from_millis(500);

impl Job {
    /// Whether the file ends with this block. Its xorb may go on with another file.
    fn is_tail(&self, block: u32) -> bool {
        self.lists.layout.block_of(self.len().saturating_sub(1)) == Some(block)
    }

    /// Whether a block comes from the origin, and less than such a part of it is here.
    pub(super) fn begun_of(&self, block: u32, part: u32) -> bool {
        let state = &self.origin.blocks[block as usize];
        let here = || state.indices().filter(|index| self.sets.held.contains(*index)).count() as u32;
        state.goes_on() && here() * part < state.block.chunks.len() as u32
    }

    /// Whether others stream a part of the file and we another: then the line is the origin's as well as theirs, and says nothing of either.
    pub(super) fn streams_beside_others(&self) -> bool {
        self.blocks_active() > 0 && self.origin.blocks.iter().any(|block| block.follows > 0)
    }

    /// Chunks of a block that its author told of: what others wait for is on its way.
    pub(crate) fn told_of(&self, block: u32) -> u32 {
        self.unproven.takings.get(&block).map_or(0, |taking| taking.list.len() as u32)
    }
}

impl Node {
    /// Bytes that were told by an author and by all, of blocks that are followed.
    pub(super) fn tentative_bytes(&self, author: &Author) -> (u64, u64) {
        let takings = || self.jobs.values().flat_map(|job| job.unproven.takings.values());
        let theirs = takings().filter(|taking| taking.author.0 == author.0).map(Taking::bytes).sum();
        (theirs, takings().map(Taking::bytes).sum())
    }

    /// The author of a block told more of its list.
    pub(super) fn told(
        &mut self,
        now: Instant,
        link: LinkId,
        file: FileKey,
        first: u32,
        at: u32,
        records: &[ChunkRef],
    ) {
        let followed = |(id, job): (&JobId, &Job)| {
            let block = job.block_at(first).filter(|_| FileKey::of(&job.spec.file) == file)?;
            job.unproven.takings.get(&block).filter(|taking| taking.link == link).map(|_| (*id, block))
        };
        let Some((id, block)) = self.jobs.iter().find_map(followed) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let state = &job.origin.blocks[block as usize];
        let (chunks, runs) = (state.block.chunks.len(), &state.block.runs);
        let Some(taking) = job.unproven.takings.get_mut(&block) else { return };
        let told = taking.list.len();
        if records.is_empty() {
            if told * (HARDLY_BEGUN as usize) >= chunks {
                return self.let_down(now, id, block);
            }
            // It may have left it to another.
            let brief = now.since(taking.since) < BRIEF;
            let state = job.origin.blocks.get_mut(block as usize);
            if let Some(state) = state.filter(|state| brief && state.briefs < BRIEFS_MAX) {
                state.briefs += 1;
                state.follows = state.follows.saturating_sub(1);
            }
            self.drop_taking(id, block);
            self.follow_offers(now, id);
            self.asking.due = true;
            return;
        }
        // It tells each place once, no more places than there are, and chunks as long as chunks can be.
        let good = |chunk: &ChunkRef| (1..=CHUNK_BYTES_MAX as u32).contains(&chunk.len);
        if at as usize != told || records.len() > chunks - told || !records.iter().all(good) {
            return self.lied(now, id, block);
        }
        taking.told(records);
        // Who tells and gives nothing when it is asked does nothing, or its uplink is busy: for so long it may be.
        let gives = taking.has_given() || self.peers.get(&link).is_some_and(Peer::counts);
        if gives || job.origin.fetchers > FEW || now.since(taking.since) < AT_MOST {
            taking.moved = now;
        }
        let missing = |nth: &u32| {
            let place = nth + state.block.chunks.start;
            runs.iter().filter_map(|run| run.index_of(place)).any(|index| job.sets.missing.contains(index))
        };
        taking.unasked.extend((told as u32..(told + records.len()) as u32).filter(missing));
        let (whole, author) = (taking.list.len() == chunks, taking.author);
        let (theirs, all) = self.tentative_bytes(&author);
        if theirs > TENTATIVE_PARTY_BYTES_MAX || all > TENTATIVE_BYTES_MAX {
            return self.drop_taking(id, block);
        }
        if whole {
            return self.told_all(now, id, block);
        }
        self.look_soon(now, id);
        self.ask_told(now, link);
    }

    /// The list is complete: either the xorb's hash proves all of it, or none.
    fn told_all(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(taking) = job.unproven.takings.get(&block) else { return };
        if xorb_hash(&taking.list) != job.origin.blocks[block as usize].block.xorb {
            return self.lied(now, id, block);
        }
        let list: Arc<[ChunkRef]> = taking.list.clone().into();
        self.actions.push_back(Action::AdoptBlockList { job: id, block, list });
        let link = taking.link;
        self.ask_told(now, link);
    }

    /// Asks authors for what they told of, as far as their pipelines go.
    pub(super) fn ask_told(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link).filter(|peer| peer.counts() && !peer.pace.doubted) else {
            return;
        };
        for (&id, job) in self.jobs.iter_mut().filter(|(_, job)| !job.course.ended && !job.course.paused) {
            for (&block, taking) in job.unproven.takings.iter_mut().filter(|(_, taking)| taking.link == link)
            {
                while peer.wants_more() && !taking.unasked.is_empty() {
                    // Any of them: those who follow the same have something to give each other once it is proven.
                    let at = self.rng.below(taking.unasked.len() as u32) as usize;
                    let nth = taking.unasked.swap_remove(at);
                    let chunk = taking.list[nth as usize];
                    let what = Pending::Tentative { job: id, block, nth };
                    let req = peer.draw(&mut self.rng, now, what, false);
                    taking.asked.insert(nth, req);
                    self.measured.stats.chunks_asked += 1;
                    let message = Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len };
                    self.actions.push_back(Action::Send { link, message });
                }
            }
        }
        self.watch_peer(now, link);
    }

    /// A chunk came from the author of a block.
    pub(super) fn tentative_answer(&mut self, link: LinkId, id: JobId, block: u32, nth: u32, buf: BufId) {
        let job = self.jobs.get_mut(&id);
        let Some(job) = job else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        match job.unproven.takings.get_mut(&block).filter(|taking| taking.link == link) {
            Some(taking) => {
                taking.asked.remove(&nth);
                taking.proving.insert(nth);
                let chunk = taking.list[nth as usize];
                let state = &job.origin.blocks[block as usize].block;
                let run = state.runs.iter().find(|run| run.index_of(state.chunks.start + nth).is_some());
                let first = run.map_or(nth, |run| run.xorb_chunk.saturating_sub(state.chunks.start));
                let before = taking.between(first, nth);
                self.actions.push_back(Action::ProveTentative {
                    job: id,
                    block,
                    nth,
                    before,
                    chunk,
                    buf,
                    link,
                });
            }
            // It was proven meanwhile: it is a chunk like any other.
            None => match job.index_of(block, nth).filter(|index| job.is_listed(*index)) {
                Some(index) => self.chunk_answer(link, false, id, index, buf),
                None => self.actions.push_back(Action::Free { buf }),
            },
        }
    }

    /// A request of that kind is off its list.
    pub(super) fn tentative_unasked(&mut self, link: LinkId, id: JobId, block: u32, nth: u32) {
        let taking = self.jobs.get_mut(&id).and_then(|job| job.unproven.takings.get_mut(&block));
        if let Some(taking) = taking.filter(|taking| taking.link == link)
            && taking.asked.remove(&nth).is_some()
        {
            taking.unasked.push(nth);
        }
    }

    /// A chunk hashes to what its author told, and is kept.
    pub(super) fn tentative_kept(
        &mut self,
        now: Instant,
        id: JobId,
        block: u32,
        nth: u32,
        link: LinkId,
        from: Location,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.unproven.takings.get_mut(&block).filter(|t| t.link == link && t.proving.contains(&nth)) {
            Some(taking) => {
                taking.proving.remove(&nth);
                taking.kept.insert(nth, from);
                taking.moved = now;
                job.course.progress_at = now;
                self.origin.out.fed = true;
                self.origin.out.came(now);
                self.ask_told(now, link);
            }
            None => self.use_kept(id, block, &[(nth, from)]),
        }
    }

    /// A chunk does not hash to what was told.
    pub(super) fn tentative_bad(&mut self, now: Instant, id: JobId, block: u32, link: LinkId) {
        self.measured.stats.chunks_bad += 1;
        let job = self.jobs.get(&id);
        if job.is_some_and(|job| job.unproven.takings.get(&block).is_some_and(|taking| taking.link == link)) {
            self.lied(now, id, block);
        }
    }

    /// What comes so cannot be kept here. Others are not to blame for that.
    pub(super) fn tentative_lost(&mut self, id: JobId, block: u32, link: LinkId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unproven.no_room = true;
        if job.unproven.takings.get(&block).is_some_and(|taking| taking.link == link) {
            self.drop_takings(id);
            self.asking.due = true;
        }
    }

    /// A proven list is there, whoever gave it: what was kept is compared with it, and used or dropped.
    pub(super) fn settle_taking(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(taking) = job.unproven.takings.get(&block) else { return };
        let truth = |nth: u32| Some(job.chunk(job.index_of(block, nth)?)?.0);
        if !(0u32..).zip(&taking.list).all(|(nth, chunk)| truth(nth) == Some(*chunk)) {
            return self.lied(now, id, block);
        }
        let link = taking.link;
        let kept: Vec<(u32, Location)> = taking.kept.iter().map(|(nth, from)| (*nth, *from)).collect();
        self.end_taking(id, block);
        self.send_unfollow(link, id, block);
        self.use_kept(id, block, &kept);
        self.rest_followed(now, link, id, block);
    }

    /// A block is proven that was followed: its author gives the rest of it, and has not said yet that it has it.
    fn rest_followed(&mut self, now: Instant, link: LinkId, id: JobId, block: u32) {
        let counts = self.peers.get(&link).is_some_and(|peer| peer.counts() && !peer.pace.doubted);
        let Some(job) = self.jobs.get_mut(&id).filter(|job| counts && job.is_fast()) else { return };
        let Some(state) = job.origin.blocks.get_mut(block as usize).filter(|state| state.is_idle()) else {
            return;
        };
        state.resting = true;
        self.timers.set(Timer::BlockRetry(id, block), now + HAS_SHOWS);
    }

    /// Proven chunks that were kept are to count.
    fn use_kept(&mut self, id: JobId, block: u32, kept: &[(u32, Location)]) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.course.ended) else { return };
        let mut local: Vec<(u32, Location)> = Vec::new();
        for &(nth, from) in kept {
            let Some(state) = job.origin.blocks.get(block as usize) else { return };
            let place = state.block.chunks.start + nth;
            let indices = state.block.runs.iter().filter_map(|run| run.index_of(place));
            local.extend(indices.filter(|index| job.is_listed(*index)).map(|index| (index, from)));
        }
        job.set_aside(local);
        self.fill_disk();
    }

    /// The taking is over; its requests may still be answered.
    fn end_taking(&mut self, id: JobId, block: u32) -> Option<Taking> {
        let job = self.jobs.get_mut(&id)?;
        let taking = job.unproven.takings.remove(&block)?;
        if let Some(state) = job.origin.blocks.get_mut(block as usize) {
            state.followed = false;
            job.cover(block as usize);
        }
        Some(taking)
    }

    fn send_unfollow(&mut self, link: LinkId, id: JobId, block: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let (file, Some(first)) = (job.spec.file, job.first_of(block)) {
            self.send(
                link,
                Outgoing::Zest(ZestMessage::Follow { file: FileKey::of(&file), first, on: false }),
            );
        }
    }

    /// Nothing of what an author gave of a block is used. It is not followed in that block again.
    pub(super) fn drop_taking(&mut self, id: JobId, block: u32) {
        let Some(taking) = self.end_taking(id, block) else { return };
        self.send_unfollow(taking.link, id, block);
        let theirs = |what: &Pending| matches!(what, Pending::Tentative { job, block: at, .. } if (*job, *at) == (id, block));
        self.call_off(taking.link, theirs);
        if let Some(offers) = self.jobs.get_mut(&id).and_then(|job| job.unproven.offers.get_mut(&block)) {
            offers.retain(|link| *link != taking.link);
        }
        self.actions.push_back(Action::DropTentative { job: id, block });
        self.asking.recheck = true;
    }

    pub(super) fn drop_takings(&mut self, id: JobId) {
        let blocks: Vec<u32> =
            self.jobs.get(&id).map_or_else(Vec::new, |job| job.unproven.takings.keys().copied().collect());
        blocks.into_iter().for_each(|block| self.drop_taking(id, block));
    }

    /// A link is gone: what its author gave is nobody's word any more.
    pub(super) fn drop_takings_of(&mut self, link: LinkId) {
        let theirs = |(id, job): (&JobId, &Job)| -> Vec<(JobId, u32)> {
            let takings = job.unproven.takings.iter().filter(|(_, taking)| taking.link == link);
            takings.map(|(block, _)| (*id, *block)).collect()
        };
        let takings: Vec<(JobId, u32)> = self.jobs.iter().flat_map(theirs).collect();
        takings.into_iter().for_each(|(id, block)| self.drop_taking(id, block));
        for job in self.jobs.values_mut() {
            job.claims.drop_early(link);
            job.unproven.early_offers.retain(|(other, _)| *other != link);
            job.unproven.offers.values_mut().for_each(|links| links.retain(|other| *other != link));
        }
    }

    /// What an author told is not so. All that it gave is dropped at once, and with the second lie it is shut out.
    fn lied(&mut self, now: Instant, id: JobId, block: u32) {
        let taking = self.jobs.get(&id).and_then(|job| job.unproven.takings.get(&block));
        let Some((link, author)) = taking.map(|taking| (taking.link, taking.author)) else { return };
        let lies = self.contacts.authors.note(now, author, true);
        // His turns do not count: a liar keeps no block from others.
        for job in self.jobs.values_mut() {
            for (block, _) in job.unproven.takings.iter().filter(|(_, taking)| taking.author == author) {
                let state = &mut job.origin.blocks[*block as usize];
                state.follows = state.follows.saturating_sub(1);
            }
        }
        let links: BTreeSet<LinkId> = self
            .jobs
            .values()
            .flat_map(|job| job.unproven.takings.values())
            .filter(|taking| taking.author == author)
            .map(|taking| taking.link)
            .collect();
        links.into_iter().for_each(|link| self.drop_takings_of(link));
        if lies >= TENTATIVE_LIES_MAX {
            self.ban(now, link, "what it told of a xorb was not so, twice");
        }
        self.refill(now);
    }

    /// Nothing came of a block, and nobody lied.
    fn let_down(&mut self, now: Instant, id: JobId, block: u32) {
        let taking = self.jobs.get(&id).and_then(|job| job.unproven.takings.get(&block));
        let Some(author) = taking.map(|taking| taking.author) else { return };
        self.contacts.authors.note(now, author, false);
        self.drop_taking(id, block);
        self.refill(now);
    }

    /// The author of a block has not what it told of.
    pub(super) fn tentative_refused(&mut self, now: Instant, link: LinkId, id: JobId, block: u32) {
        let taken = |job: &&Job| job.unproven.takings.get(&block).is_some_and(|taking| taking.link == link);
        let Some(unit) = self.jobs.get(&id).filter(taken).map(|job| job.unit_of(block)) else { return };
        self.author_denied(now, link, id, unit);
        self.let_down(now, id, block);
    }

    /// Every measurement: authors that are silent or too slow are not waited for, and others are followed.
    pub(super) fn watch_takings(&mut self, now: Instant) {
        let mut late: Vec<(JobId, u32, bool)> = Vec::new();
        let counts = |link: &LinkId| self.peers.get(link).is_some_and(Peer::counts);
        for (id, job) in &self.jobs {
            for (block, taking) in &job.unproven.takings {
                let state = &job.origin.blocks[*block as usize];
                let bytes = state.block.wire_bytes;
                let most = AT_MOST + Duration::from_micros(bytes.saturating_mul(1_000_000) / LEAST_BYTES_S);
                // Who told all that it may of a tail is not to blame, and has all of the file about when we have the rest of it.
                let told = job.is_tail(*block) && taking.is_all_but_one(state.block.chunks.len());
                let moved = if told { taking.moved.max(job.course.progress_at) } else { taking.moved };
                if now.since(taking.since) >= most || now.since(moved) >= SILENT {
                    late.push((*id, *block, !told));
                } else if job.origin.fetchers <= FEW
                    && !taking.has_given()
                    && !counts(&taking.link)
                    && job.unproven.offers_of(*block).any(counts)
                {
                    late.push((*id, *block, false));
                }
            }
        }
        for (id, block, to_blame) in late {
            if to_blame {
                self.let_down(now, id, block);
            } else {
                self.drop_taking(id, block);
            }
        }
        for id in self.asking.jobs.clone() {
            self.follow_offers(now, id);
        }
        let links: BTreeSet<LinkId> = self
            .jobs
            .values()
            .flat_map(|job| job.unproven.takings.values().map(|taking| taking.link))
            .collect();
        links.into_iter().for_each(|link| self.ask_told(now, link));
    }

    /// What is tentative is nobody's but its author's.
    pub(super) fn check_tentative(&self) {
        self.check_offers();
        let mut parties: BTreeMap<Party, u64> = BTreeMap::new();
        for (id, job) in &self.jobs {
            for (block, state) in (0u32..).zip(&job.origin.blocks) {
                assert_eq!(
                    state.followed,
                    job.unproven.takings.contains_key(&block),
                    "what is followed is known"
                );
            }
            for (block, taking) in &job.unproven.takings {
                let state = &job.origin.blocks[*block as usize];
                assert!(
                    !job.course.ended && job.is_unproven(*block),
                    "only what nothing proves is tentative"
                );
                assert!(!state.active && state.peer.is_none(), "a block has one author");
                assert!(self.peers.get(&taking.link).is_some_and(|p| !p.closing), "an author is linked");
                assert!(taking.list.len() <= state.block.chunks.len(), "a list ends");
                let bytes: u64 = taking.list.iter().map(|chunk| u64::from(chunk.len)).sum();
                assert_eq!(bytes, taking.bytes(), "tentative bytes are counted");
                *parties.entry(taking.author.0).or_default() += bytes;
                for index in state.indices() {
                    assert!(
                        !job.sets.asked.contains_key(&index),
                        "what is tentative is asked of its author alone"
                    );
                    assert!(
                        !job.shown.set().contains(index) || job.is_listed(index),
                        "and served by its author alone"
                    );
                }
                let used = |at: &Location| job.sets.local.iter().any(|(_, from)| from == at);
                assert!(!taking.kept.values().any(used), "what is tentative is not used");
                let told = taking.list.len() as u32;
                for nth in taking.kept.keys().chain(&taking.proving).chain(taking.asked.keys()) {
                    assert!(*nth < told, "only what was told is kept");
                }
                for (nth, req) in &taking.asked {
                    let request =
                        self.peers[&taking.link].asked.requests.get(req).map(|request| request.what);
                    let what = Pending::Tentative { job: *id, block: *block, nth: *nth };
                    assert_eq!(request, Some(what), "tentative chunks are asked of their author");
                }
            }
        }
        assert!(
            parties.values().all(|bytes| *bytes <= TENTATIVE_PARTY_BYTES_MAX),
            "a party's bytes are bounded"
        );
        assert!(parties.values().sum::<u64>() <= TENTATIVE_BYTES_MAX, "tentative bytes are bounded");
        assert!(self.contacts.authors.0.len() <= AUTHORS_MAX, "authors stay within their limit");
    }
}
