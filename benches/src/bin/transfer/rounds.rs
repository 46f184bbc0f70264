//! The transfers: origin alone next to the official client, then from a peer.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::args::Args;
use crate::report::{Bar, Report};
use crate::workplace::Workplace;
use zest_benches::transfer::process::{self, Cost, Service};
use zest_benches::transfer::quiet_hub::QuietHub;

/// Time a seeder rests before its memory is read: 1 s, so that what it freed has gone back.
const REST: Duration = Duration::from_secs(1);

/// Bytes of a GB in the figures.
const GB: f64 = 1e9;

/// `zest pull --no-p2p` and the official client in turns, each time into empty caches.
pub(crate) fn origin(place: &Workplace, args: &Args, report: &mut Report) -> Result<(), Error> {
    let (mut zest, mut hf) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    // Round 0 warms up the Hub's and the clients' files and does not count.
    for round in 0..=args.runs {
        eprintln!("origin, round {round} of {}", args.runs);
        let home = place.home("origin-zest")?;
        let (cost, document) = pull(place, &home, &place.endpoint, &["--no-p2p"])?;
        bytes = total_bytes(&document)?;
        if round == 0 {
            check_tree(place, &document)?;
        } else {
            zest.push(cost);
        }
        place.clear(&home)?;
        if let Some(program) = &args.hf {
            let home = place.home("origin-hf")?;
            let mut command = place.command(program, &home);
            let (cost, _) = process::measure(command.args(["download", &place.repo]), &home)?;
            if round > 0 {
                hf.push(cost);
            }
            place.clear(&home)?;
        }
    }
    report.number("bytes", bytes as f64);
    let gigabytes = bytes as f64 / GB;
    for (name, costs) in [("zest", &zest), ("hf", &hf)] {
        let row = |report: &mut Report, what: &str, value: &dyn Fn(&Cost) -> f64, bar| {
            report.row(&format!("origin: {name}, {what}"), costs.iter().map(value).collect(), bar);
        };
        let limit = (name == "zest").then_some(Bar::AtMost(100.0));
        row(report, "wall s", &|cost| cost.wall_s, None);
        row(report, "CPU s", &|cost| cost.cpu_s, None);
        row(report, "CPU s per GB", &|cost| cost.cpu_s / gigabytes, None);
        row(report, "peak RSS, MB", &|cost| mb(cost.rss_bytes), limit);
        row(report, "CPU s of the machine", &|cost| cost.machine_cpu_s, None);
    }
    let ratio =
        |value: &dyn Fn(&Cost) -> f64| zest.iter().zip(&hf).map(|(z, h)| value(z) / value(h)).collect();
    report.row("origin: zest ÷ hf, wall", ratio(&|cost| cost.wall_s), Some(Bar::AtMost(0.5)));
    report.row("origin: zest ÷ hf, CPU", ratio(&|cost| cost.cpu_s), Some(Bar::AtMost(0.3)));
    Ok(())
}

/// `zest serve` on one cache, `zest pull --peer` into empty ones: with the Hub's storage at hand, and without it.
pub(crate) fn peer(place: &Workplace, args: &Args, report: &mut Report) -> Result<(), Error> {
    let seeder_home = place.home("seeder")?;
    pull(place, &seeder_home, &place.endpoint, &["--no-p2p"])?;
    let mut command = place.command(&place.zest, &seeder_home);
    let seeder = Service::start(command.args(["serve", "--json", "--listen", "127.0.0.1:0"]))?;
    let addr = seeder.listens()?.to_string();
    seeder.shares()?;
    thread::sleep(REST);
    report.row(
        "serve, idle, before the first peer: RSS, MB",
        vec![mb(seeder.rss_bytes()?)],
        Some(Bar::AtMost(12.0)),
    );

    // A Hub elsewhere cannot be switched off from here.
    let quiet = place.root().map(QuietHub::start).transpose()?;
    let mut alone = Leeches::default();
    let mut with_cdn = Leeches::default();
    for round in 0..=args.runs {
        eprintln!("peer, round {round} of {}", args.runs);
        let quiet = quiet.as_ref().map(|hub| (&hub.endpoint, &mut alone));
        for (endpoint, leeches) in [quiet, Some((&place.endpoint, &mut with_cdn))].into_iter().flatten() {
            let home = place.home("leecher")?;
            let before = seeder.cpu_s()?;
            let (cost, document) = pull(place, &home, endpoint, &["--peer", &addr])?;
            if round == 0 {
                check_tree(place, &document)?;
            } else {
                leeches.add(cost, seeder.cpu_s()? - before, &document)?;
            }
            place.clear(&home)?;
        }
    }
    if quiet.is_some() {
        alone.tell("peer alone", true, report);
    }
    with_cdn.tell("peer and CDN", false, report);
    thread::sleep(REST);
    report.row("serve, idle again after the last: RSS, MB", vec![mb(seeder.rss_bytes()?)], None);
    drop(seeder);
    place.clear(&seeder_home)
}

/// What the pulls of one kind cost, round by round.
#[derive(Default)]
struct Leeches {
    /// Leecher, and the seeder's CPU time meanwhile.
    costs: Vec<(Cost, f64)>,
    ratios: Vec<f64>,
    gigabytes: f64,
    from_peers: Vec<f64>,
}

impl Leeches {
    fn add(&mut self, cost: Cost, seeder_cpu_s: f64, document: &Value) -> Result<(), Error> {
        self.gigabytes = total_bytes(document)? as f64 / GB;
        self.ratios.push(100.0 * document["p2p_ratio"].as_f64().unwrap_or(0.0));
        self.from_peers.push(document["bytes"]["from_peers"].as_f64().unwrap_or(0.0) / GB);
        self.costs.push((cost, seeder_cpu_s));
        Ok(())
    }

    /// Adds the rows; only where everything comes from the peer do the bars mean something.
    fn tell(&self, name: &str, alone: bool, report: &mut Report) {
        let bar = |bar| alone.then_some(bar);
        let row = |report: &mut Report, what: &str, value: &dyn Fn(&Cost) -> f64, bar| {
            report.row(
                &format!("{name}: {what}"),
                self.costs.iter().map(|(cost, _)| value(cost)).collect(),
                bar,
            );
        };
        report.row(&format!("{name}: P2P ratio, %"), self.ratios.clone(), bar(Bar::AtLeast(100.0)));
        row(report, "wall s", &|cost| cost.wall_s, None);
        row(report, "GB/s", &|cost| self.gigabytes / cost.wall_s, None);
        let leecher = |cost: &Cost| cost.cpu_s / self.gigabytes;
        row(report, "leecher CPU s per GB", &leecher, bar(Bar::AtMost(1.1)));
        row(report, "leecher peak RSS, MB", &|cost| mb(cost.rss_bytes), None);
        let seeder = self.costs.iter().zip(&self.from_peers).filter(|(_, given)| **given > 0.0);
        let seeder = seeder.map(|((_, cpu_s), given)| cpu_s / given).collect();
        report.row(&format!("{name}: seeder CPU s per GB given"), seeder, bar(Bar::AtMost(0.45)));
        row(report, "CPU s of the machine", &|cost| cost.machine_cpu_s, None);
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Pulls the repository of a Hub into `home`; gives the cost and the JSON document.
fn pull(place: &Workplace, home: &Path, endpoint: &str, flags: &[&str]) -> Result<(Cost, Value), Error> {
    let mut command = place.command(&place.zest, home);
    command.env("HF_ENDPOINT", endpoint);
    let (cost, out) =
        process::measure(command.args(["pull", &place.repo, "--json", "-q"]).args(flags), home)?;
    Ok((cost, serde_json::from_str(&out)?))
}

fn total_bytes(document: &Value) -> Result<u64, Error> {
    document["bytes"]["total"].as_u64().ok_or_else(|| format!("no total in {document}").into())
}

/// Compares what was pulled with the sample, byte by byte; elsewhere only the sizes are known.
fn check_tree(place: &Workplace, document: &Value) -> Result<(), Error> {
    let path = document["path"].as_str().ok_or("the pull does not say where its files are")?;
    for file in document["files"].as_array().into_iter().flatten() {
        let (name, size) = (file["path"].as_str().unwrap_or_default(), file["size"].as_u64());
        let pulled = Path::new(path).join(name);
        if Some(fs::metadata(&pulled)?.len()) != size {
            return Err(format!("{name} has the wrong size").into());
        }
        if let Some(sample) = place.sample()
            && !same_bytes(&pulled, &sample.join(name))?
        {
            return Err(format!("{name} has the wrong bytes").into());
        }
    }
    Ok(())
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, Error> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut here)?;
        if read == 0 {
            return Ok(other.read(&mut there)? == 0);
        }
        if other.read_exact(&mut there[..read]).is_err() || here[..read] != there[..read] {
            return Ok(false);
        }
    }
}
