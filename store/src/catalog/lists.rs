//! Whose a kept list of files is. A cache keeps one per repository and commit, whoever gave it: another Hub of the same names, or
//! another program. Only what this Hub's own list names is this Hub's (`proofs/<Hub>/<repo folder>/<commit>.list`).

use std::fs;

use sha2::{Digest as _, Sha256};

use super::places::Member;
use super::{Catalog, Commit, proofs};
use crate::error::{Context as _, StoreError};
use crate::os;
use crate::tree::TreeEntry;

/// Part of what is hashed, so that the format can change.
const VERSION: &[u8] = b"zest list 1";

impl Catalog {
    /// This Hub has named these files as those of its commit.
    ///
    /// # Errors
    /// The system's.
    pub fn note_list(&self, of: &Commit, entries: &[TreeEntry]) -> Result<(), StoreError> {
        crate::names::check_commit(&of.commit)?;
        let member = Member::new(of.hub.as_ref(), &of.repo, &of.commit);
        let Some(path) = proofs::list_path(&self.root, &member) else { return Ok(()) };
        let noted = digest(of, entries);
        if fs::read(&path).is_ok_and(|old| old == noted.as_bytes()) {
            return Ok(());
        }
        let dir = path.parent().expect("lists are noted in a folder");
        fs::create_dir_all(dir).at("create directory", dir)?;
        os::write_atomically(&path, ".tmp", 0o600, noted.as_bytes()).at("write", &path)
    }

    /// Whether this Hub has named exactly these files as those of its commit.
    #[must_use]
    pub fn knows_list(&self, of: &Commit, entries: &[TreeEntry]) -> bool {
        let member = Member::new(of.hub.as_ref(), &of.repo, &of.commit);
        let path = proofs::list_path(&self.root, &member).filter(|_| crate::is_commit(&of.commit));
        path.and_then(|path| fs::read(path).ok()).is_some_and(|noted| noted == digest(of, entries).as_bytes())
    }
}

fn digest(of: &Commit, entries: &[TreeEntry]) -> String {
    let mut entries: Vec<&TreeEntry> = entries.iter().collect();
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut sha = Sha256::new();
    // No two lists are written alike: each part comes with its length.
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    part(VERSION);
    part(of.hub.as_ref().map_or("", |hub| hub.as_str()).as_bytes());
    part(of.repo.folder().as_bytes());
    part(of.commit.as_bytes());
    for entry in entries {
        part(entry.path.as_bytes());
        part(&entry.content_size().to_be_bytes());
        part(entry.etag().as_bytes());
        part(entry.xet_hash.map(|hash| hash.to_string()).unwrap_or_default().as_bytes());
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
