//! The engine: one thread with a current-thread tokio runtime that owns everything in [`crate::context`].

mod config;
mod listen;
mod pull;
mod run;

pub use config::{EngineConfig, EngineStats, LINKS_MAX};
pub use pull::pull;

use crate::api::PeerStatus;
use crate::context::Context;
use crate::discovery::DiscoveryStatus;
use crate::disk::StoreHandles;
use crate::error::EngineError;
use crate::os::{raise_descriptors, set_congestion_control};
use listen::{bind, bind_near};
use run::run;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use zest_core::endpoint::Scope;
use zest_store::SAID;

/// How often it is looked whether somebody still fetches what was landed: 50 ms.
const GIVE_ON_TICK: Duration = Duration::from_millis(50);
/// With fewer files that may be open at once, fewer peers are let in than an engine is told: 1,100, twice the most and what else
/// it needs.
const DESCRIPTORS_FEW: u64 = 1100;
/// How long work on the disk may take when the engine ends: 5 s.
const BLOCKING_END: Duration = Duration::from_secs(5);
/// How long trackers are waited for where nobody waits for the engine's end: 200 ms. Ours.
const FAREWELL_SHORT: Duration = Duration::from_millis(200);

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
                let node = context.machine.node().stats();
                EngineStats {
                    peers: u32::try_from(context.machine.node().machines()).unwrap_or(u32::MAX),
                    uploaded: context.transport.traffic.uploaded(),
                    downloaded: context.transport.downloaded(),
                    chunks_served: node.chunks_served,
                    chunks_bad: node.chunks_bad,
                    small_files_given: node.plain_files_served,
                    small_files_got: node.plain_came.saturating_sub(node.plain_bad),
                    banned: node.banned,
                    nice: context.transport.traffic.steering().stats(),
                    budget_left: context.transport.traffic.budget_left(),
                    budget_spent: context
                        .transport
                        .traffic
                        .budget_left()
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
            Box::pin(async move { context.transport.all().iter().filter_map(|io| io.status()).collect() })
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
        self.run(move |context| {
            Box::pin(async move { crate::peer_names::name_all(given, move |addr| context.name_peer(addr)) })
        })
        .await;
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
    /// left to the origin, and a moment for whoever has just dialled us and asks the Hub first. Ends when nobody does any more, or nothing was given for `idle`.
    pub async fn give_on(&self, idle: Duration) {
        self.run(move |context| {
            Box::pin(async move {
                let (mut given, mut since) = (context.transport.traffic.given(), Duration::ZERO);
                let wanted = || {
                    let (now, node) = (context.machine.now(), context.machine.node());
                    node.is_wanted(&context.jobs.landed()) || node.has_newcomer(now)
                };
                while wanted() && since < idle {
                    tokio::time::sleep(GIVE_ON_TICK).await;
                    let before = std::mem::replace(&mut given, context.transport.traffic.given());
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
