//! Jobs from their beginning to their end: what the runtime tells of them, and what becomes of their chunks.

use super::block_state::BlockState;
use super::course::Priority;
use super::event::{Block, JobFailure, Source};
use super::from_origin::OriginState;
use super::job::{Job, JobSpec, permanent};
use super::layout::Layout;
use super::supply::Supply;
use super::timers::Timer;
use super::{Action, BitSet, Node, Policy};
use crate::link::{Outgoing, ZestMessage};
use crate::{Duration, Instant, JobId, LinkId, Location};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use zest_xet::{ChunkRef, Manifest};

/// Pause before a job whose time is over is looked at again while our own disk is busy with it: 1 s. Ours.
const BUSY: Duration = Duration::from_secs(1);

impl Node {
    pub(super) fn job_added(&mut self, now: Instant, id: JobId, spec: JobSpec) {
        let mut job = Job::new(now, spec, self.config.policy);
        let peers = job.spec.peers;
        let slow = job.is_fast() && self.contacts.lessons.is_slow(now);
        let in_sight = peers && !slow && self.somebody_is_worth_waiting_for(now);
        job.origin.joined = slow;
        if !job.is_fast() && peers {
            let grace = self.spare_grace();
            job.origin.grace_end = now + grace;
            self.timers.set(Timer::OriginGrace(id), now + grace);
        } else if in_sight {
            job.origin.grace_end = now + super::origin::GRACE_MAX;
            self.timers.set(Timer::OriginGrace(id), now + self.config.origin_grace);
        }
        self.jobs.insert(id, job);
        self.order_jobs();
        self.count_fetchers(id);
        self.introduce_all(now, id);
        self.watch_sources(now, id);
        self.timers.set_once(Timer::Measure, now + super::MEASURE);
        self.dial_next(now);
        // Whoever is dialled only now may have all of it.
        self.watch_layout(now, id);
    }

    pub(super) fn job_planned(
        &mut self,
        now: Instant,
        id: JobId,
        chunks: u32,
        blocks: Vec<Block>,
        held: &[u32],
        local: Vec<(u32, Location)>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.origin.state != OriginState::Waiting {
            return;
        }
        job.course.progress_at = now;
        self.layouts_answered(now);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.sets.sized && job.len() != chunks {
            let text = "the origin's layout has another number of chunks than the proven manifest";
            self.origin_gone(now, id, permanent(text));
            return;
        }
        let sized_now = !job.sets.sized;
        if sized_now {
            job.set_len(chunks);
        }
        job.lists.layout = Layout::new(&blocks);
        job.origin.blocks = blocks.into_iter().map(BlockState::new).collect();
        job.origin.state = OriginState::Ready;
        for &index in held.iter().filter(|index| **index < chunks) {
            self.hold(id, index);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.set_aside(local);
        }
        self.look_at_front(id);
        if sized_now {
            self.recount(id);
            self.ask_again(id);
        }
        self.seek_lists(now, id);
        self.resolve_claims(now, id);
        self.resolve_offers(now, id);
        // A peer that gives whole blocks had nothing to be asked for before.
        self.check_complete(id);
        self.asking.more();
    }

    pub(super) fn job_manifest(
        &mut self,
        now: Instant,
        id: JobId,
        manifest: Arc<Manifest>,
        held: &BitSet,
        local: Vec<(u32, Location)>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // A second proven list is the same list, and what it says of the partial file is older than what is known here.
        if job.lists.manifest.is_some() {
            return;
        }
        job.course.progress_at = now;
        if job.sets.sized && job.len() != manifest.len() {
            // The plan had another count; the manifest is proven. Begin again with its count, without the origin.
            let text = "the proven manifest has another number of chunks than the origin's layout";
            self.origin_distrusted(now, id, permanent(text));
            let Some(job) = self.jobs.get_mut(&id) else { return };
            self.asking.copies_active -= job.sets.copies.len() as u32;
            job.sets.copies.clear();
            job.sets.local.clear();
            job.set_len(manifest.len());
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let sized_now = !job.sets.sized;
        if sized_now {
            job.set_len(manifest.len());
        }
        let mut asked = Vec::new();
        for index in 0..manifest.len() {
            if held.contains(index) {
                asked.extend(job.hold(index).map(|request| (index, request)));
            } else if job.sets.held.remove(index) {
                job.shown.remove(index);
                job.sets.missing.insert(index);
            }
        }
        // All was there and did not make up the file; the list says what of it is wrong.
        if job.course.ended && job.sets.missing.count() > 0 {
            job.course.ended = false;
            job.origin.joined = true;
        }
        job.lists.manifest = Some(manifest);
        for block in 0..self.jobs[&id].origin.blocks.len() as u32 {
            self.stream_proven(id, block);
            self.settle_taking(now, id, block);
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unproven.offers.clear();
        job.set_aside(local);
        job.open_all();
        for index in 0..job.len() {
            job.show(index);
        }
        job.claims.look_again();
        // A chunk may have been doubted and asked for again that the list vouches for.
        for (index, (link, req)) in asked {
            self.disown(link, req);
            self.call_off_others(now, id, index);
        }
        self.look_at_front(id);
        self.drop_manifest_ask(id);
        self.drop_list_asks(id);
        self.prune_has(id);
        self.introduce_all(now, id);
        self.recount(id);
        if sized_now {
            self.ask_again(id);
        }
        self.tell_soon(now, id, true);
        self.check_complete(id);
        self.want_layout(now, id);
        self.asking.more();
    }

    /// A xorb's list is proven: the chunks of its block can be asked for, and those that are held can be served.
    pub(super) fn block_listed(
        &mut self,
        now: Instant,
        id: JobId,
        block: u32,
        list: Arc<[ChunkRef]>,
        wrong: &[u32],
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(state) = job.origin.blocks.get(block as usize) else { return };
        let (count, runs) = (state.block.chunks.len() as u32, state.block.runs.clone());
        if job.lists.manifest.is_some() || !job.lists.layout.set_list(block, count, list) {
            return;
        }
        job.course.progress_at = now;
        for &index in wrong {
            let theirs = job.lists.layout.block_of(index) == Some(block);
            if theirs && job.sets.held.remove(index) {
                job.sets.missing.insert(index);
            }
        }
        for index in runs.iter().flat_map(|run| run.indices()) {
            if job.sets.missing.contains(index) {
                job.sets.open.insert(index);
            }
            job.show(index);
        }
        self.stream_proven(id, block);
        self.settle_taking(now, id, block);
        self.look_at_front(id);
        self.drop_list_ask(id, block);
        self.tell_soon(now, id, true);
        self.asking.more();
    }

    /// A job rests or goes on. What is under way arrives; nothing new is asked for.
    pub(super) fn job_paused(&mut self, now: Instant, id: JobId, paused: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // What is over may be opened again, and must not rest for ever then.
        if core::mem::replace(&mut job.course.paused, paused) == paused || job.course.ended {
            return;
        }
        job.course.progress_at = now;
        if paused {
            for (block, state) in job.origin.blocks.iter_mut().enumerate() {
                if state.goes_on() {
                    state.stopping = true;
                    self.actions.push_back(Action::OriginStop { job: id, block: block as u32 });
                }
            }
            self.release_claims(now, id);
        }
        self.asking.more();
    }

    /// The user wants a job sooner or later than others.
    pub(super) fn job_priority(&mut self, id: JobId, priority: Priority) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if core::mem::replace(&mut job.course.wish, priority) != priority {
            self.order_jobs();
            self.asking.due = true;
        }
    }

    /// Other wishes for the whole process.
    pub(super) fn settings(
        &mut self,
        now: Instant,
        policy: Policy,
        upload_bytes_s: Option<u64>,
        download_bytes_s: Option<u64>,
    ) {
        self.config.upload_bytes_s = upload_bytes_s;
        self.config.download_bytes_s = download_bytes_s;
        self.config.policy = policy;
        let changed = self.asking.jobs.clone().into_iter().filter(|id| self.apply_policy(now, *id)).count();
        if changed > 0 {
            self.asking.due = true;
        }
        self.pump(now);
    }

    /// Another policy for one job.
    pub(super) fn job_policy(&mut self, now: Instant, id: JobId, policy: Option<Policy>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.spec.policy = policy;
        if self.apply_policy(now, id) {
            self.asking.due = true;
        }
    }

    /// Gives a job the policy that it is to have now; says whether that is another one.
    fn apply_policy(&mut self, now: Instant, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let policy = job.spec.policy.unwrap_or(self.config.policy);
        if core::mem::replace(&mut job.origin.policy, policy) == policy {
            return false;
        }
        // What was claimed under the other policy is anybody's again.
        self.release_claims(now, id);
        self.count_fetchers(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.claims.look_again();
        }
        self.asking.recheck = true;
        true
    }

    /// Jobs in the order in which they are filled: by the user's wish, pull by pull, by priority, then by age.
    pub(super) fn order_jobs(&mut self) {
        self.order_turns();
        self.asking.jobs = self.asking.turns.shares().iter().flat_map(|share| &share.jobs).copied().collect();
        self.asking.recheck = true;
    }

    /// A chunk is in the partial file. A request for it that is still out does not count any more.
    fn hold(&mut self, id: JobId, index: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let asked = job.hold(index);
        job.show(index);
        if let Some((link, req)) = asked {
            self.disown(link, req);
        }
    }

    pub(super) fn chunk_done(&mut self, now: Instant, id: JobId, index: u32, source: Source) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if source == Source::Origin && job.is_fast() {
            self.origin.sparing.came(job.usual_len());
        }
        if source == Source::Disk && job.sets.copies.remove(&index) {
            self.asking.copies_active -= 1;
        }
        // A report from before the number of chunks changed, or of a layout that is not trusted any more.
        let stray = source == Source::Origin && !job.sets.covered.contains(index);
        if index < job.len() && !job.sets.held.contains(index) && !stray {
            job.course.progress_at = now;
            if source == Source::Origin {
                job.origin.moved_at = now;
                let bytes = u64::from(job.usual_len());
                self.origin.breadth.came(bytes);
                self.origin.in_order.came(bytes);
            }
            self.origin.out.fed |= matches!(source, Source::Peer(_));
            self.origin.out.came(now);
            self.hold(id, index);
            self.call_off_others(now, id, index);
            self.block_advanced(id, index, source);
            if source == Source::Origin {
                self.stream_advanced(now, id, index);
            }
            self.tell_soon(now, id, source == Source::Origin);
            self.front_advanced(now, id, index);
            self.check_complete(id);
            if source == Source::Origin {
                self.blocks_answered(now);
            }
        }
        if source == Source::Disk {
            self.fill_disk();
        }
    }

    pub(super) fn chunk_bad(&mut self, now: Instant, id: JobId, index: u32, source: Source) {
        self.measured.stats.chunks_bad += 1;
        if let Some(job) = self.jobs.get_mut(&id) {
            let back = match source {
                Source::Disk => {
                    self.asking.copies_active -= u32::from(job.sets.copies.remove(&index));
                    job.sets.copying.remove(index)
                }
                Source::Peer(_) => job.sets.proving.remove(index),
                // What the origin streams stays up for grabs all the time.
                Source::Origin => false,
            };
            if back {
                job.give_back(index);
                self.asking.recheck = true;
            }
        }
        if let Source::Peer(link) = source {
            self.ban(now, link, "it sent a chunk that failed its proof");
        }
        self.asking.due = true;
    }

    pub(super) fn job_reopened(&mut self, now: Instant, id: JobId, missing: &[u32]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.course.ended = false;
        job.origin.joined = true;
        self.withdraw_streams(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.course.progress_at = now;
        for &index in missing {
            if job.sets.held.remove(index) {
                job.shown.remove(index);
                job.give_back(index);
            }
        }
        self.look_at_front(id);
        self.asking.recheck = true;
        self.introduce_all(now, id);
        self.watch_sources(now, id);
        self.check_complete(id);
        self.asking.due = true;
    }

    pub(super) fn job_removed(&mut self, id: JobId) {
        self.end(id);
        let Some(job) = self.jobs.remove(&id) else { return };
        self.origin.active.end(job.spec.pull, job.blocks_active());
        self.asking.copies_active -= job.sets.copies.len() as u32;
        for block in 0..job.origin.blocks.len() {
            self.timers.cancel(Timer::BlockRetry(id, block as u32));
        }
        self.timers.cancel(Timer::Claims(id));
        self.order_jobs();
        let file = job.spec.file;
        let shared = self.jobs.values().any(|j| j.spec.file == file && j.spec.peers);
        if job.spec.peers && !shared {
            // Whoever follows the file learns what the catalog has of it now.
            for (&link, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.closing) {
                if let Some(told) = peer.wants.interests.get_mut(&file) {
                    *told = 0;
                    let theirs = peer.jobs.get(&id).is_some_and(|with| with.has == super::peer::Has::All);
                    if !theirs {
                        self.actions.push_back(Action::LookupFile { link, file });
                    }
                }
            }
        }
        for (&link, peer) in &mut self.peers {
            if peer.jobs.remove(&id).is_some() && peer.who.zest && !peer.closing && !shared {
                self.actions.push_back(Action::Send {
                    link,
                    message: Outgoing::Zest(ZestMessage::Uninterest { file }),
                });
            }
        }
        self.asking.due = true;
    }

    /// Nothing more is asked for this job, and what is under way is called off.
    pub(super) fn end(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.course.ended = true;
        job.lists.ask = None;
        self.release_claims(self.now, id);
        self.end_streams(id);
        self.drop_takings(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unproven.offers.clear();
        for (block, state) in job.origin.blocks.iter_mut().enumerate() {
            if state.goes_on() {
                state.stopping = true;
                self.actions.push_back(Action::OriginStop { job: id, block: block as u32 });
            }
        }
        self.timers.cancel(Timer::OriginGrace(id));
        self.timers.cancel(Timer::Layout(id));
        self.timers.cancel(Timer::Patience(id));
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.call_off(link, |what| what.job() == id);
        }
    }

    fn check_complete(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.sets.sized && !job.course.ended && job.sets.held.count() == job.len() {
            // Nobody needs to take over what is done.
            self.units_done(self.now, id);
            self.end(id);
            self.actions.push_back(Action::Complete { job: id });
        }
    }

    /// Counts anew what all linked peers have of a job.
    pub(super) fn recount(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let len = job.len();
        job.supply = Supply::new(len);
        for peer in self.peers.values_mut() {
            let counts = peer.counts();
            let Some(with) = peer.jobs.get_mut(&id) else { continue };
            with.counted = counts && job.sets.sized && with.has.ranges_over(len);
            if with.counted {
                job.supply.add(&with.has);
            }
        }
        job.claims.look_again();
        self.asking.recheck = true;
    }

    /// The same from nothing, to compare with.
    pub(super) fn supply_of(&self, id: JobId) -> Supply {
        let len = self.jobs.get(&id).map_or(0, Job::len);
        let mut supply = Supply::new(len);
        for peer in self.peers.values() {
            if let Some(with) = peer.jobs.get(&id).filter(|with| with.counted) {
                supply.add(&with.has);
            }
        }
        supply
    }

    /// Starts or ends the countdown after which a job that only peers can help is given up. What peers say they have
    /// does not hold it up, only what they give: see [`Node::patience_over`].
    pub(super) fn watch_sources(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if matches!(job.origin.state, OriginState::Gone(_)) && !job.course.ended {
            // A peer that works through the files before this one comes to it in time.
            let in_line = self.peers.values().any(|peer| {
                peer.counts()
                    && peer.word.useful
                    && peer.asked.requests.values().any(|r| r.owned && r.what.job() != id)
                    && peer.jobs.get(&id).is_some_and(|with| !with.has.is_none())
            });
            if in_line {
                job.course.progress_at = now;
            }
            let Some(job) = self.jobs.get(&id) else { return };
            let due = (job.course.progress_at + self.patience_with_peers(job)).max(now);
            self.timers.set_no_later(Timer::Patience(id), due);
        } else {
            self.timers.cancel(Timer::Patience(id));
        }
    }

    pub(super) fn patience_over(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let OriginState::Gone(why) = &job.origin.state else { return };
        if job.course.ended {
            return;
        }
        if job.course.paused {
            self.timers.set(Timer::Patience(id), now + self.config.patience);
            return;
        }
        // Our own disk and the last fetches of the origin end by themselves, one way or the other.
        let busy = job.blocks_active() > 0 || !job.sets.copying.is_empty() || !job.sets.proving.is_empty();
        let limit = self.patience_with_peers(job);
        let due = if busy { now + limit.max(BUSY) } else { job.course.progress_at + limit };
        if due > now {
            self.timers.set(Timer::Patience(id), due);
            return;
        }
        let origin = Some(why.clone());
        let missing = job.len() - job.sets.held.count();
        self.end(id);
        let why = Box::new(JobFailure::NoSource { missing, origin });
        self.actions.push_back(Action::Failed { job: id, why });
    }
}
