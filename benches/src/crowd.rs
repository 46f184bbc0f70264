//! A node among 256 peers, fetching and serving. A chunk is four events when it is fetched (news of it, its payload, its proof,
//! and the request for it that a peer sends in turn), two more when that is answered.

use std::collections::VecDeque;
use std::sync::Arc;
use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, PayloadKind, ZestMessage};
use zest_core::node::{Action, BitSet, Config, Direction, Event, JobSpec, Node, Source};
use zest_core::{BufId, FileId, Instant, JobId, LinkId, PeerId, ReqId};
use zest_xet::{ChunkRef, Hash, Manifest, file_hash};

/// Peers: as many as a node links.
pub const PEERS: u64 = 256;
/// Chunks of a file of 1 GiB.
pub const CHUNKS: u32 = 16_384;
/// Bytes of a chunk.
const CHUNK_BYTES: u32 = 64 << 10;
/// A file of so many chunks to be fetched: its list is right, its chunks exist nowhere.
///
/// # Panics
/// Never: the list is our own.
#[must_use]
pub fn manifest(chunks: u32) -> Arc<Manifest> {
    let chunks: Vec<ChunkRef> = (0..chunks)
        .map(|number| {
            let mut bytes = [0x5a; 32];
            bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
            ChunkRef { hash: Hash::from_bytes(bytes), len: CHUNK_BYTES }
        })
        .collect();
    let size = chunks.len() as u64 * u64::from(CHUNK_BYTES);
    Arc::new(Manifest::prove(file_hash(&chunks), size, chunks).expect("a right list"))
}

/// A node and what has to happen to it next.
#[derive(Debug)]
pub struct Crowd {
    node: Node,
    now: Instant,
    todo: VecDeque<Event>,
    asked: VecDeque<(LinkId, ReqId)>,
    next: u64,
    events: u64,
    done: bool,
}

impl Crowd {
    /// A node that links [`PEERS`] peers and begins to fetch `manifest` from them. Every peer has another part of it; the
    /// parts overlap by four.
    #[must_use]
    pub fn new(manifest: &Arc<Manifest>) -> Self {
        let config = Config {
            peers_max: PEERS as usize,
            inbound_max: PEERS as usize,
            ..Config::new([3; 32], PeerId([9; 20]))
        };
        let mut world = Self {
            node: Node::new(config),
            now: Instant(1),
            todo: VecDeque::new(),
            asked: VecDeque::new(),
            next: 0,
            events: 0,
            done: false,
        };
        for number in 0..PEERS {
            let (link, mut id) = (LinkId(number), [1; 20]);
            id[..8].copy_from_slice(&number.to_be_bytes());
            let addr = ([10, 0, (number / 250) as u8, (number % 250) as u8], 6881).into();
            world.event(Event::LinkUp { link, addr, direction: Direction::Inbound, peer_id: PeerId(id) });
            let hello = ExtHandshake::empty(Dialect::Chunk)
                .with(Extension::UtXet, Some(1))
                .with(Extension::Zest, Some(3));
            world.event(Event::Message { link, message: Message::ExtHandshake(hello) });
        }
        let (job, file) = (JobId(1), manifest.file());
        let spec = JobSpec { origin: false, ..JobSpec::new(file, manifest.size(), FileId(1)) };
        world.event(Event::JobAdded { job, spec });
        let chunks = manifest.len();
        let (held, local) = (BitSet::empty(chunks), vec![]);
        world.event(Event::JobManifest { job, manifest: manifest.clone(), held, local });
        for number in 0..PEERS {
            let link = LinkId(number);
            world.event(Event::Message { link, message: Message::Zest(ZestMessage::Interest { file }) });
            let part = chunks / PEERS as u32 * 4;
            let first = (number as u32 * (chunks / PEERS as u32)).min(chunks - part);
            let message = Message::Zest(ZestMessage::Have { file, total: chunks, runs: vec![(first, part)] });
            world.event(Event::Message { link, message });
        }
        world.events = 0;
        world
    }

    fn event(&mut self, event: Event) {
        self.events += 1;
        self.node.handle(self.now, event);
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Send { link, message: Outgoing::ChunkRequest { req, .. } } => {
                    self.asked.push_back((link, req))
                }
                Action::Send { link, message: Outgoing::Chunk { len, .. } } => {
                    self.todo.push_back(Event::Sent { link, bytes: u64::from(len) });
                }
                Action::Prove { job, index, link, chunk, .. } => {
                    self.todo.push_back(Event::ChunkDone { job, index, source: Source::Peer(link) });
                    // What has just come is what another peer asks for next.
                    let (link, req) = (LinkId((self.events * 7) % PEERS), self.events as u32);
                    let message = Message::ChunkRequest { req, hash: chunk.hash, dialect: Dialect::Chunk };
                    self.todo.push_back(Event::Message { link, message });
                }
                Action::LookupChunk { link, req, hash, dialect } => {
                    self.todo.push_back(Event::ChunkLocated { link, req, hash, dialect, place: None });
                }
                Action::Complete { .. } => self.done = true,
                _ => {}
            }
        }
    }

    /// Handles so many events; fewer when the file is complete. Returns how many were handled since [`Crowd::new`].
    ///
    /// # Panics
    /// When the node has nothing left to do and the file is not complete.
    pub fn run(&mut self, events: u64) -> u64 {
        while self.events < events && !self.done {
            self.now.0 += 2;
            if self.node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                self.event(Event::Timer);
            } else if let Some(event) = self.todo.pop_front() {
                self.event(event);
            } else if let Some((link, req)) = self.asked.pop_front() {
                self.next += 1;
                let (kind, buf) = (PayloadKind::Chunk, BufId(self.next));
                self.event(Event::Payload { link, req, kind, buf, len: CHUNK_BYTES });
            } else {
                panic!("nothing is left to do after {} events", self.events);
            }
        }
        self.events
    }
}
