//! What changes the outcome is said without `-v`, and to programs.

use crate::common::{NOBODY, Server, command, folder, hub, rot_unseen, run, seed_command, text};
use crate::refusals::{ACCEPT4, EMFILE, EROFS, UNLINK, may_refuse, refusing};
use crate::scripted_hub::{Answer, ScriptedHub, usual};
#[cfg(target_os = "linux")]
use crate::seed_box_takes_another_runtime_where_io_uring_is_refused::uring_is_here;
use crate::serve_gives_a_neighbour_what_hub_gave_us::{make_repository, pull};
use crate::words::may_mount;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::Path;

#[test]
fn a_peer_of_a_server_whose_name_has_no_address_is_named() {
    let home = folder();
    let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--json", "--peer", "nobody.invalid"];
    let mut server = Server::start(&mut command(home.path(), &words));
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], "peer-unreachable", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("nobody.invalid"), "{warning}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_cache_that_takes_no_notes_is_said_by_a_pull_and_stands_in_its_report() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    let zest = home.path().join(".cache/zest");
    std::fs::create_dir_all(&zest).expect("a folder");
    std::fs::write(zest.join("proofs"), "no folder").expect("written");
    let words = ["pull", "org/name", "--json", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"];
    let output = run(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("that everyone may read org/name cannot be noted").count(), 1, "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert!(report["notices"].to_string().contains("\"kind\":\"not-noted\""), "{report}");
}

#[test]
fn a_hub_leaves_out_what_it_cannot_serve_and_says_so() {
    use std::os::unix::ffi::OsStrExt as _;
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let place = root.path().join("models/org/name/main");
    std::fs::write(place.join(std::ffi::OsStr::from_bytes(b"\xff.bin")), "x")
        .expect("a name that is no text");
    let (mut hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let warning = hub.event_among("warning");
    assert_eq!(warning["kind"], "left-out", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("not UTF-8"), "{warning}");
}

#[test]
fn a_hub_that_does_not_say_who_may_read_it_is_not_taken_for_one_that_says_no() {
    let home = folder();
    let hub = ScriptedHub::start(|asked| {
        let path = asked.target.split('?').next().unwrap_or_default();
        if path.contains("/tree/") {
            let (oid, hash) = ("a".repeat(40), "0123456789abcdef".repeat(4));
            let row = json!({"type": "file", "path": "model.bin", "size": 9, "oid": oid, "xetHash": hash});
            return Answer::ok(json!([row]).to_string());
        }
        // What a stranger would be told is told to nobody.
        if asked.header("authorization").is_none() {
            return Answer::new(400, "not now");
        }
        usual(asked, &[]).unwrap_or_else(|| Answer::new(404, ""))
    });
    let words = ["pull", "org/name", "--json", "--peer", "127.0.0.1:9", "--dry-run"];
    let output = run(command(home.path(), &words).env("HF_ENDPOINT", hub.endpoint()).env("HF_TOKEN", "hf_x"));
    let said = text(&output.stderr);
    assert!(said.contains("the Hub could not be asked whether everyone may read it"), "{said}");
    assert!(!said.contains("is not readable by everyone"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(report["notices"][0]["kind"], "unasked", "{report}");
}

/// Puts other bytes, as many, where the model of a home is.
fn replace_model(home: &Path) {
    let snapshots = home.join(".cache/huggingface/hub/models--org--name/snapshots");
    let commit = std::fs::read_dir(snapshots).expect("a cache").flatten().next().expect("a commit");
    let blob = std::fs::canonicalize(commit.path().join("model.safetensors")).expect("a file");
    let size = std::fs::metadata(&blob).expect("a file").len();
    std::fs::remove_file(&blob).expect("ours");
    std::fs::write(&blob, vec![7; usize::try_from(size).expect("small")]).expect("written");
}

#[test]
fn a_file_that_changed_under_a_server_is_named_when_it_is_asked_for() {
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["serve", "--no-http", "--json", "--listen", "127.0.0.1:0"];
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let address = server.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    server.event("indexed");
    replace_model(home.path());
    pull(other.path(), &endpoint, &["--peer", &address]);
    let text = warning(&mut server, "changed");
    assert!(text.contains("changed since it was hashed"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_changed_under_a_seed_box_is_given_to_nobody_and_that_is_said() {
    if !uring_is_here() {
        return;
    }
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["--listen", "127.0.0.1:0", "--runtime", "glommio", "--json"];
    let mut seed = Server::start(seed_command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let address = seed.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    seed.event_among("indexed");
    // It has the file open by then.
    pull(folder().path(), &endpoint, &["--peer", &address]);
    replace_model(home.path());
    let report = pull(other.path(), &endpoint, &["--peer", &address]);
    assert_eq!(report["chunks"]["from_peers"], 0, "{report}");
    let text = warning(&mut seed, "changed");
    // Whoever finds out first says so: the look at the cache, or the upload.
    let said = ["not shared any more", "it is not uploaded any more"];
    assert!(said.iter().any(|words| text.contains(words)), "{text}");
    assert_eq!(seed.stop(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_chunk_that_has_rotted_under_a_seed_box_is_named_before_it_is_kept() {
    if !uring_is_here() {
        return;
    }
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    rot_unseen(home.path());
    let words = ["--listen", "127.0.0.1:0", "--runtime", "glommio", "--cores", "0", "--json"];
    let mut seed = Server::start(seed_command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let address = seed.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    seed.event_among("indexed");
    // Who has asked once sees for itself that the bytes are wrong; what is asked for again is looked at here.
    for _ in 0..2 {
        pull(folder().path(), &endpoint, &["--peer", &address]);
    }
    let text = warning(&mut seed, "rotten");
    assert!(text.contains("is not what was proven, and is not uploaded"), "{text}");
    assert_eq!(seed.stop(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_a_seed_box_cannot_open_is_said() {
    if !uring_is_here() || !may_mount() {
        return;
    }
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["--listen", "127.0.0.1:0", "--runtime", "glommio", "--cores", "0", "--json"];
    let zest = seed_command(home.path(), &words);
    // Files are opened by what /proc calls them, and there is none.
    let mut inside = std::process::Command::new("unshare");
    inside.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs tmpfs /proc && exec \"$0\" \"$@\"",
    ]);
    inside.arg(zest.get_program()).args(zest.get_args()).env_clear();
    inside.envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HF_ENDPOINT", &endpoint);
    let mut seed = Server::start(&mut inside);
    let address = seed.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    seed.event_among("indexed");
    let report = pull(other.path(), &endpoint, &["--peer", &address]);
    assert_eq!(report["chunks"]["from_peers"], 0, "{report}");
    let text = warning(&mut seed, "unreadable");
    assert!(text.contains("a shared file cannot be opened: ") && text.ends_with("(os error 2)"), "{text}");
    assert_eq!(seed.stop(), Some(0));
}

#[test]
fn an_endpoint_that_hears_of_a_closed_repository_and_cannot_note_it_says_so() {
    if !may_refuse() {
        return eprintln!("skipped: no system call can be refused here");
    }
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    let (mut server, at) = refusing(&[UNLINK], EROFS, || daemon(home.path(), &endpoint));
    // Its proof is on the disk by then.
    pull(home.path(), &endpoint, &["--no-daemon", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"]);
    std::fs::write(root.path().join("models/org/name/access"), "private").expect("written");
    ask_for(&at, "GET", "/api/models/org/name/revision/main");
    let text = warning(&mut server, "not-noted");
    assert!(text.contains("org/name is not shared any more, and other processes cannot be told"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_daemon_that_cannot_note_its_pulls_says_that_they_do_not_outlive_it() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    std::fs::create_dir_all(home.path().join(".cache/zest/pulls.json/taken")).expect("made");
    let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--http-port", "0"];
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    server.event("listening");
    pull(home.path(), &endpoint, &[]);
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], "not-noted", "{warning}");
    assert!(warning["text"].as_str().expect("words").contains("after a restart"), "{warning}");
    assert_eq!(server.stop(), Some(0));
}

/// The words of the next warning, which must be of this kind.
fn warning(server: &mut Server, kind: &str) -> String {
    let warning = server.event_among("warning");
    assert_eq!(warning["kind"], kind, "{warning}");
    warning["text"].as_str().expect("words").to_owned()
}

#[test]
fn a_server_that_cannot_take_connections_says_why() {
    if !may_refuse() {
        return eprintln!("skipped: no system call can be refused here");
    }
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("made");
    let words = ["serve", "--no-http", "--json", "--listen", "127.0.0.1:0"];
    let mut server = refusing(&[ACCEPT4], EMFILE, || Server::start(&mut command(home.path(), &words)));
    let address = server.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    let _waiting = std::net::TcpStream::connect(address).expect("the system takes it");
    let text = warning(&mut server, "no-connections");
    assert!(text.contains("peers cannot connect at present") && text.contains("open files"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_account_of_uploads_that_is_taken_away_is_missed() {
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("made");
    let words = ["serve", "--no-http", "--json", "--listen", "127.0.0.1:0", "--upload-budget", "2M"];
    let mut server = Server::start(&mut command(home.path(), &words));
    server.event("listening");
    let account = home.path().join(".cache/zest/uploads.json");
    let _not_there_yet = std::fs::remove_file(&account);
    std::fs::create_dir_all(account.join("taken")).expect("made");
    let text = warning(&mut server, "budget-account");
    assert!(text.contains("what was uploaded today cannot be noted"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

/// A daemon of this Hub, and the address of its endpoint.
fn daemon(home: &Path, endpoint: &str) -> (Server, String) {
    let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--http-port", "0"];
    let mut serve = command(home, &words);
    serve.env("HF_ENDPOINT", endpoint).env("XDG_RUNTIME_DIR", home);
    let mut server = Server::start(&mut serve);
    server.event("listening");
    let output = run(&mut command(home, &["endpoint"]));
    let said = text(&output.stdout).trim();
    let at = said.strip_prefix("export HF_ENDPOINT=http://").expect("an address").to_owned();
    (server, at)
}

/// Asks an endpoint for something that it has, and gives the head of the answer.
fn ask(at: &str, method: &str, path: &str) -> String {
    let head = ask_for(at, method, path);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    head
}

/// The same, whatever the answer is.
fn ask_for(at: &str, method: &str, path: &str) -> String {
    let (host, prefix) = at.split_once('/').expect("a key");
    let mut stream = std::net::TcpStream::connect(host).expect("it listens");
    let request = format!("{method} /{prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
}

#[test]
fn an_endpoint_that_answers_for_a_hub_that_is_gone_says_so() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (hub, endpoint) = hub(home.path(), root.path());
    let (mut server, at) = daemon(home.path(), &endpoint);
    pull(home.path(), &endpoint, &["--no-daemon", "--peer", "127.0.0.1:9"]);
    let question = "/api/models/org/name/revision/main";
    ask(&at, "GET", question);
    drop(hub);
    // What was answered a moment ago is answered again without a question.
    while !ask(&at, "GET", question).contains("\nwarning: ") {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let text = warning(&mut server, "stale");
    assert!(text.contains("the Hub cannot be asked: answered with what it said last"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_endpoint_that_cannot_note_its_hub_says_what_that_means() {
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/zest/endpoint-hub/taken")).expect("made");
    let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--http-port", "0"];
    // It may be said before anything else.
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", NOBODY));
    let text = warning(&mut server, "not-noted");
    assert!(text.contains("which Hub is behind the endpoint cannot be noted"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_hub_that_cannot_save_its_index_says_so() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let (mut hub, endpoint) = hub(home.path(), root.path());
    let index = root.path().join(".zest-hub");
    std::fs::remove_dir_all(index.join("listings")).expect("made at the start");
    std::fs::write(index.join("listings"), "").expect("written");
    std::fs::write(root.path().join("models/org/name/main/new.txt"), "new").expect("written");
    pull(home.path(), &endpoint, &[]);
    let text = warning(&mut hub, "not-kept");
    assert!(text.contains("the index is not saved"), "{text}");
}

#[test]
fn another_user_who_finds_the_socket_is_not_let_in_and_that_is_said() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: nobody can be another user here");
    }
    let home = folder();
    let open: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(home.path(), open.clone()).expect("ours");
    let (mut server, _) = daemon(home.path(), NOBODY);
    let record = std::fs::read(home.path().join(".cache/zest/daemon.json")).expect("it runs");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let socket = record["socket"].as_str().expect("a socket").to_owned();
    for folder in Path::new(&socket).ancestors().take_while(|at| at.starts_with(home.path())) {
        std::fs::set_permissions(folder, open.clone()).expect("ours");
    }
    let stranger = std::thread::spawn(move || {
        let nobody = rustix::thread::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).expect("we are root");
        let _turned_away = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
    });
    stranger.join().expect("no panic");
    let text = warning(&mut server, "not-let-in");
    assert!(text.contains("user 65534 is not let in"), "{text}");
    assert_eq!(server.stop(), Some(0));
}
