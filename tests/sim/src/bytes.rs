//! Byte mode: the same world with the real [`Link`] at both ends of every connection, and streams cut at random places.
//! Heads are real bytes; of bulk data only the length is, and what it stands for travels beside.

use crate::link::{Content, Item, What};
use crate::scenario::{MS, US};
use crate::world::{Happening, World};
use std::collections::VecDeque;
use zest_core::link::{self, Link, Message, OUTSTANDING_MAX, Outgoing, PayloadKind, Role, ZestMessage};
use zest_core::node::Event;
use zest_core::{InfoHash, Instant, LinkId, ReqId};

/// One end of a connection with a real link.
#[derive(Debug)]
pub(crate) struct ByteEnd {
    link: Link,
    /// Bytes that came and have not been handed in.
    stash: Vec<u8>,
    /// Where the stash begins in the stream.
    at: u64,
    /// Bulk data in the stream: where, how long, what.
    marks: VecDeque<(u64, u32, Content)>,
    /// The payload that is coming in, and where in the stream it began.
    payload: Option<(ReqId, PayloadKind, u32, u64)>,
    /// When the link is to be woken.
    armed: u64,
    /// The rest of the stash comes later.
    waits: bool,
}

impl World {
    fn instant(&self, host: u32) -> Instant {
        Instant(self.now / US + self.hosts[host as usize].ahead_us)
    }

    fn byte_end(&mut self, end: u32, role: Role) {
        let host = self.ends[end as usize].host;
        let now = self.instant(host);
        let machine = &self.hosts[host as usize];
        let config = link::Config { role, our_id: machine.peer_id, listen_port: machine.addr.port() };
        let mut link = Link::new(now, config);
        if self.scenario.plain > 0 {
            link.give_plain();
        }
        self.ends[end as usize].bytes = Some(Box::new(ByteEnd {
            link,
            stash: Vec::new(),
            at: 0,
            marks: VecDeque::new(),
            payload: None,
            armed: u64::MAX,
            waits: false,
        }));
    }

    pub(crate) fn bytes_dial(&mut self, end: u32, info_hash: InfoHash) {
        self.byte_end(end, Role::Dial { info_hash });
    }

    /// The connection is open: the dialling link may speak.
    pub(crate) fn bytes_connected(&mut self, end: u32) {
        self.accepted(end + 1);
        self.bytes_obey(end, Content::Junk);
    }

    pub(crate) fn bytes_accept(&mut self, end: u32) {
        self.byte_end(end, Role::Accept);
        self.bytes_obey(end, Content::Junk);
    }

    pub(crate) fn bytes_send(&mut self, end: u32, message: Outgoing, content: Content) {
        let now = self.instant(self.ends[end as usize].host);
        let scripted = self.hosts[self.ends[end as usize].host as usize].node.is_none();
        let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
        let asks = crate::link::Asked::of(&message).is_some();
        if asks && scripted && bytes.link.outstanding() >= OUTSTANDING_MAX {
            // A flooder asks without end; the real link would panic over its own node here.
            return;
        }
        bytes.link.handle(now, link::Event::Send(message));
        self.bytes_obey(end, content);
    }

    /// Bytes have arrived.
    pub(crate) fn bytes_arrive(&mut self, end: u32, item: Item) {
        let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
        let What::Bytes(head) = item.what else { return };
        bytes.stash.extend_from_slice(&head);
        if item.payload > 0 {
            bytes.marks.push_back((bytes.at + bytes.stash.len() as u64, item.payload, item.content));
            bytes.stash.resize(bytes.stash.len() + item.payload as usize, 0);
        }
        if !bytes.waits {
            self.bytes_hand_in(end);
        }
    }

    /// The rest of a segment.
    pub(crate) fn bytes_rest(&mut self, end: u32) {
        if let Some(bytes) = &mut self.ends[end as usize].bytes {
            bytes.waits = false;
            self.bytes_hand_in(end);
        }
    }

    /// Hands the stash in, cut as the dice will.
    fn bytes_hand_in(&mut self, end: u32) {
        loop {
            let now = self.instant(self.ends[end as usize].host);
            let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
            if bytes.stash.is_empty() {
                return;
            }
            let whole = bytes.stash.len();
            let dice = &mut self.dice.segments;
            let cut = match self.scenario.segments {
                true => match dice.below(4) {
                    0 => 1 + dice.below(whole.min(20) as u64) as usize,
                    1 => 1 + dice.below(whole as u64) as usize,
                    _ => whole,
                },
                false => whole,
            };
            let waits = cut < whole && dice.one_in(3);
            let slice: Vec<u8> = bytes.stash.drain(..cut).collect();
            bytes.link.handle(now, link::Event::Received(&slice));
            bytes.link.check_invariants();
            let from = bytes.at;
            bytes.at += cut as u64;
            self.bytes_obey_at(end, Content::Junk, from);
            if waits && let Some(bytes) = &mut self.ends[end as usize].bytes {
                bytes.waits = true;
                let pause = self.dice.segments.below(2 * MS);
                return self.later(pause, Happening::Segment { end });
            }
        }
    }

    pub(crate) fn bytes_timer(&mut self, end: u32) {
        let now = self.instant(self.ends[end as usize].host);
        let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
        if bytes.armed != self.now {
            return;
        }
        bytes.armed = u64::MAX;
        bytes.link.handle(now, link::Event::Timer);
        bytes.link.check_invariants();
        self.bytes_obey(end, Content::Junk);
    }

    fn bytes_obey(&mut self, end: u32, content: Content) {
        self.bytes_obey_at(end, content, 0);
    }

    /// Does what the link says. `from` is where the slice just handed in begins in the stream.
    fn bytes_obey_at(&mut self, end: u32, content: Content, from: u64) {
        let (host, link) = (self.ends[end as usize].host, LinkId(end.into()));
        loop {
            let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
            let Some(action) = bytes.link.poll_action() else { break };
            match action {
                link::Action::Transmit { head, body, .. } => {
                    let head = head.as_bytes().to_vec();
                    let payload = body.map_or(0, |body| body.len());
                    let control = head.len() as u32;
                    self.enqueue(end, Item { control, payload, content, what: What::Bytes(head) });
                }
                link::Action::Established { .. } => self.link_up(end),
                link::Action::Message(message) => {
                    if let Message::ExtHandshake(_) = message {
                        self.ends[end as usize].known = true;
                    }
                    if self.hosts[host as usize].node.is_some() {
                        self.feed(host, Event::Message { link, message });
                    } else if let Some(message) = as_asked(message) {
                        let (control, payload) = (0, 0);
                        let what = What::Message(message);
                        self.scripted(end, Item { control, payload, content: Content::Junk, what });
                    }
                }
                link::Action::PayloadStart { req, kind, len } => {
                    bytes.payload = Some((req, kind, len, u64::MAX));
                }
                link::Action::PayloadBytes { at, .. } => {
                    if let Some((.., start)) = &mut bytes.payload {
                        *start = (*start).min(from + u64::from(at));
                    }
                }
                link::Action::PayloadEnd { .. } => {
                    let Some((req, kind, len, start)) = bytes.payload.take() else { continue };
                    let mut late = 0;
                    while let Some(&(_, len, _)) = bytes.marks.front().filter(|(at, ..)| *at < start) {
                        late += len;
                        bytes.marks.pop_front();
                    }
                    let mark = bytes.marks.front().copied().filter(|(at, n, _)| *at == start && *n == len);
                    if mark.is_some() {
                        bytes.marks.pop_front();
                    }
                    let content = mark.map_or(Content::Junk, |(.., content)| content);
                    self.count_waste(end, late);
                    if self.hosts[host as usize].node.is_some() {
                        let buf = self.buffers.put(content);
                        self.feed(host, Event::Payload { link, req, kind, buf, len });
                    }
                }
                link::Action::Close { why } => return self.close(end, Some(why)),
            }
        }
        self.bytes_rearm(end);
    }

    fn bytes_rearm(&mut self, end: u32) {
        let ahead = self.hosts[self.ends[end as usize].host as usize].ahead_us;
        let Some(bytes) = &mut self.ends[end as usize].bytes else { return };
        let Some((at, _)) = bytes.link.poll_timeout() else { return };
        let at = (at.0.saturating_sub(ahead)).saturating_mul(US).max(self.now);
        // Deadlines of a busy link move on all the time; looking a second late at them is early enough.
        if bytes.armed == u64::MAX {
            bytes.armed = at;
            self.queue.push(at, Happening::LinkTimer { end });
        }
    }
}

/// What a scripted actor is asked, in the words in which it is asked in message mode.
fn as_asked(message: Message) -> Option<Outgoing> {
    Some(match message {
        Message::Zest(ZestMessage::Interest { file }) => Outgoing::Zest(ZestMessage::Interest { file }),
        Message::ChunkRequest { req, hash, .. } => {
            Outgoing::ChunkRequest { req: ReqId(req), hash, len_max: u32::MAX }
        }
        Message::Zest(ZestMessage::ManifestRequest { req, file, first, count }) => {
            Outgoing::Zest(ZestMessage::ManifestRequest { req, file, first, count })
        }
        Message::Zest(message @ ZestMessage::PlainRequest { .. }) => Outgoing::Zest(message),
        _ => return None,
    })
}
