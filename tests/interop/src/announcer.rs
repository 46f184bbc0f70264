//! A client of a tracker of ours, told by lines what to do: the core machine, a UDP socket and the smallest HTTP client.

use crate::node::parse_key;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};
use zest_core::tracker::{Action, Config, Event, Rank, Scraped, Standing, Trackers, http, udp};
use zest_core::{InfoHash, Instant, PeerId};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a datagram is waited for before the clock is looked at.
const TICK: Duration = Duration::from_millis(20);

struct Announcer {
    trackers: Trackers,
    socket: UdpSocket,
    began: Clock,
    swarm: InfoHash,
    left: u64,
    /// Peers of the last answer.
    peers: Option<Vec<SocketAddr>>,
    scraped: Option<Scraped>,
    problem: Option<String>,
}

impl Announcer {
    fn now(&self) -> Instant {
        Instant(self.began.elapsed().as_micros() as u64)
    }

    fn handle(&mut self, event: Event<'_>) {
        self.trackers.handle(self.now(), event);
        while let Some(action) = self.trackers.poll_action() {
            self.act(action);
        }
        self.trackers.check_invariants();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::HttpGet { id, url } => match get(&url) {
                Ok((status, body)) => self.handle(Event::HttpReply { id, status, body: &body }),
                Err(error) => self.handle(Event::HttpFailed { id, why: &error.to_string() }),
            },
            #[expect(clippy::disallowed_methods, reason = "a tool for tests, with one thread that may wait")]
            Action::Resolve { tracker, host, port } => {
                let addrs: Vec<SocketAddr> =
                    (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                self.handle(Event::Resolved { tracker, addrs: &addrs });
            }
            // A datagram that cannot be sent is a datagram that is lost.
            Action::SendTo { to, bytes } => drop(self.socket.send_to(&bytes, to)),
            Action::Peers { peers, .. } => self.peers = Some(peers),
            Action::Scraped { swarms, .. } => {
                self.scraped =
                    swarms.into_iter().find(|(swarm, _)| *swarm == self.swarm).map(|(_, sizes)| sizes);
            }
            Action::Status { standing: Standing::Refuses(why), .. } => self.problem = Some(why),
            Action::Status { standing: Standing::Fails { why, .. }, .. } => self.problem = Some(why),
            Action::Status { .. } | Action::HttpCancel { .. } | Action::ExternalIp { .. } => {}
        }
    }

    /// Does this and waits until there is an answer of the kind.
    fn ask<T>(&mut self, event: Event<'_>, answer: impl Fn(&mut Self) -> Option<T>) -> Result<T, String> {
        (self.peers, self.scraped, self.problem) = (None, None, None);
        self.handle(event);
        let until = self.began.elapsed() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = answer(self) {
                return Ok(answer);
            }
            if let Some(why) = self.problem.take() {
                return Err(why);
            }
            if self.began.elapsed() > until {
                return Err("no answer".to_owned());
            }
            if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
                assert!(udp::is_reply(&buffer[..len]), "nobody else knows of this socket");
                self.handle(Event::Datagram { from, bytes: &buffer[..len] });
            } else if self.trackers.poll_timeout().is_some_and(|(at, _)| at <= self.now()) {
                self.handle(Event::Timer);
            }
        }
    }

    fn obey(&mut self, line: &str) -> Result<String, String> {
        let swarm = self.swarm;
        let (word, wanted) = line.split_once(' ').unwrap_or((line, "0"));
        match word {
            "start" => {
                let wanted: u16 = wanted.parse().map_err(|_| "no port")?;
                let rank = if self.left == 0 { Rank::Lead } else { Rank::Wanted };
                let add = Event::Add { swarm, rank, left: self.left };
                let peers = self.ask(add, |announcer| announcer.peers.take())?;
                let found = peers.iter().any(|peer| peer.port() == wanted);
                Ok(if found { "found" } else { "none" }.to_owned())
            }
            "complete" => {
                self.ask(Event::Progress { swarm, uploaded: 0, downloaded: self.left, left: 0 }, |_| {
                    Some(())
                })?;
                self.ask(Event::Completed { swarm }, |announcer| announcer.peers.take())?;
                Ok("ok".to_owned())
            }
            "scrape" => {
                let Scraped { seeds, leeches, .. } =
                    self.ask(Event::Scrape { swarms: &[swarm] }, |announcer| announcer.scraped.take())?;
                Ok(format!("{seeds} seeds, {leeches} leeches"))
            }
            "stop" => self.ask(Event::Remove { swarm }, |_| Some("ok".to_owned())),
            _ => Err(format!("{line:?} is no command")),
        }
    }
}

/// Fetches a URL of a tracker on this machine.
fn get(url: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| bad("no http URL"))?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.take(http::REPLY_BYTES_MAX as u64 * 2).read_to_end(&mut reply)?;
    let body =
        reply.windows(4).position(|part| part == b"\r\n\r\n").ok_or_else(|| bad("no HTTP answer"))? + 4;
    let status = reply.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Ok((status.ok_or_else(|| bad("no HTTP status"))?, reply.split_off(body)))
}

/// Plays a client of the tracker at `url` in the swarm `key` with a port and a number of missing bytes.
pub(crate) fn play(url: &str, key: &str, port: &str, left: &str) -> ExitCode {
    let parsed = || Some((url.parse().ok()?, parse_key(key)?, port.parse().ok()?, left.parse().ok()?));
    let Some((tracker, swarm, port, left)) = parsed() else {
        eprintln!("not understood: {url} {key} {port} {left}");
        return ExitCode::FAILURE;
    };
    let noise = zest_tests::noise(crate::dht::unique(), 52);
    let (mut seed, mut id) = ([0; 32], *b"-ZT0500-............");
    seed.copy_from_slice(&noise[..32]);
    id[8..].copy_from_slice(&noise[40..]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket on loopback");
    socket.set_read_timeout(Some(TICK)).expect("a socket option");
    let config = Config::new(seed, PeerId(id), port, vec![vec![tracker]]);
    let trackers = Trackers::new(Instant::ZERO, config);
    let began = Clock::now();
    let (peers, scraped, problem) = (None, None, None);
    let mut announcer = Announcer { trackers, socket, began, swarm, left, peers, scraped, problem };
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", announcer.obey(&line).unwrap_or_else(|why| format!("failed: {why}")));
    }
    ExitCode::SUCCESS
}
