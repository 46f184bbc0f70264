use super::*;
use crate::os::FileExt as _;

const SIZE: u64 = 3 * WINDOW_BYTES + 1_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn entry() -> TreeEntry {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(), 0).unwrap();
    let mut entry = TreeEntry {
        path: "model.bin".into(),
        size: SIZE,
        blob_id: "0".repeat(40),
        lfs_sha256: Some("0".repeat(64)),
        lfs_size: Some(SIZE),
        xet_hash: None,
    };
    entry.lfs_sha256 = Some(digest::blob_digest(&file, SIZE, &entry).unwrap().actual);
    entry
}

fn open(dir: &Path) -> PlainPartial {
    PlainPartial::open(dir, &entry(), None).unwrap()
}

/// Looks at everything that an earlier process left.
fn look(partial: &PlainPartial) -> Looked {
    let mut all = Looked::default();
    while let Some(looked) = partial.check(2).unwrap() {
        all.good_bytes += looked.good_bytes;
        all.rotten += looked.rotten;
    }
    all
}

fn fetch(partial: &PlainPartial, up_to: u64) {
    while let Some(gap) = partial.gap().filter(|gap| gap.start < up_to) {
        let mut filling = Filling::from(gap.start);
        let end = gap.end.min(up_to);
        for part in content()[gap.start as usize..end as usize].chunks(1_000) {
            partial.fill(&mut filling, part).unwrap();
        }
        if end < gap.end {
            return;
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn whole_windows_survive_a_kill_and_count_once_they_were_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    fetch(&partial, 2 * WINDOW_BYTES + 500);
    drop(partial);
    let partial = open(dir.path());
    assert_eq!(partial.unchecked_bytes(), 2 * WINDOW_BYTES);
    assert_eq!(partial.gap(), Some(2 * WINDOW_BYTES..SIZE));
    fetch(&partial, SIZE);
    assert!(partial.gap().is_none() && !partial.is_complete(), "what is old was not looked at");
    assert_eq!(look(&partial), Looked { good_bytes: 2 * WINDOW_BYTES, rotten: 0 });
    assert!(partial.is_complete());
    partial.prove(&entry()).unwrap();
    let finished = partial.finish(&entry()).unwrap();
    assert_eq!(fs::read(finished.path()).unwrap(), content());
}

#[test]
fn a_window_that_has_rotted_is_fetched_again_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    fetch(&partial, 3 * WINDOW_BYTES);
    partial.sync().unwrap();
    let path = partial.path().to_path_buf();
    drop(partial);
    File::options().write(true).open(&path).unwrap().write_all_at(b"rot", WINDOW_BYTES + 5).unwrap();
    let partial = open(dir.path());
    assert_eq!(look(&partial), Looked { good_bytes: 2 * WINDOW_BYTES, rotten: 1 });
    assert_eq!(partial.gap(), Some(WINDOW_BYTES..2 * WINDOW_BYTES));
    fetch(&partial, SIZE);
    assert!(partial.is_complete());
    partial.prove(&entry()).unwrap();
}

#[test]
fn wrong_bytes_are_found_in_the_end_and_forgotten_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    partial.fill(&mut Filling::from(0), &vec![0xee; SIZE as usize]).unwrap();
    assert!(partial.is_complete());
    assert!(matches!(partial.prove(&entry()), Err(StoreError::WrongContent { .. })));
    partial.restart().unwrap();
    assert_eq!(partial.gap(), Some(0..SIZE));
    fetch(&partial, WINDOW_BYTES);
    drop(partial);
    let partial = open(dir.path());
    assert_eq!(partial.unchecked_bytes(), WINDOW_BYTES, "what came after the restart");
    look(&partial);
    fetch(&partial, SIZE);
    partial.prove(&entry()).unwrap();
}

#[test]
fn held_windows_are_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let partial = open(dir.path());
    fetch(&partial, WINDOW_BYTES);
    let mut filling = Filling::from(0);
    partial.fill(&mut filling, &vec![0xee; WINDOW_BYTES as usize]).unwrap();
    assert_eq!(filling.at(), WINDOW_BYTES);
    fetch(&partial, SIZE);
    partial.prove(&entry()).unwrap();
}

#[test]
fn what_another_program_left_is_gone_on_with_and_the_rest_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let etag = entry().etag().to_owned();
    let put = |name: &str, len: usize| fs::write(dir.join(name), &content()[..len]).unwrap();
    put(&format!("{etag}.0123abcd.incomplete"), 100_000);
    put(&format!("{etag}.89abcdef.incomplete"), 300_000);
    put(&format!("{etag}.incomplete"), 5);
    put("other.0123abcd.incomplete", 10);
    fs::write(dir.join(format!("{etag}.77777777.incomplete")), vec![0; SIZE as usize + 1]).unwrap();
    put(&format!("{etag}.00000000.incomplete"), 200_000);
    let busy = File::open(dir.join(format!("{etag}.00000000.incomplete"))).unwrap();
    busy.try_lock().unwrap();
    let mut leftovers = Leftovers::default();
    leftovers.look_into(dir);
    let best = leftovers.claim(&[dir.join(&etag)], &entry()).unwrap();
    let partial = PlainPartial::open(dir, &entry(), Some(&best)).unwrap();
    assert_eq!(look(&partial).good_bytes, 2 * WINDOW_BYTES);
    fetch(&partial, SIZE);
    partial.prove(&entry()).unwrap();
    partial.abandon().unwrap();
    assert_eq!(names(dir), [format!("{etag}.00000000.incomplete"), "other.0123abcd.incomplete".to_owned()]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_in_any_parts_and_any_rot_give_the_file(
        cuts in proptest::collection::vec(1usize..200_000, 1..40),
        rot in proptest::collection::vec(0..SIZE, 0..4),
        stop in 0..SIZE,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let partial = open(dir.path());
        fetch(&partial, stop);
        let path = partial.path().to_path_buf();
        drop(partial);
        let file = File::options().write(true).open(&path).unwrap();
        for at in rot {
            file.write_all_at(&[!content()[at as usize]], at).unwrap();
        }
        let partial = open(dir.path());
        look(&partial);
        let mut sizes = cuts.iter().copied().cycle();
        while let Some(gap) = partial.gap() {
            let mut filling = Filling::from(gap.start);
            while filling.at() < gap.end {
                let at = filling.at();
                let end = (at + sizes.next().unwrap() as u64).min(gap.end);
                partial.fill(&mut filling, &content()[at as usize..end as usize]).unwrap();
            }
        }
        proptest::prop_assert!(partial.is_complete());
        proptest::prop_assert!(partial.prove(&entry()).is_ok());
    }
}
