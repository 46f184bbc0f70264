//! What tests find peers with: a DHT node to start from, trackers and an ear on the multicast group, all on loopback. They
//! note every byte they hear.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant as Clock};
use zest_core::dht::{Action, Config, Dht, Event};
use zest_core::lsd::Group;
use zest_core::{InfoHash, Instant};

/// Longest wait for something to be heard. A test that waits this long has failed; nothing depends on the figure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a thread listens before it looks whether it is to end.
const TURN: Duration = Duration::from_millis(50);

/// What a pull had from peers of files that are in chunks, by its report. Where a peer is found before the small files are here, it gives
/// those as well.
///
/// # Panics
///
/// The report is none.
#[must_use]
pub fn chunks_from_peers(report: &serde_json::Value) -> u64 {
    let files = report["files"].as_array().expect("files");
    let small = files.iter().filter(|file| file["how"] == "peers");
    let small: u64 = small.map(|file| file["size"].as_u64().expect("a size")).sum();
    report["bytes"]["from_peers"].as_u64().expect("a number") - small
}

/// What was heard, in order. Info-hashes in URLs are decoded.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>);

impl Log {
    fn note(&self, bytes: Vec<u8>) {
        self.0.0.lock().expect("no holder panics").push(bytes);
        self.0.1.notify_all();
    }

    /// Waits until this holds of what was heard. Blocks the thread.
    ///
    /// # Panics
    /// If it never does.
    pub fn wait(&self, what: &str, holds: impl Fn(&[Vec<u8>]) -> bool) {
        let (log, changed) = &*self.0;
        let log = log.lock().expect("no holder panics");
        let (log, outcome) =
            changed.wait_timeout_while(log, PATIENCE, |log| !holds(log)).expect("no holder panics");
        assert!(!outcome.timed_out(), "{what} did not happen; {} messages were heard", log.len());
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.0.lock().expect("no holder panics").clone()
    }

    /// Whether anything named this swarm, in bytes or in hex.
    #[must_use]
    pub fn names(&self, swarm: &InfoHash) -> bool {
        self.all().iter().any(|bytes| names(bytes, swarm))
    }
}

/// Whether these bytes name a swarm, in bytes or in hex.
#[must_use]
pub fn names(bytes: &[u8], swarm: &InfoHash) -> bool {
    let hex: String = swarm.0.iter().map(|byte| format!("{byte:02x}")).collect();
    holds(bytes, &swarm.0) || holds(&bytes.to_ascii_lowercase(), hex.as_bytes())
}

/// Whether these bytes have that part.
#[must_use]
pub fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A thread that ends with its owner.
struct Turns(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Turns {
    fn start(mut turn: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                turn();
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ended = self.1.take().map(std::thread::JoinHandle::join);
    }
}

/// A node of the DHT that others start from.
pub struct Boot {
    /// Where it is.
    pub addr: SocketAddr,
    /// Datagrams it got.
    pub log: Log,
    _thread: Turns,
}

impl Boot {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
    }

    /// Starts it on a socket that may have heard something before.
    ///
    /// # Panics
    /// If the socket is not bound.
    #[must_use]
    pub fn start_on(socket: UdpSocket) -> Self {
        let addr = socket.local_addr().expect("it is bound");
        let log = Log::default();
        let heard = log.clone();
        let start = Clock::now();
        let mut dht = Dht::new(Config { v6: false, ..Config::new([9; 32]) });
        let mut buffer = [0; 2048];
        let thread = Turns::start(move || {
            let now = |start: Clock| Instant(start.elapsed().as_micros() as u64);
            let due = dht.poll_timeout().map(|(at, _)| {
                Duration::from_micros(at.0) - start.elapsed().min(Duration::from_micros(at.0))
            });
            let wait = due.unwrap_or(TURN).clamp(Duration::from_millis(1), TURN);
            socket.set_read_timeout(Some(wait)).expect("a socket option");
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    heard.note(buffer[..len].to_vec());
                    dht.handle(now(start), Event::Datagram { from, bytes: buffer[..len].to_vec() });
                }
                Err(_) => dht.handle(now(start), Event::Timer),
            }
            while let Some(action) = dht.poll_action() {
                if let Action::SendTo { to, bytes } = action {
                    let _lost = socket.send_to(&bytes, to);
                }
            }
        });
        Self { addr, log, _thread: thread }
    }

    /// Waits until somebody has announced a swarm here.
    pub fn wait_for_announce(&self, swarm: &InfoHash) {
        self.log.wait("an announcement in the DHT", |log| {
            log.iter().any(|bytes| holds(bytes, b"announce_peer") && names(bytes, swarm))
        });
    }
}

/// How a tracker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// It takes everything in and never answers.
    Mute,
    /// It takes its time: 700 ms for everything said over HTTP. Over UDP a connection id is good for one announce.
    Slow,
}

/// What a slow tracker takes to answer over HTTP.
const SLOW: Duration = Duration::from_millis(700);

type Swarms = Arc<Mutex<BTreeMap<[u8; 20], BTreeSet<SocketAddrV4>>>>;

/// A tracker over HTTP and UDP.
pub struct Tracker {
    /// Its URL for HTTP.
    pub http: String,
    /// Its URL for UDP.
    pub udp: String,
    /// Requests it got over HTTP, decoded.
    pub http_log: Log,
    /// Datagrams it got.
    pub udp_log: Log,
    _threads: [Turns; 2],
}

impl Tracker {
    /// Starts it on free ports of loopback. Both ways lead to the same swarms.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn start(manner: Manner) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, manner)
    }

    /// Starts it on free ports of this address.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn start_at(address: Ipv4Addr, manner: Manner) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let http = format!("http://{}/announce", listener.local_addr().expect("it is bound"));
        let socket = UdpSocket::bind((address, 0)).expect("a free port");
        let udp = format!("udp://{}", socket.local_addr().expect("it is bound"));
        let swarms = Swarms::default();
        let (http_log, udp_log) = (Log::default(), Log::default());
        let threads = [
            serve_http(listener, manner, swarms.clone(), http_log.clone()),
            serve_udp(socket, manner, swarms, udp_log.clone()),
        ];
        Self { http, udp, http_log, udp_log, _threads: threads }
    }
}

/// Adds a peer, or takes it out; gives the others.
fn join(swarms: &Swarms, swarm: [u8; 20], peer: SocketAddrV4, stopped: bool) -> Vec<u8> {
    let mut swarms = swarms.lock().expect("no holder panics");
    let peers = swarms.entry(swarm).or_default();
    if stopped {
        peers.remove(&peer);
    } else {
        peers.insert(peer);
    }
    let others = peers.iter().filter(|other| **other != peer);
    others.flat_map(|addr| [&addr.ip().octets()[..], &addr.port().to_be_bytes()].concat()).collect()
}

fn serve_http(listener: TcpListener, manner: Manner, swarms: Swarms, log: Log) -> Turns {
    listener.set_nonblocking(true).expect("a socket option");
    // A mute tracker keeps its callers waiting as long as it lives.
    let mut waiting: Vec<TcpStream> = Vec::new();
    Turns::start(move || {
        let Ok((mut stream, from)) = listener.accept() else {
            std::thread::park_timeout(Duration::from_millis(2));
            return;
        };
        stream.set_nonblocking(false).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let decoded = percent_decoded(&head);
        if manner == Manner::Mute {
            waiting.push(stream);
            log.note(decoded);
            return;
        }
        if manner == Manner::Slow {
            std::thread::sleep(SLOW);
        }
        let SocketAddr::V4(from) = from else { return };
        let line = String::from_utf8_lossy(&head);
        let port = value(&line, "port=").parse().unwrap_or(0);
        let swarm = percent_decoded(value(&line, "info_hash=").as_bytes());
        let Ok(swarm) = <[u8; 20]>::try_from(swarm) else { return };
        let stopped = value(&line, "event=") == "stopped";
        let peers = join(&swarms, swarm, SocketAddrV4::new(*from.ip(), port), stopped);
        let mut body = format!("d8:intervali1800e12:min intervali1e5:peers{}:", peers.len()).into_bytes();
        body.extend_from_slice(&peers);
        body.push(b'e');
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _gone = stream.write_all(&[answer.as_bytes(), &body].concat());
        log.note(decoded);
    })
}

fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split_once(name).map_or("", |(_, rest)| rest);
    rest.split(['&', ' ']).next().unwrap_or_default()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let pair = text.get(at + 1).zip(text.get(at + 2));
        let code = pair.and_then(|(high, low)| Some(digit(*high)? * 16 + digit(*low)?));
        match (text[at], code) {
            (b'%', Some(code)) => {
                out.push(code as u8);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// BEP 15. Connection ids are not checked, as it is the client that is tested; but a slow tracker forgets them.
fn serve_udp(socket: UdpSocket, manner: Manner, swarms: Swarms, log: Log) -> Turns {
    socket.set_read_timeout(Some(TURN)).expect("a socket option");
    let mut buffer = [0; 2048];
    let (mut last, mut used) = (6u64, true);
    Turns::start(move || {
        let Ok((len, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) else { return };
        let packet = &buffer[..len];
        if manner == Manner::Mute {
            log.note(packet.to_vec());
            return;
        }
        let answer = match packet.get(8..12) {
            Some([0, 0, 0, 0]) if len == 16 => {
                (last, used) = (last + 1, false);
                [&packet[8..16], &last.to_be_bytes()].concat()
            }
            Some([0, 0, 0, 1])
                if manner == Manner::Slow
                    && (std::mem::replace(&mut used, true) || packet[..8] != last.to_be_bytes()) =>
            {
                let error = [&3u32.to_be_bytes()[..], &packet[12..16], b"Connection ID missmatch.\0"];
                let _lost = socket.send_to(&error.concat(), from);
                return;
            }
            Some([0, 0, 0, 1]) if len >= 98 => {
                let swarm = packet[16..36].try_into().expect("20 bytes");
                let port = u16::from_be_bytes([packet[96], packet[97]]);
                let stopped = packet[83] == 3;
                let peers = join(&swarms, swarm, SocketAddrV4::new(*from.ip(), port), stopped);
                let counts = [1800u32, 0, 0].map(u32::to_be_bytes).concat();
                [&packet[8..16], &counts, &peers].concat()
            }
            _ => return,
        };
        let _lost = socket.send_to(&answer, from);
        log.note(packet.to_vec());
    })
}

/// An ear on the multicast group of IPv4, on the loopback interface.
pub struct Ear {
    /// What it heard.
    pub log: Log,
    _thread: Turns,
}

impl Ear {
    /// `None` where loopback cannot multicast.
    ///
    /// # Panics
    /// If a socket has no time-outs.
    #[must_use]
    pub fn open() -> Option<Self> {
        use rustix::net::{AddressFamily, SocketType, sockopt};
        let SocketAddr::V4(group) = Group::V4.addr() else { return None };
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        sockopt::set_socket_reuseaddr(&socket, true).ok()?;
        sockopt::set_socket_reuseport(&socket, true).ok()?;
        rustix::net::bind(&socket, &group).ok()?;
        let socket = UdpSocket::from(socket);
        socket.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST).ok()?;
        socket.set_read_timeout(Some(TURN)).expect("a socket option");
        let log = Log::default();
        let heard = log.clone();
        let mut buffer = [0; 4096];
        let thread = Turns::start(move || {
            if let Ok((len, _)) = socket.recv_from(&mut buffer) {
                heard.note(buffer[..len].to_vec());
            }
        });
        Some(Self { log, _thread: thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_is_recognised_in_every_form() {
        let swarm = InfoHash([0xab; 20]);
        assert!(names(&[&b"x"[..], &[0xab; 20], b"y"].concat(), &swarm));
        assert!(names(
            "Infohash: "
                .to_owned()
                .as_bytes()
                .iter()
                .copied()
                .chain(b"AB".repeat(20))
                .collect::<Vec<_>>()
                .as_slice(),
            &swarm
        ));
        assert!(names(
            &percent_decoded(b"info_hash=%AB%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab%ab&"),
            &swarm
        ));
        assert!(!names(&[0xab; 19], &swarm));
    }
}
