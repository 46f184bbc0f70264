//! Getting a file's manifest from peers: one is asked at a time, part by part, and the next takes over when it is slow,
//! silent or has none.

use super::peer::{Has, Peer, Pending, REFUSED_ROW_MAX, Willing};
use super::timers::Timer;
use super::{Action, Node};
use crate::link::{ManifestPart, Outgoing, ZestMessage};
use crate::{BufId, Duration, Instant, JobId, LinkId, ReqId};
use alloc::vec::Vec;
use zest_xet::chunk_count_max;

/// Records asked for at first: 4,096, 144 KiB. Ours; a slow peer can send that before it counts as stalled.
const PART_RECORDS_FIRST: u32 = 4096;
/// Records asked for of a peer that answers quickly: the most that one part carries.
const PART_RECORDS: u32 = crate::wire::zest::MANIFEST_PART_RECORDS_MAX;
/// An answer within this time is quick: 250 ms. Ours.
const PART_QUICK: Duration = Duration::from_millis(250);
/// Fewest records of a part that is not the last: 1,024. Ours; a peer that gives less only holds others up.
const PART_RECORDS_MIN: u32 = 1024;
/// A part that takes longer is asked of another peer, if one is there that was not tried: 500 ms. Ours.
const PART_SLOW: Duration = Duration::from_millis(500);
/// A part that takes longer is given up even if nobody else is there: 8 s, as a probe. Ours.
const PART_GIVE_UP: Duration = Duration::from_secs(8);

/// How far the manifest has come from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManifestAsk {
    pub(crate) link: LinkId,
    /// The request that is out; none while the whole is being proven.
    pub(crate) req: Option<ReqId>,
    /// Records so far.
    next: u32,
    /// What the peer said of the whole; none before its first part.
    total: Option<u32>,
    asked_at: Instant,
    count: u32,
    /// A part came since the origin's grace was last looked at.
    pub(crate) moved: bool,
    /// The list is complete and on its way through the proof.
    pub(crate) proving: bool,
}

impl Node {
    /// Asks the best peer for the manifest, if it is needed and nobody is asked.
    pub(super) fn seek_manifest(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.lists.manifest.is_some() || job.lists.ask.is_some() || job.course.ended || !job.spec.peers {
            return;
        }
        // Untried before slow, steady before stalled, those that say they have some of the file before the others.
        let best = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.ready() && peer.who.zest && peer.has_room())
            .filter_map(|(link, peer)| peer.jobs.get(&id).map(|with| (*link, peer, with)))
            .filter(|(_, _, with)| with.manifest != Willing::No)
            .min_by_key(|(_, peer, with)| (with.manifest, !peer.is_worth_waiting_for(), with.has.is_none()));
        let fast = job.is_fast();
        let vain = best.is_none_or(|(_, peer, _)| !peer.is_worth_waiting_for());
        if let Some((link, ..)) = best {
            self.ask_manifest(now, link, id, None);
        }
        if fast && vain && self.nobody_can_start(now, id) && self.timers.is_set(Timer::OriginGrace(id)) {
            // No reason to keep the origin waiting.
            self.timers.cancel(Timer::OriginGrace(id));
            self.grace_over(now, id);
        }
        if vain {
            self.found_few(now, id);
        }
        if self.timers.is_set(Timer::Layout(id)) {
            self.want_layout(now, id);
        }
    }

    /// Whether no linked or dialled peer may yet turn out to be able to begin this job.
    pub(super) fn nobody_can_start(&self, now: Instant, id: JobId) -> bool {
        !self.dialling_somebody_new(now)
            && self.peers.values().filter(|p| p.is_worth_waiting_for()).all(|p| {
                p.who.introduced
                    && p.jobs.get(&id).is_none_or(|with| !p.who.zest || with.manifest == Willing::No)
            })
    }

    /// Asks for the first part, or for the one after `so_far`.
    fn ask_manifest(&mut self, now: Instant, link: LinkId, id: JobId, so_far: Option<ManifestAsk>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let first = so_far.map_or(0, |ask| ask.next);
        let quick = so_far.is_some_and(|ask| now.since(ask.asked_at) <= PART_QUICK);
        let count = if quick { PART_RECORDS } else { PART_RECORDS_FIRST };
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let req = peer.draw(&mut self.rng, now, Pending::Manifest { job: id }, false);
        job.lists.ask = Some(ManifestAsk {
            link,
            req: Some(req),
            next: first,
            total: so_far.and_then(|ask| ask.total),
            asked_at: now,
            count,
            moved: so_far.is_some(),
            proving: false,
        });
        let file = job.spec.file;
        self.actions.push_back(Action::Send {
            link,
            message: Outgoing::Zest(ZestMessage::ManifestRequest { req: req.0, file, first, count }),
        });
        self.watch_peer(now, link);
    }

    /// A part of a manifest has come.
    pub(super) fn manifest_part(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        id: JobId,
        buf: BufId,
        ManifestPart { file_size, total, first, count }: ManifestPart,
    ) {
        let job = self.jobs.get_mut(&id);
        let ask =
            job.as_ref().and_then(|j| j.lists.ask).filter(|ask| ask.link == link && ask.req == Some(req));
        let (Some(job), Some(mut ask)) = (job, ask) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        let end = first.saturating_add(count);
        let right = first == ask.next
            && count > 0
            && count <= ask.count
            && end <= total
            && file_size == job.spec.size
            && u64::from(total) <= chunk_count_max(job.spec.size)
            && ask.total.is_none_or(|known| known == total);
        if !right {
            job.lists.ask = None;
            self.actions.push_back(Action::Free { buf });
            self.ban(now, link, "its manifest cannot be that of the file");
            self.seek_manifest(now, id);
            return;
        }
        let last = end == total;
        if !last && count < PART_RECORDS_MIN {
            job.lists.ask = None;
            self.actions.push_back(Action::Free { buf });
            self.unwilling(link, id, Willing::No);
            self.seek_manifest(now, id);
            return;
        }
        job.course.progress_at = now;
        self.actions.push_back(Action::KeepManifestPart { job: id, link, buf, first, last });
        ask.next = end;
        ask.total = Some(total);
        ask.moved = true;
        if last {
            job.lists.ask = Some(ManifestAsk { req: None, proving: true, ..ask });
        } else {
            self.ask_manifest(now, link, id, Some(ask));
        }
    }

    /// The peer has none, now.
    pub(super) fn manifest_refused(&mut self, now: Instant, link: LinkId, id: JobId) {
        self.unwilling(link, id, Willing::No);
        if let Some(with) = self.peers.get_mut(&link).and_then(|peer| peer.jobs.get_mut(&id)) {
            with.no_list_at = now;
        }
        self.has_all_but_no_list(link, id);
        if let Some(peer) = self.peers.get_mut(&link)
            && peer.jobs.get(&id).is_some_and(|with| with.has.is_none())
        {
            peer.has_nothing();
        }
        self.give_up_ask(now, id, link);
    }

    /// Who has all of a file has its list: a peer that says the former and not the latter has nothing that could be asked of it. Once
    /// that may be chance, as its file was being put into its place.
    fn has_all_but_no_list(&mut self, link: LinkId, id: JobId) {
        let (Some(job), Some(peer)) = (self.jobs.get_mut(&id), self.peers.get_mut(&link)) else { return };
        let Some(with) = peer.jobs.get_mut(&id).filter(|with| with.has == Has::All) else { return };
        if with.counted {
            job.supply.remove(&with.has);
        }
        with.has = Has::None;
        with.refused_row += REFUSED_ROW_MAX / 2;
        with.unbelieved = with.refused_row >= REFUSED_ROW_MAX;
        job.claims.look_again();
        self.asking.recheck = true;
    }

    /// The peer stalled over it; others come first from now on.
    pub(super) fn manifest_slow(&mut self, now: Instant, link: LinkId, id: JobId) {
        self.unwilling(link, id, Willing::Slow);
        self.seek_manifest(now, id);
    }

    /// Ends the ask if it is this peer's, and turns to the next one.
    fn give_up_ask(&mut self, now: Instant, id: JobId, link: LinkId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // A list that is being proven does not need its sender any more.
        if job.lists.ask.is_some_and(|ask| ask.link == link && !ask.proving) {
            job.lists.ask = None;
            self.seek_manifest(now, id);
        }
    }

    pub(super) fn manifest_bad(&mut self, now: Instant, id: JobId, link: LinkId) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.lists.ask.is_some_and(|ask| ask.link == link)
        {
            job.lists.ask = None;
        }
        self.ban(now, link, "its manifest did not prove");
        self.seek_manifest(now, id);
        self.asking.due = true;
    }

    /// The manifest is there: nobody needs to send it any more.
    pub(super) fn drop_manifest_ask(&mut self, id: JobId) {
        let Some(ask) = self.jobs.get_mut(&id).and_then(|job| job.lists.ask.take()) else { return };
        self.call_off(ask.link, |what| *what == Pending::Manifest { job: id });
    }

    /// Every measurement: asks that take too long go to another peer, and jobs without an ask get one.
    pub(super) fn watch_manifests(&mut self, now: Instant) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            if let Some(ask) = self.jobs.get(&id).and_then(|job| job.lists.ask).filter(|ask| !ask.proving) {
                let age = now.since(ask.asked_at);
                let asked = self.peers.get(&ask.link).map(Peer::machine);
                let other = || {
                    self.peers.values().any(|peer| {
                        Some(peer.machine()) != asked
                            && peer.ready()
                            && peer.who.zest
                            && !peer.probation()
                            && peer.jobs.get(&id).is_some_and(|with| with.manifest == Willing::Untried)
                    })
                };
                if age >= PART_GIVE_UP || (age >= PART_SLOW && other()) {
                    if let Some(peer) = self.peers.get_mut(&ask.link) {
                        peer.passed_over(now);
                    }
                    self.drop_manifest_ask(id);
                    // Each link of it leads to the same list.
                    let links = self.peers.values_mut().filter(|peer| Some(peer.machine()) == asked);
                    for with in links.filter_map(|peer| peer.jobs.get_mut(&id)) {
                        with.manifest = with.manifest.max(Willing::Slow);
                    }
                }
            }
            self.seek_manifest(now, id);
        }
    }

    fn unwilling(&mut self, link: LinkId, id: JobId, how: Willing) {
        if let Some(with) = self.peers.get_mut(&link).and_then(|peer| peer.jobs.get_mut(&id)) {
            with.manifest = how;
        }
    }
}
