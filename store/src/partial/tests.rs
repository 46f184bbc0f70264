use std::fs::OpenOptions;

use super::*;

const CHUNK: u64 = 1_000;

fn chunk(i: u32) -> Vec<u8> {
    (0..CHUNK).map(|n| (n as u32 * 7 + i * 31) as u8).collect()
}

fn entry(i: u32) -> Entry {
    let hash = chunk_hash(&chunk(i));
    Entry {
        index: i,
        offset: u64::from(i) * CHUNK,
        chunk: ChunkRef { hash, len: CHUNK as u32 },
        packed_len: 900 + i,
    }
}

fn spec(chunks: u32) -> PartialSpec {
    let refs: Vec<ChunkRef> = (0..chunks).map(|i| entry(i).chunk).collect();
    PartialSpec { file: file_hash(&refs), size: u64::from(chunks) * CHUNK }
}

fn put(partial: &Partial, i: u32) {
    partial.write_at(u64::from(i) * CHUNK, &chunk(i)).unwrap();
    partial.record(&entry(i)).unwrap();
}

/// What is noted and still holds.
fn indices(partial: &Partial) -> Vec<u32> {
    let mut room = vec![0; CHUNK_BYTES_MAX];
    let held = partial.entries().iter().filter(|entry| partial.check(entry, &mut room).unwrap());
    held.map(|entry| entry.index).collect()
}

/// Changes bytes of a file behind the program's back.
fn vandalise(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn recorded_chunks_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let first = Partial::open(&dir.path().join("blobs/8e"), spec(10)).unwrap();
    for i in [3, 1, 7] {
        put(&first, i);
    }
    // Written, but not recorded: lost. Dropping closes the descriptors as a kill does.
    first.write_at(0, &chunk(0)).unwrap();
    drop(first);
    let second = Partial::open(&dir.path().join("blobs/8e"), spec(10)).unwrap();
    assert_eq!(indices(&second), [1, 3, 7]);
    assert_eq!(second.entries()[1], entry(3));
    let mut bytes = vec![0; CHUNK as usize];
    second.read_at(3 * CHUNK, &mut bytes).unwrap();
    assert_eq!(bytes, chunk(3));
}

#[test]
fn what_is_not_there_any_more_is_found_whether_it_was_durable_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(10)).unwrap();
    put(&partial, 0);
    put(&partial, 1);
    partial.sync().unwrap();
    put(&partial, 2);
    put(&partial, 3);
    let path = partial.path().to_path_buf();
    drop(partial);
    // What a power loss does: data that was never synced is not there. What time does: a bit flips anywhere.
    vandalise(&path, 2 * CHUNK, &[0; 10]);
    vandalise(&path, 0, &[!chunk(0)[0]]);
    let partial = Partial::open(dir.path(), spec(10)).unwrap();
    assert_eq!(indices(&partial), [1, 3], "neither 0, which was synced, nor 2, which was not");
    // Once found bad, always bad.
    partial.sync().unwrap();
    drop(partial);
    assert_eq!(indices(&Partial::open(dir.path(), spec(10)).unwrap()), [1, 3]);
}

#[test]
fn a_torn_or_garbage_tail_of_the_journal_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tail) in [("torn", &[0x55; 20][..]), ("garbage", &[0xaa; 1_000]), ("zeros", &[0; 640])] {
        let dir = dir.path().join(name);
        let partial = Partial::open(&dir, spec(4)).unwrap();
        put(&partial, 1);
        let journal = partial.journal_path.clone();
        drop(partial);
        OpenOptions::new().append(true).open(&journal).unwrap().write_all(tail).unwrap();
        let partial = Partial::open(&dir, spec(4)).unwrap();
        assert_eq!(indices(&partial), [1], "{name}");
        put(&partial, 2);
        drop(partial);
        assert_eq!(
            indices(&Partial::open(&dir, spec(4)).unwrap()),
            [1, 2],
            "{name}: records after the tail are read"
        );
    }
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(4)).unwrap();
    (0..4).for_each(|i| put(&partial, i));
    let journal = partial.journal_path.clone();
    drop(partial);
    // The session's record, then entries 0 to 3.
    vandalise(&journal, (HEADER_BYTES + 2 * RECORD_BYTES + 9) as u64, &[0xff]);
    assert_eq!(indices(&Partial::open(dir.path(), spec(4)).unwrap()), [0, 2, 3]);
}

#[test]
fn a_journal_that_belongs_to_something_else_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(4)).unwrap();
    put(&partial, 0);
    let journal = partial.journal_path.clone();
    drop(partial);
    vandalise(&journal, 0, b"somebody");
    let partial = Partial::open(dir.path(), spec(4)).unwrap();
    assert!(partial.entries().is_empty());
    put(&partial, 1);
    drop(partial);
    assert_eq!(indices(&Partial::open(dir.path(), spec(4)).unwrap()), [1]);
}

#[test]
fn a_data_file_that_was_exchanged_is_hashed_again_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(4)).unwrap();
    (0..4).for_each(|i| put(&partial, i));
    partial.sync().unwrap();
    let path = partial.path().to_path_buf();
    drop(partial);
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    vandalise(&copy, CHUNK, b"rot");
    fs::rename(&copy, &path).unwrap();
    assert_eq!(indices(&Partial::open(dir.path(), spec(4)).unwrap()), [0, 2, 3]);
    // A shorter one as well.
    File::options().write(true).open(&path).unwrap().set_len(2 * CHUNK + 5).unwrap();
    assert_eq!(indices(&Partial::open(dir.path(), spec(4)).unwrap()), [0]);
    // And none at all.
    fs::remove_file(&path).unwrap();
    assert!(indices(&Partial::open(dir.path(), spec(4)).unwrap()).is_empty());
}

#[test]
fn discarded_chunks_stay_discarded_until_recorded_again() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(4)).unwrap();
    (0..3).for_each(|i| put(&partial, i));
    partial.discard(0).unwrap();
    partial.discard(1).unwrap();
    partial.record(&entry(1)).unwrap();
    drop(partial);
    assert_eq!(indices(&Partial::open(dir.path(), spec(4)).unwrap()), [1, 2]);
}

#[test]
fn a_second_opener_is_told_to_wait_and_gets_the_file_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let first = Partial::open(dir.path(), spec(2)).unwrap();
    put(&first, 1);
    assert!(
        matches!(Partial::open(dir.path(), spec(2)), Err(PartialError::Busy { file }) if file == spec(2).file)
    );
    drop(first);
    assert_eq!(indices(&Partial::open(dir.path(), spec(2)).unwrap()), [1]);
}

#[test]
fn finishing_hands_over_a_durable_file_and_dropping_it_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(3)).unwrap();
    (0..3).for_each(|i| put(&partial, i));
    let finished = partial.finish().unwrap();
    assert_eq!(finished.spec(), spec(3));
    drop(finished);
    let partial = Partial::open(dir.path(), spec(3)).unwrap();
    assert_eq!(indices(&partial), [0, 1, 2]);
    partial.abandon().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_lock_that_kept_nobody_out_is_noticed_and_the_file_hashed_before_it_lands() {
    let dir = tempfile::tempdir().unwrap();
    let intrude = |partial: &Partial| {
        let session = Session { id: [0xee; 16], dev: 0, ino: 0 };
        let nonce = partial.lock().nonce;
        let record = journal::encode_record(&Record::Session(session), &nonce);
        File::options().append(true).open(&partial.journal_path).unwrap().write_all(&record).unwrap();
    };
    let partial = Partial::open(dir.path(), spec(3)).unwrap();
    (0..3).for_each(|i| put(&partial, i));
    intrude(&partial);
    drop(partial.finish().expect("nothing is wrong with the bytes"));
    let partial = Partial::open(dir.path(), spec(3)).unwrap();
    vandalise(partial.path(), CHUNK, b"unproven bytes of the other process");
    intrude(&partial);
    assert!(matches!(partial.finish(), Err(StoreError::ChangedMeanwhile { .. })));
}

#[test]
fn a_file_that_cannot_fit_is_refused_before_a_byte_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let huge = PartialSpec { file: chunk_hash(b"huge"), size: 1 << 60 };
    assert_eq!(Partial::bytes_needed(dir.path(), &huge), 1 << 60);
    match Partial::open(dir.path(), huge) {
        Err(PartialError::Store(StoreError::DiskFull { needed, free, .. })) => {
            assert_eq!(needed, 1 << 60);
            assert!(free > 0 && free < needed);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn foreign_things_under_our_names_are_reported_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join(format!("{}{DATA_SUFFIX}", spec(2).file));
    let victim = dir.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    os::symlink(&victim, &data).unwrap();
    drop(Partial::open(dir.path(), spec(2)).unwrap());
    assert_eq!(fs::read(&victim).unwrap(), b"precious", "a link is not followed");
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let error = Partial::open(dir.path(), spec(2)).unwrap_err().to_string();
    assert!(error.contains("is a directory, expected a partial file"), "{error}");
}

#[test]
fn many_threads_record_at_once_without_losing_one() {
    let dir = tempfile::tempdir().unwrap();
    let partial = Partial::open(dir.path(), spec(200)).unwrap();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let partial = &partial;
            scope.spawn(move || {
                for i in (0..200).filter(|i| i % 4 == part) {
                    put(partial, i);
                    if i % 40 == 0 {
                        partial.sync().unwrap();
                    }
                }
            });
        }
    });
    drop(partial);
    assert_eq!(indices(&Partial::open(dir.path(), spec(200)).unwrap()), (0..200).collect::<Vec<u32>>());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_to_the_journal_only_chunks_that_hold_come_back(
        flips in proptest::collection::vec((0usize..1_000, 0u8..8), 0..20),
        cut in 0usize..1_200,
        tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let partial = Partial::open(dir.path(), spec(8)).unwrap();
        (0..8).for_each(|i| put(&partial, i));
        let (journal, data) = (partial.journal_path.clone(), partial.data_path.clone());
        drop(partial);
        vandalise(&data, 3 * CHUNK, b"gone");
        let mut bytes = fs::read(&journal).unwrap();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        bytes.truncate(cut);
        bytes.extend(tail);
        fs::write(&journal, bytes).unwrap();
        let partial = Partial::open(dir.path(), spec(8)).unwrap();
        let held = indices(&partial);
        for found in partial.entries().iter().filter(|found| held.contains(&found.index)) {
            proptest::prop_assert!(found.index != 3);
            proptest::prop_assert_eq!(*found, entry(found.index));
        }
        put(&partial, 5);
        drop(partial);
        proptest::prop_assert!(indices(&Partial::open(dir.path(), spec(8)).unwrap()).contains(&5));
    }
}
