//! The demo's checks: a node's files against the source byte for byte, and against the Hub's hashes by `zest verify`.

use super::interrupted;
use crate::engine;
use crate::failure::{self, Failure, Kind};
use crate::ui::units;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zest_store::{Env, HfCache, verify_cache};

/// Bytes compared at once: 256 KiB, from both files.
const STEP_BYTES: usize = 256 << 10;

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Files equal to the source.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files whose hashes `zest verify` found right.
    pub(super) verified: u64,
}

impl Checked {
    pub(super) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.verified += other.verified;
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{} ({}) equal the source byte for byte; {} re-hashed and right",
            units::counted(self.files, "file"),
            units::bytes(self.bytes),
            units::count(self.verified)
        )
    }
}

/// The files below `dir`, relative and sorted.
pub(super) fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let relative = folder.join(entry.file_name());
            // Follows the links of the cache.
            if fs::metadata(entry.path())?.is_dir() { folders.push(relative) } else { files.push(relative) }
        }
    }
    files.sort();
    Ok(files)
}

/// Compares the snapshot with the source and re-hashes the cache of `env`.
pub(super) fn check(
    source: &Path,
    files: &[PathBuf],
    snapshot: &Path,
    env: &Env,
    cancelled: &dyn Fn() -> bool,
) -> Result<Checked, Failure> {
    let wrong = |what: String| Failure::new(Kind::Verify, what);
    let there = files_of(snapshot).map_err(|error| failure::disk(snapshot.display(), &error))?;
    if there != files {
        return Err(wrong(format!("{} has other files than the source", snapshot.display())));
    }
    let mut checked = Checked::default();
    for file in files {
        let (one, two) = (source.join(file), snapshot.join(file));
        match equal(&one, &two, cancelled).map_err(|error| failure::disk(two.display(), &error))? {
            Some(bytes) => checked.bytes += bytes,
            None if cancelled() => return Err(interrupted()),
            None => return Err(wrong(format!("{} differs from the source", two.display()))),
        }
        checked.files += 1;
    }
    let cache = HfCache::open(&env.hub_cache, env.cache_options()).map_err(|e| engine::store_failure(&e))?;
    let summary = verify_cache(&cache, None, &mut |_| {});
    if summary.ok != summary.files || summary.ok != checked.files {
        return Err(wrong(format!(
            "{} of {} files in {} have the right hash",
            summary.ok,
            summary.files,
            env.hub_cache.display()
        )));
    }
    checked.verified = summary.ok;
    Ok(checked)
}

/// Length of both files if they are equal, `None` if they differ or it was cancelled.
fn equal(one: &Path, two: &Path, cancelled: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    let (mut one, mut two) = (File::open(one)?, File::open(two)?);
    let length = one.metadata()?.len();
    if two.metadata()?.len() != length {
        return Ok(None);
    }
    let (mut left, mut right) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    let mut at = 0;
    while at < length {
        let step = usize::try_from(length - at).unwrap_or(usize::MAX).min(STEP_BYTES);
        one.read_exact(&mut left[..step])?;
        two.read_exact(&mut right[..step])?;
        if left[..step] != right[..step] || cancelled() {
            return Ok(None);
        }
        at += step as u64;
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    #[test]
    fn one_flipped_bit_or_missing_byte_makes_files_differ() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        let mut bytes = vec![7; STEP_BYTES + 10];
        fs::write(&one, &bytes).expect("written");
        fs::write(&two, &bytes).expect("written");
        assert_eq!(equal(&one, &two, &never).expect("read"), Some(bytes.len() as u64));
        bytes[STEP_BYTES + 3] ^= 1;
        fs::write(&two, &bytes).expect("written");
        assert_eq!(equal(&one, &two, &never).expect("read"), None);
        fs::write(&two, &bytes[1..]).expect("written");
        assert_eq!(equal(&one, &two, &never).expect("read"), None);
    }

    #[test]
    fn files_are_listed_relative_and_sorted() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("sub")).expect("made");
        for name in ["z", "sub/a", "b"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        assert_eq!(files_of(dir.path()).expect("listed"), ["b", "sub/a", "z"].map(PathBuf::from));
    }
}
