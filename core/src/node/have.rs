//! What peers say they have, and bringing peers and jobs together.

use super::manifest::Willing;
use super::peer::{Has, With};
use super::{Action, BitSet, Node};
use crate::link::{ExtHandshake, Outgoing};
use crate::{Instant, JobId, LinkId};
use alloc::vec::Vec;
use zest_xet::{Hash, chunk_count_max};

/// Availability messages one peer may send between two measurements: 64, for a pull of many small files at once. Each
/// costs a look at a whole bit set, so more is a flood. Ours.
pub(crate) const HAVES_MAX: u32 = 64;

impl Node {
    /// The extension handshake: now it is known what the peer understands.
    pub(super) fn introduced(&mut self, now: Instant, link: LinkId, remote: &ExtHandshake) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.introduce(remote);
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.introduce(link, id);
            self.union_peers(id);
        }
        self.seek_all(now);
        self.refill(now);
    }

    /// Brings all peers and one job together.
    pub(super) fn introduce_all(&mut self, now: Instant, id: JobId) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.introduce(link, id);
        }
        self.seek_manifest(now, id);
    }

    fn introduce(&mut self, link: LinkId, id: JobId) {
        let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get(&id)) else { return };
        if !peer.ready() || !job.spec.peers || job.ended {
            return;
        }
        let new = !peer.jobs.contains_key(&id);
        let with = peer.jobs.entry(id).or_insert(With {
            has: if peer.zest { Has::None } else { Has::Maybe },
            manifest: if peer.zest { Willing::Untried } else { Willing::No },
            cursor: None,
            refused_row: 0,
            unbelieved: false,
        });
        if peer.zest && (new || with.has == Has::Maybe) {
            with.has = Has::None;
            with.manifest = Willing::Untried;
            let file = job.spec.file;
            self.actions.push_back(Action::Send { link, message: Outgoing::Interest { file } });
        }
    }

    /// All a peer has of a file (`total` given), or more of it.
    pub(super) fn have(
        &mut self,
        now: Instant,
        link: LinkId,
        file: &Hash,
        total: Option<u32>,
        runs: &[(u32, u32)],
    ) {
        let ids: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, j)| j.spec.file == *file && j.spec.peers)
            .map(|(id, _)| *id)
            .collect();
        let Some(peer) = self.peers.get_mut(&link).filter(|_| !ids.is_empty()) else { return };
        if peer.haves == HAVES_MAX {
            self.close(link, "it floods us with availability");
            self.refill(now);
            return;
        }
        peer.haves += 1;
        for id in ids {
            let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get(&id)) else { return };
            let Some(with) = peer.jobs.get_mut(&id).filter(|with| !with.unbelieved) else { continue };
            // Before the list is proven the count is only the peer's word, bounded by what the file can have.
            let known = job.manifest.as_ref().map(|m| m.len());
            let possible = |total: u32| match known {
                Some(known) => total == known,
                None => u64::from(total) <= chunk_count_max(job.spec.size),
            };
            let mut set = match (total, &mut with.has, known) {
                (Some(total), ..) if !possible(total) => BitSet::empty(0),
                (Some(total), ..) => BitSet::empty(total),
                (None, Has::Some(set), _) => core::mem::replace(set, BitSet::empty(0)),
                (None, Has::All, _) => continue,
                (None, _, Some(known)) => BitSet::empty(known),
                (None, ..) => continue,
            };
            runs.iter().for_each(|&(first, count)| set.insert_run(first, count));
            with.has = if set.is_empty() {
                Has::None
            } else if set.count() == set.len() {
                Has::All
            } else {
                Has::Some(set)
            };
            if !with.has.is_none() && with.manifest == Willing::No && peer.zest {
                // It had no list when it was asked; now it has some of the file, so perhaps the list too.
                with.manifest = Willing::Untried;
            }
            self.union_peers(id);
            self.seek_manifest(now, id);
        }
        self.refill(now);
    }

    /// The list is proven: claims about another number of chunks are void.
    pub(super) fn prune_has(&mut self, id: JobId) {
        let Some(len) = self.jobs.get(&id).map(|job| job.len()) else { return };
        for peer in self.peers.values_mut() {
            if let Some(with) = peer.jobs.get_mut(&id)
                && let Has::Some(set) = &with.has
                && set.len() != len
            {
                with.has = Has::None;
            }
        }
    }
}
