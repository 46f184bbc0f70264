//! Many clients at once cost the Hub and its CDN what one costs, and those that vanish cost nobody anything.

use crate::common::*;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// As a CI job downloads a model.
async fn download(daemon: &Daemon, headers: &[(&str, &str)], by_xet_version: Option<&str>) {
    let commit = commit(daemon, "org/open", headers).await;
    let tree = format!("GET /api/models/org/open/tree/{commit}?recursive=true&expand=false");
    assert_eq!(daemon.ask(&tree, headers).await.status, 200);
    let small = format!("/org/open/resolve/{commit}/config.json");
    assert_eq!(daemon.ask(&format!("HEAD {small}"), headers).await.status, 200);
    assert_eq!(daemon.ask(&format!("GET {small}"), headers).await.body, b"{\"a\": 1}");
    let got = match by_xet_version {
        Some(version) => by_xet(daemon, "org/open", &commit, version, headers).await,
        None => daemon.ask(&format!("GET /org/open/resolve/{commit}/{FILE}"), headers).await.body,
    };
    assert!(got == weights("org/open"), "{} bytes", got.len());
}

#[tokio::test]
async fn twenty_at_once_cost_one_copy_and_three_questions_for_each_token() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let good = format!("Bearer {TOKEN}");
    let with_token = [("Authorization", good.as_str())];
    let client = |n: usize| {
        let headers: &[(&str, &str)] = if n.is_multiple_of(2) { &[] } else { &with_token };
        download(&daemon, headers, [None, Some("v1"), Some("v2")][n % 3])
    };
    join_all((0..20).map(client)).await;
    let copy = weights("org/open").len() as u64;
    let crossed = hub.served().stats().cdn_bytes;
    assert!(crossed < copy * 11 / 10, "{crossed} bytes crossed the CDN for a file of {copy}");
    let asked = hub.asked_by_whom();
    let small = asked.iter().filter(|(_, path)| path.contains("config.json")).count();
    // The file, and whether everybody may have it.
    assert!(small <= 2, "{small}: {asked:?}");
    let of = |token: bool| {
        asked.iter().filter(|(had, path)| *had == token && !path.contains("config.json")).count()
    };
    assert!(of(true) <= 3, "{asked:?}");
    // Nobody's questions, and the one whether what comes with a token may be given to others.
    assert!(of(false) <= 3 + 1, "{asked:?}");
}

#[tokio::test]
async fn three_hundred_at_once_are_all_answered() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let commit = commit(&daemon, "org/open", &[]).await;
    let get = format!("GET /org/open/resolve/{commit}/{FILE}");
    // Ranges that overlap, of a file that is just coming.
    let client = async |n: usize| {
        let (from, to) = (n * 5_000, (n * 5_000 + 1_000_000).min(want.len() - 1));
        let range = format!("bytes={from}-{to}");
        let part = daemon.ask(&get, &[("Range", &range)]).await;
        assert_eq!((part.status, part.body == want[from..=to]), (206, true), "{range}: {:?}", part.headers);
    };
    join_all((0..300).map(client)).await;
    let crossed = hub.served().stats().cdn_bytes;
    assert!(crossed < want.len() as u64 * 11 / 10, "{crossed}");
}

#[tokio::test]
async fn clients_that_vanish_or_do_not_read_are_nobody_elses_matter() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let want = weights("org/open");
    let commit = commit(&daemon, "org/open", &[]).await;
    let path = format!("/org/open/resolve/{commit}/{FILE}");
    let addr = daemon.api.addrs()[0];
    let mut silent = Vec::new();
    for n in 0..20 {
        let mut stream = TcpStream::connect(addr).await.expect("it accepts");
        let text = format!("GET {}{path} HTTP/1.1\r\nHost: {addr}\r\n\r\n", daemon.base);
        let cut = if n % 4 == 0 { text.len() / 2 } else { text.len() };
        stream.write_all(&text.as_bytes()[..cut]).await.expect("it reads");
        match n % 4 {
            // Half a question, and no more; gone at once; gone after the first bytes; there, and reading nothing.
            0 | 3 => silent.push(stream),
            1 => drop(stream),
            _ => {
                let mut some = [0; 100];
                stream.read_exact(&mut some).await.expect("it answers");
            }
        }
    }
    let got = daemon.ask(&format!("GET {path}"), &[]).await;
    assert_eq!((got.status, got.body == want), (200, true), "{:?}", got.headers);
    let crossed = hub.served().stats().cdn_bytes;
    assert!(crossed < want.len() as u64 * 11 / 10, "{crossed}");
    drop(silent);
}
