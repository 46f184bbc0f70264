//! `POST /v1/files`: what the Python package asks for, spoken over a plain socket.

use crate::common::{command, folder, run, text};
use crate::daemon_is_started_asked_and_stopped::{Home, hub};
use crate::serve_gives_a_neighbour_what_hub_gave_us::MODEL_BYTES;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// An answer: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::trim)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", text(&self.body)))
    }
}

fn post(home: &Home, body: &Value, headers: &str) -> Answer {
    let record: Value =
        serde_json::from_slice(&std::fs::read(home.file("daemon.json")).expect("it runs")).expect("JSON");
    let secret = std::fs::read_to_string(home.file("api-secret")).expect("it made one");
    let mut stream = TcpStream::connect(record["http"][0].as_str().expect("an address")).expect("it listens");
    let body = body.to_string();
    let request = format!(
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        secret.trim(),
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: answer.split_off(at + 4) }
}

#[test]
fn a_file_comes_as_proven_bytes_and_once_it_is_here_as_the_name_of_its_blob() {
    let home = Home::new();
    let (_hub, endpoint, root) = hub(home.path());
    home.start(&endpoint);
    let want =
        std::fs::read(root.path().join("models/org/name/main/model.safetensors")).expect("it was made");
    assert_eq!(want.len(), MODEL_BYTES);
    let body = json!({"repo": "org/name", "type": "model", "path": "model.safetensors"});
    let with = |more: Value| {
        let mut body = body.clone();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };

    // Nothing is here yet: a link is no answer, bytes are.
    let whole = post(&home, &with(json!({"link": true, "revision": "main"})), "X-HF-Token: \r\n");
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(whole.header("content-length"), Some(want.len().to_string().as_str()));
    assert!(whole.body == want, "{} bytes", whole.body.len());
    let hash = whole.header("etag").expect("what it is").trim_matches('"').to_owned();
    assert_eq!(hash.len(), 64);

    let part = post(&home, &with(json!({"hash": hash, "size": want.len()})), "Range: bytes=1000-1999\r\n");
    assert_eq!((part.status, part.header("content-length")), (206, Some("1000")));
    assert_eq!(part.header("content-range"), Some(format!("bytes 1000-1999/{}", want.len()).as_str()));
    assert!(part.body == want[1000..2000]);

    // Its pull may still be at its last step.
    let linked = loop {
        let linked = post(&home, &with(json!({"link": true, "hash": hash})), "");
        assert_eq!(linked.status, 200);
        if linked.header("content-type") == Some("application/json") {
            break linked.json();
        }
    };
    assert_eq!((&linked["size"], &linked["hash"]), (&json!(want.len()), &json!(hash)));
    let blob = std::path::Path::new(linked["blob"].as_str().expect("a path"));
    assert!(blob.is_absolute() && !blob.is_symlink() && std::fs::read(blob).expect("it is there") == want);

    for (more, headers, status, kind) in [
        (json!({"hash": "0".repeat(64)}), "", 409, "verify"),
        (json!({"size": 5}), "", 409, "verify"),
        (json!({"path": "none.bin"}), "", 404, "not-found"),
        (json!({"path": "../config.json"}), "", 404, "not-found"),
        (json!({"repo": "../x"}), "", 400, "usage"),
        (json!({"cache_dir": "relative"}), "", 400, "usage"),
        (json!({"token": "hf_x"}), "", 400, "usage"),
        (json!({}), "Range: bytes=99999999-\r\n", 416, "usage"),
    ] {
        let refused = post(&home, &with(more.clone()), headers);
        assert_eq!((refused.status, &refused.json()["error"]["kind"]), (status, &json!(kind)), "{more}");
    }

    // Another cache, for who has one; and what it fetched for files is no list of pulls to look through.
    let other = folder();
    let elsewhere = post(&home, &with(json!({"cache_dir": other.path()})), "");
    assert!(elsewhere.status == 200 && elsewhere.body == want);
    while home.status().is_none_or(|status| status["pulls"] != json!([])) {
        std::thread::yield_now();
    }
    assert!(other.path().join("models--org--name").is_dir());
    let stopped = run(&mut command(home.path(), &["stop"]));
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
}

#[test]
fn who_holds_the_lock_of_its_file_is_given_it_all_the_same() {
    let home = Home::new();
    let (_hub, endpoint, root) = hub(home.path());
    home.start(&endpoint);
    let want =
        std::fs::read(root.path().join("models/org/name/main/model.safetensors")).expect("it was made");
    // As huggingface_hub does: it asks while it holds the lock of the blob, which has the file's SHA-256 for a name.
    let cache = folder();
    let locks = cache.path().join(".locks/models--org--name");
    std::fs::create_dir_all(&locks).expect("made");
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).expect("it listens");
    let asked = "GET /api/models/org/name/tree/main HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let tree: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("JSON");
    let entry = tree.as_array().expect("files").iter().find(|entry| entry["path"] == "model.safetensors");
    let etag = entry.expect("it is there")["lfs"]["oid"].as_str().expect("a large file").to_owned();
    let lock = std::fs::File::create(locks.join(format!("{etag}.lock"))).expect("made");
    lock.lock().expect("it is free");
    let body = json!({
        "repo": "org/name", "path": "model.safetensors", "cache_dir": cache.path(), "locked": true, "own_blobs": true,
    });
    let answer = post(&home, &body, "");
    assert!(answer.status == 200 && answer.body == want, "status {}", answer.status);
    let blob = cache.path().join("models--org--name/blobs").join(&etag);
    while !blob.exists() {
        std::thread::yield_now();
    }
    assert!(
        !blob.is_symlink() && std::fs::read(&blob).expect("it is there") == want,
        "it stays with its repository"
    );
    let stopped = run(&mut command(home.path(), &["stop"]));
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped.stderr));
}
