//! `zest-seed` announces what it has, on each runtime: a machine that knows only the tracker fetches from it. On io_uring it
//! only announces and dials nobody.

use serde_json::Value;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use zest_core::InfoHash;
use zest_core::lsd::Group;
use zest_tests::finding::{Ear, Manner, Tracker, chunks_from_peers, holds, names};
use zest_tests::known::Known;
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::{Kind, Site, assert_same_files, noise, on_every_runtime};

on_every_runtime!(
    through_a_tracker,
    a_mute_tracker_does_not_keep_it_from_ending,
    neighbours_it_hears_of_are_dialled_by_tokio_only,
);

/// The model's large file, which stands for all of it.
fn shard() -> Vec<u8> {
    noise(23, 3_000_000)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// A model that only host `a` has any more, its swarm, and a seed box on `a`.
async fn seed_box(kind: Kind, a: &Host, flags: &[&str], lan: bool) -> (Site, InfoHash, Running) {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &shard());
    site.add("org/model", "config.json", b"{\"layers\": 1}");
    site.open().await;
    let words = ["pull", "org/model", "--json", "--no-p2p"].map(str::to_owned);
    let pulling = Pulling::start(a.command(&site.endpoint(), &words));
    blocking(|| pulling.report()).await;
    site.faults().set_cas_off(true);
    site.faults().set_cdn_off(true);
    let runtime = match kind {
        Kind::Tokio => "tokio",
        Kind::Glommio => "glommio",
    };
    let words = [&["--runtime", runtime, "--cache-mem", "16Mi", "--no-dht"], flags].concat();
    let command = a.seed_box(&site.endpoint(), &words, lan);
    let seeding = blocking(move || {
        let mut seeding = Running::start(command);
        assert_eq!(seeding.event("listening")["runtime"], runtime);
        assert_eq!(seeding.event("indexed")["files_shared"], 1);
        seeding
    });
    (site, InfoHash::of_file(&Known::new(shard()).file()), seeding.await)
}

/// Reads on to a status of which this holds.
async fn status(mut seeding: Running, holds: impl Fn(&Value) -> bool + Send + 'static) -> (Running, Value) {
    blocking(move || {
        loop {
            let status = seeding.event("status");
            if holds(&status["discovery"]) {
                return (seeding, status);
            }
        }
    })
    .await
}

async fn through_a_tracker(kind: Kind) {
    let tracker = Tracker::start(Manner::Honest);
    let (a, b) = (Host::default(), Host::default());
    let (site, swarm, seeding) = seed_box(kind, &a, &["-t", &tracker.http, "-t", &tracker.udp], false).await;
    let (http, udp) = (tracker.http_log.clone(), tracker.udp_log.clone());
    blocking(move || {
        http.wait("an announcement over HTTP", |log| log.iter().any(|bytes| names(bytes, &swarm)));
        udp.wait("an announcement over UDP", |log| log.iter().any(|bytes| names(bytes, &swarm)));
    })
    .await;

    let command = b.finder(&site.endpoint(), &["pull", "org/model", "--no-dht", "-t", &tracker.http], false);
    let report = blocking(|| Pulling::start(command).report()).await;
    assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder("org/model"));
    assert_eq!(chunks_from_peers(&report), shard().len() as u64, "{report}");

    // Who came is seen, whichever runtime let them in.
    let (seeding, told) = status(seeding, |found| found["reachable"] == "local").await;
    assert_eq!(told["discovery"]["trackers"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(told["discovery"]["trackers"][0]["works"], true, "{told}");
    assert!(told["discovery"]["dht_nodes"].is_null() && told["discovery"]["swarms"] != 0, "{told}");

    let stopped = blocking(|| seeding.stop()).await;
    assert!(stopped["bytes_given"].as_u64() > Some(shard().len() as u64), "{stopped}");
    // What `b` said is over; both farewells come from the port of `a`. Event 3 of BEP 15, and the port, at their places.
    let port = a.address().port();
    let by_http = |bytes: &Vec<u8>| {
        names(bytes, &swarm)
            && holds(bytes, b"event=stopped")
            && holds(bytes, format!("port={port}").as_bytes())
    };
    let by_udp = |bytes: &Vec<u8>| {
        bytes.len() >= 98 && bytes[83] == 3 && bytes[96..98] == port.to_be_bytes() && names(bytes, &swarm)
    };
    assert!(tracker.udp_log.all().iter().any(by_udp), "good-bye over UDP");
    assert!(tracker.http_log.all().iter().any(by_http), "good-bye over HTTP");
}

async fn a_mute_tracker_does_not_keep_it_from_ending(kind: Kind) {
    let tracker = Tracker::start(Manner::Mute);
    let a = Host::default();
    let (_site, swarm, seeding) = seed_box(kind, &a, &["-t", &tracker.http, "-t", &tracker.udp], false).await;
    let (http, udp) = (tracker.http_log.clone(), tracker.udp_log.clone());
    blocking(move || {
        http.wait("an announcement over HTTP", |log| log.iter().any(|bytes| names(bytes, &swarm)));
        udp.wait("a greeting over UDP", |log| !log.is_empty());
    })
    .await;
    // It would wait for as long as the tracker lives, which is until after this.
    blocking(|| seeding.stop()).await;
}

async fn neighbours_it_hears_of_are_dialled_by_tokio_only(kind: Kind) {
    let Some(ear) = Ear::open() else {
        println!("skipped: the loopback interface of this machine cannot multicast");
        return;
    };
    let a = Host::default();
    let (_site, swarm, seeding) = seed_box(kind, &a, &[], true).await;
    let heard = ear.log.clone();
    blocking(move || {
        heard.wait("a multicast message", |log| log.iter().any(|bytes| names(bytes, &swarm)));
    })
    .await;

    // A neighbour that says it has the same, and can be connected to.
    let neighbour = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = neighbour.local_addr().expect("it is bound").port();
    let voice = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let group = Group::V4.addr();
    let hash: String = swarm.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let message =
        format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {port}\r\nInfohash: {hash}\r\n\r\n\r\n");
    rustix::net::sockopt::set_ip_multicast_if(&voice, &Ipv4Addr::LOCALHOST).expect("a socket option");
    voice.send_to(message.as_bytes(), group).expect("it is sent");
    let (seeding, _) = status(seeding, |found| found["found"]["lan"].as_u64() > Some(0)).await;

    match kind {
        Kind::Tokio => drop(blocking(move || neighbour.accept().expect("a dial")).await),
        Kind::Glommio => {
            // Whatever it began is over with it.
            blocking(|| seeding.stop()).await;
            neighbour.set_nonblocking(true).expect("a socket option");
            let came = neighbour.accept().map(|(_, from)| from);
            assert_eq!(came.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
            return;
        }
    }
    blocking(|| seeding.stop()).await;
}
