//! kill -9 at moments that the killed process itself announces: the test starts itself as a child.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{COMMIT, SHARED, files, land, manifest, noise, repo};
use zest_store::{Entry, HfCache, Partial, PartialSpec, Presence, VerifyOutcome, verify_cache};

/// Where the child finds its folder. Set: this process is the child.
const DIR: &str = "ZEST_STORE_TEST_DIR";

fn child(test: &str, dir: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

fn say(line: &str) {
    // Past the test harness: one line, flushed.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// Kills the child when it has said `lines` times "done".
fn kill_after(mut child: Child, lines: usize) {
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen = said.filter(|line| line.contains("done")).take(lines).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, lines);
}

fn spec(data: &[u8]) -> PartialSpec {
    PartialSpec { file: manifest(data).file(), size: data.len() as u64 }
}

#[test]
fn while_fetching() {
    let data = noise(1, 4_000_000);
    let manifest = manifest(&data);
    if let Some(dir) = child_dir() {
        let partial = Partial::open(&dir, spec(&data)).unwrap();
        let from = partial.entries().len() as u32;
        for index in from..manifest.len() {
            let (offset, chunk) = (manifest.offset(index), manifest.chunk(index));
            partial.write_at(offset, &data[offset as usize..][..chunk.len as usize]).unwrap();
            partial.record(&Entry { index, offset, chunk, packed_len: 0 }).unwrap();
            if index % 8 == 0 {
                partial.sync().unwrap();
            }
            say("done");
        }
        loop {
            std::thread::park();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut have = 0;
    for lines in [1, 7, 3, 12] {
        kill_after(child("while_fetching", dir.path()), lines);
        have += lines;
        let partial = Partial::open(dir.path(), spec(&data)).unwrap();
        assert!(partial.entries().len() >= have, "{} of at least {have}", partial.entries().len());
        have = partial.entries().len();
        for entry in partial.entries() {
            let mut bytes = vec![0; entry.chunk.len as usize];
            partial.read_at(entry.offset, &mut bytes).unwrap();
            assert_eq!(
                (manifest.chunk(entry.index), manifest.offset(entry.index)),
                (entry.chunk, entry.offset)
            );
            assert_eq!(zest_xet::chunk_hash(&bytes), entry.chunk.hash);
        }
    }
}

#[test]
fn while_landing() {
    let files = files();
    if let Some(dir) = child_dir() {
        for round in 0.. {
            let cache = HfCache::open(&dir.join(format!("{round}")), SHARED).unwrap();
            let tree: Vec<_> = files.iter().map(|(entry, _)| entry.clone()).collect();
            cache.write_tree(&repo(), COMMIT, &tree).unwrap();
            for (entry, data) in &files {
                say("done");
                land(&cache, &repo(), COMMIT, entry, data);
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for lines in [1, 2, 3, 4, 5, 8, 13] {
        let dir = dir.path().join(format!("{lines}"));
        kill_after(child("while_landing", &dir), lines);
        for round in std::fs::read_dir(&dir).unwrap() {
            let cache = HfCache::open(&round.unwrap().path(), SHARED).unwrap();
            // Whatever is visible is whole and right; the rest can be fetched.
            verify_cache(&cache, None, &mut |event| {
                assert!(matches!(event.outcome, VerifyOutcome::Ok | VerifyOutcome::Missing), "{event:?}");
            });
            for (entry, data) in &files {
                match cache.presence(&repo(), COMMIT, entry) {
                    Presence::Complete(_) => {}
                    Presence::Linkable => drop(cache.link(&repo(), COMMIT, entry).unwrap()),
                    Presence::Missing => drop(land(&cache, &repo(), COMMIT, entry, data)),
                }
            }
            let summary = verify_cache(&cache, Some(&repo()), &mut |_| ());
            assert_eq!((summary.ok, summary.files), (5, 5));
        }
    }
}

/// Who is killed while it makes a link would leave what lies beside its place for ever: so nothing does, at any moment.
#[test]
fn while_linking() {
    let files = files();
    let dir = tempfile::tempdir().unwrap();
    let cache = HfCache::open(dir.path(), SHARED).unwrap();
    common::pull(&cache, &repo(), COMMIT, &files);
    let blobs = dir.path().join("models--lab--tiny/blobs");
    assert!(blobs.is_dir(), "{}", blobs.display());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..400 {
                let commit = format!("{round:040x}");
                files.iter().for_each(|(entry, _)| drop(cache.link(&repo(), &commit, entry).unwrap()));
            }
            is_over.store(true, std::sync::atomic::Ordering::Release);
        });
        while !is_over.load(std::sync::atomic::Ordering::Acquire) {
            for entry in std::fs::read_dir(&blobs).unwrap() {
                let name = entry.unwrap().file_name();
                assert!(!name.as_encoded_bytes().ends_with(b".link"), "{name:?}");
            }
        }
    });
}
