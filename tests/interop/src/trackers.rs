//! Trackers of others, over HTTP and UDP: who announces is told to everybody, and the numbers are right.

use crate::dht::{fresh_key, indented};
use crate::player::Player;
use crate::table::{Cell, Table};
use crate::workshop::{self, Workshop};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zest_tests::netns;

/// How long a tracker may take to be there: 10 s.
const START: Duration = Duration::from_secs(10);
/// Bytes that a leecher says it misses. Nobody asks which.
pub(crate) const LEFT: &str = "1000000";

/// A client of trackers, and how it is started: URL, info-hash, port, missing bytes.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    start: fn(&Workshop, &[&str]) -> Command,
}

const OURS: Client =
    Client { name: "zest", start: |workshop, words| workshop.ours(&[&["announcer"], words].concat()) };
const LIBTORRENT: Client =
    Client { name: "libtorrent", start: |workshop, words| workshop.python("tracker_libtorrent.py", words) };
const NPM: Client = Client {
    name: "bittorrent-tracker",
    start: |workshop, words| workshop.node("tracker_npm.mjs", &[&["join"], words].concat()),
};

/// A tracker, and how it is started for swarms of these keys.
pub(crate) struct Tracker {
    pub(crate) name: &'static str,
    pub(crate) start: fn(&Workshop, &[String]) -> Result<Running, String>,
}

const OPENTRACKER: Tracker = Tracker { name: "opentracker", start: opentracker };
const NPM_TRACKER: Tracker = Tracker { name: "bittorrent-tracker", start: npm_tracker };

/// A running tracker; it ends when this is dropped.
pub(crate) struct Running {
    pub(crate) port: u16,
    _tracker: Process,
}

enum Process {
    Player { _player: Player },
    Child(Child),
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Child(child) = self {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Runs everything; true if all understood each other.
pub(crate) fn run(workshop: &Workshop) -> bool {
    println!("\nTrackers (BEP 3, 15, 23, 48)");
    let mut good = true;
    let mut clients = vec![OURS];
    clients.extend(clients_of_others());
    for tracker in installed() {
        for scheme in ["http", "udp"] {
            println!("\n  {} over {}:", tracker.name, scheme.to_uppercase());
            match meet(workshop, &tracker, scheme, &clients) {
                Ok(tables) => {
                    for table in tables {
                        println!("{}", indented(&table.text()));
                        good &= table.is_good();
                    }
                }
                Err(why) => {
                    println!("    FAILED: {why}");
                    good = false;
                }
            }
        }
    }
    good
}

/// The clients of others that are installed; the rest is named.
pub(crate) fn clients_of_others() -> Vec<Client> {
    let clients =
        [(LIBTORRENT, workshop::lacks_libtorrent()), (NPM, workshop::lacks_npm("bittorrent-tracker"))];
    let there = clients.into_iter().filter_map(|(client, lacks)| match lacks {
        Some(why) => {
            println!("  {} is skipped as a client: {why}", client.name);
            None
        }
        None => Some(client),
    });
    there.collect()
}

/// The trackers that are installed; the rest is named.
pub(crate) fn installed() -> Vec<Tracker> {
    let trackers = [
        (OPENTRACKER, workshop::lacks_opentracker()),
        (NPM_TRACKER, workshop::lacks_npm("bittorrent-tracker")),
    ];
    let there = trackers.into_iter().filter_map(|(tracker, lacks)| match lacks {
        Some(why) => {
            println!("  {} is skipped: {why}", tracker.name);
            None
        }
        None => Some(tracker),
    });
    there.collect()
}

/// Every client announces, every client is told of it; then one swarm of ours from its start to its end.
fn meet(
    workshop: &Workshop,
    tracker: &Tracker,
    scheme: &str,
    clients: &[Client],
) -> Result<[Table; 2], String> {
    // Some trackers must be told beforehand what they may track.
    let keys: Vec<String> =
        std::iter::repeat_with(fresh_key).take(clients.len() * clients.len() + 1).collect();
    let running = (tracker.start)(workshop, &keys)?;
    let url = format!("{scheme}://127.0.0.1:{}/announce", running.port);
    let mut keys = keys.iter();
    let mut pairs = Table::new("announced by \\ found by", clients.iter().map(|client| client.name));
    for from in clients {
        let cells = clients.iter().zip(&mut keys).map(|(to, key)| {
            let pair = || -> Result<Cell, String> {
                let (mut seed, port) = join(workshop, from, &url, key, "0")?;
                seed.ask("start 0")?;
                let (mut leech, _) = join(workshop, to, &url, key, LEFT)?;
                let began = Instant::now();
                let word = leech.ask(&format!("start {port}"))?;
                Ok(if word == "found" { Cell::Found(began.elapsed()) } else { Cell::Bad(word) })
            };
            pair().unwrap_or_else(Cell::Bad)
        });
        let cells = cells.collect();
        pairs.row(from.name, cells);
    }
    let key = keys.next().expect("one more than there are pairs");
    let mut life = Table::new("a swarm of ours", ["what the tracker says"]);
    for (what, cell) in one_life(workshop, &url, key)? {
        life.row(what, vec![cell]);
    }
    Ok([pairs, life])
}

/// Starts a client with a port of its own.
fn join(
    workshop: &Workshop,
    client: &Client,
    url: &str,
    key: &str,
    left: &str,
) -> Result<(Player, u16), String> {
    let port = free_port();
    join_at(workshop, client, url, key, left, port).map(|player| (player, port))
}

/// Starts a client that will announce this port.
pub(crate) fn join_at(
    workshop: &Workshop,
    client: &Client,
    url: &str,
    key: &str,
    left: &str,
    port: u16,
) -> Result<Player, String> {
    let command = (client.start)(workshop, &[url, key, &port.to_string(), left]);
    let (player, _) = Player::start(command).map_err(|why| format!("{}: {why}", client.name))?;
    Ok(player)
}

/// A seed and a leecher; the leecher completes, the seed leaves.
fn one_life(workshop: &Workshop, url: &str, key: &str) -> Result<Vec<(&'static str, Cell)>, String> {
    let expect = |said: Result<String, String>, wanted: &str| match said {
        Ok(said) if said == wanted => Cell::Good(said),
        Ok(said) => Cell::Bad(format!("{said} instead of {wanted}")),
        Err(why) => Cell::Bad(why),
    };
    let (mut seed, port) = join(workshop, &OURS, url, key, "0")?;
    let (mut leech, leech_port) = join(workshop, &OURS, url, key, LEFT)?;
    let mut steps = vec![("a seed starts", expect(seed.ask("start 0"), "none"))];
    steps.push((
        "a leecher starts and is told of the seed",
        expect(leech.ask(&format!("start {port}")), "found"),
    ));
    steps.push(("a scrape counts both", expect(leech.ask("scrape"), "1 seeds, 1 leeches")));
    steps.push(("the leecher completes", expect(leech.ask("complete"), "ok")));
    steps.push(("a scrape counts two seeds", expect(leech.ask("scrape"), "2 seeds, 0 leeches")));
    steps.push(("the first seed leaves", expect(seed.ask("stop"), "ok")));
    steps.push(("a scrape counts who is left", expect(leech.ask("scrape"), "1 seeds, 0 leeches")));
    let (mut late, _) = join(workshop, &OURS, url, key, LEFT)?;
    steps.push(("a newcomer is not told of who left", expect(late.ask(&format!("start {port}")), "none")));
    let (mut later, _) = join(workshop, &OURS, url, key, LEFT)?;
    steps.push(("but of who is there", expect(later.ask(&format!("start {leech_port}")), "found")));
    Ok(steps)
}

fn opentracker(workshop: &Workshop, keys: &[String]) -> Result<Running, String> {
    let failed = |error: std::io::Error| error.to_string();
    // Debian builds it so that it tracks what is on a list. As root it would change into another user before it reads that.
    fs::set_permissions(workshop.dir(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    fs::write(workshop.dir().join("opentracker.list"), keys.join("\n") + "\n").map_err(failed)?;
    let port = free_port();
    let mut command = if netns::is_inside() { Command::new("unshare") } else { Command::new("opentracker") };
    if netns::is_inside() {
        // It will not run as root, and another user than root does not exist in here.
        command.args(["--user", "opentracker"]);
    }
    let port_text = port.to_string();
    command.args(["-i", "127.0.0.1", "-p", &port_text, "-P", &port_text, "-w", "opentracker.list"]);
    command.current_dir(workshop.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let began = Instant::now();
    while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Err(format!("opentracker ended with {status}"));
        }
        if began.elapsed() > START {
            let _already_gone = child.kill();
            return Err("opentracker does not listen".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Running { port, _tracker: Process::Child(child) })
}

fn npm_tracker(workshop: &Workshop, _: &[String]) -> Result<Running, String> {
    let port = free_port();
    let (player, _) = Player::start(workshop.node("tracker_npm.mjs", &["serve", &port.to_string()]))?;
    Ok(Running { port, _tracker: Process::Player { _player: player } })
}

/// A port on loopback that nobody has, neither in TCP nor in UDP.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a TCP socket on loopback");
        let addr = tcp.local_addr().expect("it is bound");
        if UdpSocket::bind(addr).is_ok() {
            return addr.port();
        }
    }
}
