//! How much a seeder gives per second of processor time, pair by pair beside a bare `sendfile` loop.
//!
//! ```text
//! cargo build --release && cargo run --release -p zest-benches --bin seed -- --rounds 5
//! ```
//! Each server runs on one processor, the client that drains it on another. In a round every server is measured once,
//! in an order that turns from round to round; a ratio is of two neighbours in one round, and the median over the rounds
//! is printed. The client discards what comes without copying it, but proves every 32nd chunk: speed without truth does
//! not pass. `--cold` drops the file from the page cache before each run and gives zest-seed no cache. `--servers` picks
//! from sendfile, pool (direct reads by tokio's threads), zest-seed, zest-serve, disk (what the disk gives a program that
//! only reads) and paths of other builds of zest-seed; the first of them is what ratios are to. All have the congestion
//! control named with `--congestion-control`: cubic unless told otherwise, where this process may choose.

use std::path::{Path, PathBuf};
use std::process::Command;
use zest_benches::transfer::cores::{Cores, on_core};
use zest_benches::transfer::direct::{self, process_cpu_s};
use zest_benches::transfer::process::Service;
use zest_benches::transfer::seed_data::Data;
use zest_benches::transfer::{DISCOVERY_OFF, Error, congestion, drain, page_cache, pool, sendfile};

struct Args {
    dir: PathBuf,
    size_mb: u64,
    run_mb: u64,
    rounds: usize,
    connections: Vec<usize>,
    cold: bool,
    /// The system's if none is named.
    congestion_control: Option<String>,
    servers: Vec<String>,
}

fn main() -> Result<(), Error> {
    let mut words = std::env::args().skip(1);
    let first = words.next();
    if let Some(how @ ("serve-with-sendfile" | "serve-with-pool")) = first.as_deref() {
        let (Some(file), Some(list)) = (words.next(), words.next()) else {
            return Err(format!("{how} FILE LIST [CONGESTION_CONTROL]").into());
        };
        let run = if how == "serve-with-pool" { pool::run } else { sendfile::run };
        return run(Path::new(&file), Path::new(&list), words.next().as_deref());
    }
    if first.as_deref() == Some("read-the-disk") {
        let (file, list, bytes) = (words.next(), words.next(), words.next());
        let (Some(file), Some(list), Some(bytes)) = (file, list, bytes) else {
            return Err("read-the-disk FILE LIST BYTES".into());
        };
        return direct::run(Path::new(&file), Path::new(&list), "random", 32, bytes.parse()?);
    }
    let args = parse()?;
    let dir = tempfile::Builder::new().prefix("zest-seed-bench-").tempdir_in(&args.dir)?;
    let data = Data::make(dir.path(), args.size_mb << 20)?;
    println!(
        "{} MiB in {} chunks, {} MB a run, congestion control {}, {}",
        args.size_mb,
        data.chunks.len(),
        args.run_mb,
        args.congestion_control.clone().unwrap_or_else(congestion::of_the_system),
        if args.cold { "cold" } else { "hot" },
    );
    for &connections in &args.connections {
        measure(&args, &data, connections)?;
    }
    Ok(())
}

fn parse() -> Result<Args, Error> {
    let mut args = Args {
        dir: std::env::temp_dir(),
        size_mb: 256,
        run_mb: 2000,
        rounds: 5,
        connections: vec![1, 8, 256],
        cold: false,
        congestion_control: congestion::without_pacing().map(str::to_owned),
        servers: ["sendfile", "zest-seed", "zest-serve"].map(str::to_owned).to_vec(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--dir" => args.dir = value()?.into(),
            "--congestion-control" => args.congestion_control = Some(value()?),
            "--size-mb" => args.size_mb = value()?.parse()?,
            "--run-mb" => args.run_mb = value()?.parse()?,
            "--rounds" => args.rounds = value()?.parse()?,
            "--connections" => {
                args.connections = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--servers" => args.servers = value()?.split(',').map(str::to_owned).collect(),
            "--cold" => args.cold = true,
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    Ok(args)
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Run {
    gb_s: f64,
    gb_cpu_s: f64,
    /// The client's CPU time counted, too: the kernel does work of the one on the other's account.
    gb_both_s: f64,
    rss_mb: f64,
}

fn measure(args: &Args, data: &Data, connections: usize) -> Result<(), Error> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); args.servers.len()];
    for round in 0..args.rounds {
        for turn in 0..args.servers.len() {
            let which = (round + turn) % args.servers.len();
            let run = one(args, data, connections, &args.servers[which])
                .map_err(|error| format!("{}, {connections} connections: {error}", args.servers[which]))?;
            runs[which].push(run);
        }
    }
    println!("\n{connections} connections, n = {}", args.rounds);
    println!(
        "{:<12}{:>17}{:>17}{:>24}{:>9}{:>20}",
        "", "GB/s", "GB per CPU-s", "... with the client's", "RSS MB", "ratio to the first"
    );
    for (name, of) in args.servers.iter().zip(&runs) {
        let column = |value: fn(&Run) -> f64| spread(of.iter().map(value).collect());
        let ratios = of.iter().zip(&runs[0]).map(|(run, first)| run.gb_cpu_s / first.gb_cpu_s);
        println!(
            "{name:<12}{:>17}{:>17}{:>24}{:>9.0}{:>20}",
            column(|run| run.gb_s),
            column(|run| run.gb_cpu_s),
            column(|run| run.gb_both_s),
            of.iter().map(|run| run.rss_mb).fold(0.0, f64::max),
            spread(ratios.collect()),
        );
    }
    Ok(())
}

/// Least/median/most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
    format!("{first:.2}/{:.2}/{last:.2}", values[values.len() / 2])
}

fn one(args: &Args, data: &Data, connections: usize, server: &str) -> Result<Run, Error> {
    if args.cold {
        page_cache::evict(&data.file)?;
    }
    if server == "disk" {
        return disk(args, data);
    }
    let cores = Cores::choose()?;
    let mut command = command(args, data, server, cores.server)?;
    let service = on_core(cores.server, || Service::start(&mut command))?;
    let addr = service.listens()?;
    if !is_baseline(server) {
        service.shares()?;
    }
    let (mut bytes, mut wall, mut both) = (0, 0.0, 0.0);
    on_core(cores.client, || {
        if !args.cold {
            // Until everything is in memory: a chunk is kept when it is asked for the second time.
            for _ in 0..6 {
                drain::all(addr, &data.chunks, connections.min(8))?;
            }
        }
        Ok(())
    })?;
    let cpu = service.cpu_s()?;
    on_core(cores.client, || {
        let (start, client) = (std::time::Instant::now(), process_cpu_s());
        bytes = drain::random(addr, &data.chunks, connections, args.run_mb * 1_000_000)?.bytes;
        (wall, both) = (start.elapsed().as_secs_f64(), process_cpu_s() - client);
        Ok(())
    })?;
    let cpu = service.cpu_s()? - cpu;
    both += cpu;
    let gb = bytes as f64 / 1e9;
    let rss_mb = service.rss_bytes()? as f64 / 1e6;
    Ok(Run { gb_s: gb / wall, gb_cpu_s: gb / cpu, gb_both_s: gb / both, rss_mb })
}

/// What the disk gives a program that does nothing else: 32 chunks at a time, in random order, past the page cache.
fn disk(args: &Args, data: &Data) -> Result<Run, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("read-the-disk").arg(&data.file).arg(&data.list).arg((args.run_mb * 1_000_000).to_string());
    let read = direct::watch(&mut command)?;
    let gb = read.bytes as f64 / 1e9;
    let per_cpu = gb / read.cpu_s;
    Ok(Run { gb_s: gb / read.wall_s, gb_cpu_s: per_cpu, gb_both_s: per_cpu, rss_mb: 0.0 })
}

fn is_baseline(server: &str) -> bool {
    matches!(server, "sendfile" | "pool")
}

fn command(args: &Args, data: &Data, server: &str, core: usize) -> Result<Command, Error> {
    let here = std::env::current_exe()?;
    // One segment per core is the least, and more than the file needs.
    let cache = if args.cold { 0 } else { (args.size_mb + args.size_mb / 4 + 32) << 20 }.to_string();
    let mut command = match server {
        baseline if is_baseline(baseline) => {
            let mut command = Command::new(&here);
            command.arg(format!("serve-with-{baseline}")).arg(&data.file).arg(&data.list);
            command
        }
        // A path is another build of zest-seed: before and after, pair by pair.
        seed if seed == "zest-seed" || seed.starts_with('/') => {
            let mut command = Command::new(here.with_file_name(seed));
            let core = core.to_string();
            command.args(["--listen", "127.0.0.1:0", "--json", "-q", "--runtime", "glommio"]);
            command.args(["--cores", &core, "--cache-mem", &cache]);
            command
        }
        "zest-serve" => {
            let mut command = Command::new(here.with_file_name("zest"));
            command.args(["serve", "--listen", "127.0.0.1", "--listen-port", "0", "--json", "-q"]);
            command.args(["--cache-mem", &cache]);
            command
        }
        other => {
            return Err(format!(
                "{other} is none of disk, sendfile, pool, zest-seed, zest-serve, /path/to/zest-seed"
            )
            .into());
        }
    };
    if let Some(name) = &args.congestion_control {
        if !is_baseline(server) {
            command.arg("--congestion-control");
        }
        command.arg(name);
    }
    command.env_clear().env("HOME", &data.home).env("HF_HUB_OFFLINE", "1");
    command.envs(DISCOVERY_OFF);
    Ok(command)
}
