//! Putting finished files into the cache: verified, durable, by rename, with the links that readers follow.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::shared::SharedStore;
use super::{HfCache, Names, Presence, is_file_of};
use crate::digest;
use crate::error::{Context as _, StoreError};
use crate::names::RepoId;
use crate::os::{self, Identity};
use crate::partial::FinishedFile;
use crate::tree::TreeEntry;

impl HfCache {
    /// Makes a [`Presence::Linkable`] file complete: the user's line in the shared store, the blob's link,
    /// the snapshot's link. Writes only what is missing. Without symlinks the blob is copied.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] if the blob is not there after all; [`StoreError::Foreign`] if something is
    /// in the way; the system's.
    pub fn link(&self, repo: &RepoId, commit: &str, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        let names = self.names(repo, commit, entry)?;
        if let Presence::Complete(path) = self.presence(repo, commit, entry) {
            return Ok(path);
        }
        self.prepare(&names)?;
        let size = entry.content_size();
        let blob = self.root.join(&names.blob);
        if !is_file_of(&blob, size) {
            let (Some(store), Some(hash)) = (self.shared_store(), entry.xet_hash) else {
                let actual = fs::metadata(&blob).map_or(0, |meta| meta.len());
                return Err(StoreError::WrongSize { path: blob, expected: size, actual });
            };
            let path = store.blob(&hash);
            let lock = store.lock(&hash, &|text| self.remark(text)).at("lock", &path)?;
            if !store.holds(&hash, size) {
                let actual = fs::metadata(&path).map_or(0, |meta| meta.len());
                return Err(StoreError::WrongSize { path, expected: size, actual });
            }
            match lock {
                Some(_lock) => self.link_blob(&store, &names, entry)?,
                None => self.own_blob(&names, &path, size)?,
            }
        }
        self.point(&names, false)
    }

    /// Puts the content of another file of the same commit, which is in place, under the name of this one. Where links work that
    /// is one more link; elsewhere the file itself was moved to its place, and is copied from there.
    ///
    /// # Errors
    /// As [`HfCache::link`].
    pub fn link_twin(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        first: &TreeEntry,
    ) -> Result<PathBuf, StoreError> {
        let names = self.names(repo, commit, entry)?;
        let source = self.root.join(self.names(repo, commit, first)?.pointer);
        let size = entry.content_size();
        self.prepare(&names)?;
        // Whatever stands there was not believed, or was to be fetched anew.
        if self.symlinks_work() && is_file_of(&self.root.join(&names.blob), size) {
            return self.point(&names, true);
        }
        if !is_file_of(&source, size) {
            return self.link(repo, commit, entry);
        }
        let pointer = self.root.join(&names.pointer);
        self.make_folder_of(&names, &pointer)?;
        self.copy_into_place(&names, &source, &pointer, size)?;
        Ok(pointer)
    }

    /// A new file for downloading a small or plain file: `blobs/<etag>.<8 hex>.incomplete`, on the file
    /// system it will stay on.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn temp_file(&self, repo: &RepoId, entry: &TreeEntry) -> Result<(File, PathBuf), StoreError> {
        entry.check()?;
        let dir = self.repo_dir(repo).join("blobs");
        self.make_dirs(&dir)?;
        let path = dir.join(format!("{}.{}.incomplete", entry.etag(), os::random_hex()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).at("create", &path)?;
        // As long as somebody holds it, nobody takes it for a leftover.
        let _ = file.try_lock();
        Ok((file, path))
    }

    /// Checks a downloaded file against its git blob id (small files) or sha256 (LFS) and lands it. The
    /// temporary file is gone afterwards, landed or not, unless the disk was the problem.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] and [`StoreError::WrongContent`] if it is not what the Hub named; the
    /// system's.
    pub fn land_small(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        temp: &Path,
    ) -> Result<PathBuf, StoreError> {
        let names = self.names(repo, commit, entry)?;
        let file = File::open(temp).at("open", temp)?;
        if let Err(error) = digest::check_content(temp, &file, entry) {
            if matches!(error, StoreError::WrongSize { .. } | StoreError::WrongContent { .. }) {
                let _ = fs::remove_file(temp);
            }
            return Err(error);
        }
        file.sync_data().at("flush", temp)?;
        self.prepare(&names)?;
        // It was fetched because what stands there, if anything does, is not it.
        self.land_local(&names, entry, temp, true)
    }

    /// The folder to open this file's [`crate::Partial`] in: beside the shared blob if there is a store, else
    /// among the repository's blobs.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn partial_dir(&self, repo: &RepoId, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        entry.check()?;
        let blobs = self.repo_dir(repo).join("blobs");
        self.make_dirs(&blobs)?;
        let links = self.symlinks_work();
        match (self.shared_store(), entry.xet_hash) {
            (Some(store), Some(hash)) if links => {
                let prefix = store.prepare(&hash).at("prepare shared blob store", &store.dir())?;
                Ok(prefix.unwrap_or(blobs))
            }
            _ => Ok(blobs),
        }
    }

    /// Lands a finished partial file whose every byte was proven. With `replace` a blob that is already there
    /// is replaced (a forced download, a repair).
    ///
    /// Order, so that nobody sees half a file and the store's collector no blob without its user: user's line
    /// durable, blob renamed, link renamed, all under the blob's lock.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if a directory is in the way; the system's. The partial file is kept for the
    /// next try.
    pub fn land_xet(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        finished: FinishedFile,
        replace: bool,
    ) -> Result<PathBuf, StoreError> {
        let names = self.names(repo, commit, entry)?;
        let (size, spec) = (entry.content_size(), finished.spec());
        assert!(
            entry.xet_hash == Some(spec.file) && size == spec.size,
            "a finished file must be landed as the file it was opened for"
        );
        self.prepare(&names)?;
        let links = self.symlinks_work();
        let store = self.shared_store().filter(|_| links);
        let prefix = match &store {
            Some(store) => store.prepare(&spec.file).at("prepare shared blob store", &store.dir())?,
            None => None,
        };
        let (Some(store), Some(prefix)) = (store, prefix) else {
            let path = self.land_local(&names, entry, &finished.data_path, replace)?;
            finished.landed()?;
            return Ok(path);
        };

        let blob = store.blob(&spec.file);
        let Some(lock) = store.lock(&spec.file, &|text| self.remark(text)).at("lock", &blob)? else {
            let path = self.land_local(&names, entry, &finished.data_path, replace)?;
            finished.landed()?;
            return Ok(path);
        };
        let finished = if !replace && store.holds(&spec.file, size) {
            finished.superseded()?;
            None
        } else {
            self.make_way(&blob, size, &prefix)?;
            store.append_ref(&spec.file, &names.blob).at("note the user of", &blob)?;
            store.seal(&finished.data_path, &prefix).at("set the permissions of", &finished.data_path)?;
            fs::rename(&finished.data_path, &blob).at("rename into place", &blob)?;
            os::sync_dir(&prefix).at("flush", &prefix)?;
            Some(finished)
        };
        self.link_blob(&store, &names, entry)?;
        drop(lock);
        let path = self.point(&names, replace)?;
        finished.map_or(Ok(()), FinishedFile::landed)?;
        Ok(path)
    }

    /// Makes one of two copies. A program that has this very cache, and was given the file over the local endpoint, puts a copy of its own in the
    /// place of the link to the store's blob: the link takes that place again. Both are what their names say, if the store's blob
    /// `is_proven`, and whoever has the other one open goes on reading it.
    ///
    /// Says whether there were two; `None` while somebody holds the file's lock, as that program does until its copy is in place.
    ///
    /// # Errors
    /// As [`HfCache::link`].
    pub fn unite(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        is_proven: impl FnOnce(&Identity) -> bool,
    ) -> Result<Option<bool>, StoreError> {
        let names = self.names(repo, commit, entry)?;
        let (Some(store), Some(hash)) = (self.shared_store(), entry.xet_hash) else { return Ok(Some(false)) };
        let Some(_lock) = self.try_lock(repo, entry)? else { return Ok(None) };
        let (blob, size) = (self.root.join(&names.blob), entry.content_size());
        let own = fs::symlink_metadata(&blob).ok().filter(|meta| meta.is_file() && meta.len() == size);
        let (Some(own), true) =
            (own.map(|meta| Identity::of(&meta)), store.is_marked() && store.holds(&hash, size))
        else {
            return Ok(Some(false));
        };
        let shared = store.blob(&hash);
        let shared = Identity::of(&fs::metadata(&shared).at("examine", &shared)?);
        if (shared.dev, shared.ino) == (own.dev, own.ino) || !is_proven(&shared) {
            return Ok(Some(false));
        }
        let locked = store.lock(&hash, &|text| self.remark(text)).at("lock", &store.blob(&hash))?;
        let Some(_locked) = locked else { return Ok(Some(false)) };
        self.link_blob(&store, &names, entry)?;
        Ok(Some(true))
    }

    /// Lands a file in the repository itself: as blob and link, or without symlinks as the snapshot's file.
    pub(super) fn land_local(
        &self,
        names: &Names,
        entry: &TreeEntry,
        from: &Path,
        replace: bool,
    ) -> Result<PathBuf, StoreError> {
        let blobs = self.root.join(&names.blobs);
        let linked = self.symlinks_work();
        let to = self.root.join(if linked { &names.blob } else { &names.pointer });
        self.make_folder_of(names, &to)?;
        let dir = to.parent().expect("files lie in folders");
        self.make_way(&to, entry.content_size(), &blobs)?;
        fs::rename(from, &to).at("rename into place", &to)?;
        os::sync_dir(dir).at("flush", dir)?;
        if linked { self.point(names, replace) } else { Ok(to) }
    }

    /// Makes `<repo>/blobs/<etag>` a file of its own with the bytes of a blob of the store: another name of it where that is
    /// allowed, else a copy.
    fn own_blob(&self, names: &Names, from: &Path, size: u64) -> Result<(), StoreError> {
        let blob = self.root.join(&names.blob);
        let temp = self.root.join(format!("{}.{}.incomplete", names.blob, os::random_hex()));
        if fs::hard_link(from, &temp).is_ok() {
            let named = fs::rename(&temp, &blob).inspect_err(|_| drop(fs::remove_file(&temp)));
            return named.at("rename into place", &blob);
        }
        self.copy_into_place(names, from, &blob, size)
    }

    /// Makes `<repo>/blobs/<etag>` a link into the store. The store's lock is held.
    fn link_blob(&self, store: &SharedStore<'_>, names: &Names, entry: &TreeEntry) -> Result<(), StoreError> {
        let hash = entry.xet_hash.expect("only files in Xet storage are shared");
        let blob = self.root.join(&names.blob);
        let target = os::relative_target(&names.blob, &SharedStore::blob_name(&hash));
        if fs::read_link(&blob).is_ok_and(|text| text == target) {
            return Ok(());
        }
        self.make_way(&blob, entry.content_size(), &self.root.join(&names.blobs))?;
        store.append_ref(&hash, &names.blob).at("note the user of", &store.blob(&hash))?;
        self.replace_by_link(names, &target, &blob)
    }

    /// Makes the snapshot's file lead to the blob. A file that stands there already is left alone if it has
    /// the blob's size, unless `replace`.
    fn point(&self, names: &Names, replace: bool) -> Result<PathBuf, StoreError> {
        let blob = self.root.join(&names.blob);
        let pointer = self.root.join(&names.pointer);
        self.make_folder_of(names, &pointer)?;
        let size = fs::metadata(&blob).at("examine", &blob)?.len();
        if !self.symlinks_work() {
            self.copy_into_place(names, &blob, &pointer, size)?;
            return Ok(pointer);
        }
        let target = os::relative_target(&names.pointer, &names.blob);
        if fs::read_link(&pointer).is_ok_and(|text| text == target)
            || (!replace && is_file_of(&pointer, size))
        {
            return Ok(pointer);
        }
        self.make_way(&pointer, size, &self.root.join(&names.blobs))?;
        self.replace_by_link(names, &target, &pointer)?;
        Ok(pointer)
    }

    fn copy_into_place(&self, names: &Names, from: &Path, to: &Path, size: u64) -> Result<(), StoreError> {
        self.make_way(to, size, &self.root.join(&names.blobs))?;
        let temp = self.root.join(format!("{}.{}.incomplete", names.blob, os::random_hex()));
        let copy = || {
            fs::copy(from, &temp)?;
            File::open(&temp)?.sync_data()?;
            fs::rename(&temp, to)
        };
        let copied = copy().inspect_err(|_| drop(fs::remove_file(&temp)));
        copied.map_err(|source| StoreError::from_io("copy into place", to, source, size))
    }

    /// Puts a link in place. Where nothing is yet, it is made there, so that who is killed leaves nothing; else it replaces what is
    /// there by rename, and is made among the blobs, where a leftover disturbs no scan.
    fn replace_by_link(&self, names: &Names, target: &Path, link: &Path) -> Result<(), StoreError> {
        match os::symlink(target, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.at("link", link),
        }
        let (dir, etag) = names.blob.rsplit_once('/').expect("a blob's name has a folder");
        let temp = self.root.join(dir).join(format!(".{etag}.{}.link", os::random_hex()));
        let make = || {
            os::symlink(target, &temp)?;
            fs::rename(&temp, link)
        };
        make().inspect_err(|_| drop(fs::remove_file(&temp))).at("link", link)
    }

    /// Makes the folder of a file of the repository. A stray file in a folder's place is moved aside.
    fn make_folder_of(&self, names: &Names, path: &Path) -> Result<(), StoreError> {
        let dir = path.parent().expect("files lie in folders");
        match fs::create_dir_all(dir) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {}
            made => return made.at("create directory", dir),
        }
        let below: Vec<&Path> = dir.ancestors().take_while(|above| *above != self.root).collect();
        let is_stray =
            |path: &&&Path| fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir() && !path.is_dir());
        if let Some(stray) = below.iter().rev().find(is_stray) {
            let name = stray.file_name().unwrap_or_default().to_string_lossy();
            let to = self.root.join(&names.blobs).join(format!("{name}.{}.displaced", os::random_hex()));
            fs::rename(stray, &to).at("move aside", stray)?;
            self.remark(format!("{} stood in a folder's place: moved to {}", stray.display(), to.display()));
        }
        fs::create_dir_all(dir).at("create directory", dir)
    }

    fn make_way(&self, path: &Path, size: u64, aside: &Path) -> Result<(), StoreError> {
        make_way(path, size, aside)?.into_iter().for_each(|text| self.remark(text));
        Ok(())
    }

    /// Creates the folders every landing needs.
    pub(super) fn prepare(&self, names: &Names) -> Result<(), StoreError> {
        self.make_dirs(&self.root.join(&names.blobs))
    }

    pub(super) fn make_dirs(&self, blobs: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(blobs).at("create directory", blobs)?;
        self.tag();
        Ok(())
    }
}

/// Clears the way for a rename to `path`. Links and empty files may be replaced, and so may a file of the
/// size that belongs here (a copy of what comes); a file of another size is moved into `aside` under a name
/// that says so; anything else is an error.
fn make_way(path: &Path, size: u64, aside: &Path) -> Result<Option<String>, StoreError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("examine", path),
    };
    if meta.is_symlink() || (meta.is_file() && (meta.len() == 0 || meta.len() == size)) {
        return Ok(None);
    }
    if !meta.is_file() {
        let found = if meta.is_dir() { "a directory" } else { "neither file nor directory" };
        return Err(StoreError::Foreign { path: path.into(), found, expected: "a file of the cache" });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = aside.join(format!("{name}.{}.displaced", os::random_hex()));
    fs::rename(path, &to).at("move aside", path)?;
    let (bytes, path, to) = (meta.len(), path.display(), to.display());
    Ok(Some(format!("{path} had {bytes} bytes and not {size}: moved to {to}")))
}
