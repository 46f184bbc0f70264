//! What peers say they have, and bringing peers and jobs together.

use super::peer::{HAVES_MAX, Has, Willing, With};
use super::{Action, BitSet, Node};
use crate::endpoint::{Scope, scope};
use crate::link::{ExtHandshake, Outgoing, ZestMessage};
use crate::{Duration, Instant, JobId, LinkId};
use alloc::vec::Vec;
use zest_xet::{Hash, chunk_count_max};

/// Who gets more of a file, and had no list of it, is asked for that again after so long: 1 s. Ours; who has all of it is asked at once.
const LIST_AGAIN: Duration = Duration::from_secs(1);

impl Node {
    /// The extension handshake: now it is known what the peer understands.
    pub(super) fn introduced(&mut self, now: Instant, link: LinkId, remote: &ExtHandshake) {
        let near_by = self.peers.get(&link).is_some_and(|peer| {
            let ip = peer.who.addr.ip();
            let neighbour =
                || scope(ip) != Scope::Global || self.contacts.networks.iter().any(|ours| ours.contains(ip));
            self.is_expected(peer) || !self.config.hub_here && neighbour()
        });
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.introduce(remote);
        let same_hub = remote.hub.is_some() && remote.hub == self.config.hub;
        peer.who.near |= same_hub && near_by;
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.introduce(link, id);
        }
        self.sync_counted(link);
        self.seek_all(now);
        self.plain_look_all(now);
        self.asking.due = true;
    }

    /// Brings all peers and one job together.
    pub(super) fn introduce_all(&mut self, now: Instant, id: JobId) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.introduce(link, id);
            self.sync_counted(link);
        }
        self.seek_manifest(now, id);
    }

    fn introduce(&mut self, link: LinkId, id: JobId) {
        let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get(&id)) else { return };
        if !job.spec.is_open_to(peer) {
            // What it asked for before there was a job is nothing that we speak of with it.
            if job.spec.peers && peer.wants.interests.remove(&job.spec.file).is_some() {
                self.uploads.parties.interests(peer.wants.upload.party, -1);
            }
            return;
        }
        if !peer.ready() || job.course.ended {
            return;
        }
        let new = !peer.jobs.contains_key(&id);
        if new {
            let with = With {
                has: if peer.who.zest { Has::None } else { Has::Maybe },
                manifest: if peer.who.zest { Willing::Untried } else { Willing::No },
                no_list_at: Instant::ZERO,
                cursor: None,
                refused_row: 0,
                unbelieved: false,
                counted: false,
            };
            peer.jobs.insert(id, with);
        }
        let Some(with) = peer.jobs.get_mut(&id) else { return };
        peer.asked.dry = false;
        if peer.who.zest && (new || with.has == Has::Maybe) {
            debug_assert!(!with.counted || with.has == Has::Maybe, "nothing is known of a new peer");
            with.has = Has::None;
            with.manifest = Willing::Untried;
            let file = job.spec.file;
            self.actions
                .push_back(Action::Send { link, message: Outgoing::Zest(ZestMessage::Interest { file }) });
        }
    }

    /// All a peer has of a file (`total` given), or more of it. `is_it` knows the file by what the message names it with.
    pub(super) fn have(
        &mut self,
        now: Instant,
        link: LinkId,
        is_it: &dyn Fn(&Hash) -> bool,
        total: Option<u32>,
        runs: &[(u32, u32)],
    ) {
        let ids: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, j)| {
                is_it(&j.spec.file) && self.peers.get(&link).is_some_and(|p| j.spec.is_open_to(p))
            })
            .map(|(id, _)| *id)
            .collect();
        let Some(peer) = self.peers.get_mut(&link).filter(|_| !ids.is_empty()) else { return };
        if peer.word.haves == HAVES_MAX {
            self.close(link, "it floods us with availability");
            self.asking.due = true;
            return;
        }
        peer.word.haves += 1;
        let mut lists: Vec<JobId> = Vec::new();
        let mut crowd = false;
        let mut switched: Vec<(JobId, Vec<u32>)> = Vec::new();
        for id in ids {
            let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get_mut(&id)) else { return };
            let peer_counts = peer.counts();
            let Some(with) = peer.jobs.get_mut(&id).filter(|with| !with.unbelieved) else { continue };
            // Before the list is proven the count is only the peer's word, bounded by what the file can have.
            let known = job.lists.manifest.as_ref().map(|m| m.len());
            let possible = |total: u32| match known {
                Some(known) => total == known,
                None => u64::from(total) <= chunk_count_max(job.spec.size),
            };
            let len = job.len();
            let mut news = false;
            match total {
                Some(total) => {
                    let mut set = BitSet::empty(if possible(total) { total } else { 0 });
                    runs.iter().for_each(|&(first, count)| set.insert_run(first, count));
                    if core::mem::take(&mut with.counted) {
                        job.supply.remove(&with.has);
                    }
                    let has = Has::of(set);
                    news = has != with.has;
                    with.has = has;
                }
                None => {
                    if with.has == Has::None && job.sets.sized {
                        with.has = Has::Some(BitSet::empty(len));
                    }
                    let Has::Some(set) = &mut with.has else { continue };
                    let counted = with.counted;
                    let mut gained: Vec<u32> = Vec::new();
                    for index in runs.iter().flat_map(|&(first, count)| first..first.saturating_add(count)) {
                        if index >= set.len() {
                            break;
                        }
                        let new = set.insert(index);
                        news |= new;
                        if new && counted {
                            job.supply.gain(index);
                            gained.extend(job.sets.asked.contains_key(&index).then_some(index));
                        }
                    }
                    if set.is_empty() || set.count() == set.len() {
                        if core::mem::take(&mut with.counted) {
                            job.supply.remove(&with.has);
                        }
                        if let Has::Some(set) = core::mem::replace(&mut with.has, Has::None) {
                            with.has = Has::of(set);
                        }
                    }
                    switched.push((id, gained));
                }
            }
            if !with.counted && peer_counts && job.sets.sized && with.has.ranges_over(len) {
                with.counted = true;
                job.supply.add(&with.has);
            }
            if matches!(with.has, Has::Some(_)) && job.supply.has_parts() {
                crowd = true;
            }
            peer.asked.dry = false;
            if !with.has.is_none() && with.manifest == Willing::No && peer.who.zest {
                // It had no list when it was asked; now it has some of the file, so perhaps the list too. One that gets chunk after chunk of what only
                // its xorbs prove has none before the last of them.
                let long_ago = now.since(with.no_list_at) >= LIST_AGAIN;
                if total.is_some() || with.has == Has::All || long_ago {
                    with.manifest = Willing::Untried;
                }
            }
            if job.lists.manifest.is_none() && job.sets.sized {
                lists.push(id);
            }
            if total.is_some() || news {
                let nothing = with.has.is_none();
                if nothing { peer.has_nothing() } else { peer.has_something() }
            }
            if news {
                self.look_soon(now, id);
                let has = self.peers.get(&link).and_then(|peer| peer.jobs.get(&id)).map(|with| &with.has);
                let all = has.filter(|has| !has.is_none()).map(|has| *has == Has::All);
                if let Some((all, job)) = all.zip(self.jobs.get(&id)) {
                    self.plain_partner(now, link, job.spec.file, all);
                }
            }
            self.seek_manifest(now, id);
        }
        if crowd && let Some(peer) = self.peers.get_mut(&link) {
            peer.crowd();
        }
        for id in lists {
            self.seek_lists(now, id);
        }
        for (id, gained) in switched {
            self.switch(now, link, id, &gained);
        }
        self.asking.moved(link);
        self.asking.peers_due = true;
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
                with.counted = false;
            }
        }
    }

    /// The number of chunks is known: what peers said before could not be kept, so they are asked once more.
    pub(super) fn ask_again(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.spec.peers && !job.course.ended) else { return };
        let file = job.spec.file;
        for (&link, peer) in self.peers.iter().filter(|(_, peer)| peer.ready() && peer.who.zest) {
            if peer.jobs.get(&id).is_some_and(|with| with.has.is_none() && !with.unbelieved) {
                self.actions.push_back(Action::Send {
                    link,
                    message: Outgoing::Zest(ZestMessage::Interest { file }),
                });
            }
        }
    }

    /// Sees to it that what a peer has is counted if, and only if, its word counts.
    pub(super) fn sync_counted(&mut self, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let counts = peer.counts();
        for (id, with) in peer.jobs.iter_mut() {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            let should = counts && job.sets.sized && with.has.ranges_over(job.len());
            match (with.counted, should) {
                (false, true) => job.supply.add(&with.has),
                (true, false) => job.supply.remove(&with.has),
                _ => {}
            }
            with.counted = should;
        }
    }
}
