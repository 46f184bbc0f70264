//! What lies on disk already is believed once it was proven: as noted by an earlier run, or by reading it now, beside the rest
//! of the pull. What does not fit its name is fetched anew and swapped in; whoever reads the old file keeps it.

use super::Pull;
use super::destination::OnDisk;
use crate::PullError;
use crate::api::{FileProgress, How};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zest_store::{Identity, Presence, StoreError, TreeEntry};

/// Files read at once, at most: two keep most disks busy, and each takes a processor.
const AT_ONCE_MAX: usize = 2;
/// Bytes to be read from which on it is said: 256 MB, about a fifth of a second.
const WORTH_SAYING: u64 = 256_000_000;

/// What the disk has of the files that are wanted.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) missing: Vec<TreeEntry>,
    pub(super) unproven: Vec<Unproven>,
}

/// One file on disk, and the names of the repository it is found under.
pub(super) struct Unproven {
    path: PathBuf,
    names: Vec<(TreeEntry, Presence)>,
}

/// A file that is being read to be proven.
pub(crate) struct Reading {
    path: String,
    size: u64,
    done: AtomicU64,
    stop: AtomicBool,
}

impl Reading {
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed).min(self.size)
    }

    pub(super) fn progress(&self) -> FileProgress {
        FileProgress { path: self.path.clone(), size: self.size, done: self.done() }
    }
}

/// Ends the reading when nobody waits for it any more.
struct StopOnDrop(Arc<Reading>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Pull {
    /// Looks at what is there of each file. What is there and proven is done with.
    pub(super) async fn look_at_disk(&self, wanted: Vec<TreeEntry>) -> Result<Looked, PullError> {
        let mut looked = Looked::default();
        if self.options.force {
            looked.missing = wanted;
            return Ok(looked);
        }
        let mut unproven: BTreeMap<(u64, u64, String), Unproven> = BTreeMap::new();
        for (entry, found) in self.look(wanted).await? {
            match found {
                None => looked.missing.push(entry),
                Some(found) if found.proven => self.settle(&entry, found.presence).await?,
                Some(found) => {
                    let Identity { dev, ino, .. } = found.identity;
                    let key = (dev, ino, entry.etag().to_owned());
                    let new = || Unproven { path: found.path, names: Vec::new() };
                    unproven.entry(key).or_insert_with(new).names.push((entry, found.presence));
                }
            }
        }
        looked.unproven = unproven.into_values().collect();
        // Small ones are known at once, and what is wrong among them is fetched with the rest.
        looked.unproven.sort_by_key(Unproven::size);
        Ok(looked)
    }

    pub(super) async fn look(
        &self,
        wanted: Vec<TreeEntry>,
    ) -> Result<Vec<(TreeEntry, Option<OnDisk>)>, PullError> {
        let (repo, commit, dry_run) = (&self.options.repo, &self.commit.id, self.options.dry_run);
        self.destination.look(repo, commit, wanted, self.commit.as_found, dry_run).await
    }

    /// A file that is there and right.
    pub(super) async fn settle(&self, entry: &TreeEntry, presence: Presence) -> Result<(), PullError> {
        self.note_whose(entry);
        match presence {
            Presence::Complete(_) => self.file_done(entry, How::Cached),
            _ => {
                if !self.options.dry_run {
                    self.destination.link(&self.options.repo, &self.commit.id, entry).await?;
                }
                self.file_done(entry, How::Linked);
            }
        }
        Ok(())
    }

    /// Reads what nobody has proven yet, and fetches anew what is not what the Hub named.
    pub(super) async fn prove_all(self: Rc<Self>, unproven: Vec<Unproven>) -> Result<(), PullError> {
        let bytes: u64 = unproven.iter().map(Unproven::size).sum();
        if bytes >= WORTH_SAYING {
            let (files, gb) = (unproven.len(), bytes as f64 / 1e9);
            let what = if files == 1 { "file lies" } else { "files lie" };
            let text = format!(
                "{files} {what} here already ({gb:.1} GB) that zest has not proven yet: reading once, beside the rest"
            );
            self.notice("proving", None, text);
        }
        let width = std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE_MAX);
        let mut waiting = unproven.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < width {
                let Some(file) = waiting.next() else { break };
                running.push(self.clone().prove_one(file));
            }
            match running.next().await {
                Some(done) => done?,
                None => return Ok(()),
            }
        }
    }

    async fn prove_one(self: Rc<Self>, file: Unproven) -> Result<(), PullError> {
        let Unproven { path, mut names } = file;
        let Some((entry, _)) = names.first().cloned() else { return Ok(()) };
        match self.prove(&entry, path.clone()).await? {
            Ok(()) => {
                for (entry, presence) in names {
                    self.settle(&entry, presence).await?;
                }
                return Ok(());
            }
            Err(error) if is_something_else(&error) => {
                let can_fetch = self.client.is_some() || self.may_ask_peers();
                let next =
                    if can_fetch && !self.options.dry_run { "fetching it anew" } else { "it is wrong" };
                let text = format!("{}: not what the Hub named: {error}; {next}", entry.path);
                self.notice("wrong-on-disk", Some(&entry.path), text);
                if self.options.dry_run {
                    names.iter().for_each(|(entry, _)| self.file_done(entry, How::Wanted));
                    return Ok(());
                }
                if !can_fetch {
                    return self.failed_all(&names, error);
                }
            }
            Err(error) => return self.failed_all(&names, error),
        }
        names.remove(0);
        let fetched = match self.is_chunked(&entry) {
            true => {
                self.destination.keep_what_is_right(&self.options.repo, &entry, path).await?;
                self.clone().fetch_chunked(vec![entry.clone()]).await
            }
            false => self.clone().fetch_plain(vec![entry.clone()]).await,
        };
        fetched?;
        let twins = names.into_iter().map(|(twin, _)| (twin, entry.clone())).collect();
        self.link_twins(twins).await
    }

    /// Reads a file. The outer error ends the pull; the inner one says what is wrong with the file.
    pub(super) async fn prove(
        &self,
        entry: &TreeEntry,
        path: PathBuf,
    ) -> Result<Result<(), StoreError>, PullError> {
        let reading = Arc::new(Reading {
            path: entry.path.clone(),
            size: entry.content_size(),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let _stop = StopOnDrop(reading.clone());
        self.tally.reading.borrow_mut().push(reading.clone());
        let proof = self.destination.prove(path, entry.clone(), {
            let reading = reading.clone();
            move |bytes| {
                reading.done.fetch_add(bytes, Ordering::Relaxed);
                !reading.stop.load(Ordering::Relaxed)
            }
        });
        let proof = proof.await;
        self.tally.reading.borrow_mut().retain(|other| !Arc::ptr_eq(other, &reading));
        proof
    }

    fn failed_all(&self, names: &[(TreeEntry, Presence)], error: StoreError) -> Result<(), PullError> {
        let error = Arc::new(PullError::Store(error));
        names.iter().for_each(|(entry, _)| self.note_failed(&entry.path, error.clone()));
        Ok(())
    }
}

impl Unproven {
    fn size(&self) -> u64 {
        self.names.first().map_or(0, |(entry, _)| entry.content_size())
    }
}

/// Whether the file is there and readable, and its bytes are wrong (or moved while they were read: then what comes is right).
fn is_something_else(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::WrongSize { .. } | StoreError::WrongContent { .. } | StoreError::ChangedMeanwhile { .. }
    )
}
