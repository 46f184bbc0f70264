//! Local service discovery (BEP 14): who on this network has or wants the same files.
//!
//! [`Lsd`] owns the list of swarms that may be spoken of, and when which ones are named in which multicast group. It never
//! sends by itself and knows no sockets: [`Action::Send`] is one datagram to one [`Group`], with a hop limit of 1.
//!
//! # Times
//! A message goes out [`GATHER`] after the first swarm was added, then every [`ANNOUNCE_EVERY`] as long as there is
//! something to say, and never sooner than [`MESSAGE_EVERY`] after the one before in the same group. A message names up to 25
//! swarms: first those that are wanted and were never named, then those another node asked for, then whatever was
//! named longest ago. While there are swarms that were never named, or asked-for ones, messages follow each other at
//! [`MESSAGE_EVERY`]; so does the round through a list that is longer than [`ANNOUNCE_EVERY`] would allow.
//!
//! # Strangers
//! What others send is counted per source ([`SOURCE_MESSAGES_MAX`] in [`WINDOW`]) and in all ([`MESSAGES_MAX`]); beyond that it
//! is dropped unread. A message about swarms we do not have leaves nothing behind. An answer is our next regular message,
//! never one of its own.
//!
//! ```
//! use zest_core::lsd::{Action, Config, Event, Group, Lsd};
//! use zest_core::{InfoHash, Instant};
//!
//! let mut lsd = Lsd::new(Config { seed: [7; 32], port: 6881 });
//! lsd.handle(Instant::ZERO, Event::Group { group: Group::V4, up: true });
//! lsd.handle(Instant::ZERO, Event::Add { swarm: InfoHash([1; 20]), wanted: true });
//! let (at, _) = lsd.poll_timeout().unwrap();
//! lsd.handle(at, Event::Timer);
//! assert!(matches!(lsd.poll_action(), Some(Action::Send { group: Group::V4, .. })));
//!
//! let from = "192.168.1.9:6771".parse().unwrap();
//! let bytes = b"BT-SEARCH * HTTP/1.1\r\nPort: 7000\r\nInfohash: 0101010101010101010101010101010101010101\r\n\r\n\r\n";
//! lsd.handle(at, Event::Datagram { group: Group::V4, from, bytes });
//! let addr = "192.168.1.9:7000".parse().unwrap();
//! assert_eq!(lsd.poll_action(), Some(Action::Found { addr, swarms: vec![InfoHash([1; 20])] }));
//! ```

pub mod message;

use crate::bucket::jitter;
use crate::endpoint::{canonical, is_dialable};
use crate::node::rng::Rng;
use crate::{Duration, InfoHash, Instant};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use message::SENT_HASHES_MAX;

/// UDP port of both groups: 6771 (BEP 14).
pub const PORT: u16 = 6771;
/// Time between two rounds of messages: 5 min (BEP 14).
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(300);
/// Shortest time between two messages in a group: 60 s (BEP 14).
pub const MESSAGE_EVERY: Duration = Duration::from_secs(60);
/// Time in which swarms gather for the first message: 250 ms. Ours; a model's files are added one after another.
pub const GATHER: Duration = Duration::from_millis(250);
/// Most random delay of a message: 1 s. Ours; nodes that hear the same question do not answer as one.
pub const SPREAD: Duration = Duration::from_secs(1);
/// Swarms that are kept: 65,536. Ours; further ones are not named.
pub const SWARMS_MAX: usize = 65_536;
/// The time in which messages are counted: 60 s. Ours.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Messages of one source read in a [`WINDOW`]: 10. Ours; BEP 14 allows one per group and swarm list.
pub const SOURCE_MESSAGES_MAX: u32 = 10;
/// Messages of all sources read in a [`WINDOW`]: 3,000. Ours; 1,500 nodes on one network.
pub const MESSAGES_MAX: u32 = 3000;
/// Sources that are counted apart: 256. Ours; of more than that, the one heard longest ago is forgotten.
pub const SOURCES_MAX: usize = 256;

/// A multicast group of BEP 14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 239.192.152.143, organisation-local.
    V4,
    /// ff15::efc0:988f, site-local.
    V6,
}

impl Group {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Address and port to send to, and to listen on.
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        let ip = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)),
        };
        SocketAddr::new(ip, PORT)
    }

    /// As it stands in the `Host` line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "239.192.152.143:6771",
            Self::V6 => "[ff15::efc0:988f]:6771",
        }
    }
}

/// What the machine is told once.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Seed of all its randomness (cookie, jitter).
    pub seed: [u8; 32],
    /// TCP port we accept links on.
    pub port: u16,
}

/// Something happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A group can be sent to, or no longer (no multicast, no IPv6). Neither can at the start.
    Group {
        /// Which.
        group: Group,
        /// Whether it can.
        up: bool,
    },
    /// This swarm may be named from now on.
    Add {
        /// Which.
        swarm: InfoHash,
        /// We want it; else we have it.
        wanted: bool,
    },
    /// No longer.
    Remove {
        /// Which.
        swarm: InfoHash,
    },
    /// A datagram that came in on a group's port.
    Datagram {
        /// Which.
        group: Group,
        /// Its sender.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// The time that `poll_timeout` named has come.
    Timer,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to a group. If it fails: [`Event::Group`] with `up` false, or nothing.
    Send {
        /// Which.
        group: Group,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A node on this network shares swarms with us.
    Found {
        /// Where it listens.
        addr: SocketAddr,
        /// Those of ours it named.
        swarms: Vec<InfoHash>,
    },
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A message is to go out.
    Send(Group),
}

/// One of our swarms.
#[derive(Debug, Clone, Copy)]
struct Own {
    wanted: bool,
    /// A newcomer asked for it since it was named.
    asked: bool,
    /// When it was named last, in each group.
    named: [Option<Instant>; 2],
}

/// How much was heard of somebody.
#[derive(Debug, Clone, Copy)]
struct Heard {
    since: Instant,
    last: Instant,
    messages: u32,
    /// When it was answered last.
    answered: Option<Instant>,
}

/// Local service discovery of a process. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Lsd {
    port: u16,
    cookie: String,
    rng: Rng,
    up: [bool; 2],
    /// When the last message went out in each group.
    sent: [Option<Instant>; 2],
    /// When the next one does.
    due: [Option<Instant>; 2],
    swarms: BTreeMap<InfoHash, Own>,
    sources: BTreeMap<IpAddr, Heard>,
    window: (Instant, u32),
    actions: VecDeque<Action>,
}

impl Lsd {
    /// A machine without swarms and groups.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        Self {
            port: config.port,
            cookie: alloc::format!("{:08x}", rng.u32()),
            rng,
            up: [false; 2],
            sent: [None; 2],
            due: [None; 2],
            swarms: BTreeMap::new(),
            sources: BTreeMap::new(),
            window: (Instant::ZERO, 0),
            actions: VecDeque::new(),
        }
    }

    /// Takes one event in. Infallible: what is no message of BEP 14 changes nothing.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Group { group, up } => {
                self.up[group as usize] = up;
                self.plan(now, group, GATHER);
            }
            Event::Add { swarm, wanted } => self.add(now, swarm, wanted),
            Event::Remove { swarm } => {
                self.swarms.remove(&swarm);
                if self.swarms.is_empty() {
                    self.due = [None; 2];
                }
            }
            Event::Datagram { group, from, bytes } => self.datagram(now, group, canonical(from), bytes),
            Event::Timer => {
                for group in Group::ALL {
                    if self.due[group as usize].is_some_and(|at| at <= now) {
                        self.send(now, group);
                    }
                }
            }
        }
    }

    /// The next thing to do, in order. Poll until `None` after every [`Lsd::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Lsd::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let due = |group: Group| self.due[group as usize].map(|at| (at, Timer::Send(group)));
        Group::ALL.into_iter().filter_map(due).min()
    }

    /// Panics if a promise of the machine to itself is broken. For tests, simulation and fuzzing, after every event.
    pub fn check_invariants(&self) {
        assert!(self.swarms.len() <= SWARMS_MAX, "swarms stay within their limit");
        assert!(self.sources.len() <= SOURCES_MAX, "sources stay within their limit");
        for group in Group::ALL.map(|group| group as usize) {
            let can = self.up[group] && !self.swarms.is_empty();
            assert_eq!(
                self.due[group].is_some(),
                can,
                "a message is due if there is something to say and a way"
            );
            if let (Some(due), Some(sent)) = (self.due[group], self.sent[group]) {
                assert!(due >= sent + MESSAGE_EVERY, "messages keep their distance");
            }
        }
    }

    fn add(&mut self, now: Instant, swarm: InfoHash, wanted: bool) {
        if let Some(own) = self.swarms.get_mut(&swarm) {
            own.wanted = wanted;
            return;
        }
        if self.swarms.len() >= SWARMS_MAX {
            return;
        }
        self.swarms.insert(swarm, Own { wanted, asked: false, named: [None; 2] });
        for group in Group::ALL {
            self.plan(now, group, GATHER);
        }
    }

    /// Makes sure that a message goes out within `delay`, as far as the distance between two allows.
    fn plan(&mut self, now: Instant, group: Group, delay: Duration) {
        let index = group as usize;
        if !self.up[index] || self.swarms.is_empty() {
            self.due[index] = None;
            return;
        }
        let earliest = self.sent[index].map_or(now, |sent| sent + MESSAGE_EVERY);
        let at = (now + delay).max(earliest);
        self.due[index] = Some(self.due[index].map_or(at, |due| due.min(at)));
    }

    fn send(&mut self, now: Instant, group: Group) {
        let index = group as usize;
        self.due[index] = None;
        // First what is wanted and was never named, then what was asked for, then by the time since.
        let mut order: Vec<(u8, Option<Instant>, InfoHash)> = self
            .swarms
            .iter()
            .map(|(swarm, own)| {
                let class = match own {
                    Own { wanted: true, named, .. } if named[index].is_none() => 0,
                    Own { asked: true, .. } => 1,
                    _ => 2,
                };
                (class, own.named[index], *swarm)
            })
            .collect();
        if order.len() > SENT_HASHES_MAX {
            order.select_nth_unstable(SENT_HASHES_MAX);
            order.truncate(SENT_HASHES_MAX);
        }
        order.sort_unstable();
        let swarms: Vec<InfoHash> = order.into_iter().map(|(_, _, swarm)| swarm).collect();
        for swarm in &swarms {
            if let Some(own) = self.swarms.get_mut(swarm) {
                own.named[index] = Some(now);
                own.asked = false;
            }
        }
        let bytes = message::write(group, self.port, &swarms, &self.cookie);
        self.actions.push_back(Action::Send { group, bytes });
        self.sent[index] = Some(now);
        let delay = if self.has_more_to_say(now, index) { MESSAGE_EVERY } else { ANNOUNCE_EVERY };
        let spread = jitter(&mut self.rng, SPREAD);
        self.plan(now, group, delay + spread);
    }

    /// Whether something was not named within the last round.
    fn has_more_to_say(&self, now: Instant, index: usize) -> bool {
        let late = |named: Option<Instant>| named.is_none_or(|at| now.since(at) >= ANNOUNCE_EVERY);
        self.swarms.values().any(|own| own.asked || late(own.named[index]))
    }

    fn datagram(&mut self, now: Instant, group: Group, from: SocketAddr, bytes: &[u8]) {
        if !self.may_speak(now, from.ip()) {
            return;
        }
        let Ok(search) = message::read(bytes) else { return };
        if search.cookie == Some(self.cookie.as_bytes()) {
            return;
        }
        let mut addr = from;
        addr.set_port(search.port);
        let shared: Vec<InfoHash> =
            search.swarms.into_iter().filter(|swarm| self.swarms.contains_key(swarm)).collect();
        if shared.is_empty() || !is_dialable(addr) {
            return;
        }
        // An answer to an answer would go on for ever: nobody is answered twice within a round.
        let heard = self.sources.get_mut(&from.ip());
        let due = heard.filter(|h| h.answered.is_none_or(|at| now.since(at) >= ANNOUNCE_EVERY));
        if let Some(heard) = due {
            heard.answered = Some(now);
            for swarm in &shared {
                if let Some(own) = self.swarms.get_mut(swarm) {
                    own.asked = true;
                }
            }
            let spread = jitter(&mut self.rng, SPREAD);
            self.plan(now, group, spread);
        }
        self.actions.push_back(Action::Found { addr, swarms: shared });
    }

    /// Whether one more message of this source is read. What one source sends too much costs no other its place.
    fn may_speak(&mut self, now: Instant, ip: IpAddr) -> bool {
        if now.since(self.window.0) >= WINDOW {
            self.window = (now, 0);
        }
        let known = self.sources.contains_key(&ip);
        if self.window.1 >= MESSAGES_MAX && !known {
            return false;
        }
        if self.sources.len() >= SOURCES_MAX && !known {
            let oldest = self.sources.iter().min_by_key(|(_, heard)| heard.last).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest {
                self.sources.remove(&oldest);
            }
        }
        let heard =
            self.sources.entry(ip).or_insert(Heard { since: now, last: now, messages: 0, answered: None });
        if now.since(heard.since) >= WINDOW {
            (heard.since, heard.messages) = (now, 0);
        }
        heard.last = now;
        if heard.messages >= SOURCE_MESSAGES_MAX || self.window.1 >= MESSAGES_MAX {
            return false;
        }
        heard.messages += 1;
        self.window.1 += 1;
        true
    }
}
