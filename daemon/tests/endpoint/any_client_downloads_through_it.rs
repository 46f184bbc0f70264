//! The local endpoint between a Hub and clients that do what those of others do: plain downloads, Xet, questions and writes.

use crate::common::*;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zest_daemon::Secret;

#[tokio::test]
async fn plain_downloads_come_once_from_the_cdn_whoever_and_however_many_ask() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let head = daemon.ask(&format!("HEAD /org/open/resolve/main/{FILE}"), &[]).await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-length"), want.len().to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert_eq!(head.header("x-repo-commit").len(), 40);
    assert_eq!(head.header("etag"), head.header("x-linked-etag"));
    assert_eq!(head.header("x-linked-size"), want.len().to_string());
    assert_eq!(head.header("x-xet-hash").len(), 64);
    // Of a commit nothing has to be asked again.
    let commit = head.header("x-repo-commit").to_owned();
    let get = format!("GET /org/open/resolve/{commit}/{FILE}");
    let both = tokio::join!(daemon.ask(&get, &[]), daemon.ask(&get, &[]));
    for answer in [both.0, both.1] {
        assert_eq!(answer.status, 200, "{:?}", answer.headers);
        assert!(answer.body == want, "{} bytes", answer.body.len());
    }
    let once = hub.served().stats().cdn_bytes;
    assert!(once < want.len() as u64 * 11 / 10, "{once}: one copy");
    for (range, from, to) in [
        ("bytes=5-9", 5, 10),
        ("bytes=-100", want.len() - 100, want.len()),
        ("bytes=2999000-", 2_999_000, want.len()),
        ("bytes=0-99999999", 0, want.len()),
    ] {
        let part = daemon.ask(&get, &[("Range", range)]).await;
        assert_eq!((part.status, part.body == want[from..to]), (206, true), "{range}: {:?}", part.headers);
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{}", to - 1, want.len()));
    }
    let none = daemon.ask(&get, &[("Range", "bytes=99999999-")]).await;
    assert_eq!(
        (none.status, none.header("content-range")),
        (416, format!("bytes */{}", want.len()).as_str())
    );
    let other = daemon.ask(&get, &[("Range", "bytes=5-9"), ("If-Range", "\"another\"")]).await;
    assert_eq!((other.status, other.body.len()), (200, want.len()), "a part of another file is of no use");
    let small = daemon.ask(&format!("GET /org/open/resolve/{commit}/config.json"), &[]).await;
    assert_eq!((small.status, &small.body[..]), (200, &b"{\"a\": 1}"[..]));
    assert_eq!(hub.served().stats().cdn_bytes, once, "from disk");
    let blobs: Vec<_> = walk(&daemon.dir.path().join(".cache/huggingface/hub"), want.len() as u64);
    assert_eq!(blobs.len(), 1, "the bytes are there once: {blobs:?}");
    let asked = hub.asked();
    let of = |word: &str| asked.iter().filter(|path| path.contains(word)).count();
    assert_eq!((of("/revision/"), of("/tree/"), of("xet-read-token")), (1, 1, 1), "{asked:?}");
    assert!(of("config.json") <= 3, "{asked:?}");
}

/// Files of this length below a folder, links not followed.
fn walk(dir: &Path, len: u64) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let meta = entry.path().symlink_metadata().expect("there");
        if meta.is_dir() {
            found.extend(walk(&entry.path(), len));
        } else if meta.is_file() && meta.len() == len {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn xet_clients_get_xorbs_made_of_proven_bytes_cold_and_warm() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let commit = commit(&daemon, "org/open", &[]).await;
    assert!(by_xet(&daemon, "org/open", &commit, "v2", &[]).await == want, "cold");
    let once = hub.served().stats().cdn_bytes;
    assert!(by_xet(&daemon, "org/open", &commit, "v2", &[]).await == want, "warm");
    assert!(by_xet(&daemon, "org/open", &commit, "v1", &[]).await == want, "the older form");
    assert_eq!(hub.served().stats().cdn_bytes, once);
    assert!(once < want.len() as u64 * 11 / 10, "{once}: one copy");
    // A token of another commit, and none, open nothing; nor does a URL whose ranges were changed.
    let nobody = daemon
        .raw(&format!("GET /xet/models/org~open/{commit}/v2/reconstructions/{}", "0".repeat(64)), &[])
        .await;
    assert_eq!(nobody.status, 401);
    let forged = daemon
        .raw(
            "GET /xet/xorb/a/b/c?X-Xet-Signed-Range=bytes%3D0-9&Expires=99999999999&Signature=00",
            &[("Range", "bytes=0-9")],
        )
        .await;
    assert_eq!(forged.status, 403);
}

#[tokio::test]
async fn a_peer_gives_where_the_cdn_is_off_and_the_cache_where_everything_is() {
    let mut hub = Hub::open().await;
    let first = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let get = format!("GET /org/open/resolve/main/{FILE}");
    assert!(first.ask(&get, &[]).await.body == want);
    hub.served().faults().set_cdn_off(true);
    hub.served().faults().set_cas_off(true);
    let peers = [first.session.local_addrs()[0].to_string()];
    let second = Daemon::on(Arc::new(tempfile::tempdir().expect("a folder")), &hub.endpoint, &peers).await;
    let from_cdn = hub.served().stats().cdn_bytes;
    let got = second.ask(&get, &[]).await;
    assert_eq!((got.status, got.body == want), (200, true), "{:?}", got.headers);
    let main = commit(&second, "org/open", &[]).await;
    assert!(by_xet(&second, "org/open", &main, "v2", &[]).await == want);
    let tree =
        second.ask(&format!("GET /api/models/org/open/tree/{main}?recursive=true&expand=false"), &[]).await;
    assert_eq!(tree.status, 200);
    // As `datasets` looks for one.
    let in_vain = format!("GET /api/models/org/open/tree/{main}/data?recursive=false&expand=false");
    let no_folder = second.ask(&in_vain, &[]).await;
    assert_eq!((no_folder.status, no_folder.header("x-error-code")), (404, "EntryNotFound"));
    assert_eq!(hub.served().stats().cdn_bytes, from_cdn, "nothing of it crossed the CDN");
    hub.close().await;
    // A new process, and nobody to ask.
    let dir = second.end().await;
    let third = Daemon::on(dir, &hub.endpoint, &[]).await;
    let got = third.ask(&get, &[]).await;
    assert_eq!((got.status, got.body == want), (200, true), "{:?}", got.headers);
    assert!(got.header("warning").starts_with("111 "), "{:?}", got.headers);
    let revision = third.ask("GET /api/models/org/open/revision/main", &[]).await;
    assert_eq!((revision.status, revision.json()["sha"].as_str()), (200, Some(main.as_str())));
    assert!(revision.header("warning").starts_with("111 "));
    let again =
        third.ask(&format!("GET /api/models/org/open/tree/{main}?recursive=true&expand=false"), &[]).await;
    assert_eq!((again.status, again.body), (200, tree.body));
    assert!(by_xet(&third, "org/open", &main, "v2", &[]).await == want);
    let still_none = third.ask(&in_vain, &[]).await;
    assert_eq!((still_none.status, still_none.header("x-error-code")), (404, "EntryNotFound"));
    let missing = third.ask("GET /org/open/resolve/main/none.txt", &[]).await;
    assert_eq!((missing.status, missing.header("x-error-code")), (404, "EntryNotFound"));
    assert_eq!(third.ask("GET /api/models/org/unknown/revision/main", &[]).await.status, 504);
}

#[tokio::test]
async fn closed_models_are_for_the_tokens_that_the_hub_accepts_and_for_nobody_offline() {
    let mut hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let good = format!("Bearer {TOKEN}");
    let good = [("Authorization", good.as_str())];
    let bad = [("Authorization", "Bearer hf_another")];
    for repo in ["org/closed", "org/gated"] {
        let get = format!("GET /{repo}/resolve/main/{FILE}");
        let got = daemon.ask(&get, &good).await;
        assert_eq!((got.status, got.body == weights(repo)), (200, true), "{:?}", got.headers);
        let main = commit(&daemon, repo, &good).await;
        assert!(by_xet(&daemon, repo, &main, "v2", &good).await == weights(repo));
        let pinned = format!("GET /{repo}/resolve/{main}/{FILE}");
        for (who, status) in [(&bad[..], [403, 404]), (&[][..], [401, 401])] {
            for path in [&get, &pinned, &pinned.replace("GET", "HEAD")] {
                let answer = daemon.ask(path, who).await;
                assert!(status.contains(&answer.status), "{path} {who:?}: {:?}", answer.headers);
                assert!(answer.body.len() < 1000 && !answer.header("x-error-code").is_empty());
            }
            let token = daemon.ask(&format!("GET /api/models/{repo}/xet-read-token/{main}"), who).await;
            assert!(status.contains(&token.status), "{token:?}");
        }
    }
    let main = commit(&daemon, "org/closed", &good).await;
    for path in [
        format!("/org/closed/resolve/{main}/{FILE}"),
        format!("/api/models/org/closed/tree/{main}?recursive=true"),
    ] {
        assert_ne!(
            daemon.ask(&format!("GET {path}"), &bad).await.status,
            200,
            "what is kept is not for others"
        );
    }
    hub.close().await;
    let dir = daemon.end().await;
    let daemon = Daemon::on(dir, &hub.endpoint, &[]).await;
    for path in [
        format!("/org/closed/resolve/{main}/{FILE}"),
        format!("/org/closed/resolve/main/{FILE}"),
        format!("/api/models/org/closed/tree/{main}?recursive=true"),
        "/api/models/org/closed/revision/main".to_owned(),
        format!("/api/models/org/closed/xet-read-token/{main}"),
    ] {
        assert_eq!(daemon.ask(&format!("GET {path}"), &good).await.status, 504, "{path}");
    }
    // Of the token nothing is on this disk.
    for entry in all_files(daemon.dir.path()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        assert!(!bytes.windows(TOKEN.len()).any(|some| some == TOKEN.as_bytes()), "{}", entry.display());
    }
}

fn all_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => found.extend(all_files(&path)),
            Ok(meta) if meta.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn the_key_opens_the_endpoint_and_nothing_else_and_pages_get_nothing() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let path = "/api/models/org/open/revision/main";
    assert_eq!(daemon.raw(&format!("GET /hf/{}{path}", "0".repeat(64)), &[]).await.status, 403);
    assert_eq!(daemon.raw(&format!("GET /hf/{}{path}", daemon.secret.as_str()), &[]).await.status, 403);
    let key = Secret::endpoint_key(&daemon.places).expect("there");
    let bearer = format!("Bearer {}", key.as_str());
    assert_eq!(daemon.raw("GET /v1/pulls", &[("Authorization", &bearer)]).await.status, 401);
    for foreign in
        [("Host", "evil.example"), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    {
        let status = daemon.ask(&format!("GET {path}"), &[foreign]).await.status;
        assert!(matches!(status, 403 | 421), "{foreign:?}: {status}");
    }
    assert_eq!(daemon.ask(&format!("GET {path}"), &[]).await.status, 200);
    Secret::rotate_endpoint_key(&daemon.places).expect("changed");
    assert_eq!(daemon.ask(&format!("GET {path}"), &[]).await.status, 403, "the old one opens nothing");
    assert!(std::fs::metadata(daemon.places.endpoint_key()).is_ok());
    drop(hub.dir);
}

/// A Hub that says these things, by the first words of a request, and what it was asked.
async fn stub(answers: Vec<(&'static str, String)>) -> (String, Arc<tokio::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let heard: Arc<tokio::sync::Mutex<Vec<String>>> = Arc::default();
    let all = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, all) = (answers.clone(), all.clone());
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                let mut len = 0;
                while let Ok(more @ 1..) = stream.read(&mut bytes[len..]).await {
                    len += more;
                    let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let wants = head.lines().find_map(|line| {
                        line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                    });
                    if body.len() < wants.unwrap_or(0) {
                        continue;
                    }
                    all.lock().await.push(text.clone());
                    let answer = answers
                        .iter()
                        .find(|(begin, _)| text.starts_with(begin))
                        .map(|(_, answer)| answer.as_str());
                    let answer = answer.unwrap_or("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    break;
                }
            });
        }
    });
    (format!("http://{addr}"), heard)
}

#[tokio::test]
async fn what_the_hub_says_is_passed_on_as_it_is_and_links_lead_here() {
    let reply = |status: &str, headers: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
    };
    let answers = vec![
        ("GET /api/whoami-v2", reply("200 OK", "", "{\"name\":\"me\"}")),
        ("POST /api/repos/create", reply("201 Created", "x-own: 1\r\n", "{\"url\":\"x\"}")),
        ("PUT /upload", reply("200 OK", "", "ok")),
        (
            "GET /api/models/org/old/revision",
            reply("307 Temporary Redirect", "location: /api/models/org/new/revision/main\r\n", "moved"),
        ),
        (
            "GET /api/models/org/busy/revision",
            reply("429 Too Many Requests", "retry-after: 7\r\n", "{\"error\":\"slow down\"}"),
        ),
        ("GET /api/models/org/broken/revision", reply("500 Internal Server Error", "", "oh")),
        (
            "GET /api/models?search",
            reply(
                "200 OK",
                "link: <https://huggingface.co/api/models?search=x&cursor=2>; rel=\"next\"\r\n",
                "[]",
            ),
        ),
        ("GET /org/cdn/raw/main/x", reply("302 Found", "location: https://cdn.example/x\r\n", "")),
    ];
    let (hub, heard) = stub(answers).await;
    let daemon = Daemon::start(&hub).await;
    let who =
        daemon.ask("GET /api/whoami-v2", &[("Authorization", "Bearer hf_mine"), ("User-Agent", "x/1")]).await;
    assert_eq!((who.status, who.json()["name"].as_str()), (200, Some("me")));
    let text = heard.lock().await.last().expect("asked").to_lowercase();
    assert!(text.contains("authorization: bearer hf_mine") && text.contains("user-agent: x/1"), "{text}");
    assert!(!text.contains("/hf/"), "{text}");
    let old = daemon.ask("GET /api/models/org/old/revision/main", &[]).await;
    assert_eq!((old.status, old.body), (307, b"moved".to_vec()));
    let old = daemon.ask("GET /org/old/resolve/main/f", &[]).await;
    assert_eq!(old.status, 404, "the Hub's word on this very address: {old:?}");
    let renamed = daemon.ask("GET /api/models/org/old/revision/main", &[]).await;
    assert_eq!(renamed.header("location"), format!("{}/api/models/org/new/revision/main", daemon.base));
    let busy = daemon.ask("GET /api/models/org/busy/revision/main", &[]).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, "7"));
    assert_eq!(daemon.ask("GET /api/models/org/broken/revision/main", &[]).await.status, 500);
    let page = daemon.ask("GET /api/models?search=x", &[]).await;
    let here = format!(
        "<http://{}{}/api/models?search=x&cursor=2>; rel=\"next\"",
        daemon.api.addrs()[0],
        daemon.base
    );
    assert_eq!(page.header("link"), here);
    let away = daemon.ask("GET /org/cdn/raw/main/x", &[]).await;
    assert_eq!((away.status, away.header("location")), (302, "https://cdn.example/x"));
    // Writes go through with their bodies.
    let body = "{\"name\":\"a\"}";
    let stream = async {
        let mut stream = TcpStream::connect(daemon.api.addrs()[0]).await.expect("it accepts");
        let text = format!(
            "POST {}/api/repos/create HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n{body}",
            daemon.base,
            body.len()
        );
        stream.write_all(text.as_bytes()).await.expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("it answers");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let answer = tokio::time::timeout(PATIENCE, stream).await.expect("in time");
    assert!(answer.contains("201 Created") && answer.contains("x-own: 1"), "{answer}");
    let text = heard.lock().await.last().expect("asked").clone();
    assert!(text.starts_with("POST /api/repos/create") && text.ends_with(body), "{text}");
}
