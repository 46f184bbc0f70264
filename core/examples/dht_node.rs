//! DHT nodes on UDP sockets of this machine: the shortest driver there is, for trying the machine against other programs.
//!
//! ```sh
//! cargo run -p zest-core --example dht_node -- serve 127.0.0.1:7881 [COUNT]
//! cargo run -p zest-core --example dht_node -- get HOST:PORT HEX40
//! cargo run -p zest-core --example dht_node -- announce HOST:PORT HEX40 PORT
//! ```
//! `serve` runs COUNT nodes on ports from the given one on, the later ones bootstrapped from the first, until it is stopped;
//! `get` and `announce` start one node, ask the network behind HOST:PORT and end.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};

use zest_core::dht::{Action, Config, Dht, Event, LookupId, Outcome};
use zest_core::{InfoHash, Instant};

struct Node {
    dht: Dht,
    socket: UdpSocket,
    peers: Vec<(SocketAddr, Duration)>,
    done: Option<Outcome>,
}

impl Node {
    fn bind(addr: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(addr)?;
        socket.set_nonblocking(true)?;
        // Good enough to try things; a real node takes its seed from the system.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = blake3::hash(format!("{now:?} {:?}", socket.local_addr()?).as_bytes());
        let dht =
            Dht::new(Config { v6: addr.is_ipv6(), v4: addr.is_ipv4(), ..Config::new(*seed.as_bytes()) });
        Ok(Self { dht, socket, peers: Vec::new(), done: None })
    }

    fn handle(&mut self, start: Clock, event: Event) {
        self.dht.handle(micros(start), event);
        while let Some(action) = self.dht.poll_action() {
            match action {
                // A datagram that cannot be sent is a datagram that is lost.
                Action::SendTo { to, bytes } => drop(self.socket.send_to(&bytes, to)),
                Action::Peers { peers, .. } => {
                    self.peers.extend(peers.into_iter().map(|p| (p, start.elapsed())))
                }
                Action::Done { outcome, .. } => self.done = Some(outcome),
                Action::ExternalAddr { .. } | Action::Reached | Action::Save => {}
            }
        }
    }

    /// Takes in what has come; true if there was anything.
    fn poll(&mut self, start: Clock) -> bool {
        let mut buffer = [0; 2048];
        let mut busy = false;
        while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            self.handle(start, Event::Datagram { from, bytes: buffer[..len].to_vec() });
            busy = true;
        }
        if self.dht.poll_timeout().is_some_and(|(at, _)| at <= micros(start)) {
            self.handle(start, Event::Timer);
        }
        busy
    }
}

fn micros(start: Clock) -> Instant {
    Instant(start.elapsed().as_micros() as u64)
}

fn run(args: &[String]) -> Option<ExitCode> {
    let start = Clock::now();
    let addr = |at: usize| args.get(at)?.parse::<SocketAddr>().ok();
    if args.first()? == "serve" {
        let first = addr(1)?;
        let count = args.get(2).map_or(Some(1), |n| n.parse::<u16>().ok())?;
        let bind = |n| Node::bind(SocketAddr::new(first.ip(), first.port() + n)).expect("a free port");
        let mut nodes: Vec<Node> = (0..count).map(bind).collect();
        for node in nodes.iter_mut().skip(1) {
            node.handle(start, Event::Bootstrap { addr: first });
        }
        println!("BOOT {first}");
        loop {
            let busy = nodes.iter_mut().fold(false, |busy, node| node.poll(start) | busy);
            if !busy {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    }
    let boot = addr(1)?;
    let hex = args.get(2).filter(|hex| hex.len() == 40 && hex.is_ascii())?;
    let mut hash = [0; 20];
    for (byte, at) in hash.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    let (id, info_hash) = (LookupId(1), InfoHash(hash));
    let wish = match args.first()?.as_str() {
        "get" => Event::Get { id, info_hash },
        "announce" => {
            let port = args.get(3)?.parse().ok()?;
            Event::Announce { id, info_hash, port, implied: false }
        }
        _ => return None,
    };
    let mut node = Node::bind(SocketAddr::new(boot.ip(), 0)).expect("a free port");
    node.handle(start, Event::Bootstrap { addr: boot });
    node.handle(start, wish);
    while node.done.is_none() {
        if !node.poll(start) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    for (peer, at) in &node.peers {
        println!("{peer} after {at:?}");
    }
    println!("{:?} after {:?}", node.done?, start.elapsed());
    Some(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run(&args).unwrap_or_else(|| {
        eprintln!(
            "usage: dht_node serve HOST:PORT [COUNT] | get HOST:PORT HEX40 | announce HOST:PORT HEX40 PORT"
        );
        ExitCode::FAILURE
    })
}
