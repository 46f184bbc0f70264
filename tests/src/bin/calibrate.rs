//! Does the simulator say what happens? The same swarms, of xorbs as large as in production, once as real processes of `zest`
//! on loopback against the embedded Hub, once in `zest_sim`: seconds and copies of the model that left the CDN, beside each other.
//!
//! ```text
//! cargo run --release -p zest-tests --bin calibrate -- [--rounds N] [--only TEXT] [--write]
//! ```
//! The exit code is 1 if a row is further apart than [`TIME`] or [`COPIES`] and not one of [`KNOWN`]. `--write` puts the table
//! into `docs/calibration.md`. Wants a machine that does nothing else: a row whose work fills most of the processors in the time that the simulator
//! gives it is shown, and not compared; and so is one that is later by no more than the time in which no processor was free.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use zest_core::node::Policy;
use zest_hub_server::Service;
use zest_sim::{Canary, MS, Report, SEC, Scenario, Start, Trace, US, run_with};
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::{Site, noise};
use zest_xet::safetensors::LEN_BYTES;

/// How far seconds may be apart: 15 % of what real processes took.
const TIME: f64 = 0.15;
/// And copies.
const COPIES: f64 = 0.1;
/// The simulator has no processors: where real processes need this part of all there are in the time that it says, or more, it cannot
/// know how long that takes.
const BUSY: f64 = 0.75;
/// So often is looked whether a processor is free.
const LOOK: Duration = Duration::from_millis(100);
/// Swarms that the simulator plays for each row; their median counts.
const SEEDS: u64 = 9;
/// A xorb of production, and its chunks.
const XORB: u64 = 64 << 20;
const XORB_CHUNKS: u32 = 1024;
const CHUNK: u32 = 64 << 10;
/// The CDN needs so long to answer, and so do the Hub and the CAS.
const LATENCY: Duration = Duration::from_millis(20);
/// What asking the Hub and the CAS takes a pull before it knows the file: three answers, one after another.
const PLAN_NS: u64 = 3 * 20 * MS + 20 * MS;
const REPO: &str = "org/model";

/// Rows that are further apart, and why.
const KNOWN: &[(&str, &str)] = &[];

/// One swarm.
#[derive(Clone)]
struct Row {
    what: String,
    machines: u32,
    xorbs: u64,
    policy: Policy,
    /// What the CDN gives to all of them, in bytes/s.
    cdn: u64,
    /// And to each connection.
    conn: Option<u64>,
    /// What each machine uploads at most.
    up: Option<u64>,
    /// One more has all of it and stays.
    seeds: u32,
    /// Each comes so much later than the one before.
    apart: Duration,
    /// One of them is killed then.
    killed: Option<Duration>,
}

impl Row {
    fn crowd(machines: u32, megabytes_s: u64, policy: Policy) -> Self {
        // Long enough to be a swarm, short enough to be played often.
        let xorbs = match megabytes_s {
            0..20 => 2,
            20..60 => 4,
            _ => 8,
        };
        Self {
            what: format!("{machines} at once, {megabytes_s} MB/s"),
            machines,
            xorbs,
            policy,
            cdn: megabytes_s * 1_000_000,
            conn: None,
            up: None,
            seeds: 0,
            apart: Duration::ZERO,
            killed: None,
        }
    }

    fn but(mut self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let _ = write!(self.what, ", {what}");
        change(&mut self);
        self
    }

    fn bytes(&self) -> u64 {
        self.xorbs * XORB
    }

    fn policy(&self) -> &'static str {
        match self.policy {
            Policy::SpareOrigin => "spare-origin",
            Policy::Fastest => "fastest",
        }
    }
}

fn rows() -> Vec<Row> {
    let (spare, fastest) = (Policy::SpareOrigin, Policy::Fastest);
    let mut rows = vec![
        Row::crowd(1, 40, fastest),
        Row::crowd(1, 400, fastest).but("10 MB/s each connection", |row| row.conn = Some(10_000_000)),
    ];
    for machines in [2, 3, 8] {
        for megabytes_s in [12, 40, 100, 400] {
            rows.extend([spare, fastest].map(|policy| Row::crowd(machines, megabytes_s, policy)));
        }
    }
    rows.extend([
        Row::crowd(3, 40, spare).but("each uploads 10 MB/s", |row| row.up = Some(10_000_000)),
        Row::crowd(3, 40, fastest).but("3 s apart", |row| row.apart = Duration::from_secs(3)),
        Row::crowd(3, 40, spare).but("3 s apart", |row| row.apart = Duration::from_secs(3)),
        Row::crowd(3, 40, spare).but("one killed after 3 s", |row| row.killed = Some(Duration::from_secs(3))),
        Row::crowd(1, 20, fastest).but("a peer with all of it uploads 30 MB/s", |row| {
            (row.seeds, row.up, row.xorbs) = (1, Some(30_000_000), 4);
        }),
    ]);
    rows
}

/// What came of a row.
#[derive(Clone, Copy)]
struct Outcome {
    /// The median machine's time.
    median_s: f64,
    /// The last one's.
    last_s: f64,
    copies: f64,
    /// Seconds of processors.
    cpu_s: f64,
    /// Seconds in which none was free.
    full_s: f64,
}

fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

fn medians(outcomes: &[Outcome]) -> Outcome {
    let middle = |get: fn(&Outcome) -> f64| middle(outcomes.iter().map(get));
    Outcome {
        median_s: middle(|one| one.median_s),
        last_s: middle(|one| one.last_s),
        copies: middle(|one| one.copies),
        cpu_s: middle(|one| one.cpu_s),
        full_s: middle(|one| one.full_s),
    }
}

/// From the least to the most copies, where they differ.
fn span(outcomes: &[Outcome]) -> String {
    let copies = || outcomes.iter().map(|one| one.copies);
    let (least, most) = (copies().fold(f64::INFINITY, f64::min), copies().fold(0.0, f64::max));
    if most - least < 0.05 { String::new() } else { format!(" ({least:.2} to {most:.2})") }
}

fn scenario(row: &Row, seed: u64) -> Scenario {
    let mut s = Scenario::crowd(seed, row.machines);
    (s.chunks, s.block, s.chunk_bytes) = (row.xorbs as u32 * XORB_CHUNKS, XORB_CHUNKS, Some(CHUNK));
    (s.policy, s.start, s.seeds) = (row.policy, Start::Cold, row.seeds);
    // It is called as a safetensors file is, and says nothing of a header that can be.
    s.header_bytes = LEN_BYTES as u64;
    s.spread_ns = row.apart.as_nanos() as u64 * u64::from(row.machines - 1) + 10 * MS;
    let line = 1_250_000_000;
    (s.net.up_bytes_s, s.net.down_bytes_s, s.net.latency_ns) = (row.up.unwrap_or(line), line, 50 * US);
    (s.origin.total_bytes_s, s.origin.conn_bytes_s) = (Some(row.cdn), row.conn);
    (s.origin.first_byte_ns, s.origin.plan_ns) = (LATENCY.as_nanos() as u64, PLAN_NS);
    // Who spares the origin gives on until the others have it, too; the others for a moment.
    s.churn.stays_ns = Some(SEC).filter(|_| row.policy == Policy::Fastest);
    if let Some(killed) = row.killed {
        (s.churn.leave_permille, s.churn.between_ns) =
            (1000 / row.machines, (killed.as_nanos() as u64, killed.as_nanos() as u64));
    }
    s
}

/// Plays it so often as is compared.
fn simulated(row: &Row) -> Result<Vec<Outcome>, String> {
    let expected = row.machines - u32::from(row.killed.is_some());
    let mut outcomes = Vec::new();
    for seed in 1.. {
        let report =
            run_with(scenario(row, seed), Trace::default(), Canary::None).map_err(|f| f.why.to_string())?;
        // Who goes is drawn for each machine: worlds in which it is not just one are left out.
        if report.finish_ns.len() as u32 != expected {
            continue;
        }
        outcomes.push(outcome_of(&report));
        if outcomes.len() as u64 == SEEDS {
            break;
        }
    }
    Ok(outcomes)
}

fn outcome_of(report: &Report) -> Outcome {
    let seconds = || report.finish_ns.iter().map(|ns| *ns as f64 / SEC as f64);
    Outcome {
        median_s: middle(seconds()),
        last_s: seconds().fold(0.0, f64::max),
        copies: report.origin_copies(),
        cpu_s: 0.0,
        full_s: 0.0,
    }
}

/// CPU seconds of this process and of those that it has waited for, if the system tells.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|text| text.parse::<f64>().ok())
        .sum::<f64>();
    // USER_HZ has been 100 on every Linux there is.
    ticks / 100.0
}

/// Hundredths of a second in which processors of this machine had nothing to do or only waited for a disk, if the system tells.
fn idle_ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let mut all = stat.lines().next()?.split_whitespace().skip(4).map(|text| text.parse::<u64>().ok());
    Some(all.next()?? + all.next()??)
}

/// Adds up, until it is dropped, the time in which no processor was free, whoever used them.
struct Full {
    ends: std::sync::Arc<std::sync::atomic::AtomicBool>,
    looks: std::thread::JoinHandle<Duration>,
}

impl Full {
    fn watch() -> Self {
        let ends = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let over = ends.clone();
        let looks = std::thread::spawn(move || {
            let mut full = Duration::ZERO;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let (before, at) = (idle_ticks(), std::time::Instant::now());
                std::thread::sleep(LOOK);
                // A tick may have begun before.
                if idle_ticks().zip(before).is_some_and(|(now, before)| now <= before + 1) {
                    full += at.elapsed();
                }
            }
            full
        });
        Self { ends, looks }
    }

    fn seconds(self) -> f64 {
        self.ends.store(true, std::sync::atomic::Ordering::Relaxed);
        self.looks.join().expect("it only looks").as_secs_f64()
    }
}

async fn real(site: &Site, row: &Row) -> Outcome {
    let endpoint = site.endpoint();
    let faults = site.faults();
    faults.clear();
    let seed = if row.seeds > 0 { Some(seeder(&endpoint, row)) } else { None };
    faults.set_cdn_rate(Some(row.cdn));
    faults.set_cdn_body_rate(row.conn);
    for service in [Service::Hub, Service::Cas, Service::Cdn] {
        faults.set_latency(service, LATENCY);
    }
    let hosts: Vec<Host> = (0..row.machines).map(|_| Host::default()).collect();
    let (sent, cpu) = (site.stats().cdn_bytes, cpu_s());
    let full = Full::watch();
    let mut waiting = Vec::new();
    for (at, host) in hosts.iter().enumerate() {
        let mut words =
            ["pull", REPO, "--json", "--no-daemon", "--policy", row.policy()].map(str::to_owned).to_vec();
        words.extend(["--listen".to_owned(), host.address().to_string()]);
        let others = hosts.iter().map(Host::address).filter(|address| *address != host.address());
        for peer in others.chain(seed.as_ref().map(|(host, _)| host.address())) {
            words.extend(["--peer".to_owned(), peer.to_string()]);
        }
        words.extend(row.up.into_iter().flat_map(|up| ["--max-upload".to_owned(), up.to_string()]));
        let command = host.command(&endpoint, &words);
        let (apart, killed) = (row.apart * at as u32, row.killed.filter(|_| at == 0));
        waiting.push(std::thread::spawn(move || {
            std::thread::sleep(apart);
            let pulling = Pulling::start(command);
            if let Some(killed) = killed {
                std::thread::sleep(killed);
                pulling.kill();
                return None;
            }
            let report = pulling.report();
            assert!(report["path"].is_string(), "{report}");
            // Until all is landed; it may give on after that.
            Some(report["elapsed_s"].as_f64().expect("a report says how long it took"))
        }));
    }
    let seconds: Vec<f64> = tokio::task::spawn_blocking(|| {
        waiting.into_iter().filter_map(|thread| thread.join().expect("a pull ends well")).collect()
    })
    .await
    .expect("it does not panic");
    let full_s = full.seconds();
    let copies = (site.stats().cdn_bytes - sent) as f64 / row.bytes() as f64;
    let last_s = seconds.iter().copied().fold(0.0, f64::max);
    // Of the seed nothing is counted: it is not waited for.
    Outcome { median_s: middle(seconds), last_s, copies, cpu_s: cpu_s() - cpu, full_s }
}

/// A machine that has the model, and seeds it.
fn seeder(endpoint: &str, row: &Row) -> (Host, Running) {
    let host = Host::default();
    let words = ["pull", REPO, "--json", "--no-daemon", "--no-p2p"].map(str::to_owned);
    let _report = Pulling::start(host.command(endpoint, &words)).report();
    let mut words: Vec<String> = ["seed", "--json", "--listen"].map(str::to_owned).to_vec();
    words.push(host.address().to_string());
    words.extend(row.up.into_iter().flat_map(|up| ["--max-upload".to_owned(), up.to_string()]));
    let mut seeding = Running::start(host.command(endpoint, &words));
    seeding.event("indexed");
    (host, seeding)
}

/// Hubs by the size of their model: it is made and read once.
struct Sites(Vec<(u64, Site)>);

impl Sites {
    async fn of(&mut self, xorbs: u64) -> &Site {
        let at = match self.0.iter().position(|(size, _)| *size == xorbs) {
            Some(at) => at,
            None => {
                let mut site = Site::new();
                // A little less, so that no xorb of a few chunks is left over.
                site.add(REPO, "model.safetensors", &noise(xorbs, (xorbs * XORB) as usize - 1_000_000));
                site.open().await;
                self.0.push((xorbs, site));
                self.0.len() - 1
            }
        };
        &self.0[at].1
    }
}

struct Options {
    rounds: usize,
    only: String,
    writes: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { rounds: 3, only: String::new(), writes: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => options.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--only" => options.only = words.next()?,
            "--write" => options.writes = true,
            _ => return None,
        }
    }
    Some(options)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("calibrate [--rounds N] [--only TEXT] [--write]");
        return ExitCode::from(2);
    };
    let mut sites = Sites(Vec::new());
    let (mut table, mut apart) = (String::new(), Vec::new());
    let head = "| machines, CDN for all | policy | seconds: processes | simulated | | copies: processes | simulated | | last process, over the time of one copy | of the processors, in the simulated time | seconds without a free one | |\n\
                |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n";
    print!("{head}");
    for row in rows().iter().filter(|row| format!("{} {}", row.what, row.policy()).contains(&options.only)) {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            rounds.push(real(sites.of(row.xorbs).await, row).await);
        }
        let worlds = match simulated(row) {
            Ok(worlds) => worlds,
            Err(why) => {
                eprintln!("{}: the simulator says {why}", row.what);
                return ExitCode::FAILURE;
            }
        };
        let (processes, simulated) = (medians(&rounds), medians(&worlds));
        let (time, copies) =
            (simulated.median_s / processes.median_s - 1.0, simulated.copies - processes.copies);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let busy = processes.cpu_s / (simulated.last_s * processors);
        // What takes longer for want of a processor takes longer while none is free.
        let later_s = processes.median_s - simulated.median_s;
        let name = format!("{}, {}", row.what, row.policy());
        let known = KNOWN.iter().find(|(row, _)| *row == name);
        let judged = match () {
            () if busy >= BUSY || time < -TIME && copies.abs() <= COPIES && later_s <= processes.full_s => {
                "not compared: processors"
            }
            () if time.abs() <= TIME && copies.abs() <= COPIES => "",
            () if known.is_some() => "see below",
            () => {
                apart.push(name);
                "**apart**"
            }
        };
        let line = format!(
            "| {} | {} | {:.2} | {:.2} | {:+.0} % | {:.2}{} | {:.2}{} | {:+.2} | {:.2} | {:.0} % | {:.1} | {judged} |\n",
            row.what,
            row.policy(),
            processes.median_s,
            simulated.median_s,
            time * 100.0,
            processes.copies,
            span(&rounds),
            simulated.copies,
            span(&worlds),
            copies,
            processes.last_s / (row.bytes() as f64 / row.cdn as f64),
            busy * 100.0,
            processes.full_s,
        );
        print!("{line}");
        let _shown = std::io::stdout().flush();
        table.push_str(&line);
    }
    if options.writes {
        write(&format!("{head}{table}"));
    }
    if apart.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfurther apart than {:.0} % or {COPIES} copies: {}", TIME * 100.0, apart.join("; "));
    ExitCode::FAILURE
}

/// Puts the table in the place of the one in the docs.
fn write(table: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "calibration.md"].iter().collect();
    let text = std::fs::read_to_string(&path).expect("docs/calibration.md is there");
    let (before, rest) = text.split_once("<!-- table -->\n").expect("it has a mark where the table begins");
    let (_, after) = rest.split_once("<!-- end -->").expect("and one where it ends");
    std::fs::write(path, format!("{before}<!-- table -->\n{table}<!-- end -->{after}"))
        .expect("it can be written");
}
