//! The `zest` command beside others: what it announces, they find; and a model goes from one machine to another that knows
//! nothing but a node or a tracker of theirs.

use crate::dht::{self, HOSTS, Kind, announce, find, indented};
use crate::player::Player;
use crate::table::{Cell, Table};
use crate::trackers::{self, Client, LEFT, Tracker, free_port, join_at};
use crate::workshop::Workshop;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use zest_core::InfoHash;
use zest_tests::known::Known;
use zest_tests::program::{Host, Running};
use zest_tests::{Site, noise};

/// Bytes of the model.
const MODEL: usize = 3_000_000;
/// What the CDN gives, in bytes/s: half a minute for the model, if nobody else has it.
const CDN_BYTES_S: u64 = 100_000;

/// How long a tracker is asked for the owner again.
const TOLD: Duration = Duration::from_secs(10);

/// A hub, and a machine that has the model.
struct Stage {
    _runtime: Runtime,
    _site: Site,
    endpoint: String,
    owner: Host,
    /// The swarm of the model's file, in hexadecimal digits.
    key: String,
}

impl Stage {
    fn set() -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let content = noise(dht::unique(), MODEL);
        let InfoHash(key) = InfoHash::of_file(&Known::new(content.clone()).file());
        let mut site = Site::new();
        site.add("org/model", "model.safetensors", &content);
        let endpoint = runtime.block_on(site.open());
        let owner = Host::default();
        let first = report(owner.command(&endpoint, &words(&["pull", "org/model", "--json", "--no-p2p"])))?;
        if first["bytes"]["from_cdn"] != MODEL {
            return Err(format!("the first pull: {first}"));
        }
        site.faults().set_cdn_rate(Some(CDN_BYTES_S));
        let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { _runtime: runtime, _site: site, endpoint, owner, key })
    }

    /// The owner gives the model to everyone, and finds them in these ways.
    fn seed(&self, ways: &[&str]) -> Running {
        started(self.owner.finder(&self.endpoint, &[&["seed"], ways].concat(), false))
    }

    /// The owner gives the model to whoever knows where: on this port of 127.0.0.1, announced nowhere.
    fn serve(&self, port: u16) -> Running {
        let listen = format!("127.0.0.1:{port}");
        started(self.owner.command(&self.endpoint, &words(&["serve", "--json", "--listen", &listen])))
    }

    /// A client of somebody else asks a tracker, and asks it again while the owner's announce is on its way.
    fn told_of_owner(&self, workshop: &Workshop, client: &Client, url: &str) -> Cell {
        let began = Instant::now();
        loop {
            let told = join_at(workshop, client, url, &self.key, LEFT, free_port())
                .and_then(|mut client| client.ask(&format!("start {}", self.owner.address().port())));
            match told {
                Ok(word) if word == "found" => return Cell::Found(began.elapsed()),
                Ok(_) if began.elapsed() < TOLD => {}
                Ok(why) | Err(why) => return Cell::Bad(why),
            }
        }
    }

    /// A machine without anything pulls the model, and finds peers in these ways.
    fn pull(&self, ways: &[&str]) -> Cell {
        let host = Host::default();
        let report = report(host.finder(&self.endpoint, &[&["pull", "org/model"], ways].concat(), false));
        let told = report.map(|report| {
            let from_peers = report["bytes"]["from_peers"].as_u64().unwrap_or(0);
            let seconds = report["elapsed_s"].as_f64().unwrap_or(f64::MAX);
            (from_peers, seconds)
        });
        match told {
            Ok((from_peers, seconds)) if from_peers >= MODEL as u64 * 9 / 10 => {
                Cell::Found(Duration::from_secs_f64(seconds))
            }
            Ok((from_peers, _)) => Cell::Bad(format!("{from_peers} of {MODEL} bytes came from peers")),
            Err(why) => Cell::Bad(why),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs a pull to its end.
fn report(mut command: Command) -> Result<Value, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("zest ended with {}: {text}", output.status));
    }
    serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))
}

/// Starts a program that serves, and waits until it does.
fn started(command: Command) -> Running {
    let mut running = Running::start(command);
    running.event("indexed");
    running
}

/// Runs everything; true if all understood each other.
pub(crate) fn run(workshop: &Workshop) -> bool {
    println!("\nThe zest command");
    let stage = match Stage::set() {
        Ok(stage) => stage,
        Err(why) => {
            println!("  FAILED: {why}");
            return false;
        }
    };
    let mut good = true;
    let kinds = dht::others();
    if !kinds.is_empty() {
        println!("\n  in a DHT of {HOSTS} nodes of another implementation:");
        let mut table = Table::new(
            "",
            [
                "it finds what zest seed announces",
                "zest pull finds that",
                "zest pull finds what it announces",
            ],
        );
        for kind in &kinds {
            table.row(
                kind.name,
                through_dht(workshop, &stage, kind).unwrap_or_else(|why| vec![Cell::Bad(why)]),
            );
        }
        println!("{}", indented(&table.text()));
        good &= table.is_good();
    }
    let clients = trackers::clients_of_others();
    for tracker in trackers::installed() {
        let mut columns: Vec<String> =
            clients.iter().map(|client| format!("{} finds what zest seed announces", client.name)).collect();
        columns
            .extend(["zest pull finds that".to_owned(), "zest pull finds what others announce".to_owned()]);
        let mut table = Table::new(tracker.name, columns.iter().map(String::as_str));
        for scheme in ["HTTP", "UDP"] {
            let cells = through_tracker(workshop, &stage, &tracker, scheme, &clients);
            table.row(scheme, cells.unwrap_or_else(|why| vec![Cell::Bad(why)]));
        }
        println!("{}", indented(&table.text()));
        good &= table.is_good();
    }
    good
}

fn through_dht(workshop: &Workshop, stage: &Stage, kind: &Kind) -> Result<Vec<Cell>, String> {
    let mut nodes = kind.nodes(workshop, HOSTS, "-")?;
    let address = nodes.address.clone();
    let ways = ["--bootstrap", &address];
    let mut cells = Vec::new();
    {
        let _seeding = stage.seed(&ways);
        cells.push(find(&mut nodes, &stage.key, stage.owner.address().port()));
        cells.push(stage.pull(&ways));
    }
    // Nodes that know of nothing: what follows is found through their own announcement.
    drop(nodes);
    let mut nodes = kind.nodes(workshop, HOSTS, "-")?;
    let address = nodes.address.clone();
    let port = free_port();
    let _serving = stage.serve(port);
    announce(&mut nodes, &stage.key, port)?;
    // Some announce in the background.
    if let bad @ Cell::Bad(_) = find(&mut nodes, &stage.key, port) {
        cells.push(bad);
        return Ok(cells);
    }
    cells.push(stage.pull(&["--bootstrap", &address]));
    Ok(cells)
}

fn through_tracker(
    workshop: &Workshop,
    stage: &Stage,
    tracker: &Tracker,
    scheme: &str,
    clients: &[Client],
) -> Result<Vec<Cell>, String> {
    let start = || (tracker.start)(workshop, std::slice::from_ref(&stage.key));
    let url_of = |port: u16| format!("{}://127.0.0.1:{port}/announce", scheme.to_lowercase());
    let mut cells = Vec::new();
    {
        let running = start()?;
        let url = url_of(running.port);
        let _seeding = stage.seed(&["-t", &url, "--no-dht"]);
        for client in clients {
            cells.push(stage.told_of_owner(workshop, client, &url));
        }
        cells.push(stage.pull(&["-t", &url, "--no-dht"]));
    }
    let running = start()?;
    let url = url_of(running.port);
    let port = free_port();
    let _serving = stage.serve(port);
    // libtorrent announces where it listens itself; the other client announces what it is told.
    let Some(client) = clients.iter().find(|client| client.name != "libtorrent") else {
        cells.push(Cell::Good("nobody to announce".to_owned()));
        return Ok(cells);
    };
    let mut announcer: Player = join_at(workshop, client, &url, &stage.key, "0", port)?;
    announcer.ask("start 0")?;
    cells.push(stage.pull(&["-t", &url, "--no-dht"]));
    Ok(cells)
}
