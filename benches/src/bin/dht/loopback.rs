//! Nodes on UDP sockets of this machine, all driven by one thread.

use crate::dht_net::{Dice, is_about_a_key, key, quantile};
use crate::{Args, judge, tell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::{Duration, Instant as Clock};
use zest_core::dht::{Action, Config, Dht, Event, Family, LookupId, Outcome};
use zest_core::{InfoHash, Instant};

/// Pause of the thread while nothing is timed: 200 µs.
const REST: Duration = Duration::from_micros(200);
/// Between two lookups, so that nobody is asked faster than a stranger may ask: 20 ms.
const BETWEEN: Duration = Duration::from_millis(20);
/// A wish that takes longer is a failure: 60 s. The machine itself gives up after 30.
const WISH_MAX: Duration = Duration::from_secs(60);
/// Nodes that announce each key: 3.
const ANNOUNCERS: usize = 3;
/// Where they are said to listen.
const PORT: NonZeroU16 = NonZeroU16::new(7000).unwrap();

struct Node {
    dht: Dht,
    socket: UdpSocket,
    first: Option<Clock>,
    done: Option<(Clock, Outcome)>,
    /// Datagrams sent that ask for a key or announce one.
    sent_for_keys: u32,
}

impl Node {
    fn bind(dice: &mut Dice) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let dht = Dht::new(Config { v6: false, ..Config::new(dice.bytes()) });
        Ok(Self { dht, socket, first: None, done: None, sent_for_keys: 0 })
    }

    fn handle(&mut self, now: Instant, event: Event) {
        self.dht.handle(now, event);
        while let Some(action) = self.dht.poll_action() {
            match action {
                Action::SendTo { to, bytes } => {
                    self.sent_for_keys += u32::from(is_about_a_key(&bytes));
                    // What cannot be sent is lost, as on any network.
                    drop(self.socket.send_to(&bytes, to));
                }
                Action::Peers { .. } => drop(self.first.get_or_insert_with(Clock::now)),
                Action::Done { outcome, .. } => self.done = Some((Clock::now(), outcome)),
                Action::ExternalAddr { .. } | Action::Reached | Action::Save => {}
            }
        }
    }
}

struct Nodes {
    all: Vec<Node>,
    start: Clock,
    wishes: u64,
}

/// What became of a lookup.
struct Found {
    queries: u32,
    first_us: Option<u64>,
    done_us: u64,
}

impl Nodes {
    fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_micros() as u64)
    }

    /// Every socket and timer once; true if there was anything to do.
    fn poll(&mut self) -> bool {
        let mut buffer = [0; 2048];
        let mut busy = false;
        for at in 0..self.all.len() {
            while let Ok((len, from)) = self.all[at].socket.recv_from(&mut buffer) {
                let now = self.now();
                self.all[at].handle(now, Event::Datagram { from, bytes: buffer[..len].to_vec() });
                busy = true;
            }
            let now = self.now();
            if self.all[at].dht.poll_timeout().is_some_and(|(due, _)| due <= now) {
                self.all[at].handle(now, Event::Timer);
                busy = true;
            }
        }
        busy
    }

    fn run(&mut self, time: Duration) {
        let end = Clock::now() + time;
        while Clock::now() < end {
            if !self.poll() {
                std::thread::sleep(REST);
            }
        }
    }

    /// One wish of one node, until it is answered. The thread does not rest meanwhile.
    fn wish(
        &mut self,
        at: usize,
        info_hash: InfoHash,
        announce: bool,
    ) -> Result<Found, Box<dyn std::error::Error>> {
        self.wishes += 1;
        let id = LookupId(self.wishes);
        let event = match announce {
            true => Event::Announce { id, info_hash, port: PORT, implied: false },
            false => Event::Get { id, info_hash },
        };
        let node = &mut self.all[at];
        (node.first, node.done, node.sent_for_keys) = (None, None, 0);
        let began = Clock::now();
        let now = self.now();
        self.all[at].handle(now, event);
        while self.all[at].done.is_none() {
            self.poll();
            if began.elapsed() > WISH_MAX {
                return Err(format!("lookup {} has no end", self.wishes).into());
            }
        }
        let node = &self.all[at];
        let since = |time: Clock| time.duration_since(began).as_micros() as u64;
        let (done, outcome) = node.done.expect("it was waited for");
        let told = outcome.asked + outcome.announces;
        if node.sent_for_keys != told {
            return Err(format!("{} datagrams seen, {told} told", node.sent_for_keys).into());
        }
        Ok(Found { queries: node.sent_for_keys, first_us: node.first.map(since), done_us: since(done) })
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut dice = Dice::new(1);
    let all = (0..args.nodes).map(|_| Node::bind(&mut dice)).collect::<io::Result<Vec<Node>>>()?;
    let mut nodes = Nodes { all, start: Clock::now(), wishes: 0 };
    let boot: SocketAddr = nodes.all[0].socket.local_addr()?;
    for at in 1..args.nodes {
        let now = nodes.now();
        nodes.all[at].handle(now, Event::Bootstrap { addr: boot });
        nodes.run(Duration::from_millis(20));
    }
    nodes.run(Duration::from_secs(args.settle_s));
    println!("\n{} nodes on loopback, one thread, {} s after the last had joined", args.nodes, args.settle_s);
    let sizes: Vec<usize> = nodes.all.iter().map(|node| node.dht.nodes(Family::V4).count()).collect();
    let spread = |q| quantile(&sizes, q).unwrap_or(0);
    tell("nodes in a table", &format!("{} to {}, median {}", spread(0), spread(1000), spread(500)));

    let keys = args.lookups.div_ceil(4) as u64;
    for n in 0..keys {
        for _ in 0..ANNOUNCERS {
            let at = dice.below(args.nodes as u64) as usize;
            nodes.wish(at, key(n), true)?;
            nodes.run(BETWEEN);
        }
    }
    // Every second lookup is for a key that nobody has: it must be as cheap.
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for n in 0..2 * args.lookups as u64 {
        let at = (n % args.nodes as u64) as usize;
        if n % 2 == 0 {
            found.push(nodes.wish(at, key(n / 2 % keys), false)?);
        } else {
            missing.push(nodes.wish(at, key(1_000_000 + n), false)?);
        }
        nodes.run(BETWEEN);
    }
    report(&found, &missing);
    Ok(())
}

fn report(found: &[Found], missing: &[Found]) {
    let first: Vec<u64> = found.iter().filter_map(|found| found.first_us).collect();
    tell("keys found", &format!("{} of {} lookups", first.len(), found.len()));
    let queries = |lookups: &[Found]| lookups.iter().map(|found| found.queries).collect::<Vec<u32>>();
    let ms = |us: u64| us as f64 / 1000.0;
    let known = queries(found);
    judge("queries per get_peers, median", quantile(&known, 500).map_or(f64::NAN, f64::from), "", 20.0);
    let [low, high, most] = [100, 900, 1000].map(|q| quantile(&known, q).unwrap_or(0));
    tell("  10 %, 90 %, most", &format!("{low}, {high}, {most}"));
    let unknown = queries(missing);
    let [half, most] = [500, 1000].map(|q| quantile(&unknown, q).unwrap_or(0));
    tell("  of keys that nobody has: median, most", &format!("{half}, {most} ({} lookups)", unknown.len()));
    judge("first value, median", quantile(&first, 500).map_or(f64::NAN, ms), "ms", 5.0);
    let [low, high, most] = [100, 900, 1000].map(|q| quantile(&first, q).map_or(f64::NAN, ms));
    tell("  10 %, 90 %, longest", &format!("{low:.2}, {high:.2}, {most:.2} ms"));
    let done: Vec<u64> = found.iter().map(|found| found.done_us).collect();
    tell("lookup done, median", &format!("{:.2} ms", quantile(&done, 500).map_or(f64::NAN, ms)));
}
