//! The message plane: what peers say in any order of what they have, want and claim, beside jobs, proofs and an origin.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use zest_core::endpoint::Found;
use zest_core::link::{
    Body, Claim, Dialect, ExtHandshake, Extension, ManifestPart, Message, Outgoing, PayloadKind, PlainKey,
    ZestMessage,
};
use zest_core::node::{
    Action, BANS_MAX, BitSet, Block, Config, Direction, Event, FaultKind, JobSpec, Node, OriginFault,
    PlainSpec, Policy, Run, Source,
};
use zest_core::wire::zest::plain_part_len;
use zest_core::{BufId, Duration, FileId, FileKey, Instant, JobId, LinkId, Location, PeerId, PlainId, ReqId};
use zest_xet::{ChunkRef, Hash, Manifest, file_hash};

use crate::cursor::Cursor;

/// Bytes of every chunk.
const CHUNK: u32 = 1000;
/// Chunks of a block.
const BLOCK: u32 = 4;
/// Bytes of the small files, by number.
const SMALL: [u32; 4] = [1, 131_072, 131_073, 1 << 20];
/// Chunks of the files, by number.
const FILES: [u32; 3] = [1, 12, 40];
/// Actions that one event may lead to: more than all peers can be asked for at once.
const ACTIONS_MAX: usize = 4096;
/// The Hub that is spoken of.
const HUB: [u8; 20] = [9; 20];
/// Links at once; more that come are not played.
const LINKS_MAX: usize = 12;

/// Input: u8 flags (bit 0 spare-origin, bit 1 few places, bit 2 an upload cap), then steps, by the first byte of each mod 16:
///
/// | step | reads | does |
/// |---|---|---|
/// | 0 | u8 from | a link comes up: of a few addresses and ids, in either direction |
/// | 1 | u8 link | it breaks |
/// | 2 | u8 link, u8 what | an extension handshake |
/// | 3 | u8 link, u8 file | interest, or none any more |
/// | 4 | u8 link, u8 file, u8 total, u8 first, u8 count | HAVE |
/// | 5 | u8 link, u8 file, u8 first, u8 count | HAVE_MORE |
/// | 6 | u8 link, u8 file, u8 n, n × (u8 first, u8 score, u8 beat) | CLAIM; scores repeat what we and others said |
/// | 7 | u8 link, u8 what, u8 file, u8 at | it asks for a chunk, a part of a list, a range; or calls off |
/// | 8 | u8 which, u8 how | what we asked of somebody is answered: right, wrong, not at all |
/// | 9 | u8 file, u8 what | a job begins or ends |
/// | 10 | u8 job, u8 what | its layout or its list is there, or the origin is gone; it rests; it knows its front |
/// | 11 | u8 which, u8 good | a proof is done |
/// | 12 | u8 which, u8 what | a fetch of the origin gives a chunk, or ends |
/// | 13 | u8 tenths | time passes, no longer than until the next timer |
/// | 14 | u16 × 10 ms | time leaps |
/// | 15 | u8 link, u8 what | SLOT; its socket took bytes; it is read from or not; a budget; an address is found; a small file is wanted, asked for, or there |
///
/// After every step the node's invariants hold, what it does concerns only what there is, and played again it is the same story.
pub fn node(input: &[u8]) {
    let first = play(input);
    assert!(first == play(input), "the same events give the same actions");
}

fn play(input: &[u8]) -> Vec<String> {
    let mut input = Cursor::new(input);
    let flags = input.u8();
    let mut config = Config::new([7; 32], PeerId(*b"-ZT0500-we-ourselves"));
    config.tentative = true;
    if flags & 1 != 0 {
        config.policy = Policy::SpareOrigin;
    }
    if flags & 2 != 0 {
        (config.peers_max, config.inbound_max, config.dials_max, config.upload_slots) = (3, 2, 1, 1);
        (config.origin_fetches_max, config.origin_fetches_limit, config.copies_max) = (1, 1, 1);
    }
    config.hub = Some(HUB);
    if flags & 4 != 0 {
        config.upload_bytes_s = Some(1 << 20);
    }
    let mut world = World {
        node: Node::new(config),
        now: Instant(1 << 40),
        next: 1,
        links: BTreeMap::new(),
        asked: Vec::new(),
        proving: Vec::new(),
        fetches: Vec::new(),
        bufs: BTreeSet::new(),
        jobs: BTreeMap::new(),
        plain: BTreeSet::new(),
        scores: vec![1, u64::MAX],
        banned: 0,
        story: Vec::new(),
    };
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.story
}

fn files() -> &'static [Arc<Manifest>] {
    static FILES_MADE: OnceLock<Vec<Arc<Manifest>>> = OnceLock::new();
    FILES_MADE.get_or_init(|| {
        let file = |(number, chunks): (u8, u32)| {
            let chunk =
                |at: u32| ChunkRef { hash: Hash::from_bytes([number * 50 + at as u8; 32]), len: CHUNK };
            let list: Vec<ChunkRef> = (0..chunks).map(chunk).collect();
            let size = u64::from(chunks * CHUNK);
            Arc::new(Manifest::prove(file_hash(&list), size, list).expect("a list makes its own hash"))
        };
        (1..).zip(FILES).map(file).collect()
    })
}

fn blocks(file: &Manifest) -> Vec<Block> {
    let block = |at: u32| {
        let count = BLOCK.min(file.len() - at * BLOCK);
        let run = Run { first: at * BLOCK, count, xorb_chunk: 0, offset: file.offset(at * BLOCK) };
        let xorb = Hash::from_bytes([200 + at as u8; 32]);
        Block {
            xorb,
            chunks: 0..count,
            runs: vec![run],
            wire_bytes: u64::from(count * CHUNK),
            whole: at % 2 == 1,
        }
    };
    (0..file.len().div_ceil(BLOCK)).map(block).collect()
}

struct Job {
    file: usize,
    planned: bool,
    listed: bool,
    ended: bool,
}

struct World {
    node: Node,
    now: Instant,
    next: u64,
    links: BTreeMap<LinkId, SocketAddr>,
    /// What we asked of peers.
    asked: Vec<(LinkId, ReqId, Outgoing)>,
    proving: Vec<(JobId, u32, LinkId)>,
    /// Blocks that the origin streams, and chunks of them that have come.
    fetches: Vec<(JobId, u32, u32)>,
    bufs: BTreeSet<BufId>,
    jobs: BTreeMap<JobId, Job>,
    /// Small files that are wanted.
    plain: BTreeSet<PlainId>,
    /// Scores that were said, so that they come up again.
    scores: Vec<u64>,
    banned: usize,
    story: Vec<String>,
}

impl World {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn tell(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.node.handle(self.now, event);
            let mut count = 0;
            while let Some(action) = self.node.poll_action() {
                count += 1;
                assert!(count <= ACTIONS_MAX, "one event leads to so much and no more");
                self.story.push(format!("{action:?}"));
                self.perform(action, &mut events);
            }
            self.node.check_invariants();
            if let Some((at, _)) = self.node.poll_timeout() {
                assert!(at <= self.now + Duration::from_secs(2 * 3600), "timers lie within two hours");
            }
        }
    }

    fn perform(&mut self, action: Action, events: &mut Vec<Event>) {
        match action {
            Action::Send { link, message } => {
                assert!(self.links.contains_key(&link), "messages go to those who are there");
                match message {
                    Outgoing::ChunkRequest { req, .. } | Outgoing::XorbRequest { req, .. } => {
                        self.asked.push((link, req, message));
                    }
                    Outgoing::Zest(
                        ZestMessage::ManifestRequest { req, .. } | ZestMessage::PlainRequest { req, .. },
                    ) => {
                        self.asked.push((link, ReqId(req), message));
                    }
                    Outgoing::Zest(ZestMessage::Claim { claims, .. }) => {
                        self.scores.extend(claims.iter().map(|claim| claim.score))
                    }
                    _ => {}
                }
                self.scores.truncate(64);
            }
            Action::Close { link, .. } => {
                if self.links.remove(&link).is_some() {
                    self.forget(link);
                    events.push(Event::LinkDown { link, fault: None });
                }
            }
            Action::Prove { job, index, buf, link, .. } => {
                assert!(self.bufs.remove(&buf), "a buffer is proven once");
                let file = &files()[self.jobs[&job].file];
                assert!(index < file.len());
                self.proving.push((job, index, link));
            }
            Action::Free { buf } | Action::ProveBlockList { buf, .. } => {
                assert!(self.bufs.remove(&buf), "a buffer is freed once");
            }
            Action::KeepManifestPart { job, link, buf, last, .. } => {
                assert!(self.bufs.remove(&buf), "a part is kept once");
                if last {
                    events.push(Event::ManifestBad { job, link });
                }
            }
            Action::OriginFetch { job, block } => {
                assert!(self.jobs[&job].planned, "what has no layout is not fetched");
                assert!(
                    !self.fetches.iter().any(|(of, at, _)| (*of, *at) == (job, block)),
                    "and nothing twice"
                );
                self.fetches.push((job, block, 0));
            }
            Action::OriginStop { job, block } => {
                let before = self.fetches.len();
                self.fetches.retain(|(of, at, _)| (*of, *at) != (job, block));
                assert_eq!(self.fetches.len() + 1, before, "only what is under way is stopped");
                events.push(Event::OriginEnded { job, block, fault: None });
            }
            Action::OriginPlan { job } => {
                events.push(Event::OriginGone {
                    job,
                    why: OriginFault::new(FaultKind::Permanent, "no layout"),
                });
            }
            Action::ProveTentative { job, block, nth, buf, link, .. } => {
                assert!(self.bufs.remove(&buf), "a buffer is compared once");
                let from = Location { file: FileId(9000 + block), offset: u64::from(nth), len: 1 };
                events.push(match nth % 5 {
                    4 => Event::TentativeBad { job, block, nth, link },
                    _ => Event::TentativeKept { job, block, nth, link, from },
                });
            }
            Action::DropTentative { .. } => {}
            Action::AdoptBlockList { .. } => panic!("what is told here hashes to no xorb"),
            Action::CopyLocal { job, index, .. } => {
                events.push(Event::ChunkBad { job, index, source: Source::Disk });
            }
            Action::LookupChunk { link, req, hash, dialect } => {
                events.push(Event::ChunkLocated { link, req, hash, dialect, place: None });
            }
            Action::LookupManifest { link, req, .. } => {
                events.push(Event::ManifestLocated { link, req, place: None });
            }
            Action::LookupPlain { link, req, key, size, offset } => {
                let len = plain_part_len(size, offset).expect("only what there can be is looked up");
                let here = key.id.as_bytes()[0].is_multiple_of(2);
                let place = Location { file: FileId(7), offset: offset.into(), len };
                events.push(Event::PlainLocated { link, req, body: here.then_some(Body::File(place)) });
            }
            Action::PlainCame { plain, link, bufs } => {
                assert!(self.plain.contains(&plain), "what comes is wanted");
                for buf in bufs {
                    assert!(self.bufs.remove(&buf), "a part comes once");
                }
                if link.0 % 3 == 0 {
                    events.push(Event::PlainBad { plain, link });
                }
            }
            Action::PlainAlone { plain } => {
                assert!(self.plain.contains(&plain), "what is asked for is wanted")
            }
            Action::LookupFile { link, file } => {
                events.push(Event::FileLocated { link, file, total: 0, runs: vec![] });
            }
            Action::LookupXorb { link, req, xorb, .. } => {
                let answer = Outgoing::NotFound { req: req.0, hash: xorb, dialect: Dialect::Range };
                events.push(Event::XorbLocated { link, answer });
            }
            Action::Complete { job } | Action::Failed { job, .. } => {
                let job = self.jobs.get_mut(&job).expect("a job ends while it is there");
                assert!(!std::mem::replace(&mut job.ended, true), "and once");
            }
            Action::Banned { .. } => {
                self.banned += 1;
                assert!(self.banned <= BANS_MAX + LINKS_MAX, "more than ever were here");
            }
            Action::Hold { link, until } => {
                assert!(self.links.contains_key(&link), "only who is there is held");
                assert!(until <= self.now + Duration::from_secs(60), "a hold is a pause");
            }
            Action::Dial { addr, .. } => events.push(Event::DialFailed { addr }),
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.asked.retain(|(of, ..)| *of != link);
    }

    fn link(&self, n: u8) -> Option<LinkId> {
        self.links.keys().nth(usize::from(n) % self.links.len().max(1)).copied()
    }

    fn job(&self, n: u8) -> Option<JobId> {
        self.jobs.keys().nth(usize::from(n) % self.jobs.len().max(1)).copied()
    }

    fn says(&mut self, n: u8, message: Message) {
        if let Some(link) = self.link(n) {
            self.tell(Event::Message { link, message });
        }
    }

    fn step(&mut self, input: &mut Cursor<'_>) {
        match input.u8() % 16 {
            0 => self.comes_up(input.u8()),
            1 => {
                if let Some(link) = self.link(input.u8()) {
                    self.links.remove(&link);
                    self.forget(link);
                    self.tell(Event::LinkDown { link, fault: None });
                }
            }
            2 => {
                let (link, what) = (input.u8(), input.u8());
                let hello = ExtHandshake {
                    reqq: (what & 4 != 0).then_some(u32::from(what >> 3)),
                    hub: (what & 128 != 0).then_some(HUB),
                    plain: what & 16 != 0,
                    ..ExtHandshake::empty(if what & 8 != 0 { Dialect::Range } else { Dialect::Chunk })
                }
                .with(Extension::UtXet, (what & 1 == 0).then_some(1))
                .with(Extension::Zest, (what & 2 == 0).then_some(3));
                self.says(link, Message::ExtHandshake(hello));
            }
            3 => {
                let (link, file) = (input.u8(), input.u8());
                let hash = hash_of(file);
                let message = if file & 128 == 0 {
                    Message::Zest(ZestMessage::Interest { file: hash })
                } else {
                    Message::Zest(ZestMessage::Uninterest { file: hash })
                };
                self.says(link, message);
            }
            4 => {
                let (link, file, total) = (input.u8(), input.u8(), input.u8());
                let real = files()[usize::from(file) % FILES.len()].len();
                let total = [real, 0, u32::from(total), u32::MAX][usize::from(total) % 4];
                let (first, count) = (u32::from(input.u8()), u32::from(input.u8()));
                let runs = if first < total { vec![(first, count.clamp(1, total - first))] } else { vec![] };
                self.says(link, Message::Zest(ZestMessage::Have { file: hash_of(file), total, runs }));
            }
            5 => {
                let (link, file) = (input.u8(), input.u8());
                let runs = vec![(u32::from(input.u8()), u32::from(input.u8()).max(1))];
                self.says(
                    link,
                    Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&hash_of(file)), runs }),
                );
            }
            6 => {
                let (link, file, count) = (input.u8(), input.u8(), input.u8() % 8);
                let claims = (0..count).map(|_| self.claim(input)).collect();
                self.says(
                    link,
                    Message::Zest(ZestMessage::Claim { file: FileKey::of(&hash_of(file)), claims }),
                );
            }
            7 => self.is_asked(input),
            8 => self.answers(input.u8(), input.u8()),
            9 => self.job_comes_or_goes(input.u8(), input.u8()),
            10 => self.job_hears(input.u8(), input.u8()),
            11 => {
                let (which, good) = (input.u8(), input.u8());
                if !self.proving.is_empty() {
                    let (job, index, link) = self.proving.remove(usize::from(which) % self.proving.len());
                    let source = Source::Peer(link);
                    self.tell(match good % 4 {
                        0 => Event::ChunkBad { job, index, source },
                        _ => Event::ChunkDone { job, index, source },
                    });
                }
            }
            12 => self.origin_gives(input.u8(), input.u8()),
            13 => {
                let pause = Duration::from_millis(100) * u32::from(input.u8());
                let next = self.node.poll_timeout().map_or(self.now + pause, |(at, _)| at);
                self.now = self.now.max(next.min(self.now + pause));
                self.tell(Event::Timer);
            }
            14 => {
                self.now = self.now + Duration::from_millis(10) * u32::from(input.u16());
                self.tell(Event::Timer);
            }
            _ => self.other(input.u8(), input.u8()),
        }
    }

    fn claim(&self, input: &mut Cursor<'_>) -> Claim {
        let (first, score, beat) = (input.u8(), input.u8(), input.u8());
        let score = self.scores[usize::from(score) % self.scores.len()].wrapping_add(u64::from(score >> 6));
        // The borders matter: done, disbelieved, taken back.
        let beat = match beat {
            0..=99 => u16::from(beat),
            100..=199 => 0x8000 + u16::from(beat - 100),
            _ => u16::MAX - u16::from(beat - 200),
        };
        Claim { first: u32::from(first), score, beat }
    }

    fn comes_up(&mut self, from: u8) {
        if self.links.len() >= LINKS_MAX {
            return;
        }
        let link = LinkId(self.number());
        let addr = SocketAddr::new(Ipv4Addr::new(10, 0, 0, from % 8).into(), 7000 + u16::from(from >> 6));
        let direction = if from & 32 == 0 { Direction::Inbound } else { Direction::Outbound };
        self.links.insert(link, addr);
        // Ids are not bound to addresses: anybody may say any.
        self.tell(Event::LinkUp { link, addr, direction, peer_id: PeerId([b'a' + (from >> 3) % 4; 20]) });
    }

    fn is_asked(&mut self, input: &mut Cursor<'_>) {
        let (link, what, file, at) = (input.u8(), input.u8(), input.u8(), input.u8());
        let req = u32::from(at % 32);
        let manifest = &files()[usize::from(file) % FILES.len()];
        let message = match what % 5 {
            0 => {
                let hash = manifest.chunk(u32::from(at) % manifest.len()).hash;
                Message::ChunkRequest { req, hash, dialect: Dialect::Chunk }
            }
            1 => Message::Zest(ZestMessage::ManifestRequest {
                req,
                file: hash_of(file),
                first: u32::from(at),
                count: u32::MAX,
            }),
            2 => Message::XorbRequest {
                req,
                xorb: Hash::from_bytes([200 + file % 8; 32]),
                start: u32::from(at),
                end: 3,
            },
            3 => Message::Zest(ZestMessage::Cancel { req }),
            _ => {
                let (key, first) = (FileKey::of(&hash_of(file)), u32::from(at));
                match what / 5 % 4 {
                    0 => Message::Ignored,
                    1 => Message::Zest(ZestMessage::Streams { file: key, first }),
                    2 => Message::Zest(ZestMessage::Follow { file: key, first, on: req.is_multiple_of(2) }),
                    _ => {
                        let records = (0..req % 4).map(|n| manifest.chunk(n % manifest.len())).collect();
                        Message::Zest(ZestMessage::Told { file: key, first, at: req / 4, records })
                    }
                }
            }
        };
        self.says(link, message);
    }

    fn answers(&mut self, which: u8, how: u8) {
        if self.asked.is_empty() {
            return;
        }
        let (link, req, asked) = self.asked.remove(usize::from(which) % self.asked.len());
        let payload = |world: &mut Self, kind: PayloadKind, len: u32| {
            let buf = BufId(world.number());
            world.bufs.insert(buf);
            Event::Payload { link, req, kind, buf, len }
        };
        let event = match (how % 4, asked) {
            (0, _) => Event::Message { link, message: Message::NotFound { req } },
            (1, _) => Event::Message { link, message: Message::Error { req, code: 1, text: String::new() } },
            (_, Outgoing::ChunkRequest { len_max, .. }) => {
                payload(self, PayloadKind::Chunk, if how & 128 == 0 { len_max } else { u32::from(how) })
            }
            (_, Outgoing::Zest(ZestMessage::ManifestRequest { .. })) if how & 128 == 0 => {
                let file = &files()[usize::from(how) % FILES.len()];
                let (total, file_size) = (file.len(), file.size());
                let kind =
                    PayloadKind::ManifestPart(ManifestPart { file_size, total, first: 0, count: total });
                payload(self, kind, total * 36)
            }
            (_, Outgoing::Zest(ZestMessage::ManifestRequest { .. })) => {
                Event::Message { link, message: Message::Zest(ZestMessage::ManifestNone { req: req.0 }) }
            }
            (_, Outgoing::Zest(ZestMessage::PlainRequest { size, offset, .. })) if how & 128 == 0 => {
                let len = plain_part_len(size, offset).expect("a part that there is was asked for");
                payload(self, PayloadKind::Plain, len)
            }
            (_, Outgoing::Zest(ZestMessage::PlainRequest { .. })) => {
                Event::Message { link, message: Message::Zest(ZestMessage::PlainNone { req: req.0 }) }
            }
            _ => Event::BlockFromPeer { link, req, good: how & 128 == 0 },
        };
        self.tell(event);
    }

    fn job_comes_or_goes(&mut self, file: u8, what: u8) {
        if what & 1 == 1 {
            if let Some(job) = self.job(file) {
                // What is under way for it is called off by the node itself.
                self.tell(Event::JobRemoved { job });
                self.jobs.remove(&job);
                self.fetches.retain(|(of, ..)| *of != job);
                self.proving.retain(|(of, ..)| *of != job);
            }
            return;
        }
        let file = usize::from(file) % FILES.len();
        if self.jobs.values().any(|job| job.file == file) {
            return;
        }
        let job = JobId(self.number() as u32);
        let manifest = &files()[file];
        let spec = JobSpec {
            peers: what & 2 == 0,
            near: what & 64 != 0,
            origin: what & 4 == 0,
            pull: u32::from(what >> 5 & 1),
            priority: what >> 7,
            front: u64::from(what >> 3 & 7) * u64::from(CHUNK),
            ..JobSpec::new(manifest.file(), manifest.size(), FileId(file as u32))
        };
        self.jobs.insert(job, Job { file, planned: false, listed: false, ended: false });
        self.tell(Event::JobAdded { job, spec });
    }

    fn job_hears(&mut self, n: u8, what: u8) {
        let Some(job) = self.job(n) else { return };
        let state = self.jobs.get_mut(&job).expect("it is there");
        let file = files()[state.file].clone();
        let event = match what % 8 {
            0..=2 if !state.planned => {
                state.planned = true;
                let held = if what & 128 == 0 { vec![] } else { vec![0] };
                Event::JobPlanned { job, chunks: file.len(), blocks: blocks(&file), held, local: vec![] }
            }
            3..=4 if !state.listed => {
                state.listed = true;
                Event::JobManifest { job, held: BitSet::empty(file.len()), manifest: file, local: vec![] }
            }
            5 => {
                let kind = if what & 128 == 0 { FaultKind::Permanent } else { FaultKind::Unreachable };
                let why = OriginFault::new(kind, "gone");
                Event::OriginGone { job, why }
            }
            6 if what & 64 != 0 => {
                let policies = [None, None, Some(Policy::Fastest), Some(Policy::SpareOrigin)];
                Event::JobPolicy { job, policy: policies[usize::from(what >> 3 & 3)] }
            }
            6 => Event::JobPaused { job, paused: what & 128 == 0 },
            _ if what & 64 != 0 => {
                let start = u64::from(what & 63) * u64::from(CHUNK) / 4;
                Event::JobAwaited { job, bytes: start..start + u64::from(CHUNK) }
            }
            _ => Event::JobFront { job, bytes: u64::from(what) * 100 },
        };
        self.tell(event);
    }

    fn origin_gives(&mut self, which: u8, what: u8) {
        if self.fetches.is_empty() {
            return;
        }
        let at = usize::from(which) % self.fetches.len();
        let (job, block, came) = self.fetches[at];
        let run = blocks(&files()[self.jobs[&job].file])[block as usize].runs[0];
        if came < run.count && !what.is_multiple_of(4) {
            self.fetches[at].2 += 1;
            let (index, source) = (run.first + came, Source::Origin);
            if self.node.needs(job, index) {
                self.tell(Event::ChunkDone { job, index, source });
            }
            return;
        }
        if what & 8 != 0 {
            self.tell(Event::OriginHeard { job, block });
        }
        self.fetches.remove(at);
        let retry_after = (what & 16 != 0).then(|| Duration::from_secs(u64::from(what)));
        let kinds = [FaultKind::Unreachable, FaultKind::Busy, FaultKind::Broken, FaultKind::Permanent];
        let kind = kinds[usize::from(what >> 5) % kinds.len()];
        let cut = OriginFault { retry_after, known: what & 4 == 0, ..OriginFault::new(kind, "cut") };
        self.tell(Event::OriginEnded { job, block, fault: (came < run.count).then_some(cut) });
    }

    fn other(&mut self, n: u8, what: u8) {
        if what % 8 == 7 {
            let addr = SocketAddr::new(Ipv4Addr::new(10, 0, 0, n % 8).into(), 7000);
            return self.tell(Event::PeerFound { addr, how: Found::Tracker });
        }
        if what % 8 == 4 {
            return self.small_file(n, what);
        }
        let Some(link) = self.link(n) else { return };
        self.tell(match what % 8 {
            5 => {
                let (size, offset) =
                    (SMALL[usize::from(what >> 3) % SMALL.len()], u32::from(what >> 5) << 17);
                let wait = n.is_multiple_of(2);
                let ask =
                    ZestMessage::PlainRequest { req: n.into(), key: small(what >> 3), size, offset, wait };
                Event::Message { link, message: Message::Zest(ask) }
            }
            0 => Event::Message {
                link,
                message: Message::Zest(ZestMessage::Slot {
                    open: what & 128 == 0,
                    wait_ms: u16::from(what) * 99,
                }),
            },
            1 => Event::UploadBudget { bytes: (what & 128 == 0).then(|| u64::from(what) << 16) },
            2 | 3 => Event::Intake { link, open: what % 2 == 1 },
            _ => Event::Sent { link, bytes: 0 },
        });
    }
}

impl World {
    fn small_file(&mut self, n: u8, what: u8) {
        if n & 1 == 1 {
            let nth = usize::from(n >> 1) % self.plain.len().max(1);
            let Some(plain) = self.plain.iter().nth(nth).copied() else { return };
            self.plain.remove(&plain);
            return self.tell(Event::PlainOver { plain });
        }
        if self.plain.len() >= 8 {
            return;
        }
        let plain = PlainId(self.number() as u32);
        self.plain.insert(plain);
        let spec = PlainSpec {
            key: small(what >> 3),
            size: SMALL[usize::from(what >> 3) % SMALL.len()],
            near: what & 128 != 0,
            policy: None,
            files: files().iter().map(|file| file.file()).collect(),
            jobs_begin: n & 2 != 0,
        };
        self.tell(Event::PlainWanted { plain, spec });
    }
}

/// What a small file is called.
fn small(n: u8) -> PlainKey {
    PlainKey::sha256([n % SMALL.len() as u8; 32])
}

/// Of one of the files, or of one that nobody has.
fn hash_of(file: u8) -> Hash {
    match file % 4 {
        3 => Hash::from_bytes([99; 32]),
        n => files()[usize::from(n)].file(),
    }
}
