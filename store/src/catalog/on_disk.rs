//! Whether a file on this disk is what the Hub named: as it was found before, or by reading it.

use std::fs::File;
use std::io;
use std::path::Path;

use zest_xet::Hash;

use super::Catalog;
use super::places::Copy;
use crate::digest::{self, BlobDigest};
use crate::error::{Context as _, StoreError};
use crate::os::{self, Identity};
use crate::tree::TreeEntry;

impl Catalog {
    /// Whether a file in this state was proven to be what the entry says, by this or another process of the same zest cache.
    #[must_use]
    pub fn is_proven(&self, identity: &Identity, entry: &TreeEntry) -> bool {
        let listed = |hash| {
            let inner = self.read();
            let number = inner.by_hash.get(&hash).copied();
            number.is_some_and(|n| inner.files[n as usize].copies.iter().any(|c| c.identity == *identity))
        };
        entry.xet_hash.is_some_and(listed) || self.proven.holds(identity, entry)
    }

    /// Notes that a file in this state is what the entry says: its bytes were hashed as they came.
    pub fn note_proven(&self, identity: &Identity, entry: &TreeEntry) {
        if let Err(error) = self.proven.note(identity, entry) {
            tracing::debug!(%error, "could not note what was proven; it will be proven again");
        }
    }

    /// Does something to a file here that changes its attributes and none of its bytes, as a second name does, and keeps what is known
    /// of it: its identity is noted anew where that of before was that of a proven file and only attributes differ. Who writes to the
    /// file in this very moment and sets its time back goes unseen, as in a rename; peers find out.
    ///
    /// # Errors
    /// What the change itself says. What cannot be noted is proven again by whoever needs it.
    pub fn through<T>(&self, path: &Path, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let path = std::fs::canonicalize(path)?;
        let before = Identity::of(&std::fs::metadata(&path)?);
        let done = change()?;
        let now = Identity::of(&std::fs::metadata(&path)?);
        if now != before
            && now.is_but_for_attributes(&before)
            && let Err(error) = self.renew(&path, before, now)
        {
            tracing::debug!(%error, "could not note a file's new state; it will be proven again");
        }
        Ok(done)
    }

    fn renew(&self, path: &Path, before: Identity, now: Identity) -> Result<(), StoreError> {
        self.proven.renew(&before, &now).at("write", path)?;
        let (old, new) =
            (Copy { path: path.into(), identity: before }, Copy { path: path.into(), identity: now });
        let listed: Vec<(u32, Hash)> = {
            let inner = self.read();
            let of = (0..).zip(&inner.files).filter(|(_, entry)| entry.copies.contains(&old));
            of.map(|(number, entry)| (number, entry.header.file)).collect()
        };
        for (number, file) in listed {
            let _lock = self.lock_files()?;
            // Another process may have missed the old state already, and dropped it.
            self.update_places(&file, |places| places.add_copy(&new))?;
            self.write().files[number as usize].put_copy(new.clone());
        }
        Ok(())
    }

    /// Reads a whole file and compares it with what the Hub named; notes it if it is right. `go_on` is told how many bytes were
    /// read each time, and may end it.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] and [`StoreError::WrongContent`] if it is something else, [`StoreError::Unreadable`] if it is
    /// somebody else's and closed, [`StoreError::ChangedMeanwhile`]; the system's, `Interrupted` if `go_on` said no.
    pub fn prove(
        &self,
        path: &Path,
        entry: &TreeEntry,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Identity, StoreError> {
        let file = open(path)?;
        let identity = Identity::of(&file.metadata().at("examine", path)?);
        let (expected, actual) = (entry.content_size(), identity.size);
        if expected != actual {
            return Err(StoreError::WrongSize { path: path.into(), expected, actual });
        }
        // The same file both times, whatever the name leads to meanwhile; from the start each time.
        let again = || {
            use std::io::Seek as _;
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        let objection = digest::objection(&again, actual, entry, go_on).at("read", path)?;
        if Identity::of(&file.metadata().at("examine", path)?) != identity {
            return Err(StoreError::ChangedMeanwhile { path: path.into() });
        }
        if let Some(BlobDigest { algorithm, expected, actual }) = objection {
            return Err(StoreError::WrongContent { path: path.into(), algorithm, expected, actual });
        }
        self.note_proven(&identity, entry);
        Ok(identity)
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    match os::open_read(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(StoreError::unreadable(path)),
        other => other.at("open", path),
    }
}
