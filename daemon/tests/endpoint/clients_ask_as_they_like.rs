//! Names without an owner in every route, ways of asking that few clients use, and whatever a Hub says to them.

use crate::common::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Reads what comes until the end of a head; none if the other is gone.
async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let mut more = [0; 4096];
        let len = stream.read(&mut more).await.ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&more[..len]);
    }
}

/// The same Hub, where `org/open` has no owner: `gpt2`.
async fn without_owner(hub: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = format!("http://{}", listener.local_addr().expect("bound"));
    let there = hub.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let there = there.clone();
            tokio::spawn(async move {
                let (head, rest) = read_head(&mut client).await?;
                let (first, others) = head.split_once("\r\n")?;
                let first = first.replacen("/gpt2", "/org/open", 1);
                let others: Vec<&str> =
                    others.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
                let head = format!("{first}\r\nconnection: close\r\n{}\r\n", others.join("\r\n"));
                let mut hub = TcpStream::connect(&there).await.ok()?;
                hub.write_all(head.as_bytes()).await.ok()?;
                hub.write_all(&rest).await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut hub).await.ok()
            });
        }
    });
    here
}

#[tokio::test]
async fn names_without_an_owner_are_good_in_every_route() {
    let hub = Hub::with(&[("tiny-Q4_K_M.gguf", noise(5, 200_000))]).await;
    let endpoint = without_owner(&hub.endpoint).await;
    let dir = Arc::new(tempfile::tempdir().expect("a folder"));
    let daemon = Daemon::with(dir, &endpoint, &[], true).await;
    let want = weights("org/open");
    let main = commit(&daemon, "gpt2", &[]).await;
    assert_eq!(daemon.ask("GET /api/models/gpt2", &[]).await.status, 200);
    for path in
        [format!("tree/{main}?recursive=true&expand=false"), "tree/main".to_owned(), "refs".to_owned()]
    {
        let answer = daemon.ask(&format!("GET /api/models/gpt2/{path}"), &[]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    assert!(by_xet(&daemon, "gpt2", &main, "v2", &[]).await == want, "by Xet");
    assert!(by_xet(&daemon, "gpt2", &main, "v1", &[]).await == want, "by its older form");
    for revision in ["main", &main] {
        let path = format!("/gpt2/resolve/{revision}/{FILE}");
        let head = daemon.ask(&format!("HEAD {path}"), &[]).await;
        assert_eq!((head.status, head.header("x-repo-commit")), (200, main.as_str()));
        assert!(head.header("link").contains("/api/models/gpt2/xet-read-token/"), "{head:?}");
        let got = daemon.ask(&format!("GET {path}"), &[]).await;
        assert_eq!((got.status, got.body == want), (200, true), "{revision}: {:?}", got.headers);
    }
    let cached = daemon.ask(&format!("GET /api/resolve-cache/models/gpt2/{main}/config.json"), &[]).await;
    assert_eq!((cached.status, &cached.body[..]), (200, &b"{\"a\": 1}"[..]));
    for name in ["gpt2", "library/gpt2"] {
        let image = daemon.raw(&format!("GET /v2/{name}/manifests/Q4_K_M"), &[]).await;
        assert_eq!(image.status, 200, "{image:?}");
        let digest = image.json()["layers"][0]["digest"].as_str().expect("a hash").to_owned();
        let blob = daemon.raw(&format!("GET /v2/{name}/blobs/{digest}"), &[]).await;
        assert_eq!((blob.status, blob.body.len()), (200, 200_000));
    }
    // The API as well.
    let bearer = format!("Bearer {}", daemon.secret.as_str());
    let post = async |path: &str, body: &str| {
        let len = body.len().to_string();
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", &len),
        ];
        daemon.send(&format!("POST {path}"), &headers, body.as_bytes()).await
    };
    let pulled = post("/v1/pull?wait=true", "{\"repo\":\"gpt2\"}").await;
    assert_eq!(pulled.status, 200, "{pulled:?}");
    let file = post("/v1/files", "{\"repo\":\"gpt2\",\"path\":\"sub dir/weights.safetensors\"}").await;
    assert_eq!((file.status, file.body == want), (200, true), "{:?}", file.headers);
    let models = daemon.raw("GET /v1/models", &[("Authorization", &bearer)]).await.json();
    assert!(models.to_string().contains("\"gpt2\""), "{models}");
}

#[tokio::test]
async fn a_client_that_wants_to_be_told_before_it_sends_is_told() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let body = "paths=config.json&expand=false";
    let addr = daemon.api.addrs()[0];
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.expect("it accepts");
        let head = format!(
            "POST {}/api/models/org/open/paths-info/main HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\nexpect: 100-continue\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
            daemon.base,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let (told, _) = read_head(&mut stream).await.expect("an answer");
        assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
        stream.write_all(body.as_bytes()).await.expect("it reads");
        let (head, _) = read_head(&mut stream).await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("it ends");
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("in time");
}

#[tokio::test]
async fn several_ranges_at_once_are_answered_with_the_whole_file_as_a_server_may() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let get = format!("GET /org/open/resolve/main/{FILE}");
    for several in ["bytes=0-9,5-14", "bytes=5-14,0-9", "bytes=0-,-5", "lines=1-2", "bytes=9-5"] {
        let got = daemon.ask(&get, &[("Range", several)]).await;
        assert_eq!((got.status, got.body == want), (200, true), "{several}: {:?}", got.headers);
    }
    let none = daemon.ask(&get, &[("Range", "bytes=-0")]).await;
    assert_eq!(none.status, 416, "{none:?}");
}

/// `hf download` takes the lock of each file in its cache, which is usually the daemon's as well, and keeps it until it has the file.
#[tokio::test]
async fn nothing_waits_for_the_lock_that_the_client_itself_holds() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let locks = daemon.dir.path().join(".cache/huggingface/hub/.locks/models--org--open");
    std::fs::create_dir_all(&locks).expect("made");
    for file in [FILE, "config.json"] {
        let path = format!("/org/open/resolve/main/{file}");
        let head = daemon.ask(&format!("HEAD {path}"), &[]).await;
        let etag = match head.header("x-linked-etag") {
            "" => head.header("etag"),
            linked => linked,
        };
        let lock = locks.join(format!("{}.lock", etag.trim_matches('"')));
        let lock = std::fs::File::create(lock).expect("made");
        lock.lock().expect("nobody else has it");
        let waits = async {
            while daemon.session.pulls().iter().all(|pull| pull.progress.waiting.is_empty()) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let get = format!("GET {path}");
        tokio::select! {
            got = daemon.ask(&get, &[]) => assert_eq!(got.status, 200, "{file}: {got:?}"),
            () = waits => panic!("{file}: it waits for its own client"),
        }
    }
}

/// A Hub that answers everything with this.
async fn says(status: &'static str, headers: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (head, _) = read_head(&mut stream).await?;
                let body = if head.starts_with("HEAD ") { "" } else { "as it is" };
                let len = "as it is".len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {len}\r\n{headers}\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    here
}

/// As `hf download` does that has the daemon's own cache: what it was given takes the place of what the daemon has landed.
#[tokio::test]
async fn a_client_with_the_daemons_own_cache_leaves_one_copy_there() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let main = commit(&daemon, "org/open", &[]).await;
    let repo = zest_store::RepoId::new(zest_store::RepoType::Model, "org/open").expect("a name");
    let cache = &daemon.session.store().cache;
    let want = weights("org/open");
    // When nobody has it, and again when it is here.
    for _ in 0..2 {
        daemon.ask(&format!("HEAD /org/open/resolve/{main}/{FILE}"), &[]).await;
        let list = cache.read_tree(&repo, &main).expect("it is known");
        let entry = list.into_iter().find(|entry| entry.xet_hash.is_some()).expect("the weights");
        // Whoever made the link that was waited for lets go of it a moment later.
        let lock = tokio::time::timeout(PATIENCE, async {
            loop {
                match cache.try_lock(&repo, &entry).expect("the system's") {
                    Some(lock) => return lock,
                    None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        });
        let lock = lock.await.expect("nobody keeps it");
        let got = daemon.ask(&format!("GET /org/open/resolve/{main}/{FILE}"), &[]).await;
        assert!(got.status == 200 && got.body == want, "{:?}", got.headers);
        let (blob, shared) = (cache.blob_path(&repo, &entry), cache.final_blob_path(&repo, &entry));
        let is_link = || std::fs::read_link(&blob).is_ok();
        let until = async |is_so: &dyn Fn() -> bool| {
            let so = async {
                while !is_so() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(PATIENCE, so).await.expect("in time");
        };
        until(&|| is_link() && shared.exists()).await;
        let temp = blob.with_extension("incomplete");
        std::fs::write(&temp, &got.body).expect("written");
        std::fs::rename(&temp, &blob).expect("in place");
        assert!(!is_link(), "two copies");
        drop(lock);
        until(&is_link).await;
        assert!(std::fs::read(&blob).expect("there") == want);
        assert_eq!(
            std::fs::canonicalize(&blob).expect("there"),
            std::fs::canonicalize(&shared).expect("there")
        );
    }
}

#[tokio::test]
async fn whatever_the_hub_says_of_a_repository_is_said_in_every_route() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (status, headers, name, value) in [
        ("401 Unauthorized", "x-error-code: RepoNotFound\r\n", "x-error-code", "RepoNotFound"),
        ("403 Forbidden", "x-error-code: GatedRepo\r\n", "x-error-code", "GatedRepo"),
        ("404 Not Found", "x-error-code: RevisionNotFound\r\n", "x-error-code", "RevisionNotFound"),
        ("429 Too Many Requests", "retry-after: 7\r\n", "retry-after", "7"),
        ("500 Internal Server Error", "x-own: 1\r\n", "x-own", "1"),
        ("503 Service Unavailable", "retry-after: 9\r\n", "retry-after", "9"),
        (
            "307 Temporary Redirect",
            "location: https://cdn.example/x\r\n",
            "location",
            "https://cdn.example/x",
        ),
    ] {
        let daemon = Daemon::start(&says(status, headers).await).await;
        let want: u16 = status[..3].parse().expect("a number");
        for path in [
            "/api/models/org/open".to_owned(),
            "/api/models/org/open/revision/main".to_owned(),
            format!("/api/models/org/open/tree/{commit}?recursive=true"),
            "/api/models/org/open/refs".to_owned(),
            format!("/api/models/org/open/xet-read-token/{commit}"),
            "/org/open/resolve/main/config.json".to_owned(),
            format!("/org/open/resolve/{commit}/config.json"),
            "/api/whoami-v2".to_owned(),
        ] {
            let answer = daemon.ask(&format!("GET {path}"), &[("Authorization", "Bearer hf_mine")]).await;
            assert_eq!((answer.status, answer.header(name)), (want, value), "{path}: {answer:?}");
            assert_eq!(answer.body, b"as it is", "{path}");
        }
        let head = daemon.ask("HEAD /org/open/resolve/main/config.json", &[]).await;
        assert_eq!((head.status, head.header(name)), (want, value), "{head:?}");
    }
}
