//! Connections: whom we dial, who is let in, and how a peer is let go or shut out.

use super::event::Direction;
use super::peer::{Peer, Pending};
use super::timers::Timer;
use super::{Action, CANDIDATES_MAX, Event, Found, Node};
use crate::link::{Outgoing, PeerFault, Severity};
use crate::{Duration, InfoHash, Instant, JobId, LinkId, PeerId, ReqId};
use alloc::vec::Vec;
use core::net::SocketAddr;
use zest_xet::Hash;

/// Dials of one address in a row, without anything useful in between, before it is given up. Ours.
const DIALS_MAX: u32 = 5;
/// Pause before the second dial of an address: 1 s, doubles. Ours.
const REDIAL: Duration = Duration::from_secs(1);
/// Pause before an address is looked at again that could not be dialled because all places were taken: 30 s. Ours.
const REDIAL_FULL: Duration = Duration::from_secs(30);
/// A node that fetches what others fetch lets no more come to it than twice what it dials and so many: 4. Ours; who began
/// first would be known to all otherwise, and who began last to nobody.
const LINKS_MORE: usize = 4;
/// Links that went down and are remembered, so that a wrong chunk found afterwards still meets its sender. Ours.
pub(crate) const DEPARTED_MAX: usize = 256;

/// An address we may dial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    how: Found,
    dials: u32,
    pub(crate) state: Dial,
}

/// What is done about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    /// It waits for its [`Timer::Redial`].
    Waiting,
    /// The outcome of a dial is awaited.
    Dialling,
    /// A link to it is up.
    Linked,
}

impl Node {
    pub(super) fn peer_found(&mut self, now: Instant, addr: SocketAddr, how: Found) {
        if let Some(candidate) = self.candidates.get_mut(&addr) {
            candidate.how = candidate.how.min(how);
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX || self.bans.is_banned(now, addr, None) {
            return;
        }
        self.candidates.insert(addr, Candidate { dials: 0, state: Dial::Waiting, how });
        self.redial(now, addr);
    }

    /// Whether one more address that nobody named may be dialled.
    fn dials_more(&self) -> bool {
        let out = |c: &&Candidate| c.how != Found::Named && c.state != Dial::Waiting;
        self.candidates.values().filter(out).count() < self.config.dials_max
    }

    /// A place is free: somebody who waits only for that is dialled.
    fn dial_next(&mut self, now: Instant) {
        if !self.dials_more() {
            return;
        }
        let waits = |c: &Candidate| c.state == Dial::Waiting && c.dials == 0 && c.how != Found::Named;
        let next = self.candidates.iter().filter(|(_, c)| waits(c)).min_by_key(|(_, c)| c.how);
        if let Some(addr) = next.map(|(addr, _)| *addr) {
            self.timers.cancel(Timer::Redial(addr));
            self.redial(now, addr);
        }
    }

    pub(super) fn redial(&mut self, now: Instant, addr: SocketAddr) {
        if self.bans.is_banned(now, addr, None) {
            self.candidates.remove(&addr);
            return;
        }
        let swarm = self.jobs.values().find(|j| j.spec.peers && !j.ended).map(|j| j.spec.file);
        let more = self.dials_more();
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        if candidate.state != Dial::Waiting {
            return;
        }
        let enough = !more && candidate.how != Found::Named;
        if enough || self.peers.len() >= self.config.peers_max || self.peers.values().any(|p| p.addr == addr)
        {
            self.timers.set(Timer::Redial(addr), now + REDIAL_FULL);
            return;
        }
        candidate.state = Dial::Dialling;
        candidate.dials += 1;
        // Any swarm will do: a connection serves every file that both ends share.
        let info_hash = InfoHash::of_file(&swarm.unwrap_or(Hash::ZERO));
        self.actions.push_back(Action::Dial { addr, info_hash });
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.dial_later(now, addr);
        self.dial_next(now);
        self.seek_all(now);
    }

    fn dial_later(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        candidate.state = Dial::Waiting;
        if candidate.dials >= DIALS_MAX || self.bans.is_banned(now, addr, None) {
            self.candidates.remove(&addr);
            self.timers.cancel(Timer::Redial(addr));
        } else {
            let pause = REDIAL * (1 << candidate.dials.saturating_sub(1));
            self.timers.set(Timer::Redial(addr), now + pause);
        }
    }

    /// Whether we give and take the same file as many others.
    fn is_crowded(&self) -> bool {
        self.jobs.values().any(|job| job.spec.peers && !job.ended)
    }

    /// Whether the outcome of a dial is awaited.
    pub(super) fn dialling(&self) -> bool {
        self.candidates.values().any(|c| c.state == Dial::Dialling)
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
        let inbound = || self.peers.values().filter(|p| p.direction == Direction::Inbound).count();
        let why = if self.bans.is_banned(now, addr, Some(id)) {
            Some("it is banned")
        } else if self.peers.len() >= self.config.peers_max
            || (direction == Direction::Inbound && inbound() >= self.config.inbound_max)
        {
            Some("enough peers are linked")
        } else if direction == Direction::Inbound
            && self.is_crowded()
            && self.peers.len() >= self.config.dials_max * 2 + LINKS_MORE
        {
            Some("a swarm's links are to be spread evenly")
        } else if self.peers.values().any(|p| p.id == id && p.direction == direction && !p.closing) {
            Some("this peer is linked already")
        } else {
            None
        };
        let Some(why) = why else {
            if let Some(candidate) =
                self.candidates.get_mut(&addr).filter(|_| direction == Direction::Outbound)
            {
                candidate.state = Dial::Linked;
            }
            self.peers.insert(link, Peer::new(now, addr, id, direction));
            return;
        };
        if direction == Direction::Outbound {
            self.candidates.remove(&addr);
        }
        self.actions.push_back(Action::Close { link, why });
        self.seek_all(now);
    }

    pub(super) fn link_down(&mut self, now: Instant, link: LinkId, fault: Option<PeerFault>) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.closing = true;
        self.call_off(link, |_| true);
        self.sync_counted(link);
        self.reorder(now, link);
        self.drop_uploads(now, link);
        let Some(peer) = self.peers.remove(&link) else { return };
        self.timers.cancel(Timer::Stall(link));
        if self.departed.len() >= DEPARTED_MAX {
            self.departed.pop_front();
        }
        self.departed.push_back((link, peer.addr, peer.id));
        if fault.is_some_and(|f| f.severity() == Severity::Fatal) {
            self.shut_out(now, peer.addr, peer.id);
        }
        if peer.direction == Direction::Outbound {
            if self.bans.is_banned(now, peer.addr, Some(peer.id)) {
                self.candidates.remove(&peer.addr);
            } else {
                // Only what a link gave before it broke off earns its address new dials.
                if let Some(candidate) =
                    self.candidates.get_mut(&peer.addr).filter(|_| peer.useful && fault.is_none())
                {
                    candidate.dials = 1;
                }
                self.dial_later(now, peer.addr);
            }
        }
        self.owner_gone(now, &peer.id);
        self.dial_next(now);
        self.seek_all(now);
        self.stirred = true;
        self.refill(now);
    }

    /// Ends a link. What its peer was asked for is up for grabs at once; nothing it still says counts.
    pub(super) fn close(&mut self, link: LinkId, why: &'static str) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if core::mem::replace(&mut peer.closing, true) {
            return;
        }
        self.actions.push_back(Action::Close { link, why });
        self.call_off(link, |_| true);
        self.sync_counted(link);
        let now = self.now;
        self.reorder(now, link);
        self.drop_uploads(now, link);
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.jobs.clear();
            peer.blocks_refused.clear();
            peer.interests.clear();
        }
        self.timers.cancel(Timer::Stall(link));
    }

    /// Closes the link of a peer that did wrong and shuts it out, even if the link has gone meanwhile.
    pub(super) fn ban(&mut self, now: Instant, link: LinkId, why: &'static str) {
        let gone = || self.departed.iter().find(|(id, ..)| *id == link).map(|(_, addr, id)| (*addr, *id));
        let Some((addr, id)) = self.peers.get(&link).map(|p| (p.addr, p.id)).or_else(gone) else { return };
        self.close(link, why);
        self.shut_out(now, addr, id);
    }

    fn shut_out(&mut self, now: Instant, addr: SocketAddr, peer_id: PeerId) {
        if self.bans.is_banned(now, addr, Some(peer_id)) {
            return;
        }
        let until = self.bans.ban(now, addr, Some(peer_id));
        self.stats.banned += 1;
        self.actions.push_back(Action::Banned { addr, peer_id, until });
        // It may have other links, in the other direction or, after several bans, from other ports.
        let same: Vec<LinkId> = self
            .peers
            .iter()
            .filter(|(_, p)| self.bans.is_banned(now, p.addr, Some(p.id)))
            .map(|(link, _)| *link)
            .collect();
        for link in same {
            self.close(link, "it is banned");
        }
    }

    /// Takes requests of some kind back and tells the peer.
    pub(super) fn call_off(&mut self, link: LinkId, which: impl Fn(&Pending) -> bool) {
        let Some(peer) = self.peers.get(&link) else { return };
        let tell = !peer.closing;
        let reqs: Vec<ReqId> =
            peer.requests.iter().filter(|(_, r)| which(&r.what)).map(|(req, _)| *req).collect();
        for req in reqs {
            match self.take_request(link, req) {
                Some(Pending::Manifest { job }) => {
                    if let Some(job) = self.jobs.get_mut(&job)
                        && job.ask.is_some_and(|ask| ask.link == link && ask.req == Some(req))
                    {
                        job.ask = None;
                    }
                }
                Some(Pending::List { job, block }) => {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.list_asks.remove(&block);
                    }
                }
                Some(Pending::Chunk { .. } | Pending::Block { .. }) | None => {}
            }
            if tell {
                self.actions.push_back(Action::Send { link, message: Outgoing::Cancel { req } });
            }
        }
        if self.peers.get(&link).is_none_or(|p| p.requests.is_empty()) {
            self.timers.cancel(Timer::Stall(link));
        }
    }

    /// Takes a request off its peer's list. A chunk that only this request was to give is missing again, a block is
    /// nobody's.
    pub(super) fn take_request(&mut self, link: LinkId, req: ReqId) -> Option<Pending> {
        let request = self.peers.get_mut(&link)?.strike(self.now, req)?;
        let Some(job) = self.jobs.get_mut(&request.what.job()) else { return Some(request.what) };
        match request.what {
            Pending::Chunk { index, .. } => {
                if request.owned && job.asked.remove(&index).is_some() {
                    job.give_back(index);
                    self.stirred = true;
                }
            }
            Pending::Block { block, .. } => {
                job.blocks[block as usize].peer = None;
                job.cover(block as usize);
            }
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
            job.raced.insert(index);
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

/// Kept small: the runtime passes events by value.
const _: () = assert!(core::mem::size_of::<Event>() <= 160);
