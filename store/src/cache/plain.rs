//! Files that come as they are, on their way into the cache.

use std::path::PathBuf;

use super::HfCache;
use crate::error::StoreError;
use crate::names::RepoId;
use crate::partial::FinishedFile;
use crate::plain::Leftovers;
use crate::tree::TreeEntry;

impl HfCache {
    /// The folder to open this file's [`crate::PlainPartial`] in: among the repository's blobs.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn plain_dir(&self, repo: &RepoId, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        entry.check()?;
        let blobs = self.repo_dir(repo).join("blobs");
        self.make_dirs(&blobs)?;
        Ok(blobs)
    }

    /// Lands a finished file whose content was proven.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if a directory is in the way; the system's. The partial file is kept for the next try.
    pub fn land_plain(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        finished: FinishedFile,
    ) -> Result<PathBuf, StoreError> {
        let names = self.names(repo, commit, entry)?;
        assert!(
            entry.content_size() == finished.spec().size,
            "a file must be landed as what it was opened for"
        );
        self.prepare(&names)?;
        let path = self.land_local(&names, entry, finished.path(), true)?;
        finished.landed()?;
        Ok(path)
    }

    /// What downloads into this repository left that died.
    #[must_use]
    pub fn leftovers(&self, repo: &RepoId) -> Leftovers {
        let mut leftovers = Leftovers::default();
        leftovers.look_into(&self.repo_dir(repo).join("blobs"));
        leftovers
    }

    /// Takes out what was left of this file and removes it, all but what can be gone on with. Call it with the file's lock
    /// ([`HfCache::try_lock`]) held: under it such files are written.
    pub fn claim_leftover(
        &self,
        leftovers: &mut Leftovers,
        repo: &RepoId,
        entry: &TreeEntry,
    ) -> Option<PathBuf> {
        let stem = self.repo_dir(repo).join("blobs").join(entry.etag());
        leftovers.claim(&[stem], entry)
    }
}
