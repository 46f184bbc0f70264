//! Finding peers, as one machine: what is announced and looked up ([`Discovery`], with trackers and the local network), the
//! [`Dht`], and what linked peers tell each other ([`Pex`]). What one of them wants of another stays inside.
//!
//! It also keeps an eye on the jobs that look for peers: which are announced themselves, which are starved, and how long one
//! that would share the origin's work waits for others ([`Action::Wait`]).
//!
//! ```
//! use zest_core::finder::{Action, Config, Event, Finder};
//! use zest_core::{Instant, PeerId, dht, discovery};
//!
//! let swarms = discovery::Config::new([1; 32], PeerId(*b"-ZT0500-we-ourselves"), 6881);
//! let mut finder = Finder::new(Instant::ZERO, Config { dht: Some(dht::Config::new([2; 32])), ..Config::new([3; 32], swarms) });
//! finder.handle(Instant::ZERO, Event::Bootstrap { addr: "192.0.2.7:6881".parse().unwrap() });
//! assert!(matches!(finder.poll_action(), Some(Action::SendTo { .. })), "it asks who is near");
//! ```

mod event;

pub use event::{Action, Event};

use crate::dht::{self, Dht, LookupId, Saved};
use crate::discovery::{self, Discovery, OpId, SharedFile};
use crate::endpoint::{Found, canonical};
use crate::link::{ExtHandshake, Message, ZestMessage};
use crate::node::Direction;
use crate::pex::{self, Pex};
use crate::tracker;
use crate::{Duration, Instant, JobId, LinkId, wire};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

/// A file that is being fetched for longer than this is announced, as its proven part can be had: 4 s. Ours; shorter ones are
/// over before anybody who looks for them could connect. In a simulated crowd of 256 that know one node of the DHT alone,
/// 15 s cost a quarter more time and a copy more from the origin.
pub const ANNOUNCE_AFTER: Duration = Duration::from_secs(4);
/// Trackers learn how far a job is with their next announce; it is noted this often: 30 s.
const PROGRESS: Duration = Duration::from_secs(30);
/// A job whose file no linked peer has for so long is starved: 3 s. Ours.
const STARVED_AFTER: Duration = Duration::from_secs(3);
/// And again every 30 s. Ours.
const STARVED_AGAIN: Duration = Duration::from_secs(30);
/// How long a job that shares the origin's work with others waits while they are looked for: 3 s. Ours; neighbours answer
/// within one, trackers and the DHT mostly within two.
const LOOKING: Duration = Duration::from_secs(3);
/// The same once one was found: 1 s, time to connect and to hear what the others have.
const MEETING: Duration = Duration::from_secs(1);
/// Times between two words on a job ([`Event::Job`]): 5 s. Ours.
pub const JOBS_EVERY: Duration = Duration::from_secs(5);

/// What the machine is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Announcing and looking up, trackers, the local network.
    pub swarms: discovery::Config,
    /// The DHT, if there is one.
    pub dht: Option<dht::Config>,
    /// Port of the socket that the DHT shares with UDP trackers, if it is open.
    pub udp_port: Option<u16>,
    /// Seed of the randomness of peer exchange.
    pub pex_seed: [u8; 32],
}

impl Config {
    /// Without a DHT.
    #[must_use]
    pub fn new(pex_seed: [u8; 32], swarms: discovery::Config) -> Self {
        Self { swarms, dht: None, udp_port: None, pex_seed }
    }
}

/// Whether what a remote said concerns finding peers ([`Event::Heard`]).
#[must_use]
#[inline]
pub fn concerns(message: &Message) -> bool {
    matches!(
        message,
        Message::ExtHandshake(_)
            | Message::Pex(_)
            | Message::Zest(ZestMessage::Interest { .. } | ZestMessage::Have { .. })
    )
}

/// One job that looks for peers.
#[derive(Debug)]
struct Seeking {
    file: SharedFile,
    began: Instant,
    told: Instant,
    starved: Option<Instant>,
    announced: bool,
    landed: bool,
    /// A peer was met since it began.
    met: bool,
}

/// Everything about finding peers. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Finder {
    /// TCP port we accept links on; 0: none.
    port: u16,
    udp_port: Option<u16>,
    swarms: Discovery,
    dht: Option<Dht>,
    pex: Pex,
    jobs: BTreeMap<JobId, Seeking>,
    /// Links, with the addresses of their remotes and who dialled.
    links: BTreeMap<LinkId, (SocketAddr, Direction)>,
    /// Those whose remotes said what they speak.
    linked: BTreeSet<LinkId>,
    /// Peers that the user named: nobody is told of them.
    named: BTreeSet<SocketAddr>,
    /// A peer was met.
    met: bool,
    actions: VecDeque<Action>,
}

impl Finder {
    /// A machine that has found nobody yet.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut finder = Self {
            port: config.swarms.port,
            udp_port: config.udp_port,
            swarms: Discovery::new(now, config.swarms),
            dht: config.dht.map(Dht::new),
            pex: Pex::new(config.pex_seed),
            jobs: BTreeMap::new(),
            links: BTreeMap::new(),
            linked: BTreeSet::new(),
            named: BTreeSet::new(),
            met: false,
            actions: VecDeque::new(),
        };
        if finder.dht.is_some() {
            finder.swarms(now, discovery::Event::Dht { up: true });
        }
        finder
    }

    /// Takes an event in.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Swarms(event) => self.told(now, event),
            Event::Job { job, done, from_peers, sources } => self.watch(now, job, done, from_peers, sources),
            Event::Met => self.met(),
            // A message of the DHT is a dictionary; an answer of a tracker begins with a small number.
            Event::Datagram { from, bytes } if tracker::udp::is_reply(bytes) => {
                self.swarms(now, discovery::Event::Datagram { from, bytes });
            }
            Event::Datagram { from, bytes } if bytes.len() <= dht::limits::DATAGRAM_BYTES_MAX => {
                self.dht(now, dht::Event::Datagram { from, bytes: bytes.to_vec() });
            }
            Event::Datagram { .. } => {}
            Event::Own { addr } => self.own(now, addr),
            Event::SeenAt { ip, port } => self.seen_at(now, ip, Some(port)),
            Event::Bootstrap { addr } => self.dht(now, dht::Event::Bootstrap { addr }),
            Event::NodeHint { addr } => self.dht(now, dht::Event::NodeHint { addr }),
            Event::Restore(saved) => self.dht(now, dht::Event::Restore(saved)),
            Event::Reachable { family, known } => self.dht(now, dht::Event::Reachable { family, known }),
            Event::LinkUp { link, addr, direction } => {
                self.links.insert(link, (addr, direction));
            }
            Event::Heard { link, message } => self.heard(now, link, message),
            Event::LinkDown { link } => {
                self.links.remove(&link);
                if self.linked.remove(&link) {
                    self.pex(now, pex::Event::LinkDown { link });
                }
            }
            Event::Timer => self.timer(now),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Timer`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let swarms = self.swarms.poll_timeout().map(|(at, _)| at);
        let dht = self.dht.as_ref().and_then(Dht::poll_timeout).map(|(at, _)| at);
        let pex = self.pex.poll_timeout().map(|(at, _)| at);
        [swarms, dht, pex].into_iter().flatten().min()
    }

    /// Jobs that look for peers.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.jobs.keys().copied()
    }

    /// Whether a job looks for peers.
    #[must_use]
    pub fn seeks(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Whether there is a DHT.
    #[must_use]
    pub fn has_dht(&self) -> bool {
        self.dht.is_some()
    }

    /// What the DHT would start from in the next run.
    #[must_use]
    pub fn saved(&self) -> Option<Saved> {
        self.dht.as_ref().map(Dht::saved)
    }

    /// Figures of the DHT.
    #[must_use]
    pub fn dht_stats(&self) -> Option<dht::Stats> {
        self.dht.as_ref().map(Dht::stats)
    }

    /// Swarms that are announced or looked for.
    #[must_use]
    pub fn swarm_count(&self) -> usize {
        self.swarms.swarms()
    }

    /// Farewells to trackers that have not been heard yet.
    #[must_use]
    pub fn farewells(&self) -> usize {
        self.swarms.farewells()
    }

    /// What must always hold; for tests.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        self.swarms.check_invariants();
        self.pex.check_invariants();
        if let Some(dht) = &self.dht {
            dht.check_invariants();
        }
    }

    /// Whether nobody is linked, and nobody was found who may be soon.
    fn knows_nobody(&self) -> bool {
        self.linked.is_empty() && !self.met
    }

    fn told(&mut self, now: Instant, event: discovery::Event<'_>) {
        match event {
            discovery::Event::Want { job, file, .. } => {
                let seeking = Seeking {
                    file,
                    began: now,
                    told: now,
                    starved: None,
                    announced: false,
                    landed: false,
                    met: false,
                };
                self.jobs.insert(job, seeking);
                // Where somebody is known already, that is all that is waited for.
                if self.knows_nobody() {
                    self.actions.push_back(Action::Wait { job, pause: LOOKING });
                }
            }
            discovery::Event::Planned { job, .. } if !self.jobs.contains_key(&job) => return,
            discovery::Event::Named { addr } => {
                self.named.insert(canonical(addr));
            }
            discovery::Event::Got { job } => {
                let Some(seeking) = self.jobs.get_mut(&job) else { return };
                seeking.landed = true;
            }
            discovery::Event::Dropped { job } => {
                let Some(seeking) = self.jobs.remove(&job) else { return };
                self.swarms(now, event);
                if seeking.announced && !seeking.landed {
                    self.swarms(now, discovery::Event::Unseed { file: seeking.file.hash });
                }
                return;
            }
            discovery::Event::Planned { .. }
            | discovery::Event::Progress { .. }
            | discovery::Event::Starved { .. }
            | discovery::Event::Seed { .. }
            | discovery::Event::Unseed { .. }
            | discovery::Event::Withdraw { .. }
            | discovery::Event::Asked { .. }
            | discovery::Event::Exchanged { .. }
            | discovery::Event::Own { .. }
            | discovery::Event::Dht { .. }
            | discovery::Event::DhtPeers { .. }
            | discovery::Event::DhtVain { .. }
            | discovery::Event::DhtReached
            | discovery::Event::DhtDone { .. }
            | discovery::Event::HttpFrom { .. }
            | discovery::Event::HttpReply { .. }
            | discovery::Event::HttpFailed { .. }
            | discovery::Event::Resolved { .. }
            | discovery::Event::Datagram { .. }
            | discovery::Event::LanGroup { .. }
            | discovery::Event::LanDatagram { .. }
            | discovery::Event::Shutdown
            | discovery::Event::Timer => {}
        }
        self.swarms(now, event);
    }

    fn watch(&mut self, now: Instant, job: JobId, done: u64, from_peers: u64, sources: usize) {
        let Some(seeking) = self.jobs.get_mut(&job) else { return };
        let (file, age) = (seeking.file, now.since(seeking.began));
        let progress = now.since(seeking.told) >= PROGRESS;
        if progress {
            seeking.told = now;
        }
        let again = seeking.starved.is_none_or(|at| now.since(at) >= STARVED_AGAIN);
        let starved = sources == 0 && age >= STARVED_AFTER && again;
        if starved {
            seeking.starved = Some(now);
        }
        let announce = !seeking.announced && age >= ANNOUNCE_AFTER && done > 0;
        seeking.announced |= announce;
        if progress {
            let left = file.bytes.saturating_sub(done);
            self.swarms(now, discovery::Event::Progress { job, uploaded: 0, downloaded: from_peers, left });
        }
        if starved {
            self.swarms(now, discovery::Event::Starved { job });
        }
        if announce {
            self.swarms(now, discovery::Event::Seed { file });
        }
    }

    /// The first peer was met: jobs wait for it to be dialled, and not much longer.
    fn met(&mut self) {
        self.met = true;
        for (&job, seeking) in &mut self.jobs {
            if !core::mem::replace(&mut seeking.met, true) {
                self.actions.push_back(Action::Wait { job, pause: MEETING });
            }
        }
    }

    fn own(&mut self, now: Instant, addr: SocketAddr) {
        self.swarms(now, discovery::Event::Own { addr });
        self.pex(now, pex::Event::Own { addr });
    }

    /// Others see us there.
    fn seen_at(&mut self, now: Instant, ip: IpAddr, port: Option<u16>) {
        self.actions.push_back(Action::SeenAt { ip, port });
        if self.port != 0 {
            self.own(now, SocketAddr::new(ip, port.unwrap_or(self.port)));
            self.own(now, SocketAddr::new(ip, self.port));
        }
    }

    fn heard(&mut self, now: Instant, link: LinkId, message: &Message) {
        match message {
            Message::ExtHandshake(hello) => self.introduced(now, link, hello),
            Message::Pex(told) => self.pex(now, pex::Event::Received { link, added: &told.added }),
            Message::Zest(ZestMessage::Interest { file }) => {
                self.swarms(now, discovery::Event::Asked { file: *file });
            }
            Message::Zest(ZestMessage::Have { file, total, runs }) => {
                let count = runs.iter().fold(0u32, |sum, (_, count)| sum.saturating_add(*count));
                self.actions.push_back(Action::Has { link, file: *file, total: *total, count });
            }
            // Keep in step with `concerns`.
            Message::Zest(_)
            | Message::ChunkRequest { .. }
            | Message::XorbRequest { .. }
            | Message::NotFound { .. }
            | Message::Error { .. }
            | Message::Ignored => {}
        }
    }

    fn introduced(&mut self, now: Instant, link: LinkId, hello: &ExtHandshake) {
        let Some(&(addr, direction)) = self.links.get(&link) else { return };
        if !self.linked.insert(link) {
            return;
        }
        let known = pex::listens_at(addr, direction, hello).unwrap_or(addr);
        self.actions.push_back(Action::Introduced { link, addr: known, direction, client: hello.client });
        // Whom the user named is the user's business.
        let allow = !self.named.contains(&known);
        self.pex(now, pex::Event::Introduced { link, addr, direction, hello, allow });
    }

    fn timer(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.swarms.poll_timeout().map(|(at, _)| at)) {
            self.swarms(now, discovery::Event::Timer);
        }
        if due(self.dht.as_ref().and_then(Dht::poll_timeout).map(|(at, _)| at)) {
            self.dht(now, dht::Event::Timer);
        }
        if due(self.pex.poll_timeout().map(|(at, _)| at)) {
            self.pex(now, pex::Event::Timer);
        }
    }

    fn swarms(&mut self, now: Instant, event: discovery::Event<'_>) {
        self.swarms.handle(now, event);
        while let Some(action) = self.swarms.poll_action() {
            self.of_swarms(now, action);
        }
    }

    fn dht(&mut self, now: Instant, event: dht::Event) {
        let Some(dht) = &mut self.dht else { return };
        dht.handle(now, event);
        while let Some(action) = self.dht.as_mut().and_then(Dht::poll_action) {
            self.of_dht(now, action);
        }
    }

    fn pex(&mut self, now: Instant, event: pex::Event<'_>) {
        self.pex.handle(now, event);
        while let Some(action) = self.pex.poll_action() {
            match action {
                pex::Action::Send { link, added, dropped } => {
                    let peers = wire::pex::Pex { added, dropped };
                    self.actions.push_back(Action::Tell { link, peers });
                }
                pex::Action::Found { addr, .. } => self.swarms(now, discovery::Event::Exchanged { addr }),
            }
        }
    }

    fn of_swarms(&mut self, now: Instant, action: discovery::Action) {
        use discovery::Action as From;
        match action {
            From::DhtGet { op: OpId(id), swarm } => {
                self.dht(now, dht::Event::Get { id: LookupId(id), info_hash: swarm });
            }
            From::DhtAnnounce { op: OpId(id), swarm, port } => match NonZeroU16::new(port) {
                Some(port) => {
                    // The same port for both: then nodes may take the one they see, which a NAT may have changed.
                    let implied = self.udp_port == Some(port.get());
                    self.dht(now, dht::Event::Announce { id: LookupId(id), info_hash: swarm, port, implied });
                }
                None => self.swarms(now, discovery::Event::DhtDone { op: OpId(id), packets: 0 }),
            },
            From::DhtStop { op: OpId(id) } => self.dht(now, dht::Event::Cancel { id: LookupId(id) }),
            From::Tracker(action) => self.of_tracker(now, action),
            From::LanSend { group, bytes } => self.actions.push_back(Action::LanSend { group, bytes }),
            From::Found { addr, how, .. } => {
                if how == Found::Lan {
                    // Where it takes connections its node of the DHT is too, if it has one: no bootstrap node is needed then.
                    self.dht(now, dht::Event::NodeHint { addr });
                }
                self.actions.push_back(Action::Found { addr, how });
            }
            From::Searched { job, peers, pause } => {
                self.actions.push_back(Action::Searched { job, peers });
                if peers == 0 && self.knows_nobody() {
                    self.actions.push_back(Action::Wait { job, pause });
                }
            }
        }
    }

    fn of_tracker(&mut self, now: Instant, action: tracker::Action) {
        use tracker::Action as From;
        self.actions.push_back(match action {
            From::HttpGet { id, url } => Action::HttpGet { id, url },
            From::HttpCancel { id } => Action::HttpCancel { id },
            From::Resolve { tracker, host, port } => Action::Resolve { tracker, host, port },
            From::SendTo { to, bytes } => Action::SendTo { to, bytes },
            From::Status { tracker, name, standing } => Action::Tracker { tracker, name, standing },
            From::ExternalIp { ip, .. } => return self.seen_at(now, ip, None),
            From::Peers { .. } | From::Scraped { .. } => return,
        });
    }

    fn of_dht(&mut self, now: Instant, action: dht::Action) {
        use discovery::Event;
        match action {
            dht::Action::SendTo { to, bytes } => self.actions.push_back(Action::SendTo { to, bytes }),
            dht::Action::Peers { id, peers } => {
                self.swarms(now, Event::DhtPeers { op: OpId(id.0), peers: &peers });
            }
            dht::Action::Done { id, outcome } => {
                if outcome.answered == 0 {
                    self.swarms(now, Event::DhtVain { op: OpId(id.0) });
                }
                let packets = outcome.asked + outcome.announces;
                self.swarms(now, Event::DhtDone { op: OpId(id.0), packets });
            }
            dht::Action::ExternalAddr { ip, port } => self.seen_at(now, ip, port),
            dht::Action::Reached => self.swarms(now, Event::DhtReached),
            dht::Action::Save => self.actions.push_back(Action::Save),
        }
    }
}
