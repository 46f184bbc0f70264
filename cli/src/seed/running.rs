//! What gives: executors on io_uring (`uring/`), or the tokio engine where that cannot be.

use super::args::RuntimeChoice;
use super::uring::{Refusal, Uring};
use super::wanted::{Numbers, Wanted};
use crate::engine::engine_failure;
use crate::failure::Failure;
use std::net::SocketAddr;
use zest_runtime_tokio::{DiscoveryStatus, Engine, EngineConfig};

/// It runs.
pub(crate) enum Running {
    Glommio(Uring),
    Tokio(Engine),
}

impl Running {
    /// Starts the runtime that was asked for, on these cores if it takes cores. With `auto`, a refusal of io_uring is told to `say` and
    /// tokio takes its place.
    pub(crate) async fn start(
        wanted: Wanted,
        cores: Vec<usize>,
        say: impl Fn(String),
    ) -> Result<Self, Failure> {
        if wanted.runtime != RuntimeChoice::Tokio {
            match (Uring::refusal(), wanted.runtime) {
                (None, _) => return Uring::start(&wanted, cores).await.map(Self::Glommio),
                (Some(refusal), RuntimeChoice::Glommio) => return Err(refusal.failure()),
                (Some(Refusal::System(why)), _) => say(format!("{why}; using the tokio runtime")),
                (Some(Refusal::Build), _) => {}
            }
        }
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
            Self::Glommio(uring) => uring.local_addrs(),
            Self::Tokio(engine) => engine.local_addrs(),
        }
    }

    /// The name of the runtime, as `--runtime` takes it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Glommio(_) => "glommio",
            Self::Tokio(_) => "tokio",
        }
    }

    /// What it runs on, for people.
    pub(crate) fn describe(&self, cache_bytes: u64) -> String {
        let cache = crate::ui::units::bytes(cache_bytes);
        match self {
            Self::Glommio(uring) => format!("{}, {cache} for what is asked for often", uring.describe()),
            Self::Tokio(_) => {
                format!("tokio runtime: one thread, {cache} for what is asked for often, and the page cache")
            }
        }
    }

    /// Numbers of now; an error if an executor has died.
    pub(crate) async fn numbers(&self) -> Result<Numbers, Failure> {
        match self {
            Self::Glommio(uring) => uring.numbers(),
            Self::Tokio(engine) => {
                let stats = engine.stats().await;
                Ok(Numbers {
                    peers: stats.peers.into(),
                    uploaded: stats.uploaded,
                    chunks: stats.chunks_served,
                    small_files: stats.small_files_given,
                    disk_bytes: 0,
                })
            }
        }
    }

    /// How peers find it.
    pub(crate) async fn discovery(&self) -> DiscoveryStatus {
        let status = match self {
            Self::Glommio(uring) => uring.discovery().await,
            Self::Tokio(engine) => engine.discovery().await,
        };
        status.unwrap_or_default()
    }

    /// Takes in what changed in the catalog. It can be had before others are told of it.
    pub(crate) async fn refresh(&self) {
        match self {
            Self::Glommio(uring) => uring.refresh().await,
            Self::Tokio(engine) => engine.catalog_changed().await,
        }
    }

    /// Takes back what was announced, answers those who are being answered, then ends.
    pub(crate) async fn shutdown(self) {
        match self {
            Self::Glommio(uring) => uring.shutdown().await,
            Self::Tokio(engine) => engine.shutdown().await,
        }
    }
}
