//! DHT nodes of ours on UDP sockets of loopback, told by lines what to do: the core machine and the shortest driver there is.

use std::io::BufRead as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant as Clock};
use zest_core::dht::{Action, Config, Dht, Event, LookupId, Outcome};
use zest_core::{InfoHash, Instant};

/// How long nobody is listened to while nothing comes.
const PAUSE: Duration = Duration::from_micros(500);
/// Longest datagram that is read, in bytes.
const DATAGRAM: usize = 2048;
/// Nodes that know this many others are ready, or all there are.
const READY: usize = 4;
/// Longest wait for that.
const READY_WAIT: Duration = Duration::from_secs(20);

struct Node {
    dht: Dht,
    socket: UdpSocket,
    found: Vec<SocketAddr>,
    done: Option<Outcome>,
}

impl Node {
    fn bind() -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let mut seed = [0; 32];
        seed.copy_from_slice(&zest_tests::noise(crate::dht::unique(), 32));
        let dht = Dht::new(Config { v6: false, ..Config::new(seed) });
        Ok(Self { dht, socket, found: Vec::new(), done: None })
    }

    fn handle(&mut self, now: Instant, event: Event) {
        self.dht.handle(now, event);
        self.dht.check_invariants();
        while let Some(action) = self.dht.poll_action() {
            match action {
                // A datagram that cannot be sent is a datagram that is lost.
                Action::SendTo { to, bytes } => drop(self.socket.send_to(&bytes, to)),
                Action::Peers { peers, .. } => self.found.extend(peers),
                Action::Done { outcome, .. } => self.done = Some(outcome),
                Action::ExternalAddr { .. } | Action::Reached | Action::Save => {}
            }
        }
    }

    /// Takes in what has come.
    fn poll(&mut self, now: Instant) {
        let mut buffer = [0; DATAGRAM];
        while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            self.handle(now, Event::Datagram { from, bytes: buffer[..len].to_vec() });
        }
        if self.dht.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.handle(now, Event::Timer);
        }
    }
}

/// Several nodes, and who tells them what to do.
struct Nodes {
    nodes: Vec<Node>,
    began: Clock,
    lines: Receiver<String>,
    next: u64,
}

impl Nodes {
    fn now(&self) -> Instant {
        Instant(self.began.elapsed().as_micros() as u64)
    }

    /// Lets the nodes live until `end` is true of them, or the time is up.
    fn live(&mut self, most: Duration, end: impl Fn(&[Node]) -> bool) {
        let until = self.began.elapsed() + most;
        while !end(&self.nodes) && self.began.elapsed() < until {
            let now = self.now();
            self.nodes.iter_mut().for_each(|node| node.poll(now));
            std::thread::sleep(PAUSE);
        }
    }

    /// Does what is asked until nobody asks any more.
    fn obey(&mut self) {
        loop {
            match self.lines.recv_timeout(PAUSE) {
                Ok(line) => println!(
                    "{}",
                    self.answer(&line).unwrap_or_else(|| format!("failed: {line:?} is no command"))
                ),
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.now();
                    self.nodes.iter_mut().for_each(|node| node.poll(now));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, line: &str) -> Option<String> {
        let mut words = line.split(' ');
        let (word, key, port) = (words.next()?, parse_key(words.next()?)?, words.next()?.parse().ok()?);
        self.next += 1;
        let id = LookupId(self.next);
        let (at, event) = match word {
            "announce" => (0, Event::Announce { id, info_hash: key, port, implied: false }),
            "find" => (self.nodes.len() - 1, Event::Get { id, info_hash: key }),
            _ => return None,
        };
        let now = self.now();
        let node = &mut self.nodes[at];
        (node.found, node.done) = (Vec::new(), None);
        node.handle(now, event);
        self.live(READY_WAIT * 2, |nodes| nodes[at].done.is_some());
        let node = &self.nodes[at];
        let Some(outcome) = node.done else { return Some("failed: the lookup does not end".to_owned()) };
        Some(match word {
            "announce" if outcome.announced_to == 0 => format!("failed: nobody took it: {outcome:?}"),
            "announce" => "ok".to_owned(),
            _ if node.found.iter().any(|peer| peer.port() == u16::from(port)) => "found".to_owned(),
            _ => "none".to_owned(),
        })
    }
}

/// Plays `count` nodes that start from `boot`.
pub(crate) fn play(count: &str, boot: &str) -> ExitCode {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let Ok(count) = count.parse::<usize>() else { return ExitCode::FAILURE };
    let nodes: Vec<Node> =
        std::iter::repeat_with(|| Node::bind().expect("a UDP socket on loopback")).take(count).collect();
    let first = nodes[0].socket.local_addr().expect("it is bound");
    let mut all = Nodes { nodes, began: Clock::now(), lines, next: 0 };
    let alone = boot == "-" && count == 1;
    for at in 0..count {
        let addr = if boot == "-" { first } else { boot.parse().expect("an address") };
        if addr != first || at > 0 {
            all.nodes[at].handle(Instant::ZERO, Event::Bootstrap { addr });
        }
    }
    let known = |node: &Node| node.dht.stats().nodes[0] as usize;
    // The bootstrap node itself never enters a table.
    let least = if boot == "-" { READY.min(count.saturating_sub(2)) } else { 1 };
    all.live(READY_WAIT, |nodes| alone || nodes.iter().all(|node| known(node) >= least));
    println!("ready {first}");
    all.obey();
    ExitCode::SUCCESS
}

/// An info-hash of 40 hexadecimal digits.
pub(crate) fn parse_key(hex: &str) -> Option<InfoHash> {
    let digits = hex.as_bytes();
    let mut key = [0; 20];
    (digits.len() == 2 * key.len()).then_some(())?;
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(InfoHash(key))
}
