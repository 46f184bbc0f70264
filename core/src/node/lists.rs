//! Chunk lists of single xorbs: as long as nobody has the file's manifest, what a peer has proven by a xorb's hash can be
//! had from it all the same. The list is asked for by the xorb hash and proven against it.

use super::from_origin::OriginState;
use super::peer::{Has, Pending};
use super::{Action, Node};
use crate::link::{ManifestPart, Outgoing, ZestMessage};
use crate::wire::zest::MANIFEST_PART_RECORDS_MAX;
use crate::{BufId, Instant, JobId, LinkId};
use alloc::vec::Vec;

/// Block lists asked for at once, per job: 16. Ours; each is a round trip and about a megabyte of chunks' worth of time.
const LIST_ASKS_MAX: usize = 16;

impl Node {
    /// Asks for the lists of blocks that peers have and we know nothing of.
    pub(super) fn seek_lists(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.lists.manifest.is_some()
            || job.course.ended
            || job.origin.state != OriginState::Ready
            || !job.supply.has_parts()
        {
            return;
        }
        let mut from = 0;
        let mut wanted: Vec<u32> = Vec::new();
        while job.lists.list_asks.len() + wanted.len() < LIST_ASKS_MAX {
            // What is missing, not listed, and somewhere.
            let Some(index) = job.sets.missing.next(from, Some(job.supply.parts()), Some(&job.sets.open))
            else {
                break;
            };
            let Some(block) = job.lists.layout.block_of(index) else { break };
            let state = &job.origin.blocks[block as usize];
            from = state
                .block
                .runs
                .iter()
                .find(|run| run.contains(index))
                .map_or(index + 1, |run| run.indices().end);
            let asked = job.lists.list_asks.contains_key(&block) || wanted.contains(&block);
            if !asked && !job.lists.layout.is_listed(block) && !state.stopping && state.block.whole {
                wanted.push(block);
            }
        }
        for block in wanted {
            self.ask_list(now, id, block);
        }
    }

    fn ask_list(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let state = &job.origin.blocks[block as usize];
        let able: Vec<LinkId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.counts() && peer.who.zest && !peer.pace.doubted && peer.has_room())
            .filter(|(_, peer)| {
                let has = peer.jobs.get(&id).map(|with| &with.has);
                let Some(Has::Some(set)) = has else { return false };
                let some = |run: &super::Run| set.next_in(run.first, run.indices().end, None, None).is_some();
                !peer.asked.blocks_refused.contains(&(id, block)) && state.block.runs.iter().any(some)
            })
            .map(|(link, _)| *link)
            .collect();
        if able.is_empty() {
            return;
        }
        let link = able[self.rng.below(able.len() as u32) as usize];
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let req = peer.draw(&mut self.rng, now, Pending::List { job: id, block }, false);
        job.lists.list_asks.insert(block, (link, req));
        let (file, count) = (state.block.xorb, MANIFEST_PART_RECORDS_MAX);
        self.actions.push_back(Action::Send {
            link,
            message: Outgoing::Zest(ZestMessage::ManifestRequest { req: req.0, file, first: 0, count }),
        });
        self.watch_peer(now, link);
    }

    /// A list has come: it goes to its proof if it can be right.
    pub(super) fn list_part(
        &mut self,
        now: Instant,
        link: LinkId,
        id: JobId,
        block: u32,
        buf: BufId,
        ManifestPart { total, first, count, .. }: ManifestPart,
    ) {
        let state = self
            .jobs
            .get(&id)
            .filter(|job| !job.course.ended)
            .and_then(|job| job.origin.blocks.get(block as usize));
        let Some(state) = state else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        // A block is the xorb from its first chunk on; its list may be longer if the block is not all of it.
        if first != 0 || count != total || total < state.block.chunks.end {
            self.actions.push_back(Action::Free { buf });
            self.ban(now, link, "its list cannot be that of the xorb");
            self.drop_list_ask(id, block);
            return;
        }
        self.actions.push_back(Action::ProveBlockList { job: id, block, link, buf });
    }

    pub(super) fn block_list_bad(&mut self, now: Instant, id: JobId, block: u32, link: LinkId) {
        self.ban(now, link, "its list of a xorb did not prove");
        self.drop_list_ask(id, block);
        self.seek_lists(now, id);
        self.asking.due = true;
    }

    /// The peer has no list of this block, or is too slow with it.
    pub(super) fn list_refused(&mut self, now: Instant, link: LinkId, id: JobId, block: u32) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.asked.blocks_refused.insert((id, block));
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.lists.list_asks.remove(&block);
        }
        self.seek_lists(now, id);
    }

    /// Nobody needs to send this list any more.
    pub(super) fn drop_list_ask(&mut self, id: JobId, block: u32) {
        let Some((link, req)) = self.jobs.get_mut(&id).and_then(|job| job.lists.list_asks.remove(&block))
        else {
            return;
        };
        let out = self.peers.get(&link).is_some_and(|peer| peer.asked.requests.contains_key(&req));
        if out {
            self.call_off(link, |what| *what == Pending::List { job: id, block });
        }
    }

    pub(super) fn drop_list_asks(&mut self, id: JobId) {
        let blocks: Vec<u32> =
            self.jobs.get(&id).map_or_else(Vec::new, |job| job.lists.list_asks.keys().copied().collect());
        for block in blocks {
            self.drop_list_ask(id, block);
        }
    }
}
