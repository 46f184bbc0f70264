//! Peers that ask and do not read, connections that do nothing, descriptors that run out: `zest-seed` stays small and
//! goes on serving others.

use crate::common::{Server, folder, hub, seed_command, shake_hands};
use crate::seed_box_takes_another_runtime_where_io_uring_is_refused::uring_is_here;
use crate::serve_gives_a_neighbour_what_hub_gave_us::{make_repository, pull};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use zest_store::{Access, Catalog};

/// What a core may take beside its cache and its connections: 16 MB.
const CORE_BYTES: u64 = 16_000_000;
/// What a connection that is being answered may take: 64 KiB.
const BUSY_LINK_BYTES: u64 = 64 << 10;
/// What an idle connection may take: 8 KiB.
const IDLE_LINK_BYTES: u64 = 8 << 10;

struct World {
    seed: Server,
    peer: String,
    /// Hash and length of each chunk.
    chunks: Vec<([u8; 32], usize)>,
    _here: tempfile::TempDir,
}

fn world(descriptors: u32) -> World {
    let (root, here) = (folder(), folder());
    make_repository(root.path());
    let (hub, endpoint) = hub(here.path(), root.path());
    pull(here.path(), &endpoint, &[]);
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--runtime",
        "glommio",
        "--cores",
        "0",
        "--cache-mem",
        "0",
        "--json",
        "-q",
    ];
    let inner = seed_command(here.path(), &arguments);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {descriptors} && exec \"$@\""), "sh"]);
    shell.arg(inner.get_program()).args(inner.get_args());
    shell.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("HF_ENDPOINT", &endpoint).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut seed = Server::start(&mut shell);
    let peer = seed.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    assert_eq!(seed.event_among("indexed")["files_shared"], 1);
    assert_eq!(hub.stop(), Some(0));
    let chunks = chunks(&here.path().join(".cache/zest"));
    World { seed, peer, chunks, _here: here }
}

fn chunks(cache: &Path) -> Vec<([u8; 32], usize)> {
    let catalog = Catalog::open(cache).expect("a catalog");
    let file = catalog.files()[0].file;
    let manifest = catalog.load_manifest(&file, Access::Own).expect("its list");
    manifest.chunks().iter().map(|chunk| (*chunk.hash.as_bytes(), chunk.len as usize)).collect()
}

impl World {
    fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.seed.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
    }

    /// A peer that has shaken hands.
    fn peer(&self, number: usize) -> TcpStream {
        let mut stream = shake_hands(&self.peer, number);
        for _ in 0..3 {
            frame(&mut stream);
        }
        stream
    }

    fn ask(&self, index: usize) -> Vec<u8> {
        let mut request = vec![0, 0, 0, 39, 20, 1, 1];
        request.extend_from_slice(&(index as u32).to_be_bytes());
        request.extend_from_slice(&self.chunks[index].0);
        request
    }

    /// Fetches every chunk, one by one.
    fn is_served(&self, stream: &mut TcpStream) {
        for index in 0..self.chunks.len() {
            stream.write_all(&self.ask(index)).expect("open");
            let answer = frame(stream);
            assert_eq!(answer[..3], [20, 7, 2]);
            assert_eq!(answer[3..7], (index as u32).to_be_bytes());
            assert_eq!(answer.len() - 11, self.chunks[index].1);
        }
    }
}

fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("a frame");
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut frame).expect("a whole frame");
    frame
}

fn many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("the soft limit may rise");
}

#[test]
fn thirty_peers_that_ask_for_64_mib_each_and_do_not_read() {
    if !uring_is_here() {
        return;
    }
    let world = world(4096);
    let mut honest = world.peer(0);
    world.is_served(&mut honest);
    let before = world.rss();
    let slow: Vec<TcpStream> = (1..=30)
        .map(|number| {
            let mut stream = world.peer(number);
            let asks: Vec<u8> = (0..1024).flat_map(|n| world.ask(n % world.chunks.len())).collect();
            stream.write_all(&asks).expect("the requests fit the socket");
            stream
        })
        .collect();
    // Others are served as before, again and again.
    for _ in 0..5 {
        world.is_served(&mut honest);
    }
    let grown = world.rss().saturating_sub(before);
    println!("RSS {before} + {grown}");
    assert!(grown <= CORE_BYTES + 30 * BUSY_LINK_BYTES, "RSS grew by {grown}");
    drop(slow);
    world.is_served(&mut honest);
    assert_eq!(world.seed.stop(), Some(0));
}

#[test]
fn two_thousand_connections_that_do_nothing() {
    if !uring_is_here() {
        return;
    }
    many_descriptors();
    let world = world(8192);
    let mut honest = world.peer(0);
    world.is_served(&mut honest);
    let before = world.rss();
    let idle: Vec<TcpStream> = (1..=2000).map(|number| world.peer(number)).collect();
    let grown = world.rss().saturating_sub(before);
    println!("RSS {before} + {grown}: {} for each", grown / 2000);
    assert!(grown <= 2000 * IDLE_LINK_BYTES, "{} bytes for each", grown / 2000);
    world.is_served(&mut honest);
    drop(idle);
    // The same again takes the same memory again.
    let idle: Vec<TcpStream> = (3001..=5000).map(|number| world.peer(number)).collect();
    let again = world.rss().saturating_sub(before);
    println!("again: {}", again / 2000);
    assert!(again <= 2000 * IDLE_LINK_BYTES + (1 << 20), "{} bytes for each", again / 2000);
    drop(idle);
    assert_eq!(world.seed.stop(), Some(0));
}

#[test]
fn descriptors_that_run_out() {
    if !uring_is_here() {
        return;
    }
    let world = world(96);
    let mut honest = world.peer(0);
    world.is_served(&mut honest);
    let crowd: Vec<TcpStream> = (0..200)
        .map(|_| {
            let stream = TcpStream::connect(&world.peer).expect("the system queues it");
            stream.set_nonblocking(true).expect("a TCP option");
            stream
        })
        .collect();
    world.is_served(&mut honest);
    // Strangers make room for strangers, so that a newcomer who speaks is heard sooner or later.
    let mut newcomer = world.peer(1);
    world.is_served(&mut newcomer);
    let closed = crowd.iter().filter(|stream| {
        let mut byte = [0];
        !matches!((&**stream).read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    assert!(closed.count() > 0, "somebody made room");
    assert_eq!(world.seed.stop(), Some(0));
}
