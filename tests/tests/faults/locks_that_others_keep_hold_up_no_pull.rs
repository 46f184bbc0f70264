//! Lock files of a shared cache can be taken by every user, and a client that hangs keeps its own: who holds one is named, and
//! when nothing moves the pull goes on without.

use serde_json::Value;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use zest_tests::program::Host;
use zest_tests::{Site, assert_same_files, files_of, noise};

fn pull(host: &Host, site: &Site) -> (Value, PathBuf) {
    pulled(pull_command(host, site))
}

fn pull_command(host: &Host, site: &Site) -> Command {
    host.command(&site.endpoint(), &["pull", "--json", "--no-p2p", "org/model"].map(str::to_owned))
}

fn pulled(mut command: Command) -> (Value, PathBuf) {
    let output = command.output().expect("zest starts");
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

/// Marks the folder of a machine's shared store as that of another one is marked: without, it is none.
fn mark(from: &Host, to: &Host) {
    let mark = "blobs/.huggingface-shared-blobs";
    fs::create_dir_all(hub(to).join("blobs")).expect("make");
    fs::copy(hub(from).join(mark), hub(to).join(mark)).expect("copy");
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
    mark(&first, &host);
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

/// Two users of this machine who are nobody: the one who pulls, and the one who has the locks.
const US: u32 = 65_533;
const OTHER: u32 = 65_534;

/// Gives a folder with all that is in it to us.
fn give(folder: &Path) {
    chown(folder, Some(US), Some(US)).expect("root may");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { give(&path) } else { chown(&path, Some(US), Some(US)).expect("root may") }
    }
}

/// Ends with its holder.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_lock_that_anybody_may_take_is_named_with_him_and_passed_over() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can be two other users: not tested");
        return;
    }
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(9, 300_000));
    site.open().await;
    let first = Host::default();
    pull(&first, &site);
    let names = locks(&hub(&first));

    let host = Host::default();
    // Where all may enter, and with a program that all may run.
    fs::set_permissions(host.home(), Permissions::from_mode(0o755)).expect("ours");
    let program = host.home().join("zest");
    fs::copy(zest_tests::program::zest(), &program).expect("copy");
    mark(&first, &host);
    let paths: Vec<PathBuf> = names.iter().map(|name| hub(&host).join(name)).collect();
    for path in &paths {
        fs::create_dir_all(path.parent().expect("a folder")).expect("make");
    }
    give(host.home());
    let mut held = Vec::new();
    for path in &paths {
        File::create(path).expect("create");
        fs::set_permissions(path, Permissions::from_mode(0o666)).expect("ours");
        chown(path, Some(OTHER), Some(OTHER)).expect("root may");
        let mut holder = Command::new("flock");
        holder.args(["--exclusive", "--no-fork"]).arg(path).args(["sleep", "600"]).uid(OTHER).gid(OTHER);
        held.push(Held(holder.spawn().expect("flock starts")));
        let mine = File::open(path).expect("readable");
        while mine.try_lock().is_ok() {
            mine.unlock().expect("ours");
            std::thread::yield_now();
        }
    }
    let like = pull_command(&host, &site);
    let mut command = Command::new(&program);
    command.args(like.get_args()).env_clear().uid(US).gid(US);
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (report, path) = pulled(command);
    assert_same_files(&path, &site.folder("org/model"));
    let said = report["notices"].to_string();
    for word in ["waiting for", "fetching it all the same", "going on without the shared store"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let pids: Vec<String> = held.iter().map(|holder| holder.0.id().to_string()).collect();
    if fs::read_to_string("/proc/locks").is_ok_and(|table| pids.iter().all(|pid| table.contains(pid))) {
        for pid in pids {
            assert!(said.contains(&format!("process {pid} (sleep) of ")), "{pid} in {said}");
        }
        assert!(said.contains(&format!("uid {OTHER}")), "whose it is in {said}");
    }
    for path in &paths {
        let meta = fs::metadata(path).expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o666, "nobody has changed it");
    }
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
