//! A hand-driven runtime for one link: keeps what it sent and what it reported, payloads put together.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use zest_core::link::*;
use zest_core::{BufId, InfoHash, Instant, PeerId, ReqId};
use zest_xet::Hash;

/// What a link reported, independent of how its input was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Established { peer_id: PeerId, info_hash: InfoHash, bep10: bool },
    Message(Message),
    Start { req: ReqId, kind: PayloadKind, len: u32 },
    Payload(Vec<u8>),
    End { req: ReqId },
    Close(PeerFault),
}

pub struct Driver {
    pub link: Link,
    pub now: Instant,
    /// Bytes on the wire, bodies filled in.
    pub sent: Vec<u8>,
    pub steps: Vec<Step>,
    /// What `Body::Buf` ids name.
    pub bufs: Vec<Vec<u8>>,
}

pub const OUR_ID: PeerId = PeerId(*b"-ZT0500-ourourourour");
pub const THEIR_ID: PeerId = PeerId(*b"-XX0001-000000000000");
pub const SWARM: InfoHash = InfoHash([0x5a; 20]);
/// The extension handshake of a plain peer without our extension, whose Xet id is 3.
pub const PLAIN: &[u8] = b"d1:md6:ut_xeti3ee1:v5:probee";
/// The same with our extension as 9.
pub const WITH_ZEST: &[u8] = b"d1:md6:ut_xeti3e4:zesti9ee1:v5:probee";
/// What zest 0.4 sends.
pub const ORIGINAL: &[u8] = b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e";

impl Driver {
    pub fn new(role: Role) -> Self {
        let now = Instant(1_000_000);
        let link = Link::new(now, Config { role, our_id: OUR_ID, listen_port: 6881 });
        let mut driver = Self { link, now, sent: vec![], steps: vec![], bufs: vec![] };
        driver.drain(&[]);
        driver
    }

    /// An accepted link whose remote has sent its handshake and this extension handshake; nothing kept of it.
    pub fn accepted(their_id: PeerId, ext_handshake: &[u8]) -> Self {
        let mut driver = Self::new(Role::Accept);
        driver.receive(&handshake(SWARM, their_id));
        driver.receive(&ext(0, ext_handshake));
        assert_eq!(driver.steps.len(), 2, "established, extension handshake: {:?}", driver.steps);
        driver.sent.clear();
        driver.steps.clear();
        driver
    }

    pub fn plain() -> Self {
        Self::accepted(THEIR_ID, PLAIN)
    }

    pub fn with_zest() -> Self {
        Self::accepted(THEIR_ID, WITH_ZEST)
    }

    pub fn handle(&mut self, event: Event<'_>) {
        let slice = if let Event::Received(bytes) = &event { *bytes } else { &[] };
        self.link.handle(self.now, event);
        self.link.check_invariants();
        self.drain(slice);
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.handle(Event::Received(bytes));
    }

    /// Payload bytes that went straight into a buffer.
    pub fn read_directly(&mut self, bytes: &[u8]) {
        self.push_payload(bytes);
        self.handle(Event::PayloadRead { bytes: u32::try_from(bytes.len()).unwrap() });
    }

    pub fn send(&mut self, outgoing: Outgoing) {
        self.handle(Event::Send(outgoing));
    }

    pub fn ask_chunk(&mut self, req: u32, hash: Hash, len_max: u32) {
        self.send(Outgoing::ChunkRequest { req: ReqId(req), hash, len_max });
    }

    pub fn ask_xorb(&mut self, req: u32, xorb: Hash, start: u32, end: u32, len_max: u32) {
        self.send(Outgoing::XorbRequest { req: ReqId(req), xorb, start, end, len_max });
    }

    pub fn ask_manifest(&mut self, req: u32, first: u32, count: u32) {
        self.send(Outgoing::Zest(ZestMessage::ManifestRequest { req, file: hash(0xf1), first, count }));
    }

    /// A body that holds these bytes.
    pub fn body(&mut self, bytes: &[u8]) -> Body {
        self.bufs.push(bytes.to_vec());
        Body::Buf {
            id: BufId(self.bufs.len() as u64 - 1),
            offset: 0,
            len: u32::try_from(bytes.len()).unwrap(),
        }
    }

    /// Jumps to the next deadline and hands it in.
    pub fn next_timer(&mut self) -> Timer {
        let (due, what) = self.link.poll_timeout().expect("a live link has a deadline");
        self.now = self.now.max(due);
        self.handle(Event::Timer);
        what
    }

    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// The fault the link ended with; its only step if `alone`.
    pub fn fault(&self) -> PeerFault {
        match self.steps.last() {
            Some(Step::Close(fault)) => *fault,
            other => panic!("no fault, but {other:?}"),
        }
    }

    fn push_payload(&mut self, bytes: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Payload(payload)) => payload.extend_from_slice(bytes),
            _ => self.steps.push(Step::Payload(bytes.to_vec())),
        }
    }

    fn drain(&mut self, slice: &[u8]) {
        while let Some(action) = self.link.poll_action() {
            let step = match action {
                Action::Transmit { head, body, .. } => {
                    self.sent.extend_from_slice(head.as_bytes());
                    match body {
                        None => {}
                        Some(Body::Buf { id, offset, len }) => {
                            let buf = &self.bufs[usize::try_from(id.0).unwrap()];
                            self.sent.extend_from_slice(&buf[offset as usize..(offset + len) as usize]);
                        }
                        Some(Body::File(_)) => panic!("tests send from buffers"),
                    }
                    continue;
                }
                Action::PayloadBytes { at, len } => {
                    self.push_payload(&slice[at as usize..(at + len) as usize]);
                    continue;
                }
                Action::Established { peer_id, info_hash, bep10 } => {
                    Step::Established { peer_id, info_hash, bep10 }
                }
                Action::Message(message) => Step::Message(message),
                Action::PayloadStart { req, kind, len } => Step::Start { req, kind, len },
                Action::PayloadEnd { req } => Step::End { req },
                Action::Close { why } => Step::Close(why),
            };
            self.steps.push(step);
        }
    }
}

pub fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

/// A handshake with the BEP 10 bit.
pub fn handshake(info_hash: InfoHash, peer_id: PeerId) -> Vec<u8> {
    [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], &info_hash.0, &peer_id.0].concat()
}

/// A frame with a plain message id.
pub fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 1).unwrap().to_be_bytes()[..], &[id], body].concat()
}

/// An extended frame.
pub fn ext(ext_id: u8, body: &[u8]) -> Vec<u8> {
    frame(20, &[&[ext_id], body].concat())
}

/// An answer in the chunk layout on our id 1.
pub fn chunk_answer(req: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    ext(1, &[&[2][..], &req.to_be_bytes(), &len.to_be_bytes(), payload].concat())
}

/// An answer in the layout of zest 0.4.
pub fn range_answer(req: u32, start: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    ext(1, &[&[2][..], &req.to_be_bytes(), &start.to_be_bytes(), &len.to_be_bytes(), payload].concat())
}

/// A manifest part on our id 3, whatever its numbers say.
pub fn manifest_part(req: u32, total: u32, first: u32, count: u32, records: &[u8]) -> Vec<u8> {
    let head = [
        &[2][..],
        &req.to_be_bytes(),
        &1_000_000u64.to_be_bytes(),
        &total.to_be_bytes(),
        &first.to_be_bytes(),
        &count.to_be_bytes(),
    ];
    ext(3, &[&head.concat()[..], records].concat())
}

/// Bytes from hex; blanks are ignored.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("hex digit")).unwrap())
        .collect();
    assert_eq!(digits.len() % 2, 0, "whole bytes");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub fn payload_steps(req: u32, kind: PayloadKind, payload: &[u8]) -> Vec<Step> {
    let (req, len) = (ReqId(req), u32::try_from(payload.len()).unwrap());
    vec![Step::Start { req, kind, len }, Step::Payload(payload.to_vec()), Step::End { req }]
}
