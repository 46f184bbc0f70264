//! The one door between the command line and the runtime: starts an engine for an environment, and turns every
//! error of the rooms below into a [`Failure`].

use crate::address;
use crate::args::{self, OriginPolicy, RepoKind, UploadArgs};
use crate::failure::{FailedFile, Failure, Kind};
use crate::sharing::Folders;
use crate::ui::Ui;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use zest_runtime_tokio::{
    DiscoveryConfig, Engine, EngineConfig, EngineError, Policy, PullError, PullErrorKind, StoreHandles,
    UploadBudget,
};
use zest_store::{Catalog, Endpoint, Env, HfCache, RepoId, RepoType, StoreError, StoreErrorKind};

pub(crate) use zest_runtime_tokio::{
    CancelToken, DiscoveryStatus, EngineStats, FileProgress, How, IndexProgress, Notice, Out, Phase,
    Progress, PullOptions, PullReport, PulledFile, Service, Survey, keep_index,
};

/// Runs a command's future on this thread.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, format_args!("cannot start: {error}")))?;
    runtime.block_on(command)
}

/// The environment of this process. Its token is blanked wherever it would be shown.
pub(crate) fn environment(ui: &Ui) -> Env {
    let env = Env::from_process();
    if let Some(token) = &env.token {
        ui.hide(token.as_str());
    }
    for secret in zest_hub::endpoint_secrets(&env.endpoint) {
        ui.hide(&secret);
    }
    env
}

/// The repository a command line names.
pub(crate) fn repo_id(text: &str, kind: Option<RepoKind>) -> Result<RepoId, Failure> {
    let usage = |message: String| {
        Failure::new(Kind::Usage, message).hint("name a repository as ORG/NAME, for example Qwen/Qwen3-0.6B")
    };
    let (kind, name) = args::split_repo(text, kind).map_err(usage)?;
    let kind = match kind {
        RepoKind::Model => RepoType::Model,
        RepoKind::Dataset => RepoType::Dataset,
        RepoKind::Space => RepoType::Space,
    };
    RepoId::new(kind, name).map_err(|error| usage(error.to_string()))
}

/// How an engine is to run, as the command line says it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) max_download: Option<u64>,
    pub(crate) upload: UploadArgs,
    /// How peers are found.
    pub(crate) discovery: Option<DiscoveryConfig>,
    /// Where a port was not asked for: another one, if it is taken.
    pub(crate) next_port: bool,
    /// TCP congestion control of connections that come in.
    pub(crate) congestion_control: Option<String>,
    /// How long nothing may come before a pull gives up, if not as long as usual.
    pub(crate) give_up_after: Option<Duration>,
    /// It is there to give, with so much memory for what is asked for again and again.
    pub(crate) give_from: Option<u64>,
    /// What may be given.
    pub(crate) folders: Folders,
}

impl From<OriginPolicy> for Policy {
    fn from(policy: OriginPolicy) -> Policy {
        match policy {
            OriginPolicy::Fastest => Policy::Fastest,
            OriginPolicy::SpareOrigin => Policy::SpareOrigin,
        }
    }
}

/// The account of what was given to peers today, in zest's cache.
const UPLOADS: &str = "uploads.json";

/// A running engine with its stores.
pub(crate) struct Session {
    engine: Engine,
    give_up_after: Duration,
    pub(crate) store: Arc<StoreHandles>,
}

impl Session {
    /// Opens the caches of `env` and starts an engine, which listens on `listen` if that is not empty.
    pub(crate) async fn start(
        env: &Env,
        listen: &[SocketAddr],
        settings: &Settings,
    ) -> Result<Session, Failure> {
        let failed = |error: StoreError| store_failure(&error);
        let store = Arc::new(StoreHandles {
            catalog: Arc::new(Catalog::open(&env.zest_cache).map_err(failed)?),
            cache: HfCache::open(&env.hub_cache, env.cache_options()).map_err(failed)?,
        });
        settings.folders.apply(env, &store.catalog);
        let account = env.zest_cache.join(UPLOADS);
        let config = EngineConfig {
            listen: listen.to_vec(),
            next_port: settings.next_port,
            discovery: settings.discovery.clone(),
            policy: settings.policy,
            upload_bytes_s: settings.upload.max_upload,
            download_bytes_s: settings.max_download,
            congestion_control: settings.congestion_control.clone(),
            give_up_after: settings.give_up_after.unwrap_or(zest_runtime_tokio::PATIENCE),
            hub: Some(Endpoint::new(&env.endpoint)),
            upload_budget: settings.upload.upload_budget.map(|bytes| UploadBudget { bytes, account }),
            ..match settings.give_from {
                Some(cache_bytes) => EngineConfig::to_give(Arc::clone(&store), cache_bytes),
                None => EngineConfig::new(Arc::clone(&store)),
            }
        };
        let give_up_after = config.give_up_after;
        let engine = Engine::start(config).await.map_err(|error| engine_failure(&error))?;
        Ok(Session { engine, give_up_after, store })
    }

    /// Starts an engine that listens on this port of all addresses of this machine.
    pub(crate) async fn start_everywhere(
        env: &Env,
        port: u16,
        settings: &Settings,
    ) -> Result<Session, Failure> {
        Session::start(env, &[SocketAddr::new(address::everywhere(), port)], settings).await
    }

    /// The user named these peers.
    pub(crate) async fn name_peers(&self, given: Vec<String>) {
        self.engine.name_peers(given).await;
    }

    /// How long nothing may come before a pull gives up.
    pub(crate) fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// Where peers can connect to.
    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        self.engine.local_addrs()
    }

    /// The engine's counters.
    pub(crate) async fn stats(&self) -> EngineStats {
        self.engine.stats().await
    }

    /// How peers are being found.
    pub(crate) async fn discovery(&self) -> Option<DiscoveryStatus> {
        self.engine.discovery().await
    }

    /// What is shared has changed: see [`Engine::catalog_changed`].
    pub(crate) async fn catalog_changed(&self) {
        self.engine.catalog_changed().await;
    }

    /// See [`zest_runtime_tokio::survey`].
    pub(crate) async fn survey(&self, options: PullOptions, wait: Duration) -> Result<Survey, Failure> {
        zest_runtime_tokio::survey(&self.engine, options, wait).await.map_err(|error| pull_failure(&error))
    }

    /// See [`zest_runtime_tokio::pull`].
    pub(crate) async fn pull(
        &self,
        options: PullOptions,
        progress: watch::Sender<Progress>,
        cancel: CancelToken,
    ) -> Result<PullReport, Failure> {
        zest_runtime_tokio::pull(&self.engine, options, progress, cancel)
            .await
            .map_err(|error| pull_failure(&error))
    }

    /// See [`Engine::give_on`].
    pub(crate) async fn give_on(&self, idle: Duration) {
        self.engine.give_on(idle).await;
    }

    /// Closes every link and ends the engine's threads.
    pub(crate) async fn shutdown(self) {
        self.engine.shutdown().await;
    }
}

/// A failure of the store, by what it was.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let kind = match error.kind() {
        StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Failing => Kind::Disk,
        StoreErrorKind::InTheWay | StoreErrorKind::Name => Kind::Place,
        StoreErrorKind::WrongBytes => Kind::Verify,
        StoreErrorKind::Changed | StoreErrorKind::Damaged => Kind::Other,
    };
    let failure = Failure::new(kind, error);
    match zest_runtime_tokio::store_hint(error.kind()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name that this system does not take.
pub(crate) fn no_congestion_control(error: impl std::fmt::Display) -> Failure {
    let allowed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
    let hint = match allowed {
        Ok(names) => format!("this system allows: {}", names.trim()),
        Err(_) => "leave --congestion-control out: it is for Linux".to_owned(),
    };
    Failure::new(Kind::Usage, error).hint(hint)
}

pub(crate) fn engine_failure(error: &EngineError) -> Failure {
    match error {
        EngineError::Listen { .. } => {
            Failure::new(Kind::Network, error).hint("choose another port; 0 takes any free one")
        }
        EngineError::DhtPort { .. } => {
            Failure::new(Kind::Network, error).hint("choose another one with --dht-port, or leave it out")
        }
        EngineError::CongestionControl { .. } => no_congestion_control(error),
        EngineError::Limit { .. } => Failure::new(Kind::Usage, error),
        EngineError::Budget { .. } => {
            Failure::new(Kind::Disk, error).hint("make the file writable, or leave --upload-budget out")
        }
        _ => Failure::new(Kind::Other, error),
    }
}

fn pull_failure(error: &PullError) -> Failure {
    let retry_after = match error.kind() {
        PullErrorKind::RateLimited { retry_after } => retry_after,
        _ => None,
    };
    let files = match error {
        PullError::SomeFiles { failed, .. } => failed.iter().map(failed_file).collect(),
        _ => Vec::new(),
    };
    Failure { kind: pull_kind(error), message: error.to_string(), hint: error.hint(), retry_after, files }
}

fn failed_file(file: &zest_runtime_tokio::FailedFile) -> FailedFile {
    FailedFile { path: file.path.clone(), kind: pull_kind(&file.error), message: file.error.to_string() }
}

fn pull_kind(error: &PullError) -> Kind {
    match error.kind() {
        PullErrorKind::Usage => Kind::Usage,
        PullErrorKind::Auth | PullErrorKind::Gated => Kind::Auth,
        PullErrorKind::NotFound => Kind::NotFound,
        PullErrorKind::Offline | PullErrorKind::Network | PullErrorKind::RateLimited { .. } => Kind::Network,
        PullErrorKind::Verify => Kind::Verify,
        PullErrorKind::Disk => Kind::Disk,
        PullErrorKind::Place => Kind::Place,
        PullErrorKind::Interrupted => Kind::Interrupted,
        PullErrorKind::Protocol | PullErrorKind::Other => Kind::Other,
    }
}
