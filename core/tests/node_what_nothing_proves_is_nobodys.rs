//! Chunks of a xorb that a peer streams come before anything proves them: they are kept beside the file, and nothing of them is used,
//! landed or served until the whole list proves. A lie has one author, and costs one block.

use std::sync::Arc;
use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, PayloadKind, ZestMessage};
use zest_core::node::BitSet;
use zest_core::node::limits::{BRIEFS_MAX, FOLLOWS_MAX, LET_DOWNS_MAX, SUSPECT};
use zest_core::node::{Action, Block, Config, Direction, Event, JobSpec, Node, Policy, Run, Source};
use zest_core::{BufId, Duration, FileId, FileKey, Instant, JobId, LinkId, Location, PeerId, ReqId};
use zest_xet::{ChunkRef, Hash, Manifest, file_hash, xorb_hash};

const JOB: JobId = JobId(1);
const FILE: Hash = Hash::from_bytes([9; 32]);
const LEN: u32 = 64 << 10;
/// Chunks of a block, and blocks.
const CHUNKS: u32 = 8;
const BLOCKS: u32 = 6;

fn chunk(block: u32, nth: u32) -> ChunkRef {
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (block as u8, nth as u8);
    ChunkRef { hash: Hash::from_bytes(bytes), len: LEN }
}

fn list(block: u32) -> Vec<ChunkRef> {
    (0..CHUNKS).map(|nth| chunk(block, nth)).collect()
}

struct Bench {
    node: Node,
    now: Instant,
    done: Vec<Action>,
    bufs: u64,
    /// The last block's xorb goes on with another file.
    goes_on: bool,
}

impl Bench {
    /// A node that fetches a file whose layout is known, and its peers.
    fn new(policy: Policy, links: u64) -> Self {
        let mut bench = Self::idle(policy);
        (1..=links).for_each(|link| bench.come(LinkId(link)));
        bench.start();
        bench
    }

    /// One that does nothing yet.
    fn idle(policy: Policy) -> Self {
        let config = Config {
            policy,
            origin_fetches_max: 1,
            origin_fetches_limit: 1,
            tentative: true,
            ..Config::new([3; 32], PeerId([1; 20]))
        };
        Self { node: Node::new(config), now: Instant(1_000_000), done: vec![], bufs: 0, goes_on: false }
    }

    fn fetched(&self) -> Vec<u32> {
        let of = |action: &Action| match action {
            Action::OriginFetch { block, .. } => Some(*block),
            _ => None,
        };
        self.done.iter().filter_map(of).collect()
    }

    /// The job begins.
    fn start(&mut self) {
        self.add();
        self.plan();
    }

    fn add(&mut self) {
        let size = u64::from(BLOCKS * CHUNKS * LEN);
        let (peers, near, origin) = (true, false, true);
        let spec = JobSpec {
            file: FILE,
            size,
            peers,
            near,
            origin,
            place: FileId(7),
            priority: 0,
            front: 0,
            policy: None,
        };
        self.tell(Event::JobAdded { job: JOB, spec });
    }

    /// The origin says what the file is made of.
    fn plan(&mut self) {
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

    fn xorb(&self, block: u32) -> Hash {
        let mut all = list(block);
        all.extend((self.goes_on && block == BLOCKS - 1).then(|| chunk(block, CHUNKS)));
        xorb_hash(&all)
    }

    /// Does as the runtime does with a list that the node proved.
    fn adopts(&mut self, block: u32) {
        let of = |action: &Action| match action {
            Action::AdoptBlockList { block: at, list, .. } if *at == block => Some(list.clone()),
            _ => None,
        };
        let list = self.done.iter().find_map(of).expect("it proved itself");
        self.tell(Event::BlockListed { job: JOB, block, list, wrong: vec![] });
    }

    /// The peer answers whoever asks for the file's list.
    fn has_no_list(&mut self, link: u64) {
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
    fn told(&self) -> Vec<Vec<ChunkRef>> {
        let of = |action: &Action| match action {
            Action::Send { message: Outgoing::Zest(ZestMessage::Told { records, .. }), .. } => {
                Some(records.clone())
            }
            _ => None,
        };
        self.done.iter().filter_map(of).collect()
    }

    fn come(&mut self, link: LinkId) {
        let addr = std::net::SocketAddr::from(([192, 0, 2, link.0 as u8], 6881));
        let peer_id = PeerId([link.0 as u8; 20]);
        self.tell(Event::LinkUp { link, addr, direction: Direction::Inbound, peer_id });
        let hello = ExtHandshake::empty(Dialect::Chunk)
            .with(Extension::UtXet, Some(1))
            .with(Extension::Zest, Some(3));
        self.hears(link, Message::ExtHandshake(hello));
        self.hears(link, Message::Zest(ZestMessage::Interest { file: FILE }));
    }

    fn tell(&mut self, event: Event) {
        self.node.handle(self.now, event);
        while let Some(action) = self.node.poll_action() {
            self.done.push(action);
        }
        self.node.check_invariants();
    }

    fn hears(&mut self, link: LinkId, message: Message) {
        self.tell(Event::Message { link, message });
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.node.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.tell(Event::Timer);
        }
        self.now = end;
    }

    fn offers(&mut self, link: u64, block: u32) {
        self.hears(
            LinkId(link),
            Message::Zest(ZestMessage::Streams { file: FileKey::of(&FILE), first: block * CHUNKS }),
        );
    }

    fn tells(&mut self, link: u64, block: u32, at: u32, records: &[ChunkRef]) {
        let (file, first, records) = (FileKey::of(&FILE), block * CHUNKS, records.to_vec());
        self.hears(LinkId(link), Message::Zest(ZestMessage::Told { file, first, at, records }));
    }

    /// Gives all that the author was asked for, as it was told; `good`: it hashes to that.
    fn gives(&mut self, link: u64, good: bool) -> u32 {
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
                    Action::ProveTentative { block, nth, buf: BufId(buf), .. } if *buf == self.bufs => {
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

    fn follows(&self, link: u64) -> Vec<(u32, bool)> {
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

    fn count(&self, which: impl Fn(&Action) -> bool) -> usize {
        self.done.iter().filter(|action| which(action)).count()
    }

    fn dropped(&self, block: u32) -> bool {
        self.count(|action| matches!(action, Action::DropTentative { block: at, .. } if *at == block)) > 0
    }

    /// Whether anything that nothing proves was used.
    fn used(&self) -> usize {
        self.count(|action| {
            matches!(action, Action::CopyLocal { .. } | Action::Prove { .. } | Action::Complete { .. })
        })
    }
}

fn beside(block: u32, nth: u32) -> Location {
    Location { file: FileId(1000 + block), offset: u64::from(nth), len: LEN }
}

#[test]
fn what_is_told_is_used_once_the_whole_list_proves_and_not_before() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    assert_eq!(bench.follows(1), [(0, true)]);
    bench.tells(1, 0, 0, &list(0)[..5]);
    assert_eq!(bench.gives(1, true), 5, "each is asked for once");
    for nth in 0..5 {
        assert!(bench.node.needs(JOB, nth), "what nothing proves is not held");
        // Nobody else has it from us.
        let message = Message::ChunkRequest { req: nth, hash: chunk(0, nth).hash, dialect: Dialect::Chunk };
        bench.hears(LinkId(2), message);
    }
    assert_eq!(bench.used(), 0);
    assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 5, "we do not give it");
    bench.tells(1, 0, 5, &list(0)[5..]);
    let adopted =
        bench.count(|a| matches!(a, Action::AdoptBlockList { block: 0, list: l, .. } if **l == *list(0)));
    assert_eq!((adopted, bench.used()), (1, 0));
    bench.gives(1, true);
    bench.tell(Event::BlockListed { job: JOB, block: 0, list: list(0).into(), wrong: vec![] });
    assert_eq!(bench.count(|a| matches!(a, Action::CopyLocal { .. })), 8, "all of it is proven at once");
    for index in 0..CHUNKS {
        bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Disk });
        assert!(!bench.node.needs(JOB, index));
    }
}

#[test]
fn a_list_from_elsewhere_proves_what_was_kept() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 3);
    bench.tells(1, 3, 0, &list(3)[..3]);
    bench.gives(1, true);
    bench.tell(Event::BlockListed { job: JOB, block: 3, list: list(3).into(), wrong: vec![] });
    assert_eq!(bench.count(|a| matches!(a, Action::CopyLocal { .. })), 3);
    assert_eq!(bench.follows(1), [(3, false)]);
}

/// Lies about a block in some way, and sees all of it dropped.
fn lies(lie: impl Fn(&mut Bench, u64, u32)) {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    lie(&mut bench, 1, 0);
    assert!(bench.dropped(0), "all of it is dropped");
    assert_eq!(bench.used(), 0);
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0, "it may have been misled itself");
    bench.done.clear();
    bench.offers(1, 1);
    assert_eq!(bench.follows(1), [], "who lied is not followed");
    bench.offers(2, 1);
    assert_eq!(bench.follows(2), [(1, true)], "others are");
    bench.tells(2, 1, 0, &list(1));
    bench.tell(Event::JobRemoved { job: JOB });
    bench.wait(SUSPECT + Duration::from_secs(1));
    bench.start();
    bench.done.clear();
    bench.offers(1, 0);
    assert_eq!(bench.follows(1), [(0, true)], "for ten minutes");
    lie(&mut bench, 1, 0);
    assert!(bench.dropped(0));
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 1, "the second lie is one too many");
    assert_eq!(bench.used(), 0);
}

#[test]
fn a_wrong_list_costs_its_author_his_word_and_then_his_link() {
    lies(|bench, link, block| {
        let mut wrong = list(block);
        wrong[6].hash = Hash::from_bytes([0xee; 32]);
        bench.tells(link, block, 0, &wrong[..7]);
        assert!(bench.gives(link, true) > 0);
        bench.tells(link, block, 7, &wrong[7..]);
    });
}

#[test]
fn a_wrong_chunk_does_as_well() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..2]);
        assert!(bench.gives_bad(link));
    });
}

impl Bench {
    /// The first chunk it was asked for does not hash to what it told.
    fn gives_bad(&mut self, link: u64) -> bool {
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

#[test]
fn so_does_a_list_without_end() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..7]);
        bench.tells(link, block, 7, &list(block)[..2]);
    });
}

#[test]
fn so_does_a_change_of_mind() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..4]);
        bench.tells(link, block, 2, &list(block)[4..6]);
    });
}

#[test]
fn so_do_chunks_that_cannot_be() {
    lies(|bench, link, block| bench.tells(link, block, 0, &[ChunkRef { len: u32::MAX, ..chunk(block, 0) }]));
}

#[test]
fn a_block_has_one_author_and_another_one_only_after_him() {
    let mut bench = Bench::new(Policy::SpareOrigin, 3);
    bench.offers(1, 2);
    bench.offers(2, 2);
    assert_eq!((bench.follows(1), bench.follows(2)), (vec![(2, true)], vec![]));
    // What the other one says is not heard.
    bench.tells(2, 2, 0, &list(2));
    assert_eq!(bench.count(|a| matches!(a, Action::AdoptBlockList { .. })), 0);
    bench.tells(1, 2, 0, &list(2)[..3]);
    bench.gives(1, true);
    bench.tell(Event::LinkDown { link: LinkId(1), fault: None });
    assert!(bench.dropped(2), "his bytes go with him");
    bench.wait(Duration::from_millis(600));
    assert_eq!(bench.follows(2), [(2, true)]);
    assert_eq!(bench.used(), 0);
}

#[test]
fn who_takes_back_or_falls_silent_is_not_waited_for() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    bench.offers(1, 0);
    bench.tells(1, 0, 0, &list(0)[..4]);
    bench.tells(1, 0, 0, &[]);
    assert!(bench.dropped(0));
    bench.offers(1, 1);
    bench.tells(1, 1, 0, &list(1)[..1]);
    bench.done.clear();
    bench.wait(Duration::from_secs(4));
    assert!(bench.dropped(1) || bench.follows(1).contains(&(1, false)), "three seconds of silence");
    assert!(bench.count(|a| matches!(a, Action::OriginFetch { .. })) > 0, "the origin is asked");
    const { assert!(LET_DOWNS_MAX > 2, "he may try once more") };
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0);
}

#[test]
fn who_streams_gives_to_those_who_follow_and_to_nobody_else() {
    let mut bench = Bench::new(Policy::Fastest, 2);
    bench.wait(Duration::from_secs(3));
    let block = *bench.fetched().first().expect("the origin is asked");
    bench.done.clear();
    for nth in 0..3 {
        bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
        bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
    }
    assert_eq!(
        bench.count(|a| matches!(
            a,
            Action::Send { message: Outgoing::Zest(ZestMessage::Streams { .. }), .. }
        )),
        2
    );
    bench.hears(LinkId(1), ask(block, 0));
    assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 1, "he does not follow");
    bench.hears(
        LinkId(1),
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true }),
    );
    bench.hears(LinkId(1), ask(block, 1));
    let place = Location { file: FileId(7), offset: u64::from((block * CHUNKS + 1) * LEN), len: LEN };
    let given = |a: &Action| matches!(a, Action::Send { message: Outgoing::Chunk { body: zest_core::link::Body::File(at), .. }, .. } if *at == place);
    assert_eq!(bench.count(given), 1);
    bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
    let told: Vec<ChunkRef> = bench
        .done
        .iter()
        .filter_map(|action| match action {
            Action::Send { link: LinkId(1), message: Outgoing::Zest(ZestMessage::Told { records, .. }) } => {
                Some(records.clone())
            }
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(told, list(block), "to the last record, so that it proves");
    assert_eq!(
        bench.count(|a| matches!(
            a,
            Action::Send { link: LinkId(2), message: Outgoing::Zest(ZestMessage::Told { .. }) }
        )),
        0
    );
}

#[test]
fn who_has_all_tells_the_rest_of_the_list_before_it_ends() {
    let mut bench = Bench::new(Policy::Fastest, 1);
    bench.wait(Duration::from_secs(3));
    let first = |block: u32| {
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true })
    };
    for number in 0..BLOCKS {
        let block = *bench.fetched().last().expect("one after the other");
        assert_eq!(bench.fetched().len() as u32, number + 1);
        bench.done.retain(|action| matches!(action, Action::OriginFetch { .. }));
        for nth in 0..CHUNKS {
            let index = block * CHUNKS + nth;
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Origin });
            if nth == 0 {
                bench.hears(LinkId(1), first(block));
            }
        }
        if number + 1 < BLOCKS {
            bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
            bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
            continue;
        }
        // The file's last chunk ends the job before its fetch ends; its list is not waited for.
        assert_eq!(bench.count(|a| matches!(a, Action::Complete { .. })), 1);
        bench.adopts(block);
        let told = bench.told();
        assert!(told.iter().all(|records| !records.is_empty()), "nothing is taken back");
        assert_eq!(told.concat(), list(block), "to the last record, so that it proves");
        // What was told is given, before the runtime has the whole file in its index.
        bench.hears(LinkId(1), ask(block, CHUNKS - 1));
        assert_eq!(bench.count(is_given), 1);
        assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 0);
    }
}

fn ask(block: u32, nth: u32) -> Message {
    Message::ChunkRequest { req: nth, hash: chunk(block, nth).hash, dialect: Dialect::Chunk }
}

fn is_given(action: &Action) -> bool {
    matches!(action, Action::Send { message: Outgoing::Chunk { .. }, .. })
}

#[test]
fn who_is_done_says_so_of_what_it_claimed_and_takes_nothing_back() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    for _ in 0..BLOCKS {
        while bench.fetched().is_empty() {
            bench.wait(Duration::from_secs(1));
        }
        let block = bench.fetched()[0];
        bench.done.clear();
        for nth in 0..CHUNKS {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
        }
        bench.adopts(block);
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
    }
    assert_eq!(bench.count(|a| matches!(a, Action::Complete { .. })), 1);
    bench.wait(Duration::from_secs(1));
    let beats: Vec<u16> = bench
        .done
        .iter()
        .filter_map(|action| match action {
            Action::Send { message: Outgoing::Zest(ZestMessage::Claim { claims, .. }), .. } => Some(claims),
            _ => None,
        })
        .flatten()
        .map(|claim| claim.beat)
        .collect();
    assert!(!beats.contains(&u16::MAX) && beats.iter().any(|beat| *beat >= 32_768), "{beats:?}");
}

/// The last block's xorb goes on with another file: its chunks are all that the file has, and do not hash to the xorb.
fn with_a_tail(bench: &mut Bench) -> u32 {
    bench.goes_on = true;
    bench.start();
    BLOCKS - 1
}

#[test]
fn of_a_tail_whose_xorb_goes_on_all_is_told_but_the_last_chunk() {
    let mut bench = Bench::idle(Policy::Fastest);
    bench.come(LinkId(1));
    let tail = with_a_tail(&mut bench);
    loop {
        while bench.fetched().is_empty() {
            bench.wait(Duration::from_secs(1));
        }
        let block = bench.fetched()[0];
        bench.done.clear();
        for nth in 0..CHUNKS {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
            if nth == 0 {
                let file = FileKey::of(&FILE);
                bench.hears(
                    LinkId(1),
                    Message::Zest(ZestMessage::Follow { file, first: block * CHUNKS, on: true }),
                );
            }
        }
        if block == tail {
            break;
        }
        bench.adopts(block);
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
    }
    assert_eq!(bench.count(|a| matches!(a, Action::AdoptBlockList { .. })), 0);
    bench.tell(Event::OriginEnded { job: JOB, block: tail, fault: None });
    bench.wait(Duration::from_secs(1));
    let told = bench.told();
    assert_eq!(
        told.concat(),
        list(tail)[..CHUNKS as usize - 1],
        "a complete list that does not prove is a lie"
    );
    bench.hears(LinkId(1), ask(tail, 0));
    assert_eq!(bench.count(is_given), 1, "what was told is given on");
}

#[test]
fn a_tail_waits_for_the_files_own_list_and_its_author_is_not_to_blame() {
    for proven in [true, false] {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.come(LinkId(1));
        let tail = with_a_tail(&mut bench);
        bench.offers(1, tail);
        assert_eq!(bench.follows(1), [(tail, true)]);
        bench.has_no_list(1);
        let other = *bench.fetched().last().expect("the rest is fetched meanwhile");
        bench.tells(1, tail, 0, &list(tail)[..CHUNKS as usize - 1]);
        assert_eq!(bench.gives(1, true), CHUNKS - 1);
        // As long as that comes.
        for nth in 0..4 {
            bench.tell(Event::ChunkDone { job: JOB, index: other * CHUNKS + nth, source: Source::Origin });
            bench.wait(Duration::from_secs(2));
            bench.has_no_list(1);
        }
        assert!(!bench.dropped(tail));
        if proven {
            let chunks: Vec<ChunkRef> = (0..BLOCKS).flat_map(list).collect();
            let size = u64::from(BLOCKS * CHUNKS * LEN);
            let manifest = Arc::new(Manifest::prove(file_hash(&chunks), size, chunks).expect("a list"));
            let held = BitSet::empty(BLOCKS * CHUNKS);
            bench.tell(Event::JobManifest { job: JOB, manifest, held, local: vec![] });
            assert!(!bench.dropped(tail) && bench.used() > 0, "what was kept is used");
        } else {
            for _ in 0..4 {
                bench.wait(Duration::from_secs(2));
                bench.has_no_list(1);
            }
            assert!(bench.dropped(tail), "the rest does not come either");
            for block in 0..LET_DOWNS_MAX {
                bench.offers(1, block);
            }
            assert!(bench.follows(1).iter().any(|(block, on)| *on && *block != tail), "he is believed");
        }
    }
}

#[test]
fn what_was_told_and_proves_otherwise_is_taken_back() {
    let mut bench = Bench::new(Policy::Fastest, 1);
    bench.wait(Duration::from_secs(3));
    let block = *bench.fetched().first().expect("the origin is asked");
    // The origin, or somebody before it, gave a wrong byte.
    let wrong = ChunkRef { hash: Hash::from_bytes([0xee; 32]), len: LEN };
    bench.tell(Event::ChunkHashed { job: JOB, block, nth: 0, chunk: wrong });
    bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS, source: Source::Origin });
    bench.hears(
        LinkId(1),
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true }),
    );
    bench.done.clear();
    let list: Arc<[ChunkRef]> = list(block).into();
    bench.tell(Event::BlockListed { job: JOB, block, list, wrong: vec![block * CHUNKS] });
    let back = |a: &Action| matches!(a, Action::Send { message: Outgoing::Zest(ZestMessage::Told { records, .. }), .. } if records.is_empty());
    assert_eq!(bench.count(back), 1);
}

#[test]
fn a_list_vouches_for_what_is_asked_for_again() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    let (block, total) = (3, BLOCKS * CHUNKS);
    bench.hears(LinkId(1), Message::Zest(ZestMessage::Have { file: FILE, total, runs: vec![(0, total)] }));
    bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
    let asked = |a: &Action| matches!(a, Action::Send { message: Outgoing::ChunkRequest { .. }, .. });
    assert!(bench.count(asked) > 0, "the list says what to ask for");
    // What lay there all the time is what the file's own list names: the answers are nothing any more.
    let all: Vec<ChunkRef> = (0..BLOCKS).flat_map(list).collect();
    let manifest = Manifest::prove(file_hash(&all), u64::from(total * LEN), all).unwrap();
    let mut held = BitSet::empty(total);
    (0..CHUNKS).for_each(|nth| {
        held.insert(block * CHUNKS + nth);
    });
    bench.tell(Event::JobManifest { job: JOB, manifest: Arc::new(manifest), held, local: vec![] });
    assert!((0..CHUNKS).all(|nth| !bench.node.needs(JOB, block * CHUNKS + nth)));
}

#[test]
fn what_is_offered_before_the_layout_is_known_is_followed() {
    let mut bench = Bench::idle(Policy::Fastest);
    bench.come(LinkId(2));
    bench.add();
    (0..BLOCKS).for_each(|block| bench.offers(2, block));
    assert_eq!(bench.follows(2), [], "nobody knows yet what that is");
    bench.plan();
    assert_eq!(bench.follows(2), (0..BLOCKS).map(|block| (block, true)).collect::<Vec<_>>());
    bench.wait(Duration::from_secs(1));
    assert!(bench.fetched().is_empty(), "the origin is asked for none of it");
}

#[test]
fn of_two_that_stream_the_same_block_one_leaves_it_to_the_other() {
    let mut left = 0;
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        bench.come(LinkId(link));
        bench.done.clear();
        bench.offers(link, block);
        let stops = bench.count(|a| matches!(a, Action::OriginStop { block: at, .. } if *at == block));
        assert_eq!(bench.follows(link), [], "never two at it");
        if stops == 1 {
            bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
            assert_eq!(bench.follows(link), [(block, true)]);
            assert!(!bench.fetched().contains(&block), "{:?}", bench.fetched());
            left += 1;
        }
    }
    assert!((1..8).contains(&left), "it is left by lot, {left} times of 8");
}

#[test]
fn what_has_come_in_part_is_left_to_nobody() {
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        for index in block * CHUNKS..block * CHUNKS + CHUNKS / 4 {
            bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Origin });
        }
        bench.come(LinkId(link));
        bench.offers(link, block);
        assert_eq!(bench.count(|a| matches!(a, Action::OriginStop { .. })), 0);
    }
}

#[test]
fn a_block_that_comes_from_nobody_in_the_end_is_the_origins() {
    let mut bench = Bench::new(Policy::SpareOrigin, u64::from(FOLLOWS_MAX) + 2);
    let mut followed = 0;
    for link in 1..=u64::from(FOLLOWS_MAX) + 2 {
        bench.offers(link, 0);
        followed += bench.follows(link).len();
        bench.tell(Event::LinkDown { link: LinkId(link), fault: None });
    }
    assert_eq!(followed, usize::from(FOLLOWS_MAX));
    bench.wait(Duration::from_secs(3));
    assert!(bench.fetched().contains(&0));
}

#[test]
fn who_leaves_a_block_to_another_at_once_holds_it_up_a_few_times_more() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    let mut followed = 0;
    for _ in 0..40 {
        bench.offers(1, 0);
        followed += bench.follows(1).iter().filter(|(_, on)| *on).count();
        bench.tells(1, 0, 0, &list(0)[..1]);
        bench.tells(1, 0, 1, &[]);
        bench.done.clear();
    }
    assert_eq!(followed, usize::from(FOLLOWS_MAX + BRIEFS_MAX), "and not for ever");
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0, "nobody lied");
}

#[test]
fn a_stream_that_was_left_and_goes_on_is_told_from_its_begin() {
    let mut told = 0;
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        bench.come(LinkId(link));
        let stream = |bench: &mut Bench, nth| {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
        };
        stream(&mut bench, 0);
        bench.done.clear();
        bench.offers(link, block);
        if bench.count(|a| matches!(a, Action::OriginStop { .. })) == 0 {
            continue;
        }
        bench.done.clear();
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
        bench.tell(Event::LinkDown { link: LinkId(link), fault: None });
        bench.come(LinkId(20));
        bench.wait(Duration::from_secs(1));
        while !bench.fetched().contains(&block) {
            let at = *bench.fetched().last().expect("the origin gives one after the other");
            (0..CHUNKS).for_each(|nth| {
                bench.tell(Event::ChunkDone { job: JOB, index: at * CHUNKS + nth, source: Source::Origin });
            });
            bench.tell(Event::OriginEnded { job: JOB, block: at, fault: None });
        }
        stream(&mut bench, 1);
        let offered = |a: &Action| {
            let first = block * CHUNKS;
            matches!(a, Action::Send { link: LinkId(20), message: Outgoing::Zest(ZestMessage::Streams { first: at, .. }) } if *at == first)
        };
        assert_eq!(bench.count(offered), 1, "it is on its way again");
        let (file, first) = (FileKey::of(&FILE), block * CHUNKS);
        bench.hears(LinkId(20), Message::Zest(ZestMessage::Follow { file, first, on: true }));
        assert_eq!(bench.told(), [list(block)[..2].to_vec()]);
        told += 1;
    }
    assert!(told > 0);
}

#[test]
fn where_nothing_can_be_kept_nobody_is_to_blame() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    bench.tells(1, 0, 0, &list(0)[..3]);
    bench.tell(Event::TentativeLost { job: JOB, block: 0, link: LinkId(1) });
    assert!(bench.dropped(0));
    bench.offers(2, 1);
    assert_eq!(bench.follows(2), [], "the job goes on without");
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. } | Action::Close { .. })), 0);
    bench.wait(Duration::from_secs(3));
    assert!(!bench.fetched().is_empty());
}
