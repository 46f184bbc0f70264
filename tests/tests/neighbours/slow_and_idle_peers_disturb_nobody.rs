//! Peers that do not read, and connections that do nothing, cost others nothing.

use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::in_time;
use zest_tests::speak::{self, DICT_ORIGINAL, DICT_ZEST, UT_XET};
use zest_tests::{Kind, Machine, Site, noise};

async fn seeder(kind: Kind, bytes: usize) -> (Site, Arc<Known>, Machine) {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(87, bytes)));
    site.add("org/model", "model.safetensors", &known.bytes);
    let machine = Machine::new(&site.open().await).await;
    machine.pull_from("org/model", &[]).await.expect("the pull");
    (site, known, machine.seed_on(kind).await)
}

fn ask(known: &Known, index: u32) -> Vec<u8> {
    let hash = known.manifest.chunk(index).hash;
    speak::ext(UT_XET, &[&[1][..], &index.to_be_bytes(), hash.as_bytes()].concat())
}

async fn a_peer_that_asks_for_much_and_reads_nothing_disturbs_nobody(kind: Kind) {
    let (_site, known, machine) = seeder(kind, 2_000_000).await;
    let chunks = known.manifest.len();
    let mut slow = Caller::dial(&machine.address(), b"-SC0100-slow00000000", DICT_ZEST).await;
    let all: Vec<u8> = (0..chunks).flat_map(|index| ask(&known, index)).collect();
    // As many requests as may wait here at once.
    let rounds = zest_core::link::OUTSTANDING_MAX / chunks as usize;
    slow.send(&all.repeat(rounds)).await;

    let mut quick = Caller::dial(&machine.address(), b"-SC0100-quick0000000", DICT_ZEST).await;
    for index in 0..chunks {
        quick.send(&ask(&known, index)).await;
        let (_, body) = in_time(quick.message()).await.expect("an answer");
        assert_eq!(&body[9..], known.chunk(&known.manifest.chunk(index).hash).expect("its chunk"));
    }
    // The slow one finds everything in order when it wakes up.
    for n in 0..rounds as u32 * chunks {
        let (_, body) = in_time(slow.message()).await.expect("an answer");
        let index = n % chunks;
        assert_eq!(body[1..5], index.to_be_bytes(), "in the order of the requests");
        assert!(body[9..] == *known.chunk(&known.manifest.chunk(index).hash).expect("its chunk"));
    }
}

async fn whole_xorbs_asked_for_by_the_hundred_are_not_all_queued(kind: Kind) {
    let (site, known, machine) = seeder(kind, 2_000_000).await;
    let (xorbs, _) = zest_tests::known::xorbs_of(&site, "org/model", &known).await;
    let xorb = &xorbs[0];
    let end = xorb.chunks.len() as u32;
    let one = [&[1, 0, 0, 0, 1][..], xorb.hash.as_bytes(), &0u32.to_be_bytes(), &end.to_be_bytes()].concat();
    let mut greedy = Caller::dial(&machine.address(), b"-ZE0200-greedy000000", DICT_ORIGINAL).await;
    let asked = 300;
    greedy.send(&speak::ext(UT_XET, &one).repeat(asked)).await;
    let (mut served, mut refused) = (0, 0);
    for _ in 0..asked {
        let (_, body) = in_time(greedy.message()).await.expect("every request is answered");
        match body[0] {
            2 => served += 1,
            3 => refused += 1,
            other => panic!("type {other}"),
        }
    }
    match kind {
        Kind::Tokio => assert!(served > 0 && refused > 0, "{served} served, {refused} refused"),
        // One after the other: the rest waits in the socket.
        Kind::Glommio => assert_eq!((served, refused), (asked, 0)),
    }
}

async fn connections_that_never_shake_hands_make_room_for_those_that_do(kind: Kind) {
    let (_site, known, machine) = seeder(kind, 300_000).await;
    // Both ends live in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).expect("the soft limit may rise");
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(machine.address()).await.expect("the system accepts"));
    }
    let mut honest = Caller::dial(&machine.address(), b"-SC0100-honest000000", DICT_ZEST).await;
    honest.send(&ask(&known, 0)).await;
    let (_, body) = in_time(honest.message()).await.expect("an answer");
    assert_eq!(&body[9..], known.chunk(&known.manifest.chunk(0).hash).expect("its chunk"));
    // The oldest were closed, the youngest may still speak.
    let mut byte = [0; 1];
    let first = in_time(tokio::io::AsyncReadExt::read(&mut idle[0], &mut byte)).await;
    assert!(matches!(first, Ok(0) | Err(_)), "closed");
    let last = idle.last_mut().expect("600 of them");
    tokio::io::AsyncWriteExt::write_all(last, &speak::handshake([7; 20], *b"-SC0100-late00000000"))
        .await
        .expect("open");
    let answer = in_time(tokio::io::AsyncReadExt::read(last, &mut byte)).await;
    assert!(matches!(answer, Ok(1)), "a handshake comes back");
}

/// A connection from another address of this machine that has shaken hands.
async fn stranger(machine: &Machine, id: [u8; 20]) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("all of 127/8 is this machine");
    let to = machine.address().parse().expect("an address");
    let mut stream = socket.connect(to).await.expect("the system accepts");
    stream.write_all(&speak::handshake([7; 20], id)).await.expect("open");
    let mut answer = [0; 68];
    // The last of many may be turned away.
    let _turned_away = in_time(stream.read_exact(&mut answer)).await;
    stream
}

/// As many as a seeder takes, all shaken hands and then silent, from one address.
async fn idle_links_of_one_address_shut_nobody_out(kind: Kind) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let (_site, known, machine) = seeder(kind, 300_000).await;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).expect("the soft limit may rise");
    let mut idle = Vec::new();
    for n in 0..600 {
        let id = format!("-SC0100-{n:012}");
        idle.push(stranger(&machine, id.as_bytes().try_into().expect("20 bytes")).await);
    }
    let mut honest = Caller::dial(&machine.address(), b"-SC0100-honest000000", DICT_ZEST).await;
    honest.send(&ask(&known, 0)).await;
    let (_, body) = in_time(honest.message()).await.expect("an answer");
    assert_eq!(&body[9..], known.chunk(&known.manifest.chunk(0).hash).expect("its chunk"));
}

async fn an_id_that_somebody_else_said_first_keeps_nobody_out(kind: Kind) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let (_site, known, machine) = seeder(kind, 300_000).await;
    let id = b"-SC0100-honest000000";
    let _squatter = stranger(&machine, *id).await;
    let mut honest = Caller::dial(&machine.address(), id, DICT_ZEST).await;
    honest.send(&ask(&known, 0)).await;
    let (_, body) = in_time(honest.message()).await.expect("an answer");
    assert_eq!(&body[9..], known.chunk(&known.manifest.chunk(0).hash).expect("its chunk"));
}

zest_tests::on_every_runtime!(
    idle_links_of_one_address_shut_nobody_out,
    an_id_that_somebody_else_said_first_keeps_nobody_out,
    a_peer_that_asks_for_much_and_reads_nothing_disturbs_nobody,
    whole_xorbs_asked_for_by_the_hundred_are_not_all_queued,
    connections_that_never_shake_hands_make_room_for_those_that_do,
);
