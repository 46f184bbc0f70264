//! What lies on a disk: the journal of a partial file, the catalog's files, the listing that huggingface_hub shares. Journal
//! and catalog are read as they are in earnest, through files in a folder of the input's own.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use zest_store::{
    Access, Catalog, Endpoint, Entry, Identity, PROOF_LASTS_AT_MOST, Partial, PartialSpec, Place, RepoId,
    RepoType, TreeEntry, format_tree, parse_tree,
};
use zest_xet::{ChunkRef, Hash, Manifest, chunk_hash, file_hash};

use crate::cursor::Cursor;

/// In memory where that can be: what is written here is made durable, which a disk takes a hundred times as long for.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.or_else(|_| TempDir::new()).expect("room for a folder")
}

/// Bytes of a journal's header.
const HEADER_BYTES: usize = 128;
/// Bytes of one of its records.
const RECORD_BYTES: usize = 64;
/// Records of one input.
const RECORDS_MAX: usize = 64;

/// Input: u8 form, u16 size of the file, the journal. Form bit 0: header and checksums are ours; bit 1: the records' hashes
/// are those of what is there.
///
/// A journal says what its sound records say in their order, everything else in it nothing; what it says and does not hold is
/// taken back, and the next opener hears the rest.
pub fn journal(input: &[u8]) {
    let mut input = Cursor::new(input);
    let (form, size) = (input.u8(), input.u16());
    let rest = input.rest();
    let data: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
    let spec = PartialSpec { file: Hash::from_bytes([7; 32]), size: size.into() };
    let (bytes, expected) = match form & 1 {
        0 => (rest.to_vec(), BTreeMap::new()),
        _ => sealed(rest, &spec, (form & 2 != 0).then_some(&data)),
    };
    let dir = folder();
    let path = |suffix: &str| dir.path().join(format!("{}{suffix}", spec.file));
    fs::write(path(".zest-journal"), bytes).expect("room for a journal");
    fs::write(path(".zest-partial"), &data).expect("room for a file");

    let partial = Partial::open(dir.path(), spec).expect("nobody else has it");
    assert_eq!(partial.entries(), expected.values().copied().collect::<Vec<Entry>>());
    let mut room = vec![0; 131_072];
    let holds: Vec<Entry> = partial
        .entries()
        .iter()
        .filter(|entry| {
            let there = &data[entry.offset as usize..][..entry.chunk.len as usize];
            let holds = partial.check(entry, &mut room).expect("a journal to write");
            assert_eq!(holds, chunk_hash(there) == entry.chunk.hash, "what is there counts");
            holds
        })
        .copied()
        .collect();
    drop(partial);
    let again = Partial::open(dir.path(), spec).expect("it was let go");
    assert_eq!(again.entries(), holds, "what did not hold was taken back, and nothing else");
}

/// The journal that a writer of these records leaves, and what it says.
fn sealed(records: &[u8], spec: &PartialSpec, data: Option<&Vec<u8>>) -> (Vec<u8>, BTreeMap<u32, Entry>) {
    let nonce = [9; 16];
    let mut bytes =
        [&b"zestjrn1"[..], spec.file.as_bytes(), &spec.size.to_be_bytes(), &nonce, &[0; 56]].concat();
    bytes.extend(checksum(&nonce, &bytes));
    assert_eq!(bytes.len(), HEADER_BYTES);
    let mut says = BTreeMap::new();
    let (whole, torn) = records[..records.len().min(RECORDS_MAX * RECORD_BYTES)].as_chunks::<RECORD_BYTES>();
    for record in whole {
        let mut record = *record;
        let number = |record: &[u8], at: usize, len: usize| {
            record[at..at + len].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (index, offset) = (number(&record, 4, 4) as u32, number(&record, 8, 8));
        let (len, packed_len) = (number(&record, 48, 4) as u32, number(&record, 52, 4) as u32);
        let end =
            offset.checked_add(len.into()).filter(|end| *end <= spec.size && (1..=131_072).contains(&len));
        match record[0] {
            1 => {
                if let (Some(data), Some(end)) = (data, end) {
                    let hash = chunk_hash(&data[offset as usize..end as usize]);
                    record[16..48].copy_from_slice(hash.as_bytes());
                }
                let hash = Hash::from_bytes(*record[16..].first_chunk().expect("32 bytes of a record"));
                if end.is_some() {
                    says.insert(index, Entry { index, offset, chunk: ChunkRef { hash, len }, packed_len });
                }
            }
            3 => drop(says.remove(&index)),
            _ => {}
        }
        let sum = checksum(&nonce, &record[..56]);
        record[56..].copy_from_slice(&sum);
        bytes.extend(record);
    }
    bytes.extend(torn);
    (bytes, says)
}

fn checksum(nonce: &[u8], bytes: &[u8]) -> [u8; 8] {
    let hash = chunk_hash(&[nonce, bytes].concat());
    *hash.as_bytes().first_chunk().expect("eight bytes of a hash")
}

/// Things done to the files of one catalog, at most.
const DAMAGES_MAX: usize = 16;
/// Bytes of a file in it, at most.
const FILE_BYTES_MAX: usize = 4096;

/// Input: what happens to the files of a good catalog between two runs, each time u8 which file, u8 what, u16 where, u8 count,
/// as many bytes. What: 0 bytes are written over others, 1 the file ends there, 2 bytes come after it, 3 bytes take its
/// place, 4 it goes, 5 bytes are put in, 6 all of its checksum is right again (the list of chunks alone).
///
/// Whatever lies there, the catalog opens; a list is the true one or none; what it finds has the hash that was asked for; and
/// nothing is shared without a note that says so.
pub fn catalog(input: &[u8]) {
    let mut input = Cursor::new(input);
    let dir = folder();
    let (root, model) = (dir.path().join("zest"), dir.path().join("model.bin"));
    let parts = [vec![1; 900], vec![2; 20], vec![3; 1400]];
    fs::write(&model, parts.concat()).expect("room for a file");
    let identity = Identity::of(&fs::metadata(&model).expect("it is there"));
    let list: Vec<ChunkRef> =
        parts.iter().map(|part| ChunkRef { hash: chunk_hash(part), len: part.len() as u32 }).collect();
    let (xorb, size) = (Hash::from_bytes([5; 32]), 2320);
    let manifest = Manifest::prove(file_hash(&list), size, list.clone()).expect("a list makes its own hash");
    let repo = RepoId::new(RepoType::Model, "org/model").expect("a name");
    let commit = "c".repeat(40);
    {
        let made = Catalog::open(&root).expect("a new catalog");
        let hub = Endpoint::public();
        let place = Place { hub: Some(hub.clone()), path: model, repo: repo.clone(), commit: commit.clone() };
        let terms = [(xorb, 4..6), (xorb, 0..1)];
        made.publish(&manifest, &place, Some(&[900, 20, 77]), Some(&terms)).expect("room for a catalog");
        made.note_proven(&identity, &entry("a"));
        made.prove_public(&hub, &repo, &commit, SystemTime::now()).expect("room for a note");
    }
    let name = manifest.file().to_string();
    let hub = chunk_hash(Endpoint::public().as_str().as_bytes()).to_plain_hex();
    let files = [
        root.join("files").join(&name[..2]).join(&name),
        root.join("places").join(&name[..2]).join(format!("{name}.json")),
        root.join("proofs").join(&hub[..16]).join(repo.folder()).join(format!("{commit}.json")),
        root.join("proven"),
    ];
    assert!(files.iter().all(|path| path.exists()), "a catalog has its files where this body looks for them");
    let mut honest = true;
    for _ in 0..DAMAGES_MAX {
        if input.is_empty() {
            break;
        }
        honest &= damage(&files, &mut input);
    }

    let catalog = Catalog::open(&root).expect("whatever lies in it");
    assert!(!catalog.is_proven(&identity, &entry("b")), "proven by nobody");
    let noted =
        fs::read(&files[2]).ok().and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    let may_share = noted.is_some_and(|note| note["format"] == 2 && note["until"].as_u64() > Some(0));
    for _ in 0..2 {
        for access in [Access::Own, Access::Near, Access::Share] {
            let shares = access != Access::Own;
            if let Some(read) = catalog.load_manifest(&manifest.file(), access) {
                assert_eq!(read.chunks(), manifest.chunks(), "a list that is not proven was given");
                assert!(!shares || may_share);
            }
            for chunk in &list {
                let Some(found) = catalog.locate(&chunk.hash, access) else { continue };
                assert!(!shares || may_share, "shared without a word that it may be");
                assert_eq!(found.hash, chunk.hash);
                let file = catalog.open_file(found.file).expect("it was open a moment ago");
                let mut bytes = vec![0; found.len.min(131_072) as usize];
                let right =
                    file.read_exact_at(&mut bytes, found.offset).is_ok() && chunk_hash(&bytes) == chunk.hash;
                assert!(right || !honest, "a sound list leads to its chunks");
            }
            for range in [0..1, 4..6, 0..u32::MAX, 5..5] {
                let found = catalog.xorb_range(&xorb, range, access);
                assert!(!shares || may_share || found.is_none_or(|found| found.is_empty()));
            }
            assert!(!shares || may_share || catalog.data(&manifest.file(), access).is_none());
        }
        let _ = catalog.load_hints(&manifest.file());
        let latest = SystemTime::now() + PROOF_LASTS_AT_MOST + Duration::from_secs(300);
        for file in catalog.files() {
            assert!(file.public_until.is_none_or(|until| may_share && until <= latest), "shared for ever");
        }
        catalog.refresh();
    }
}

fn entry(digit: &str) -> TreeEntry {
    let (path, blob_id) = ("model.bin".to_owned(), digit.repeat(40));
    TreeEntry { path, size: 2320, blob_id, lfs_sha256: None, lfs_size: None, xet_hash: None }
}

/// Does one thing to one file. False if a wrong list may pass for a sound one now.
fn damage(files: &[PathBuf; 4], input: &mut Cursor<'_>) -> bool {
    let (which, what, at) = (usize::from(input.u8()) % 4, input.u8() % 7, usize::from(input.u16()));
    let count = usize::from(input.u8());
    let (path, bytes) = (&files[which], input.bytes(count));
    let mut now = fs::read(path).unwrap_or_default();
    let at = at.min(now.len());
    let mut honest = true;
    match what {
        0 => now.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new),
        1 => now.truncate(at),
        2 => now.extend(bytes),
        3 => now = bytes.to_vec(),
        4 => {
            let _may_be_gone = fs::remove_file(path);
            return true;
        }
        5 => drop(now.splice(at..at, bytes.iter().copied())),
        _ if which == 0 && now.len() >= 128 => {
            let sum = chunk_hash(&[&now[..96], chunk_hash(&now[128..]).as_bytes()].concat());
            now[96..128].copy_from_slice(sum.as_bytes());
            honest = false;
        }
        _ => {}
    }
    now.truncate(FILE_BYTES_MAX);
    write(path, &now);
    honest
}

fn write(path: &Path, bytes: &[u8]) {
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).open(path).expect("a file to write");
    file.write_all_at(bytes, 0).expect("room for a file");
}

/// Input: `trees/<commit>.json`. What is read names nothing that may not become a path, and is read again from what we
/// would write.
pub fn tree_file(input: &[u8]) {
    let Some(mut entries) = parse_tree(input) else { return };
    for entry in &entries {
        entry.check().expect("a listing of names that are safe");
        assert!(!Path::new(&entry.path).is_absolute() && !entry.path.split('/').any(|part| part == ".."));
    }
    let again = parse_tree(format_tree(&entries).as_bytes());
    // The size of an LFS file means nothing for others, and is not written.
    for entry in entries.iter_mut().filter(|entry| entry.lfs_sha256.is_none()) {
        entry.lfs_size = None;
    }
    assert_eq!(again.as_ref(), Some(&entries), "what we write reads back");
}
