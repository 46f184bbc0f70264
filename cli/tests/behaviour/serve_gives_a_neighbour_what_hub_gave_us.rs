//! Four programs on one machine: a hub, a pull from it, a serve of what was pulled, and a neighbour's pull that
//! names the server and gets every chunk from there.

use crate::common::{Server, command, folder, run, text};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

/// Size of the model file: enough for several chunks of at most 128 KiB.
pub(crate) const MODEL_BYTES: usize = 3_000_000;

pub(crate) fn make_repository(root: &Path) {
    let revision = root.join("models/org/name/main");
    std::fs::create_dir_all(revision.join("sub dir")).expect("made");
    // Numbers of a linear congruential generator: chunk boundaries need content that does not repeat.
    let mut state = 1_u32;
    let model: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(MODEL_BYTES)
    .collect();
    std::fs::write(revision.join("model.safetensors"), model).expect("written");
    std::fs::write(revision.join("config.json"), "{}\n").expect("written");
    std::fs::write(revision.join("sub dir/a#b.txt"), "").expect("written");
}

pub(crate) fn pull(home: &Path, endpoint: &str, arguments: &[&str]) -> Value {
    let output =
        run(command(home, &["pull", "org/name", "--json"]).args(arguments).env("HF_ENDPOINT", endpoint));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// As curl asks.
fn get(at: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(at).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn a_neighbour_gets_every_chunk_from_the_server_and_the_rest_from_the_hub() {
    let (root, here, neighbour) = (folder(), folder(), folder());
    make_repository(root.path());
    let root_text = root.path().to_str().expect("UTF-8");
    let mut hub = Server::start(&mut command(
        here.path(),
        &["hub", "--root", root_text, "--port", "0", "--json", "-q"],
    ));
    let listening = hub.event("listening");
    let endpoint = listening["endpoint"].as_str().expect("a URL");

    let first = pull(here.path(), endpoint, &[]);
    assert_eq!(first["bytes"]["from_cdn"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{first}");

    let mut serve = Server::start(
        command(here.path(), &["serve", "--listen", "127.0.0.1", "--listen-port", "0", "--json", "-q"])
            .env("HF_ENDPOINT", endpoint),
    );
    let listening = serve.event("listening");
    let peer = listening["addrs"][0].as_str().expect("an address");
    assert_eq!(serve.event("indexed")["files_shared"], 1);

    let second = pull(neighbour.path(), endpoint, &["--peer", peer]);
    assert_eq!(second["p2p_ratio"], 1.0, "{second}");
    assert_eq!(second["bytes"]["from_peers"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{second}");
    assert_eq!(second["commit"], first["commit"]);

    // The last step of the original's walkthrough: `curl http://127.0.0.1:9847/v1/status`, with no secret.
    let at = listening["http"][0].as_str().and_then(|url| url.strip_prefix("http://")).expect("a URL");
    let status = get(at, "/v1/status");
    let keys: Vec<&str> = status.as_object().expect("an object").keys().map(String::as_str).collect();
    let originals =
        ["bt_peers", "bt_port", "chunks_served", "http_port", "http_requests", "version", "xorbs_cached"];
    assert_eq!(keys, originals, "{status}");
    assert!(status["chunks_served"].as_u64() > Some(0), "{status}");

    let verified = run(&mut command(neighbour.path(), &["verify", "org/name", "--json"]));
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));

    // What is there is not fetched again, and plain output is the folder alone.
    let again = run(command(neighbour.path(), &["pull", "org/name"]).env("HF_ENDPOINT", endpoint));
    assert_eq!(text(&again.stdout), format!("{}\n", second["path"].as_str().expect("a path")));
    let dry = run(command(neighbour.path(), &["pull", "org/name", "--dry-run"]).env("HF_ENDPOINT", endpoint));
    assert_eq!(text(&dry.stdout).matches("cached").count(), 3, "{}", text(&dry.stdout));

    assert_eq!(serve.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn verify_names_a_rotten_file_and_exits_with_6() {
    let (root, home) = (folder(), folder());
    make_repository(root.path());
    let root_text = root.path().to_str().expect("UTF-8");
    let mut hub = Server::start(&mut command(
        home.path(),
        &["hub", "--root", root_text, "--port", "0", "--json", "-q"],
    ));
    let listening = hub.event("listening");
    let pulled = pull(home.path(), listening["endpoint"].as_str().expect("a URL"), &[]);
    assert_eq!(hub.stop(), Some(0));

    let model = Path::new(pulled["path"].as_str().expect("a path")).join("model.safetensors");
    let blob = std::fs::canonicalize(model).expect("it is there");
    let mut bytes = std::fs::read(&blob).expect("read");
    bytes[MODEL_BYTES / 2] ^= 1;
    std::fs::remove_file(&blob).expect("removed");
    std::fs::write(&blob, bytes).expect("written");

    let output = run(&mut command(home.path(), &["verify"]));
    assert_eq!(output.status.code(), Some(6));
    assert!(text(&output.stderr).contains("wrong: org/name model.safetensors"), "{}", text(&output.stderr));
}

#[test]
fn a_private_repository_needs_the_token_and_comes_from_the_hub_alone() {
    const TOKEN: &str = "hf_opensThePrivateOne";
    let (root, here, neighbour) = (folder(), folder(), folder());
    make_repository(root.path());
    std::fs::write(root.path().join("models/org/name/access"), "private\n").expect("written");
    let root_text = root.path().to_str().expect("UTF-8");
    let arguments = ["hub", "--root", root_text, "--port", "0", "--token", TOKEN, "--json", "-q"];
    let mut hub = Server::start(&mut command(here.path(), &arguments));
    let listening = hub.event("listening");
    let endpoint = listening["endpoint"].as_str().expect("a URL");

    let refused = run(command(here.path(), &["pull", "org/name"]).env("HF_ENDPOINT", endpoint));
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    let first = pull(here.path(), endpoint, &["--token", TOKEN]);
    assert_eq!(first["shareable"], false, "{first}");

    let mut serve = Server::start(
        command(here.path(), &["serve", "--listen", "127.0.0.1", "--listen-port", "0", "--json", "-q"])
            .env("HF_ENDPOINT", endpoint)
            .env("HF_TOKEN", TOKEN),
    );
    let listening = serve.event("listening");
    assert_eq!(serve.event("indexed")["files_shared"], 0);
    let peer = listening["addrs"][0].as_str().expect("an address");
    let second = pull(neighbour.path(), endpoint, &["--peer", peer, "--token", TOKEN]);
    assert_eq!(second["bytes"]["from_peers"], 0, "{second}");
    assert_eq!(second["bytes"]["from_cdn"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{second}");
    assert_eq!(serve.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}
