//! What we stream from the origin and cannot prove yet, given to those who want it (`docs/protocol.md` §4.6).
//!
//! A whole xorb proves its chunk list, and until it is whole nobody can serve anything of it. So who streams one says so, tells the
//! growing list to those who follow, and gives them its chunks. Nobody else gives them: `tentative.rs` is the other side.

use super::job::Job;
use super::stream::Stream;
use super::timers::Timer;
use super::{Action, Node};
use crate::ids::FileKey;
use crate::link::{Outgoing, ZestMessage};
use crate::{Duration, Instant, JobId, LinkId, Location};
use alloc::vec::Vec;
use zest_xet::{ChunkRef, Hash, xorb_hash};

/// Chunks that came wait this long to be told together: 20 ms. Ours; a chunk takes 5 ms at 13 MB/s, and a record weighs little.
const TOLD_WAIT: Duration = Duration::from_millis(20);

fn key(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Job {
    /// Index in the file of a chunk of a block, by its place in the block's list.
    pub(crate) fn index_of(&self, block: u32, nth: u32) -> Option<u32> {
        let block = &self.origin.blocks.get(block as usize)?.block;
        let chunk = block.chunks.start.checked_add(nth)?;
        block.runs.iter().find_map(|run| run.index_of(chunk))
    }

    /// The block whose first chunk this is.
    pub(crate) fn block_at(&self, first: u32) -> Option<u32> {
        let block = self.lists.layout.block_of(first)?;
        self.origin.blocks.get(block as usize)?.block.runs.first().filter(|run| run.first == first)?;
        Some(block)
    }

    pub(crate) fn first_of(&self, block: u32) -> Option<u32> {
        Some(self.origin.blocks.get(block as usize)?.block.runs.first()?.first)
    }

    /// Whether the block's list can be proven by its xorb and is not proven yet.
    pub(crate) fn is_unproven(&self, block: u32) -> bool {
        let whole = |at: &super::block_state::BlockState| at.block.whole && at.block.chunks.start == 0;
        self.spec.peers
            && !self.course.ended
            && self.lists.manifest.is_none()
            && self.origin.blocks.get(block as usize).is_some_and(whole)
            && !self.lists.layout.is_listed(block)
    }

    /// Takes in what lies in the file of a block that is streamed; whether there is more to tell.
    fn stream_on(&mut self, block: u32) -> bool {
        let mut more = false;
        loop {
            let Some(stream) = self.unproven.streams.get(&block) else { return more };
            let nth = stream.ready();
            let (Some(chunk), Some(index)) = (stream.chunk(nth), self.index_of(block, nth)) else {
                return more;
            };
            if !self.sets.held.contains(index) {
                return more;
            }
            let Some(stream) = self.unproven.streams.get_mut(&block) else { return more };
            let end = stream.starts.last().copied().unwrap_or(0);
            stream.starts.push(end + u64::from(chunk.len));
            stream.by_hash.insert(key(&chunk.hash), nth);
            more = true;
        }
    }

    /// Where a chunk of a block lies that is streamed, for who follows it.
    pub(super) fn streamed(&self, link: LinkId, hash: &Hash) -> Option<Location> {
        self.unproven.streams.iter().filter(|(_, stream)| stream.followers.contains_key(&link)).find_map(
            |(at, stream)| {
                let nth = *stream.by_hash.get(&key(hash))?;
                let chunk = stream.chunk(nth).filter(|chunk| chunk.hash == *hash)?;
                let block = &self.origin.blocks.get(*at as usize)?.block;
                let place = block.chunks.start + nth;
                let run = block.runs.iter().find(|run| run.index_of(place).is_some())?;
                let before = run.xorb_chunk.checked_sub(block.chunks.start)?;
                let within = stream.starts.get(nth as usize)? - stream.starts.get(before as usize)?;
                Some(Location { file: self.spec.place, offset: run.offset + within, len: chunk.len })
            },
        )
    }
}

impl Node {
    /// The origin's worker hashed a chunk of a block that nothing proves yet; it says so before the chunk's end.
    pub(super) fn chunk_hashed(&mut self, now: Instant, id: JobId, block: u32, nth: u32, chunk: ChunkRef) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_unproven(block)) else { return };
        let state = &job.origin.blocks[block as usize];
        if !state.active || nth as usize >= state.block.chunks.len() {
            return;
        }
        let chunks = state.block.chunks.len();
        let stream = job.unproven.streams.entry(block).or_insert_with(|| Stream::new(chunks));
        stream.list[nth as usize].get_or_insert(chunk);
        self.stream_grew(now, id, block);
    }

    /// A chunk of the origin lies in the file.
    pub(super) fn stream_advanced(&mut self, now: Instant, id: JobId, index: u32) {
        let Some(job) = self.jobs.get(&id).filter(|job| !job.unproven.streams.is_empty()) else { return };
        if let Some(block) = job.lists.layout.block_of(index) {
            self.stream_grew(now, id, block);
        }
    }

    fn stream_grew(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.stream_on(block) {
            return;
        }
        let state = &job.origin.blocks[block as usize];
        let goes_on = state.goes_on();
        let Some(stream) = job.unproven.streams.get_mut(&block) else { return };
        let begins = !stream.offered && stream.tellable() > 0 && goes_on;
        stream.offered |= begins;
        let followed = !stream.followers.is_empty();
        let whole: Option<Vec<ChunkRef>> =
            if stream.is_whole() { stream.list.iter().copied().collect() } else { None };
        // The runtime would find that out, too, once the fetch has ended: after the job, if this was all of it.
        if let Some(list) =
            whole.filter(|list| xorb_hash(list) == job.origin.blocks[block as usize].block.xorb)
        {
            self.actions.push_back(Action::AdoptBlockList { job: id, block, list: list.into() });
        }
        if begins && !self.uploads.is_spent() {
            let links: Vec<LinkId> = self.peers.keys().copied().collect();
            links.into_iter().for_each(|link| self.offer(link, id, block));
        }
        if followed {
            self.timers.set_no_later(Timer::Tell, now + TOLD_WAIT);
        }
    }

    fn offer(&mut self, link: LinkId, id: JobId, block: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (file, first) = (job.spec.file, job.first_of(block));
        let open = |peer: &super::peer::Peer| peer.hears_of(&file) && job.spec.is_open_to(peer);
        if let (true, Some(first)) = (self.peers.get(&link).is_some_and(open), first) {
            self.send(link, Outgoing::Zest(ZestMessage::Streams { file: FileKey::of(&file), first }));
        }
    }

    /// A peer has come to the swarm: it is told what we stream.
    pub(super) fn greet_with_streams(&mut self, link: LinkId, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|_| !self.uploads.is_spent()) else { return };
        let blocks: Vec<u32> =
            job.unproven.streams.iter().filter(|(_, stream)| stream.offered).map(|(at, _)| *at).collect();
        blocks.into_iter().for_each(|block| self.offer(link, id, block));
    }

    /// A peer wants to be told of a block, or no longer.
    pub(super) fn followed(&mut self, link: LinkId, file: FileKey, first: u32, on: bool) {
        let Some(peer) = self.peers.get(&link) else { return };
        let theirs = |job: &&mut Job| FileKey::of(&job.spec.file) == file && job.spec.is_open_to(peer);
        let mut answer = None;
        for job in self.jobs.values_mut().filter(theirs) {
            let block = job.block_at(first);
            let file = job.spec.file;
            match block.and_then(|block| job.unproven.streams.get_mut(&block)) {
                Some(stream) if on && stream.offered => {
                    let records = stream.news(0);
                    stream.followers.insert(link, stream.tellable());
                    answer = Some(Outgoing::Zest(ZestMessage::Told {
                        file: FileKey::of(&file),
                        first,
                        at: 0,
                        records,
                    }));
                    break;
                }
                Some(stream) if !on => {
                    stream.followers.remove(&link);
                }
                _ if on => {
                    answer = Some(Outgoing::Zest(ZestMessage::Told {
                        file: FileKey::of(&file),
                        first,
                        at: 0,
                        records: Vec::new(),
                    }))
                }
                _ => {}
            }
        }
        if let Some(message) = answer {
            self.send(link, message);
        }
    }

    /// Tells those who follow what is new.
    pub(super) fn tell_followers(&mut self) {
        for job in self.jobs.values_mut().filter(|job| !job.unproven.streams.is_empty()) {
            let file = job.spec.file;
            for (block, stream) in &mut job.unproven.streams {
                let Some(first) = job.origin.blocks[*block as usize].block.runs.first().map(|run| run.first)
                else {
                    continue;
                };
                let end = stream.tellable();
                let list = &stream.list;
                for (&link, told) in &mut stream.followers {
                    let at = core::mem::replace(told, end);
                    let records: Vec<ChunkRef> =
                        list[at as usize..end as usize].iter().copied().flatten().collect();
                    if !records.is_empty() {
                        let message = Outgoing::Zest(ZestMessage::Told {
                            file: FileKey::of(&file),
                            first,
                            at,
                            records,
                        });
                        self.actions.push_back(Action::Send { link, message });
                    }
                }
            }
        }
    }

    /// A list is proven: who follows is told the rest of it, or that it was not what we told.
    pub(super) fn stream_proven(&mut self, id: JobId, block: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(stream) = job.unproven.streams.remove(&block) else { return };
        let Some(first) = job.first_of(block) else { return };
        let (file, count) = (job.spec.file, stream.list.len() as u32);
        let list: Option<Vec<ChunkRef>> =
            (0..count).map(|nth| Some(job.chunk(job.index_of(block, nth)?)?.0)).collect();
        let right = list.filter(|list| {
            (0..stream.ready()).all(|nth| stream.chunk(nth) == list.get(nth as usize).copied())
        });
        // The file's list may have proven it, and the xorb goes on: then the last record is nothing that anybody could prove.
        let xorb = &job.origin.blocks[block as usize].block.xorb;
        let right = right.map(|mut list| {
            if xorb_hash(&list) != *xorb {
                list.pop();
            }
            list
        });
        for (link, told) in stream.followers {
            let (at, records) = match &right {
                Some(list) => (told, list[told as usize..].to_vec()),
                None => (0, Vec::new()),
            };
            if right.is_none() || !records.is_empty() {
                self.send(
                    link,
                    Outgoing::Zest(ZestMessage::Told { file: FileKey::of(&file), first, at, records }),
                );
            }
        }
    }

    /// What we told of this block does not hold any more, or nothing more of it comes.
    fn withdraw_stream(&mut self, id: JobId, block: u32) {
        self.suspend_stream(id, block);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.unproven.streams.remove(&block);
        }
    }

    /// Nothing more of this block comes for now. What is here of it stays; once it goes on it is offered anew.
    fn suspend_stream(&mut self, id: JobId, block: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(stream) = job.unproven.streams.get_mut(&block) else { return };
        stream.offered = false;
        let followers = core::mem::take(&mut stream.followers);
        let Some(first) = job.first_of(block) else { return };
        let file = job.spec.file;
        for (link, told) in followers {
            // Whoever follows drops what nothing proves, and may ask for it again.
            if let Some(party) = self.peers.get(&link).map(|peer| peer.wants.upload.party) {
                self.uploads.parties.excuse(party, told.into());
            }
            self.send(
                link,
                Outgoing::Zest(ZestMessage::Told {
                    file: FileKey::of(&file),
                    first,
                    at: 0,
                    records: Vec::new(),
                }),
            );
        }
    }

    pub(super) fn withdraw_streams(&mut self, id: JobId) {
        self.streams_of(id).into_iter().for_each(|block| self.withdraw_stream(id, block));
    }

    /// Blocks of a job that are told of.
    fn streams_of(&self, id: JobId) -> Vec<u32> {
        self.jobs.get(&id).map_or_else(Vec::new, |job| job.unproven.streams.keys().copied().collect())
    }

    /// The fetch of a block has ended, and may go on later where it is. Where all of it came and nothing proves it, which is what the
    /// tail of a file looks like whose xorb goes on, it is given on until the file's own list proves it.
    pub(super) fn end_stream(&mut self, id: JobId, block: u32, goes_on: bool) {
        let stream = self.jobs.get(&id).and_then(|job| job.unproven.streams.get(&block));
        if stream.is_none_or(Stream::is_whole) {
            return;
        }
        if goes_on { self.suspend_stream(id, block) } else { self.withdraw_stream(id, block) }
    }

    /// The job is over: who follows is told what is left to tell; where that is not all, that nothing more comes.
    pub(super) fn end_streams(&mut self, id: JobId) {
        self.tell_followers();
        self.streams_of(id).into_iter().for_each(|block| self.end_stream(id, block, false));
    }

    /// A link is gone.
    pub(super) fn unfollow(&mut self, link: LinkId) {
        for stream in self.jobs.values_mut().flat_map(|job| job.unproven.streams.values_mut()) {
            stream.followers.remove(&link);
        }
    }

    pub(super) fn check_streams(&self) {
        for job in self.jobs.values() {
            for (block, stream) in &job.unproven.streams {
                let proven = job.lists.manifest.is_some() || job.lists.layout.is_listed(*block);
                assert!(!proven, "what is proven is not told as tentative");
                assert!(!job.course.ended || stream.is_whole(), "what is over is told as a whole");
                assert!(stream.offered || stream.followers.is_empty(), "what is not offered is not followed");
                assert!(stream.list.len() == job.origin.blocks[*block as usize].block.chunks.len());
                let in_file =
                    |nth| job.index_of(*block, nth).is_some_and(|index| job.sets.held.contains(index));
                assert!((0..stream.ready()).all(in_file), "only what lies in the file is told");
                for (link, told) in &stream.followers {
                    let open = |peer: &super::peer::Peer| !peer.closing && job.spec.is_open_to(peer);
                    assert!(self.peers.get(link).is_some_and(open), "only linked peers follow");
                    assert!(*told <= stream.tellable(), "nobody is told of more than there is");
                }
            }
        }
    }
}
