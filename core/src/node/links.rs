//! Connections: who is let in, and how a peer is let go or shut out. Whom we dial: `dials.rs`.

use super::event::Direction;
use super::peer::{Peer, Pending};
use super::timers::Timer;
use super::{Action, Event, Node};
use crate::link::{Outgoing, PeerFault, Severity};
use crate::{Instant, JobId, LinkId, PeerId, ReqId};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A node that fetches what others fetch lets no more come to it than twice what it dials and so many: 4. Ours; who began
/// first would be known to all otherwise, and who began last to nobody.
const LINKS_MORE: usize = 4;
/// Links that went down and are remembered, so that a wrong chunk found afterwards still meets its sender. Ours.
pub(crate) const DEPARTED_MAX: usize = 256;

impl Node {
    /// Whether we give and take the same file as many others.
    pub(super) fn is_crowded(&self) -> bool {
        self.jobs.values().any(|job| job.spec.peers && !job.ended)
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
            if direction == Direction::Outbound {
                self.dial_linked(now, addr);
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
                self.dial_over(now, peer.addr, peer.useful && fault.is_none());
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
