//! Finding peers: one [`Finder`] per engine drives core's `Discovery`, `Dht` and `Pex` on the engine's thread.
//!
//! It owns their sockets (`udp`: the DHT and UDP trackers; `lan`: multicast), HTTP requests (`http`), name look-ups (`names`)
//! and the saved routing table (`table`). Peers it finds go to the node as addresses to dial; jobs and the catalog tell it what
//! may be spoken of (`shelf`), links tell it of peers (`exchange`). Nobody ever waits for it: what it finds comes when it comes.

mod config;
mod exchange;
mod http;
mod interfaces;
mod lan;
mod mapping;
mod names;
mod shelf;
mod status;
mod survey;
mod table;
mod udp;

pub(crate) use config::Reach;
pub use config::{DhtConfig, DiscoveryConfig, ROUTERS};
pub(crate) use shelf::Public;
pub use status::{DiscoveryStatus, Reachability, TrackerStatus};
pub use survey::{Survey, SurveyFile, SurveyPeer, survey};

use crate::clock::Clock;
use crate::context::Context;
use crate::error::EngineError;
use shelf::{Groups, Seeking};
use status::Board;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use survey::Heard;
use table::Table;
use tokio::sync::{Notify, mpsc};
use udp::Udp;
use zest_core::dht::{Dht, LookupId};
use zest_core::discovery::{Action, Discovery, Event, OpId};
use zest_core::endpoint::{Found, Scope, canonical};
use zest_core::lived::{CATCH_UP_MAX, LATE};
use zest_core::lsd::Group;
use zest_core::pex::Pex;
use zest_core::tracker::{self, Standing};
use zest_core::{Instant, JobId, LinkId, PeerId, dht, discovery, pex};
use zest_xet::Hash;

/// How long the end of a process may wait for trackers to hear of it: 3 s, three round trips of a far one with TLS, or what a
/// busy one takes to answer. Ours; it ends as soon as they have, and nobody waits for trackers that have not answered before.
const FAREWELL: Duration = Duration::from_secs(3);

/// Everything about finding peers.
pub(crate) struct Finder {
    clock: Clock,
    context: Weak<Context>,
    config: DiscoveryConfig,
    reach: Reach,
    discovery: RefCell<Discovery>,
    dht: Option<RefCell<Dht>>,
    pex: RefCell<Pex>,
    udp: Udp,
    lan: Vec<Rc<lan::LanSocket>>,
    http: http::Requests,
    table: Rc<Table>,
    /// Where the DHT starts from, until it is needed for the first time.
    asleep: RefCell<Option<Vec<String>>>,
    /// What the router agreed to.
    mapping: RefCell<Option<mapping::Mapping>>,
    board: Board,
    groups: RefCell<Groups>,
    jobs: RefCell<BTreeMap<JobId, Seeking>>,
    /// What is announced of the catalog, and until when it may be.
    shelf: RefCell<BTreeMap<Hash, (SystemTime, bool)>>,
    /// Links whose remotes said what they speak.
    linked: RefCell<BTreeSet<LinkId>>,
    /// Peers the user named.
    named: RefCell<BTreeSet<SocketAddr>>,
    /// Who wants to hear of peers too.
    listener: RefCell<Option<mpsc::UnboundedSender<Heard>>>,
    /// Told when a deadline may have moved.
    moved: Notify,
    /// Told when the catalog may have changed.
    restock: Arc<Notify>,
    /// Told when a tracker may have heard a farewell, or is not waited for any longer.
    farewells: Notify,
}

impl Finder {
    /// Opens what the settings ask for and begins.
    ///
    /// # Errors
    /// The DHT's port is fixed and taken.
    pub(crate) async fn start(
        context: &Rc<Context>,
        config: DiscoveryConfig,
        listen: &[SocketAddr],
        peer_id: PeerId,
        seed: [u8; 32],
    ) -> Result<Rc<Finder>, EngineError> {
        let reach = Reach::of(listen);
        let table = Table::open(config.dht.as_ref().and_then(|dht| dht.table.clone())).await;
        let dht = config.dht.clone().map(|mut dht| {
            // No name is asked for that leads away from this machine.
            dht.bootstrap.retain(|name| !reach.loopback || config::is_here(name));
            dht
        });
        // Without a node to start from there is nobody to ask.
        let dht = dht.filter(|dht| !dht.bootstrap.is_empty() || table.saved.is_some());
        let udp = match dht.is_some() || config.has_udp_tracker() {
            true => Udp::open(reach, dht.as_ref().and_then(|dht| dht.port))?,
            false => Udp::default(),
        };
        let lan = Group::ALL.into_iter().filter(|_| config.lan && reach.port != 0);
        let lan: Vec<_> = lan.filter_map(|group| lan::LanSocket::open(group, reach)).map(Rc::new).collect();

        let clock = context.clock;
        let parts = seeds(seed);
        let mut settings = discovery::Config::new(parts[0], peer_id, reach.port);
        // Who lets nobody connect has nothing to announce: trackers would pass on a port that is closed.
        if reach.port != 0 {
            settings.tiers = config.trackers.iter().map(|url| vec![url.clone()]).collect();
        }
        let machine = dht.as_ref().filter(|_| udp.port().is_some()).map(|_| {
            let (v4, v6) = (udp.v4.is_some(), udp.v6.is_some());
            RefCell::new(Dht::new(dht::Config { v4, v6, ..dht::Config::new(parts[1]) }))
        });
        let finder = Rc::new(Finder {
            discovery: RefCell::new(Discovery::new(clock.now(), settings)),
            dht: machine,
            pex: RefCell::new(Pex::new(parts[2])),
            http: http::Requests::new(reach.bound()),
            context: Rc::downgrade(context),
            clock,
            config,
            reach,
            udp,
            lan,
            table: Rc::new(table),
            asleep: RefCell::default(),
            mapping: RefCell::default(),
            board: Board::default(),
            groups: RefCell::default(),
            jobs: RefCell::default(),
            shelf: RefCell::default(),
            linked: RefCell::default(),
            named: RefCell::default(),
            listener: RefCell::default(),
            moved: Notify::new(),
            restock: Arc::new(Notify::new()),
            farewells: Notify::new(),
        });
        listen.iter().filter(|addr| !addr.ip().is_unspecified()).for_each(|addr| finder.own(*addr));
        finder.begin(context, dht.map(|dht| dht.bootstrap).unwrap_or_default());
        Ok(finder)
    }

    /// The DHT comes to know the nodes of the last run, and those to start from.
    fn wake_dht(self: &Rc<Finder>) {
        let Some(bootstrap) = self.asleep.take() else { return };
        if let Some(saved) = &self.table.saved {
            if self.table.is_ours() {
                self.tell_dht(dht::Event::Restore(Box::new(saved.clone())));
            } else {
                saved.addrs().for_each(|addr| self.tell_dht(dht::Event::NodeHint { addr }));
            }
        }
        tokio::task::spawn_local(names::bootstrap(self.clone(), bootstrap));
    }

    fn begin(self: &Rc<Finder>, context: &Rc<Context>, bootstrap: Vec<String>) {
        use tokio::task::spawn_local;
        if self.dht.is_some() {
            self.asleep.replace(Some(bootstrap));
            // Who only fetches says nothing to anybody until there is something that may be asked for.
            if self.config.announce_all && !self.config.catalog_near {
                self.wake_dht();
            }
            self.tell(Event::Dht { up: true });
        }
        for socket in self.udp.sockets() {
            spawn_local(udp::receive(self.clone(), socket.clone()));
        }
        for socket in &self.lan {
            spawn_local(lan::keep_joined(self.clone(), socket.clone()));
            spawn_local(lan::receive(self.clone(), socket.clone()));
        }
        if self.config.announce_all {
            spawn_local(shelf::keep_stocked(self.clone(), context.clone()));
        }
        let outside = !self.reach.loopback && !self.config.local_only;
        if self.config.port_mapping && self.reach.port != 0 && outside && self.reach.v4.is_some() {
            spawn_local(mapping::keep_mapped(self.clone()));
        }
        spawn_local(shelf::keep_jobs(self.clone(), context.clone()));
        spawn_local(keep_time(self.clone()));
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whether a datagram can and may be sent there.
    fn speaks(&self, addr: SocketAddr) -> bool {
        let socket = if addr.is_ipv4() { &self.udp.v4 } else { &self.udp.v6 };
        socket.is_some() && self.covers(addr)
    }

    /// Whether a connection from there is let in.
    pub(crate) fn lets_in(&self, addr: SocketAddr) -> bool {
        !self.config.local_only || self.covers(canonical(addr))
    }

    /// Whether a peer that was found there may be dialled.
    fn covers(&self, addr: SocketAddr) -> bool {
        let near = || self.context.upgrade().is_some_and(|context| context.is_near_by(addr.ip()));
        self.reach.covers(addr, false) && (!self.config.local_only || near())
    }

    /// Somebody from as far as this has connected.
    pub(crate) fn came_in(&self, from: Scope) {
        self.board.came_in(from);
    }

    /// One of our own addresses: it is no peer.
    pub(crate) fn own(self: &Rc<Finder>, addr: SocketAddr) {
        self.tell(Event::Own { addr });
        self.tell_pex(pex::Event::Own { addr });
    }

    /// The user named a peer.
    pub(crate) fn named(self: &Rc<Finder>, addr: SocketAddr) {
        self.named.borrow_mut().insert(canonical(addr));
        self.tell(Event::Named { addr });
    }

    /// A peer asked us for a file.
    pub(crate) fn asked(self: &Rc<Finder>, file: Hash) {
        self.tell(Event::Asked { file });
    }

    /// Whether there is anybody or anything to look with.
    pub(crate) fn can_search(&self) -> bool {
        self.dht.is_some() || !self.lan.is_empty() || !self.config.trackers.is_empty()
    }

    fn datagram(self: &Rc<Finder>, from: SocketAddr, bytes: &[u8]) {
        // A message of the DHT is a dictionary; an answer of a tracker begins with a small number.
        if tracker::udp::is_reply(bytes) {
            self.tell(Event::Datagram { from, bytes });
            self.farewells.notify_one();
        } else if bytes.len() <= dht::limits::DATAGRAM_BYTES_MAX {
            self.tell_dht(dht::Event::Datagram { from, bytes: bytes.to_vec() });
        }
    }

    fn lan_group(self: &Rc<Finder>, group: Group, up: bool) {
        tracing::debug!(?group, up, "local service discovery");
        self.board.set_lan(group as usize, up);
        self.tell(Event::LanGroup { group, up });
    }

    fn lan_datagram(self: &Rc<Finder>, group: Group, from: SocketAddr, bytes: &[u8]) {
        if self.covers(from) {
            self.tell(Event::LanDatagram { group, from, bytes });
        }
    }

    /// Takes an event of discovery in and performs what follows.
    fn tell(self: &Rc<Finder>, event: Event<'_>) {
        tracing::trace!(?event, "discovery");
        if matches!(event, Event::Want { .. } | Event::Seed { .. }) {
            self.wake_dht();
        }
        let actions: Vec<Action> = {
            let mut discovery = self.discovery.borrow_mut();
            discovery.handle(self.now(), event);
            std::iter::from_fn(|| discovery.poll_action()).collect()
        };
        self.moved.notify_one();
        actions.into_iter().for_each(|action| self.perform(action));
    }

    /// The same for the DHT, if it is on.
    fn tell_dht(self: &Rc<Finder>, event: dht::Event) {
        let Some(dht) = &self.dht else { return };
        let actions: Vec<dht::Action> = {
            let mut dht = dht.borrow_mut();
            dht.handle(self.now(), event);
            std::iter::from_fn(|| dht.poll_action()).collect()
        };
        self.moved.notify_one();
        actions.into_iter().for_each(|action| self.perform_dht(action));
    }

    /// The same for peer exchange.
    fn tell_pex(self: &Rc<Finder>, event: pex::Event<'_>) {
        let actions: Vec<pex::Action> = {
            let mut pex = self.pex.borrow_mut();
            pex.handle(self.now(), event);
            std::iter::from_fn(|| pex.poll_action()).collect()
        };
        self.moved.notify_one();
        actions.into_iter().for_each(|action| self.perform_pex(action));
    }

    fn perform(self: &Rc<Finder>, action: Action) {
        match action {
            Action::DhtGet { op: OpId(id), swarm } => {
                self.tell_dht(dht::Event::Get { id: LookupId(id), info_hash: swarm });
            }
            Action::DhtAnnounce { op: OpId(id), swarm, port } => match NonZeroU16::new(port) {
                Some(port) => {
                    // The same port for both: then nodes may take the one they see, which a NAT may have changed.
                    let implied = self.udp.port() == Some(port.get());
                    let id = LookupId(id);
                    self.tell_dht(dht::Event::Announce { id, info_hash: swarm, port, implied });
                }
                None => self.tell(Event::DhtDone { op: OpId(id), packets: 0 }),
            },
            Action::DhtStop { op: OpId(id) } => self.tell_dht(dht::Event::Cancel { id: LookupId(id) }),
            Action::Tracker(action) => self.perform_tracker(action),
            Action::LanSend { group, bytes } => {
                if let Some(socket) = self.lan.iter().find(|socket| socket.group() == group) {
                    socket.send(&bytes);
                }
            }
            Action::Found { addr, how, .. } => self.found(addr, how),
            Action::Searched { job, peers, pause } => {
                tracing::debug!(job = job.0, peers, "a look for peers has ended");
                self.tell_listener(|| Heard::Searched(job));
                if peers == 0 && self.knows_nobody() {
                    self.wait_for_others(job, pause);
                }
            }
        }
    }

    fn found(self: &Rc<Finder>, addr: SocketAddr, how: Found) {
        if how != Found::Named && !self.covers(addr) {
            return;
        }
        if self.board.found(addr, how) {
            tracing::debug!(%addr, how = how.as_str(), "found a peer");
        }
        if how == Found::Lan {
            // Where it takes connections its node of the DHT is too, if it has one: no bootstrap node is needed then.
            self.tell_dht(dht::Event::NodeHint { addr });
        }
        self.tell_listener(|| Heard::Peer(addr, how));
        if let Some(context) = self.context.upgrade().filter(|context| context.dials.get()) {
            context.event(zest_core::node::Event::PeerFound { addr, how });
            self.met_somebody();
        }
    }

    fn perform_tracker(self: &Rc<Finder>, action: tracker::Action) {
        match action {
            tracker::Action::HttpGet { id, url } => http::get(self, id, &url),
            tracker::Action::HttpCancel { id } => self.http.cancel(id),
            tracker::Action::Resolve { tracker, host, port } => {
                tokio::task::spawn_local(names::tracker(self.clone(), tracker, host, port));
            }
            tracker::Action::SendTo { to, bytes } => self.send(to, &bytes),
            tracker::Action::ExternalIp { ip, .. } => self.seen_at(ip, self.reach.port),
            tracker::Action::Status { tracker, name, standing } => {
                let works = matches!(standing, Standing::Works | Standing::Warns(_));
                let text = standing.to_string();
                match works {
                    true => tracing::debug!(tracker = name, "{text}"),
                    false => tracing::warn!(tracker = name, "{text}"),
                }
                self.board.tracker(tracker.0, TrackerStatus { name, standing: text, works });
            }
            tracker::Action::Peers { .. } | tracker::Action::Scraped { .. } => {}
        }
    }

    fn perform_dht(self: &Rc<Finder>, action: dht::Action) {
        match action {
            dht::Action::SendTo { to, bytes } => self.send(to, &bytes),
            dht::Action::Peers { id, peers } => self.tell(Event::DhtPeers { op: OpId(id.0), peers: &peers }),
            dht::Action::Done { id, outcome } => {
                tracing::debug!(?outcome, "a look into the DHT has ended");
                let packets = outcome.asked + outcome.announces;
                if outcome.answered == 0 {
                    self.tell(Event::DhtVain { op: OpId(id.0) });
                }
                self.tell(Event::DhtDone { op: OpId(id.0), packets });
            }
            dht::Action::ExternalAddr { ip, port } => self.seen_at(ip, port.unwrap_or(self.reach.port)),
            dht::Action::Reached => self.tell(Event::DhtReached),
            dht::Action::Save => {
                if let Some(saved) = self.saved() {
                    tokio::task::spawn_local(self.table.clone().save(saved));
                }
            }
        }
    }

    /// Others see us there.
    fn seen_at(self: &Rc<Finder>, ip: IpAddr, port: u16) {
        self.board.seen_at(ip);
        if self.reach.port != 0 {
            self.own(SocketAddr::new(ip, port));
            self.own(SocketAddr::new(ip, self.reach.port));
        }
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if self.speaks(to) {
            self.udp.send(to, bytes);
        }
    }

    fn saved(&self) -> Option<dht::Saved> {
        Some(self.dht.as_ref()?.borrow().saved())
    }

    /// The next deadline of any of the machines.
    fn next(&self) -> Option<Instant> {
        let discovery = self.discovery.borrow().poll_timeout().map(|(at, _)| at);
        let dht = self.dht.as_ref().and_then(|dht| dht.borrow().poll_timeout()).map(|(at, _)| at);
        let pex = self.pex.borrow().poll_timeout().map(|(at, _)| at);
        [discovery, dht, pex].into_iter().flatten().min()
    }

    fn timer(self: &Rc<Finder>) {
        let now = self.now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let discovery = self.discovery.borrow().poll_timeout().map(|(at, _)| at);
        if due(discovery) {
            self.tell(Event::Timer);
            self.farewells.notify_one();
        }
        let dht = self.dht.as_ref().and_then(|dht| dht.borrow().poll_timeout()).map(|(at, _)| at);
        if due(dht) {
            self.tell_dht(dht::Event::Timer);
        }
        let pex = self.pex.borrow().poll_timeout().map(|(at, _)| at);
        if due(pex) {
            self.tell_pex(pex::Event::Timer);
        }
    }

    /// How peers are being found.
    pub(crate) fn status(&self) -> DiscoveryStatus {
        let dht = self.dht.as_ref().map(|dht| dht.borrow().stats());
        let mut status = DiscoveryStatus {
            swarms: self.discovery.borrow().swarms(),
            dht_nodes: dht.map(|stats| stats.nodes),
            udp_port: self.udp.port(),
            ..DiscoveryStatus::default()
        };
        let open = dht.is_some_and(|stats| stats.open.contains(&true));
        self.board.fill(&mut status, self.reach.port != 0, open);
        status
    }

    /// Says good-bye to trackers and saves the routing table, within a bounded time.
    pub(crate) async fn end(self: &Rc<Finder>) {
        self.http.give_up_mute();
        self.tell(Event::Shutdown);
        let farewells = async {
            while self.http.running() > 0 || self.discovery.borrow().farewells() > 0 {
                self.farewells.notified().await;
            }
        };
        let save = async {
            if let Some(saved) = self.saved() {
                self.table.clone().save(saved).await;
            }
        };
        let mapping = self.mapping.take();
        let unmap = async {
            if let Some(mapping) = mapping {
                mapping.end().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, futures_util::future::join3(farewells, save, unmap)).await;
    }
}

/// Wakes the machines when their time has come. Never ends.
async fn keep_time(finder: Rc<Finder>) {
    loop {
        let at_asked = finder.next();
        let at = at_asked.map(|at| finder.clock.to_tokio(at));
        tokio::select! {
            () = crate::engine::sleep_until(at) => {
                // Where this thread was not run in time, answers lie in the sockets: they are looked at before anybody
                // is called silent.
                let unheard = finder.now().since(at_asked.unwrap_or_default());
                if unheard > LATE {
                    tokio::time::sleep(unheard.min(CATCH_UP_MAX)).await;
                }
                finder.timer();
            }
            () = finder.moved.notified() => {}
        }
    }
}

/// Three seeds from one.
fn seeds(seed: [u8; 32]) -> [[u8; 32]; 3] {
    use sha2::Digest as _;
    [b"discovery", b"dht      ", b"exchange "].map(|what| {
        let mut hash = sha2::Sha256::new();
        hash.update(seed);
        hash.update(what);
        hash.finalize().into()
    })
}
