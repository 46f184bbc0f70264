//! One DHT of several implementations: what each announces, each finds.

use crate::player::Player;
use crate::table::{Cell, Table};
use crate::workshop::{self, Workshop};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nodes of each implementation in the common network.
const NODES: usize = 6;
/// Nodes of the host where one implementation is alone among nodes of another.
pub(crate) const HOSTS: usize = 10;
/// How long a finder looks again: 40 s. libtorrent announces in the background, up to twenty seconds after it was told to.
const LOOK: Duration = Duration::from_secs(40);

/// An implementation, and how its nodes are started: so many, and a node of the network to join.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    start: fn(&Workshop, &[&str]) -> Command,
}

const OURS: Kind =
    Kind { name: "zest", start: |workshop, words| workshop.ours(&[&["node"], words].concat()) };
const LIBTORRENT: Kind =
    Kind { name: "libtorrent", start: |workshop, words| workshop.python("dht_libtorrent.py", words) };
const MAINLINE: Kind = Kind { name: "mainline", start: Workshop::mainline };
const NPM: Kind =
    Kind { name: "bittorrent-dht", start: |workshop, words| workshop.node("dht_npm.mjs", words) };

/// Some nodes of one implementation.
pub(crate) struct Nodes {
    name: &'static str,
    player: Player,
    /// The first of them.
    pub(crate) address: String,
}

impl Kind {
    pub(crate) fn nodes(&self, workshop: &Workshop, count: usize, boot: &str) -> Result<Nodes, String> {
        let command = (self.start)(workshop, &[&count.to_string(), boot]);
        let started = Player::start(command).map_err(|why| format!("{}: {why}", self.name));
        started.map(|(player, address)| Nodes { name: self.name, player, address })
    }
}

/// Runs everything; true if all understood each other.
pub(crate) fn run(workshop: &Workshop) -> bool {
    println!("\nDHT (BEP 5)");
    let mut kinds = vec![OURS];
    kinds.extend(others());
    if kinds.len() == 1 {
        return true;
    }
    let rounds = [together(workshop, &kinds), alone(workshop, &kinds[1..])];
    let mut good = true;
    for round in rounds {
        match round {
            Ok(table) => {
                println!("\n{}", indented(&table.text()));
                good &= table.is_good();
            }
            Err(why) => {
                println!("\n  FAILED: {why}");
                good = false;
            }
        }
    }
    good
}

/// The other implementations that are installed; the rest is named.
pub(crate) fn others() -> Vec<Kind> {
    let others = [
        (LIBTORRENT, workshop::lacks_libtorrent()),
        (MAINLINE, workshop::lacks_mainline()),
        (NPM, workshop::lacks_npm("bittorrent-dht")),
    ];
    let installed = others.into_iter().filter_map(|(kind, lacks)| match lacks {
        Some(why) => {
            println!("  {} is skipped: {why}", kind.name);
            None
        }
        None => Some(kind),
    });
    installed.collect()
}

/// One network of all of them, joined through a node of ours.
fn together(workshop: &Workshop, kinds: &[Kind]) -> Result<Table, String> {
    let mut network: Vec<Nodes> = Vec::new();
    for kind in kinds {
        let boot = network.first().map_or("-", |nodes| nodes.address.as_str());
        network.push(kind.nodes(workshop, NODES, boot)?);
    }
    println!("\n  {} nodes of each in one network, joined through one of ours:", NODES);
    let mut table = Table::new("announced by \\ found by", kinds.iter().map(|kind| kind.name));
    for from in 0..network.len() {
        let (key, port) = (fresh_key(), fresh_port());
        let announced = announce(&mut network[from], &key, port);
        let cells = (0..network.len()).map(|to| match &announced {
            Ok(()) => find(&mut network[to], &key, port),
            Err(why) => Cell::Bad(why.clone()),
        });
        let cells = cells.collect();
        table.row(network[from].name, cells);
    }
    Ok(table)
}

/// One node of ours in a network of theirs, and one of theirs in a network of ours: what is announced is kept by nodes of the other.
fn alone(workshop: &Workshop, others: &[Kind]) -> Result<Table, String> {
    println!("\n  one node alone in a network of {HOSTS} others:");
    let columns = ["it announces, they find", "they announce, it finds"];
    let mut table = Table::new("", columns);
    for other in others {
        for (guest, host) in [(&OURS, other), (other, &OURS)] {
            let mut hosts = host.nodes(workshop, HOSTS, "-")?;
            let mut guest = guest.nodes(workshop, 1, &hosts.address)?;
            let name = format!("{} among {}", guest.name, hosts.name);
            let cells = vec![pass_on(&mut guest, &mut hosts), pass_on(&mut hosts, &mut guest)];
            table.row(name, cells);
        }
    }
    Ok(table)
}

fn pass_on(from: &mut Nodes, to: &mut Nodes) -> Cell {
    let (key, port) = (fresh_key(), fresh_port());
    match announce(from, &key, port) {
        Ok(()) => find(to, &key, port),
        Err(why) => Cell::Bad(why),
    }
}

/// Announces this at the first of the nodes.
pub(crate) fn announce(nodes: &mut Nodes, key: &str, port: u16) -> Result<(), String> {
    nodes.player.ask(&format!("announce {key} {port}")).map(drop)
}

/// Looks for this at the last of the nodes, until it is there.
pub(crate) fn find(nodes: &mut Nodes, key: &str, port: u16) -> Cell {
    let began = Instant::now();
    loop {
        match nodes.player.ask(&format!("find {key} {port}")) {
            Ok(word) if word == "found" => return Cell::Found(began.elapsed()),
            Ok(_) if began.elapsed() < LOOK => {}
            Ok(word) => return Cell::Bad(word),
            Err(why) => return Cell::Bad(why),
        }
    }
}

/// A number that is used for nothing else.
pub(crate) fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    now ^ (u64::from(std::process::id()) << 40) ^ (COUNT.fetch_add(1, Ordering::Relaxed) << 56)
}

/// An info-hash of nobody, in hexadecimal digits.
pub(crate) fn fresh_key() -> String {
    zest_tests::noise(unique(), 20).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A port to announce. Nobody listens there.
fn fresh_port() -> u16 {
    let noise = zest_tests::noise(unique(), 2);
    20_000 + u16::from_le_bytes([noise[0], noise[1]]) % 20_000
}

/// Set in, as all that belongs to a heading.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
