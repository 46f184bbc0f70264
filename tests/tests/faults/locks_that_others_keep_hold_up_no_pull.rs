//! Lock files of a shared cache can be taken by every user, and a client that hangs keeps its own: who holds one is named, and
//! when nothing moves the pull goes on without.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use zest_tests::program::Host;
use zest_tests::{Site, assert_same_files, files_of, noise};

fn pull(host: &Host, site: &Site) -> (Value, PathBuf) {
    let words = ["pull", "--json", "--no-p2p", "org/model"].map(str::to_owned);
    let output = host.command(&site.endpoint(), &words).output().expect("zest starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!(output.status.success(), "{report}");
    let path = PathBuf::from(report["path"].as_str().expect("a path"));
    (report, path)
}

fn hub(host: &Host) -> PathBuf {
    host.home().join(".cache/huggingface/hub")
}

/// Lock files below a cache, relative to it.
fn locks(hub: &Path) -> Vec<PathBuf> {
    files_of(hub).into_keys().filter(|name| name.ends_with(".lock")).map(PathBuf::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_names_the_holder_and_goes_on_without_the_lock() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(9, 300_000));
    site.open().await;
    let first = Host::default();
    pull(&first, &site);
    let names = locks(&hub(&first));
    assert_eq!(names.len(), 2, "one of the file, one of the shared blob: {names:?}");

    let host = Host::default();
    let hold = |name: &PathBuf| {
        let path = hub(&host).join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make");
        let file = File::create(path).expect("create");
        file.lock().expect("it is free");
        file
    };
    // The shared store is one only with its mark.
    let mark = "blobs/.huggingface-shared-blobs";
    fs::create_dir_all(hub(&host).join("blobs")).expect("make");
    fs::copy(hub(&first).join(mark), hub(&host).join(mark)).expect("copy");
    let held: Vec<File> = names.iter().map(hold).collect();
    let (report, path) = pull(&host, &site);
    assert_same_files(&path, &site.folder("org/model"));
    let notices = report["notices"].as_array().expect("notices");
    let texts: Vec<&str> = notices.iter().filter_map(|notice| notice["text"].as_str()).collect();
    let said = texts.join("\n");
    for word in ["waiting for", "fetching it all the same", "going on without the shared store"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let us = format!("process {}", std::process::id());
    if fs::read_to_string("/proc/locks").is_ok_and(|table| table.contains(&std::process::id().to_string())) {
        assert!(said.contains(&us), "{us} in {said}");
    }
    let blob = fs::canonicalize(path.join("model.safetensors")).expect("it is there");
    assert!(
        blob.starts_with(hub(&host).join("models--org--model")),
        "not in the shared store: {}",
        blob.display()
    );
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struck_user_of_a_shared_blob_is_put_back() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(9, 300_000));
    site.open().await;
    let host = Host::default();
    pull(&host, &site);
    let refs = files_of(&hub(&host).join("blobs")).into_iter().find(|(name, _)| name.ends_with(".refs"));
    let (name, before) = refs.expect("a list of users");
    let path = hub(&host).join("blobs").join(name);
    fs::write(&path, b"").expect("anybody may");
    pull(&host, &site);
    assert_eq!(fs::read(&path).expect("readable"), before);
}
