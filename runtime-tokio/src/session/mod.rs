//! zest inside a program: one [`Session`], which pulls, gives and tells.

mod arriving;
mod config;
mod content;
mod events;
mod handle;

pub use arriving::Arriving;
pub use config::{Limits, SessionConfig};
pub use content::{Came, Content, ContentHead, Extent, Signs};
pub use handle::PullHandle;

use crate::api::{PeerStatus, PullRequest, PullStatus, SessionStatus};
use crate::discovery::{DiscoveryStatus, Survey, survey};
use crate::disk::StoreHandles;
use crate::engine::{Engine, EngineStats};
use crate::giving::{Folders, Giving, GivingStatus, hub_that_says_what_is_public, keep_giving};
use crate::pull::{Control, PullOptions, Reader, run};
use crate::{EngineError, PullError};
use handle::Record;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use zest_core::JobId;
use zest_core::node::Event;
use zest_hub::HubError;
use zest_store::Env;
use zest_xet::Hash;

/// Pulls that have ended and are remembered: 256. Ours; the oldest are forgotten.
const ENDED_MAX: usize = 256;

/// A running zest: everything that pulls and gives with one cache. Cheap to clone; usable from any thread and any tokio runtime,
/// since what it does runs on a thread of its own.
///
/// Dropping the last clone ends it within a second: pulls stop, what is proven of their files stays, and the next session goes on
/// with it. [`Session::shutdown`] also waits until those who know us have heard of it. Handles of pulls keep no session.
///
/// ```no_run
/// use zest_runtime_tokio::{PullRequest, Session, SessionConfig};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::start(SessionConfig::from_process()?).await?;
/// let pull = session.pull(PullRequest::model("Qwen/Qwen3-0.6B")?);
/// let report = pull.wait().await?;
/// println!("{} bytes from peers, {} from the CDN", report.from_peers, report.from_cdn);
/// println!("{}", report.path.display());
/// session.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    env: Env,
    engine: Engine,
    give_up_after: Duration,
    folders: Folders,
    giving: watch::Sender<Giving>,
    limits: watch::Sender<Limits>,
    shared: watch::Sender<GivingStatus>,
    indexing: AtomicBool,
    next: AtomicU64,
    pulls: Mutex<BTreeMap<u64, Arc<Record>>>,
}

impl Session {
    /// Starts what `config` asks for.
    ///
    /// # Errors
    /// A limit that is too low, a port that cannot be had, or a thread that cannot be started.
    pub async fn start(config: SessionConfig) -> Result<Self, EngineError> {
        let SessionConfig { env, folders, engine, listens_if_it_can } = config;
        folders.apply(&env, &engine.store.catalog);
        let limits = Limits {
            policy: engine.policy,
            max_upload: engine.upload_bytes_s,
            max_download: engine.download_bytes_s,
            nice: engine.nice,
        };
        let give_up_after = engine.give_up_after;
        let port = engine.discovery.as_ref().and_then(|discovery| discovery.dht.as_ref()?.port);
        let engine = match Engine::start(engine.clone()).await {
            Err(EngineError::Listen { .. } | EngineError::DhtPort { .. })
                if listens_if_it_can && port.is_none() =>
            {
                Engine::start(crate::EngineConfig { listen: Vec::new(), ..engine }).await?
            }
            started => started?,
        };
        let inner = Inner {
            env,
            engine,
            give_up_after,
            folders,
            giving: watch::Sender::new(Giving::default()),
            limits: watch::Sender::new(limits),
            shared: watch::Sender::default(),
            indexing: AtomicBool::new(false),
            next: AtomicU64::new(1),
            pulls: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins a pull. It goes on whether its handle is kept or not.
    pub fn pull(&self, request: PullRequest) -> PullHandle {
        self.begin(request, None)
    }

    /// Begins the pull of one file, by its path in the repository, which is read while it comes.
    pub fn read(&self, request: PullRequest, path: &str) -> Content {
        let request = request.files(vec![path.to_owned()]).include(Vec::new()).exclude(Vec::new());
        let (known, tells) = watch::channel(None);
        let asked = Arc::new(OnceLock::new());
        let reader = Reader { known, asked: asked.clone() };
        Content::new(self.clone(), self.begin(request, Some(reader)), tells, asked)
    }

    fn begin(&self, request: PullRequest, reader: Option<Reader>) -> PullHandle {
        let (label, revision) = (request.repo.to_string(), request.revision.clone());
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (record, ears) = Record::new(id, label, revision, request.priority, request.policy);
        self.remember(&record);
        let options = self.options(request);
        let told = record.clone();
        let began = self.inner.engine.spawn(move |context| {
            Box::pin(async move {
                let control = Control {
                    number: 0,
                    progress: told.progress.clone(),
                    cancel: told.cancel.clone(),
                    wish: ears,
                    arrivals: told.arrivals.clone(),
                    reader,
                };
                let _untold = Untold(&told);
                let outcome = run(context, options, control).await;
                told.ended(outcome);
            })
        });
        if !began {
            record.ended(Err(PullError::EngineGone));
        }
        PullHandle { record }
    }

    /// Waits for proven bytes of a file that a pull is fetching, from the beginning of `wanted` on: some of them, as soon as there
    /// are any. What is waited for is fetched before the rest. `None`: no pull is at that file now, or none any more.
    pub async fn arriving(&self, file: Hash, wanted: Range<u64>) -> Option<Arriving> {
        let (mut to, waited) = oneshot::channel();
        self.inner.engine.spawn(move |context| {
            Box::pin(async move {
                tokio::select! {
                    came = arriving::wait(context, file, wanted) => drop(to.send(came)),
                    () = to.closed() => {}
                }
            })
        });
        waited.await.ok().flatten()
    }

    /// Bytes that came of a file that a pull is fetching, proven or not; none if no pull is at it.
    pub async fn came(&self, file: Hash) -> Option<u64> {
        let (to, told) = oneshot::channel();
        self.inner.engine.spawn(move |context| {
            Box::pin(async move {
                let job = context.jobs.of_file(&file);
                let _nobody_waits = to.send(job.map(|job| job.file.came()));
            })
        });
        told.await.ok().flatten()
    }

    /// Has these bytes of a job's file come before the rest: somebody waits for them.
    fn await_bytes(&self, job: JobId, bytes: Range<u64>) {
        self.inner
            .engine
            .spawn(move |context| Box::pin(async move { context.event(Event::JobAwaited { job, bytes }) }));
    }

    /// The environment it was started in.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// A pull by its number, if it is remembered.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<PullHandle> {
        self.pulls_now().get(&id).map(|record| PullHandle { record: record.clone() })
    }

    /// All pulls that are remembered, oldest first.
    #[must_use]
    pub fn pulls(&self) -> Vec<PullStatus> {
        self.pulls_now().values().map(|record| record.status()).collect()
    }

    /// Forgets a pull that has ended; false if there is none of this number, or it has not ended.
    pub fn forget(&self, id: u64) -> bool {
        let mut pulls = self.pulls_now();
        let ended = pulls.get(&id).is_some_and(|record| record.has_ended());
        ended && pulls.remove(&id).is_some()
    }

    fn pulls_now(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Record>>> {
        self.inner.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, record: &Arc<Record>) {
        let mut pulls = self.pulls_now();
        let ended: Vec<u64> =
            pulls.values().filter(|record| record.has_ended()).map(|record| record.id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_MAX - 1)) {
            pulls.remove(id);
        }
        pulls.insert(record.id, record.clone());
    }

    /// What the request means here.
    fn options(&self, request: PullRequest) -> PullOptions {
        let mut env = self.inner.env.clone();
        if let Some(endpoint) = request.endpoint.filter(|endpoint| *endpoint != env.endpoint) {
            // The session's token is for the session's Hub alone.
            (env.endpoint, env.token) = (endpoint, None);
        }
        if !request.implicit_token {
            env.token = None;
        }
        if let Some(token) = request.token {
            env.token = Some(token);
        }
        if let Some(dir) = request.cache_dir {
            env.hub_cache = dir;
        }
        env.disable_shared_blobs |= request.own_blobs;
        PullOptions {
            repo: request.repo,
            revision: request.revision,
            files: request.files,
            include: request.include,
            exclude: request.exclude,
            local_dir: request.local_dir,
            env,
            force: request.force,
            dry_run: request.dry_run,
            peers: request.peers,
            p2p: request.p2p,
            policy: request.policy,
            keep_xorbs: request.keep_xorbs,
            lock_held: request.lock_held,
            named_first: request.named_first,
        }
    }

    /// Finds peers of a repository's files and asks them what they have, for `wait` at most. Nothing is fetched.
    ///
    /// # Errors
    /// The repository cannot be listed.
    pub async fn survey(&self, request: PullRequest, wait: Duration) -> Result<Survey, PullError> {
        self.survey_as_found(request, wait, watch::Sender::default()).await
    }

    /// The same; `tell` hears of each peer as it is found.
    ///
    /// # Errors
    /// As [`Session::survey`].
    pub async fn survey_as_found(
        &self,
        request: PullRequest,
        wait: Duration,
        tell: watch::Sender<Survey>,
    ) -> Result<Survey, PullError> {
        survey(&self.inner.engine, self.options(request), wait, tell).await
    }

    /// These peers belong to this session: they are dialled, and they may have what only those get who are near. A name without an
    /// address is looked up until it has one.
    pub async fn name_peers(&self, given: Vec<String>) {
        self.inner.engine.name_peers(given).await;
    }

    /// Gives what lies in the session's folders to these from now on. It begins with everyone.
    pub fn give(&self, giving: Giving) {
        let before = self.inner.giving.send_replace(giving);
        let (env, catalog) = (&self.inner.env, &self.inner.engine.store().catalog);
        // What nobody is given is announced to nobody.
        match (before, giving) {
            (Giving::Nobody, Giving::Network | Giving::Everyone) => self.inner.folders.apply(env, catalog),
            (Giving::Network | Giving::Everyone, Giving::Nobody) => catalog.share_nothing(),
            _ => {}
        }
        self.inner.engine.spawn(move |context| Box::pin(async move { context.give(giving) }));
    }

    /// Who is given to.
    #[must_use]
    pub fn given_to(&self) -> Giving {
        *self.inner.giving.borrow()
    }

    /// Keeps the index of the session's caches from now on: files that came by other ways are made ready to be given, and the Hub
    /// is asked, without a token, which of them anyone may read. Once is enough.
    ///
    /// # Errors
    /// The endpoint is no address: files are indexed all the same, and what nobody has proven to be public stays here.
    pub fn keep_index(&self) -> Result<(), HubError> {
        if self.inner.indexing.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let (hub, outcome) = match hub_that_says_what_is_public(&self.inner.env) {
            Ok(hub) => (hub, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let (store, shared) = (self.inner.engine.store().clone(), self.inner.shared.clone());
        self.inner.engine.spawn(move |context| {
            Box::pin(async move {
                keep_giving(&[store], hub.as_ref(), &shared, async || {
                    if let Some(finder) = context.finder.get() {
                        finder.shelf_changed();
                    }
                })
                .await;
            })
        });
        outcome
    }

    /// Counts from now on what is given, without an index: what pulls land and what was known before. Once is enough.
    pub fn keep_count(&self) {
        if self.inner.indexing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (catalog, shared) = (self.inner.engine.store().catalog.clone(), self.inner.shared.clone());
        self.inner.engine.spawn(move |_context| {
            Box::pin(async move { crate::giving::keep_count(&catalog, &shared).await })
        });
    }

    /// What is given, and how far the index has come; the receiver tells of changes.
    #[must_use]
    pub fn giving(&self) -> watch::Receiver<GivingStatus> {
        self.inner.shared.subscribe()
    }

    /// The caps, and how the origin is used.
    #[must_use]
    pub fn limits(&self) -> Limits {
        *self.inner.limits.borrow()
    }

    /// Other caps, and another use of the origin, from now on.
    ///
    /// # Errors
    /// A cap below its least value.
    pub fn set_limits(&self, limits: Limits) -> Result<(), EngineError> {
        limits.check()?;
        self.inner.limits.send_replace(limits);
        self.inner.engine.spawn(move |context| {
            Box::pin(async move {
                let Limits { policy, max_upload, max_download, nice } = limits;
                context.set_limits(policy, max_upload, max_download, nice);
            })
        });
        Ok(())
    }

    /// Where peers can connect to.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.inner.engine.local_addrs()
    }

    /// How long nothing may come from anywhere before a pull gives up.
    #[must_use]
    pub fn give_up_after(&self) -> Duration {
        self.inner.give_up_after
    }

    /// The disk it works on.
    #[must_use]
    pub fn store(&self) -> &Arc<StoreHandles> {
        self.inner.engine.store()
    }

    /// The folders of which it gives.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.inner.folders
    }

    /// Counters of everything since it began. What one pull did is in its own report.
    pub async fn stats(&self) -> EngineStats {
        self.inner.engine.stats().await
    }

    /// Every linked peer.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        self.inner.engine.peers().await
    }

    /// How peers are found; `None` if only by their names.
    pub async fn discovery(&self) -> Option<DiscoveryStatus> {
        self.inner.engine.discovery().await
    }

    /// Everything at once.
    pub async fn status(&self) -> SessionStatus {
        let mut shared = self.inner.shared.borrow().clone();
        shared.catch_up(&self.inner.engine.store().catalog);
        SessionStatus {
            listen: self.local_addrs().to_vec(),
            stats: self.stats().await,
            discovery: self.discovery().await,
            giving: *self.inner.giving.borrow(),
            shared,
            limits: self.limits(),
            pulls: self.pulls(),
        }
    }

    /// See [`Engine::give_on`].
    pub async fn give_on(&self, idle: Duration) {
        self.inner.engine.give_on(idle).await;
    }

    /// Ends it for all who have it: pulls stop, and trackers and peers hear that we are gone.
    pub async fn shutdown(&self) {
        self.inner.engine.end().await;
    }
}

/// Sees to it that a pull's user hears of its end, even if the engine's thread ends before the pull.
struct Untold<'a>(&'a Record);

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        self.0.ended(Err(PullError::EngineGone));
    }
}
