//! The byte plane: one [`Link`] per TCP connection, bytes to messages and back.
//!
//! A link owns the handshakes, the framing, the remote's extension ids, the table of outstanding requests and the
//! deadlines of its connection. It never holds or copies a payload: it says where payload bytes lie in the slice it was
//! just given ([`Action::PayloadBytes`]), or which ones may be read straight into a buffer ([`Link::expect`],
//! [`Event::PayloadRead`]). It never decides what to ask or answer; that is the node's.
//!
//! # Loop of a runtime
//! 1. Hand in one event with [`Link::handle`].
//! 2. Take actions with [`Link::poll_action`] until it gives `None`. `Transmit` actions are in wire order.
//! 3. Set a timer for [`Link::poll_timeout`]; it may have changed after any event.
//!
//! However the same bytes are cut into events, the same messages, payloads and faults come out.
//! A fault ([`PeerFault`]) ends a link: [`Action::Close`] is its last action, later events do nothing.
//!
//! ```
//! use zest_core::link::*;
//! use zest_core::{BufId, InfoHash, Instant, PeerId, ReqId};
//! use zest_xet::Hash;
//!
//! let now = Instant::ZERO;
//! let role = Role::Dial { info_hash: InfoHash([1; 20]) };
//! let mut a = Link::new(now, Config { role, our_id: PeerId(*b"-ZT0500-aaaaaaaaaaaa"), listen_port: 0 });
//! let role = Role::Accept;
//! let mut b = Link::new(now, Config { role, our_id: PeerId(*b"-ZT0500-bbbbbbbbbbbb"), listen_port: 6881 });
//!
//! // Takes the actions of one side; sends its bytes to the other, returns what is for its node.
//! // The only buffer of this "runtime" is `chunk`.
//! let chunk = b"a chunk";
//! fn pump(from: &mut Link, to: &mut Link, chunk: &[u8]) -> Vec<Action> {
//!     let mut rest = Vec::new();
//!     while let Some(action) = from.poll_action() {
//!         match action {
//!             Action::Transmit { head, body, .. } => {
//!                 let mut bytes = head.as_bytes().to_vec();
//!                 if body.is_some() {
//!                     bytes.extend_from_slice(chunk);
//!                 }
//!                 to.handle(Instant::ZERO, Event::Received(&bytes));
//!             }
//!             other => rest.push(other),
//!         }
//!     }
//!     rest
//! }
//! pump(&mut a, &mut b, chunk);
//! let seen = pump(&mut b, &mut a, chunk);
//! assert!(matches!(seen[..], [Action::Established { bep10: true, .. }]));
//! let seen = pump(&mut a, &mut b, chunk);
//! assert!(matches!(seen[1], Action::Message(Message::ExtHandshake(_))));
//!
//! // Both know each other: a asks, b answers.
//! let (req, hash) = (ReqId(0x1234), Hash::from_bytes([7; 32]));
//! a.handle(now, Event::Send(Outgoing::ChunkRequest { req, hash, len_max: 128 << 10 }));
//! assert_eq!(a.expect().head, 15);
//! pump(&mut a, &mut b, chunk);
//! let seen = pump(&mut b, &mut a, chunk);
//! let Some(Action::Message(Message::ChunkRequest { req: id, dialect, .. })) = seen.last() else { panic!() };
//! let body = Body::Buf { id: BufId(0), offset: 0, len: 7 };
//! b.handle(now, Event::Send(Outgoing::Chunk { req: *id, dialect: *dialect, hash, body, len: 7 }));
//! pump(&mut b, &mut a, chunk);
//! assert_eq!(pump(&mut a, &mut b, chunk), [
//!     Action::PayloadStart { req, kind: PayloadKind::Chunk, len: 7 },
//!     Action::PayloadBytes { at: 15, len: 7 },
//!     Action::PayloadEnd { req },
//! ]);
//! ```

mod action;
mod event;
mod expect;
mod fault;
mod limits;
mod message;
mod reader;
mod requests;
mod writer;

pub use crate::wire::ext_handshake::{ExtHandshake, Extension, hub_key};
pub use crate::wire::frame::{HEAD_INLINE_BYTES, Head};
pub use crate::wire::xet::Dialect;
pub use crate::wire::zest::{Claim, ManifestPart, PlainKey, ZestMessage};
pub use action::{Action, Body, PayloadKind};
pub use event::{Config, Event, Role, Timer};
pub use expect::Expect;
pub use fault::{PeerFault, Severity};
pub use limits::*;
pub use message::{Message, Outgoing};

use crate::ids::ReqId;
use crate::time::Instant;
use crate::wire::ext_handshake::{self, EXT_HANDSHAKE_BYTES_MAX};
use crate::wire::frame::{self, EXTENDED_HEAD_BYTES, INTERESTED, KEEP_ALIVE, LENGTH_BYTES, UNCHOKE};
use crate::wire::handshake::{HANDSHAKE_BYTES, Handshake, NotAHandshake};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use reader::{Decoded, What};
use requests::Requests;

/// One connection's machine. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Link {
    config: Config,
    phase: Phase,
    /// Bytes of an incomplete head, kept until the rest comes. Never payload.
    head: Vec<u8>,
    /// Bytes the head must have before it is worth another look.
    need: usize,
    actions: VecDeque<Action>,
    /// `PayloadBytes` in `actions`: as long as there are some, the slice they point into must live.
    slices_unpolled: usize,
    requests: Requests,
    remote: ExtHandshake,
    ext_handshakes: u32,
    dialect: Dialect,
    dialect_pinned: bool,
    opened: Instant,
    last_received: Instant,
    last_sent: Instant,
    chatter_since: Instant,
    chatter_bytes: u64,
    late_bytes: u64,
    /// The Hub that is named to the remote.
    hub: Option<[u8; 20]>,
    /// The remote is told that we answer `plain request`.
    plain: bool,
}

/// What the next received byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Part of the handshake.
    Handshake,
    /// Part of a frame's head.
    Frame,
    /// Payload of an answer; `left` ≥ 1.
    Payload { req: ReqId, left: u32 },
    /// Of no use; `left` ≥ 1.
    Skip { left: u32 },
    /// Nobody's: the link is over.
    Dead,
}

impl Link {
    /// A link on a connection that just opened. A dialling one has its handshake to send at once.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut link = Self {
            config,
            phase: Phase::Handshake,
            head: Vec::new(),
            need: 0,
            actions: VecDeque::new(),
            slices_unpolled: 0,
            requests: Requests::default(),
            remote: ExtHandshake::empty(Dialect::Chunk),
            ext_handshakes: 0,
            dialect: Dialect::Chunk,
            dialect_pinned: false,
            opened: now,
            last_received: now,
            last_sent: now,
            chatter_since: now,
            chatter_bytes: 0,
            late_bytes: 0,
            hub: None,
            plain: false,
        };
        if let Role::Dial { info_hash } = config.role {
            let ours = Handshake::ours(info_hash, config.our_id).encode();
            link.transmit(now, Head::new(&ours), None);
        }
        link
    }

    /// Names a Hub to the remote, by its [`hub_key`], with our extension handshake; said before that went out. For links on
    /// which files may be spoken of that this Hub alone shows.
    pub fn name_hub(&mut self, key: [u8; 20]) {
        self.hub = Some(key);
    }

    /// Says with our extension handshake that small files may be asked for here; said before that went out.
    pub fn give_plain(&mut self) {
        self.plain = true;
    }

    /// Takes one event. Never fails: what the remote did wrong comes out as [`Action::Close`].
    ///
    /// # Panics
    /// If the caller breaks the contract of [`Event`] or [`Outgoing`]: a payload read that was not expected, received
    /// bytes while [`Action::PayloadBytes`] of the last slice wait to be polled, a request id used twice, more than
    /// [`OUTSTANDING_MAX`] requests.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        if self.phase == Phase::Dead {
            return;
        }
        match event {
            Event::Received(bytes) => self.received(now, bytes),
            Event::PayloadRead { bytes } => {
                assert!(bytes > 0, "a payload read brings at least one byte");
                let Phase::Payload { req, left } = self.phase else {
                    panic!("a payload was read while none was expected");
                };
                assert!(bytes <= left, "read {bytes} payload bytes of {left} expected");
                self.last_received = now;
                self.payload_advance(req, left - bytes);
            }
            Event::Send(outgoing) => self.send(now, outgoing),
            Event::Timer => self.timer(now),
            Event::Closed => self.die(),
        }
    }

    /// The next action, in order; `None` when there is nothing to do until the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        let Some(action) = self.actions.pop_front() else {
            if self.actions.capacity() > ACTIONS_KEEP {
                self.actions.shrink_to(ACTIONS_KEEP);
            }
            return None;
        };
        if let Action::PayloadBytes { .. } = action {
            self.slices_unpolled -= 1;
        }
        Some(action)
    }

    /// When to hand in [`Event::Timer`], and what it will be for. `None` once the link is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self.phase {
            Phase::Dead => None,
            Phase::Handshake => Some((self.opened + HANDSHAKE_WAIT, Timer::Handshake)),
            Phase::Frame | Phase::Payload { .. } | Phase::Skip { .. } if self.ext_handshakes == 0 => {
                Some((self.opened + EXT_HANDSHAKE_WAIT, Timer::ExtHandshake))
            }
            Phase::Frame | Phase::Payload { .. } | Phase::Skip { .. } => {
                let keep_alive = (self.last_sent + KEEP_ALIVE_AFTER, Timer::KeepAlive);
                let idle = (self.last_received + IDLE_LIMIT, Timer::Idle);
                Some(keep_alive.min(idle))
            }
        }
    }

    /// Sends that are not polled yet ([`Action::Transmit`]).
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Transmit { .. })).count()
    }

    /// Requests sent and neither answered, cancelled nor forgotten; at most [`OUTSTANDING_MAX`].
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// Layout in which this link asks for chunks: guessed from the extension handshake, pinned by the first message that
    /// shows it beyond doubt.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Bytes of memory this link holds, its own size included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.head.capacity()
            + self.actions.capacity() * size_of::<Action>()
            + self.requests.capacity_bytes()
    }

    /// Panics if the machine is in a state it must never be in. For tests, simulation and fuzzing, after every event.
    pub fn check_invariants(&self) {
        self.requests.check_invariants();
        assert!(self.chatter_bytes <= CHATTER_BYTES_MAX || self.phase == Phase::Dead, "chatter is bounded");
        assert!(self.late_bytes <= LATE_BYTES_MAX || self.phase == Phase::Dead, "late bytes are bounded");
        assert!(
            self.ext_handshakes <= EXT_HANDSHAKES_MAX || self.phase == Phase::Dead,
            "handshakes are bounded"
        );
        let slices = self.actions.iter().filter(|a| matches!(a, Action::PayloadBytes { .. })).count();
        assert_eq!(slices, self.slices_unpolled, "unpolled slices are counted");
        let closes = self.actions.iter().filter(|a| matches!(a, Action::Close { .. })).count();
        assert!(closes <= 1, "a link closes once");
        if closes == 1 {
            assert_eq!(self.phase, Phase::Dead, "a link that closes is over");
            assert!(matches!(self.actions.back(), Some(Action::Close { .. })), "close is the last action");
        }
        match self.phase {
            Phase::Handshake => {
                assert!(self.head.len() < HANDSHAKE_BYTES, "a whole handshake is taken at once");
                assert_eq!(self.ext_handshakes, 0, "the handshake is first");
            }
            Phase::Frame => {
                let max = EXTENDED_HEAD_BYTES + EXT_HANDSHAKE_BYTES_MAX as usize;
                assert!(self.head.is_empty() || self.head.len() < self.need, "a whole head is taken at once");
                assert!(self.need <= max, "a head is bounded");
            }
            Phase::Payload { left, .. } | Phase::Skip { left } => {
                assert!(left > 0, "an empty rest is no rest");
                assert!(left <= FRAME_BYTES_MAX, "a payload is bounded");
                assert!(self.head.is_empty(), "a head is used up when its payload begins");
            }
            Phase::Dead => {
                assert_eq!(self.requests.len(), 0, "nothing is outstanding on a dead link");
                assert!(self.poll_timeout().is_none(), "a dead link has no deadline");
            }
        }
    }

    fn is_talking(&self) -> bool {
        !matches!(self.phase, Phase::Handshake | Phase::Dead)
    }

    fn received(&mut self, now: Instant, bytes: &[u8]) {
        assert_eq!(self.slices_unpolled, 0, "poll every action before handing in the next slice");
        if bytes.is_empty() {
            return;
        }
        self.last_received = now;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.phase {
                Phase::Dead => return,
                Phase::Payload { req, left } => {
                    let taken = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(left);
                    let at = u32::try_from(bytes.len() - rest.len()).expect("a slice of less than 4 GiB");
                    self.actions.push_back(Action::PayloadBytes { at, len: taken });
                    self.slices_unpolled += 1;
                    rest = &rest[taken as usize..];
                    self.payload_advance(req, left - taken);
                }
                Phase::Skip { left } => {
                    let taken = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(left);
                    rest = &rest[taken as usize..];
                    self.skip(left - taken);
                }
                Phase::Handshake | Phase::Frame if self.head.is_empty() => match self.decode(now, rest) {
                    Ok(used) => rest = &rest[used..],
                    // The only copy of received bytes: a head that the slice cut in two.
                    Err(need) => {
                        self.need = need;
                        self.head.extend_from_slice(rest);
                        rest = &[];
                    }
                },
                Phase::Handshake | Phase::Frame => {
                    let taken = rest.len().min(self.need - self.head.len());
                    self.head.extend_from_slice(&rest[..taken]);
                    rest = &rest[taken..];
                    let mut head = core::mem::take(&mut self.head);
                    match self.decode(now, &head) {
                        Ok(used) => {
                            debug_assert!(used == head.len() || self.phase == Phase::Dead, "needs are exact");
                            self.need = 0;
                            head.clear();
                            head.shrink_to(HEAD_KEEP_BYTES);
                        }
                        Err(need) => self.need = need,
                    }
                    self.head = head;
                }
            }
        }
    }

    /// Looks at the bytes of one handshake or frame and does what it says. Tells how many it used, or how many it needs.
    fn decode(&mut self, now: Instant, seen: &[u8]) -> Result<usize, usize> {
        if self.phase == Phase::Handshake {
            return self.decode_handshake(now, seen);
        }
        let original = self.remote.dialect_guess == Dialect::Range;
        match reader::decode(seen, &self.requests, original) {
            Decoded::Need(need) => Err(need),
            Decoded::Fault(why) => {
                self.fault(why);
                Ok(seen.len())
            }
            Decoded::Frame { head, what } => {
                self.obey(now, head, what);
                Ok(head)
            }
        }
    }

    fn decode_handshake(&mut self, now: Instant, seen: &[u8]) -> Result<usize, usize> {
        let parsed = match seen.first_chunk::<HANDSHAKE_BYTES>() {
            Some(bytes) => Handshake::parse(bytes),
            None => match Handshake::check_prefix(seen) {
                Ok(()) => return Err(HANDSHAKE_BYTES),
                Err(error) => Err(error),
            },
        };
        match parsed {
            Ok(theirs) => self.shake_hands(now, theirs),
            Err(NotAHandshake { at, got, want }) => self.fault(PeerFault::NotBitTorrent { at, got, want }),
        }
        Ok(seen.len().min(HANDSHAKE_BYTES))
    }

    fn shake_hands(&mut self, now: Instant, theirs: Handshake) {
        let mut out = Vec::with_capacity(192);
        match self.config.role {
            Role::Dial { info_hash } if info_hash != theirs.info_hash => {
                return self.fault(PeerFault::WrongInfoHash { got: theirs.info_hash, want: info_hash });
            }
            Role::Dial { .. } => {}
            Role::Accept => {
                out.extend_from_slice(&Handshake::ours(theirs.info_hash, self.config.our_id).encode());
            }
        }
        let to_self = theirs.peer_id == self.config.our_id;
        if theirs.bep10() && !to_self {
            // zest 0.4 gives up on a peer whose first message is not the extension handshake.
            let (hub, port) = (self.hub.as_ref(), self.config.listen_port);
            let ours = ext_handshake::ours_of(hub, self.plain, port, OUTSTANDING_MAX as u32);
            frame::extended(&mut out, 0, &ours);
            out.extend_from_slice(&[0, 0, 0, 1, UNCHOKE, 0, 0, 0, 1, INTERESTED]);
        }
        if !out.is_empty() {
            self.transmit(now, Head::new(&out), None);
        }
        if to_self {
            // Our other end has its handshake by now and learns the same.
            return self.fault(PeerFault::SelfConnection);
        }
        self.actions.push_back(Action::Established {
            peer_id: theirs.peer_id,
            info_hash: theirs.info_hash,
            bep10: theirs.bep10(),
        });
        if !theirs.bep10() {
            return self.fault(PeerFault::NoExtensionProtocol);
        }
        if theirs.is_original() {
            self.remote.dialect_guess = Dialect::Range;
            self.dialect = Dialect::Range;
        }
        self.phase = Phase::Frame;
    }

    /// Acts on one frame whose first `head` bytes are used up.
    fn obey(&mut self, now: Instant, head: usize, what: What<'_>) {
        match what {
            What::Chatter { rest } => self.chatter(now, head, rest),
            What::Unknown { rest } => {
                self.actions.push_back(Action::Message(Message::Ignored));
                self.chatter(now, head, rest);
            }
            What::ExtHandshake(dict) => self.ext_handshake(dict),
            What::Message { message, pins } => {
                self.pin(pins);
                self.actions.push_back(Action::Message(message));
            }
            What::Pex(pex) => {
                self.actions.push_back(Action::Message(Message::Pex(pex)));
                // One a minute is lawful and small; what comes faster counts as useless.
                self.chatter(now, head, 0);
            }
            What::Refusal { req, message, pins, rest } => {
                self.pin(pins);
                // A late refusal settles its request and is of no other use.
                if let Some((_, false)) = self.requests.take(req) {
                    self.actions.push_back(Action::Message(message));
                }
                self.skip(rest);
            }
            What::Answer { req, kind, len, pins } => {
                self.pin(pins);
                let (_, late) =
                    self.requests.take(req).expect("the reader knows only answers to pending requests");
                if late {
                    self.late_bytes += u64::from(len);
                    if self.late_bytes > LATE_BYTES_MAX {
                        let (bytes, max) = (self.late_bytes, LATE_BYTES_MAX);
                        return self.fault(PeerFault::TooLate { bytes, max });
                    }
                    return self.skip(len);
                }
                self.late_bytes = 0;
                self.actions.push_back(Action::PayloadStart { req, kind, len });
                self.payload_advance(req, len);
            }
        }
    }

    fn ext_handshake(&mut self, dict: &[u8]) {
        self.ext_handshakes += 1;
        if self.ext_handshakes > EXT_HANDSHAKES_MAX {
            let (count, max) = (self.ext_handshakes, EXT_HANDSHAKES_MAX);
            return self.fault(PeerFault::TooManyExtHandshakes { count, max });
        }
        if !self.remote.update(dict) {
            return self.fault(PeerFault::BadExtHandshake);
        }
        if !self.dialect_pinned {
            self.dialect = self.remote.dialect_guess;
        }
        self.actions.push_back(Action::Message(Message::ExtHandshake(self.remote.clone())));
    }

    /// The remote has shown which layout it speaks. One with our extension reads all of them: nothing to pin.
    fn pin(&mut self, shown: Option<Dialect>) {
        if let (Some(dialect), false, None) = (shown, self.dialect_pinned, self.remote.id(Extension::Zest)) {
            self.dialect = dialect;
            self.dialect_pinned = true;
        }
    }

    /// Counts a frame of no use, of which `head` bytes were looked at and `rest` follow.
    fn chatter(&mut self, now: Instant, head: usize, rest: u32) {
        if now.since(self.chatter_since) >= IDLE_LIMIT {
            self.chatter_since = now;
            self.chatter_bytes = 0;
        }
        self.chatter_bytes += head as u64 + u64::from(rest);
        if self.chatter_bytes > CHATTER_BYTES_MAX {
            let (bytes, max) = (self.chatter_bytes, CHATTER_BYTES_MAX);
            return self.fault(PeerFault::Chatter { bytes, max });
        }
        self.skip(rest);
    }

    fn skip(&mut self, left: u32) {
        self.phase = if left == 0 { Phase::Frame } else { Phase::Skip { left } };
    }

    fn payload_advance(&mut self, req: ReqId, left: u32) {
        if left == 0 {
            self.actions.push_back(Action::PayloadEnd { req });
            self.phase = Phase::Frame;
        } else {
            self.phase = Phase::Payload { req, left };
        }
    }

    fn timer(&mut self, now: Instant) {
        match self.poll_timeout() {
            Some((due, what)) if due <= now => match what {
                Timer::Handshake => self.fault(PeerFault::HandshakeTimeout {
                    waited: now.since(self.opened),
                    limit: HANDSHAKE_WAIT,
                }),
                Timer::ExtHandshake => self.fault(PeerFault::ExtHandshakeTimeout {
                    waited: now.since(self.opened),
                    limit: EXT_HANDSHAKE_WAIT,
                }),
                Timer::Idle => {
                    self.fault(PeerFault::Idle { silent: now.since(self.last_received), limit: IDLE_LIMIT });
                }
                Timer::KeepAlive => {
                    self.transmit(now, Head::new(&KEEP_ALIVE), None);
                    self.give_room_back();
                    // A timer that comes very late finds both due.
                    self.timer(now);
                }
            },
            _ => {}
        }
    }

    /// A link that had nothing to say for a while holds little.
    fn give_room_back(&mut self) {
        self.requests.shrink();
        self.actions.shrink_to(IDLE_BYTES_MAX / size_of::<Action>());
    }

    fn fault(&mut self, why: PeerFault) {
        self.die();
        self.actions.push_back(Action::Close { why });
    }

    fn die(&mut self) {
        self.phase = Phase::Dead;
        self.requests.clear();
        self.head = Vec::new();
    }
}

/// Bytes of room a link keeps for cut heads: 256, more than any head but availability and extension handshakes.
const HEAD_KEEP_BYTES: usize = 256;

const _: () = assert!(LENGTH_BYTES + 2 == EXTENDED_HEAD_BYTES, "length, 20, extension id");
