//! The resumable file of a download without chunks: what the Hub gives as it is (LFS files outside Xet, mirrors without a CAS).
//!
//! It is a [`Partial`] like those of Xet files, named by what names the blob: `<etag>.zest-partial` and `<etag>.zest-journal`.
//! Its chunks are windows of one length, and what the journal says of a window is the hash of what came, not of what should
//! have come: nobody knows that before the whole file is there. So a window that the next process finds changed is known to
//! be rotten and is fetched again alone; whether the windows are the file is proven once, at the end, by sha256 or git id.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zest_xet::{CHUNK_BYTES_MAX, ChunkRef, chunk_hash};

use crate::digest;
use crate::error::{Context as _, StoreError};
use crate::partial::{DATA_SUFFIX, Entry, FinishedFile, Partial, PartialError, PartialSpec};
use crate::tree::TreeEntry;

/// Bytes of a window, the last one aside: 128 KiB, the longest chunk a journal can note. What a kill costs.
pub const WINDOW_BYTES: u64 = CHUNK_BYTES_MAX as u64;

/// A file that is fetched as it is, exclusively ours. Shared by whoever writes new windows and whoever looks at old ones.
#[derive(Debug)]
pub struct PlainPartial {
    partial: Partial,
    size: u64,
    windows: Mutex<Windows>,
}

#[derive(Debug)]
struct Windows {
    state: Vec<Window>,
    /// What an earlier process noted, the last first.
    earlier: Vec<Entry>,
    /// Windows before this one lie in a file that another program left here: nothing was noted of them.
    adopted: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// To be fetched.
    Missing,
    /// An earlier process wrote it. It is looked at before it counts.
    Earlier,
    /// Written or looked at by this process.
    Held,
}

/// What was found of a few windows of an earlier process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Bytes that are still what they were.
    pub good_bytes: u64,
    /// Windows that are not: they are to be fetched again.
    pub rotten: u64,
}

/// Bytes on their way into windows: a place in the file and what has come of its window.
#[derive(Debug, Default)]
pub struct Filling {
    start: u64,
    bytes: Vec<u8>,
}

impl PlainPartial {
    /// Opens the partial file of `entry` in `dir`. If there is none yet, `leftover`, the beginning of the same file that a
    /// program left there when it died, becomes it.
    ///
    /// # Errors
    /// As [`Partial::open`].
    pub fn open(dir: &Path, entry: &TreeEntry, leftover: Option<&Path>) -> Result<Self, PartialError> {
        let (stem, size) = (entry.etag(), entry.content_size());
        let name = dir.join(format!("{stem}{DATA_SUFFIX}"));
        let mut adopted = 0;
        if let Some(leftover) = leftover
            && let Ok(meta) = fs::symlink_metadata(leftover)
            && meta.is_file()
            && meta.len() <= size
            && fs::symlink_metadata(&name).is_err()
            && fs::rename(leftover, &name).is_ok()
        {
            adopted = (meta.len() / WINDOW_BYTES) as u32;
        }
        let spec = PartialSpec { file: chunk_hash(format!("plain {stem}").as_bytes()), size };
        let mut partial = Partial::open_as(dir, stem, spec)?;
        let count = size.div_ceil(WINDOW_BYTES) as usize;
        let mut state = vec![Window::Missing; count];
        let mut earlier: Vec<Entry> = partial.entries().iter().copied().filter(|e| fits(e, size)).collect();
        partial.forget_entries();
        earlier.reverse();
        earlier.iter().for_each(|entry| state[entry.index as usize] = Window::Earlier);
        state[..(adopted as usize).min(count)].fill(Window::Earlier);
        let windows = Mutex::new(Windows { state, earlier, adopted });
        Ok(Self { partial, size, windows })
    }

    /// Where its bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.partial.path()
    }

    /// The first bytes that nobody has: neither held, nor waiting to be looked at.
    #[must_use]
    pub fn gap(&self) -> Option<Range<u64>> {
        let windows = self.lock();
        let first = windows.state.iter().position(|window| *window == Window::Missing)?;
        let count = windows.state[first..].iter().take_while(|window| **window == Window::Missing).count();
        let start = first as u64 * WINDOW_BYTES;
        Some(start..(start + count as u64 * WINDOW_BYTES).min(self.size))
    }

    /// The last window that is held: its place and its bytes.
    #[must_use]
    pub fn sample(&self) -> Option<(Range<u64>, Vec<u8>)> {
        let last = self.lock().state.iter().rposition(|window| *window == Window::Held)?;
        let range = self.range(last as u32);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.partial.read_at(range.start, &mut bytes).ok()?;
        Some((range, bytes))
    }

    /// Whether every window is held.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().state.iter().all(|window| *window == Window::Held)
    }

    /// Bytes that an earlier process left and nobody has looked at.
    #[must_use]
    pub fn unchecked_bytes(&self) -> u64 {
        let windows = self.lock();
        let of = |(index, _): (usize, _)| self.range(index as u32);
        let earlier = windows.state.iter().enumerate().filter(|(_, window)| **window == Window::Earlier);
        earlier.map(of).map(|range| range.end - range.start).sum()
    }

    /// Looks at up to `count` windows of an earlier process; `None` when there are no more.
    ///
    /// # Errors
    /// The system's, for the journal. Bytes that cannot be read are rotten.
    pub fn check(&self, count: usize) -> io::Result<Option<Looked>> {
        let (noted, unnoted) = {
            let mut windows = self.lock();
            let keep = windows.earlier.len().saturating_sub(count);
            let noted = windows.earlier.split_off(keep);
            let from = windows.adopted.saturating_sub((count - noted.len()) as u32);
            let unnoted = from..windows.adopted;
            windows.adopted = from;
            (noted, unnoted)
        };
        if noted.is_empty() && unnoted.is_empty() {
            return Ok(None);
        }
        let mut room = vec![0; CHUNK_BYTES_MAX];
        let mut looked = Looked::default();
        for entry in noted {
            let good = self.partial.check(&entry, &mut room)?;
            self.lock().state[entry.index as usize] = if good { Window::Held } else { Window::Missing };
            looked.good_bytes += if good { u64::from(entry.chunk.len) } else { 0 };
            looked.rotten += u64::from(!good);
        }
        for index in unnoted {
            let range = self.range(index);
            let bytes = &mut room[..(range.end - range.start) as usize];
            let read = self.partial.read_at(range.start, bytes).is_ok();
            if read {
                self.note(index, bytes)?;
                looked.good_bytes += bytes.len() as u64;
            }
            self.lock().state[index as usize] = if read { Window::Held } else { Window::Missing };
        }
        Ok(Some(looked))
    }

    /// Takes bytes that follow what `filling` has, and writes every window that is whole with them. What is held already, or
    /// waits to be looked at, is passed over.
    ///
    /// # Errors
    /// The system's. `filling` then stands as before the window that could not be written.
    ///
    /// # Panics
    /// When the bytes do not lie inside the file.
    pub fn fill(&self, filling: &mut Filling, mut bytes: &[u8]) -> io::Result<()> {
        assert!(filling.at() + bytes.len() as u64 <= self.size, "bytes must lie inside the file");
        while !bytes.is_empty() {
            let index = (filling.start / WINDOW_BYTES) as u32;
            let range = self.range(index);
            let take = ((range.end - filling.at()) as usize).min(bytes.len());
            filling.bytes.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if filling.at() == range.end {
                if self.lock().state[index as usize] == Window::Missing {
                    self.partial.write_at(range.start, &filling.bytes)?;
                    self.note(index, &filling.bytes)?;
                    self.lock().state[index as usize] = Window::Held;
                }
                filling.start = range.end;
                filling.bytes.clear();
            }
        }
        Ok(())
    }

    /// Makes what is noted so far survive a power cut.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.partial.sync()
    }

    /// The proof of the whole: by the hash that names the blob. Reads all of it.
    ///
    /// # Errors
    /// [`StoreError::WrongContent`]; the system's.
    pub fn prove(&self, entry: &TreeEntry) -> Result<(), StoreError> {
        prove(self.path(), entry)
    }

    /// Forgets everything that came: it was not the file.
    ///
    /// # Errors
    /// The system's.
    pub fn restart(&self) -> io::Result<()> {
        let mut windows = self.lock();
        self.partial.forget_all()?;
        windows.state.fill(Window::Missing);
        windows.earlier = Vec::new();
        windows.adopted = 0;
        Ok(())
    }

    /// Makes the data durable and hands the file over for landing. The caller has proven it.
    ///
    /// # Errors
    /// As [`Partial::finish`].
    pub fn finish(self, entry: &TreeEntry) -> Result<FinishedFile, StoreError> {
        self.partial.finish_by(|partial| prove(partial.path(), entry))
    }

    /// Removes data and journal.
    ///
    /// # Errors
    /// The system's.
    pub fn abandon(self) -> Result<(), StoreError> {
        self.partial.abandon()
    }

    /// Bytes that opening it will still take from the disk.
    #[must_use]
    pub fn bytes_needed(dir: &Path, entry: &TreeEntry) -> u64 {
        Partial::bytes_needed_as(dir, entry.etag(), entry.content_size())
    }

    fn note(&self, index: u32, bytes: &[u8]) -> io::Result<()> {
        let chunk = ChunkRef { hash: chunk_hash(bytes), len: bytes.len() as u32 };
        let offset = u64::from(index) * WINDOW_BYTES;
        self.partial.record(&Entry { index, offset, chunk, packed_len: 0 })
    }

    fn range(&self, index: u32) -> Range<u64> {
        let start = u64::from(index) * WINDOW_BYTES;
        start..(start + WINDOW_BYTES).min(self.size)
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filling {
    /// Bytes that begin where a window does.
    ///
    /// # Panics
    /// When no window begins at `at`.
    #[must_use]
    pub fn from(at: u64) -> Self {
        assert!(at.is_multiple_of(WINDOW_BYTES), "only whole windows can be noted");
        Self { start: at, bytes: Vec::new() }
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

fn prove(path: &Path, entry: &TreeEntry) -> Result<(), StoreError> {
    let file = File::open(path).at("open", path)?;
    digest::check_content(path, &file, entry)
}

/// Whether a note can be of a window of this file.
fn fits(entry: &Entry, size: u64) -> bool {
    let start = u64::from(entry.index) * WINDOW_BYTES;
    entry.offset == start && start < size && u64::from(entry.chunk.len) == (size - start).min(WINDOW_BYTES)
}

/// Downloads that programs left when they died, by the name they will have: huggingface_hub and zest up to 0.5 fetched into
/// `<name>.<8 hex>.incomplete` and never came back to it.
#[derive(Debug, Default)]
pub struct Leftovers {
    by_stem: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Leftovers {
    /// Ending of such files.
    const SUFFIX: &str = ".incomplete";

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_stem.is_empty()
    }

    /// Takes note of what lies in a folder. What cannot be read is none of ours.
    pub(crate) fn look_into(&mut self, dir: &Path) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(Self::SUFFIX)) else {
                continue;
            };
            let stem = match stem.rsplit_once('.') {
                Some((stem, random))
                    if random.len() == 8 && random.bytes().all(|b| b.is_ascii_hexdigit()) =>
                {
                    stem
                }
                _ => stem,
            };
            self.by_stem.entry(dir.join(stem)).or_default().push(entry.path());
        }
    }

    /// Takes those out that are downloads under one of these names, if nobody is at them. The longest that is no longer than the
    /// file is for going on with (what it really is shows in the end), the others are removed. The caller has the lock under
    /// which such files are written.
    pub(crate) fn claim(&mut self, stems: &[PathBuf], entry: &TreeEntry) -> Option<PathBuf> {
        let size = Some(entry.content_size()).filter(|size| *size > WINDOW_BYTES);
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for path in stems.iter().filter_map(|stem| self.by_stem.remove(stem)).flatten() {
            // Zest's own are locked while somebody writes them.
            let Ok(file) = crate::os::open_read_nofollow(&path) else { continue };
            if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                continue;
            }
            found.push((file.metadata().map_or(0, |meta| meta.len()), path));
        }
        found.sort();
        let best = found.iter().rposition(|(len, _)| size.is_some_and(|size| (1..=size).contains(len)));
        let best = best.map(|at| found.remove(at).1);
        for (_, path) in found {
            tracing::info!(path = %path.display(), "removing what a download that died left");
            let _ = fs::remove_file(path);
        }
        best
    }
}

#[cfg(test)]
mod tests;
