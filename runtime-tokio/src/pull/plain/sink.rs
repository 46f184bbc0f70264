//! Where the bytes of a plain file go: small ones stay in memory until they are whole, others into a partial file.

use crate::PullError;
use crate::pull::destination::Destination;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;
use zest_store::{Filling, Looked, PartialError, PlainPartial, RepoId, StoreError, TreeEntry, WINDOW_BYTES};

/// The longest file that stays in memory: 1 MiB. Ours; a partial file with its journal costs more than to fetch so much again.
pub(super) const SMALL_BYTES: u64 = 1 << 20;
/// Windows of an earlier run looked at in one go: 32, 4 MiB.
const LOOK_AT: usize = 32;
/// Bytes of a file after which what is written is made durable: 256 MiB, as for files in Xet.
const SYNC_BYTES: u64 = 256 << 20;

pub(super) enum Sink {
    Memory { bytes: Vec<u8>, size: u64 },
    Disk(File),
}

pub(super) struct File {
    partial: Arc<PlainPartial>,
    filling: Filling,
    unsynced: u64,
    /// Makes durable what was written some time ago.
    syncing: Option<JoinHandle<()>>,
}

/// What an earlier run left of a file.
pub(super) struct Earlier(Arc<PlainPartial>);

impl Sink {
    /// `None`: another process has the partial file.
    pub(super) async fn open(
        destination: &Destination,
        repo: &RepoId,
        entry: &TreeEntry,
        leftover: Option<PathBuf>,
    ) -> Result<Option<Self>, PullError> {
        let size = entry.content_size();
        if size <= SMALL_BYTES {
            return Ok(Some(Self::Memory { bytes: Vec::new(), size }));
        }
        match destination.open_plain(repo, entry, leftover).await? {
            Ok(partial) => {
                let (partial, filling) = (Arc::new(partial), Filling::default());
                Ok(Some(Self::Disk(File { partial, filling, unsynced: 0, syncing: None })))
            }
            Err(PartialError::Busy { .. }) => Ok(None),
            Err(PartialError::Store(error)) => Err(error.into()),
        }
    }

    /// The next bytes to fetch.
    pub(super) fn gap(&mut self) -> Option<Range<u64>> {
        match self {
            Self::Memory { bytes, size } => Some(bytes.len() as u64..*size).filter(|gap| !gap.is_empty()),
            Self::Disk(File { partial, filling, .. }) => {
                let gap = partial.gap()?;
                // What was begun is gone on with.
                if !(gap.contains(&filling.at()) && filling.at() / WINDOW_BYTES == gap.start / WINDOW_BYTES) {
                    *filling = Filling::from(gap.start);
                }
                Some(filling.at()..gap.end)
            }
        }
    }

    /// Where the next byte goes.
    pub(super) fn at(&self) -> u64 {
        match self {
            Self::Memory { bytes, .. } => bytes.len() as u64,
            Self::Disk(file) => file.filling.at(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, new: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Memory { bytes, .. } => bytes.extend_from_slice(new),
            Self::Disk(file) => {
                file.partial.fill(&mut file.filling, new)?;
                file.unsynced += new.len() as u64;
                // Before the last sync is done there is no use in another one.
                let idle = file.syncing.as_ref().is_none_or(JoinHandle::is_finished);
                if file.unsynced >= SYNC_BYTES && idle {
                    file.unsynced = 0;
                    let partial = file.partial.clone();
                    file.syncing = Some(tokio::task::spawn_blocking(move || {
                        if let Err(error) = partial.sync() {
                            tracing::warn!(target: zest_store::SAID, kind = "not-durable", "what is fetched may be lost if power fails: {error}");
                        }
                    }));
                }
            }
        }
        Ok(())
    }

    /// Some bytes that are here and where they are; `None` if it is so little that it is soon fetched anew.
    pub(super) fn sample(&self) -> Option<(Range<u64>, Vec<u8>)> {
        match self {
            Self::Memory { .. } => None,
            Self::Disk(file) => file.partial.sample(),
        }
    }

    /// Forgets what came: it was of another file.
    pub(super) fn restart(&mut self, entry: &TreeEntry) -> Result<(), PullError> {
        let restarted = match self {
            Self::Memory { bytes, .. } => {
                bytes.clear();
                Ok(())
            }
            Self::Disk(file) => {
                file.filling = Filling::default();
                file.partial.restart()
            }
        };
        restarted.map_err(|source| self.error(source, entry))
    }

    /// What an earlier run left and nobody has looked at.
    pub(super) fn earlier(&self) -> Option<Earlier> {
        match self {
            Self::Disk(file) if file.partial.unchecked_bytes() > 0 => Some(Earlier(file.partial.clone())),
            _ => None,
        }
    }

    /// Proves the whole and puts it in its place. If it is not the file, it comes back, empty, with the reason.
    pub(super) async fn land(
        self,
        destination: &Destination,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
    ) -> Result<Result<(), (StoreError, Self)>, PullError> {
        let mut file = match self {
            Self::Memory { bytes, size } => {
                let landed = destination.land_bytes(repo, commit, entry, bytes).await?;
                return match landed {
                    Ok(_) => Ok(Ok(())),
                    Err(error) if is_wrong(&error) => {
                        Ok(Err((error, Self::Memory { bytes: Vec::new(), size })))
                    }
                    Err(error) => Err(error.into()),
                };
            }
            Self::Disk(file) => file,
        };
        if let Some(syncing) = file.syncing.take() {
            let _ = syncing.await;
        }
        match destination.prove_plain(entry, file.partial.clone()).await? {
            Ok(()) => {}
            Err(error) if is_wrong(&error) => {
                let restarted = file.partial.restart();
                restarted.map_err(|source| StoreError::from_io("write", file.partial.path(), source, 0))?;
                file.filling = Filling::default();
                return Ok(Err((error, Self::Disk(file))));
            }
            Err(error) => return Err(error.into()),
        }
        let Some(partial) = Arc::into_inner(file.partial) else { return Err(PullError::EngineGone) };
        destination.land_plain(repo, commit, entry, partial).await??;
        Ok(Ok(()))
    }

    /// Nobody will come back to it.
    pub(super) fn abandon(self) {
        if let Self::Disk(file) = self
            && let Some(partial) = Arc::into_inner(file.partial)
        {
            let _ = partial.abandon();
        }
    }

    pub(super) fn error(&self, source: std::io::Error, entry: &TreeEntry) -> PullError {
        let path = match self {
            Self::Memory { .. } => PathBuf::from(&entry.path),
            Self::Disk(file) => file.partial.path().to_path_buf(),
        };
        StoreError::from_io("write", &path, source, entry.content_size()).into()
    }
}

fn is_wrong(error: &StoreError) -> bool {
    matches!(error, StoreError::WrongContent { .. } | StoreError::WrongSize { .. })
}

impl Earlier {
    /// Looks at some of it; `None` when all of it was looked at.
    pub(super) async fn look(&self) -> Result<Option<Looked>, PullError> {
        let partial = self.0.clone();
        let looked = tokio::task::spawn_blocking(move || partial.check(LOOK_AT)).await;
        let looked = looked.map_err(|_| PullError::EngineGone)?;
        looked.map_err(|source| StoreError::from_io("read", self.0.path(), source, 0).into())
    }
}
