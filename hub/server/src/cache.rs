//! The index on disk, so that a restarted hub reads no unchanged file again.
//!
//! ```text
//! listings/<SHA-1 of the revision's name>.json   digest and identity of each file of a revision
//! chunks/ab/<file hash>                          manifest records, 36 bytes a chunk; proven when read
//! order                                          file hashes, one a line, in the order they were laid out in xorbs
//! ```
//! Nothing here is needed: whatever is missing, damaged or cannot be written is made again from the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use zest_xet::{Hash, Manifest};

use super::digest::Digest;
use super::disk::{Identity, write_atomically};
use super::sign::{hex, unhex};

/// Name of the cache folder in the root. The dot keeps it out of the listing of repositories.
pub(crate) const FOLDER: &str = ".zest-hub";

/// Version of the listing format; others are ignored and written anew.
const LISTING_VERSION: u32 = 1;

/// The index folder, or none.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
}

/// What is remembered about one file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KnownFile {
    /// Path below the root.
    pub(crate) path: String,
    pub(crate) identity: Identity,
    pub(crate) digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Listing {
    version: u32,
    revision: String,
    files: Vec<ListedFile>,
}

#[derive(Serialize, Deserialize)]
struct ListedFile {
    path: String,
    size: u64,
    mtime_ns: i64,
    inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xet: Option<Hash>,
}

impl ListedFile {
    fn new(known: &KnownFile) -> Self {
        let (git, sha256, xet) = match &known.digest {
            Digest::Plain { git } => (Some(hex(git)), None, None),
            Digest::Xet { sha256, file } => (None, Some(hex(sha256)), Some(*file)),
        };
        let Identity { size, mtime_ns, inode } = known.identity;
        Self { path: known.path.clone(), size, mtime_ns, inode, git, sha256, xet }
    }

    fn known(self) -> Option<KnownFile> {
        let digest = match (self.git, self.sha256, self.xet) {
            (Some(git), None, None) => Digest::Plain { git: unhex(&git)? },
            (None, Some(sha256), Some(file)) => Digest::Xet { sha256: unhex(&sha256)?, file },
            _ => return None,
        };
        let identity = Identity { size: self.size, mtime_ns: self.mtime_ns, inode: self.inode };
        Some(KnownFile { path: self.path, identity, digest })
    }
}

impl Cache {
    /// Makes the folder where needed and checks that it can be written.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        for part in ["listings", "chunks"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        write_atomically(&folder.join("CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n")?;
        Ok(Self { folder: Some(folder.to_path_buf()) })
    }

    /// A cache that forgets everything.
    pub(crate) fn in_memory() -> Self {
        Self { folder: None }
    }

    pub(crate) fn load_listing(&self, revision: &str) -> Vec<KnownFile> {
        let load = || -> Option<Vec<KnownFile>> {
            let text = std::fs::read(self.listing_path(revision)?).ok()?;
            let listing: Listing = serde_json::from_slice(&text).ok()?;
            let ours = listing.version == LISTING_VERSION && listing.revision == revision;
            ours.then(|| listing.files.into_iter().filter_map(ListedFile::known).collect())
        };
        load().unwrap_or_default()
    }

    pub(crate) fn save_listing(&self, revision: &str, files: &[KnownFile]) {
        let Some(path) = self.listing_path(revision) else { return };
        let files = files.iter().map(ListedFile::new).collect();
        let listing = Listing { version: LISTING_VERSION, revision: revision.to_owned(), files };
        match serde_json::to_vec(&listing) {
            Ok(text) => warn_on_error(&path, write_atomically(&path, &text)),
            Err(error) => tracing::warn!(%error, "listing not saved"),
        }
    }

    pub(crate) fn load_manifest(&self, content: &Hash, size: u64) -> Option<Arc<Manifest>> {
        let records = std::fs::read(self.manifest_path(content)?).ok()?;
        Manifest::parse(*content, size, &records).ok().map(Arc::new)
    }

    pub(crate) fn save_manifest(&self, manifest: &Manifest) {
        let Some(path) = self.manifest_path(&manifest.file()) else { return };
        let mut records = Vec::new();
        manifest.write_records(0..manifest.len(), &mut records);
        let folder = path.parent().expect("a manifest lies in a folder");
        let made = std::fs::create_dir_all(folder);
        warn_on_error(&path, made.and_then(|()| write_atomically(&path, &records)));
    }

    pub(crate) fn load_order(&self) -> Vec<Hash> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let text = std::fs::read_to_string(folder.join("order")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    pub(crate) fn save_order(&self, order: &[Hash]) {
        let Some(folder) = &self.folder else { return };
        let text: String = order.iter().map(|content| format!("{content}\n")).collect();
        let path = folder.join("order");
        warn_on_error(&path, write_atomically(&path, text.as_bytes()));
    }

    pub(crate) fn append_order(&self, content: &Hash) {
        use std::io::Write as _;
        let Some(folder) = &self.folder else { return };
        let path = folder.join("order");
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        // One write for the whole line, so that lines of two processes do not mix.
        warn_on_error(&path, opened.and_then(|mut file| file.write_all(format!("{content}\n").as_bytes())));
    }

    fn listing_path(&self, revision: &str) -> Option<PathBuf> {
        let name = hex(&Sha1::digest(revision));
        Some(self.folder.as_ref()?.join("listings").join(format!("{name}.json")))
    }

    fn manifest_path(&self, content: &Hash) -> Option<PathBuf> {
        let name = content.to_string();
        Some(self.folder.as_ref()?.join("chunks").join(&name[..2]).join(name))
    }
}

fn warn_on_error(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        let path = path.display();
        tracing::warn!(
            target: zest_store::SAID,
            kind = "not-kept",
            "the index is not saved, so files are hashed anew at the next start: {path}: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{ChunkRef, chunk_hash, file_hash};

    #[test]
    fn what_is_saved_comes_back_and_damage_is_ignored() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cache = Cache::open(dir.path()).expect("opened");
        let chunks = vec![ChunkRef { hash: chunk_hash(b"x"), len: 1 }];
        let manifest = Manifest::prove(file_hash(&chunks), 1, chunks).expect("sound");
        let identity = Identity { size: 1, mtime_ns: -5, inode: 9 };
        let known = [
            KnownFile { path: "a b".into(), identity, digest: Digest::Plain { git: [1; 20] } },
            KnownFile {
                path: "é".into(),
                identity,
                digest: Digest::Xet { sha256: [2; 32], file: manifest.file() },
            },
        ];
        cache.save_listing("models/a/b/main", &known);
        cache.save_manifest(&manifest);
        cache.append_order(&manifest.file());
        let again = Cache::open(dir.path()).expect("opened");
        assert_eq!(again.load_listing("models/a/b/main"), known);
        assert!(again.load_listing("models/a/b/other").is_empty());
        assert_eq!(again.load_order(), [manifest.file()]);
        let loaded = again.load_manifest(&manifest.file(), 1).expect("loaded");
        assert_eq!(loaded.chunks(), manifest.chunks());
        assert!(again.load_manifest(&manifest.file(), 2).is_none());
        let path = again.manifest_path(&manifest.file()).expect("on disk");
        std::fs::write(path, [0; 36]).expect("damaged");
        assert!(again.load_manifest(&manifest.file(), 1).is_none());
        assert!(Cache::in_memory().load_order().is_empty());
    }
}
