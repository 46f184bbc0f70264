//! The network: uplinks that serve their links in turn, downlinks, latency, and what goes wrong between machines.
//!
//! A chunk occupies the sender's uplink and the receiver's downlink one after the other, cut through: the downlink begins
//! when the first byte is there. Small messages do not wait behind other links' chunks (packets of all links mix), but
//! their bytes are paid for. On one link everything arrives in order.

use crate::actors::{Actor, VICTIM};
use crate::host::Life;
use crate::link::{Content, End, Item, Pipe, What, other};
use crate::pool::Pool;
use crate::scenario::{MS, SEC, US};
use crate::wire::{EXT_HANDSHAKE, HANDSHAKE, kind, weight};
use crate::world::{Happening, World};
use std::collections::VecDeque;
use std::net::SocketAddr;
use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, PeerFault, ZestMessage, hub_key};
use zest_core::node::{Direction, Event};
use zest_core::{InfoHash, LinkId, ReqId};

/// The Hub that not everybody knows, in worlds whose machines use one.
pub(crate) const HUB: &str = "http://hub.here";
/// A dial that nobody answers is given up after this, as the runtime does.
const DIAL: u64 = 5 * SEC;
/// After a partition heals, held-up data takes this long: a retransmission.
const RETRANSMIT: u64 = 200 * MS;
/// Silence after which a link is over, as the real `Link` has it.
const IDLE: u64 = 120 * SEC;

/// Time that `bytes` take at this rate, in nanoseconds.
pub(crate) fn time_of(bytes: u64, bytes_s: u64) -> u64 {
    bytes.saturating_mul(SEC) / bytes_s.max(1)
}

/// Links share an uplink by bytes, as TCP does: a link's turn is over once it has sent so many, about one chunk.
const TURN: u64 = 64 << 10;

/// The sending side of a machine.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) bytes_s: u64,
    free_at: u64,
    /// Links with something in their socket, served in turn.
    round: VecDeque<u32>,
    waking: bool,
}

/// Payload that left a node's hands.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    bytes: u64,
    /// Chunks among it.
    chunks: u64,
}

impl Taken {
    fn count(&mut self, item: &Item) {
        self.bytes += u64::from(item.payload);
        if let Content::Chunk { .. } = item.content {
            self.chunks += u64::from(item.payload);
        }
    }
}

impl Uplink {
    pub(crate) fn new(bytes_s: u64) -> Self {
        Self { bytes_s, free_at: 0, round: VecDeque::new(), waking: false }
    }

    pub(crate) fn clear(&mut self) {
        self.round.clear();
    }
}

impl World {
    /// Where a machine listens.
    pub(crate) fn address(host: u32) -> SocketAddr {
        let [_, a, b, c] = host.to_be_bytes();
        SocketAddr::from(([10, a, b, c], 6881))
    }

    pub(crate) fn host_at(&self, addr: SocketAddr) -> Option<u32> {
        let SocketAddr::V4(v4) = addr else { return None };
        let [ten, a, b, c] = v4.ip().octets();
        let host = u32::from_be_bytes([0, a, b, c]);
        (ten == 10 && v4.port() == 6881 && (host as usize) < self.hosts.len()).then_some(host)
    }

    /// Whether a partition lies between two machines, and when it heals.
    pub(crate) fn apart(&self, a: u32, b: u32) -> Option<u64> {
        if let Some(until) = self.line_is_out() {
            return Some(until);
        }
        let (from, until) = self.scenario.net.partition_ns?;
        let split = self.hosts[a as usize].side != self.hosts[b as usize].side;
        (split && (from..until).contains(&self.now)).then_some(until)
    }

    fn latency(&mut self) -> u64 {
        let net = &self.scenario.net;
        let jitter = if net.jitter_ns == 0 { 0 } else { self.dice.net.below(net.jitter_ns) };
        net.latency_ns + jitter
    }

    // Opening.

    pub(crate) fn dial(&mut self, host: u32, addr: SocketAddr, info_hash: InfoHash) {
        let rtt = 2 * self.scenario.net.latency_ns;
        let epoch = self.hosts[host as usize].epoch;
        if addr.ip() == VICTIM {
            self.totals.knocks += 1;
            return self.later(rtt, Happening::Refused { host, epoch, port: addr.port() });
        }
        let Some(to) = self.host_at(addr) else {
            return self.fail(format!("host {host} dials {addr}, of which nobody told"));
        };
        if to == host {
            return self.later(rtt, Happening::DialFailed { host, epoch, to });
        }
        let remote = &self.hosts[to as usize];
        if remote.nat || remote.life == Life::Gone || self.apart(host, to).is_some() {
            self.later(DIAL, Happening::DialFailed { host, epoch, to });
        } else if remote.life != Life::Up {
            self.later(rtt, Happening::DialFailed { host, epoch, to });
        } else {
            let link = self.ends.len() as u32;
            self.ends.push(End::new(host, epoch, true));
            self.ends.push(End::new(to, remote.epoch, false));
            self.hosts[host as usize].links.push(link);
            if self.scenario.bytes {
                self.bytes_dial(link, info_hash);
                self.later(rtt, Happening::Connected { end: link });
            } else {
                self.hosts[host as usize].traffic.up_control += u64::from(HANDSHAKE);
                self.totals.control += u64::from(HANDSHAKE);
                self.later(rtt + rtt / 2, Happening::Accepted { end: link + 1 });
            }
        }
    }

    /// A connection with its dialler's handshake is here.
    pub(crate) fn accepted(&mut self, end: u32) {
        if self.ends[end as usize].over {
            return;
        }
        let host = self.ends[end as usize].host;
        let machine = &mut self.hosts[host as usize];
        if machine.life != Life::Up || machine.epoch != self.ends[end as usize].epoch {
            self.ends[end as usize].end(&mut self.items);
            return self.hang_up(other(end));
        }
        machine.links.push(end);
        self.trouble_ahead(end);
        if self.scenario.bytes {
            return self.bytes_accept(end);
        }
        let hello = Item {
            control: HANDSHAKE + EXT_HANDSHAKE,
            payload: 0,
            content: Content::Junk,
            what: What::Hello,
        };
        self.enqueue(end, hello);
        self.link_up(end);
    }

    /// The handshakes are done at this end.
    pub(crate) fn link_up(&mut self, end: u32) {
        let (local, remote) = (&self.ends[end as usize], &self.ends[other(end) as usize]);
        let peer = &self.hosts[remote.host as usize];
        let (addr, direction) = match local.dialled {
            true => (peer.addr, Direction::Outbound),
            // Whoever dials has another port than the one it listens on.
            false => {
                (SocketAddr::new(peer.addr.ip(), 10_000 + (end / 2 % 50_000) as u16), Direction::Inbound)
            }
        };
        let (host, peer_id) = (local.host, peer.peer_id);
        self.ends[end as usize].up = true;
        if self.hosts[host as usize].node.is_some() {
            self.feed(host, Event::LinkUp { link: LinkId(end.into()), addr, direction, peer_id });
        } else {
            self.scripted_up(end);
        }
    }

    /// What this connection will suffer.
    fn trouble_ahead(&mut self, end: u32) {
        let (reset, clog) = (self.scenario.net.reset_permille, self.scenario.net.clog_permille);
        if self.dice.net.permille(reset) {
            let at = self.dice.net.below(8 * SEC);
            self.later(at, Happening::Reset { end });
        }
        if self.dice.net.permille(clog) {
            let at = self.dice.net.below(4 * SEC);
            self.later(at, Happening::Clog { end });
        }
    }

    pub(crate) fn clog(&mut self, end: u32) {
        let until = self.now + self.dice.net.within(500 * MS, 30 * SEC);
        for end in [end, other(end)] {
            self.ends[end as usize].clogged_until = until;
        }
    }

    // Closing.

    /// A machine closes its end; the other one learns of it behind what is on the wire.
    pub(crate) fn close(&mut self, end: u32, fault: Option<PeerFault>) {
        self.end_here(end, fault);
        let at = self.ends[end as usize].out.last_at.max(self.now + self.scenario.net.latency_ns);
        let at = at.max(self.ends[other(end) as usize].clogged_until);
        self.queue.push(at, Happening::Down { end: other(end) });
    }

    /// The connection to this end never came about or broke.
    fn hang_up(&mut self, end: u32) {
        let after = self.scenario.net.latency_ns;
        self.later(after, Happening::Down { end });
    }

    /// This end is over, and its node is told.
    pub(crate) fn end_here(&mut self, end: u32, fault: Option<PeerFault>) {
        let local = &mut self.ends[end as usize];
        if local.over {
            return;
        }
        let (host, was_up, dialled) = (local.host, local.up, local.dialled);
        local.end(&mut self.items);
        local.bytes = None;
        let machine = &mut self.hosts[host as usize];
        if let Some(at) = machine.links.iter().position(|e| *e == end) {
            machine.links.swap_remove(at);
        }
        if was_up && machine.node.is_some() {
            self.feed(host, Event::LinkDown { link: LinkId(end.into()), fault });
        } else if dialled && !was_up && machine.node.is_some() {
            let addr = self.hosts[self.ends[other(end) as usize].host as usize].addr;
            self.feed(host, Event::DialFailed { addr });
        }
    }

    /// The remote is gone.
    pub(crate) fn down(&mut self, end: u32) {
        self.items.clear(&mut self.ends[end as usize].out.wire);
        self.end_here(end, None);
        // What was on its way to the other side is lost with it, unless that side is still to read it.
        if self.ends[other(end) as usize].over {
            self.items.clear(&mut self.ends[other(end) as usize].out.wire);
        }
    }

    /// Both ends break at once.
    pub(crate) fn reset(&mut self, end: u32) {
        for end in [end, other(end)] {
            self.items.clear(&mut self.ends[end as usize].out.wire);
        }
        self.end_here(end, None);
        self.end_here(other(end), None);
    }

    /// All connections of a machine break. Silently: the others notice only when nothing comes for long.
    pub(crate) fn cut_off(&mut self, host: u32, silently: bool) {
        let after = if silently { IDLE } else { self.scenario.net.latency_ns };
        for end in std::mem::take(&mut self.hosts[host as usize].links) {
            self.ends[end as usize].end(&mut self.items);
            self.ends[end as usize].bytes = None;
            self.later(after, Happening::Down { end: other(end) });
        }
        self.hosts[host as usize].up.clear();
    }

    // Sending.

    /// The node's word for a link.
    pub(crate) fn send(&mut self, end: u32, message: Outgoing) {
        let local = &mut self.ends[end as usize];
        if !local.up {
            // The node may not know yet that the link is gone; that it does not talk to a link it knows to be down is
            // checked where the action comes from.
            return;
        }
        if local.bytes.is_some() {
            if let Some(content) = self.content_of(end, &message) {
                self.put(end, message, content);
            }
            return;
        }
        let link = LinkId(end.into());
        if let Some(asked) = crate::link::Asked::of(&message) {
            if !local.known {
                let message = match asked.wanted {
                    crate::link::Wanted::Records { .. } => {
                        Message::Zest(ZestMessage::ManifestNone { req: asked.req.0 })
                    }
                    crate::link::Wanted::Plain => Message::Zest(ZestMessage::PlainNone { req: asked.req.0 }),
                    _ => Message::NotFound { req: asked.req },
                };
                let host = local.host;
                return self.feed(host, Event::Message { link, message });
            }
            if let Err(why) = local.asked.add(asked) {
                return self.fail(format!("link {end}: {why}"));
            }
        }
        match message {
            Outgoing::Forget { req } => {
                local.asked.forget(req);
                return;
            }
            Outgoing::Zest(ZestMessage::Cancel { req }) if !local.asked.forget(ReqId(req)) => return,
            _ => {}
        }
        let known = local.known;
        let ours =
            matches!(message, Outgoing::Zest(_) | Outgoing::ManifestPart { .. } | Outgoing::Plain { .. });
        if ours && !known {
            return;
        }
        if let Some(content) = self.content_of(end, &message) {
            self.put(end, message, content);
        }
    }

    /// Puts a message into a link's queue.
    pub(crate) fn put(&mut self, end: u32, message: Outgoing, mut content: Content) {
        let host = self.ends[end as usize].host;
        let (_, meant) = weight(&message);
        let Some(message) = self.twist(self.hosts[host as usize].actor, message, &mut content) else {
            return;
        };
        let (control, payload) = weight(&message);
        // The node inside a liar takes what it does not give to be on its way, and would wait for it for ever.
        if payload < meant && self.hosts[host as usize].node.is_some() {
            self.feed(host, Event::Sent { link: LinkId(end.into()), bytes: (meant - payload).into() });
        }
        if self.ends[end as usize].bytes.is_some() {
            return self.bytes_send(end, message, content);
        }
        self.enqueue(end, Item { control, payload, content, what: What::Message(message) });
    }

    pub(crate) fn enqueue(&mut self, end: u32, item: Item) {
        let pipe = &mut self.ends[end as usize].out;
        if item.payload == 0 && pipe.queue.is_empty() && pipe.socket.is_empty() {
            return self.transmit(end, item, self.now);
        }
        self.items.push(&mut pipe.queue, item);
        self.admit(end);
    }

    /// The socket takes what it has room for.
    fn admit(&mut self, end: u32) {
        let room = u64::from(self.scenario.net.socket_bytes);
        let local = &mut self.ends[end as usize];
        let (host, pipe) = (local.host, &mut local.out);
        while let Some(&(at, bytes)) = pipe.acks.front() {
            if at > self.now {
                break;
            }
            pipe.socket_bytes -= bytes;
            pipe.acks.pop_front();
        }
        let mut taken = Taken::default();
        while pipe.socket_bytes < room
            && let Some(item) = self.items.pop(&mut pipe.queue)
        {
            pipe.socket_bytes += item.bytes();
            taken.count(&item);
            self.items.push(&mut pipe.socket, item);
        }
        let enlist = !pipe.socket.is_empty() && !std::mem::replace(&mut pipe.in_round, true);
        let blocked = !pipe.queue.is_empty() && !pipe.waking;
        if blocked && let Some(&(at, _)) = pipe.acks.front() {
            pipe.waking = true;
            self.queue.push(at, Happening::Socket { end });
        }
        if enlist {
            self.hosts[host as usize].up.round.push_back(end);
        }
        self.kick(host);
        if !self.scenario.net.lowat {
            self.taken(end, taken);
        }
    }

    /// The system took payload from a link, as far as the node can tell.
    fn taken(&mut self, end: u32, taken: Taken) {
        let host = self.ends[end as usize].host;
        if taken.bytes > 0 {
            self.uploaded(host, taken.bytes, taken.chunks);
            if self.hosts[host as usize].node.is_some() {
                self.feed(host, Event::Sent { link: LinkId(end.into()), bytes: taken.bytes });
            }
        }
    }

    /// An acknowledgement makes room.
    pub(crate) fn socket(&mut self, end: u32) {
        self.ends[end as usize].out.waking = false;
        if !self.ends[end as usize].over {
            self.admit(end);
        }
    }

    fn kick(&mut self, host: u32) {
        let up = &mut self.hosts[host as usize].up;
        if !up.waking && !up.round.is_empty() {
            up.waking = true;
            let at = up.free_at.max(self.now);
            self.queue.push(at, Happening::Uplink { host });
        }
    }

    /// The uplink is free for the next item.
    pub(crate) fn uplink(&mut self, host: u32) {
        self.hosts[host as usize].up.waking = false;
        loop {
            let up = &mut self.hosts[host as usize].up;
            if up.free_at > self.now {
                break;
            }
            let Some(end) = up.round.pop_front() else { break };
            let pipe = &mut self.ends[end as usize].out;
            pipe.in_round = false;
            let Some(item) = self.items.pop(&mut pipe.socket) else { continue };
            let bytes = item.bytes();
            pipe.in_turn += bytes;
            let over = pipe.in_turn >= TURN || pipe.socket.is_empty();
            if over {
                pipe.in_turn = 0;
            }
            if !pipe.socket.is_empty() {
                pipe.in_round = true;
                let round = &mut self.hosts[host as usize].up.round;
                if over { round.push_back(end) } else { round.push_front(end) }
            }
            let mut taken = Taken::default();
            taken.count(&item);
            self.transmit(end, item, self.now);
            if self.scenario.net.lowat {
                self.taken(end, taken);
            }
            let local = &mut self.ends[end as usize];
            let ack = local.out.last_at + self.scenario.net.latency_ns;
            local.out.acks.push_back((ack, bytes));
            let blocked = !local.out.queue.is_empty() && !local.out.waking;
            if blocked && let Some(&(at, _)) = local.out.acks.front() {
                local.out.waking = true;
                self.queue.push(at, Happening::Socket { end });
            }
        }
        self.kick(host);
    }

    /// Puts an item on the wire.
    fn transmit(&mut self, end: u32, item: Item, start: u64) {
        let to = other(end);
        let (host, remote) = (self.ends[end as usize].host, self.ends[to as usize].host);
        let (bytes, is_bulk) = (item.bytes(), item.payload > 0);
        let latency = self.latency();
        let up = &mut self.hosts[host as usize].up;
        let up_time = time_of(bytes, up.bytes_s);
        up.free_at = up.free_at.max(start) + up_time;
        self.count_sent(host, &item);
        let mut at =
            self.through_downlink(remote, bytes, is_bulk, start + latency, start + up_time + latency);
        if let Some(healed) = self.apart(host, remote) {
            at = at.max(healed + RETRANSMIT);
        }
        at = at.max(self.ends[to as usize].clogged_until);
        let is_over = self.ends[to as usize].over;
        let pipe = &mut self.ends[end as usize].out;
        at = at.max(pipe.last_at);
        pipe.last_at = at;
        if is_over {
            return;
        }
        self.items.push(&mut pipe.wire, item);
        self.queue.push(at, Happening::Deliver { end: to });
    }

    /// When bytes whose first and last come at these times are through a machine's downlink.
    pub(crate) fn through_downlink(
        &mut self,
        host: u32,
        bytes: u64,
        bulk: bool,
        first: u64,
        last: u64,
    ) -> u64 {
        let machine = &mut self.hosts[host as usize];
        let time = time_of(bytes, machine.down_bytes_s);
        if bulk {
            machine.down_free_at = machine.down_free_at.max(first) + time;
            machine.down_free_at.max(last)
        } else {
            machine.down_free_at = machine.down_free_at.max(first) + time;
            last + time
        }
    }

    fn count_sent(&mut self, host: u32, item: &Item) {
        let traffic = &mut self.hosts[host as usize].traffic;
        traffic.up_control += u64::from(item.control);
        self.totals.control += u64::from(item.control);
        if let What::Message(Outgoing::ManifestPart { .. }) = item.what {
            self.totals.control += u64::from(item.payload);
        } else if let Content::Records { .. } = item.content {
            self.totals.control += u64::from(item.payload);
        } else {
            traffic.up_payload += u64::from(item.payload);
        }
        if let What::Message(message) = &item.what
            && let Some(kind) = kind(message)
        {
            self.totals.kinds[kind].0 += 1;
            self.totals.kinds[kind].1 += item.bytes();
        }
    }

    /// The front of a wire has arrived.
    pub(crate) fn deliver(&mut self, end: u32) {
        let Some(item) = self.items.pop(&mut self.ends[other(end) as usize].out.wire) else { return };
        let local = &self.ends[end as usize];
        if local.over {
            self.count_waste(end, item.payload);
            return;
        }
        if local.bytes.is_some() {
            return self.bytes_arrive(end, item);
        }
        match item.what {
            What::Hello => self.hello(end),
            _ if self.hosts[local.host as usize].node.is_none() => self.scripted(end, item),
            What::Message(message) => self.receive(end, message, item.content),
            What::Bytes(_) => self.fail("bytes came to an end without a link".into()),
        }
    }

    /// The remote's handshakes are here.
    fn hello(&mut self, end: u32) {
        if self.ends[end as usize].dialled {
            let hello =
                Item { control: EXT_HANDSHAKE, payload: 0, content: Content::Junk, what: What::Hello };
            self.enqueue(end, hello);
            self.link_up(end);
        }
        self.ends[end as usize].known = true;
        let (host, remote) = (self.ends[end as usize].host, self.ends[other(end) as usize].host);
        if self.hosts[host as usize].node.is_none() {
            return;
        }
        let port = self.hosts[remote as usize].addr.port();
        let hub = match self.hosts[remote as usize].actor {
            _ if !self.scenario.near => None,
            Actor::Spy => remote.is_multiple_of(2).then(|| hub_key("http://hub.elsewhere")),
            _ => Some(hub_key(HUB)),
        };
        let mut hello = ExtHandshake {
            hub,
            plain: self.scenario.plain > 0,
            client: zest_core::wire::ext_handshake::CLIENT.into(),
            listen_port: Some(port),
            reqq: Some(zest_core::link::OUTSTANDING_MAX as u32),
            ..ExtHandshake::empty(Dialect::Chunk)
        };
        let pex = self.scenario.finding.is_some_and(|finding| finding.pex);
        for known in Extension::ALL {
            if known != Extension::UtPex || pex {
                hello = hello.with(known, Some(known.id()));
            }
        }
        self.feed(host, Event::Message { link: LinkId(end.into()), message: Message::ExtHandshake(hello) });
    }

    /// Whether a datagram gets through, and how late.
    pub(crate) fn datagram(&mut self) -> Option<u64> {
        let lost = if self.line_is_out().is_some() { 1000 } else { self.scenario.net.lost_permille };
        (!self.dice.net.permille(lost)).then(|| 2 * self.latency() + 100 * US)
    }
}

impl Pipe {
    /// Panics if its counts are wrong.
    pub(crate) fn check_invariants(&self, items: &Pool<Item>) {
        let unsent: u64 = items.iter(self.socket).map(Item::bytes).sum();
        let unacked: u64 = self.acks.iter().map(|(_, bytes)| bytes).sum();
        let idle = self.queue.is_empty() && self.socket.is_empty();
        assert!(idle || unsent + unacked == self.socket_bytes, "the socket's bytes add up");
    }
}
