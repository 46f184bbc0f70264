//! Connections: who is let in, and how a peer is let go or shut out. Whom we dial: `dials.rs`.

use super::event::Direction;
use super::peer::{Peer, Pending};
use super::timers::Timer;
use super::{Action, Event, Node};
use crate::endpoint::Party;
use crate::link::{Outgoing, PeerFault, Severity, ZestMessage};
use crate::{Duration, Instant, JobId, LinkId, PeerId, ReqId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A node that fetches what others fetch lets no more come to it than twice what it dials and so many: 4. Ours; who began
/// first would be known to all otherwise, and who began last to nobody.
const LINKS_MORE: usize = 4;
/// Links that a party may have before it loses some to parties with fewer, where no place is free: 8. Ours; a household or an
/// office behind one address.
pub const PARTY_SHARE: u32 = 8;
/// A network (IPv4 /24, IPv6 /48) counts as so many parties: 4. Ours; who rents a network is not two hundred strangers.
const NETWORK_PARTIES: u32 = 4;
/// Who came to us and asked for nothing and gave nothing for so long makes room where no place is free: 5 s. Ours.
pub const IDLE_GRACE: Duration = Duration::from_secs(5);
/// The same for somebody who did before: 60 s. Ours.
pub const RECORD_GRACE: Duration = Duration::from_secs(60);
/// Links that are being closed at once, at most; as long no more are let in: 64. Ours.
pub const CLOSING_MAX: usize = 64;
/// Links that went down and are remembered, so that a wrong chunk found afterwards still meets its sender. Ours.
pub(crate) const DEPARTED_MAX: usize = 256;

impl Node {
    /// Whether we give and take the same file as many others.
    pub(super) fn is_crowded(&self) -> bool {
        self.jobs.values().any(|job| job.spec.peers && !job.course.ended)
    }

    /// Whether nobody is linked and nobody may be soon.
    pub(super) fn nobody_in_sight(&self) -> bool {
        self.peers.values().all(|p| p.closing) && !self.dialling()
    }

    pub(super) fn link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        id: PeerId,
    ) {
        let inbound = |p: &&Peer| !p.closing && p.who.direction == Direction::Inbound;
        let linked = self.peers.values().filter(|p| !p.closing).count();
        let full = linked >= self.config.peers_max
            || (direction == Direction::Inbound
                && self.peers.values().filter(inbound).count() >= self.config.inbound_max);
        let even = direction == Direction::Inbound
            && self.is_crowded()
            && linked >= self.config.dials_max * 2 + LINKS_MORE;
        let why = if self.contacts.bans.shuts_out(now, addr, direction, id) {
            Some("it is banned")
        } else if self.peers.len() - linked >= CLOSING_MAX {
            Some("many links are being closed")
        } else if self.peers.values().any(|p| {
            p.who.id == id && p.who.direction == direction && !p.closing && is_same_place(p.who.addr, addr)
        }) {
            Some("this peer is linked already")
        } else if full && !self.make_room(now, addr, true) {
            Some("enough peers are linked")
        } else if even && !self.make_room(now, addr, false) {
            Some("a swarm's links are to be spread evenly")
        } else {
            None
        };
        let Some(why) = why else {
            if direction == Direction::Outbound {
                self.dial_linked(now, addr);
            }
            let mut peer = Peer::new(now, addr, id, direction);
            self.remember(now, &mut peer);
            self.uploads.parties.came(peer.wants.upload.party);
            self.peers.insert(link, peer);
            return;
        };
        if direction == Direction::Outbound {
            self.contacts.candidates.remove(&addr);
        }
        self.actions.push_back(Action::Close { link, why });
        self.seek_all(now);
    }

    /// Closes a link of somebody who came to us, for a newcomer from `addr`: one of a party with more than its share, or, with
    /// `idle`, one of which nothing was heard for long. Nobody pushes out those who have fewer links than itself, and those we
    /// dialled stay. False if there is none.
    fn make_room(&mut self, now: Instant, addr: SocketAddr, idle: bool) -> bool {
        let mut networks: BTreeMap<u64, u32> = BTreeMap::new();
        let mut parties: BTreeMap<Party, u32> = BTreeMap::new();
        for peer in self.peers.values().filter(|p| !p.closing) {
            *parties.entry(peer.wants.upload.party).or_default() += 1;
            *networks.entry(peer.wants.upload.party.network()).or_default() += 1;
        }
        let weight = |party: Party| {
            let alone = parties.get(&party).copied().unwrap_or(0);
            alone.max(networks.get(&party.network()).copied().unwrap_or(0) / NETWORK_PARTIES)
        };
        let ours = weight(Party::of(addr.ip()));
        let fits = |peer: &Peer| {
            let theirs = weight(peer.wants.upload.party);
            let grace = if peer.word.useful || peer.wants.served { RECORD_GRACE } else { IDLE_GRACE };
            let is_idle = idle && theirs >= ours && now.since(peer.used_at()) >= grace;
            !peer.closing
                && peer.who.direction == Direction::Inbound
                && (is_idle || theirs >= PARTY_SHARE && theirs > ours + 1)
        };
        let victim = self
            .peers
            .iter()
            .filter(|(_, peer)| fits(peer))
            .max_by_key(|(link, peer)| (weight(peer.wants.upload.party), now.since(peer.used_at()), **link))
            .map(|(link, _)| *link);
        victim.inspect(|link| self.close(*link, "somebody else needs its place")).is_some()
    }

    pub(super) fn link_down(&mut self, now: Instant, link: LinkId, fault: Option<PeerFault>) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.closing = true;
        let wrong = fault.as_ref().is_some_and(|f| f.severity() == Severity::Fatal);
        let jobs = if wrong { peer.part_in() } else { Vec::new() };
        self.unfollow(link);
        self.drop_takings_of(link);
        self.plain_gone(link);
        self.call_off(link, |_| true);
        self.sync_counted(link);
        self.leave_order(link);
        self.drop_uploads(now, link);
        let Some(peer) = self.peers.remove(&link) else { return };
        self.uploads.parties.interests(peer.wants.upload.party, -(peer.wants.interests.len() as i32));
        self.uploads.parties.left(peer.wants.upload.party);
        self.timers.cancel(Timer::Stall(link));
        if self.contacts.departed.len() >= DEPARTED_MAX {
            self.contacts.departed.pop_front();
        }
        self.contacts.departed.push_back((link, peer.who.addr, peer.who.direction, peer.who.id));
        if wrong {
            self.shut_out(now, peer.who.addr, peer.who.direction, peer.who.id, jobs);
        }
        if peer.who.direction == Direction::Outbound {
            if self.contacts.bans.shuts_out(now, peer.who.addr, peer.who.direction, peer.who.id) {
                self.contacts.candidates.remove(&peer.who.addr);
            } else {
                self.dial_over(now, peer.who.addr, peer.word.useful && fault.is_none());
            }
        }
        // Another link under its id, whoever said it, is no sign that it is gone.
        if !self.peers.values().any(|other| other.who.id == peer.who.id && !other.closing) {
            self.owner_gone(now, &peer.who.id);
        }
        self.dial_next(now);
        self.seek_all(now);
        self.asking.more();
    }

    /// Ends a link. What its peer was asked for is up for grabs at once; nothing it still says counts.
    pub(super) fn close(&mut self, link: LinkId, why: &'static str) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if core::mem::replace(&mut peer.closing, true) {
            return;
        }
        self.actions.push_back(Action::Close { link, why });
        self.unfollow(link);
        self.drop_takings_of(link);
        self.plain_gone(link);
        self.call_off(link, |_| true);
        self.sync_counted(link);
        let now = self.now;
        self.leave_order(link);
        self.drop_uploads(now, link);
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.jobs.clear();
            peer.asked.blocks_refused.clear();
            let interests = peer.wants.interests.len() as i32;
            self.uploads.parties.interests(peer.wants.upload.party, -interests);
            peer.wants.interests.clear();
        }
        self.timers.cancel(Timer::Stall(link));
    }

    /// Closes the link of a peer that did wrong and shuts it out, even if the link has gone meanwhile.
    pub(super) fn ban(&mut self, now: Instant, link: LinkId, why: &'static str) {
        let gone = || {
            self.contacts
                .departed
                .iter()
                .find(|(id, ..)| *id == link)
                .map(|(_, addr, way, id)| (*addr, *way, *id))
        };
        let linked = self.peers.get(&link).map(|p| (p.who.addr, p.who.direction, p.who.id));
        let Some((addr, direction, id)) = linked.or_else(gone) else { return };
        let jobs = self.peers.get(&link).map(Peer::part_in).unwrap_or_default();
        self.close(link, why);
        self.shut_out(now, addr, direction, id, jobs);
    }

    fn shut_out(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
        peer_id: PeerId,
        jobs: Vec<JobId>,
    ) {
        if self.contacts.bans.shuts_out(now, addr, direction, peer_id) {
            return;
        }
        let until = self.contacts.bans.ban(now, addr, Some(peer_id));
        self.measured.stats.banned += 1;
        self.actions.push_back(Action::Banned { addr, peer_id, until, jobs });
        // It may have other links, in the other direction or, after several bans, from other ports.
        let same: Vec<LinkId> = self
            .peers
            .iter()
            .filter(|(_, p)| self.contacts.bans.shuts_out(now, p.who.addr, p.who.direction, p.who.id))
            .map(|(link, _)| *link)
            .collect();
        for link in same {
            self.close(link, "it is banned");
        }
    }

    /// Takes requests of some kind back and tells the peer.
    pub(super) fn call_off(&mut self, link: LinkId, which: impl Fn(&Pending) -> bool) {
        let Some(peer) = self.peers.get(&link) else { return };
        let doubted = peer.pace.doubted;
        let tell = !peer.closing;
        let reqs: Vec<ReqId> =
            peer.asked.requests.iter().filter(|(_, r)| which(&r.what)).map(|(req, _)| *req).collect();
        for req in reqs {
            match self.take_request(link, req) {
                Some(Pending::Manifest { job }) => {
                    if let Some(job) = self.jobs.get_mut(&job)
                        && job.lists.ask.is_some_and(|ask| ask.link == link && ask.req == Some(req))
                    {
                        job.lists.ask = None;
                    }
                }
                Some(Pending::List { job, block }) => {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.lists.list_asks.remove(&block);
                    }
                }
                Some(Pending::Chunk { .. } | Pending::Block { .. } | Pending::Tentative { .. }) | None => {}
            }
            if tell {
                self.actions.push_back(Action::Send {
                    link,
                    message: Outgoing::Zest(ZestMessage::Cancel { req: req.0 }),
                });
            }
        }
        if self.peers.get(&link).is_none_or(|p| p.asked.requests.is_empty()) {
            self.timers.cancel(Timer::Stall(link));
        }
        if doubted {
            self.silent_to_the_end(self.now, link);
        }
    }

    /// Takes a request off its peer's list. A chunk that only this request was to give is missing again, a block is
    /// nobody's.
    pub(super) fn take_request(&mut self, link: LinkId, req: ReqId) -> Option<Pending> {
        let request = self.peers.get_mut(&link)?.strike(self.now, req)?;
        let Some(job) = self.jobs.get_mut(&request.what.job()) else { return Some(request.what) };
        match request.what {
            Pending::Chunk { index, .. } => {
                if request.owned && job.sets.asked.remove(&index).is_some() {
                    job.give_back(index);
                    self.asking.recheck = true;
                }
            }
            Pending::Block { block, .. } => {
                job.origin.blocks[block as usize].peer = None;
                job.cover(block as usize);
            }
            Pending::Tentative { job, block, nth } => self.tentative_unasked(link, job, block, nth),
            Pending::Manifest { .. } | Pending::List { .. } => {}
        }
        Some(request.what)
    }

    /// Nobody waits for this request any more; an answer is still welcome.
    pub(super) fn disown(&mut self, link: LinkId, req: ReqId) {
        let before = self.peers.get_mut(&link).and_then(|peer| peer.set_owned(req, false));
        if let Some(Pending::Chunk { job, index }) = before.map(|request| request.what)
            && let Some(job) = self.jobs.get_mut(&job)
        {
            job.sets.raced.insert(index);
        }
    }

    /// Somebody dropped out: others are asked for manifests, and nobody waits for peers that cannot come.
    pub(super) fn seek_all(&mut self, now: Instant) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.seek_manifest(now, id);
        }
    }
}

/// Whether two links of one id in one direction lead to one peer. An id from elsewhere is another peer, whoever said it first:
/// else to say an id would be to keep its owner out. Behind loopback addresses live unrelated processes, told apart by ports.
fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    if one.ip().is_loopback() { one == other } else { one.ip() == other.ip() }
}

/// Kept small: the runtime passes events by value.
const _: () = assert!(size_of::<Event>() <= 160);
