//! `--local-dir`: the repository's files at their own paths in a folder of the user's choice, with the notes
//! that huggingface_hub 2.4 keeps in `.cache/huggingface` there.
//!
//! ```text
//! <path>                                           the file
//! .cache/huggingface/CACHEDIR.TAG, .gitignore      for backup programs and git
//! .cache/huggingface/trees/<commit>.json           what the Hub said
//! .cache/huggingface/download/<path>.metadata      commit, etag, Unix time in seconds; one line each
//! .cache/huggingface/download/<path>.lock          flock, 0664
//! ```
//!
//! A name that has no room for the suffix is noted under its SHA-256 instead, with the path as a fourth line.

use crate::limits::{FOLDERS_MAX, METADATA_BYTES_MAX};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::Digest as _;

use crate::cache::{
    LOCK_MODE, PartialFile, Presence, partials_in, read_tree_file, walk, write_tag, write_tree_file,
};
use crate::digest;
use crate::error::{Context as _, StoreError};
use crate::lock::FileLock;
use crate::names::{NameError, PART_BYTES_MAX, check_commit};
use crate::os;
use crate::partial::FinishedFile;
use crate::plain::Leftovers;
use crate::tree::TreeEntry;

/// Seconds by which a file may be newer than its metadata: time stamps may be coarse (huggingface_hub).
const MTIME_SLACK_S: f64 = 1.0;
/// The longer one of the two suffixes of notes; both go by the same rule, so that they stay together.
const NOTE_SUFFIX: &str = ".metadata";

/// A folder that gets the files of a repository.
#[derive(Debug)]
pub struct LocalDir {
    root: PathBuf,
}

/// What was noted about a file when it was last found right.
struct Metadata {
    commit: String,
    etag: String,
    timestamp: f64,
    /// Where the note's own name does not say it.
    path: Option<String>,
}

impl LocalDir {
    /// A folder, which need not exist yet. Nothing is created.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if something else stands there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).at("resolve", root)?;
        match fs::metadata(&root) {
            Ok(meta) if !meta.is_dir() => {
                Err(StoreError::Foreign { path: root, found: "not a directory", expected: "a directory" })
            }
            _ => Ok(Self { root }),
        }
    }

    /// The folder, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file goes.
    ///
    /// # Errors
    /// Unsafe names, and names that would overwrite a git repository's or the download's own bookkeeping.
    pub fn file_path(&self, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        entry.check()?;
        let parts: Vec<String> = entry.path.split('/').map(str::to_ascii_lowercase).collect();
        let refuse = |why| Err(NameError { name: entry.path.clone(), why }.into());
        if parts.iter().any(|part| part == ".git") {
            return refuse("a file in a local folder cannot lie in .git");
        }
        if parts.len() > 1 && parts[0] == ".cache" && parts[1] == "huggingface" {
            return refuse("a file in a local folder cannot lie in .cache/huggingface");
        }
        Ok(self.root.join(&entry.path))
    }

    /// What is there of a file. `Linkable` means that the file is right but not noted for this commit: `link`
    /// notes it.
    ///
    /// A file of the right size without a note is hashed, which takes its time.
    #[must_use]
    pub fn presence(&self, commit: &str, entry: &TreeEntry) -> Presence {
        let Ok(path) = self.file_path(entry) else { return Presence::Missing };
        let Ok(meta) = fs::metadata(&path) else { return Presence::Missing };
        if !meta.is_file() || meta.len() != entry.content_size() {
            return Presence::Missing;
        }
        match self.read_metadata(entry) {
            Some(noted) if noted.etag == entry.etag() && is_noted_after(&noted, &meta) => {
                if noted.commit == commit { Presence::Complete(path) } else { Presence::Linkable }
            }
            _ => match File::open(&path)
                .at("open", &path)
                .and_then(|file| digest::check_content(&path, &file, entry))
            {
                Ok(()) => Presence::Linkable,
                Err(_) => Presence::Missing,
            },
        }
    }

    /// What is there of a file, judged by its size and what was noted, and where: as [`LocalDir::presence`], but nothing is
    /// read. `None`: nothing of that size.
    #[must_use]
    pub fn found(&self, commit: &str, entry: &TreeEntry) -> Option<(Presence, PathBuf)> {
        let path = self.file_path(entry).ok()?;
        let meta = fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() == entry.content_size())?;
        let noted = self.read_metadata(entry).is_some_and(|noted| {
            noted.commit == commit && noted.etag == entry.etag() && is_noted_after(&noted, &meta)
        });
        Some((if noted { Presence::Complete(path.clone()) } else { Presence::Linkable }, path))
    }

    /// Notes a file that is there and right.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn link(&self, commit: &str, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        let path = self.file_path(entry)?;
        self.write_metadata(commit, entry)?;
        Ok(path)
    }

    /// The tree of a commit as it was fetched earlier.
    #[must_use]
    pub fn read_tree(&self, commit: &str) -> Option<Vec<TreeEntry>> {
        check_commit(commit).ok()?;
        read_tree_file(&self.notes(), commit)
    }

    /// Keeps the tree of a commit.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn write_tree(&self, commit: &str, entries: &[TreeEntry]) -> Result<(), StoreError> {
        self.prepare()?;
        write_tree_file(&self.notes(), commit, entries)?;
        Ok(())
    }

    /// A new file for downloading into.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn temp_file(&self, entry: &TreeEntry) -> Result<(File, PathBuf), StoreError> {
        self.file_path(entry)?;
        let path = self.prepare()?.join(format!("{}.{}.incomplete", entry.etag(), os::random_hex()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).at("create", &path)?;
        // As long as somebody holds it, nobody takes it for a leftover.
        let _ = file.try_lock();
        Ok((file, path))
    }

    /// The folder to open a file's [`crate::Partial`] in.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn partial_dir(&self, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        self.file_path(entry)?;
        self.prepare()
    }

    /// What interrupted pulls left here.
    #[must_use]
    pub fn partials(&self) -> Vec<PartialFile> {
        partials_in(&self.notes().join("download"))
    }

    /// Checks a downloaded file against git blob id or sha256 and lands it.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] and [`StoreError::WrongContent`], upon which the temporary file is removed;
    /// the system's.
    pub fn land_small(&self, commit: &str, entry: &TreeEntry, temp: &Path) -> Result<PathBuf, StoreError> {
        let path = self.file_path(entry)?;
        let file = File::open(temp).at("open", temp)?;
        if let Err(error) = digest::check_content(temp, &file, entry) {
            if matches!(error, StoreError::WrongSize { .. } | StoreError::WrongContent { .. }) {
                let _ = fs::remove_file(temp);
            }
            return Err(error);
        }
        file.sync_data().at("flush", temp)?;
        self.land(commit, entry, temp, path)
    }

    /// Lands a finished partial file whose every byte was proven.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if a directory is in the way; the system's. The partial file is kept for the
    /// next try.
    pub fn land_xet(
        &self,
        commit: &str,
        entry: &TreeEntry,
        finished: FinishedFile,
    ) -> Result<PathBuf, StoreError> {
        let path = self.file_path(entry)?;
        assert!(
            entry.xet_hash == Some(finished.spec().file) && entry.content_size() == finished.spec().size,
            "a finished file must be landed as the file it was opened for"
        );
        let path = self.land(commit, entry, &finished.data_path, path)?;
        finished.landed()?;
        Ok(path)
    }

    /// Copies a file that is complete elsewhere on this machine (the HF cache, another path of the same
    /// folder). File systems that can share the blocks do. The copy is compared with what the Hub named before it lands.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] and [`StoreError::WrongContent`] if the source is something else;
    /// [`StoreError::DiskFull`]; the system's.
    pub fn copy_from(&self, commit: &str, entry: &TreeEntry, source: &Path) -> Result<PathBuf, StoreError> {
        let path = self.file_path(entry)?;
        let temp = self.prepare()?.join(format!("{}.{}.incomplete", entry.etag(), os::random_hex()));
        let copy = || {
            // Not fs::copy, which would carry over the read-only mode of the shared store.
            let (mut from, mut to) =
                (File::open(source)?, File::options().write(true).create_new(true).open(&temp)?);
            let _ = to.try_lock();
            std::io::copy(&mut from, &mut to)?;
            to.sync_data()?;
            Ok(to)
        };
        let copied = copy().inspect_err(|_| drop(fs::remove_file(&temp)));
        // Open, and with that locked, until it has its name.
        let _copy =
            copied.map_err(|error| StoreError::from_io("copy", source, error, entry.content_size()))?;
        let checked = File::open(&temp).at("open", &temp);
        let checked = checked.and_then(|file| digest::check_content(&temp, &file, entry));
        checked.inspect_err(|_| drop(fs::remove_file(&temp)))?;
        self.land(commit, entry, &temp, path)
    }

    /// Lands a finished file whose content was proven.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if a directory is in the way; the system's. The partial file is kept for the next try.
    pub fn land_plain(
        &self,
        commit: &str,
        entry: &TreeEntry,
        finished: FinishedFile,
    ) -> Result<PathBuf, StoreError> {
        let path = self.file_path(entry)?;
        assert!(
            entry.content_size() == finished.spec().size,
            "a file must be landed as what it was opened for"
        );
        let path = self.land(commit, entry, finished.path(), path)?;
        finished.landed()?;
        Ok(path)
    }

    /// What downloads of these files left here that died.
    #[must_use]
    pub fn leftovers(&self, entries: &[TreeEntry]) -> Leftovers {
        let mut leftovers = Leftovers::default();
        let mut dirs: Vec<PathBuf> = vec![self.notes().join("download")];
        dirs.extend(
            entries
                .iter()
                .filter_map(|entry| Some(self.note_path(entry, NOTE_SUFFIX).parent()?.to_path_buf())),
        );
        dirs.sort();
        dirs.dedup();
        dirs.iter().for_each(|dir| leftovers.look_into(dir));
        leftovers
    }

    /// Takes out what was left of this file and removes it, all but what can be gone on with. Call it with the file's lock
    /// held ([`LocalDir::try_lock`]): under it such files are written.
    pub fn claim_leftover(&self, leftovers: &mut Leftovers, entry: &TreeEntry) -> Option<PathBuf> {
        let metadata = self.note_path(entry, NOTE_SUFFIX);
        let name = metadata.file_name()?.to_str()?.to_owned();
        let ours = self.notes().join("download").join(entry.etag());
        // huggingface_hub puts a hash of the note's name before it, so that names stay short.
        let theirs = metadata.with_file_name(format!("{}.{}", short_hash(&name), entry.etag()));
        leftovers.claim(&[ours, theirs], entry)
    }

    /// Tries to take the lock under which huggingface_hub downloads this file. `Ok(None)`: another process
    /// has it.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn try_lock(&self, entry: &TreeEntry) -> Result<Option<FileLock>, StoreError> {
        self.file_path(entry)?;
        self.prepare()?;
        let path = self.note_path(entry, ".lock");
        FileLock::try_acquire(&path, LOCK_MODE).at("lock", &path)
    }

    /// Who has that lock, as far as the system tells.
    #[must_use]
    pub fn lock_holder(&self, entry: &TreeEntry) -> Option<String> {
        self.file_path(entry).ok()?;
        FileLock::holder(&self.note_path(entry, ".lock"))
    }

    /// Where files lie while they are fetched.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.notes().join("download")
    }

    fn land(&self, commit: &str, entry: &TreeEntry, from: &Path, to: PathBuf) -> Result<PathBuf, StoreError> {
        self.clear_way(entry, &to)?;
        let dir = to.parent().expect("files lie in folders");
        fs::create_dir_all(dir).at("create directory", dir)?;
        fs::rename(from, &to).at("rename into place", &to)?;
        os::sync_dir(dir).at("flush", dir)?;
        self.write_metadata(commit, entry)?;
        Ok(to)
    }

    /// A file that became a folder, or a folder that became a file: what an earlier commit left there goes, if it is all noted
    /// and nobody wrote to it since. Anything else is the user's.
    fn clear_way(&self, entry: &TreeEntry, to: &Path) -> Result<(), StoreError> {
        let parts: Vec<&str> = entry.path.split('/').collect();
        for depth in 1..parts.len() {
            let above = parts[..depth].join("/");
            let path = self.root.join(&above);
            if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_dir() && !path.is_dir()) {
                if !self.is_of_earlier_commit(&above) {
                    let (found, expected) = ("a file", "a directory of the repository");
                    return Err(StoreError::Foreign { path, found, expected });
                }
                self.remove_noted(&above)?;
            }
        }
        if !fs::symlink_metadata(to).is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        let mut below = Vec::new();
        walk(to, entry.path.clone(), 0, &mut |name, _| below.push(name.to_owned()));
        if !below.iter().all(|name| self.is_of_earlier_commit(name)) {
            let (found, expected) = ("a directory", "a file of the repository");
            return Err(StoreError::Foreign { path: to.into(), found, expected });
        }
        below.iter().try_for_each(|name| self.remove_noted(name))?;
        remove_empty_dirs(to, 0).at("remove directory", to)
    }

    /// Whether a file is what was noted for it, byte for byte: times are too coarse to take a user's file for ours.
    fn is_of_earlier_commit(&self, name: &str) -> bool {
        let path = self.root.join(name);
        let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
        let noted = read_note(&self.note_path_of(name, NOTE_SUFFIX));
        noted.zip(meta).is_some_and(|(noted, meta)| {
            let entry = noted_entry(name.to_owned(), noted.etag, meta.len());
            os::open_read(&path).is_ok_and(|file| digest::check_content(&path, &file, &entry).is_ok())
        })
    }

    fn remove_noted(&self, name: &str) -> Result<(), StoreError> {
        let path = self.root.join(name);
        tracing::info!(path = %path.display(), "removing a file of an earlier commit that is in the way");
        fs::remove_file(&path).at("remove", &path)?;
        let _ = fs::remove_file(self.note_path_of(name, NOTE_SUFFIX));
        Ok(())
    }

    fn notes(&self) -> PathBuf {
        self.root.join(".cache").join("huggingface")
    }

    /// Creates the bookkeeping folder; gives that for downloads.
    fn prepare(&self) -> Result<PathBuf, StoreError> {
        let notes = self.notes();
        let downloads = notes.join("download");
        fs::create_dir_all(&downloads).at("create directory", &downloads)?;
        write_tag(&notes);
        let ignore = notes.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*").at("write", &ignore)?;
        }
        Ok(downloads)
    }

    fn note_path(&self, entry: &TreeEntry, suffix: &str) -> PathBuf {
        self.note_path_of(&entry.path, suffix)
    }

    fn note_path_of(&self, path: &str, suffix: &str) -> PathBuf {
        let downloads = self.notes().join("download");
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.len() + NOTE_SUFFIX.len() <= PART_BYTES_MAX {
            return downloads.join(format!("{path}{suffix}"));
        }
        let short = digest::hex(&sha2::Sha256::digest(name));
        downloads.join(folder).join(format!("{short}{suffix}"))
    }

    /// What the notes say about the files here, for when nobody can be asked: the commit that was noted last, and its files.
    /// Those that are gone have no size.
    #[must_use]
    pub fn noted(&self) -> Option<(String, Vec<TreeEntry>)> {
        let mut notes = Vec::new();
        walk(&self.notes().join("download"), String::new(), 0, &mut |name, path| {
            if let Some(name) = name.strip_suffix(NOTE_SUFFIX)
                && let Some(noted) = read_note(path)
            {
                let path = noted.path.clone().unwrap_or_else(|| name.to_owned());
                notes.push((path, noted));
            }
        });
        let newest = notes.iter().max_by(|a, b| a.1.timestamp.total_cmp(&b.1.timestamp))?;
        let commit = newest.1.commit.clone();
        check_commit(&commit).ok()?;
        let of_commit = notes.into_iter().filter(|(_, noted)| noted.commit == commit);
        let entries = of_commit.filter_map(|(path, noted)| {
            let size = fs::metadata(self.root.join(&path)).map_or(0, |meta| meta.len());
            let entry = noted_entry(path, noted.etag, size);
            self.file_path(&entry).is_ok().then_some(entry)
        });
        let mut entries: Vec<TreeEntry> = entries.collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Some((commit, entries))
    }

    fn read_metadata(&self, entry: &TreeEntry) -> Option<Metadata> {
        read_note(&self.note_path(entry, NOTE_SUFFIX))
    }

    fn write_metadata(&self, commit: &str, entry: &TreeEntry) -> Result<(), StoreError> {
        check_commit(commit)?;
        self.prepare()?;
        let path = self.note_path(entry, NOTE_SUFFIX);
        let dir = path.parent().expect("metadata lies in a folder");
        fs::create_dir_all(dir).at("create directory", dir)?;
        let now = seconds(SystemTime::now());
        let temp = self.notes().join(format!("{}.tmp", os::random_hex()));
        let write = || {
            let shortened = !path.to_string_lossy().ends_with(&format!("{}{NOTE_SUFFIX}", entry.path));
            let line = if shortened { format!("{}\n", entry.path) } else { String::new() };
            fs::write(&temp, format!("{commit}\n{}\n{now:.6}\n{line}", entry.etag()))?;
            fs::rename(&temp, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&temp))).at("write metadata", &path)
    }
}

/// SHA-1 of a name in URL-safe base64, as in names of huggingface_hub.
fn short_hash(name: &str) -> String {
    use sha1::Digest as _;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in sha1::Sha1::digest(name).chunks(3) {
        let bits =
            part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let sign = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= part.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

/// What a note says of a file that has this size now.
fn noted_entry(path: String, etag: String, size: u64) -> TreeEntry {
    let lfs = etag.len() == 64;
    TreeEntry {
        path,
        size,
        blob_id: if lfs { "0".repeat(40) } else { etag.clone() },
        lfs_size: lfs.then_some(size),
        lfs_sha256: lfs.then_some(etag),
        xet_hash: None,
    }
}

/// Removes a folder in which nothing but folders is left.
fn remove_empty_dirs(dir: &Path, depth: usize) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && depth < FOLDERS_MAX {
            remove_empty_dirs(&entry.path(), depth + 1)?;
        }
    }
    // Refused by the system where something is left.
    fs::remove_dir(dir)
}

fn read_note(path: &Path) -> Option<Metadata> {
    let mut text = String::new();
    os::open_read(path).ok()?.take(METADATA_BYTES_MAX).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().map(str::trim);
    let (commit, etag) = (lines.next()?.to_owned(), lines.next()?.to_owned());
    let timestamp = lines.next()?.parse().ok()?;
    Some(Metadata { commit, etag, timestamp, path: lines.next().map(str::to_owned) })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Whether the file was not written after its metadata.
fn is_noted_after(noted: &Metadata, meta: &fs::Metadata) -> bool {
    meta.modified().is_ok_and(|modified| seconds(modified) - MTIME_SLACK_S <= noted.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_hash_is_that_of_the_official_client() {
        assert_eq!(short_hash("config.json.metadata"), "8_PA_wEVGiVa2goH2H4KQOQpvVY=");
    }
}
