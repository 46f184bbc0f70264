//! A model on its way: from a Hub to a node, and from that node to the next.

use super::report::{Baselines, Figure, Report, Run};
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

const NODE_BASELINES: Baselines = &[(FROM_HUB, Figure::Rate), (FROM_HUB, Figure::PerCpu)];
const SEEDER_BASELINES: Baselines = &[(HUB, Figure::PerCpu)];

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
    pull(place, programs, &seeder_home, &endpoint, &["--no-p2p".to_owned()])?;
    let mut command = place.command(&programs.zest, &seeder_home);
    command.env("HF_ENDPOINT", &endpoint);
    let seeder = Service::start(command.args(["serve", "--json", "-q", "--listen", "127.0.0.1:0"]))?;
    let addr = seeder.listens()?.to_string();
    seeder.shares()?;
    let no_p2p = ["--no-p2p".to_owned()];
    let from_peer = ["--peer".to_owned(), addr];
    let mut ways = [
        Way {
            names: [FROM_HUB, HUB],
            baselines: [&[], &[]],
            giver: &hub,
            endpoint: &endpoint,
            flags: &no_p2p,
        },
        Way {
            names: [FROM_NODE, SEEDER],
            baselines: [NODE_BASELINES, SEEDER_BASELINES],
            giver: &seeder,
            endpoint: &quiet.endpoint,
            flags: &from_peer,
        },
    ];
    for round in 0..=rounds {
        tell(&format!("pulls, round {round} of {rounds}"));
        for way in &ways {
            let (bytes, pulled, given) = way.go(place, programs, &sample)?;
            if round > 0 {
                let [puller, giver] = way.names;
                let [baselines, giver_baselines] = way.baselines;
                report.add(CASE, 0, puller, baselines, round, run_of(bytes, &pulled, &given));
                report.add(CASE, 0, giver, giver_baselines, round, run_of(bytes, &given, &pulled));
            }
        }
        // Who is first changes from round to round.
        ways.reverse();
    }
    drop((seeder, hub, quiet));
    place.clear(&seeder_home)?;
    place.clear(&root)
}

/// One way a model can come.
struct Way<'a> {
    /// Of who pulls and of who gives.
    names: [&'static str; 2],
    baselines: [Baselines; 2],
    giver: &'a Service,
    endpoint: &'a str,
    flags: &'a [String],
}

impl Way<'_> {
    /// Pulls into an empty cache. Returns the bytes of the files, and what it cost who pulled and who gave.
    fn go(&self, place: &Place, programs: &Programs, sample: &Path) -> Result<(u64, Cost, Cost), Error> {
        let home = place.folder("leecher")?;
        let before = self.giver.cpu_s()?;
        let (cost, document) = pull(place, programs, &home, self.endpoint, self.flags)?;
        let cpu_s = self.giver.cpu_s()? - before;
        let given = Cost { cpu_s, rss_bytes: self.giver.peak_rss_bytes()?, ..cost.clone() };
        check(sample, &document)?;
        if self.names[0] == FROM_NODE && document["p2p_ratio"].as_f64().is_none_or(|share| share < 1.0) {
            return Err(format!("not everything came from the peer: {document}").into());
        }
        place.clear(&home)?;
        let bytes = document["bytes"]["total"].as_u64().ok_or("the pull does not say how much it was")?;
        Ok((bytes, cost, given))
    }
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
    flags: &[String],
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
