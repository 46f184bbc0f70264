//! Finding peers: one [`Finder`] per engine drives core's [`finder`] on the engine's thread.
//!
//! It owns their sockets (`udp`: the DHT and UDP trackers; `lan`: multicast), HTTP requests (`http`), name look-ups (`names`)
//! and the saved routing table (`table`). Peers it finds go to the node as addresses to dial; jobs and the catalog tell it what
//! may be spoken of (`shelf`), links tell it of peers (`exchange`). Nobody ever waits for it: what it finds comes when it comes.

mod config;
mod exchange;
mod http;
mod lan;
mod mapping;
mod names;
mod net;
mod shelf;
mod status;
mod survey;
mod table;
mod udp;
mod upnp;

pub(crate) use config::Reach;
pub use config::{DhtConfig, DiscoveryConfig, ROUTERS};
pub(crate) use shelf::Public;
pub use status::{DiscoveryStatus, Reachability, TrackerStatus};
pub use survey::{Survey, SurveyFile, SurveyPeer, survey};

use crate::clock::Clock;
use crate::context::Context;
use crate::error::EngineError;
use net::Net;
use shelf::Shelf;
use status::Notes;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;
use survey::Heard;
use table::Table;
use tokio::sync::Notify;
use udp::Udp;
use zest_core::endpoint::{Found, Scope, canonical};
use zest_core::finder::{Action, Event};
use zest_core::link::Outgoing;
use zest_core::lived::{CATCH_UP_MAX, LATE};
use zest_core::lsd::Group;
use zest_core::tracker::Standing;
use zest_core::{Instant, PeerId, dht, discovery, finder};

/// How long the end of a process may wait for trackers to hear of it: 3 s, three round trips of a far one with TLS, or what a
/// busy one takes to answer. Ours; it ends as soon as they have, and nobody waits for trackers that have not answered before.
const FAREWELL: Duration = Duration::from_secs(3);

/// Everything about finding peers.
pub(crate) struct Finder {
    clock: Clock,
    context: Weak<Context>,
    /// Whether peers that are found are dialled.
    dials: bool,
    config: DiscoveryConfig,
    reach: Reach,
    machine: RefCell<finder::Finder>,
    net: Net,
    table: Rc<Table>,
    /// Where the DHT starts from, until it is needed for the first time.
    asleep: RefCell<Option<Vec<String>>>,
    notes: Notes,
    shelf: Shelf,
    /// Told when a deadline may have moved.
    moved: Notify,
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
        dials: bool,
    ) -> Result<Rc<Self>, EngineError> {
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
            dht::Config { v4, v6, ..dht::Config::new(parts[1]) }
        });
        let machine =
            finder::Config { dht: machine, udp_port: udp.port(), ..finder::Config::new(parts[2], settings) };
        let finder = Rc::new(Self {
            machine: RefCell::new(finder::Finder::new(clock.now(), machine)),
            net: Net::new(udp, lan, reach),
            context: Rc::downgrade(context),
            dials,
            clock,
            config,
            reach,
            table: Rc::new(table),
            asleep: RefCell::default(),
            notes: Notes::default(),
            shelf: Shelf::default(),
            moved: Notify::new(),
        });
        listen.iter().filter(|addr| !addr.ip().is_unspecified()).for_each(|addr| finder.own(*addr));
        finder.begin(context, dht.map(|dht| dht.bootstrap).unwrap_or_default());
        Ok(finder)
    }

    /// The DHT comes to know the nodes of the last run, and those to start from.
    fn wake_dht(self: &Rc<Self>) {
        let Some(bootstrap) = self.asleep.take() else { return };
        if let Some(saved) = &self.table.saved {
            if self.table.is_ours() {
                self.tell(Event::Restore(Box::new(saved.clone())));
            } else {
                saved.addrs().for_each(|addr| self.tell(Event::NodeHint { addr }));
            }
        }
        tokio::task::spawn_local(names::bootstrap(self.clone(), bootstrap));
    }

    fn begin(self: &Rc<Self>, context: &Rc<Context>, bootstrap: Vec<String>) {
        use tokio::task::spawn_local;
        if self.has_dht() {
            self.asleep.replace(Some(bootstrap));
            // Who only fetches says nothing to anybody until there is something that may be asked for.
            if self.config.announce_all && !self.config.catalog_near {
                self.wake_dht();
            }
        }
        for socket in self.net.udp.sockets() {
            spawn_local(udp::receive(self.clone(), socket.clone()));
        }
        for socket in &self.net.lan {
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

    fn has_dht(&self) -> bool {
        self.machine.borrow().has_dht()
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whether a datagram can and may be sent there.
    fn speaks(&self, addr: SocketAddr) -> bool {
        let socket = if addr.is_ipv4() { &self.net.udp.v4 } else { &self.net.udp.v6 };
        socket.is_some() && self.covers(addr)
    }

    /// Whether a connection from there is let in.
    pub(crate) fn lets_in(&self, addr: SocketAddr) -> bool {
        !self.config.local_only || self.covers(canonical(addr))
    }

    /// Whether a peer that was found there may be dialled.
    fn covers(&self, addr: SocketAddr) -> bool {
        let near = || self.context.upgrade().is_some_and(|context| context.is_near_by(addr));
        self.reach.covers(addr, false) && (!self.config.local_only || near())
    }

    /// Somebody from as far as this has connected.
    pub(crate) fn came_in(&self, from: Scope) {
        self.notes.came_in(from);
    }

    /// One of our own addresses: it is no peer.
    pub(crate) fn own(self: &Rc<Self>, addr: SocketAddr) {
        self.tell_listener(|| Heard::Own(addr));
        self.tell(Event::Own { addr });
    }

    /// The user named a peer.
    pub(crate) fn named(self: &Rc<Self>, addr: SocketAddr) {
        self.tell_swarms(discovery::Event::Named { addr });
    }

    /// Whether there is anybody or anything to look with.
    pub(crate) fn can_search(&self) -> bool {
        self.has_dht() || !self.net.lan.is_empty() || !self.config.trackers.is_empty()
    }

    /// Whether every tracker has answered or failed.
    pub(crate) fn trackers_have_spoken(&self) -> bool {
        self.notes.trackers() >= self.config.trackers.len()
    }

    /// Looks for peers of files that have ended so far.
    pub(crate) fn looks(&self) -> u64 {
        self.notes.looks()
    }

    fn datagram(self: &Rc<Self>, from: SocketAddr, bytes: &[u8]) {
        self.tell(Event::Datagram { from, bytes });
        // It may be a tracker's answer to one.
        self.net.farewells.notify_one();
    }

    fn lan_group(self: &Rc<Self>, group: Group, up: bool) {
        tracing::debug!(?group, up, "local service discovery");
        self.notes.set_lan(group as usize, up);
        self.tell_swarms(discovery::Event::LanGroup { group, up });
    }

    fn lan_datagram(self: &Rc<Self>, group: Group, from: SocketAddr, bytes: &[u8]) {
        if self.covers(from) {
            self.tell_swarms(discovery::Event::LanDatagram { group, from, bytes });
        }
    }

    /// What is wanted, what can be had, what trackers and the local network say.
    fn tell_swarms(self: &Rc<Self>, event: discovery::Event<'_>) {
        if matches!(event, discovery::Event::Want { .. } | discovery::Event::Seed { .. }) {
            self.wake_dht();
        }
        self.tell(Event::Swarms(event));
    }

    /// Takes an event in and performs what follows.
    fn tell(self: &Rc<Self>, event: Event<'_>) {
        tracing::trace!(?event, "finding peers");
        let actions: Vec<Action> = {
            let mut machine = self.machine.borrow_mut();
            machine.handle(self.now(), event);
            std::iter::from_fn(|| machine.poll_action()).collect()
        };
        self.moved.notify_one();
        actions.into_iter().for_each(|action| self.perform(action));
    }

    fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::SendTo { to, bytes } => self.send(to, &bytes),
            Action::LanSend { group, bytes } => {
                if let Some(socket) = self.net.lan.iter().find(|socket| socket.group() == group) {
                    socket.send(&bytes);
                }
            }
            Action::HttpGet { id, url } => http::get(self, id, &url),
            Action::HttpCancel { id } => self.net.http.cancel(id),
            Action::Resolve { tracker, host, port } => {
                tokio::task::spawn_local(names::tracker(self.clone(), tracker, host, port));
            }
            Action::Tracker { tracker, name, standing } => {
                let works = matches!(standing, Standing::Works | Standing::Warns(_));
                let text = standing.to_string();
                match works {
                    true => tracing::debug!(tracker = name, "{text}"),
                    false => tracing::warn!(tracker = name, "{text}"),
                }
                self.notes.tracker(tracker.0, TrackerStatus { name, standing: text, works });
            }
            Action::Found { addr, how } => self.found(addr, how),
            Action::Searched { job, peers } => {
                tracing::debug!(job = job.0, peers, "a look for peers has ended");
                self.notes.looked();
                self.tell_listener(|| Heard::Searched(job));
            }
            Action::Wait { job, pause } => {
                if let Some(context) = self.context.upgrade() {
                    context.job_waits(job, pause);
                }
            }
            Action::Introduced { link, addr, direction, client } => {
                self.introduced(link, addr, direction, &client);
            }
            Action::Has { link, file, total, count } => {
                self.tell_listener(|| Heard::Has { link, file, total, count });
            }
            Action::Tell { link, peers } => {
                let Some(context) = self.context.upgrade() else { return };
                let io = context.transport.get(link);
                if let Some(io) = io {
                    io.send(&context, Outgoing::Pex(peers));
                }
            }
            Action::SeenAt { ip, .. } => self.notes.seen_at(ip),
            Action::Save => {
                if let Some(saved) = self.saved() {
                    tokio::task::spawn_local(self.table.clone().save(saved));
                }
            }
        }
    }

    fn found(self: &Rc<Self>, addr: SocketAddr, how: Found) {
        if how != Found::Named && !self.covers(addr) {
            return;
        }
        if self.notes.found(addr, how) {
            tracing::debug!(%addr, how = how.as_str(), "found a peer");
        }
        self.tell_listener(|| Heard::Peer(addr, how));
        if let Some(context) = self.context.upgrade().filter(|_| self.dials) {
            context.event(zest_core::node::Event::PeerFound { addr, how });
            self.tell(Event::Met);
        }
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if self.speaks(to) {
            self.net.udp.send(to, bytes);
        }
    }

    fn saved(&self) -> Option<dht::Saved> {
        self.machine.borrow().saved()
    }

    fn timer(self: &Rc<Self>) {
        self.tell(Event::Timer);
        self.net.farewells.notify_one();
    }

    /// How peers are being found.
    pub(crate) fn status(&self) -> DiscoveryStatus {
        let (dht, swarms) = {
            let machine = self.machine.borrow();
            (machine.dht_stats(), machine.swarm_count())
        };
        let mut status = DiscoveryStatus {
            swarms,
            dht_nodes: dht.map(|stats| stats.nodes),
            udp_port: self.net.udp.port(),
            ..DiscoveryStatus::default()
        };
        let open = dht.is_some_and(|stats| stats.open.contains(&true));
        self.notes.fill(&mut status, self.reach.port != 0, open);
        status
    }

    /// Says good-bye to trackers and saves the routing table, within a bounded time.
    pub(crate) async fn end(self: &Rc<Self>) {
        self.net.http.give_up_mute();
        self.tell_swarms(discovery::Event::Shutdown);
        let farewells = async {
            while self.net.http.running() > 0 || self.machine.borrow().farewells() > 0 {
                self.net.farewells.notified().await;
            }
        };
        let save = async {
            if let Some(saved) = self.saved() {
                self.table.clone().save(saved).await;
            }
        };
        let mapping = self.net.mapping.take();
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
        let at_asked = finder.machine.borrow().poll_timeout();
        let at = at_asked.map(|at| finder.clock.to_tokio(at));
        tokio::select! {
            () = crate::clock::sleep_until(at) => {
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
