//! What gives: executors on io_uring, or the tokio engine where that cannot be. Beside the executors an engine that neither
//! accepts nor dials announces what they give, on a thread of its own: nothing of it can hold a core up.

use super::args::RuntimeChoice;
use crate::engine::engine_failure;
#[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
use crate::engine::{no_congestion_control, no_listener_hint};
use crate::failure::{Failure, Kind};
use std::net::SocketAddr;
use std::sync::Arc;
use zest_runtime_tokio::{DiscoveryConfig, DiscoveryStatus, Engine, EngineConfig, StoreHandles};
use zest_store::Endpoint;

#[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
use zest_runtime_glommio::{Seeder, SeederConfig, SeederError, probe};

/// What it is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) runtime: RuntimeChoice,
    pub(crate) listen: Vec<SocketAddr>,
    #[cfg_attr(
        not(all(target_os = "linux", target_env = "gnu", feature = "glommio")),
        expect(dead_code, reason = "for io_uring alone")
    )]
    pub(crate) cores: Vec<usize>,
    pub(crate) cache_bytes: u64,
    pub(crate) upload_bytes_s: Option<u64>,
    pub(crate) congestion_control: Option<String>,
    /// Peers linked at once; `None`: as many as the runtime takes.
    pub(crate) links_max: Option<usize>,
    pub(crate) discovery: DiscoveryConfig,
    pub(crate) store: Arc<StoreHandles>,
    pub(crate) hub: Endpoint,
}

/// Numbers for a status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) peers: u64,
    pub(crate) uploaded: u64,
    pub(crate) chunks: u64,
    pub(crate) disk_bytes: u64,
}

/// It runs.
pub(crate) enum Running {
    #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
    Glommio {
        seeder: Arc<Seeder>,
        /// Announces, if there is any way to.
        announcer: Option<Engine>,
    },
    Tokio(Engine),
}

impl Running {
    /// Starts the runtime that was asked for. With `auto`, a refusal of io_uring is told to `say` and tokio takes its place.
    pub(crate) async fn start(wanted: Wanted, say: impl Fn(String)) -> Result<Self, Failure> {
        #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
        if wanted.runtime != RuntimeChoice::Tokio {
            match probe() {
                Ok(_) => return on_uring(&wanted).await,
                Err(refusal) if wanted.runtime == RuntimeChoice::Glommio => return Err(refused(&refusal)),
                Err(refusal) => say(format!("{refusal}; using the tokio runtime")),
            }
        }
        #[cfg(not(all(target_os = "linux", target_env = "gnu", feature = "glommio")))]
        if wanted.runtime == RuntimeChoice::Glommio {
            return Err(Failure::new(Kind::Usage, "this zest-seed was built without io_uring")
                .hint("use --runtime tokio, or build on Linux with the feature glommio"));
        }
        let _ = &say;
        let config = EngineConfig {
            listen: wanted.listen,
            upload_bytes_s: wanted.upload_bytes_s,
            congestion_control: wanted.congestion_control,
            discovery: Some(wanted.discovery),
            hub: Some(wanted.hub),
            ..EngineConfig::to_give(wanted.store, wanted.cache_bytes)
        };
        let config = EngineConfig { links_max: wanted.links_max.unwrap_or(config.links_max), ..config };
        Ok(Self::Tokio(Engine::start(config).await.map_err(|error| engine_failure(&error))?))
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { seeder, .. } => seeder.local_addrs(),
            Self::Tokio(engine) => engine.local_addrs(),
        }
    }

    /// The name of the runtime, as `--runtime` takes it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { .. } => "glommio",
            Self::Tokio(_) => "tokio",
        }
    }

    /// What it runs on, for people.
    pub(crate) fn describe(&self, cache_bytes: u64) -> String {
        let cache = crate::ui::units::bytes(cache_bytes);
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { seeder, .. } => {
                let cores = crate::ui::units::counted(seeder.cores() as u64, "core");
                let registered = if seeder.is_registered() { "yes" } else { "no (raise LimitMEMLOCK)" };
                format!(
                    "io_uring on {cores}, registered buffers: {registered}, {cache} for what is asked for often"
                )
            }
            Self::Tokio(_) => {
                format!("tokio runtime: one thread, {cache} for what is asked for often, and the page cache")
            }
        }
    }

    /// Numbers of now; an error if an executor has died.
    pub(crate) async fn numbers(&self) -> Result<Numbers, Failure> {
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { seeder, .. } => {
                let stats = seeder.stats();
                if stats.cores < seeder.cores() as u64 {
                    return Err(Failure::new(Kind::Other, "an executor ended unexpectedly").hint(
                        "start it again with -v and report what it says; --runtime tokio works meanwhile",
                    ));
                }
                Ok(Numbers {
                    peers: stats.peers,
                    uploaded: stats.uploaded,
                    chunks: stats.chunks_served,
                    disk_bytes: stats.disk_bytes,
                })
            }
            Self::Tokio(engine) => {
                let stats = engine.stats().await;
                Ok(Numbers {
                    peers: stats.peers.into(),
                    uploaded: stats.uploaded,
                    chunks: stats.chunks_served,
                    disk_bytes: 0,
                })
            }
        }
    }

    /// How peers find it.
    pub(crate) async fn discovery(&self) -> DiscoveryStatus {
        let status = match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { announcer: None, .. } => None,
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { seeder, announcer: Some(engine) } => {
                if let Some(from) = seeder.stats().came_from {
                    engine.came_in(from).await;
                }
                engine.discovery().await
            }
            Self::Tokio(engine) => engine.discovery().await,
        };
        status.unwrap_or_default()
    }

    /// Takes in what changed in the catalog. It can be had before others are told of it.
    pub(crate) async fn refresh(&self) {
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { seeder, announcer } => {
                let seeder = seeder.clone();
                // Reads every chunk list that is new.
                let _ended = tokio::task::spawn_blocking(move || seeder.refresh()).await;
                if let Some(engine) = announcer {
                    engine.catalog_changed().await;
                }
            }
            Self::Tokio(engine) => engine.catalog_changed().await,
        }
    }

    /// Takes back what was announced, answers those who are being answered, then ends.
    pub(crate) async fn shutdown(self) {
        match self {
            #[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
            Self::Glommio { mut seeder, announcer } => {
                let drained = tokio::task::spawn_blocking(move || {
                    // A refresh may be on its way still.
                    loop {
                        match Arc::try_unwrap(seeder) {
                            Ok(seeder) => return seeder.shutdown(),
                            Err(shared) => seeder = shared,
                        }
                        std::thread::yield_now();
                    }
                });
                if let Some(engine) = announcer {
                    engine.shutdown().await;
                }
                let _ended = drained.await;
            }
            Self::Tokio(engine) => engine.shutdown().await,
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
async fn on_uring(wanted: &Wanted) -> Result<Running, Failure> {
    let config = SeederConfig {
        listen: wanted.listen.clone(),
        cores: wanted.cores.clone(),
        cache_bytes: wanted.cache_bytes,
        upload_bytes_s: wanted.upload_bytes_s,
        congestion_control: wanted.congestion_control.clone(),
        links_in_all: wanted.links_max,
        local_only: wanted.discovery.local_only,
        hub: Some(wanted.hub.clone()),
        ..SeederConfig::new(wanted.store.catalog.clone())
    };
    let started = tokio::task::spawn_blocking(move || Seeder::start(config)).await;
    let seeder = started.map_err(|error| Failure::new(Kind::Other, error))?;
    let seeder = seeder.map_err(|error| seeder_failure(&error))?;
    let mut running = Running::Glommio { seeder: Arc::new(seeder), announcer: None };
    if wanted.discovery.finds_any() {
        let addrs = running.local_addrs().to_vec();
        let config = EngineConfig {
            hub: Some(wanted.hub.clone()),
            ..EngineConfig::to_announce(wanted.store.clone(), addrs, wanted.discovery.clone())
        };
        match Engine::start(config).await {
            Ok(engine) => {
                if let Running::Glommio { announcer, .. } = &mut running {
                    *announcer = Some(engine);
                }
            }
            Err(error) => {
                // Its port is free again before anybody tries once more.
                running.shutdown().await;
                return Err(engine_failure(&error));
            }
        }
    }
    Ok(running)
}

#[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
fn refused(refusal: &zest_runtime_glommio::Refusal) -> Failure {
    Failure::new(Kind::Other, refusal).hint("or run it with --runtime tokio")
}

#[cfg(all(target_os = "linux", target_env = "gnu", feature = "glommio"))]
fn seeder_failure(error: &SeederError) -> Failure {
    match error {
        SeederError::Refused(refusal) => refused(refusal),
        SeederError::Listen { source, .. } => {
            Failure::new(Kind::Network, error).hint(no_listener_hint(source))
        }
        SeederError::CongestionControl { .. } => no_congestion_control(error),
        SeederError::Core { .. } => {
            Failure::new(Kind::Usage, error).hint("leave --cores out to use what there is")
        }
        SeederError::Executor { .. } => Failure::new(Kind::Other, error).hint("run it with --runtime tokio"),
        _ => Failure::new(Kind::Other, error),
    }
}
