//! A model on its way: from a Hub to a node, and from that node to the next.

use super::report::{Figure, Report, Run, Yardsticks};
use super::{Place, Programs};
use serde_json::Value;
use std::path::Path;
use zest_benches::transfer::process::{self, Cost, Service};
use zest_benches::transfer::quiet_hub::QuietHub;
use zest_benches::transfer::{Error, model};

/// Bytes of the model: 256 MB in three files.
const MODEL_BYTES: u64 = 256_000_000;

/// Its name on the Hub.
const REPO: &str = "bench/sample";

const CASE: &str = "pull, hub → node → node";
const FROM_HUB: &str = "pull from the hub";
const HUB: &str = "the hub meanwhile";
const FROM_NODE: &str = "pull from a node";
const SEEDER: &str = "the node meanwhile";

const NODE_YARDSTICKS: Yardsticks = &[(FROM_HUB, Figure::Rate), (FROM_HUB, Figure::PerCpu)];
const SEEDER_YARDSTICKS: Yardsticks = &[(HUB, Figure::PerCpu)];

/// Measures pulls and those they pull from. One round before the others warms up and does not count.
pub(super) fn run(
    place: &Place,
    programs: &Programs,
    rounds: u32,
    report: &mut Report,
    tell: &dyn Fn(&str),
) -> Result<(), Error> {
    tell("making a model of 256 MB");
    let root = place.folder("hub")?;
    let sample = root.join("models").join(REPO).join("main");
    model::write(&sample, MODEL_BYTES)?;
    let mut command = place.command(&programs.zest, &place.folder("hub-home")?);
    let hub = Service::start(command.args(["hub", "--json", "--port", "0", "--root"]).arg(&root))?;
    let endpoint = hub.event("listening")?["endpoint"]
        .as_str()
        .ok_or("the hub does not say where it listens")?
        .to_owned();
    // The same files, metadata only: what a pull gets with it, it has from its peer.
    let quiet = QuietHub::start(&root)?;

    let seeder_home = place.folder("seeder")?;
    pull(place, programs, &seeder_home, &endpoint, &["--no-p2p"])?;
    let mut command = place.command(&programs.zest, &seeder_home);
    command.env("HF_ENDPOINT", &endpoint);
    let seeder = Service::start(command.args(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]))?;
    let addr =
        seeder.event("listening")?["addrs"][0].as_str().ok_or("it does not say where it listens")?.to_owned();
    if seeder.event("indexed")?["files_shared"].as_u64() == Some(0) {
        return Err("the seeder shares nothing".into());
    }
    for round in 0..=rounds {
        tell(&format!("pulls, round {round} of {rounds}"));
        let mut one =
            |from: &str, giver: &Service, endpoint: &str, flags: &[&str], yardsticks, giver_yardsticks| {
                let home = place.folder("leecher")?;
                let before = giver.cpu_s()?;
                let (cost, document) = pull(place, programs, &home, endpoint, flags)?;
                let given = Cost {
                    cpu_s: giver.cpu_s()? - before,
                    rss_bytes: giver.peak_rss_bytes()?,
                    ..cost.clone()
                };
                check(&sample, &document)?;
                if from == FROM_NODE && document["p2p_ratio"].as_f64().is_none_or(|share| share < 1.0) {
                    return Err(format!("not everything came from the peer: {document}").into());
                }
                place.clear(&home)?;
                if round > 0 {
                    let bytes =
                        document["bytes"]["total"].as_u64().ok_or("the pull does not say how much it was")?;
                    let giver = if from == FROM_HUB { HUB } else { SEEDER };
                    report.add(CASE, 0, from, yardsticks, round, run_of(bytes, &cost, &given));
                    report.add(CASE, 0, giver, giver_yardsticks, round, run_of(bytes, &given, &cost));
                }
                Ok::<_, Error>(())
            };
        let from_hub =
            |one: &mut dyn FnMut(
                &str,
                &Service,
                &str,
                &[&str],
                Yardsticks,
                Yardsticks,
            ) -> Result<(), Error>| { one(FROM_HUB, &hub, &endpoint, &["--no-p2p"], &[], &[]) };
        // Who is first changes from round to round.
        if round % 2 == 0 {
            from_hub(&mut one)?;
        }
        one(FROM_NODE, &seeder, &quiet.endpoint, &["--peer", &addr], NODE_YARDSTICKS, SEEDER_YARDSTICKS)?;
        if round % 2 == 1 {
            from_hub(&mut one)?;
        }
    }
    drop((seeder, hub, quiet));
    place.clear(&seeder_home)?;
    place.clear(&root)
}

/// `other` is the other end of the same transfer: its CPU time is not foreign.
fn run_of(bytes: u64, cost: &Cost, other: &Cost) -> Run {
    Run {
        bytes,
        wall_s: cost.wall_s,
        // What takes less than a step of the clock took one.
        cpu_s: cost.cpu_s.max(0.01),
        rss_bytes: cost.rss_bytes,
        foreign_cpu_s: (cost.machine_cpu_s - cost.cpu_s - other.cpu_s).max(0.0),
        ..Run::default()
    }
}

fn pull(
    place: &Place,
    programs: &Programs,
    home: &Path,
    endpoint: &str,
    flags: &[&str],
) -> Result<(Cost, Value), Error> {
    let mut command = place.command(&programs.zest, home);
    command.env("HF_ENDPOINT", endpoint);
    let (cost, out) = process::measure(command.args(["pull", REPO, "--json", "-q"]).args(flags), home)?;
    Ok((cost, serde_json::from_str(&out)?))
}

/// Compares what was pulled with the sample, byte by byte: speed without truth does not count.
fn check(sample: &Path, document: &Value) -> Result<(), Error> {
    let path = Path::new(document["path"].as_str().ok_or("the pull does not say where its files are")?);
    let mut compared = 0;
    for entry in std::fs::read_dir(sample)? {
        let name = entry?.file_name();
        if std::fs::read(sample.join(&name))? != std::fs::read(path.join(&name))? {
            return Err(format!("{} arrived with wrong bytes", name.display()).into());
        }
        compared += 1;
    }
    if compared == 0 { Err("there is nothing to compare with".into()) } else { Ok(()) }
}
