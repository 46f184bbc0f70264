//! The engine: one thread with a current-thread tokio runtime that owns everything in [`crate::context`].

use crate::api::PeerStatus;
use crate::budget::{Budget, UPLOAD_BUDGET_MIN, UploadBudget};
use crate::clock::Clock;
use crate::context::{Context, LINKED_MAX};
use crate::discovery::{DiscoveryConfig, DiscoveryStatus, Finder};
use crate::error::EngineError;
use crate::hot::Hot;
use crate::hubs::Hubs;
use crate::limits::BACKLOG;
use crate::throttle::{DOWNLOAD_BYTES_S_MIN, Throttle};
use crate::workers::{Mailbox, Workers};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use zest_core::PeerId;
use zest_core::endpoint::Scope;
use zest_core::link::{Role, hub_key};
use zest_core::node::{
    Config, Direction, Event, INBOUND_MAX as PEERS_INBOUND_MAX, Node, PEERS_MAX, Policy, UPLOAD_BYTES_S_MIN,
};
use zest_core::outage::PATIENCE;
use zest_core::wire::handshake::PEER_ID_PREFIX;
use zest_store::{Catalog, Endpoint, HfCache, SAID};

/// Peers linked at once, at most, whatever an engine is told: 512.
pub const LINKS_MAX: usize = LINKED_MAX;
/// How long finding a peer may take where the origin refuses a file for good: 5 s. Ours; a look-up in the DHT takes two.
const FINDING: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody still fetches what was landed: 50 ms.
const GIVE_ON_TICK: Duration = Duration::from_millis(50);
/// Ports after a taken one that are tried: 8, up to BitTorrent's usual last, 6889.
const NEXT_PORTS: u16 = 8;
/// With fewer files that may be open at once, fewer peers are let in than an engine is told: 1,100, twice the most and what else
/// it needs.
const DESCRIPTORS_FEW: u64 = 1100;
/// Pause after `accept` failed (out of descriptors): the listener must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long pulls may take to make durable what they have when the engine ends: 400 ms. Ours; what is not durable by then is
/// looked at again by the next run.
const END: Duration = Duration::from_millis(400);
/// How long work on the disk may take when the engine ends: 5 s.
const BLOCKING_END: Duration = Duration::from_secs(5);
/// How long trackers are waited for where nobody waits for the engine's end: 200 ms. Ours.
const FAREWELL_SHORT: Duration = Duration::from_millis(200);

/// The disk as the engine uses it.
#[derive(Debug)]
pub struct StoreHandles {
    /// Chunk → place. Shared with whatever else serves from it.
    pub catalog: Arc<Catalog>,
    /// The HF cache.
    pub cache: HfCache,
}

/// How an engine is to run.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Addresses to accept peers on; none means none can come.
    pub listen: Vec<SocketAddr>,
    /// Addresses on which something else of this process accepts peers and gives them what `store` has. An engine with some
    /// has to have no `listen`: it announces these addresses, accepts nobody and dials nobody.
    pub announced: Vec<SocketAddr>,
    /// If a port in `listen` is taken, the next ones are tried, and then any.
    pub next_port: bool,
    /// The disk.
    pub store: Arc<StoreHandles>,
    /// Threads that decode, prove and write; 0 means one per processor.
    pub workers: usize,
    /// How the origin is used beside peers.
    pub policy: Policy,
    /// Most payload bytes given to peers in any second, at least [`UPLOAD_BYTES_S_MIN`]; `None`: as many as they take.
    pub upload_bytes_s: Option<u64>,
    /// Most bytes received per second, from peers and the origin together, at least [`DOWNLOAD_BYTES_S_MIN`]; `None`: as
    /// many as come.
    pub download_bytes_s: Option<u64>,
    /// Most payload bytes given to peers per day; `None`: as many as they take.
    pub upload_budget: Option<UploadBudget>,
    /// How peers are found; `None`: in no way but by their names.
    pub discovery: Option<DiscoveryConfig>,
    /// Peers will be asked what they have ([`crate::survey`]): those that are named, where nothing is looked for.
    pub surveys: bool,
    /// Bytes of memory for chunks that peers ask for again and again. It is taken as they come.
    pub cache_bytes: u64,
    /// Peers linked at once, at most [`LINKS_MAX`].
    pub links_max: usize,
    /// TCP congestion control of connections that come in; `None`: the system's. Linux only.
    pub congestion_control: Option<String>,
    /// How long nothing at all may come from anywhere before a pull gives up: [`PATIENCE`].
    pub give_up_after: Duration,
    /// The Hub we are configured for. If not everybody knows it (see [`Catalog::speak_for`]), it is named to peers of this
    /// network, and what it shows is spoken of with those who name the same. `None`: it is named to nobody.
    pub hub: Option<Endpoint>,
}

impl EngineConfig {
    /// An engine that accepts nobody and has no limits.
    #[must_use]
    pub fn new(store: Arc<StoreHandles>) -> Self {
        Self {
            listen: Vec::new(),
            announced: Vec::new(),
            next_port: false,
            store,
            workers: 0,
            policy: Policy::default(),
            upload_bytes_s: None,
            download_bytes_s: None,
            upload_budget: None,
            discovery: None,
            surveys: false,
            cache_bytes: 0,
            links_max: PEERS_MAX,
            congestion_control: None,
            give_up_after: PATIENCE,
            hub: None,
        }
    }

    /// One that is there to give, and lets nobody take the places of peers that it would dial: as many may come as can be.
    #[must_use]
    pub fn to_give(store: Arc<StoreHandles>, cache_bytes: u64) -> Self {
        Self { cache_bytes, links_max: LINKS_MAX, ..Self::new(store) }
    }

    /// One that only tells others of peers that are accepted elsewhere: see [`EngineConfig::announced`].
    #[must_use]
    pub fn to_announce(
        store: Arc<StoreHandles>,
        announced: Vec<SocketAddr>,
        discovery: DiscoveryConfig,
    ) -> Self {
        // Nothing is proven or written there.
        Self { announced, workers: 1, discovery: Some(discovery), ..Self::new(store) }
    }

    /// # Errors
    /// A limit below its least value.
    fn check(&self) -> Result<(), EngineError> {
        let budget = self.upload_budget.as_ref().map(|budget| budget.bytes);
        for (what, given, min) in [
            ("upload cap in bytes/s", self.upload_bytes_s, UPLOAD_BYTES_S_MIN),
            ("download cap in bytes/s", self.download_bytes_s, DOWNLOAD_BYTES_S_MIN),
            ("upload budget in bytes per day", budget, UPLOAD_BUDGET_MIN),
        ] {
            if let Some(given) = given.filter(|given| *given < min) {
                return Err(EngineError::Limit { what, given, min });
            }
        }
        Ok(())
    }
}

/// Numbers of a running engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EngineStats {
    /// Peers linked.
    pub peers: u32,
    /// Bytes sent to peers, with heads.
    pub uploaded: u64,
    /// Payload bytes received from peers.
    pub downloaded: u64,
    /// Chunks uploaded to peers.
    pub chunks_served: u64,
    /// Chunks that failed their proof.
    pub chunks_bad: u64,
    /// Peers shut out.
    pub banned: u32,
    /// Bytes that may still be given today, where there is a budget.
    #[serde(default)]
    pub budget_left: Option<u64>,
    /// What is left is less than a chunk may have, so whoever asks may be told to go elsewhere.
    pub budget_spent: bool,
}

type LocalTask = Box<dyn FnOnce(Rc<Context>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A running engine. Dropping it ends its thread; [`Engine::shutdown`] waits for that.
#[derive(Debug)]
pub struct Engine {
    /// Nothing once it is to end.
    tasks: SyncMutex<Option<mpsc::UnboundedSender<LocalTask>>>,
    thread: SyncMutex<Option<std::thread::JoinHandle<()>>>,
    addrs: Vec<SocketAddr>,
    store: Arc<StoreHandles>,
    /// It is to end at once: nobody waits for farewells.
    hurry: Arc<AtomicBool>,
}

impl Engine {
    /// Opens the listeners and starts the engine's thread.
    ///
    /// # Errors
    /// A limit that is too low, a listener that cannot be opened, an account of the upload budget that cannot be kept, or a
    /// thread that cannot be started.
    ///
    /// # Panics
    /// If both `listen` and `announced` have addresses.
    pub async fn start(config: EngineConfig) -> Result<Self, EngineError> {
        assert!(config.listen.is_empty() || config.announced.is_empty(), "one of them accepts, not both");
        config.check()?;
        let mut config = config;
        if let Some(limit) = raise_descriptors().filter(|limit| *limit < DESCRIPTORS_FEW) {
            // Half of them for links: files, the origin and listeners need some, too.
            config.links_max = config.links_max.min(usize::try_from(limit / 2).unwrap_or(usize::MAX));
            let links = config.links_max;
            tracing::warn!(
                target: SAID,
                kind = "few-files",
                "only {limit} files may be open at once, so {links} peers at most: raise `ulimit -n`"
            );
        }
        let mut listeners = Vec::new();
        let mut addrs = Vec::new();
        for &addr in &config.listen {
            let listener = match bind(addr) {
                Err(error) if config.next_port && error.kind() == ErrorKind::AddrInUse => bind_near(addr),
                bound => bound,
            };
            let listener = listener.map_err(|source| EngineError::Listen { addr, source })?;
            if let Some(name) = &config.congestion_control {
                set_congestion_control(&listener, name)
                    .map_err(|source| EngineError::CongestionControl { name: name.clone(), source })?;
            }
            addrs.push(listener.local_addr().map_err(|source| EngineError::Listen { addr, source })?);
            listeners.push(listener);
        }
        let mut random = [0; 76];
        getrandom::fill(&mut random).map_err(|error| EngineError::Random(error.to_string()))?;
        let (tasks, inbox) = mpsc::unbounded_channel::<LocalTask>();
        let (started, start) = oneshot::channel();
        let hurry = Arc::new(AtomicBool::new(false));
        let (hurried, ended) = (hurry.clone(), hurry.clone());
        let store = config.store.clone();
        let listen = addrs.clone();
        let thread = std::thread::Builder::new()
            .name("zest-engine".into())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = started.send(Err(EngineError::Thread(error)));
                        return;
                    }
                };
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, run(config, listeners, listen, random, inbox, started, hurried));
                // Tasks that still wait for peers are dropped with the set; their sockets close with them.
                drop(local);
                let wait = if ended.load(Ordering::Relaxed) { FAREWELL_SHORT } else { BLOCKING_END };
                runtime.shutdown_timeout(wait);
            })
            .map_err(EngineError::Thread)?;
        match start.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(EngineError::Thread(std::io::Error::other("the engine's thread ended at once")));
            }
        }
        let (tasks, thread) = (SyncMutex::new(Some(tasks)), SyncMutex::new(Some(thread)));
        Ok(Self { tasks, thread, addrs, store, hurry })
    }

    /// Where peers can reach us, as bound.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The disk this engine works on.
    #[must_use]
    pub fn store(&self) -> &Arc<StoreHandles> {
        &self.store
    }

    /// Numbers of now.
    pub async fn stats(&self) -> EngineStats {
        self.run(|context| {
            Box::pin(async move {
                let node = context.node_stats();
                EngineStats {
                    peers: u32::try_from(context.node.borrow().machines()).unwrap_or(u32::MAX),
                    uploaded: context.uploaded_bytes(),
                    downloaded: context.downloaded_bytes(),
                    chunks_served: node.chunks_served,
                    chunks_bad: node.chunks_bad,
                    banned: node.banned,
                    budget_left: context.budget_left.get(),
                    budget_spent: context
                        .budget_left
                        .get()
                        .is_some_and(|left| left < zest_xet::CHUNK_BYTES_MAX as u64),
                }
            })
        })
        .await
        .unwrap_or_default()
    }

    /// Every linked peer.
    pub(crate) async fn peers(&self) -> Vec<PeerStatus> {
        self.run(|context| {
            Box::pin(async move {
                let links = context.links.borrow();
                links.values().filter_map(|io| io.status()).collect()
            })
        })
        .await
        .unwrap_or_default()
    }

    /// How peers are being found; `None` if only by their names.
    pub async fn discovery(&self) -> Option<DiscoveryStatus> {
        self.run(|context| Box::pin(async move { context.finder.get().map(|finder| finder.status()) }))
            .await
            .flatten()
    }

    /// Somebody from as far as this has connected to one of the addresses in [`EngineConfig::announced`].
    pub async fn came_in(&self, from: Scope) {
        self.run(move |context| {
            Box::pin(async move {
                if let Some(finder) = context.finder.get() {
                    finder.came_in(from);
                }
            })
        })
        .await;
    }

    /// The user named these peers, as people write addresses: they are dialled, and they may have what only those get who are near. A
    /// name without an address is looked up until it has one.
    pub async fn name_peers(&self, given: Vec<String>) {
        self.run(move |context| Box::pin(async move { crate::pull::peers::name_all(&context, given) })).await;
    }

    /// What the catalog holds has changed: what is announced follows at once.
    pub async fn catalog_changed(&self) {
        self.run(|context| {
            Box::pin(async move {
                if let Some(finder) = context.finder.get() {
                    finder.shelf_changed();
                }
            })
        })
        .await;
    }

    /// Waits while peers that are linked fetch a file that was landed here, so that nobody who set out together with us is
    /// left to the origin. Ends when nobody does any more, or nothing was given for `idle`.
    pub async fn give_on(&self, idle: Duration) {
        self.run(move |context| {
            Box::pin(async move {
                let (mut given, mut since) = (context.given_bytes(), Duration::ZERO);
                while context.is_wanted() && since < idle {
                    tokio::time::sleep(GIVE_ON_TICK).await;
                    let before = std::mem::replace(&mut given, context.given_bytes());
                    since = if before == given { since + GIVE_ON_TICK } else { Duration::ZERO };
                }
            })
        })
        .await;
    }

    /// Runs a future on the engine's thread; `None` if the engine has ended.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(Rc<Context>) -> Pin<Box<dyn Future<Output = T>>> + Send + 'static,
    ) -> Option<T> {
        let (to, result) = oneshot::channel();
        let task: LocalTask = Box::new(move |context| {
            Box::pin(async move {
                let _ = to.send(task(context).await);
            })
        });
        self.send(task)?;
        result.await.ok()
    }

    /// Begins a future on the engine's thread; false if the engine has ended.
    pub(crate) fn spawn(
        &self,
        task: impl FnOnce(Rc<Context>) -> Pin<Box<dyn Future<Output = ()>>> + Send + 'static,
    ) -> bool {
        self.send(Box::new(task)).is_some()
    }

    fn send(&self, task: LocalTask) -> Option<()> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.send(task).ok()
    }

    /// Has it end; gives its thread to whoever asks first.
    fn stop(&self) -> Option<std::thread::JoinHandle<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Closes every link, lets the workers finish what they hold, and waits for the thread.
    pub async fn shutdown(self) {
        self.end().await;
    }

    /// The same for whoever only borrows it. Who asks second does not wait.
    pub(crate) async fn end(&self) {
        if let Some(thread) = self.stop() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let runs = self.thread.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.hurry.store(runs, Ordering::Relaxed);
        drop(self.stop());
    }
}

/// Raises the number of files that may be open at once to what the system allows this process; `None` is no limit.
#[cfg(unix)]
fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match limit.current == limit.maximum || setrlimit(Resource::Nofile, more).is_err() {
        true => limit.current,
        false => limit.maximum,
    }
}

#[cfg(not(unix))]
fn raise_descriptors() -> Option<u64> {
    None
}

/// For a listener and all that it accepts.
#[cfg(target_os = "linux")]
fn set_congestion_control(listener: &std::net::TcpListener, name: &str) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_congestion(listener, name)?)
}

#[cfg(not(target_os = "linux"))]
fn set_congestion_control(_: &std::net::TcpListener, _: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn bind(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections; never SO_REUSEPORT, which would let two processes share the port, as on
    // Windows this option does.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds to one of the next ports, or else to any.
fn bind_near(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let mut next = (1..=NEXT_PORTS).filter_map(|n| addr.port().checked_add(n));
    let near = next.find_map(|port| bind(SocketAddr::new(addr.ip(), port)).ok());
    near.map_or_else(|| bind(SocketAddr::new(addr.ip(), 0)), Ok)
}

async fn run(
    config: EngineConfig,
    listeners: Vec<std::net::TcpListener>,
    listen: Vec<SocketAddr>,
    random: [u8; 76],
    mut inbox: mpsc::UnboundedReceiver<LocalTask>,
    started: oneshot::Sender<Result<(), EngineError>>,
    hurry: Arc<AtomicBool>,
) {
    let mailbox = Mailbox::default();
    let count = match config.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        count => count,
    };
    let workers = match Workers::start(count, &mailbox) {
        Ok(workers) => workers,
        Err(error) => {
            let _ = started.send(Err(EngineError::Thread(error)));
            return;
        }
    };
    let (seed, tail) = random.split_at(32);
    let (finder_seed, tail) = tail.split_at(32);
    let mut id = [0; 20];
    id[..8].copy_from_slice(&PEER_ID_PREFIX);
    id[8..].copy_from_slice(tail);
    let seed = seed.try_into().expect("32 bytes were split off");
    let links_max = config.links_max.min(LINKS_MAX);
    let hub = config.hub.as_ref().filter(|hub| !config.store.catalog.is_public_hub(hub));
    let hub_here = hub.is_some_and(Endpoint::is_loopback);
    let hub = hub.map(|hub| hub_key(hub.as_str()));
    let node = Node::new(Config {
        policy: config.policy,
        upload_bytes_s: config.upload_bytes_s,
        hub,
        hub_here,
        peers_max: links_max,
        patience: config.give_up_after,
        // What nobody is looked for is not waited for.
        finding: match config.discovery.as_ref().is_some_and(DiscoveryConfig::is_needed) {
            true => FINDING,
            false => Duration::ZERO,
        },
        inbound_max: if links_max > PEERS_MAX { links_max } else { links_max.min(PEERS_INBOUND_MAX) },
        tentative: true,
        ..Config::new(seed, PeerId(id))
    });
    let throttle = Throttle::new(config.download_bytes_s);
    let hot = Hot::new(config.cache_bytes);
    let clock = Clock::start();
    let hubs = Hubs::new(clock, config.give_up_after, config.store.catalog.clone());
    let context =
        Context::new(clock, node, config.store, workers, mailbox.clone(), PeerId(id), throttle, hot, hubs);
    context.hub.set(hub);
    context.hub_here.set(hub_here);
    context.dials.set(config.announced.is_empty());
    let reached_at = if config.announced.is_empty() { listen } else { config.announced };
    context.listen_port.set(reached_at.first().map_or(0, SocketAddr::port));
    if let Some(settings) = config.discovery.filter(|settings| settings.is_needed() || config.surveys) {
        let seed = finder_seed.try_into().expect("32 bytes were split off");
        match Finder::start(&context, settings, &reached_at, PeerId(id), seed).await {
            Ok(finder) => drop(context.finder.set(finder)),
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        }
    }
    // Nobody is served before it is known what may be given today.
    let budget = match config.upload_budget {
        None => None,
        Some(limits) => {
            let path = limits.account.clone();
            let mut budget = Budget::new(limits);
            if let Err(source) = budget.settle(&context).await {
                let _ = started.send(Err(EngineError::Budget { path, source }));
                return;
            }
            Some(Rc::new(Mutex::new(budget)))
        }
    };
    if let Some(budget) = &budget {
        tokio::task::spawn_local(Budget::keep(budget.clone(), context.clone()));
    }
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::task::spawn_local(accept(context.clone(), listener));
            }
            Err(error) => {
                let _ = started.send(Err(EngineError::Thread(error)));
                return;
            }
        }
    }
    tokio::task::spawn_local(crate::giving::keep_denials(context.store.catalog.clone()));
    tokio::task::spawn_local({
        let context = context.clone();
        async move {
            loop {
                context.pushed.notified().await;
                context.workers.borrow().kick();
            }
        }
    });
    let _ = started.send(Ok(()));
    let mut batch = Vec::new();
    loop {
        let timer = context.next_timer().map(|at| context.clock.to_tokio(at));
        tokio::select! {
            biased;
            task = inbox.recv() => match task {
                Some(task) => {
                    tokio::task::spawn_local(task(context.clone()));
                }
                None => break,
            },
            () = mailbox.take(&mut batch) => {
                for one in batch.drain(..) {
                    context.done(one);
                }
            }
            () = sleep_until(timer) => context.event(Event::Timer),
            () = context.timer_moved.notified() => {}
        }
    }
    let hurry = hurry.load(Ordering::Relaxed);
    // Pulls that run end and leave what they have; the workers' reports are taken in meanwhile.
    context.ending.cancel();
    let kept = async {
        while context.pulls.get() > 0 {
            mailbox.take(&mut batch).await;
            for one in batch.drain(..) {
                context.done(one);
            }
        }
    };
    let _at_last = tokio::time::timeout(END, async {
        tokio::select! {
            () = kept => {}
            () = context.pulls_over() => {}
        }
    })
    .await;
    if let Some(finder) = context.finder.get() {
        let farewell = finder.end();
        match hurry {
            true => drop(tokio::time::timeout(FAREWELL_SHORT, farewell).await),
            false => farewell.await,
        }
    }
    for io in context.links.borrow().values() {
        io.close();
    }
    // One turn for the writers to see it.
    tokio::task::yield_now().await;
    if let Some(budget) = budget
        && let Err(error) = budget.lock().await.settle(&context).await
    {
        tracing::warn!(target: SAID, kind = "budget-account", "what was uploaded today cannot be noted: {error}");
    }
    context.workers.borrow_mut().stop();
}

pub(crate) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn accept(context: Rc<Context>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                if context.finder.get().is_some_and(|finder| !finder.lets_in(addr)) {
                    continue;
                }
                let context = context.clone();
                tokio::task::spawn_local(async move {
                    context.run_link(stream, addr, Direction::Inbound, Role::Accept).await;
                });
            }
            Err(error) => {
                tracing::warn!(target: SAID, kind = "no-connections", "peers cannot connect at present: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
