//! Executors on io_uring. Beside them an engine that neither accepts nor dials announces what they give, on a thread of its own: nothing
//! of it can hold a core up.

use super::Refusal;
use crate::engine::{engine_failure, no_congestion_control, no_listener_hint};
use crate::failure::{Failure, Kind};
use crate::seed::wanted::{Numbers, Wanted};
use std::net::SocketAddr;
use std::sync::Arc;
use zest_runtime_glommio::{Seeder, SeederConfig, SeederError, probe};
use zest_runtime_tokio::{DiscoveryStatus, Engine, EngineConfig};
use zest_store::HfCache;

/// It runs.
pub(crate) struct Uring {
    seeder: Arc<Seeder>,
    /// Announces, if there is any way to.
    announcer: Option<Engine>,
}

impl Uring {
    /// Why it cannot be started here.
    pub(crate) fn refusal() -> Option<Refusal> {
        probe().err().map(|refusal| Refusal::System(refusal.to_string()))
    }

    pub(crate) async fn start(wanted: &Wanted, cores: Vec<usize>) -> Result<Self, Failure> {
        let kept = &wanted.store.cache;
        let cache =
            HfCache::open(kept.root(), kept.options()).map_err(|error| Failure::new(Kind::Disk, error))?;
        let config = SeederConfig {
            listen: wanted.listen.clone(),
            cores,
            cache_bytes: wanted.cache_bytes,
            upload_bytes_s: wanted.upload_bytes_s,
            congestion_control: wanted.congestion_control.clone(),
            links_in_all: wanted.links_max,
            local_only: wanted.discovery.local_only,
            hub: Some(wanted.hub.clone()),
            cache: Some(Arc::new(cache)),
            ..SeederConfig::new(wanted.store.catalog.clone())
        };
        let started = tokio::task::spawn_blocking(move || Seeder::start(config)).await;
        let seeder = started.map_err(|error| Failure::new(Kind::Other, error))?;
        let seeder = seeder.map_err(|error| seeder_failure(&error))?;
        let mut running = Self { seeder: Arc::new(seeder), announcer: None };
        if wanted.discovery.finds_any() {
            let addrs = running.local_addrs().to_vec();
            let config = EngineConfig {
                hub: Some(wanted.hub.clone()),
                ..EngineConfig::to_announce(wanted.store.clone(), addrs, wanted.discovery.clone())
            };
            match Engine::start(config).await {
                Ok(engine) => running.announcer = Some(engine),
                Err(error) => {
                    // Its port is free again before anybody tries once more.
                    running.shutdown().await;
                    return Err(engine_failure(&error));
                }
            }
        }
        Ok(running)
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        self.seeder.local_addrs()
    }

    /// What it runs on, for people.
    pub(crate) fn describe(&self) -> String {
        let cores = crate::ui::units::counted(self.seeder.cores() as u64, "core");
        let registered = if self.seeder.is_registered() { "yes" } else { "no (raise LimitMEMLOCK)" };
        format!("io_uring on {cores}, registered buffers: {registered}")
    }

    /// Numbers of now; an error if an executor has died.
    pub(crate) fn numbers(&self) -> Result<Numbers, Failure> {
        let stats = self.seeder.stats();
        if stats.cores < self.seeder.cores() as u64 {
            return Err(Failure::new(Kind::Other, "an executor ended unexpectedly")
                .hint("start it again with -v and report what it says; --runtime tokio works meanwhile"));
        }
        Ok(Numbers {
            peers: stats.peers,
            uploaded: stats.uploaded,
            chunks: stats.chunks_served,
            small_files: stats.small_files_given,
            disk_bytes: stats.disk_bytes,
        })
    }

    /// How peers find it, if anything announces it.
    pub(crate) async fn discovery(&self) -> Option<DiscoveryStatus> {
        let engine = self.announcer.as_ref()?;
        if let Some(from) = self.seeder.stats().came_from {
            engine.came_in(from).await;
        }
        engine.discovery().await
    }

    /// Takes in what changed in the catalog.
    pub(crate) async fn refresh(&self) {
        let seeder = self.seeder.clone();
        // Reads every chunk list that is new.
        let _ended = tokio::task::spawn_blocking(move || seeder.refresh()).await;
        if let Some(engine) = &self.announcer {
            engine.catalog_changed().await;
        }
    }

    /// Takes back what was announced, answers those who are being answered, then ends.
    pub(crate) async fn shutdown(self) {
        let mut seeder = self.seeder;
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
        if let Some(engine) = self.announcer {
            engine.shutdown().await;
        }
        let _ended = drained.await;
    }
}

fn seeder_failure(error: &SeederError) -> Failure {
    match error {
        SeederError::Refused(refusal) => Refusal::System(refusal.to_string()).failure(),
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
