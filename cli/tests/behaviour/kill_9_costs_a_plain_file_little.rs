//! A file outside Xet whose pull is killed again and again, by the signal that nobody can catch.

use crate::common::{command, folder, run, text};
use crate::scripted_hub::{Answer, Asked, ListedFile, ScriptedHub, usual};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const SIZE: usize = 5_000_000;
/// Git's id of [`content`].
const OID: &str = "d770cb5083b5306198fb90479351d69f64fd58a8";
/// What a kill may cost: 128 KiB, a window.
const WINDOW: usize = 128 << 10;
/// Bytes that come before the line falls silent.
const PART: usize = 1_200_000;

fn content() -> Vec<u8> {
    (0..SIZE as u32).map(|n| (n.wrapping_mul(7) + n / 251) as u8).collect()
}

fn start(asked: &Asked) -> usize {
    let range = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
    range.map_or(0, |range| range.split('-').next().and_then(|first| first.parse().ok()).expect("a range"))
}

/// Files below a folder that a download would have left, of any program.
fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !entry.path().is_symlink() {
            found.extend(leftovers(&entry.path()));
        } else if name.contains("incomplete") || name.contains(".zest-") {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn two_windows_at_most_and_nothing_is_left_behind() {
    let silent = Arc::new(AtomicBool::new(true));
    let hub = ScriptedHub::start({
        let (silent, content) = (Arc::clone(&silent), content());
        let mut file = ListedFile::new("model.bin", SIZE);
        file.oid = OID.to_owned();
        move |asked| {
            let usual = usual(asked, std::slice::from_ref(&file));
            usual.unwrap_or_else(|| {
                if !asked.target.contains("/resolve/") {
                    return Answer::new(404, "");
                }
                let start = start(asked);
                let answer = match start {
                    0 => Answer::ok(content.clone()),
                    _ => Answer::new(206, &content[start..])
                        .header("Content-Range", format!("bytes {start}-{}/{SIZE}", SIZE - 1)),
                };
                if silent.load(SeqCst) { answer.silent_after(PART) } else { answer }
            })
        }
    });
    let home = folder();
    let cache = home.path().join(".cache/huggingface/hub");
    let zest = |arguments: &[&str]| {
        let mut zest = command(home.path(), &[&["pull", "org/name", "--no-p2p"], arguments].concat());
        zest.env("HF_ENDPOINT", hub.endpoint());
        zest
    };
    let journal = || {
        let left = leftovers(&cache);
        let journal = left.iter().find(|path| path.to_string_lossy().ends_with(".zest-journal"))?;
        std::fs::metadata(journal).ok().map(|meta| meta.len())
    };
    let (mut seen, mut held) = (0, 0);
    for round in 1..=3 {
        let mut child = zest(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("zest starts");
        // One line of 64 bytes for each window that came, and one for each process.
        let lines = (round * (PART / WINDOW + 1)) as u64;
        while journal().is_none_or(|bytes| bytes < 128 + 64 * lines) {
            std::thread::sleep(Duration::from_millis(10));
            assert!(child.try_wait().expect("a child").is_none(), "it waits for the rest");
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        let asked: Vec<usize> =
            hub.asked().iter().filter(|a| a.target.contains("/resolve/")).map(start).collect();
        // The line gave PART bytes each time: all but the window that was under way are there, and not asked for again.
        assert!(asked[seen] >= held * WINDOW, "{asked:?} with {held} windows held");
        seen = asked.len();
        held = (journal().expect("it is kept") as usize - 128) / 64 - round;
        assert!((held + 2 * round) * WINDOW >= round * PART, "{held} windows held");
    }
    silent.store(false, SeqCst);
    // Slow enough that something is said on the way.
    let output = run(&mut zest(&["--json", "--max-download", "1M"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("MB of it lie here from an earlier run, and count once they are proven"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (disk, cdn) = (report["bytes"]["from_disk"].as_u64(), report["bytes"]["from_cdn"].as_u64());
    assert!(disk >= Some((3 * PART - 6 * WINDOW) as u64), "{report}");
    assert_eq!(disk.zip(cdn).map(|(disk, cdn)| disk + cdn), Some(SIZE as u64), "{report}");
    let path = Path::new(report["path"].as_str().expect("a path")).join("model.bin");
    assert!(std::fs::read(path).expect("it is there") == content());
    assert_eq!(leftovers(&cache), Vec::<PathBuf>::new());
}
