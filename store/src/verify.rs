//! `zest verify`: reading every file of a cache again and comparing it with what the Hub said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use crate::cache::{HfCache, SnapshotFile};
use crate::catalog::Catalog;
use crate::digest::{self, BlobDigest};
use crate::names::RepoId;
use crate::os::Identity;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// Its bytes have the hash that the Hub gave.
    Ok,
    /// The tree lists it, but it is not there.
    Missing,
    /// Something else stands there.
    Wrong {
        /// "size", "sha256", "git blob id", "xet hash".
        algorithm: &'static str,
        /// What the Hub gave.
        expected: String,
        /// What is on disk.
        actual: String,
    },
    /// It could not be read.
    Unreadable {
        /// The system's answer.
        why: String,
    },
}

/// One file looked at.
#[derive(Debug, Clone)]
pub struct VerifyEvent {
    /// Repository.
    pub repo: RepoId,
    /// Commit.
    pub commit: String,
    /// Path in the repository.
    pub path: String,
    /// Path on disk.
    pub file: PathBuf,
    /// Bytes according to the Hub.
    pub size: u64,
    /// What it is.
    pub outcome: VerifyOutcome,
}

/// Figures of a verification.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct VerifySummary {
    /// Files looked at.
    pub files: u64,
    /// Right ones.
    pub ok: u64,
    /// Wrong ones.
    pub wrong: u64,
    /// Listed, but not there (not an error: a pull may have taken only some files).
    pub missing: u64,
    /// Unreadable ones.
    pub unreadable: u64,
    /// Bytes read and hashed.
    pub bytes: u64,
}

/// Hashes every file of the cache, or of one repository, and reports each. A blob that several snapshots
/// share is read once.
///
/// LFS files are checked against their sha256, which names their exact bytes; files that only have a xet hash
/// by cutting them into chunks, by the current rule and if need be by the old one; small files against their
/// git blob id.
pub fn verify_cache(
    cache: &HfCache,
    only: Option<&RepoId>,
    on_event: &mut dyn FnMut(VerifyEvent),
) -> VerifySummary {
    verify(cache, only, None, on_event)
}

/// The same, and notes in the catalog what was found right: nobody has to read it again for as long as it stays as it is.
pub fn verify_and_note(
    cache: &HfCache,
    only: Option<&RepoId>,
    catalog: &Catalog,
    on_event: &mut dyn FnMut(VerifyEvent),
) -> VerifySummary {
    verify(cache, only, Some(catalog), on_event)
}

fn verify(
    cache: &HfCache,
    only: Option<&RepoId>,
    catalog: Option<&Catalog>,
    on_event: &mut dyn FnMut(VerifyEvent),
) -> VerifySummary {
    let mut summary = VerifySummary::default();
    let mut seen: BTreeMap<(u64, u64, String), VerifyOutcome> = BTreeMap::new();
    for repo in cache.repos().into_iter().filter(|repo| only.is_none_or(|only| only == repo)) {
        for commit in cache.commits(&repo) {
            for file in cache.snapshot(&repo, &commit) {
                let outcome = check(&file, catalog, &mut seen, &mut summary.bytes);
                summary.files += 1;
                *match &outcome {
                    VerifyOutcome::Ok => &mut summary.ok,
                    VerifyOutcome::Missing => &mut summary.missing,
                    VerifyOutcome::Wrong { .. } => &mut summary.wrong,
                    VerifyOutcome::Unreadable { .. } => &mut summary.unreadable,
                } += 1;
                let SnapshotFile { repo, commit, entry, path, .. } = file;
                let size = entry.content_size();
                on_event(VerifyEvent { repo, commit, path: entry.path, file: path, size, outcome });
            }
        }
    }
    summary
}

fn check(
    file: &SnapshotFile,
    catalog: Option<&Catalog>,
    seen: &mut BTreeMap<(u64, u64, String), VerifyOutcome>,
    bytes: &mut u64,
) -> VerifyOutcome {
    let unreadable = |error: io::Error| VerifyOutcome::Unreadable { why: error.to_string() };
    let meta = match fs::metadata(&file.path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return VerifyOutcome::Missing,
        Err(error) => return unreadable(error),
    };
    let expected = file.entry.content_size();
    if !meta.is_file() || meta.len() != expected {
        let actual = if meta.is_file() { meta.len().to_string() } else { "not a file".to_owned() };
        return VerifyOutcome::Wrong { algorithm: "size", expected: expected.to_string(), actual };
    }
    let identity = Identity::of(&meta);
    let key = (identity.dev, identity.ino, file.entry.etag().to_owned());
    if let Some(outcome) = seen.get(&key) {
        return outcome.clone();
    }
    *bytes += expected;
    let open = || File::open(&file.path);
    let outcome = match digest::objection(&open, expected, &file.entry, &mut |_| true) {
        Ok(None) => VerifyOutcome::Ok,
        Ok(Some(BlobDigest { algorithm, expected, actual })) => {
            VerifyOutcome::Wrong { algorithm, expected, actual }
        }
        Err(error) => unreadable(error),
    };
    // Written to or replaced meanwhile, it is another state than the one that was read.
    let same = || fs::metadata(&file.path).is_ok_and(|meta| Identity::of(&meta) == identity);
    if let Some(catalog) = catalog.filter(|_| outcome == VerifyOutcome::Ok && same()) {
        catalog.note_proven(&identity, &file.entry);
    }
    seen.insert(key, outcome.clone());
    outcome
}
