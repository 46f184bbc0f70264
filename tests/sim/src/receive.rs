//! What arrives at a node in message mode, under the rules that the real `Link` enforces, and what a node's answers hold.

use crate::file::ChunkId;
use crate::link::{Answered, Content, List, Wanted};
use crate::world::World;
use zest_core::link::{Body, ManifestPart, Message, Outgoing, PayloadKind, PeerFault, ZestMessage};
use zest_core::node::{Event, ManifestPlace};
use zest_core::wire::zest::{MANIFEST_PART_RECORDS_MAX, MANIFEST_RECORD_BYTES};
use zest_core::{FileId, LinkId, Location, ReqId};
use zest_xet::Hash;

/// [`FileId`]s from here on hold records of file manifests, by file.
const MANIFESTS: u32 = 1 << 24;
/// From here on records of xorbs: files in the upper 8, blocks in the lower 20 bits.
const LISTS: u32 = 1 << 28;
/// Blocks of a file, at most: 2²⁰.
const BLOCK_BITS: u32 = 20;
/// From here on other files of the machine, by the file whose chunks they share.
pub(crate) const LOCALS: u32 = 1 << 25;
/// From here on what somebody streams, beside the file.
pub(crate) const TENTATIVES: u32 = 1 << 26;

impl World {
    /// A message has arrived.
    pub(crate) fn receive(&mut self, end: u32, message: Outgoing, content: Content) {
        let (host, link) = (self.ends[end as usize].host, LinkId(end.into()));
        let message = match message {
            Outgoing::ChunkRequest { req, hash, .. } => {
                Message::ChunkRequest { req: req.0, hash, dialect: zest_core::link::Dialect::Chunk }
            }
            Outgoing::XorbRequest { req, xorb, start, end, .. } => {
                Message::XorbRequest { req: req.0, xorb, start, end }
            }
            Outgoing::Chunk { req, len, .. } => {
                return self.answer(end, req, PayloadKind::Chunk, len, content);
            }
            Outgoing::ManifestPart { req, part, body } => {
                return self.answer(end, req, PayloadKind::ManifestPart(part), body.len(), content);
            }
            Outgoing::Plain { req, body } => {
                return self.answer(end, req, PayloadKind::Plain, body.len(), content);
            }
            Outgoing::XorbRange { req, .. } | Outgoing::XorbBytes { req, .. } => {
                // Nobody here asks for ranges: the layouts of zest 0.4 are tested on the real link.
                return self.break_off(end, PeerFault::Unsolicited { req, len: 0 });
            }
            Outgoing::NotFound { req, .. } => match self.ends[end as usize].asked.take(req) {
                Answered::InTime(_) => Message::NotFound { req: ReqId(req) },
                Answered::Late => return,
                Answered::Never => Message::Ignored,
            },
            Outgoing::ErrorReply { req, code, text, .. } => match self.ends[end as usize].asked.take(req) {
                Answered::InTime(_) => Message::Error { req: ReqId(req), code, text },
                Answered::Late => return,
                Answered::Never => Message::Ignored,
            },
            Outgoing::Zest(ZestMessage::ManifestNone { req }) => {
                match self.ends[end as usize].asked.take(req) {
                    Answered::InTime(_) => Message::Zest(ZestMessage::ManifestNone { req }),
                    Answered::Late => return,
                    Answered::Never => Message::Ignored,
                }
            }
            Outgoing::Zest(ZestMessage::PlainNone { req }) => match self.ends[end as usize].asked.take(req) {
                Answered::InTime(_) => Message::Zest(ZestMessage::PlainNone { req }),
                Answered::Late => return,
                Answered::Never => Message::Ignored,
            },
            Outgoing::Zest(message) => Message::Zest(message),
            Outgoing::Pex(pex) => Message::Pex(pex),
            Outgoing::KeepAlive | Outgoing::Forget { .. } => return,
        };
        self.feed(host, Event::Message { link, message });
    }

    /// Bulk data has arrived.
    fn answer(&mut self, end: u32, req: u32, kind: PayloadKind, len: u32, content: Content) {
        let link = LinkId(end.into());
        let asked = match self.ends[end as usize].asked.take(req) {
            Answered::InTime(asked) => asked,
            Answered::Late => return self.count_waste(end, len),
            Answered::Never => {
                self.count_waste(end, len);
                return self.break_off(end, PeerFault::Unsolicited { req, len });
            }
        };
        let req = asked.req;
        if len > asked.len_max {
            let max = asked.len_max;
            return self.break_off(end, PeerFault::AnswerTooLong { req, len, max });
        }
        match (asked.wanted, kind) {
            (
                Wanted::Records { first, count },
                PayloadKind::ManifestPart(ManifestPart { first: f, count: c, total, .. }),
            ) => {
                if f != first || c > count || c == 0 || f.saturating_add(c) > total {
                    let (first, count) = (f, c);
                    return self.break_off(end, PeerFault::ManifestOutOfRange { req, first, count, total });
                }
            }
            (Wanted::Chunk(_), PayloadKind::Chunk) => {}
            (Wanted::Plain, PayloadKind::Plain) if len == asked.len_max => {}
            _ => return self.break_off(end, PeerFault::Unsolicited { req: req.0, len }),
        }
        let host = self.ends[end as usize].host;
        let buf = self.buffers.put(content);
        self.feed(host, Event::Payload { link, req, kind, buf, len });
    }

    /// The remote broke the protocol.
    pub(crate) fn break_off(&mut self, end: u32, fault: PeerFault) {
        self.totals.faults += 1;
        self.close(end, Some(fault));
    }

    /// What a node's message carries; none if it cannot be sent (the link is broken off then).
    pub(crate) fn content_of(&mut self, end: u32, message: &Outgoing) -> Option<Content> {
        match message {
            Outgoing::Chunk { hash, body, len, .. } => self.read_chunk(end, hash, *body, *len),
            Outgoing::ManifestPart { part: ManifestPart { total, first, count, .. }, body, .. } => {
                let Body::File(place) = *body else {
                    self.fail(format!("link {end}: records from {body:?}, which the world never gave"));
                    return None;
                };
                let list = list_at(place.file)?;
                let right = self.list_len(list) == *total
                    && place.offset == u64::from(*first) * u64::from(MANIFEST_RECORD_BYTES)
                    && place.len == count * MANIFEST_RECORD_BYTES;
                if !right {
                    self.fail(format!("link {end}: {message:?} does not say what lies there"));
                }
                Some(Content::Records { list, first: *first, count: *count, good: true })
            }
            Outgoing::Plain { body, .. } => self.plain_content(end, *body),
            _ => Some(Content::Junk),
        }
    }

    /// Reads a chunk for a peer. Only what is proven may ever be read.
    fn read_chunk(&mut self, end: u32, hash: &Hash, body: Body, len: u32) -> Option<Content> {
        let host = self.ends[end as usize].host;
        let Body::File(place) = body else {
            self.fail(format!("link {end}: a chunk from {body:?}, which the world never gave"));
            return None;
        };
        let id = self.files.all.get(place.file.0 as usize).and_then(|file| {
            let index = file.index_at(place.offset)?;
            (file.chunk_bytes(index) == place.len).then(|| ChunkId::new(place.file.0, index))
        });
        let Some(id) = id else {
            self.fail(format!("host {host}: {place:?} is no place of a chunk"));
            return None;
        };
        let task = self.hosts[host as usize].tasks.iter().find(|task| task.file == id.file());
        let file = &self.files.all[id.file() as usize];
        let block = file.block_of(id.index());
        let Some(task) = task.filter(|task| task.holds(id.index(), block)) else {
            self.fail(format!(
                "host {host} serves chunk {} of file {}, which it lacks",
                id.index(),
                id.file()
            ));
            return None;
        };
        let (proven, good) = (task.is_proven(id.index(), block), task.good.contains(id.index()));
        // What it streams itself it may give to those who follow, whatever it is; what is held and not proven came from the origin.
        let is_streamed = file.blocks[block as usize].whole && task.named(block).is_none();
        if !proven && !is_streamed {
            self.fail(format!("host {host} serves chunk {} of file {} unproven", id.index(), id.file()));
        }
        let true_hash = self.files.chunk(id).hash;
        let its_hash = if good { true_hash } else { crate::file::Files::twisted(&true_hash) };
        if its_hash != *hash || place.len != len {
            self.fail(format!("host {host} answers for {hash} with another chunk"));
        }
        let disk = &self.hosts[host as usize].disk;
        let (rotten, short) = (disk.rotten, disk.short);
        if short && self.dice.disk.one_in(20) {
            // The file is shorter than it was: the runtime can only break off.
            self.close(end, None);
            return None;
        }
        let good = good && !(rotten && self.dice.disk.one_in(10));
        Some(Content::Chunk { id, good })
    }

    // Chunk lists.

    /// The list of a file or xorb with this hash.
    pub(crate) fn list_of(&self, hash: &Hash) -> Option<List> {
        let file = self.files.by_hash(hash).map(List::File);
        file.or_else(|| self.files.by_xorb(hash).map(|(file, block)| List::Xorb(file, block)))
    }

    pub(crate) fn list_len(&self, list: List) -> u32 {
        match list {
            List::File(file) => self.files.all[file as usize].len(),
            List::Xorb(file, block) => self.files.all[file as usize].lists[block as usize].len() as u32,
        }
    }

    fn list_bytes(&self, list: List) -> u64 {
        match list {
            List::File(file) => self.files.all[file as usize].size(),
            List::Xorb(file, block) => {
                let list = &self.files.all[file as usize].lists[block as usize];
                list.iter().map(|chunk| u64::from(chunk.len)).sum()
            }
        }
    }

    /// A part of a chunk list, as a message.
    pub(crate) fn part(&self, req: u32, list: List, first: u32, count: u32) -> Outgoing {
        let place = self.place_of(list, first, count);
        Outgoing::ManifestPart { req, part: place.part, body: place.records }
    }

    fn place_of(&self, list: List, first: u32, count: u32) -> ManifestPlace {
        let records = Body::File(Location {
            file: match list {
                List::File(file) => FileId(MANIFESTS + file),
                List::Xorb(file, block) => FileId(LISTS + (file << BLOCK_BITS) + block),
            },
            offset: u64::from(first) * u64::from(MANIFEST_RECORD_BYTES),
            len: count * MANIFEST_RECORD_BYTES,
        });
        let part =
            ManifestPart { file_size: self.list_bytes(list), total: self.list_len(list), first, count };
        ManifestPlace { part, records }
    }

    // Look-ups: the catalog of a machine.

    /// Whether the catalog gives what lies there to this peer: the node knows who speaks of the same Hub.
    pub(crate) fn may_hear(&self, host: u32, link: LinkId) -> bool {
        let node = self.hosts[host as usize].node.as_ref();
        !self.scenario.near || node.is_some_and(|node| node.is_near(link))
    }

    pub(crate) fn lookup_chunk(&self, host: u32, hash: &Hash) -> Option<Location> {
        let id = self.files.by_chunk(hash)?;
        let task = self.hosts[host as usize].tasks.iter().find(|task| task.file == id.file())?;
        if !task.is_complete() {
            return None;
        }
        let manifest = &self.files.all[id.file() as usize].manifest;
        let (offset, len) = (manifest.offset(id.index()), manifest.chunk(id.index()).len);
        Some(Location { file: FileId(id.file()), offset, len })
    }

    /// A file's list is there once it is proven, a xorb's once a job has proven it or its file is complete.
    pub(crate) fn lookup_records(
        &self,
        host: u32,
        hash: &Hash,
        first: u32,
        count: u32,
    ) -> Option<ManifestPlace> {
        let list = self.list_of(hash)?;
        let tasks = &self.hosts[host as usize].tasks;
        let known = match list {
            List::File(file) => tasks.iter().any(|task| task.file == file && task.manifest),
            List::Xorb(file, block) => {
                tasks.iter().any(|task| task.file == file && task.named(block).is_some())
            }
        };
        let total = self.list_len(list);
        let count = count.min(MANIFEST_PART_RECORDS_MAX).min(total.checked_sub(first)?);
        (known && count > 0).then(|| self.place_of(list, first, count))
    }

    pub(crate) fn lookup_file(&self, host: u32, hash: &Hash) -> (u32, Vec<(u32, u32)>) {
        let Some(file) = self.files.by_hash(hash) else { return (0, Vec::new()) };
        let task = self.hosts[host as usize].tasks.iter().find(|task| task.file == file);
        match task {
            Some(task) if task.is_complete() => (task.chunks, vec![(0, task.chunks)]),
            Some(task) if task.manifest => (task.chunks, Vec::new()),
            _ => (0, Vec::new()),
        }
    }
}

fn list_at(place: FileId) -> Option<List> {
    match place.0 {
        at @ LISTS.. => Some(List::Xorb((at - LISTS) >> BLOCK_BITS, (at - LISTS) & ((1 << BLOCK_BITS) - 1))),
        at @ MANIFESTS..LOCALS => Some(List::File(at - MANIFESTS)),
        _ => None,
    }
}
