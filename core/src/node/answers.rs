//! What peers answer, and what their silence means.

use super::peer::{Has, Peer, Pending, REFUSED_ROW_MAX, Silence, With};
use super::timers::Timer;
use super::{Action, Node};
use crate::link::PayloadKind;
use crate::{BufId, Instant, JobId, LinkId, ReqId};
use alloc::vec::Vec;

impl Node {
    pub(super) fn payload(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        kind: PayloadKind,
        buf: BufId,
        len: u32,
    ) {
        if self.peers.get(&link).is_none_or(|p| p.closing) {
            self.actions.push_back(Action::Free { buf });
            return;
        }
        if kind == PayloadKind::Plain && self.plain_part(now, link, req, buf) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&link) else { return };
        // A payload that had begun when its request was called off.
        let Some(request) = peer.strike(now, req) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        if let Some(with) = peer.jobs.get_mut(&request.what.job()) {
            with.refused_row = 0;
        }
        let was_on_probation = peer.probation();
        self.measured.income.0 += u64::from(len);
        if self.jobs.get(&request.what.job()).is_some_and(|job| job.is_fast()) {
            self.origin.sparing.came_of_peer(len);
        }
        let took_us = now.since(request.at).as_micros() as u64;
        self.measured.answer_us = if self.measured.answer_us == 0 {
            took_us
        } else {
            (31 * self.measured.answer_us + took_us) / 32
        };
        let queued = peer.queues(now.since(request.at));
        let data = kind == PayloadKind::Chunk;
        let again = peer.progressed(now, request.at, len, data);
        match (request.what, kind) {
            (Pending::Chunk { job, index }, PayloadKind::Chunk) => {
                if request.owned {
                    self.asking.shared.answered(queued);
                }
                self.chunk_answer(link, request.owned, job, index, buf);
            }
            (Pending::Tentative { job, block, nth }, PayloadKind::Chunk) => {
                self.tentative_answer(link, job, block, nth, buf);
            }
            (Pending::List { job, block }, PayloadKind::ManifestPart(part)) => {
                self.list_part(now, link, job, block, buf, part);
            }
            (Pending::Manifest { job }, PayloadKind::ManifestPart(part)) => {
                self.manifest_part(now, link, req, job, buf, part);
            }
            // The link matches payloads to requests; a mismatch here is a peer that answers another question.
            (what, _) => {
                self.undo(link, request.owned, what);
                self.actions.push_back(Action::Free { buf });
                self.ban(now, link, "it answered another question than was asked");
                self.seek_all(now);
                self.asking.due = true;
                return;
            }
        }
        let was_on_probation = was_on_probation && data;
        if was_on_probation {
            self.unlearn(link);
            self.sync_counted(link);
        }
        if was_on_probation || !again.is_empty() {
            again.into_iter().for_each(|req| self.count_on(link, req));
            self.asking.recheck = true;
            self.refill(now);
        } else {
            self.asking.moved(link);
            self.fill_peers(now);
        }
        if matches!(request.what, Pending::Tentative { .. }) {
            self.ask_told(now, link);
        }
        self.watch_peer(now, link);
    }

    /// A peer's chunk goes to its proof, unless it is there already or on its way from elsewhere at the same stage.
    pub(super) fn chunk_answer(&mut self, link: LinkId, owned: bool, id: JobId, index: u32, buf: BufId) {
        let job = self.jobs.get_mut(&id);
        let wanted = job.and_then(|job| {
            let chunk = job.chunk(index)?;
            let other = job.sets.asked.remove(&index);
            (other.is_some() || job.take(index)).then(|| {
                job.sets.proving.insert(index);
                (chunk, other.filter(|_| !owned))
            })
        });
        let Some(((chunk, offset), other)) = wanted else {
            self.measured.stats.chunks_duplicate += 1;
            self.actions.push_back(Action::Free { buf });
            return;
        };
        if let Some((other, req)) = other {
            self.disown(other, req);
        }
        self.actions.push_back(Action::Prove { job: id, index, chunk, offset, buf, link });
    }

    /// What a request that is struck off its list was to give is up for grabs again.
    fn undo(&mut self, link: LinkId, owned: bool, what: Pending) {
        let Some(job) = self.jobs.get_mut(&what.job()) else { return };
        match what {
            Pending::Chunk { index, .. } => {
                if owned && job.sets.asked.remove(&index).is_some() {
                    job.give_back(index);
                    self.asking.recheck = true;
                }
            }
            Pending::Block { block, .. } => {
                job.origin.blocks[block as usize].peer = None;
                job.cover(block as usize);
            }
            Pending::List { block, .. } => {
                job.lists.list_asks.remove(&block);
            }
            Pending::Tentative { job, block, nth } => self.tentative_unasked(link, job, block, nth),
            Pending::Manifest { .. } => {
                if job.lists.ask.is_some_and(|ask| ask.link == link && !ask.proving) {
                    job.lists.ask = None;
                }
            }
        }
    }

    /// A peer that was in doubt is alive: this request of its counts again, if nobody else took over.
    fn count_on(&mut self, link: LinkId, req: ReqId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let Some(Pending::Chunk { job, index }) = peer.asked.requests.get(&req).map(|request| request.what)
        else {
            return;
        };
        if let Some(job) = self.jobs.get_mut(&job)
            && job.wants()
            && job.take(index)
        {
            job.sets.asked.insert(index, (link, req));
            peer.set_owned(req, true);
        }
    }

    /// Others may be asked for what this request was to give; its answer is still welcome.
    pub(super) fn count_off(&mut self, link: LinkId, req: ReqId) -> Option<JobId> {
        let peer = self.peers.get_mut(&link)?;
        let request = *peer.asked.requests.get(&req)?;
        let Pending::Chunk { job: id, index } = request.what else { return None };
        if !request.owned {
            return None;
        }
        peer.set_owned(req, false);
        let job = self.jobs.get_mut(&id)?;
        job.sets.raced.insert(index);
        if job.sets.asked.remove(&index).is_some() {
            job.give_back(index);
            self.asking.recheck = true;
        }
        Some(id)
    }

    /// The same for all that a peer was asked for; the origin helps with it where nobody waits, unless the others give enough.
    pub(super) fn count_all_off(&mut self, link: LinkId) {
        let Some(peer) = self.peers.get(&link) else { return };
        let reqs: Vec<ReqId> = peer.asked.requests.keys().copied().collect();
        let give = |(other, peer): &(&LinkId, &Peer)| **other != link && peer.counts() && !peer.pace.doubted;
        let others: u64 = self.peers.iter().filter(give).map(|(_, peer)| peer.pace.rate_bytes_s).sum();
        let slow = others < self.config.joins_below();
        for req in reqs {
            if let Some(id) = self.count_off(link, req).filter(|_| slow)
                && let Some(job) = self.jobs.get_mut(&id)
            {
                job.origin.joined |= job.is_fast() && !job.streams_beside_others();
            }
        }
    }

    /// A chunk is here: whoever else was asked for it need not send it.
    pub(super) fn call_off_others(&mut self, now: Instant, id: JobId, index: u32) {
        if !self.jobs.get_mut(&id).is_some_and(|job| job.sets.raced.remove(&index)) {
            return;
        }
        let what = Pending::Chunk { job: id, index };
        let with: Vec<LinkId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.asked.unowned > 0 && peer.asked.requests.values().any(|r| !r.owned && r.what == what)
            })
            .map(|(link, _)| *link)
            .collect();
        for link in with {
            self.call_off(link, |other| *other == what);
            self.asking.moved(link);
            self.watch_peer(now, link);
        }
    }

    pub(super) fn not_found(&mut self, now: Instant, link: LinkId, req: ReqId) {
        if self.plain_none(now, link, req) {
            return;
        }
        let Some(what) = self.take_request(link, req) else { return };
        let id = what.job();
        match what {
            Pending::Chunk { index, .. } => self.refused(now, link, id, index),
            Pending::Block { block, .. } => {
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.asked.blocks_refused.insert((id, block));
                    peer.asked.dry = false;
                }
            }
            Pending::Manifest { .. } => self.manifest_refused(now, link, id),
            Pending::List { block, .. } => self.list_refused(now, link, id, block),
            Pending::Tentative { block, .. } => self.tentative_refused(now, link, id, block),
        }
        self.asking.moved(link);
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// The peer lacks a chunk, whatever it said: on this link and on any other that it has.
    fn refused(&mut self, now: Instant, link: LinkId, id: JobId, index: u32) {
        let (Some(job), Some(peer)) = (self.jobs.get_mut(&id), self.peers.get_mut(&link)) else { return };
        let Some(with) = peer.jobs.get_mut(&id) else { return };
        let len = job.len();
        with.refused_row += 1;
        let said = matches!(with.has, Has::All | Has::Some(_));
        peer.word.refused += u32::from(said);
        let distrusted = peer.word.refused >= super::peer::REFUSED_MAX;
        peer.word.denied |= distrusted;
        with.unbelieved |= with.refused_row >= REFUSED_ROW_MAX;
        // Whoever has lost a part of what it has had is good for the rest. Who fetches it says what it has as it comes.
        let denies = said && peer.fetches(&job.spec.file) && peer.word.lacks();
        let machine = peer.machine();
        for (other, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.machine() == machine) {
            let concerned = |with: &&mut With| *other == link || with.has.may_have(index);
            let Some(with) = peer.jobs.get_mut(&id).filter(concerned) else { continue };
            if with.counted {
                job.supply.remove(&with.has);
            }
            match with.unbelieved {
                true => with.has = Has::None,
                false => with.has.lacks(index, len),
            }
            if with.counted {
                job.supply.add(&with.has);
            }
        }
        if distrusted {
            self.distrust(now, link);
        }
        if denies {
            self.found_to_deny(now, link, id);
        }
        if said {
            self.word_denied(now, link, id, index);
        }
    }

    pub(super) fn manifest_none(&mut self, now: Instant, link: LinkId, req: ReqId) {
        if let Some(Pending::Manifest { .. } | Pending::List { .. }) =
            self.peers.get(&link).and_then(|p| p.asked.requests.get(&req)).map(|r| r.what)
        {
            self.not_found(now, link, req);
        }
    }

    /// The end of a xorb range that was decoded while it arrived.
    pub(super) fn block_from_peer(&mut self, now: Instant, link: LinkId, req: ReqId, good: bool) {
        let asked = self.peers.get(&link).and_then(|p| p.asked.requests.get(&req)).copied();
        if let Some(request) = asked
            && let Pending::Block { job, block } = request.what
        {
            self.take_request(link, req);
            if let Some(peer) = self.peers.get_mut(&link) {
                let bytes = u32::try_from(peer.pace.block_bytes).unwrap_or(u32::MAX);
                peer.progressed(now, now, if good { bytes } else { 0 }, true);
                peer.asked.dry = false;
                // What it did not give this time it will not give the next.
                peer.asked.blocks_refused.insert((job, block));
            }
            self.sync_counted(link);
            self.asking.moved(link);
        }
        if !good {
            self.ban(now, link, "it sent a xorb range that failed its proof");
        }
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// Sees to it that the peer's silence is looked at in time.
    pub(super) fn watch_peer(&mut self, now: Instant, link: LinkId) {
        match self.peers.get(&link).and_then(|p| p.deadline()) {
            Some((at, _)) => self.timers.set_no_later(Timer::Stall(link), at.max(now)),
            None => self.timers.cancel(Timer::Stall(link)),
        }
    }

    /// What a peer sends is read from now on, or left lying.
    pub(super) fn intake(&mut self, now: Instant, link: LinkId, open: bool) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.intake(now, open);
            self.watch_peer(now, link);
        }
    }

    /// The peer may have been silent for too long.
    pub(super) fn silent(&mut self, now: Instant, link: LinkId) {
        let Some((at, what)) = self.peers.get(&link).and_then(|p| p.deadline()) else { return };
        if at > now {
            self.timers.set(Timer::Stall(link), at);
            return;
        }
        match what {
            Silence::Doubt => self.doubt(link),
            Silence::Stall => self.stall(now, link),
        }
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// Nobody relies on the peer for now: others take over, the origin too, and whoever is first is welcome.
    fn doubt(&mut self, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.doubt();
        self.count_all_off(link);
        let now = self.now;
        self.learn_how_slow(now);
        self.asking.moved(link);
    }

    fn stall(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !peer.stalled(now) {
            self.close(link, "it answered nothing for too long");
            self.seek_all(now);
            return;
        }
        let manifests: Vec<JobId> = peer
            .asked
            .requests
            .values()
            .filter_map(|r| if let Pending::Manifest { job } = r.what { Some(job) } else { None })
            .collect();
        // Nobody relies on its chunks any more; should they come after all, they are welcome.
        self.learn(now, link);
        self.call_off(link, |what| !matches!(what, Pending::Chunk { .. }));
        for id in manifests {
            self.manifest_slow(now, link, id);
        }
        self.sync_counted(link);
        self.asking.moved(link);
    }
}
