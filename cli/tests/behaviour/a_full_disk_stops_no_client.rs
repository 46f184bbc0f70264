//! A daemon whose cache is full says so, and whoever downloads through it has the file all the same.

use crate::common::{Server, command, folder, run, text};
use crate::daemon_is_started_asked_and_stopped::hub;
use crate::serve_gives_a_neighbour_what_hub_gave_us::MODEL_BYTES;
use crate::words::may_mount;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

/// An answer: status, head, body.
fn ask(url: &str, method: &str, headers: &str, body: &str) -> (u16, String, Vec<u8>) {
    let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("an address");
    let mut stream = TcpStream::connect(host).expect("it listens");
    let len = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, answer.split_off(at + 4))
}

/// Asks, and goes where it is sent.
fn follow(url: &str) -> (u16, String, Vec<u8>) {
    let mut url = url.to_owned();
    for _ in 0..5 {
        let answer = ask(&url, "GET", "", "");
        if !(300..400).contains(&answer.0) {
            return answer;
        }
        let to =
            answer.1.lines().find_map(|line| line.strip_prefix("location: ")).expect("an address").trim();
        let host = url.split('/').take(3).collect::<Vec<_>>().join("/");
        url = if to.starts_with('/') { format!("{host}{to}") } else { to.to_owned() };
    }
    panic!("{url}: there is no end to it");
}

#[test]
fn a_full_disk_is_said_and_clients_have_their_files_all_the_same() {
    if !may_mount() {
        return;
    }
    let (home, hubs) = (folder(), folder());
    let (_hub, endpoint, root) = hub(hubs.path());
    let want =
        std::fs::read(root.path().join("models/org/name/main/model.safetensors")).expect("it was made");
    assert_eq!(want.len(), MODEL_BYTES);
    let cache = home.path().join(".cache/huggingface");
    std::fs::create_dir_all(&cache).expect("made");
    // Room for a third of it.
    let mount = format!(
        "mount -t tmpfs -o size={} tmpfs '{}' && exec \"$0\" \"$@\"",
        MODEL_BYTES / 3,
        cache.display()
    );
    let flags = ["serve", "--json", "--listen", "127.0.0.1", "--listen-port", "0", "--http-port", "0"];
    let zest = command(home.path(), &flags);
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
    inside.arg(zest.get_program()).args(zest.get_args()).env_clear();
    inside.envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HF_ENDPOINT", &endpoint);
    let mut daemon = Server::start(&mut inside);
    let http = daemon.event_among("listening")["http"][0].as_str().expect("an address").to_owned();
    let secret = std::fs::read_to_string(home.path().join(".cache/zest/api-secret")).expect("it made one");
    let bearer = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", secret.trim());

    let asks = [
        ("pull?wait=true", json!({"repo": "org/name"})),
        ("files", json!({"repo": "org/name", "path": "model.safetensors", "link": true})),
    ];
    for (route, body) in asks {
        let (status, _, said) = ask(&format!("{http}/v1/{route}"), "POST", &bearer, &body.to_string());
        let said: Value = serde_json::from_slice(&said).expect("JSON");
        assert_eq!((status, &said["error"]["kind"]), (507, &Value::from("disk")), "{route}: {said}");
        assert!(said["error"]["hint"].as_str().is_some_and(|text| text.contains("make room")), "{said}");
    }

    let named = run(command(home.path(), &["--json", "endpoint"]).env("HF_ENDPOINT", &endpoint));
    let named: Value =
        serde_json::from_slice(&named.stdout).unwrap_or_else(|_| panic!("{}", text(&named.stderr)));
    let local = named["endpoint"].as_str().expect("an address").to_owned();
    let file = format!("{local}/org/name/resolve/main/model.safetensors");
    for _ in 0..2 {
        let answer = follow(&file);
        assert_eq!((answer.0, answer.2 == want), (200, true), "{}", answer.1);
    }
    // By way of Xet the daemon says so, and from then on names the Hub's own storage.
    let (status, _, said) = ask(&format!("{local}/api/models/org/name/xet-read-token/main"), "GET", "", "");
    assert_eq!(status, 200, "{}", text(&said));
    let token: Value = serde_json::from_slice(&said).expect("JSON");
    let listed = ask(&format!("{local}/org/name/resolve/main/model.safetensors"), "HEAD", "", "")
        .1
        .to_ascii_lowercase();
    let hash = listed
        .lines()
        .find_map(|line| line.strip_prefix("x-xet-hash: "))
        .expect("its hash")
        .trim()
        .to_owned();
    let bearer = format!("Authorization: Bearer {}\r\n", token["accessToken"].as_str().expect("a token"));
    let plan = format!("{}/v1/reconstructions/{hash}", token["casUrl"].as_str().expect("an address"));
    let fetch = |plan: &[u8]| -> (u16, bool) {
        let plan: Value = serde_json::from_slice(plan).expect("JSON");
        let (_, places) = plan["fetch_info"].as_object().expect("xorbs").iter().next().expect("one");
        let (url, range) = (places[0]["url"].as_str().expect("a URL"), &places[0]["url_range"]);
        let range = format!("Range: bytes={}-{}\r\n", range["start"], range["end"]);
        (ask(url, "GET", &range, "").0, url.starts_with(&endpoint))
    };
    let (status, _, first) = ask(&plan, "GET", &bearer, "");
    assert_eq!(status, 200, "{}", text(&first));
    if fetch(&first) != (206, true) {
        let warning = daemon.event_among("warning");
        assert_eq!(warning["kind"], "not-kept", "{warning}");
        let (status, _, again) = ask(&plan, "GET", &bearer, "");
        assert_eq!((status, fetch(&again)), (200, (206, true)));
    }
    let (status, _, small) = follow(&file.replace("model.safetensors", "config.json"));
    assert_eq!((status, text(&small)), (200, "{}\n"));
    assert_eq!(daemon.stop(), Some(0));
}
