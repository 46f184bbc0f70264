//! One node and the peers whose words it hears.

use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, PayloadKind, ZestMessage};
use zest_core::node::{Action, Block, Config, Direction, Event, JobSpec, Node, Policy, Run};
use zest_core::{BufId, Duration, FileId, FileKey, Instant, JobId, LinkId, Location, PeerId, ReqId};
use zest_xet::{ChunkRef, Hash, xorb_hash};

pub(crate) const JOB: JobId = JobId(1);
pub(crate) const FILE: Hash = Hash::from_bytes([9; 32]);
pub(crate) const LEN: u32 = 64 << 10;
/// Chunks of a block, and blocks.
pub(crate) const CHUNKS: u32 = 8;
pub(crate) const BLOCKS: u32 = 6;

pub(crate) fn chunk(block: u32, nth: u32) -> ChunkRef {
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (block as u8, nth as u8);
    ChunkRef { hash: Hash::from_bytes(bytes), len: LEN }
}

pub(crate) fn list(block: u32) -> Vec<ChunkRef> {
    (0..CHUNKS).map(|nth| chunk(block, nth)).collect()
}

pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) done: Vec<Action>,
    pub(crate) bufs: u64,
    /// The last block's xorb goes on with another file.
    pub(crate) goes_on: bool,
}

impl Bench {
    /// A node that fetches a file whose layout is known, and its peers.
    pub(crate) fn new(policy: Policy, links: u64) -> Self {
        let mut bench = Self::idle(policy);
        (1..=links).for_each(|link| bench.come(LinkId(link)));
        bench.start();
        bench
    }

    /// One that does nothing yet.
    pub(crate) fn idle(policy: Policy) -> Self {
        let config = Config {
            policy,
            origin_fetches_max: 1,
            origin_fetches_limit: 1,
            tentative: true,
            ..Config::new([3; 32], PeerId([1; 20]))
        };
        Self { node: Node::new(config), now: Instant(1_000_000), done: vec![], bufs: 0, goes_on: false }
    }

    pub(crate) fn fetched(&self) -> Vec<u32> {
        let of = |action: &Action| match action {
            Action::OriginFetch { block, .. } => Some(*block),
            _ => None,
        };
        self.done.iter().filter_map(of).collect()
    }

    /// The job begins.
    pub(crate) fn start(&mut self) {
        self.add();
        self.plan();
    }

    pub(crate) fn add(&mut self) {
        let size = u64::from(BLOCKS * CHUNKS * LEN);
        let spec = JobSpec::new(FILE, size, FileId(7));
        self.tell(Event::JobAdded { job: JOB, spec });
    }

    /// The origin says what the file is made of.
    pub(crate) fn plan(&mut self) {
        let blocks = (0..BLOCKS).map(|at| Block {
            xorb: self.xorb(at),
            chunks: 0..CHUNKS,
            runs: vec![Run {
                first: at * CHUNKS,
                count: CHUNKS,
                xorb_chunk: 0,
                offset: u64::from(at * CHUNKS * LEN),
            }],
            wire_bytes: u64::from(CHUNKS * LEN),
            whole: true,
        });
        let blocks = blocks.collect();
        let (held, local) = (vec![], vec![]);
        self.tell(Event::JobPlanned { job: JOB, chunks: BLOCKS * CHUNKS, blocks, held, local });
    }

    pub(crate) fn xorb(&self, block: u32) -> Hash {
        let mut all = list(block);
        all.extend((self.goes_on && block == BLOCKS - 1).then(|| chunk(block, CHUNKS)));
        xorb_hash(&all)
    }

    /// Does as the runtime does with a list that the node proved.
    pub(crate) fn adopts(&mut self, block: u32) {
        let of = |action: &Action| match action {
            Action::AdoptBlockList { block: at, list, .. } if *at == block => Some(list.clone()),
            _ => None,
        };
        let list = self.done.iter().find_map(of).expect("it proved itself");
        self.tell(Event::BlockListed { job: JOB, block, list, wrong: vec![] });
    }

    /// The peer answers whoever asks for the file's list.
    pub(crate) fn has_no_list(&mut self, link: u64) {
        let of = |action: &Action| match action {
            Action::Send { link: to, message: Outgoing::Zest(ZestMessage::ManifestRequest { req, .. }) }
                if to.0 == link =>
            {
                Some(*req)
            }
            _ => None,
        };
        let asked: Vec<u32> = self.done.iter().filter_map(of).collect();
        asked
            .into_iter()
            .for_each(|req| self.hears(LinkId(link), Message::Zest(ZestMessage::ManifestNone { req })));
    }

    /// What its followers were told.
    pub(crate) fn told(&self) -> Vec<Vec<ChunkRef>> {
        let of = |action: &Action| match action {
            Action::Send { message: Outgoing::Zest(ZestMessage::Told { records, .. }), .. } => {
                Some(records.clone())
            }
            _ => None,
        };
        self.done.iter().filter_map(of).collect()
    }

    pub(crate) fn come(&mut self, link: LinkId) {
        self.come_from(link, [192, 0, 2, link.0 as u8]);
    }

    pub(crate) fn come_from(&mut self, link: LinkId, ip: [u8; 4]) {
        let addr = std::net::SocketAddr::from((ip, 6881));
        let peer_id = PeerId([link.0 as u8; 20]);
        self.tell(Event::LinkUp { link, addr, direction: Direction::Inbound, peer_id });
        let hello = ExtHandshake::empty(Dialect::Chunk)
            .with(Extension::UtXet, Some(1))
            .with(Extension::Zest, Some(3));
        self.hears(link, Message::ExtHandshake(hello));
        self.hears(link, Message::Zest(ZestMessage::Interest { file: FILE }));
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.node.handle(self.now, event);
        while let Some(action) = self.node.poll_action() {
            self.done.push(action);
        }
        self.node.check_invariants();
    }

    pub(crate) fn hears(&mut self, link: LinkId, message: Message) {
        self.tell(Event::Message { link, message });
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.node.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.tell(Event::Timer);
        }
        self.now = end;
    }

    pub(crate) fn offers(&mut self, link: u64, block: u32) {
        self.hears(
            LinkId(link),
            Message::Zest(ZestMessage::Streams { file: FileKey::of(&FILE), first: block * CHUNKS }),
        );
    }

    pub(crate) fn tells(&mut self, link: u64, block: u32, at: u32, records: &[ChunkRef]) {
        let (file, first, records) = (FileKey::of(&FILE), block * CHUNKS, records.to_vec());
        self.hears(LinkId(link), Message::Zest(ZestMessage::Told { file, first, at, records }));
    }

    /// Gives all that the author was asked for, as it was told; `good`: it hashes to that.
    pub(crate) fn gives(&mut self, link: u64, good: bool) -> u32 {
        let mut given = 0;
        loop {
            let asked: Vec<ReqId> = self
                .done
                .drain(..)
                .filter_map(|action| match action {
                    Action::Send { link: to, message: Outgoing::ChunkRequest { req, .. } }
                        if to == LinkId(link) =>
                    {
                        Some(req)
                    }
                    _ => None,
                })
                .collect();
            if asked.is_empty() {
                return given;
            }
            for req in asked {
                self.bufs += 1;
                let (link, kind) = (LinkId(link), PayloadKind::Chunk);
                self.tell(Event::Payload { link, req, kind, buf: BufId(self.bufs), len: LEN });
                let compared = self.done.iter().find_map(|action| match action {
                    Action::ProveTentative { block, nth, before, buf: BufId(buf), .. }
                        if *buf == self.bufs =>
                    {
                        assert_eq!(
                            *before,
                            u64::from(*nth) * u64::from(LEN),
                            "where its author's words lead to"
                        );
                        Some((*block, *nth))
                    }
                    _ => None,
                });
                let Some((block, nth)) = compared else { continue };
                given += 1;
                self.tell(match good {
                    true => Event::TentativeKept { job: JOB, block, nth, link, from: beside(block, nth) },
                    false => Event::TentativeBad { job: JOB, block, nth, link },
                });
            }
        }
    }

    pub(crate) fn follows(&self, link: u64) -> Vec<(u32, bool)> {
        let of = |action: &Action| match action {
            Action::Send { link: to, message: Outgoing::Zest(ZestMessage::Follow { first, on, .. }) }
                if to.0 == link =>
            {
                Some((first / CHUNKS, *on))
            }
            _ => None,
        };
        self.done.iter().filter_map(of).collect()
    }

    pub(crate) fn count(&self, which: impl Fn(&Action) -> bool) -> usize {
        self.done.iter().filter(|action| which(action)).count()
    }

    pub(crate) fn dropped(&self, block: u32) -> bool {
        self.count(|action| matches!(action, Action::DropTentative { block: at, .. } if *at == block)) > 0
    }

    /// Whether anything that nothing proves was used.
    pub(crate) fn used(&self) -> usize {
        self.count(|action| {
            matches!(action, Action::CopyLocal { .. } | Action::Prove { .. } | Action::Complete { .. })
        })
    }
}

pub(crate) fn beside(block: u32, nth: u32) -> Location {
    Location { file: FileId(1000 + block), offset: u64::from(nth), len: LEN }
}

impl Bench {
    /// The first chunk it was asked for does not hash to what it told.
    pub(crate) fn gives_bad(&mut self, link: u64) -> bool {
        let asked = self.done.iter().find_map(|action| match action {
            Action::Send { link: to, message: Outgoing::ChunkRequest { req, .. } } if to.0 == link => {
                Some(*req)
            }
            _ => None,
        });
        let Some(req) = asked else { return false };
        self.bufs += 1;
        let (link, kind) = (LinkId(link), PayloadKind::Chunk);
        self.tell(Event::Payload { link, req, kind, buf: BufId(self.bufs), len: LEN });
        let compared = self.done.iter().find_map(|action| match action {
            Action::ProveTentative { block, nth, .. } => Some((*block, *nth)),
            _ => None,
        });
        let Some((block, nth)) = compared else { return false };
        self.tell(Event::TentativeBad { job: JOB, block, nth, link });
        true
    }
}
