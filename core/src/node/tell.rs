//! What we have proven of files under way, who wants to know, and when they are told.
//!
//! Every chunk that becomes proven is noted in the job's log, in that order. A peer that is interested in the file has a
//! place in the log: what lies behind it is news to the peer. News go out in batches, less what the peer has itself, so
//! that a swarm of thousands does not drown in it.

use super::peer::{Has, INTERESTS_MAX};
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::link::{Outgoing, ZestMessage};
use crate::{Duration, FileKey, Instant, JobId, LinkId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use zest_xet::Hash;

/// Of those that we do not fetch (yet), so many are remembered of every link: 16. Ours; more than a pull fetches at once.
pub const INTERESTS_LINK_MIN: usize = 16;
/// Beyond that, so many of one party: 1,024. Ours.
pub const INTERESTS_PARTY_MAX: u32 = 1024;
/// And so many of all parties together: 16,384, about a megabyte. Ours.
pub const INTERESTS_ALL_MAX: u32 = 16_384;
/// News wait until about this many chunks have gathered. Ours; their head then weighs less than they do.
const BATCH_CHUNKS: u64 = 8;
/// The shortest such wait: 10 ms. Ours.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// The longest: 250 ms. Ours.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// Chunks of a job that are held and proven: what is served while the rest is still on its way.
#[derive(Debug)]
pub(crate) struct Shown {
    set: BitSet,
    /// In the order they were proven.
    log: Vec<u32>,
    /// How often each chunk was given to peers, up to 255.
    given: Vec<u8>,
    /// First 8 bytes of the hash → index: 12 bytes a chunk and the tree's room. The full hash is compared by the caller.
    by_hash: BTreeMap<u64, u32>,
}

fn key(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Shown {
    pub(crate) fn new(len: u32) -> Self {
        Self {
            set: BitSet::empty(len),
            log: Vec::new(),
            given: alloc::vec![0; len as usize],
            by_hash: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, index: u32, hash: &Hash) {
        if self.set.insert(index) {
            self.log.push(index);
            self.by_hash.insert(key(hash), index);
        }
    }

    /// It turned out not to be there. Who was told so will hear NOT_FOUND.
    pub(crate) fn remove(&mut self, index: u32) {
        self.set.remove(index);
    }

    pub(crate) fn find(&self, hash: &Hash) -> Option<u32> {
        self.by_hash.get(&key(hash)).copied().filter(|index| self.set.contains(*index))
    }

    /// How often the chunk was given to peers.
    pub(crate) fn given(&self, index: u32) -> u32 {
        self.given.get(index as usize).copied().unwrap_or(0).into()
    }

    pub(crate) fn gave(&mut self, index: u32) {
        if let Some(given) = self.given.get_mut(index as usize) {
            *given = given.saturating_add(1);
        }
    }

    pub(crate) fn set(&self) -> &BitSet {
        &self.set
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.set.iter()
    }

    /// How far the log goes.
    pub(crate) fn end(&self) -> usize {
        self.log.len()
    }

    /// What became proven after this place in the log, in order of index.
    fn since(&self, place: usize) -> Vec<u32> {
        let news = self.log.get(place..).unwrap_or_default();
        let mut news: Vec<u32> = news.iter().copied().filter(|i| self.set.contains(*i)).collect();
        news.sort_unstable();
        news.dedup();
        news
    }

    pub(crate) fn check_invariants(&self, held: &BitSet) {
        assert!(self.set.iter().all(|index| held.contains(index)), "only what is held is served");
        assert!(self.by_hash.len() <= self.log.len(), "what can be found was proven");
    }
}

/// Ascending indices as runs of (first, count).
fn runs_of(indices: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == index => *count += 1,
            _ => runs.push((index, 1)),
        }
    }
    runs
}

impl Node {
    /// A peer wants to know what we have of a file.
    pub(super) fn interested(&mut self, now: Instant, link: LinkId, file: Hash) {
        let job = self.jobs.iter().find(|(_, job)| job.spec.file == file && job.spec.peers);
        let job = job.map(|(id, job)| (*id, job.len(), job.shown.end(), job.shown.set()));
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if self.jobs.values().any(|j| j.spec.file == file && j.spec.peers && !j.spec.is_open_to(peer)) {
            // As if we never heard of it; the catalog may have it for everybody.
            self.actions.push_back(Action::LookupFile { link, file });
            return;
        }
        if !peer.wants.interests.contains_key(&file) {
            if peer.wants.interests.len() >= INTERESTS_MAX {
                return;
            }
            // What we fetch is few; of the rest only so much is remembered, and everything answered.
            let fits = job.is_some()
                || peer.wants.interests.len() < INTERESTS_LINK_MIN
                || self.uploads.parties.has_room_for_interest(peer.wants.upload.party);
            if fits {
                peer.wants.interests.insert(file, 0);
                self.uploads.parties.interests(peer.wants.upload.party, 1);
            }
        }
        if let Some(told) = peer.wants.interests.get_mut(&file) {
            *told = job.map_or(0, |(.., end, _)| end);
        }
        match job {
            // With a job under way the catalog has nothing of the file but what the job has.
            Some((id, total, _, shown)) => {
                let runs: Vec<(u32, u32)> = shown.runs().collect();
                let total = if runs.is_empty() { 0 } else { total };
                self.send(link, Outgoing::Zest(ZestMessage::Have { file, total, runs }));
                self.count_fetchers(id);
                self.found_few(now, id);
                self.leave_to_others(now, id);
                self.greet_with_claims(now, link, id);
                self.greet_with_streams(link, id);
            }
            None => self.actions.push_back(Action::LookupFile { link, file }),
        }
    }

    pub(super) fn uninterested(&mut self, link: LinkId, file: &Hash) {
        if let Some(peer) = self.peers.get_mut(&link)
            && peer.wants.interests.remove(file).is_some()
        {
            self.uploads.parties.interests(peer.wants.upload.party, -1);
        }
    }

    /// Something was proven. What came from the origin may be news to the whole swarm, and waits less.
    pub(super) fn tell_soon(&mut self, now: Instant, id: JobId, rare: bool) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.spec.peers) else { return };
        if job.shown.end() == 0 {
            return;
        }
        let wait = if rare { WAIT_MIN } else { self.measured.tell_wait };
        let file = job.spec.file;
        if !self.timers.is_set(Timer::Tell)
            && !self.peers.values().any(|p| p.wants.interests.contains_key(&file))
        {
            return;
        }
        self.timers.set_no_later(Timer::Tell, now + wait);
    }

    /// The wait that gathers a batch at the rate at which chunks come in.
    pub(super) fn pace_tells(&mut self, income_bytes_s: u64) {
        let batch = BATCH_CHUNKS * zest_xet::CHUNK_BYTES_TARGET as u64;
        let wait = Duration::from_micros(batch.saturating_mul(1_000_000) / income_bytes_s.max(1));
        self.measured.tell_wait = wait.clamp(WAIT_MIN, WAIT_MAX);
    }

    /// Tells every interested peer what is new to it.
    pub(super) fn tell_all(&mut self) {
        self.tell_followers();
        for (&id, job) in &self.jobs {
            let end = job.shown.end();
            if end == 0 || !job.spec.peers {
                continue;
            }
            let file = job.spec.file;
            // Most peers were told equally much: their news are gathered and sorted once.
            let mut gathered: (usize, Vec<u32>) = (usize::MAX, Vec::new());
            for (&link, peer) in &mut self.peers {
                if peer.closing || !peer.who.zest {
                    continue;
                }
                let Some(place) = peer.wants.interests.get_mut(&file) else { continue };
                let from = core::mem::replace(place, end);
                if from >= end {
                    continue;
                }
                if gathered.0 != from {
                    gathered = (from, job.shown.since(from));
                }
                let has = peer.jobs.get(&id).map(|with| &with.has);
                let news = gathered.1.iter().copied();
                let runs = match has {
                    Some(Has::All) => continue,
                    Some(Has::Some(set)) => runs_of(news.filter(|index| !set.contains(*index))),
                    _ => runs_of(news),
                };
                if !runs.is_empty() {
                    self.actions.push_back(Action::Send {
                        link,
                        message: Outgoing::Zest(ZestMessage::HaveMore { file: FileKey::of(&file), runs }),
                    });
                }
            }
        }
    }
}
