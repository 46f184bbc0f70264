//! A seeder under clients that come and go, ask and do not read, and break the rules, for minutes on end.
//!
//! ```text
//! cargo build --release && cargo run --release -p zest-benches --bin soak -- --minutes 10
//! ```
//! One client fetches without a pause and proves a sample; its rate is the throughput. Beside it others connect, ask and
//! vanish, some never read, some send what no peer may send, a hundred do nothing. Memory, descriptors and throughput are
//! looked at every five seconds; at the end their slopes are printed, and the exit code is 1 if memory or descriptors grew.
//! The bad ones come from loopback addresses of their own, since the seeder shuts such addresses out.

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use zest_benches::split_mix;
use zest_benches::transfer::process::Service;
use zest_benches::transfer::seed_data::Data;
use zest_benches::transfer::{DISCOVERY_OFF, Error, drain};

/// Bytes of the file, and of the cache: a quarter of it, so that disk and cache both work.
const FILE_BYTES: u64 = 256 << 20;
const CACHE_BYTES: u64 = 64 << 20;
/// Time between two looks: 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is seen before this does not count: 60 s, until the cache is full and every kind of client has come.
const WARM_UP: Duration = Duration::from_secs(60);
/// Clients of each kind at once.
const CHURNING: usize = 8;
const STALLING: usize = 24;
const HOSTILE: usize = 8;
const IDLE: usize = 100;
/// Connections of the client whose rate counts, and bytes of one of its rounds.
const HONEST: usize = 4;
const ROUND_BYTES: u64 = 100_000_000;
/// Longest wait of a bad client for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Growth of memory over the whole time that passes: 4 MiB, what an allocator moves by itself.
const GROWTH_BYTES: f64 = 4_194_304.0;

/// What everybody shares.
struct World {
    addr: SocketAddr,
    hashes: Vec<[u8; 32]>,
    over: AtomicBool,
    honest_bytes: AtomicU64,
    visits: AtomicU64,
}

struct Look {
    at_s: f64,
    rss: f64,
    descriptors: f64,
    bytes: u64,
}

fn main() -> Result<ExitCode, Error> {
    let (mut minutes, mut runtime) = (10.0_f64, "glommio".to_owned());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--minutes" => minutes = value()?.parse()?,
            "--runtime" => runtime = value()?,
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    let dir = tempfile::Builder::new().prefix("zest-soak-").tempdir()?;
    let data = Data::make(dir.path(), FILE_BYTES)?;
    let mut command = Command::new(std::env::current_exe()?.with_file_name("zest-seed"));
    command.args(["--listen", "127.0.0.1:0", "--json", "-q", "--cores", "0", "--runtime", &runtime]);
    command.args(["--cache-mem", &CACHE_BYTES.to_string()]);
    command.env_clear().env("HOME", &data.home).env("HF_HUB_OFFLINE", "1");
    command.envs(DISCOVERY_OFF);
    let seeder = Service::start(&mut command)?;
    let addr = seeder.listens()?;
    seeder.shares()?;
    let world = Arc::new(World {
        addr,
        hashes: data.chunks.iter().map(|chunk| *chunk.hash.as_bytes()).collect(),
        over: AtomicBool::new(false),
        honest_bytes: AtomicU64::new(0),
        visits: AtomicU64::new(0),
    });
    let before = descriptors(seeder.id())?;
    let looks = std::thread::scope(|scope| {
        let bad = scope.spawn(|| bad_company(&world));
        let honest = scope.spawn(|| honest(&world, &data));
        let looks = watch(&world, &seeder, Duration::from_secs_f64(minutes * 60.0));
        world.over.store(true, Relaxed);
        bad.join().map_err(|_| "a bad client panicked")??;
        honest.join().map_err(|_| "the honest client panicked")??;
        looks
    })?;
    // Those who went are noticed, and their descriptors given back.
    let mut after = descriptors(seeder.id())?;
    for _ in 0..100 {
        if after <= before {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        after = descriptors(seeder.id())?;
    }
    Ok(tell(&looks, before, after, world.visits.load(Relaxed)))
}

/// Looks now and then until the time is over.
fn watch(world: &World, seeder: &Service, time: Duration) -> Result<Vec<Look>, Error> {
    let start = Instant::now();
    let mut looks = Vec::new();
    while start.elapsed() < time {
        std::thread::sleep(LOOK_EVERY);
        let bytes = world.honest_bytes.swap(0, Relaxed);
        let (rss, descriptors) = (seeder.rss_bytes()? as f64, descriptors(seeder.id())? as f64);
        let at_s = start.elapsed().as_secs_f64();
        println!(
            "{at_s:.0} s: {:.1} MB, {descriptors} descriptors, {:.0} MB/s",
            rss / 1e6,
            rate(bytes) / 1e6
        );
        if start.elapsed() > WARM_UP.min(time / 2) {
            looks.push(Look { at_s, rss, descriptors, bytes });
        }
    }
    Ok(looks)
}

fn rate(bytes: u64) -> f64 {
    bytes as f64 / LOOK_EVERY.as_secs_f64()
}

fn tell(looks: &[Look], before: usize, after: usize, visits: u64) -> ExitCode {
    let of = |value: &dyn Fn(&Look) -> f64| {
        let points: Vec<(f64, f64)> = looks.iter().map(|look| (look.at_s / 60.0, value(look))).collect();
        let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64;
        (mean, slope(&points))
    };
    let (rss, rss_min) = of(&|look| look.rss);
    let (open, open_min) = of(&|look| look.descriptors);
    let (bytes_s, bytes_s_min) = of(&|look| rate(look.bytes));
    let minutes = looks.last().map_or(0.0, |last| (last.at_s - looks[0].at_s) / 60.0);
    println!("\n{minutes:.1} min after the warm-up, {visits} visits of bad clients");
    println!("memory       {:.1} MB, slope {:+.1} KB/min", rss / 1e6, rss_min / 1e3);
    println!("descriptors  {open:.0}, slope {open_min:+.2}/min; {before} before, {after} after all had left");
    println!("throughput   {:.0} MB/s, slope {:+.2} %/min", bytes_s / 1e6, 100.0 * bytes_s_min / bytes_s);
    // Some descriptors are of files that were opened meanwhile.
    let good = rss_min * minutes < GROWTH_BYTES && after <= before + 8;
    println!("{}", if good { "nothing grew" } else { "something GREW" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (up, down) = points.iter().fold((0.0, 0.0), |(up, down), point| {
        (up + (point.0 - x) * (point.1 - y), down + (point.0 - x).powi(2))
    });
    if down > 0.0 { up / down } else { 0.0 }
}

fn descriptors(pid: u32) -> Result<usize, Error> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn honest(world: &World, data: &Data) -> Result<(), Error> {
    while !world.over.load(Relaxed) {
        let drained = drain::random(world.addr, &data.chunks, HONEST, ROUND_BYTES)?;
        world.honest_bytes.fetch_add(drained.bytes, Relaxed);
    }
    Ok(())
}

fn bad_company(world: &Arc<World>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = Vec::new();
        let kinds = [
            (CHURNING, Kind::Churning),
            (STALLING, Kind::Stalling),
            (HOSTILE, Kind::Hostile),
            (IDLE, Kind::Idle),
        ];
        for (count, kind) in kinds {
            for number in 0..count {
                tasks.push(tokio::spawn(live(world.clone(), kind, number as u64)));
            }
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Churning,
    Stalling,
    Hostile,
    Idle,
}

/// Comes again and again. What goes wrong with a visit is what such clients have to expect.
async fn live(world: Arc<World>, kind: Kind, number: u64) {
    let mut state = number + 1000 * kind as u64;
    while !world.over.load(Relaxed) {
        world.visits.fetch_add(1, Relaxed);
        let _cut_off = timeout(Duration::from_secs(60), visit(&world, kind, &mut state)).await;
        // Whoever is refused does not come back at once.
        sleep(Duration::from_millis(5 + split_mix(&mut state) % 50)).await;
    }
}

async fn visit(world: &World, kind: Kind, state: &mut u64) -> std::io::Result<()> {
    let mut stream = connect(world.addr, kind, state).await?;
    match kind {
        Kind::Churning => {
            hello(&mut stream, state).await?;
            let count = 1 + split_mix(state) % 64;
            stream.write_all(&requests(world, state, count)).await?;
            // Somewhere in the middle of an answer.
            let mut room = vec![0; 1 + (split_mix(state) % 300_000) as usize];
            let _late = timeout(PATIENCE, stream.read_exact(&mut room)).await;
        }
        Kind::Stalling => {
            hello(&mut stream, state).await?;
            stream.write_all(&requests(world, state, 500)).await?;
            rest(world, Duration::from_secs(5 + split_mix(state) % 30)).await;
        }
        Kind::Idle => {
            hello(&mut stream, state).await?;
            rest(world, Duration::from_secs(30 + split_mix(state) % 60)).await;
        }
        Kind::Hostile => hostile(world, &mut stream, state).await?,
    }
    Ok(())
}

async fn hostile(world: &World, stream: &mut TcpStream, state: &mut u64) -> std::io::Result<()> {
    match split_mix(state) % 7 {
        // No handshake at all.
        0 => stream.write_all(&noise(state, 4096)).await?,
        // Half a handshake, and then nothing.
        1 => {
            stream.write_all(b"\x13BitTorrent prot").await?;
            rest(world, Duration::from_secs(5)).await;
        }
        // A frame longer than any may be.
        2 => {
            hello(stream, state).await?;
            stream.write_all(&[0xff, 0xff, 0xff, 0xf0, 20, 1]).await?;
        }
        // Payloads that nobody asked for.
        3 => {
            hello(stream, state).await?;
            let mut answer = vec![0, 1, 0, 11, 20, 1, 2, 0, 0, 0, 9, 0, 1, 0, 0];
            answer.extend(noise(state, 65_536));
            stream.write_all(&answer).await?;
        }
        // Chunks that do not exist, more of them than are answered.
        4 => {
            hello(stream, state).await?;
            for req in 0..2000_u32 {
                stream.write_all(&request(req, &noise(state, 32))).await?;
            }
        }
        // Every byte a segment of its own.
        5 => {
            hello(stream, state).await?;
            for byte in requests(world, state, 4) {
                stream.write_all(&[byte]).await?;
                tokio::task::yield_now().await;
            }
        }
        // Noise behind a good beginning.
        _ => {
            hello(stream, state).await?;
            stream.write_all(&noise(state, 2048)).await?;
        }
    }
    let mut room = [0; 4096];
    // What it answers, until it has had enough.
    while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), stream.read(&mut room)).await {}
    Ok(())
}

/// Waits, but not beyond the end of it all.
async fn rest(world: &World, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && !world.over.load(Relaxed) {
        sleep(Duration::from_millis(200)).await;
    }
}

async fn connect(addr: SocketAddr, kind: Kind, state: &mut u64) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Kind::Hostile = kind {
        let random = split_mix(state).to_be_bytes();
        socket.bind(SocketAddr::from(([127, 2 + random[0] % 250, random[1], 1 + random[2] % 250], 0)))?;
    }
    let stream = timeout(PATIENCE, socket.connect(addr)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn hello(stream: &mut TcpStream, state: &mut u64) -> std::io::Result<()> {
    let mut ours = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    ours.extend_from_slice(&[7; 20]);
    ours.extend_from_slice(format!("-SK0100-{:012}", split_mix(state) % 1_000_000_000_000).as_bytes());
    let dict = b"d1:md6:ut_xeti7ee1:pi0e1:v4:soake";
    ours.extend_from_slice(&(dict.len() as u32 + 2).to_be_bytes());
    ours.extend_from_slice(&[20, 0]);
    ours.extend_from_slice(dict);
    stream.write_all(&ours).await?;
    timeout(PATIENCE, stream.read_exact(&mut [0; 68])).await?.map(drop)
}

fn requests(world: &World, state: &mut u64, count: u64) -> Vec<u8> {
    let hash = |state: &mut u64| world.hashes[(split_mix(state) % world.hashes.len() as u64) as usize];
    (0..count as u32).flat_map(|req| request(req, &hash(state))).collect()
}

fn request(req: u32, hash: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 39, 20, 1, 1][..], &req.to_be_bytes(), hash].concat()
}

fn noise(state: &mut u64, len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| split_mix(state) as u8).take(len).collect()
}
