//! What a peer sees of a seeder, right and wrong, whatever drives it: one list of behaviours, run on every runtime. (What
//! zest 0.4 sees, what happens to changed files, and slow peers have lists of their own.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::in_time;
use zest_tests::speak::{self, DICT_PLAIN, DICT_ZEST, THEIR_XET, THEIR_ZEST, UT_XET, ZEST};
use zest_tests::{Kind, Machine, Site, noise};
use zest_xet::Hash;

struct World {
    _site: Site,
    known: Arc<Known>,
    machine: Machine,
}

async fn world(kind: Kind, bytes: usize) -> World {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(91, bytes)));
    site.add("org/model", "model.safetensors", &known.bytes);
    let machine = Machine::new(&site.open().await).await;
    machine.pull_from("org/model", &[]).await.expect("the pull");
    World { _site: site, known, machine: machine.seed_on(kind).await }
}

impl World {
    async fn caller(&self, number: u32) -> Caller {
        let id = format!("-SC0100-{number:012}");
        let id = id.as_bytes().try_into().expect("20 bytes");
        Caller::dial(&self.machine.address(), id, DICT_ZEST).await
    }

    async fn socket(&self) -> TcpStream {
        let addr: SocketAddr = self.machine.address().parse().expect("an address");
        TcpStream::connect(addr).await.expect("it accepts")
    }

    fn hash(&self, index: u32) -> Hash {
        self.known.manifest.chunk(index).hash
    }

    fn ask(&self, req: u32, index: u32) -> Vec<u8> {
        chunk_request(req, &self.hash(index))
    }

    fn is_chunk(&self, body: &[u8], req: u32, index: u32) -> bool {
        let chunk = self.known.chunk(&self.hash(index)).expect("its chunk");
        body[0] == 2
            && body[1..5] == req.to_be_bytes()
            && body[5..9] == (chunk.len() as u32).to_be_bytes()
            && body[9..] == *chunk
    }

    /// Somebody else gets what it asks for.
    async fn serves_others(&self, number: u32) {
        let mut caller = self.caller(number).await;
        caller.send(&self.ask(5, 0)).await;
        let (_, body) = in_time(caller.message()).await.expect("an answer");
        assert!(self.is_chunk(&body, 5, 0));
    }
}

fn chunk_request(req: u32, hash: &Hash) -> Vec<u8> {
    speak::ext(UT_XET, &[&[1][..], &req.to_be_bytes(), hash.as_bytes()].concat())
}

/// Reads to the end; what came before it.
async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset ends it as well.
    let _reset = in_time(stream.read_to_end(&mut all)).await;
    all
}

async fn opening_says_who_it_is_and_what_it_speaks(kind: Kind) {
    let world = world(kind, 200_000).await;
    let mut caller = world.caller(1).await;
    assert_eq!(caller.handshake[..20], *b"\x13BitTorrent protocol");
    assert_eq!(caller.handshake[25] & 0x10, 0x10, "BEP 10");
    assert_eq!(caller.handshake[28..48], [7; 20], "the info-hash is echoed");
    assert_eq!(caller.handshake[48..56], *b"-ZT0500-");
    let ext = in_time(caller.frame()).await.expect("the extension handshake comes first");
    assert_eq!(ext[..2], [20, 0]);
    let dict = String::from_utf8_lossy(&ext);
    for word in ["1:m", "6:ut_xeti1e", "4:zesti3e", "4:reqq", "1:v"] {
        assert!(dict.contains(word), "{word} in {dict}");
    }
    assert_eq!(in_time(caller.frame()).await.as_deref(), Some(&[1][..]), "unchoke");
    assert_eq!(in_time(caller.frame()).await.as_deref(), Some(&[2][..]), "interested");
}

async fn every_chunk_is_given_in_every_layout(kind: Kind) {
    let world = world(kind, 1_500_000).await;
    let mut caller = world.caller(1).await;
    for index in 0..world.known.manifest.len() {
        caller.send(&world.ask(index + 100, index)).await;
        let (id, body) = in_time(caller.message()).await.expect("an answer");
        assert_eq!(id, THEIR_XET);
        assert!(world.is_chunk(&body, index + 100, index), "37 bytes, chunk {index}");
        // The documented layout has no request id.
        let hash = world.hash(index);
        caller.send(&speak::ext(UT_XET, &[&[1][..], hash.as_bytes()].concat())).await;
        let (_, body) = in_time(caller.message()).await.expect("an answer");
        let chunk = world.known.chunk(&hash).expect("its chunk");
        assert_eq!(body[..1], [2]);
        assert_eq!(body[1..33], *hash.as_bytes());
        assert_eq!(body[33..37], (chunk.len() as u32).to_be_bytes());
        assert!(body[37..] == *chunk, "33 bytes, chunk {index}");
    }
}

async fn what_is_not_here_is_said_to_be_not_here_in_the_layout_it_was_asked_in(kind: Kind) {
    let world = world(kind, 100_000).await;
    let mut caller = world.caller(1).await;
    let nobody = [0xee; 32];
    let questions = [
        ([&[1, 0, 0, 0, 9][..], &nobody].concat(), vec![3, 0, 0, 0, 9]),
        ([&[1][..], &nobody].concat(), [&[3][..], &nobody].concat()),
        ([&[1, 0, 0, 0, 9][..], &nobody, &[0; 7], &[1]].concat(), [&[3, 0, 0, 0, 9][..], &nobody].concat()),
    ];
    for (question, answer) in questions {
        caller.send(&speak::ext(UT_XET, &question)).await;
        assert_eq!(in_time(caller.message()).await, Some((THEIR_XET, answer)), "{} bytes", question.len());
    }
}

async fn a_manifest_is_given_in_parts_and_whole(kind: Kind) {
    let world = world(kind, 2_000_000).await;
    let mut caller = world.caller(1).await;
    let (file, total) = (world.known.file(), world.known.manifest.len());
    let request = |req: u32, file: &[u8], first: u32, count: u32| {
        let body = [&[1][..], &req.to_be_bytes(), file, &first.to_be_bytes(), &count.to_be_bytes()].concat();
        speak::ext(ZEST, &body)
    };
    for (first, count, gives) in [(0, total, total), (0, u32::MAX, total), (3, 4, 4), (total - 1, 9, 1)] {
        caller.send(&request(7, file.as_bytes(), first, count)).await;
        let (id, body) = in_time(caller.message()).await.expect("an answer");
        let want = speak::manifest(&world.known, 7, first, gives);
        assert_eq!(id, THEIR_ZEST);
        assert!(body == want[6..], "{first}+{count}");
    }
    for (file, first, count) in [([0xee; 32], 0, 1), (*file.as_bytes(), total, 1), (*file.as_bytes(), 0, 0)] {
        caller.send(&request(8, &file, first, count)).await;
        assert_eq!(
            in_time(caller.message()).await,
            Some((THEIR_ZEST, vec![3, 0, 0, 0, 8])),
            "{first}+{count}"
        );
    }
}

async fn availability_tells_all_or_nothing(kind: Kind) {
    let world = world(kind, 300_000).await;
    let mut caller = world.caller(1).await;
    let (file, total) = (world.known.file(), world.known.manifest.len());
    for (file, total, runs) in [(file, total, vec![(0, total)]), (Hash::from_bytes([0xee; 32]), 0, vec![])] {
        caller.send(&speak::ext(ZEST, &[&[4][..], file.as_bytes()].concat())).await;
        let (id, body) = in_time(caller.message()).await.expect("an answer");
        let want = speak::have(&file, total, &runs);
        assert_eq!((id, &body[..]), (THEIR_ZEST, &want[6..]));
    }
    // A peer without our extension hears nothing of it.
    let mut plain = Caller::dial(&world.machine.address(), b"-SC0100-plain0000000", DICT_PLAIN).await;
    plain.send(&speak::ext(ZEST, &[&[4][..], file.as_bytes()].concat())).await;
    plain.send(&world.ask(1, 0)).await;
    let (_, body) = in_time(plain.message()).await.expect("an answer");
    assert!(world.is_chunk(&body, 1, 0), "the chunk is the first answer");
}

async fn a_thousand_requests_in_one_write_are_given_or_refused_by_name(kind: Kind) {
    let world = world(kind, 1_000_000).await;
    let mut caller = world.caller(1).await;
    let chunks = world.known.manifest.len();
    let all: Vec<u8> = (0..1000).flat_map(|req| world.ask(req, req * 7 % chunks)).collect();
    caller.send(&all).await;
    // As many as our handshake allows are answered with the chunk, in order; of what is beyond them, some may be refused.
    let (mut given, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        let (_, body) = in_time(caller.message()).await.expect("an answer");
        let req = u32::from_be_bytes(body[1..5].try_into().expect("4 bytes"));
        if body[0] == 4 {
            assert_eq!(body[5..9], 1_u32.to_be_bytes());
            assert_eq!(&body[9..], b"more than 512 requests wait for an answer");
            refused.push(req);
        } else {
            assert!(world.is_chunk(&body, req, req * 7 % chunks), "request {req}");
            given.push(req);
        }
    }
    assert!(given.is_sorted() && given.len() >= 512 && given[..512].iter().copied().eq(0..512));
    let mut all = [given, refused].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1000), "each is answered once");
}

async fn one_byte_per_segment_is_enough(kind: Kind) {
    let world = world(kind, 200_000).await;
    let mut stream = world.socket().await;
    stream.set_nodelay(true).expect("a TCP option");
    let opening = [
        speak::handshake([7; 20], *b"-SC0100-drip00000000"),
        speak::ext(0, DICT_ZEST),
        world.ask(1, 0),
        world.ask(2, 1),
    ];
    for byte in opening.concat() {
        stream.write_all(&[byte]).await.expect("open");
        tokio::task::yield_now().await;
    }
    let mut caller = Caller::over(stream).await;
    for (req, index) in [(1, 0), (2, 1)] {
        let (_, body) = in_time(caller.message()).await.expect("an answer");
        assert!(world.is_chunk(&body, req, index));
    }
}

async fn peers_that_reset_in_the_middle_leave_nothing_behind(kind: Kind) {
    let world = world(kind, 1_000_000).await;
    let chunks = world.known.manifest.len();
    for number in 0..20 {
        let mut caller = world.caller(number).await;
        let all: Vec<u8> = (0..200).flat_map(|req| world.ask(req, req % chunks)).collect();
        caller.send(&all).await;
        assert!(in_time(caller.message()).await.is_some());
        rustix::net::sockopt::set_socket_linger(&caller.stream, Some(Duration::ZERO)).expect("a TCP option");
    }
    // The same peer ids are welcome again once their links are gone.
    for number in 0..20 {
        world.serves_others(number + 100).await;
    }
}

async fn a_peer_that_closes_its_half_is_answered_or_let_go(kind: Kind) {
    let world = world(kind, 400_000).await;
    let mut caller = world.caller(1).await;
    caller.send(&world.ask(1, 0)).await;
    caller.stream.shutdown().await.expect("open");
    while let Some((_, body)) = in_time(caller.message()).await {
        assert!(world.is_chunk(&body, 1, 0));
    }
    world.serves_others(2).await;
}

async fn what_breaks_the_protocol_is_cut_off(kind: Kind) {
    let world = world(kind, 100_000).await;
    let shake = |name: &[u8; 20]| speak::handshake([7; 20], *name);
    let mut no_bep10 = shake(b"-SC0100-nobep1000000");
    no_bep10[25] = 0;
    let bad: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n".repeat(4),
        [&[19][..], b"BitTorrent protocoL", &[0; 48]].concat(),
        no_bep10,
        [shake(b"-SC0100-toolong00000"), u32::MAX.to_be_bytes().to_vec()].concat(),
        [shake(b"-SC0100-notadict0000"), speak::ext(0, b"hello")].concat(),
        [shake(b"-SC0100-unasked00000"), speak::ext(0, DICT_ZEST), speak::chunk(7, &[1; 100])].concat(),
        [shake(b"-SC0100-slot00000000"), speak::ext(0, DICT_ZEST), speak::ext(ZEST, &[8, 7, 0, 0])].concat(),
    ];
    for (number, bytes) in bad.iter().enumerate() {
        let mut stream = world.socket().await;
        stream.write_all(bytes).await.expect("open");
        let before = to_the_end(&mut stream).await;
        assert!(before.len() < 1000, "{number}: {} bytes came", before.len());
    }
}

async fn frames_that_mean_nothing_are_passed_over(kind: Kind) {
    let world = world(kind, 100_000).await;
    let mut caller = world.caller(1).await;
    for id in (4..=19).chain([200]) {
        caller.send(&speak::frame(id, &[0; 9])).await;
    }
    caller.send(&[0; 4]).await;
    caller.send(&speak::ext(UT_XET, &[99, 1, 2, 3])).await;
    caller.send(&speak::ext(77, &[1, 2, 3])).await;
    caller.send(&world.ask(3, 0)).await;
    let (_, body) = in_time(caller.message()).await.expect("an answer");
    assert!(world.is_chunk(&body, 3, 0));
}

async fn a_second_link_of_the_same_peer_is_closed(kind: Kind) {
    let world = world(kind, 100_000).await;
    let mut first = world.caller(1).await;
    first.send(&world.ask(1, 0)).await;
    assert!(in_time(first.message()).await.is_some());
    let mut second = world.socket().await;
    second.write_all(&speak::handshake([7; 20], *b"-SC0100-000000000001")).await.expect("open");
    let came = to_the_end(&mut second).await;
    assert!(came.len() < 1000, "{} bytes", came.len());
    first.send(&world.ask(2, 0)).await;
    assert!(in_time(first.message()).await.is_some(), "the first goes on");
}

async fn a_shutdown_ends_every_link(kind: Kind) {
    let world = world(kind, 500_000).await;
    let mut idle = world.caller(1).await;
    idle.send(&world.ask(1, 0)).await;
    assert!(in_time(idle.message()).await.is_some());
    let mut stranger = world.socket().await;
    let World { machine, .. } = world;
    machine.shut_down().await;
    while in_time(idle.frame()).await.is_some() {}
    assert!(to_the_end(&mut stranger).await.is_empty());
}

zest_tests::on_every_runtime!(
    opening_says_who_it_is_and_what_it_speaks,
    every_chunk_is_given_in_every_layout,
    what_is_not_here_is_said_to_be_not_here_in_the_layout_it_was_asked_in,
    a_manifest_is_given_in_parts_and_whole,
    availability_tells_all_or_nothing,
    a_thousand_requests_in_one_write_are_given_or_refused_by_name,
    one_byte_per_segment_is_enough,
    peers_that_reset_in_the_middle_leave_nothing_behind,
    a_peer_that_closes_its_half_is_answered_or_let_go,
    what_breaks_the_protocol_is_cut_off,
    frames_that_mean_nothing_are_passed_over,
    a_second_link_of_the_same_peer_is_closed,
    a_shutdown_ends_every_link,
);
