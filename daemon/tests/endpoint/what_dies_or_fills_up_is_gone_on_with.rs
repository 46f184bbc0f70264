//! A daemon that died, and a disk that takes nothing: clients go on.

use crate::common::*;
use std::sync::Arc;
use zest_hub_server::Service;
use zest_hub_server::parts::{Purpose, Signer, unix_now};

#[tokio::test]
async fn what_a_daemon_gave_out_is_good_for_the_next_one() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    let head = daemon.ask(&format!("HEAD /org/open/resolve/{commit}/{FILE}"), &[]).await;
    let token = daemon.ask(&format!("GET /api/models/org/open/xet-read-token/{commit}"), &[]).await;
    let bearer = format!("Bearer {}", token.json()["accessToken"].as_str().expect("a token"));
    let cas = format!("/xet/models/org~open/{commit}/v2/reconstructions/{}", head.header("x-xet-hash"));
    assert_eq!(daemon.raw(&format!("GET {cas}"), &[("Authorization", &bearer)]).await.status, 200);
    assert!(by_xet(&daemon, "org/open", &commit, "v2", &[]).await == weights("org/open"));
    // A client goes on with the token it has.
    let daemon = Daemon::on(daemon.end().await, &hub.endpoint, &[]).await;
    let again = daemon.raw(&format!("GET {cas}"), &[("Authorization", &bearer)]).await;
    assert_eq!(again.status, 200, "{again:?}");
    // For that commit of that repository alone.
    let elsewhere = cas.replace("org~open", "org~gated");
    assert_eq!(daemon.raw(&format!("GET {elsewhere}"), &[("Authorization", &bearer)]).await.status, 401);
}

#[tokio::test]
async fn what_was_given_out_while_the_clock_was_ahead_is_good_no_more() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    let head = daemon.ask(&format!("HEAD /org/open/resolve/{commit}/{FILE}"), &[]).await;
    assert!(by_xet(&daemon, "org/open", &commit, "v2", &[]).await == weights("org/open"));
    let cas = format!("GET /xet/models/org~open/{commit}/v2/reconstructions/{}", head.header("x-xet-hash"));
    let secret = std::fs::read_to_string(daemon.places.endpoint_signer()).expect("made");
    let signer = Signer::from_secret(secret.trim(), u64::MAX / 2);
    // As a daemon signs that has died since, at this time and on another day.
    for (ahead, status) in [(1_800, 200), (86_400, 401), (1 << 40, 401)] {
        let (name, expires) = ("0".repeat(32), unix_now() + ahead);
        let signature = signer.sign(Purpose::Token, &format!("{name} models org~open {commit}"), expires);
        let bearer = format!("Bearer zest_{name}_{expires}_{signature}");
        let answer = daemon.raw(&cas, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, status, "{ahead}: {answer:?}");
    }
}

#[tokio::test]
async fn what_this_machine_cannot_keep_goes_from_the_cdn_to_who_asks() {
    let hub = Hub::open().await;
    let dir = tempfile::tempdir().expect("a folder");
    // Where the repository belongs is something else: nothing of it can be kept.
    let cache = dir.path().join(".cache/huggingface/hub");
    std::fs::create_dir_all(&cache).expect("made");
    std::fs::write(cache.join("models--org--open"), "in the way").expect("written");
    let daemon = Daemon::on(Arc::new(dir), &hub.endpoint, &[]).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    let plain = daemon.ask(&format!("GET /org/open/resolve/{commit}/{FILE}"), &[]).await;
    assert!((300..400).contains(&plain.status) || plain.body == weights("org/open"), "{:?}", plain.headers);
    let head = daemon.ask(&format!("HEAD /org/open/resolve/{commit}/{FILE}"), &[]).await;
    assert!(head.status < 400, "{head:?}");
    let token = daemon.ask(&format!("GET /api/models/org/open/xet-read-token/{commit}"), &[]).await;
    let bearer = format!("Bearer {}", token.json()["accessToken"].as_str().expect("a token"));
    let cas = format!("/xet/models/org~open/{commit}/v2/reconstructions/{}", head.header("x-xet-hash"));
    let first = daemon.raw(&format!("GET {cas}"), &[("Authorization", &bearer)]).await;
    assert_eq!(first.status, 200, "{first:?}");
    let url = |answer: &Answer| {
        let json = answer.json();
        let (_, fetches) = json["xorbs"].as_object().expect("xorbs").iter().next().expect("one");
        let range = format!(
            "bytes={}-{}",
            fetches[0]["ranges"][0]["bytes"]["start"], fetches[0]["ranges"][0]["bytes"]["end"]
        );
        (fetches[0]["url"].as_str().expect("an address").to_owned(), range)
    };
    let (own, range) = url(&first);
    assert_eq!(daemon.follow("GET", &own, &[("Range", &range)]).await.status, 403, "ask again");
    let second = daemon.raw(&format!("GET {cas}"), &[("Authorization", &bearer)]).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert!(url(&second).0.starts_with(&hub.endpoint), "{}", url(&second).0);
}

#[tokio::test]
async fn a_part_that_nobody_has_comes_from_the_cdn_at_once_and_what_follows_from_here() {
    let want = noise(77, 17 << 20);
    let hub = Hub::with(&[("large.bin", want.clone())]).await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    let what = format!("GET /org/open/resolve/{commit}/large.bin");
    // Nine seconds until the only xorb is here.
    hub.served().faults().set_cdn_rate(Some(2_000_000));
    let header = daemon.ask(&what, &[("Range", "bytes=0-7")]).await;
    assert!((300..400).contains(&header.status), "{} {:?}", header.status, header.headers);
    let (_, path) = header.header("location").split_once("/api/").expect("the Hub's CDN");
    assert!(path.contains("cdn"), "{path}");
    // The file comes all the same, and its parts from here once they are proven.
    hub.served().faults().clear();
    let part = loop {
        let part = daemon.ask(&what, &[("Range", "bytes=10000000-10000009")]).await;
        if part.status == 206 {
            break part;
        }
        assert!((300..400).contains(&part.status), "{} {:?}", part.status, part.headers);
    };
    assert_eq!(part.body, want[10_000_000..10_000_010]);
    let crossed = hub.served().stats().cdn_bytes;
    assert!(crossed < want.len() as u64 * 11 / 10, "{crossed}: one copy");
}

#[tokio::test]
async fn a_part_does_not_wait_for_the_first_bytes_of_its_file() {
    let hub = Hub::with(&[("large.bin", noise(78, 17 << 20))]).await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    // What pulls need takes a minute; what the Hub sends a client to gives bytes.
    hub.served().faults().set_latency(Service::Cas, std::time::Duration::from_secs(60));
    let what = format!("GET /org/open/resolve/{commit}/large.bin");
    let part = daemon.ask(&what, &[("Range", "bytes=10000000-10000009")]).await;
    assert!((300..400).contains(&part.status), "{} {:?}", part.status, part.headers);
    // Seen to give them, by one byte.
    assert_eq!(hub.served().stats().cdn_bytes, 1);
    let resolves = hub.served().stats().resolves;
    let next = daemon.ask(&what, &[("Range", "bytes=20-29")]).await;
    assert!((300..400).contains(&next.status), "{} {:?}", next.status, next.headers);
    assert_eq!(next.header("location"), part.header("location"));
    // Neither is asked again.
    assert_eq!((hub.served().stats().cdn_bytes, hub.served().stats().resolves), (1, resolves));
}

#[tokio::test]
async fn the_first_part_of_a_repository_is_asked_for_while_its_files_are_still_listed() {
    let hub = Hub::with(&[("large.bin", noise(80, 17 << 20))]).await;
    let daemon = Daemon::start(&hub.endpoint).await;
    hub.served().faults().set_latency(Service::Hub, std::time::Duration::from_secs(1));
    let what = "GET /org/open/resolve/main/large.bin";
    let asking = daemon.ask(what, &[("Range", "bytes=10000000-10000009")]);
    let counted = async {
        while hub.served().stats().resolves == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        hub.served().stats().tree_pages
    };
    let (part, pages) = tokio::join!(asking, counted);
    assert!((300..400).contains(&part.status), "{} {:?}", part.status, part.headers);
    assert_eq!(pages, 0);
    hub.served().faults().clear();
    // Who asks for what is not there hears so of us.
    let none = daemon.ask("GET /org/open/resolve/main/none.bin", &[("Range", "bytes=0-9")]).await;
    assert_eq!(none.status, 404, "{none:?}");
}

#[tokio::test]
async fn nobody_is_sent_to_a_cdn_that_gives_nothing() {
    let want = noise(79, 17 << 20);
    let hub = Hub::with(&[("large.bin", want.clone())]).await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    hub.served().faults().set_cdn_off(true);
    let what = format!("GET /org/open/resolve/{commit}/large.bin");
    let part = daemon.ask(&what, &[("Range", "bytes=10000000-10000009")]);
    let back = async {
        // Our own pull and the look have been refused.
        while hub.served().stats().cdn_requests < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        hub.served().faults().clear();
    };
    let (part, ()) = tokio::join!(part, back);
    assert_eq!(part.status, 206, "{:?}", part.headers);
    assert_eq!(part.body, want[10_000_000..10_000_010]);
}

#[tokio::test]
async fn who_would_give_up_before_a_byte_is_proven_is_sent_to_the_cdn() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let commit = commit(&daemon, "org/open", &[]).await;
    let what = format!("GET /org/open/resolve/{commit}/{FILE}");
    // Fifteen seconds until the only xorb is here; huggingface_hub waits for ten.
    hub.served().faults().set_cdn_rate(Some(200_000));
    let sent_on = daemon.ask(&what, &[]).await;
    assert!((300..400).contains(&sent_on.status), "{} {:?}", sent_on.status, sent_on.headers);
    // The rest of it, too, and at once.
    let rest = daemon.ask(&what, &[("Range", "bytes=1000-")]).await;
    assert!((300..400).contains(&rest.status), "{} {:?}", rest.status, rest.headers);
    hub.served().faults().clear();
    let (_, path) = sent_on.header("location").split_once("/api/").expect("the Hub's CDN");
    assert!(path.contains("cdn"), "{path}");
}
