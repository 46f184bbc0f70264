//! Between the node and its links: the only file that knows the node's words. Events go in, actions are performed.

use crate::clerk::{Question, location};
use crate::core::Core;
use crate::disk::Staged;
use crate::files::State;
use crate::inbox::Mail;
use crate::kept::Small;
use crate::link::{LinkIo, XorbAsk};
use crate::small::Ask;
use crate::stats::add;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;
use zest_core::endpoint::{Scope, scope};
use zest_core::link::{self, Body, Dialect, ExtHandshake, Head, ManifestPart, Message, Outgoing, Severity};
use zest_core::node::{Action, Direction, Event, ManifestPlace};
use zest_core::pex;
use zest_core::wire::zest::{MANIFEST_PART_RECORDS_MAX, plain_part_len};
use zest_core::{LinkId, Location, ReqId, wire};
use zest_send::Span;
use zest_store::{Access, FileId};
use zest_xet::{Hash, MANIFEST_RECORD_BYTES};

impl Core {
    /// Takes an event in and performs what follows, in order. Performing may raise further events; they queue up.
    pub(crate) fn event(self: &Rc<Self>, event: Event) {
        self.events.borrow_mut().push_back(event);
        if !self.busy.replace(true) {
            self.work_off();
        }
    }

    fn work_off(self: &Rc<Self>) {
        loop {
            let Some(event) = self.events.borrow_mut().pop_front() else { break };
            let now = self.node_now();
            self.node.borrow_mut().handle(now, event);
            loop {
                let Some(action) = self.node.borrow_mut().poll_action() else { break };
                self.perform(action);
            }
            #[cfg(debug_assertions)]
            self.node.borrow().check_invariants();
        }
        self.busy.set(false);
        self.node_timer_moved();
    }

    /// Payload bytes of a link were taken by its socket: the node may have more for it, or for others.
    pub(crate) fn sent(self: &Rc<Self>, link: LinkId, bytes: u64) {
        if bytes > 0 {
            self.event(Event::Sent { link, bytes });
        }
    }

    fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::Send { link, message } => {
                let io = self.links.borrow().get(&link).cloned();
                if let Some(io) = io {
                    self.send(&io, message);
                }
            }
            Action::Close { link, why } => {
                tracing::debug!(link = link.0, why, "closing a link");
                if let Some(io) = self.links.borrow().get(&link) {
                    io.close();
                }
            }
            Action::Hold { link, until } => {
                if let Some(io) = self.links.borrow().get(&link) {
                    io.held.set(Some(self.lived.get().wall(until)));
                }
            }
            Action::LookupChunk { .. } | Action::LookupManifest { .. } => self.look_up(action),
            Action::LookupFile { link, file } => {
                let found = self.shelf.borrow().manifest(&file, self.access_of(link), now_s());
                let (total, runs) = match found {
                    // Its chunk list may outlive a file: then it is known, but nothing of it is here.
                    Some((list, true)) if list.count > 0 => (list.count, vec![(0, list.count)]),
                    Some((list, _)) => (list.count, Vec::new()),
                    None => (0, Vec::new()),
                };
                self.event(Event::FileLocated { link, file, total, runs });
            }
            Action::LookupPlain { link, req, key, size, offset } => {
                let access = self.access_of(link);
                match &self.small_clerk {
                    Some(clerk) => clerk.ask(&self.inbox, Ask { link, req, key, size, offset, access }),
                    None => self.event(Event::PlainLocated { link, req, body: None }),
                }
            }
            Action::LookupXorb { link, req, xorb, start, end } => {
                let io = self.links.borrow().get(&link).cloned();
                if let Some(io) = io {
                    io.xorbs.borrow_mut().push_back((req, xorb, start, end));
                    io.next_xorb(self);
                }
            }
            Action::Banned { addr, peer_id, until, jobs: _ } => {
                let secs = (until - self.lived.get().seems(self.now())).as_secs();
                tracing::warn!(%addr, ?peer_id, secs, "peer shut out: it broke the protocol");
            }
            // This runtime only gives: it has no jobs, so nothing is dialled, fetched, proven or copied.
            Action::Dial { addr, .. } => self.event(Event::DialFailed { addr }),
            Action::Prove { .. }
            | Action::Free { .. }
            | Action::KeepManifestPart { .. }
            | Action::ProveBlockList { .. }
            | Action::ProveTentative { .. }
            | Action::DropTentative { .. }
            | Action::AdoptBlockList { .. }
            | Action::CopyLocal { .. }
            | Action::OriginPlan { .. }
            | Action::OriginFetch { .. }
            | Action::OriginStop { .. }
            | Action::PlainCame { .. }
            | Action::PlainAlone { .. }
            | Action::Complete { .. }
            | Action::Failed { .. } => debug_assert!(false, "a node without jobs asks for none of these"),
        }
    }

    /// Performs again what waited for a file to be opened. All of it before the node hears of any: what it then asks for
    /// comes behind.
    pub(crate) fn resume(self: &Rc<Self>, actions: Vec<Action>) {
        let outer = self.busy.replace(true);
        for action in actions {
            let (Action::LookupChunk { link, .. } | Action::LookupManifest { link, .. }) = &action else {
                continue;
            };
            if let Some(io) = self.links.borrow().get(link) {
                io.lookups.set(io.lookups.get() - 1);
            }
            self.look_up(action);
        }
        if !outer {
            self.work_off();
        }
    }

    /// Finds a chunk or a part of a chunk list; if its file is not open yet, when it is.
    fn look_up(self: &Rc<Self>, action: Action) {
        match action {
            Action::LookupChunk { link, req, hash, dialect } => {
                let shelf = self.shelf.borrow().clone();
                let (mut listed, access) = (false, self.access_of(link));
                for found in shelf.places(&hash, access, now_s()) {
                    listed = true;
                    let place = Some(location(&found));
                    if self.cache.borrow().contains(&hash) || self.is_good(found.file) {
                        return self.event(Event::ChunkLocated { link, req, hash, dialect, place });
                    }
                    if self.wait_for(link, found.file, || Action::LookupChunk { link, req, hash, dialect }) {
                        return;
                    }
                }
                if !listed && shelf.has_originals() {
                    return self.clerk.ask(&self.inbox, Question::Chunk { link, req, hash, dialect, access });
                }
                self.event(Event::ChunkLocated { link, req, hash, dialect, place: None });
            }
            Action::LookupManifest { link, req, file, first, count } => {
                let found = self.shelf.borrow().manifest(&file, self.access_of(link), now_s());
                let Some((list, _)) = found else {
                    return self.event(Event::ManifestLocated { link, req, place: None });
                };
                let again = || Action::LookupManifest { link, req, file, first, count };
                if !self.is_good(list.records) && self.wait_for(link, list.records, again) {
                    return;
                }
                let count = count.min(MANIFEST_PART_RECORDS_MAX).min(list.count.saturating_sub(first));
                let good = count > 0 && self.is_good(list.records);
                let place = good.then(|| ManifestPlace {
                    part: ManifestPart { file_size: list.size, total: list.count, first, count },
                    records: Body::File(Location {
                        file: zest_core::FileId(list.records.0),
                        offset: list.records_offset + u64::from(first) * MANIFEST_RECORD_BYTES as u64,
                        len: count * MANIFEST_RECORD_BYTES as u32,
                    }),
                });
                self.event(Event::ManifestLocated { link, req, place });
            }
            _ => {}
        }
    }

    /// What a linked peer may have.
    fn access_of(&self, link: LinkId) -> Access {
        if self.node.borrow().is_near(link) { Access::Near } else { Access::Share }
    }

    /// Whether a file is open and unchanged. One that changed is given up.
    fn is_good(&self, file: FileId) -> bool {
        let State::Open(open) = self.files.borrow_mut().state(file, self.now()) else { return false };
        let good = open.is_unchanged();
        if !good {
            self.forget(file);
        }
        good
    }

    /// Has a look-up wait for a file that is not open yet. False if there is nothing to wait for.
    fn wait_for(self: &Rc<Self>, link: LinkId, file: FileId, action: impl FnOnce() -> Action) -> bool {
        let state = self.files.borrow_mut().state(file, self.now());
        if !matches!(state, State::Unknown | State::Opening) {
            return false;
        }
        self.open(file);
        if let Some(io) = self.links.borrow().get(&link) {
            io.lookups.set(io.lookups.get() + 1);
        }
        let mut files = self.files.borrow_mut();
        let waiting = files.waiting(file).expect("it is being opened");
        waiting.lookups.push(action());
        true
    }

    pub(crate) fn ask_xorb(&self, link: LinkId, (req, xorb, start, end): XorbAsk) {
        let access = self.access_of(link);
        self.clerk.ask(&self.inbox, Question::Xorb { link, req, xorb, start, end, access });
    }

    /// What the clerk found.
    pub(crate) fn answered(self: &Rc<Self>, event: Event) {
        let io = match &event {
            Event::XorbLocated { link, .. } => self.links.borrow().get(link).cloned(),
            _ => None,
        };
        if let Some(io) = &io {
            io.xorb_asked.set(false);
        }
        self.event(event);
        if let Some(io) = io {
            io.next_xorb(self);
        }
    }

    /// A small file was looked for, and this part of it asked.
    pub(crate) fn small_found(
        self: &Rc<Self>,
        link: LinkId,
        req: ReqId,
        (size, offset): (u32, u32),
        found: Option<Small>,
    ) {
        let part = found.zip(plain_part_len(size, offset));
        let body = part.map(|(small, len)| {
            let id = small.id;
            let mut kept = self.small.borrow_mut();
            if kept.asked(|known| known.id == id, |_| true).is_none() {
                kept.keep(small.bytes.len(), small);
            }
            Body::Buf { id, offset, len }
        });
        self.event(Event::PlainLocated { link, req, body });
    }

    /// The node's word to a link.
    fn send(self: &Rc<Self>, io: &Rc<LinkIo>, message: Outgoing) {
        io.link.borrow_mut().handle(self.now(), link::Event::Send(message));
        self.drain(io);
        io.wake();
    }

    /// Takes a link's actions.
    pub(crate) fn drain(self: &Rc<Self>, io: &Rc<LinkIo>) {
        loop {
            let Some(action) = io.link.borrow_mut().poll_action() else { break };
            match action {
                link::Action::Transmit { head, body, chunk } => {
                    add(&self.stats.chunks_served, u64::from(chunk.is_some()));
                    self.enqueue(io, head, body, chunk);
                }
                link::Action::Established { peer_id, .. } => {
                    io.established.set(true);
                    self.lobby.borrow_mut().left(io.id);
                    let (link, addr) = (io.id, io.addr);
                    self.stats.came_in(scope(addr.ip()));
                    self.event(Event::LinkUp { link, addr, direction: Direction::Inbound, peer_id });
                }
                link::Action::Message(message) => {
                    if let Message::ExtHandshake(hello) = &message {
                        self.introduced(io, hello);
                    }
                    self.event(Event::Message { link: io.id, message });
                }
                link::Action::Close { why } => {
                    io.fault.set(Some(why));
                    io.close();
                }
                // Nothing is asked for here, so the link lets no payload begin.
                link::Action::PayloadStart { .. }
                | link::Action::PayloadBytes { .. }
                | link::Action::PayloadEnd { .. } => debug_assert!(false, "a payload that nobody asked for"),
            }
        }
    }

    /// A peer said what it speaks: those who take exchanges are told of it, on all cores.
    fn introduced(self: &Rc<Self>, io: &LinkIo, hello: &ExtHandshake) {
        let (link, addr, direction) = (io.id, io.addr, Direction::Inbound);
        self.tell_pex(pex::Event::Introduced { link, addr, direction, hello, allow: true });
        let listens = pex::listens_at(addr, direction, hello);
        let listens =
            listens.filter(|at| scope(at.ip()) > Scope::Loopback && !io.known_elsewhere.replace(true));
        if let Some(listens) = listens {
            self.others.iter().for_each(|core| core.post(Mail::PeerUp { link, listens }));
        }
    }

    /// Another core has a link to a peer that listens there. On which link it is told of others is that core's business.
    pub(crate) fn introduced_elsewhere(self: &Rc<Self>, link: LinkId, listens: SocketAddr) {
        let mut hello = ExtHandshake::empty(Dialect::Chunk);
        hello.listen_port = Some(listens.port());
        let (direction, allow) = (Direction::Inbound, true);
        self.tell_pex(pex::Event::Introduced { link, addr: listens, direction, hello: &hello, allow });
    }

    /// Takes in who is linked, and has those who take exchanges told. What they tell is not listened to: nobody is dialled from here.
    pub(crate) fn tell_pex(self: &Rc<Self>, event: pex::Event<'_>) {
        self.pex.borrow_mut().handle(self.now(), event);
        loop {
            let Some(action) = self.pex.borrow_mut().poll_action() else { break };
            let pex::Action::Send { link, added, dropped } = action else { continue };
            let io = self.links.borrow().get(&link).cloned();
            if let Some(io) = io {
                self.send(&io, Outgoing::Pex(wire::pex::Pex { added, dropped }));
            }
        }
    }

    /// A connection is over.
    pub(crate) fn link_ended(self: &Rc<Self>, io: &LinkIo) {
        let fault = io.fault.take();
        if let Some(fault) = &fault {
            if fault.severity() == Severity::Fatal {
                tracing::warn!(%fault, link = io.id.0, "peer broke the protocol");
            } else {
                tracing::debug!(%fault, link = io.id.0, "link closed");
            }
        }
        self.links.borrow_mut().remove(&io.id);
        self.lobby.borrow_mut().left(io.id);
        self.count_links();
        if io.established.get() {
            self.tell_pex(pex::Event::LinkDown { link: io.id });
            if io.known_elsewhere.get() {
                self.others.iter().for_each(|core| core.post(Mail::PeerDown { link: io.id }));
            }
            self.event(Event::LinkDown { link: io.id, fault });
        }
    }

    pub(crate) fn note_stats(&self) {
        let node = self.node.borrow().stats();
        self.stats.peers.store(u64::from(node.peers), Relaxed);
        self.stats.banned.store(u64::from(node.banned), Relaxed);
        self.stats.small_files_given.store(node.plain_files_served, Relaxed);
        self.stats.cache_bytes.store(self.cache.borrow().memory_bytes() as u64, Relaxed);
    }

    fn enqueue(&self, io: &LinkIo, head: Head, body: Option<Body>, hash: Option<Hash>) {
        match body {
            None => io.push(head, None),
            Some(Body::File(place)) if place.len > 0 => {
                let file = FileId(place.file.0);
                io.push(head, Some(Span { file, offset: place.offset, len: place.len, hash }));
            }
            Some(Body::Buf { id, offset, len }) if len > 0 => {
                let bytes = self.small.borrow().get(|small| small.id == id).map(|small| small.bytes.clone());
                let part = bytes.and_then(|bytes| Staged::part(bytes, offset, len));
                match part {
                    Some(part) => io.push_bytes(head, part),
                    // Others were asked for meanwhile and it is forgotten, but its head is promised.
                    None => io.close(),
                }
            }
            // Nothing empty is located.
            Some(_) => io.close(),
        }
    }
}

/// Seconds since 1970, by which public proofs run out.
fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
