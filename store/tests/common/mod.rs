//! A small made-up repository and the ways in which its files come into a cache.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha1::Digest as _;
use zest_store::{
    CacheOptions, Catalog, Entry, FinishedFile, HfCache, Partial, PartialSpec, RepoId, RepoType, TreeEntry,
};
use zest_xet::{ChunkRef, Chunker, Manifest, Rule, file_hash};

pub const COMMIT: &str = "46419508aa93b233602f04008333d945f9b77530";
pub const COMMIT_2: &str = "1111111111111111111111111111111111111111";
pub const SHARED: CacheOptions = CacheOptions { shared_blobs: true, symlinks: true };
pub const LOCAL: CacheOptions = CacheOptions { shared_blobs: false, symlinks: true };
pub const MOVED: CacheOptions = CacheOptions { shared_blobs: true, symlinks: false };

pub fn repo() -> RepoId {
    RepoId::new(RepoType::Model, "lab/tiny").unwrap()
}

/// Bytes that look random and depend on the seed alone.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn git_id(data: &[u8]) -> String {
    let mut sha = sha1::Sha1::new();
    sha.update(format!("blob {}\0", data.len()));
    sha.update(data);
    hex(&sha.finalize())
}

pub fn chunks(data: &[u8], rule: Rule) -> Vec<ChunkRef> {
    let mut out = Vec::new();
    let mut chunker = Chunker::new(rule);
    chunker.push(data, &mut |chunk| out.push(chunk));
    chunker.finish(&mut |chunk| out.push(chunk));
    out
}

pub fn manifest(data: &[u8]) -> Manifest {
    let list = chunks(data, Rule::Current);
    Manifest::prove(file_hash(&list), data.len() as u64, list).unwrap()
}

pub fn small(path: &str, data: &[u8]) -> TreeEntry {
    TreeEntry {
        path: path.into(),
        size: data.len() as u64,
        blob_id: git_id(data),
        lfs_sha256: None,
        lfs_size: None,
        xet_hash: None,
    }
}

pub fn large_by(path: &str, data: &[u8], rule: Rule) -> TreeEntry {
    TreeEntry {
        path: path.into(),
        size: data.len() as u64,
        blob_id: git_id(b"a pointer file"),
        lfs_sha256: Some(hex(&sha2::Sha256::digest(data))),
        lfs_size: Some(data.len() as u64),
        xet_hash: Some(file_hash(&chunks(data, rule))),
    }
}

pub fn large(path: &str, data: &[u8]) -> TreeEntry {
    large_by(path, data, Rule::Current)
}

/// Two large and three small files with awkward names.
pub fn files() -> Vec<(TreeEntry, Vec<u8>)> {
    let model = noise(1, 600_000);
    let adapter = noise(2, 32_880);
    vec![
        (small("config.json", b"{}\n"), b"{}\n".to_vec()),
        (small("empty.txt", b""), Vec::new()),
        (large("model.safetensors", &model), model),
        (large("sub dir/adapter.safetensors", &adapter), adapter),
        (small("sub dir/deeper/café #1.txt", b"odd name"), b"odd name".to_vec()),
    ]
}

/// Fetches a file in Xet storage into a partial file.
pub fn fetch(dir: &Path, data: &[u8]) -> FinishedFile {
    let manifest = manifest(data);
    let partial = Partial::open(dir, PartialSpec { file: manifest.file(), size: manifest.size() }).unwrap();
    for index in 0..manifest.len() {
        let (offset, chunk) = (manifest.offset(index), manifest.chunk(index));
        partial.write_at(offset, &data[offset as usize..][..chunk.len as usize]).unwrap();
        partial.record(&Entry { index, offset, chunk, packed_len: 0 }).unwrap();
    }
    partial.sync().unwrap();
    partial.finish().unwrap()
}

/// Lands one file as a pull does.
pub fn land(cache: &HfCache, repo: &RepoId, commit: &str, entry: &TreeEntry, data: &[u8]) -> PathBuf {
    let _lock = cache.try_lock(repo, entry).unwrap().unwrap();
    if entry.xet_hash.is_some() {
        let finished = fetch(&cache.partial_dir(repo, entry).unwrap(), data);
        return cache.land_xet(repo, commit, entry, finished, false).unwrap();
    }
    let (mut file, temp) = cache.temp_file(repo, entry).unwrap();
    file.write_all(data).unwrap();
    cache.land_small(repo, commit, entry, &temp).unwrap()
}

/// A whole pull.
pub fn pull(cache: &HfCache, repo: &RepoId, commit: &str, files: &[(TreeEntry, Vec<u8>)]) {
    let tree: Vec<TreeEntry> = files.iter().map(|(entry, _)| entry.clone()).collect();
    cache.write_tree(repo, commit, &tree).unwrap();
    for (entry, data) in files {
        land(cache, repo, commit, entry, data);
    }
    cache.write_ref(repo, "main", commit).unwrap();
}

/// Every name below a folder with what `ls -l` would tell: type and mode, and size or link target.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let what = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                walk(root, &path, out);
                "dir".to_owned()
            } else {
                format!("{:o} {}", meta.permissions().mode() & 0o7777, meta.len())
            };
            out.insert(name, what);
        }
    }
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}

/// As [`listing`], with inodes and times: equal only if nothing was written.
pub fn fingerprint(root: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let stat = |name: &String| {
        let meta = fs::symlink_metadata(root.join(name)).unwrap();
        (name.clone(), (meta.ino(), meta.mtime_nsec(), meta.ctime_nsec()))
    };
    listing(root).keys().map(stat).collect()
}

/// A catalog and a cache of huggingface_hub, both new, in a folder that goes with them.
pub struct World {
    pub dir: tempfile::TempDir,
    pub catalog: Catalog,
    pub cache: HfCache,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("zest")).unwrap();
        let cache = HfCache::open(&dir.path().join("hub"), SHARED).unwrap();
        Self { dir, catalog, cache }
    }
}
