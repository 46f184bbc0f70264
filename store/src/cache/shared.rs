//! The store shared by all repositories of a cache: `blobs/<2 hex>/<xet hash>` with its `.refs` and `.lock`.

use crate::limits::{LOCK_PATIENCE, REFS_BYTES_MAX};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zest_xet::Hash;

use crate::lock::FileLock;
use crate::os;

/// The file whose presence and content make the folder a store.
const MARKER: &str = ".huggingface-shared-blobs";
/// Content of the marker: the layout's version.
const MARKER_TEXT: &[u8] = b"1\n";
/// How often an unmarked store is marked. huggingface_hub clears away what looks like the leftover of a process that died while it
/// did this, and takes ours for one if it comes at the same time.
const MARK_TRIES: usize = 8;
/// Mode of `.refs` and `.lock`: all users of a shared cache append and lock (huggingface_hub).
const COMPANION_MODE: u32 = 0o666;

/// Paths and rules of the store below one cache root.
pub(super) struct SharedStore<'a> {
    root: &'a Path,
}

impl<'a> SharedStore<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        SharedStore { root }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Relative to the root, `/`-separated.
    pub(super) fn blob_name(hash: &Hash) -> String {
        let hash = hash.to_string();
        format!("blobs/{}/{hash}", &hash[..2])
    }

    pub(super) fn blob(&self, hash: &Hash) -> PathBuf {
        self.root.join(Self::blob_name(hash))
    }

    fn companion(&self, hash: &Hash, suffix: &str) -> PathBuf {
        self.root.join(format!("{}{suffix}", Self::blob_name(hash)))
    }

    /// Whether the folder is a store of the layout we know. An unmarked folder is somebody else's.
    pub(super) fn is_marked(&self) -> bool {
        let dir = self.dir();
        let marker = dir.join(MARKER);
        let is = |path: &Path, test: fn(&fs::Metadata) -> bool| {
            fs::symlink_metadata(path).is_ok_and(|meta| test(&meta))
        };
        is(&dir, fs::Metadata::is_dir)
            && is(&marker, fs::Metadata::is_file)
            && fs::read(&marker).is_ok_and(|text| text == MARKER_TEXT)
    }

    /// Whether the blob is there: a regular file of this size that we may read.
    pub(super) fn holds(&self, hash: &Hash, size: u64) -> bool {
        let path = self.blob(hash);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() == size => File::open(&path).is_ok(),
            _ => false,
        }
    }

    /// Creates the store and the blob's folder. `Ok(None)`: a foreign folder stands there, or one that
    /// belongs to somebody else and is closed to us; the store cannot be used.
    pub(super) fn prepare(&self, hash: &Hash) -> io::Result<Option<PathBuf>> {
        match self.try_prepare(hash) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            other => other,
        }
    }

    fn try_prepare(&self, hash: &Hash) -> io::Result<Option<PathBuf>> {
        let dir = self.dir();
        make_dir(&dir)?;
        if !self.has_mark(&dir)? {
            return Ok(None);
        }
        let prefix = dir.join(&hash.to_string()[..2]);
        make_dir(&prefix)?;
        if !fs::symlink_metadata(&prefix)?.is_dir() {
            return Ok(None);
        }
        self.mirror_mode(&prefix)?;
        Ok(Some(prefix))
    }

    /// Marks the folder if nothing is in it, and says whether it is marked then.
    fn has_mark(&self, dir: &Path) -> io::Result<bool> {
        for _ in 0..MARK_TRIES {
            if self.is_marked() {
                return Ok(true);
            }
            if !is_empty_but_for_temps(dir)? {
                // Another process may have marked it since.
                return Ok(self.is_marked());
            }
            self.mirror_mode(dir)?;
            match self.mark(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(self.is_marked())
    }

    fn mark(&self, dir: &Path) -> io::Result<()> {
        let temp = dir.join(format!("{MARKER}.{}.tmp", os::random_hex()));
        let write = || {
            fs::write(&temp, MARKER_TEXT)?;
            os::set_mode(&temp, self.blob_mode())?;
            fs::rename(&temp, dir.join(MARKER))
        };
        write().inspect_err(|_| drop(fs::remove_file(&temp)))
    }

    /// The lock for publishing, referring to and collecting one blob. Every user of the machine can take it and keep it, so it is
    /// waited for only so long; `None` then, and the store cannot be used.
    pub(super) fn lock(&self, hash: &Hash, remark: &dyn Fn(String)) -> io::Result<Option<FileLock>> {
        let path = self.companion(hash, ".lock");
        let holder = || FileLock::holder(&path).unwrap_or_else(|| "somebody".to_owned());
        let on_wait = || remark(format!("waiting for {}: {} holds it", path.display(), holder()));
        let lock = FileLock::acquire_within(&path, COMPANION_MODE, LOCK_PATIENCE, on_wait)?;
        if lock.is_none() {
            let secs = LOCK_PATIENCE.as_secs();
            remark(format!(
                "{} still holds {} after {secs} s: going on without the shared store",
                holder(),
                path.display()
            ));
        }
        Ok(lock)
    }

    /// Whether this user of the blob is in its list.
    pub(super) fn has_ref(&self, hash: &Hash, user: &str) -> bool {
        read_refs(&self.companion(hash, ".refs"))
            .split(|&byte| byte == b'\n')
            .any(|line| line == user.as_bytes())
    }

    /// Users of the blob, as its list has them; `None` if there is no list that can be read. Lines that lead out of the cache are
    /// nobody.
    pub(super) fn users(&self, hash: &Hash) -> Option<Vec<String>> {
        let path = self.companion(hash, ".refs");
        let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let text = String::from_utf8(read_refs(&path)).ok().filter(|text| text.len() as u64 == meta.len())?;
        let inside = |line: &&str| {
            let below = |part| matches!(part, std::path::Component::Normal(_));
            !line.is_empty() && Path::new(line).components().all(below)
        };
        Some(text.lines().filter(inside).map(str::to_owned).collect())
    }

    /// The list of a blob that is gone. Best effort.
    pub(super) fn forget_users(&self, hash: &Hash) {
        let _ = fs::remove_file(self.companion(hash, ".refs"));
    }

    /// Adds a user of the blob (`<repo>/blobs/<etag>`), durably: the collector must never miss one whose link
    /// exists.
    pub(super) fn append_ref(&self, hash: &Hash, user: &str) -> io::Result<()> {
        let path = self.companion(hash, ".refs");
        let known = read_refs(&path);
        // A line that is there already needs no second one; a read-only list then is no obstacle either.
        if known.ends_with(b"\n") && known.split(|&byte| byte == b'\n').any(|line| line == user.as_bytes()) {
            return Ok(());
        }
        // A torn last line must not swallow ours.
        let start = if known.is_empty() || known.ends_with(b"\n") { "" } else { "\n" };
        let line = format!("{start}{user}\n");
        let mut file = os::open_nofollow(&path, true, COMPANION_MODE)?;
        // Best effort: the file may be another user's.
        let _ = os::set_file_mode(&file, COMPANION_MODE);
        file.write_all(line.as_bytes())?;
        file.sync_all()
    }

    /// Makes a finished file immutable and readable for those who may enter the cache.
    pub(super) fn seal(&self, path: &Path, prefix: &Path) -> io::Result<()> {
        let mode = self.blob_mode();
        os::set_mode(path, mode)?;
        let group = os::group(&fs::metadata(prefix)?);
        if os::group(&fs::metadata(path)?) != group
            && let Err(error) = os::give_to_group(path, group)
            && mode & 0o040 != 0
            && mode & 0o004 == 0
        {
            // Only the wrong group could read it.
            return Err(error);
        }
        Ok(())
    }

    /// 0400, and read for group and others if they may enter the cache's root.
    fn blob_mode(&self) -> u32 {
        let root = fs::metadata(self.root).map_or(0, |meta| os::mode(&meta));
        0o400 | if root & 0o010 != 0 { 0o040 } else { 0 } | if root & 0o001 != 0 { 0o004 } else { 0 }
    }

    /// Folders of the store have the root's access bits, set-gid and sticky bit included.
    fn mirror_mode(&self, dir: &Path) -> io::Result<()> {
        let wanted = os::mode(&fs::metadata(self.root)?) & 0o3777;
        if os::mode(&fs::symlink_metadata(dir)?) == wanted { Ok(()) } else { os::set_mode(dir, wanted) }
    }
}

/// What a list of users says. Anybody may have put anything there: only so much of a regular file is read.
fn read_refs(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let read = os::open_read_nofollow(path).and_then(|file| file.take(REFS_BYTES_MAX).read_to_end(&mut text));
    if read.is_ok() { text } else { Vec::new() }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether a folder has nothing in it but what an interrupted marking left.
fn is_empty_but_for_temps(dir: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(dir)?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        // The marker itself is no leftover: with another content it is another version's.
        let ours = name.to_str().is_some_and(|name| name.starts_with(MARKER) && name.ends_with(".tmp"));
        if !ours || !entry.file_type()?.is_file() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// As huggingface_hub does where two of its threads begin a cache at once: each takes the other's unfinished marker for the
    /// leftover of a process that died.
    fn clear_markers(blobs: &Path) {
        for entry in fs::read_dir(blobs).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    #[test]
    fn that_another_program_clears_unfinished_markers_away_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let hash = Hash::from_bytes([7; 32]);
        for number in 0..200 {
            let root = folder.path().join(number.to_string());
            fs::create_dir(&root).unwrap();
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let clearing = scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        clear_markers(&root.join("blobs"));
                    }
                });
                let prepared = SharedStore::new(&root).prepare(&hash);
                is_over.store(true, Ordering::Relaxed);
                clearing.join().unwrap();
                let prepared = prepared.unwrap();
                // Nothing is there by then that makes the next one refuse it.
                assert_eq!(prepared.is_some(), SharedStore::new(&root).is_marked());
                assert!(SharedStore::new(&root).prepare(&hash).unwrap().is_some());
            });
        }
    }
}
