//! Others write into the cache too, without locks and under names that do not fit: what zest has not proven since it last
//! changed is read once before it counts as there, and what is wrong is fetched anew beside it.

use serde_json::Value;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use zest_tests::program::Host;
use zest_tests::{Site, assert_same_files, noise};

const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";

async fn site() -> Site {
    let mut site = Site::new();
    for repo in ["org/model", "org/other"] {
        site.add(repo, MODEL, &noise(1, 1_000_000));
        site.add(repo, CONFIG, b"{\"layers\": 12}\n").add(repo, "copy of config.json", b"{\"layers\": 12}\n");
    }
    site.open().await;
    site
}

fn pull(host: &Host, site: &Site, words: &[&str]) -> Output {
    pull_with(host, site, words, |_| {})
}

fn pull_with(
    host: &Host,
    site: &Site,
    words: &[&str],
    change: impl FnOnce(&mut std::process::Command),
) -> Output {
    let words: Vec<String> =
        ["pull", "--json", "--no-p2p"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let mut command = host.command(&site.endpoint(), &words);
    change(&mut command);
    command.output().expect("zest starts")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// The report of a pull that ended well, with the snapshot's folder.
fn report(output: &Output) -> (Value, PathBuf) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let report = document(output);
    let path = PathBuf::from(report["path"].as_str().expect("a path"));
    (report, path)
}

fn named(report: &Value) -> Vec<String> {
    let notices = report["notices"].as_array().expect("notices");
    let wrong = notices.iter().filter(|notice| notice["kind"] == "wrong-on-disk");
    let mut paths: Vec<String> = wrong.map(|n| n["path"].as_str().expect("a path").to_owned()).collect();
    paths.sort();
    paths
}

/// Other bytes of the same length in a new file under that name, as a program that downloads on its own leaves them.
fn replace_by_another(path: &Path) {
    let path = fs::canonicalize(path).expect("it is there");
    let bytes: Vec<u8> = fs::read(&path).expect("it is readable").iter().map(|byte| byte ^ 0x20).collect();
    let other = path.with_extension("other");
    fs::write(&other, bytes).expect("write");
    fs::rename(&other, &path).expect("rename");
}

/// One byte of it is overwritten where it stands.
fn overwrite_a_byte(path: &Path) {
    let path = fs::canonicalize(path).expect("it is there");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("our own file");
    let file = File::options().read(true).write(true).open(&path).expect("our own file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 7).expect("read");
    file.write_all_at(&[byte[0] ^ 1], 7).expect("write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_does_not_fit_its_name_is_named_and_swapped_for_a_right_one() {
    let (site, host) = (site().await, Host::default());
    let (_, path) = report(&pull(&host, &site, &["org/model"]));
    for poison in [replace_by_another as fn(&Path), overwrite_a_byte] {
        poison(&path.join(MODEL));
        poison(&path.join(CONFIG));
        let poisoned = fs::read(path.join(MODEL)).expect("readable");
        let mut reader = File::open(path.join(MODEL)).expect("somebody reads the old file meanwhile");
        let (again, _) = report(&pull(&host, &site, &["org/model"]));
        assert_eq!(named(&again), [CONFIG, MODEL]);
        assert_same_files(&path, &site.folder("org/model"));
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).expect("it is still open");
        assert!(seen == poisoned, "whoever reads the old file is not disturbed");
        let (third, _) = report(&pull(&host, &site, &["org/model"]));
        assert_eq!((named(&third).len(), &third["bytes"]["from_cdn"]), (0, &Value::from(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_does_not_link_what_is_wrong_in_the_shared_store() {
    let (site, host) = (site().await, Host::default());
    let (_, path) = report(&pull(&host, &site, &["org/model"]));
    replace_by_another(&path.join(MODEL));
    let (other, path) = report(&pull(&host, &site, &["org/other"]));
    assert_eq!(named(&other), [MODEL]);
    assert_same_files(&path, &site.folder("org/other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stands_in_a_links_place_is_proven_too() {
    let (site, host) = (site().await, Host::default());
    let (_, path) = report(&pull(&host, &site, &["org/model"]));
    for name in [MODEL, CONFIG] {
        let bytes: Vec<u8> = fs::read(path.join(name)).expect("readable").iter().map(|byte| !byte).collect();
        fs::remove_file(path.join(name)).expect("our own link");
        fs::write(path.join(name), bytes).expect("write");
    }
    let (again, _) = report(&pull(&host, &site, &["org/model"]));
    assert_eq!(named(&again), [CONFIG, MODEL]);
    assert_same_files(&path, &site.folder("org/model"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hub_what_is_wrong_is_an_error_of_its_own_kind() {
    let (site, host) = (site().await, Host::default());
    let (_, path) = report(&pull(&host, &site, &["org/model"]));
    overwrite_a_byte(&path.join(MODEL));
    let output = pull_with(&host, &site, &["org/model"], |command| {
        command.env("HF_HUB_OFFLINE", "1");
    });
    assert_eq!(output.status.code(), Some(6));
    let text = document(&output)["error"]["message"].as_str().expect("a message").to_owned();
    assert!(text.contains(MODEL) && text.contains("sha256") && !text.contains(CONFIG), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_only_another_user_can_read_are_named_and_are_not_done() {
    let (site, host) = (site().await, Host::default());
    let (_, path) = report(&pull(&host, &site, &["org/model"]));
    let model = fs::canonicalize(path.join(MODEL)).expect("it is there");
    // Root reads everything, so somebody else has to ask; to anybody else a file of mode 000 is closed, even its owner.
    let root = rustix::process::geteuid().is_root();
    fs::set_permissions(&model, fs::Permissions::from_mode(if root { 0o600 } else { 0 })).expect("our own");
    let zest_cache = tempfile::tempdir().expect("a folder");
    fs::set_permissions(zest_cache.path(), fs::Permissions::from_mode(0o777)).expect("our own");
    fs::set_permissions(host.home(), fs::Permissions::from_mode(0o755)).expect("our own");
    let output = pull_with(&host, &site, &["org/model"], |command| {
        command.env("ZEST_CACHE_DIR", zest_cache.path());
        if root {
            command.uid(65_534).gid(65_534);
        }
    });
    let text = document(&output)["error"]["message"].as_str().expect("a message").to_owned();
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains(MODEL) && text.contains("belongs to") && !text.contains(CONFIG), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_is_not_believed_for_its_notes() {
    let (site, host) = (site().await, Host::default());
    let folder = host.home().join("model");
    let words = ["org/model", "--local-dir", folder.to_str().expect("Unicode")];
    report(&pull(&host, &site, &words));
    // As `cp -p` and rsync do: other bytes, and the time of the old ones.
    for name in [MODEL, CONFIG] {
        let path = folder.join(name);
        let modified = fs::metadata(&path).expect("it is there").modified().expect("a time");
        replace_by_another(&path);
        File::options().write(true).open(&path).expect("ours").set_modified(modified).expect("ours");
    }
    let (again, _) = report(&pull(&host, &site, &words));
    assert_eq!(named(&again), [CONFIG, MODEL]);
    fs::remove_dir_all(folder.join(".cache")).expect("its notes");
    assert_same_files(&folder, &site.folder("org/model"));
}
