//! That anyone may read a repository is one Hub's word about a repository of its own. It says nothing about a repository of
//! another Hub that has the same name, nor about bytes that came from there.

use crate::common::{Server, command, folder, run, text};
use serde_json::Value;
use std::path::Path;

const TOKEN: &str = "hf_opensTheClosedOne";

/// A model below a hub's root.
fn model(root: &Path, repo: &str, access: &str, seed: u32) {
    model_of(root, repo, access, &noise(seed));
}

fn model_of(root: &Path, repo: &str, access: &str, bytes: &[u8]) {
    let dir = root.join("models").join(repo);
    std::fs::create_dir_all(dir.join("main")).expect("a folder");
    std::fs::write(dir.join("access"), access).expect("a mark");
    std::fs::write(dir.join("main/model.safetensors"), bytes).expect("a file");
}

/// A hub with one model of these bytes, closed or not.
fn hub(home: &Path, root: &Path, repo: &str, access: &str) -> (Server, String) {
    model(root, repo, access, 7);
    serving(home, root)
}

fn serving(home: &Path, root: &Path) -> (Server, String) {
    let root = root.to_str().expect("UTF-8");
    let words = ["hub", "--root", root, "--port", "0", "--token", TOKEN, "--json", "-q"];
    let mut hub = Server::start(&mut command(home, &words));
    let endpoint = hub.event("listening")["endpoint"].as_str().expect("a URL").to_owned();
    (hub, endpoint)
}

fn pull(home: &Path, endpoint: &str, repo: &str) -> Value {
    let words = ["pull", repo, "--json", "-q"];
    let output = run(command(home, &words).env("HF_ENDPOINT", endpoint).env("HF_TOKEN", TOKEN));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// What a server shares that is configured for this Hub.
fn shared(home: &Path, endpoint: &str, offline: &str) -> Value {
    let words = ["serve", "--listen", "127.0.0.1:0", "--json", "-q"];
    let mut serve =
        Server::start(command(home, &words).env("HF_ENDPOINT", endpoint).env("HF_HUB_OFFLINE", offline));
    serve.event("listening");
    let shared = serve.event("indexed")["files_shared"].clone();
    assert_eq!(serve.stop(), Some(0));
    shared
}

#[test]
fn a_private_repository_stays_private_under_a_hub_that_shows_one_of_that_name() {
    let (home, own, other) = (folder(), folder(), folder());
    let (own, closed) = hub(home.path(), own.path(), "org/name", "private");
    let (other, open) = hub(home.path(), other.path(), "org/name", "public");
    let pulled = pull(home.path(), &closed, "org/name");
    assert_eq!(pulled["shareable"], false, "{pulled}");
    for (endpoint, offline) in [(&closed, "0"), (&open, "0"), (&closed, "1"), (&open, "1")] {
        assert_eq!(shared(home.path(), endpoint, offline), 0, "{endpoint}, offline {offline}");
    }
    // What that one gave itself it may open.
    let elsewhere = folder();
    pull(elsewhere.path(), &open, "org/name");
    assert_eq!(shared(elsewhere.path(), &open, "0"), 1);
    assert_eq!(shared(elsewhere.path(), &closed, "0"), 0, "nobody else speaks of it");
    assert_eq!(shared(elsewhere.path(), &open, "1"), 1, "its answer is noted");
    assert_eq!((own.stop(), other.stop()), (Some(0), Some(0)));
}

#[test]
fn a_file_of_a_gated_repository_stays_closed_under_a_hub_that_lists_its_hash() {
    let (home, own, liar) = (folder(), folder(), folder());
    let (own, closed) = hub(home.path(), own.path(), "org/gated", "gated");
    let (liar, open) = hub(home.path(), liar.path(), "liar/free", "public");
    pull(home.path(), &closed, "org/gated");
    // Not a byte has to be fetched for it.
    let pulled = pull(home.path(), &open, "liar/free");
    assert_eq!(pulled["bytes"]["from_cdn"], 0, "{pulled}");
    assert_eq!(shared(home.path(), &open, "0"), 0);
    // Nor where it is fetched once more.
    std::fs::remove_dir_all(home.path().join(".cache/huggingface/hub")).expect("removed");
    pull(home.path(), &open, "liar/free");
    assert_eq!(shared(home.path(), &open, "0"), 0);
    assert_eq!((own.stop(), liar.stop()), (Some(0), Some(0)));
}

/// Bytes that look like nothing.
pub(crate) fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..3 << 20).map(byte).collect()
}

#[test]
fn another_file_of_the_same_chunks_is_not_made_from_those_of_a_gated_one() {
    let (home, elsewhere, own, other) = (folder(), folder(), folder(), folder());
    // It begins like the gated one, and lies in the same xorb as far as that goes: each Hub has seen that one first.
    let longer = [noise(7), noise(8)].concat();
    let (own_hub, closed) = hub(home.path(), own.path(), "org/gated", "gated");
    let (liar, open) = hub(home.path(), other.path(), "liar/gated", "gated");
    pull(home.path(), &closed, "org/gated");
    pull(elsewhere.path(), &open, "liar/gated");
    model_of(own.path(), "org/tuned", "public", &longer);
    model_of(other.path(), "liar/free", "public", &longer);
    let pulled = pull(home.path(), &open, "liar/free");
    assert_eq!(pulled["bytes"]["from_disk"], 0, "all of it was here: {pulled}");
    assert_eq!(shared(home.path(), &open, "0"), 1, "so it may be given");
    // The gated one's own Hub may have them used.
    let third = folder();
    pull(third.path(), &closed, "org/gated");
    let pulled = pull(third.path(), &closed, "org/tuned");
    assert!(pulled["bytes"]["from_disk"].as_u64().expect("a number") > 2 << 20, "{pulled}");
    assert_eq!((own_hub.stop(), liar.stop()), (Some(0), Some(0)));
}

/// Whether the disk has blocks of a file under way.
fn has_begun(home: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let mut folders = vec![home.join(".cache/huggingface/hub")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.blocks() > 64 && entry.path().extension().is_some_and(|end| end == "zest-partial")
            {
                return true;
            }
        }
    }
    false
}

#[test]
fn what_was_broken_off_under_a_gated_repository_stays_closed_when_another_hub_completes_it() {
    let (home, own, liar) = (folder(), folder(), folder());
    let (own, closed) = hub(home.path(), own.path(), "org/gated", "gated");
    let (liar, open) = hub(home.path(), liar.path(), "liar/free", "public");
    let words = ["pull", "org/gated", "--max-download", "256KiB", "--json", "-q"];
    let mut pulling = command(home.path(), &words);
    pulling.env("HF_ENDPOINT", &closed).env("HF_TOKEN", TOKEN);
    let mut pulling = pulling.stdout(std::process::Stdio::null()).spawn().expect("zest starts");
    while !has_begun(home.path()) {
        assert!(pulling.try_wait().expect("a child").is_none(), "it takes some seconds");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    pulling.kill().expect("it lives");
    pulling.wait().expect("it ends");
    pull(home.path(), &open, "liar/free");
    assert_eq!(shared(home.path(), &open, "0"), 0);
    assert_eq!((own.stop(), liar.stop()), (Some(0), Some(0)));
}

/// Adds what another list of files names to the kept list of `org/open`, as a Hub leaves it that says what it likes.
fn spoil_list(home: &Path, commit: &str) {
    let trees = |repo: &str| home.join(".cache/huggingface/hub").join(repo).join("trees");
    let gated =
        std::fs::read_dir(trees("models--org--gated")).expect("a folder").flatten().next().expect("a list");
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("a list")).expect("JSON")
    };
    let gated = read(&gated.path());
    let path = trees("models--org--open").join(format!("{commit}.json"));
    let mut list = read(&path);
    list["files"]["extra.safetensors"] = gated["files"]["model.safetensors"].clone();
    assert!(list["files"]["extra.safetensors"]["xet_hash"].is_string(), "{list}");
    std::fs::write(&path, serde_json::to_vec(&list).expect("JSON")).expect("written");
}

#[test]
fn a_list_that_another_hub_left_in_the_cache_makes_nothing_public() {
    let (home, root) = (folder(), folder());
    model(root.path(), "org/gated", "gated", 1);
    model(root.path(), "org/open", "public", 2);
    let (hub, endpoint) = serving(home.path(), root.path());
    pull(home.path(), &endpoint, "org/gated");
    let pulled = pull(home.path(), &endpoint, "org/open");
    assert_eq!(shared(home.path(), &endpoint, "0"), 1, "the open one");
    let commit = pulled["commit"].as_str().expect("a commit").to_owned();
    let mark = root.path().join("models/org/open/access");
    for more in [&[][..], &["--no-p2p"], &["--force-download"], &["--no-p2p", "--force-download"]] {
        // It is closed for a while, so that whose the files are is noted, and nothing else.
        for access in ["private", "public"] {
            spoil_list(home.path(), &commit);
            std::fs::write(&mark, access).expect("a mark");
            let words = [&["pull", "org/open", "--revision", &commit, "--json", "-q"][..], more].concat();
            let output =
                run(command(home.path(), &words).env("HF_ENDPOINT", &endpoint).env("HF_TOKEN", TOKEN));
            println!("{words:?}: {:?}, {}", output.status.code(), text(&output.stderr));
        }
        for offline in ["0", "1"] {
            assert_eq!(shared(home.path(), &endpoint, offline), 1, "{more:?}, offline {offline}");
        }
    }
    assert_eq!(hub.stop(), Some(0));
}
