//! `GET /v1/status`: to everybody the original's seven keys, to who has the secret everything.

use crate::app::App;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zest_runtime_tokio::{DiscoveryConfig, PullRequest, PullStatus, SessionStatus};
use zest_store::Env;

/// Pulls that have ended and are in the status, at most: 10. `/v1/pulls` has all.
const ENDED_SHOWN: usize = 10;

/// How long a count of the original's xorbs is used: 30 s. It is a walk over up to 256 folders.
const XORBS_FOR: Duration = Duration::from_secs(30);

/// What zest 0.4 says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Original {
    /// The program's.
    pub version: String,
    /// Peers linked.
    pub bt_peers: u32,
    /// Chunks uploaded to peers.
    pub chunks_served: u64,
    /// Whole xorbs in the original's cache, which `zest pull --keep-xorbs` fills.
    pub xorbs_cached: u64,
    /// Requests that the API has had.
    pub http_requests: u64,
    /// Where the API listens.
    pub http_port: u16,
    /// Where peers can connect to, 0 if nowhere.
    pub bt_port: u16,
}

/// The environment that the daemon was started in, as far as a pull depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// The cache of Hugging Face's tools.
    pub hub_cache: PathBuf,
    /// The Hub. Without what stands before an `@`.
    pub endpoint: String,
    /// It asks nobody.
    pub offline: bool,
    /// `HF_HUB_DISABLE_SYMLINKS`.
    pub disable_symlinks: bool,
    /// `HF_HUB_DISABLE_SHARED_BLOBS`.
    pub disable_shared_blobs: bool,
    /// `HF_HUB_DISABLE_XET`.
    pub disable_xet: bool,
}

impl Environment {
    /// Of this one.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let endpoint = match env.endpoint.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
            None => env.endpoint.clone(),
        };
        Self {
            hub_cache: env.hub_cache.clone(),
            endpoint,
            offline: env.offline,
            disable_symlinks: env.disable_symlinks,
            disable_shared_blobs: env.disable_shared_blobs,
            disable_xet: env.disable_xet,
        }
    }
}

/// The ways in which peers are found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ways {
    /// Multicast on this network.
    pub lan: bool,
    /// The DHT.
    pub dht: bool,
    /// Trackers: how many.
    pub trackers: usize,
    /// Nobody outside this network, but by name.
    pub local_only: bool,
}

impl Ways {
    /// Of these settings.
    #[must_use]
    pub fn of(config: &DiscoveryConfig) -> Self {
        Self {
            lan: config.lan,
            dht: config.dht.is_some(),
            trackers: config.trackers.len(),
            local_only: config.local_only,
        }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Full<'a> {
    #[serde(flatten)]
    original: Original,
    pid: u32,
    started: u64,
    uptime_s: f64,
    http: &'a [SocketAddr],
    socket: Option<&'a Path>,
    environment: &'a Environment,
    ways: &'a Ways,
    give_up_after_s: f64,
    stopping: bool,
    /// A program that needed it has started it, and it ends by itself.
    on_demand: bool,
    /// Numbers of the pulls that an earlier daemon was killed in.
    resumed: &'a [u64],
    /// Those of them that cannot be begun: their token is gone.
    waiting_for_token: Vec<PullRequest>,
    #[serde(flatten)]
    session: SessionStatus,
}

/// The count of xorbs, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct Xorbs(tokio::sync::Mutex<Option<(Instant, u64)>>);

impl Xorbs {
    async fn count(&self, zest_cache: &Path) -> u64 {
        // One walk at a time; who comes meanwhile waits for its outcome.
        let mut last = self.0.lock().await;
        if let Some((at, count)) = *last
            && at.elapsed() < XORBS_FOR
        {
            return count;
        }
        let root = zest_cache.join("xorbs");
        let count = tokio::task::spawn_blocking(move || count_xorbs(&root)).await.unwrap_or(0);
        *last = Some((Instant::now(), count));
        count
    }
}

/// Whole xorbs: `xorbs/<2 hex>/<64 hex>`; parts of one have a number behind a dot.
fn count_xorbs(root: &Path) -> u64 {
    let is_hash = |name: &std::ffi::OsStr| {
        name.to_str()
            .is_some_and(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries(root).filter(|entry| entry.file_name().len() == 2);
    let whole = |dir: PathBuf| entries(&dir).filter(|entry| is_hash(&entry.file_name())).count() as u64;
    folders.map(|folder| whole(folder.path())).sum()
}

impl App {
    pub(crate) async fn original(&self) -> Original {
        let stats = self.session.stats().await;
        Original {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            bt_peers: stats.peers,
            chunks_served: stats.chunks_served,
            xorbs_cached: self.xorbs.count(&self.about.zest_cache).await,
            http_requests: self.requests(),
            http_port: self.about.http.first().map_or(0, SocketAddr::port),
            bt_port: self.session.local_addrs().first().map_or(0, SocketAddr::port),
        }
    }

    pub(crate) async fn full(&self) -> Full<'_> {
        let original = self.original().await;
        let mut session = self.session.status().await;
        shorten(&mut session.pulls);
        Full {
            original,
            pid: std::process::id(),
            started: self.about.started,
            uptime_s: self.began.elapsed().as_secs_f64(),
            http: &self.about.http,
            socket: self.about.socket.as_deref(),
            environment: &self.about.environment,
            ways: &self.about.ways,
            give_up_after_s: self.session.give_up_after().as_secs_f64(),
            stopping: self.stop.is_stopping(),
            on_demand: self.about.on_demand,
            resumed: &self.resumed,
            waiting_for_token: self.pending.waiting(),
            session,
        }
    }
}

/// Of those that have ended, the last ones.
fn shorten(pulls: &mut Vec<PullStatus>) {
    let has_ended = |pull: &PullStatus| pull.report.is_some() || pull.failure.is_some();
    let mut surplus = pulls.iter().filter(|pull| has_ended(pull)).count().saturating_sub(ENDED_SHOWN);
    pulls.retain(|pull| {
        let goes = surplus > 0 && has_ended(pull);
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_xorbs_of_the_original_are_counted_and_parts_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("xorbs");
        assert_eq!(count_xorbs(&root), 0);
        let hash = "c8".repeat(32);
        std::fs::create_dir_all(root.join("c8")).expect("a folder");
        std::fs::write(root.join("c8").join(&hash), "x").expect("written");
        std::fs::write(root.join("c8").join(format!("{hash}.3")), "x").expect("written");
        std::fs::write(root.join("stray"), "x").expect("written");
        assert_eq!(count_xorbs(&root), 1);
    }

    #[test]
    fn the_environment_has_no_password() {
        let vars = [("HOME", "/h"), ("HF_ENDPOINT", "https://me:pass@hub.example/x")];
        let env = Env::from_map(&vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(Environment::of(&env).endpoint, "https://hub.example/x");
    }
}
