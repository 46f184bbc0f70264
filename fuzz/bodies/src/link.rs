//! The link machine: however its input is cut, it does the same.

use zest_core::link::{
    self, Body, Claim, Dialect, Expect, Link, ManifestPart, Message, Outgoing, PayloadKind, PeerFault,
    PlainKey, Role, ZestMessage,
};
use zest_core::wire::frame::Head;
use zest_core::wire::pex::Pex;
use zest_core::{BufId, Duration, FileKey, InfoHash, Instant, PeerId, ReqId};
use zest_xet::Hash;

use crate::cursor::Cursor;

/// Bytes of stream one input may spell out.
const STREAM_BYTES_MAX: usize = 96 << 10;

/// Longest stream that is also played byte by byte, in bytes.
const SLOW_BYTES_MAX: usize = 4 << 10;

/// Requests of ours in one input. The machine's own limit is far above; its checks after every event are quadratic.
const ASKS_MAX: u32 = 24;

const SWARM: InfoHash = InfoHash([0x5a; 20]);
const OUR_ID: PeerId = PeerId(*b"-ZT0500-ourourourour");

/// Input: u8 flags, u8 number of cuts (mod 32), the cuts, a script.
///
/// Flags: bit 0 we dial; bit 1 the greeting is left to the script; bits 2–3 which remote greets (plain, with our
/// extension, zest 0.4, nameless). A cut is the size of the next slice in half bytes (0 and 1: all there is); if odd,
/// payload bytes go straight into a buffer. Cuts are used in a circle.
///
/// Script, by the first byte of each step mod 8:
///
/// | step | reads | does |
/// |---|---|---|
/// | 0 | u8 n, n bytes | these bytes come |
/// | 1 | u8 extension id, u8 n, n bytes | an extended frame comes |
/// | 2 | u8 layout, u8 req, u16 n | an answer of n bytes comes, its fields in order |
/// | 3 | u8 kind, u16 longest | we ask |
/// | 4 | u8 req, u8 kind | we forget or cancel a request |
/// | 5 | u8 seconds | time passes, and a timer fires if it is due |
/// | 6 | u8 kind, u8 detail | we say something |
/// | 7 | u8 id, u8 n, n bytes | a plain frame comes |
///
/// All at once, cut as the input says, byte by byte, byte by byte with payload read directly: the same actions come out
/// in the same order, and at every step of ours the same deadline, expectation and number of open requests.
pub fn link(input: &[u8]) {
    let mut input = Cursor::new(input);
    let flags = input.u8();
    let cuts = input.u8() % 32;
    let cuts = input.bytes(cuts.into());
    let script = Script::read(flags, input);

    let whole = play(flags, &script, &[0]);
    let same = |cuts: &[u8], how: &str| {
        let other = play(flags, &script, cuts);
        // Payloads make long dumps; the first difference says more.
        let differs = whole.iter().zip(&other).find(|(one, other)| one != other);
        assert!(differs.is_none() && whole.len() == other.len(), "{how}: {differs:?}");
    };
    if !cuts.is_empty() {
        same(cuts, "cut as the input says");
    }
    if script.stream_bytes <= SLOW_BYTES_MAX {
        same(&[2], "byte by byte");
        same(&[3], "byte by byte, payload directly");
    } else {
        same(&[255, 7, 64, 2], "in small pieces, payload directly now and then");
    }
}

/// What happens to the link, in order.
enum Event {
    Stream(Vec<u8>),
    Say(Outgoing),
    Wait(Duration),
}

struct Script {
    events: Vec<Event>,
    stream_bytes: usize,
}

impl Script {
    fn read(flags: u8, mut input: Cursor<'_>) -> Self {
        let mut script = Self { events: Vec::new(), stream_bytes: 0 };
        if flags & 2 == 0 {
            script.stream(greeting(flags));
        }
        let mut asked = 0;
        while !input.is_empty() && script.stream_bytes < STREAM_BYTES_MAX {
            match input.u8() % 8 {
                0 => {
                    let len = input.u8();
                    script.stream(input.bytes(len.into()).to_vec());
                }
                1 => {
                    let (ext_id, len) = (input.u8(), input.u8());
                    script.stream(extended(ext_id, input.bytes(len.into())));
                }
                2 => {
                    let (layout, req, len) = (input.u8(), input.u8(), input.u16());
                    script.stream(answer(layout, req, len));
                }
                3 if asked < ASKS_MAX => {
                    let (kind, longest) = (input.u8(), input.u16());
                    script.events.push(Event::Say(ask(kind, asked, u32::from(longest) + 1)));
                    asked += 1;
                }
                4 => {
                    let (req, kind) = (ReqId(input.u8().into()), input.u8());
                    let outgoing = if kind & 1 == 0 {
                        Outgoing::Forget { req }
                    } else {
                        Outgoing::Zest(ZestMessage::Cancel { req: req.0 })
                    };
                    script.events.push(Event::Say(outgoing));
                }
                5 => script.events.push(Event::Wait(Duration::from_secs(input.u8().into()))),
                6 => {
                    let (kind, detail) = (input.u8(), input.u8());
                    script.events.push(Event::Say(say(kind, detail)));
                }
                _ => {
                    let (id, len) = (input.u8(), input.u8());
                    script.stream(frame(id, input.bytes(len.into())));
                }
            }
        }
        script
    }

    /// Appends to the stream. What comes between two of our own events is one piece, to be cut at will.
    fn stream(&mut self, bytes: Vec<u8>) {
        self.stream_bytes += bytes.len();
        match self.events.last_mut() {
            Some(Event::Stream(piece)) => piece.extend_from_slice(&bytes),
            _ => self.events.push(Event::Stream(bytes)),
        }
    }
}

fn greeting(flags: u8) -> Vec<u8> {
    let (peer_id, dict): (&[u8; 20], &[u8]) = match flags >> 2 & 3 {
        0 => (b"-XX0001-000000000000", b"d1:md6:ut_xeti3ee1:v5:probee"),
        1 => (b"-ZT0500-theirtheirth", b"d1:md6:ut_xeti1e3:xeti2e4:zesti3ee4:reqqi512ee"),
        2 => (b"-ZE0200-000000000000", b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e"),
        _ => (b"-XX0001-000000000000", b"de"),
    };
    let handshake = [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], &SWARM.0, peer_id].concat();
    [handshake, extended(0, dict)].concat()
}

fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 1).expect("short bodies");
    [&len.to_be_bytes()[..], &[id], body].concat()
}

fn extended(ext_id: u8, body: &[u8]) -> Vec<u8> {
    frame(20, &[&[ext_id], body].concat())
}

/// An answer of `len` payload bytes in one of the layouts.
fn answer(layout: u8, req: u8, len: u16) -> Vec<u8> {
    let (id, len) = (u32::from(req).to_be_bytes(), u32::from(len));
    let payload: Vec<u8> = (0..len).map(|at| at as u8 ^ req).collect();
    let (hash, size) = ([req; 32], len.to_be_bytes());
    // A part of a small file is told apart by its first bits.
    if layout >> 5 == 7 {
        return extended(3, &[&[15][..], &id, &payload].concat());
    }
    let ext_id = if layout % 8 == 5 { 3 } else { 1 };
    let body = match layout % 8 {
        0 => [&[2][..], &id, &size, &payload].concat(),
        1 => [&[2][..], &id, &u32::from(layout).to_be_bytes(), &size, &payload].concat(),
        2 => [&[2][..], &hash, &size, &payload].concat(),
        3 => [&hash[..], &size, &payload].concat(),
        // Reads as two layouts at once.
        4 => [&[2][..], &id, &(len + 4).to_be_bytes(), &size, &payload].concat(),
        5 => {
            let count = len / 36;
            let head =
                [&[2][..], &id, &[0; 8], &100u32.to_be_bytes(), &[0; 4], &count.to_be_bytes()].concat();
            [&head[..], &payload[..count as usize * 36]].concat()
        }
        6 => [&[4][..], &id, &[0; 4], &payload].concat(),
        _ => [&[3][..], &id, &hash].concat(),
    };
    extended(ext_id, &body)
}

/// Our request number `number`; its hash repeats the number, so that scripts can name it.
fn ask(kind: u8, number: u32, len_max: u32) -> Outgoing {
    let (req, hash) = (ReqId(number), Hash::from_bytes([number as u8; 32]));
    match kind % 4 {
        0 if kind >= 224 => {
            let key = PlainKey { kind: 1, id: hash };
            let size = len_max.clamp(1, 1 << 20);
            Outgoing::Zest(ZestMessage::PlainRequest {
                req: req.0,
                key,
                size,
                offset: 0,
                wait: number % 2 == 1,
            })
        }
        0 | 1 => Outgoing::ChunkRequest { req, hash, len_max },
        2 => Outgoing::XorbRequest { req, xorb: hash, start: 3, end: 9, len_max },
        _ => {
            Outgoing::Zest(ZestMessage::ManifestRequest { req: req.0, file: hash, first: 0, count: len_max })
        }
    }
}

/// Something we say on our own account or as an answer.
fn say(kind: u8, detail: u8) -> Outgoing {
    let (req, hash, len) = (u32::from(detail), Hash::from_bytes([detail; 32]), 1 + u32::from(detail));
    let dialect = [Dialect::Chunk, Dialect::Range, Dialect::Doc][usize::from(detail % 3)];
    let body = |len| Body::Buf { id: BufId(7), offset: 0, len };
    match kind % 16 {
        0 => Outgoing::KeepAlive,
        1 => Outgoing::Chunk { req, dialect, hash, body: body(len), len },
        2 => Outgoing::XorbBytes { req, xorb: hash, start: 3, body: body(len), len },
        3 => {
            let parts = (0..detail % 4).map(|n| ([n; 8], body(len))).collect();
            Outgoing::XorbRange { req, xorb: hash, start: 3, parts }
        }
        4 => Outgoing::NotFound { req, hash, dialect },
        5 => Outgoing::ErrorReply { req, hash, dialect, code: 1, text: "é".repeat(detail.into()) },
        6 => {
            let part = ManifestPart { file_size: 1, total: len, first: 0, count: len };
            Outgoing::ManifestPart { req, part, body: body(36 * len) }
        }
        7 => Outgoing::Zest(ZestMessage::ManifestNone { req }),
        8 => Outgoing::Zest(ZestMessage::Interest { file: hash }),
        9 => Outgoing::Zest(ZestMessage::Uninterest { file: hash }),
        10 => Outgoing::Zest(ZestMessage::Have { file: hash, total: 600, runs: vec![(0, 1), (2, 1 + req)] }),
        11 => {
            let runs = (0..req).map(|n| (req + 2 * n * n, 1 + n)).collect();
            Outgoing::Zest(ZestMessage::HaveMore { file: FileKey::of(&hash), runs })
        }
        12 => {
            let claim = |n: u32| Claim { first: 8 * n, score: u64::from(n) << 32, beat: detail.into() };
            Outgoing::Zest(ZestMessage::Claim {
                file: FileKey::of(&hash),
                claims: (0..2 * req).map(claim).collect(),
            })
        }
        13 => {
            let peer = |n: u8| ([198, 51, 100, n], 6881).into();
            let added = (0..detail).map(|n| (peer(n), n)).collect();
            Outgoing::Pex(Pex { added, dropped: vec![peer(detail)] })
        }
        14 if detail & 2 == 0 => Outgoing::Plain { req, body: body(len) },
        14 => Outgoing::Zest(ZestMessage::PlainNone { req }),
        _ => Outgoing::Zest(ZestMessage::Slot { open: detail & 1 == 0, wait_ms: detail.into() }),
    }
}

/// What a link did, put together so that it does not depend on how its input was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Transmit {
        head: Head,
        body: Option<Body>,
    },
    Established {
        peer_id: PeerId,
        info_hash: InfoHash,
        bep10: bool,
    },
    Message(Message),
    Start {
        req: ReqId,
        kind: PayloadKind,
        len: u32,
    },
    Payload(Vec<u8>),
    End {
        req: ReqId,
    },
    Close(PeerFault),
    /// How things stand when one of our own events comes.
    Stand {
        timeout: Option<(Instant, link::Timer)>,
        expect: Expect,
        outstanding: usize,
        dialect: Dialect,
    },
}

struct Player {
    link: Link,
    now: Instant,
    steps: Vec<Step>,
}

fn play(flags: u8, script: &Script, cuts: &[u8]) -> Vec<Step> {
    let role = if flags & 1 == 0 { Role::Accept } else { Role::Dial { info_hash: SWARM } };
    let now = Instant(1_000_000);
    let link = Link::new(now, link::Config { role, our_id: OUR_ID, listen_port: 6881 });
    let mut player = Player { link, now, steps: Vec::new() };
    player.drain(&[]);
    let mut cuts = cuts.iter().copied().cycle();
    for event in &script.events {
        match event {
            Event::Stream(bytes) => player.feed(bytes, &mut cuts),
            Event::Say(outgoing) => player.handle(link::Event::Send(outgoing.clone()), &[]),
            Event::Wait(time) => {
                player.now = player.now + *time;
                player.handle(link::Event::Timer, &[]);
            }
        }
        player.stand();
    }
    player.handle(link::Event::Closed, &[]);
    player.stand();
    assert_eq!(player.link.poll_timeout(), None, "a closed link waits for nothing");
    player.steps
}

impl Player {
    fn feed(&mut self, mut rest: &[u8], cuts: &mut impl Iterator<Item = u8>) {
        while !rest.is_empty() {
            let cut = cuts.next().expect("cuts go round");
            let size = if cut < 2 { rest.len() } else { rest.len().min(usize::from(cut / 2)) };
            let Expect { payload, head } = self.link.expect();
            assert!(head > 0, "some head always comes next");
            match payload {
                Some((_, left)) if cut % 2 == 1 => {
                    let (now, later) = rest.split_at(size.min(left as usize));
                    self.push_payload(now);
                    self.handle(link::Event::PayloadRead { bytes: now.len() as u32 }, &[]);
                    rest = later;
                }
                _ => {
                    let (now, later) = rest.split_at(size);
                    self.handle(link::Event::Received(now), now);
                    rest = later;
                }
            }
        }
    }

    fn handle(&mut self, event: link::Event<'_>, slice: &[u8]) {
        self.link.handle(self.now, event);
        self.link.check_invariants();
        self.drain(slice);
        self.link.check_invariants();
    }

    fn drain(&mut self, slice: &[u8]) {
        while let Some(action) = self.link.poll_action() {
            let closed = matches!(self.steps.last(), Some(Step::Close(_)));
            assert!(!closed, "close is the last action");
            let step = match action {
                link::Action::PayloadBytes { at, len } => {
                    self.push_payload(&slice[at as usize..][..len as usize]);
                    continue;
                }
                link::Action::Transmit { head, body, .. } => Step::Transmit { head, body },
                link::Action::Established { peer_id, info_hash, bep10 } => {
                    Step::Established { peer_id, info_hash, bep10 }
                }
                link::Action::Message(message) => Step::Message(message),
                link::Action::PayloadStart { req, kind, len } => Step::Start { req, kind, len },
                link::Action::PayloadEnd { req } => Step::End { req },
                link::Action::Close { why } => {
                    let _ = why.severity();
                    assert!(!why.to_string().is_empty(), "a fault says what happened");
                    Step::Close(why)
                }
            };
            self.steps.push(step);
        }
    }

    fn push_payload(&mut self, bytes: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Payload(payload)) => payload.extend_from_slice(bytes),
            _ => self.steps.push(Step::Payload(bytes.to_vec())),
        }
    }

    fn stand(&mut self) {
        let link = &self.link;
        self.steps.push(Step::Stand {
            timeout: link.poll_timeout(),
            expect: link.expect(),
            outstanding: link.outstanding(),
            dialect: link.dialect(),
        });
    }
}
