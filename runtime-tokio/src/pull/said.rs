//! What a pull tells its user: while it runs, and at its end.

use super::{Pull, listing, waiting};
use crate::PullError;
use crate::api::{How, Notice, PullReport, PulledFile};
use crate::error::FailedFile;
use crate::figures::OWN_ADDRESS;
use crate::jobs::Counts;
use crate::outages::Spells;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use zest_store::TreeEntry;
use zest_xet::CHUNK_BYTES_MAX;

/// Notices kept of one pull.
const NOTICES_MAX: usize = 1_000;

/// What there is to say.
#[derive(Default)]
pub(crate) struct Said {
    pub(super) notices: RefCell<Vec<Notice>>,
    /// Files that are in their place.
    pub(super) files: RefCell<Vec<PulledFile>>,
    /// Files that could not be had, while all others are.
    pub(super) failed: RefCell<Vec<FailedFile>>,
    /// Files whose lock another process has.
    pub(super) waiting: RefCell<waiting::Waits>,
    /// What was out.
    pub(super) spells: RefCell<Spells>,
    /// Most peers at a time.
    peers_max: Cell<u32>,
    /// Peers that were said to be unreachable.
    unreachable: RefCell<BTreeSet<SocketAddr>>,
    /// That nothing is given any more was said.
    spent: Cell<bool>,
}

/// `looks`: the first look for peers is still under way, which takes two seconds at least (`zest_core::discovery::ROUND_MIN`).
fn none_found(looks: bool, failing: String) -> String {
    match looks {
        true => format!("all was here before the first look for them had ended{failing}"),
        false => format!("none was found that has these files{failing}"),
    }
}

impl Pull {
    /// Tells its user how far it is.
    pub(super) fn tell(&self, started: Instant) {
        let peers = self.figures.peers(&self.context.machine.node());
        let mut now = self.tally.progress(peers, self.figures.given(), &self.said);
        now.outages = self.context.out(&self.outages);
        now.shareable = self.commit.public_until.is_some();
        now.nice = self.context.transport.traffic.steering().stats();
        now.paused = self.control.is_paused();
        self.said.spells.borrow_mut().note(started.elapsed(), &now.outages);
        self.said.peers_max.set(self.said.peers_max.get().max(now.peers));
        self.control.progress.send_replace(now);
    }

    /// Why peers gave nothing, if something was fetched and they did not.
    fn no_peers(&self, files: &[PulledFile], counts: Counts, shareable: bool) -> Option<Notice> {
        let fetched = counts.cdn_bytes + self.tally.whole.hub.get();
        if counts.peer_bytes + self.tally.whole.peers.get() > 0 || fetched == 0 || self.options.dry_run {
            return None;
        }
        let unreachable = self.figures.unreachable();
        let linked = self.said.peers_max.get();
        let (kind, text) = if !self.options.p2p {
            ("switched-off", "they were not to be asked (--no-p2p)".to_owned())
        } else if self.commit.denied {
            ("denied", format!("you denied sharing {} (`zest share allow` undoes it)", self.options.repo))
        } else if self.said.notices.borrow().iter().any(|notice| notice.kind == listing::UNASKED) {
            (listing::UNASKED, "the Hub could not be asked whether everyone may read it".to_owned())
        } else if !shareable && !self.commit.all_whole {
            let name = &self.options.repo;
            ("not-shared", format!("{name} is not readable by everyone, so nobody was asked"))
        } else if files.iter().all(|file| file.how != How::Chunks) {
            ("whole-files", "what was missing is not in Xet; of such files peers give those of up to 1 MiB, and none had them".to_owned())
        } else if self.figures.spent() > 0 {
            ("budget", "those that were linked have used up what they upload in a day".to_owned())
        } else if linked > 0 {
            let which = if linked == 1 { "the one that was linked" } else { "those that were linked" };
            ("nothing-given", format!("{which} had nothing that was missing, or the CDN was quicker"))
        } else if !unreachable.is_empty() {
            let all: Vec<String> = unreachable.iter().map(|(addr, why)| format!("{addr} ({why})")).collect();
            ("unreachable", format!("none could be reached: {}", all.join(", ")))
        } else if !self.may_ask_peers() {
            ("switched-off", "none was named, and every way of finding one is switched off".to_owned())
        } else {
            let finder = self.context.finder.get();
            let trackers = finder.map(|finder| finder.status().trackers).unwrap_or_default();
            let failing = trackers.iter().filter(|tracker| !tracker.works);
            let failing = failing.map(|it| format!("; tracker {}: {}", it.name, it.standing)).collect();
            let looks =
                finder.is_some_and(|finder| finder.can_search() && finder.looks() == self.looks_before);
            ("none-found", none_found(looks, failing))
        };
        Some(Notice { kind: kind.into(), path: None, text })
    }

    pub(super) fn report(&self, started: Instant, shareable: bool) -> PullReport {
        let (tally, said) = (&self.tally, &self.said);
        let counts = tally.counts();
        let mut files = said.files.take();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        PullReport {
            repo: self.options.repo.to_string(),
            revision: self.options.revision.clone(),
            dry_run: self.options.dry_run,
            path: self.destination.root(&self.options.repo, &self.commit.id),
            commit: self.commit.id.clone(),
            no_peers: self.no_peers(&files, counts, shareable),
            files,
            from_peers: counts.peer_bytes + tally.whole.peers.get(),
            from_cdn: counts.cdn_bytes + tally.whole.hub.get(),
            from_disk: counts.disk_bytes + tally.whole.disk.get(),
            twice: counts.twice_bytes,
            given: self.figures.given(),
            cdn_wire_bytes: counts.wire_bytes + tally.whole.wire.get(),
            chunks_from_peers: counts.peer_chunks,
            chunks_from_cdn: counts.cdn_chunks,
            chunks_from_disk: counts.disk_chunks,
            bad_chunks: counts.bad_chunks,
            rotten_chunks: counts.rotten_chunks + tally.whole.rotten.get(),
            peers: said.peers_max.get(),
            peers_banned: self.figures.banned(),
            shareable,
            outages: said.spells.borrow().all(started.elapsed()),
            notices: said.notices.take(),
            elapsed: started.elapsed(),
        }
    }

    /// Passes on what the cache has to say, that nothing is given any more, and which peers that its user named cannot be reached.
    pub(super) fn tell_remarks(&self) {
        for (addr, why) in self.figures.unreachable() {
            if self.said.unreachable.borrow_mut().insert(addr) {
                let text = match why == OWN_ADDRESS {
                    true => format!("peer {addr} is this machine itself: nobody else answers there"),
                    false => format!("peer {addr} cannot be reached: {why}; trying again now and then"),
                };
                self.notice("peer-unreachable", None, text);
            }
        }
        let is_spent =
            self.context.transport.traffic.budget_left().is_some_and(|left| left < CHUNK_BYTES_MAX as u64);
        if self.options.p2p && is_spent && !self.said.spent.replace(true) {
            let text = "today's --upload-budget is spent: nothing is uploaded to peers until midnight UTC";
            self.notice("budget-spent", None, text.to_owned());
        }
        for text in self.destination.take_remarks() {
            self.notice("cache", None, text);
        }
    }

    pub(super) fn say_as_found(&self, wanted: &[TreeEntry]) {
        let unnamed = wanted.iter().filter(|entry| !entry.is_named()).count();
        let mut text = format!(
            "the list of files of commit {} is not here: taking the {} that lie there as they are, some may be missing",
            self.commit.id,
            wanted.len()
        );
        if unnamed > 0 {
            text += &format!("; {unnamed} of them cannot be proven");
        }
        self.notice("no-listing", None, text);
    }

    /// Says which file was not what an earlier run had left.
    pub(super) fn say_rotten(&self, path: &str, parts: u64) {
        if parts > 0 {
            let (name, s) = (path.escape_debug(), if parts == 1 { "" } else { "s" });
            let text = format!(
                "{name}: {parts} part{s} of what an earlier run left had rotted on disk: fetched again"
            );
            self.notice("rotten", Some(path), text);
        }
    }

    /// Says what changes the outcome.
    pub(crate) fn notice(&self, kind: &'static str, path: Option<&str>, text: String) {
        tracing::info!(kind, path, "{text}");
        let mut notices = self.said.notices.borrow_mut();
        if notices.len() < NOTICES_MAX {
            notices.push(Notice { kind: kind.into(), path: path.map(str::to_owned), text });
        }
    }

    /// Whether a file is there now. What is wrong with one file alone is kept for the end of the pull; anything else ends it.
    pub(crate) fn outcome_of(&self, path: &str, outcome: Result<(), PullError>) -> Result<bool, PullError> {
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_one_file() => {
                self.note_failed(path, Arc::new(error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn note_failed(&self, path: &str, error: Arc<PullError>) {
        tracing::info!(path, %error, "this file cannot be had");
        self.said.failed.borrow_mut().push(FailedFile { path: path.to_owned(), error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_looked_for_long_enough_is_not_said_to_be_missing() {
        let failing = || "; tracker http://t.example: timed out".to_owned();
        assert_eq!(none_found(false, String::new()), "none was found that has these files");
        let early = none_found(true, failing());
        assert!(
            early.ends_with("ended; tracker http://t.example: timed out") && !early.contains("none"),
            "{early}"
        );
    }
}
