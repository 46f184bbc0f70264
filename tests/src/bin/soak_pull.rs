//! Many pulls in one process, one after another, for minutes on end.
//!
//! ```text
//! cargo run --release -p zest-tests --bin soak_pull -- --minutes 10
//! ```
//! An embedded Hub and one seeding machine stay; a new machine comes for every round, with an engine, caches and a catalog of
//! its own, pulls, is checked and goes. Rounds take turns: from the Hub alone; from the peer while the CDN is off; from
//! both beside addresses where nobody answers; broken off in the middle and taken up again. Memory and descriptors of
//! the process are looked at after each four; at the end their growth is printed, and the exit code is 1 if there is any.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zest_runtime_tokio::{CancelToken, Progress, PullOptions, pull};
use zest_tests::{Machine, Site, assert_same_files, noise};

/// What is seen before this part of the time does not count: a quarter, until allocators and caches have what they keep.
const WARM_UP: f64 = 0.25;
/// Growth of memory from there on that passes: 8 MiB, what allocators of a dozen threads move by themselves.
const GROWTH_BYTES: f64 = 8_388_608.0;
/// The model of all rounds.
const REPO: &str = "org/model";

struct Look {
    at_s: f64,
    rss: f64,
    descriptors: f64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let minutes: f64 = match (words.next().as_deref(), words.next(), words.next()) {
        (None, ..) => 10.0,
        (Some("--minutes"), Some(value), None) if value.parse::<f64>().is_ok_and(|value| value > 0.0) => {
            value.parse().expect("it was parsed a moment ago")
        }
        _ => {
            eprintln!("soak_pull [--minutes N]");
            return ExitCode::from(2);
        }
    };
    let mut site = Site::new();
    site.add(REPO, "model-1.safetensors", &noise(1, 6_000_000)).add(
        REPO,
        "model-2.safetensors",
        &noise(2, 3_000_000),
    );
    site.add(REPO, "tokenizer.bin", &noise(3, 200_000)).add(REPO, "config.json", b"{\"layers\": 1}");
    site.open().await;
    let seed = Machine::new(&site.endpoint()).await;
    seed.pull(seed.options(REPO)).await.expect("the first one pulls");

    let (start, mut looks, mut rounds) = (Instant::now(), Vec::new(), 0_u32);
    while start.elapsed().as_secs_f64() < minutes * 60.0 {
        round(&site, &seed, rounds % 4).await;
        rounds += 1;
        if rounds.is_multiple_of(4) {
            let look = Look { at_s: start.elapsed().as_secs_f64(), rss: rss(), descriptors: descriptors() };
            println!(
                "{:.0} s, {rounds} pulls: {:.1} MB, {} descriptors",
                look.at_s,
                look.rss / 1e6,
                look.descriptors
            );
            looks.push(look);
        }
    }
    tell(&looks, rounds)
}

/// One pull by a new machine, which is gone when it ends.
async fn round(site: &Site, seed: &Machine, kind: u32) {
    let machine = Machine::new(&site.endpoint()).await;
    let peers = match kind {
        0 => vec![],
        // Nobody listens on the port of a listener that was closed.
        2 => vec![seed.address(), closed_port(), closed_port()],
        _ => vec![seed.address()],
    };
    site.faults().set_cdn_off(kind == 1);
    let options = PullOptions { peers, p2p: kind > 0, ..machine.options(REPO) };
    if kind == 3 {
        let (progress, mut seen) = watch::channel(Progress::default());
        let cancel = CancelToken::new();
        let first = pull(machine.engine(), options.clone(), progress, cancel.clone());
        let ending = async {
            // It may be through before that is seen.
            let _ = seen.wait_for(|now| now.bytes_done > 1_000_000).await;
            cancel.cancel();
        };
        let _ = tokio::join!(first, ending);
    }
    let report = machine.pull(options).await.expect("it pulls");
    assert_same_files(&report.path, &site.folder(REPO));
    machine.shut_down().await;
}

fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Resident bytes of this process.
fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() * 1024.0
}

fn descriptors() -> f64 {
    std::fs::read_dir("/proc/self/fd").map_or(0.0, |entries| entries.count() as f64)
}

/// Prints how memory and descriptors went after the warm-up: the slope of the line through them, times the time.
fn tell(looks: &[Look], rounds: u32) -> ExitCode {
    let end = looks.last().map_or(0.0, |look| look.at_s);
    let counted: Vec<&Look> = looks.iter().filter(|look| look.at_s >= end * WARM_UP).collect();
    let time = end * (1.0 - WARM_UP);
    let growth = |of: fn(&Look) -> f64| slope(&counted, of) * time;
    let (memory, descriptors) = (growth(|look| look.rss), growth(|look| look.descriptors));
    println!(
        "{rounds} pulls in {:.1?}: memory grew by {:.2} MB, descriptors by {descriptors:.1}",
        Duration::from_secs_f64(end),
        memory / 1e6
    );
    let flat = memory < GROWTH_BYTES && descriptors < 4.0;
    if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of the line that fits best, per second.
fn slope(looks: &[&Look], of: fn(&Look) -> f64) -> f64 {
    let count = looks.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Look) -> f64| looks.iter().map(|look| of(look)).sum::<f64>() / count;
    let (x, y) = (mean(&|look| look.at_s), mean(&of));
    let over: f64 = looks.iter().map(|look| (look.at_s - x) * (of(look) - y)).sum();
    let under: f64 = looks.iter().map(|look| (look.at_s - x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}
