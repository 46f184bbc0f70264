//! One address, or many, against a seeder: what its links cost in memory, and what its requests cost an honest peer.
//!
//! ```text
//! cargo build --release && cargo run --release -p zest-benches --bin siege -- memory --seeder zest-seed
//! cargo run --release -p zest-benches --bin siege -- rate --seeder zest-serve --max-upload 20M
//! ```
//! `memory`: 2,000 idle, 30 stalled and 500 interested links, from an address for every four; resident memory (without the pages of
//! the program file, and without the cache's, which may be one segment more or less) before, at its most, and a minute after they left. `rate`: an honest peer asks for each chunk once while one attack after another runs
//! beside it from a single address, over `--links` links; its rate, the wait for one chunk on a link of its own, and CPU time of
//! the seeder per second.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use zest_benches::split_mix;
use zest_benches::transfer::process::{OwnMemory, Service};
use zest_benches::transfer::seed_data::Data;
use zest_benches::transfer::{DISCOVERY_OFF, Error, drain};
use zest_xet::{Hash, file_hash};

/// Bytes of the file, and of the cache.
const FILE_BYTES: u64 = 256 << 20;
const CACHE_BYTES: u64 = 32 << 20;
/// Links of each kind in `memory`.
const IDLE: usize = 2000;
const STALLED: usize = 30;
const INTERESTED: usize = 500;
/// Files that each of the interested names, as many as a link may follow.
const INTERESTS: u32 = 4096;
/// How long they stay, and how long after they left is looked.
const STAY: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(60);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// An attack in `rate`.
const ATTACK: Duration = Duration::from_secs(8);

struct World {
    addr: SocketAddr,
    data: Data,
    file: Hash,
    over: AtomicBool,
    /// Links of the bad ones that are up.
    up: AtomicU64,
}

fn main() -> Result<(), Error> {
    let (mut what, mut seeder, mut runtime) = (String::new(), "zest-seed".to_owned(), "auto".to_owned());
    let (mut cap, mut links, mut only) = (None, 64, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "memory" | "rate" => what = word,
            "--seeder" => seeder = value()?,
            "--runtime" => runtime = value()?,
            "--max-upload" => cap = Some(value()?),
            "--links" => links = value()?.parse()?,
            "--only" => only = Some(value()?),
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    let dir = tempfile::Builder::new().prefix("zest-siege-").tempdir()?;
    let data = Data::make(dir.path(), FILE_BYTES)?;
    let mut command = Command::new(std::env::current_exe()?.with_file_name(match seeder.as_str() {
        "zest-serve" => "zest",
        other => other,
    }));
    match seeder.as_str() {
        "zest-serve" => {
            command.args(["serve", "--listen", "127.0.0.1", "--listen-port", "0"]);
        }
        _ => {
            command.args(["--listen", "127.0.0.1:0", "--cores", "0", "--runtime", &runtime]);
        }
    }
    command.args(["--json", "-q", "--cache-mem", &CACHE_BYTES.to_string()]);
    if let Some(cap) = &cap {
        command.args(["--max-upload", cap]);
    }
    command.env_clear().env("HOME", &data.home).env("HF_HUB_OFFLINE", "1").envs(DISCOVERY_OFF);
    let service = Service::start(&mut command)?;
    let addr = service.listens()?;
    service.shares()?;
    let file = file_hash(&data.chunks);
    let world = Arc::new(World { addr, data, file, over: AtomicBool::new(false), up: AtomicU64::new(0) });
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match what.as_str() {
        "memory" => memory(&world, &service, &threads, only.as_deref()),
        "rate" => rate(&world, &service, &threads, links, only.as_deref()),
        _ => Err("memory or rate".into()),
    }
}

/// Resident memory before, meanwhile and after.
fn memory(
    world: &Arc<World>,
    service: &Service,
    threads: &tokio::runtime::Runtime,
    only: Option<&str>,
) -> Result<(), Error> {
    // Until the cache is full of what was asked for twice, and has turned over.
    (0..6).try_for_each(|_| drain::all(world.addr, &world.data.chunks, 4).map(drop))?;
    let before = service.own_memory()?.rest_bytes;
    for (kind, count) in [(Kind::Idle, IDLE), (Kind::Stalled, STALLED), (Kind::Interested, INTERESTED)] {
        if only.is_some_and(|only| format!("{kind:?}") != only) {
            continue;
        }
        for number in 0..count {
            let world = world.clone();
            threads.spawn(async move {
                while !world.over.load(Relaxed) {
                    let _shut_out = besiege(&world, kind, number).await;
                    sleep(Duration::from_secs(1)).await;
                }
            });
        }
    }
    let (start, mut most, mut links) = (Instant::now(), before, 0);
    while start.elapsed() < STAY {
        std::thread::sleep(Duration::from_millis(200));
        most = most.max(service.own_memory()?.rest_bytes);
        links = links.max(world.up.load(Relaxed));
    }
    world.over.store(true, Relaxed);
    let gone = Instant::now();
    while world.up.load(Relaxed) > 0 && gone.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(AFTER);
    let OwnMemory { cache_bytes, rest_bytes: after } = service.own_memory()?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "beside the cache of {:.1} MB ({:.1} now): before {:.1} MB, at most {:.1} MB with {links} links up: {:+.1} MB; a minute after {:.1} MB: {:+.1} MB",
        mb(CACHE_BYTES),
        mb(cache_bytes),
        mb(before),
        mb(most),
        mb(most) - mb(before),
        mb(after),
        mb(after) - mb(before)
    );
    Ok(())
}

/// An honest peer beside each attack.
fn rate(
    world: &Arc<World>,
    service: &Service,
    threads: &tokio::runtime::Runtime,
    links: usize,
    only: Option<&str>,
) -> Result<(), Error> {
    let attacks = [
        Kind::Nobody,
        Kind::Repeating,
        Kind::Fetching,
        Kind::Ranges,
        Kind::Records,
        Kind::Nothing,
        Kind::Stalled,
    ];
    println!("{:<10} {:>8} {:>9} {:>9} {:>9}", "attack", "MB/s", "p50 ms", "p99 ms", "CPU s/s");
    for kind in attacks.into_iter().filter(|kind| only.is_none_or(|only| format!("{kind:?}") == only)) {
        world.over.store(false, Relaxed);
        let bad: Vec<_> = (0..if kind == Kind::Nobody { 0 } else { links })
            .map(|number| {
                let world = world.clone();
                threads.spawn(async move {
                    while !world.over.load(Relaxed) {
                        let _shut_out = besiege(&world, kind, number).await;
                        sleep(Duration::from_millis(100)).await;
                    }
                })
            })
            .collect();
        // Until they are all there, and the seeder knows what they are.
        std::thread::sleep(Duration::from_secs(4));
        let cpu = service.cpu_s()?;
        let start = Instant::now();
        let mut waits = Vec::new();
        let fetched = threads.block_on(async {
            let fetcher = tokio::spawn(fetch(world.clone()));
            let _over = timeout(ATTACK, wait_for_one(world, &mut waits)).await;
            world.over.store(true, Relaxed);
            fetcher.await
        })??;
        let took = start.elapsed().as_secs_f64();
        waits.sort_by(f64::total_cmp);
        let at = |part: f64| waits.get((waits.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
        println!(
            "{:<10} {:>8.2} {:>9.1} {:>9.1} {:>9.2}",
            format!("{kind:?}"),
            fetched as f64 / took / 1e6,
            at(0.5),
            at(0.99),
            (service.cpu_s()? - cpu) / took
        );
        for task in bad {
            task.abort();
            let _gone = threads.block_on(task);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// An honest link, from an address of its own beside whatever attack: who asks again for what it was given has what others leave.
async fn newcomer(to: SocketAddr) -> std::io::Result<TcpStream> {
    static SO_FAR: AtomicU16 = AtomicU16::new(0);
    let number = SO_FAR.fetch_add(1, Relaxed);
    let [high, low] = number.to_be_bytes();
    hello(to, [127, 9, high, low], 900_000 + u64::from(number)).await
}

/// Asks for one chunk after another on a link of its own; how long each took, in milliseconds.
async fn wait_for_one(world: &World, waits: &mut Vec<f64>) -> std::io::Result<()> {
    let mut stream = newcomer(world.addr).await?;
    let mut answer = vec![0; 256 << 10];
    for (req, chunk) in world.data.chunks.iter().enumerate() {
        let start = Instant::now();
        stream.write_all(&request(req as u32, chunk.hash.as_bytes())).await?;
        let mut left = 15 + chunk.len as usize;
        while left > 0 {
            let most = left.min(answer.len());
            left -= stream.read(&mut answer[..most]).await?.max(1);
        }
        waits.push(start.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Each chunk once, 32 requests in flight; from a new address when it is through. The bytes that came.
async fn fetch(world: Arc<World>) -> std::io::Result<u64> {
    let (mut bytes, mut room) = (0, vec![0; 256 << 10]);
    while !world.over.load(Relaxed) {
        let mut stream = newcomer(world.addr).await?;
        let mut asked = 0;
        let mut open = std::collections::VecDeque::new();
        while !world.over.load(Relaxed) {
            let mut words = Vec::new();
            while open.len() < 32 && asked < world.data.chunks.len() {
                let chunk = world.data.chunks[asked];
                words.extend(request(asked as u32, chunk.hash.as_bytes()));
                open.push_back(15 + chunk.len as usize);
                asked += 1;
            }
            stream.write_all(&words).await?;
            let Some(first) = open.front_mut() else { break };
            let Ok(read) = timeout(Duration::from_millis(500), stream.read(&mut room)).await else {
                continue;
            };
            let mut read = read?;
            bytes += read as u64;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            // How much of which answer it was does not matter, but how many are open does.
            if *first > read {
                *first -= read;
                continue;
            }
            while let Some(first) = open.front_mut() {
                if *first > read {
                    *first -= read;
                    break;
                }
                read -= *first;
                open.pop_front();
            }
        }
    }
    Ok(bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// None at all.
    Nobody,
    /// Says nothing.
    Idle,
    /// Asks for 500 chunks and reads nothing.
    Stalled,
    /// Names as many files as it may.
    Interested,
    /// The same fifty chunks, again and again.
    Repeating,
    /// Each chunk once, as an honest peer does, and then again.
    Fetching,
    /// Ranges of xorbs that do not exist, in the dialect of zest 0.4.
    Ranges,
    /// A list, one record at a time.
    Records,
    /// Chunks that do not exist.
    Nothing,
}

async fn besiege(world: &World, kind: Kind, number: usize) -> std::io::Result<()> {
    let from = match kind {
        Kind::Idle | Kind::Interested => {
            let party = number / 4;
            [127, 1 + u8::from(kind == Kind::Idle), (party / 250) as u8, 1 + (party % 250) as u8]
        }
        _ => [127, 0, kind as u8, 3],
    };
    let mut stream = hello(world.addr, from, number as u64 + 10_000 * (1 + kind as u64)).await?;
    world.up.fetch_add(1, Relaxed);
    let end = stay(world, kind, number, &mut stream).await;
    world.up.fetch_sub(1, Relaxed);
    end
}

async fn stay(world: &World, kind: Kind, number: usize, stream: &mut TcpStream) -> std::io::Result<()> {
    let mut state = number as u64;
    let chunks = &world.data.chunks;
    let mut next = number;
    let mut one = |req: u32| match kind {
        Kind::Nobody | Kind::Idle => vec![],
        Kind::Interested => {
            let mut hash = [0_u8; 32];
            hash[..8].copy_from_slice(&split_mix(&mut state).to_le_bytes());
            [&[0, 0, 0, 35, 20, 3, 4][..], &hash].concat()
        }
        Kind::Stalled | Kind::Fetching => {
            next = (next + 61) % chunks.len();
            request(req, chunks[next].hash.as_bytes())
        }
        Kind::Repeating => request(req, chunks[req as usize % 50].hash.as_bytes()),
        Kind::Nothing => {
            let mut hash = [0_u8; 32];
            hash[..8].copy_from_slice(&split_mix(&mut state).to_le_bytes());
            request(req, &hash)
        }
        Kind::Ranges => {
            let mut xorb = [0_u8; 32];
            xorb[..8].copy_from_slice(&split_mix(&mut state).to_le_bytes());
            [&[0, 0, 0, 47, 20, 1, 1][..], &req.to_be_bytes(), &xorb, &[0, 0, 0, 0, 0, 0, 0, 1]].concat()
        }
        Kind::Records => {
            let file = world.file;
            let first = (split_mix(&mut state) % chunks.len() as u64) as u32;
            [
                &[0, 0, 0, 47, 20, 3, 1][..],
                &req.to_be_bytes(),
                file.as_bytes(),
                &first.to_be_bytes(),
                &1_u32.to_be_bytes(),
            ]
            .concat()
        }
    };
    let (batch, all) = match kind {
        Kind::Interested => (INTERESTS, INTERESTS),
        Kind::Stalled => (500, 500),
        Kind::Idle | Kind::Nobody => (0, 0),
        Kind::Repeating | Kind::Fetching => (32, u32::MAX),
        Kind::Ranges | Kind::Records | Kind::Nothing => (256, u32::MAX),
    };
    let mut said = 0;
    let mut room = vec![0; 64 << 10];
    while !world.over.load(Relaxed) {
        if said < all {
            let words: Vec<u8> = (said..said.saturating_add(batch).min(all)).flat_map(&mut one).collect();
            said = said.saturating_add(batch).min(all);
            let _full = timeout(Duration::from_secs(1), stream.write_all(&words)).await;
        }
        if kind == Kind::Stalled {
            sleep(Duration::from_millis(200)).await;
        } else {
            // What comes is thrown away; who asks for data waits for a batch of it.
            let mut want = if matches!(kind, Kind::Repeating | Kind::Fetching) { (32 * 64) << 10 } else { 1 };
            while want > 0 {
                match timeout(Duration::from_millis(200), stream.read(&mut room)).await {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(bytes)) => want -= want.min(bytes),
                    Ok(Err(error)) => return Err(error),
                    Err(_) if world.over.load(Relaxed) || want == 1 => break,
                    Err(_) => {}
                }
            }
        }
    }
    Ok(())
}

async fn hello(addr: SocketAddr, from: [u8; 4], number: u64) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((from, 0).into())?;
    let mut stream = timeout(PATIENCE, socket.connect(addr)).await??;
    stream.set_nodelay(true)?;
    let mut ours = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    ours.extend_from_slice(&[7; 20]);
    ours.extend_from_slice(format!("-SG0100-{number:012}").as_bytes());
    let dict = b"d1:md6:ut_xeti7e4:zesti9ee1:pi0e1:v5:siegee";
    ours.extend_from_slice(&(dict.len() as u32 + 2).to_be_bytes());
    ours.extend_from_slice(&[20, 0]);
    ours.extend_from_slice(dict);
    stream.write_all(&ours).await?;
    timeout(PATIENCE, stream.read_exact(&mut [0; 68])).await??;
    // Its extension handshake: a length and so much.
    let length = timeout(PATIENCE, stream.read_u32()).await??;
    let mut rest = vec![0; length.min(4096) as usize];
    timeout(PATIENCE, stream.read_exact(&mut rest)).await??;
    Ok(stream)
}

fn request(req: u32, hash: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 39, 20, 1, 1][..], &req.to_be_bytes(), hash].concat()
}
