//! What a daemon says of itself: where it is, what it was started in, how it finds peers.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use zest_runtime_tokio::DiscoveryConfig;
use zest_store::Env;

/// What a daemon says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Where its API listens.
    pub http: Vec<SocketAddr>,
    /// And its Unix socket.
    pub socket: Option<PathBuf>,
    /// zest's cache.
    pub zest_cache: PathBuf,
    /// What it was started in.
    pub environment: Environment,
    /// How it finds peers.
    pub ways: Ways,
    /// When it began, in Unix seconds.
    pub started: u64,
    /// A program that needed it has started it, and it ends by itself.
    pub on_demand: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_no_password() {
        let vars = [("HOME", "/h"), ("HF_ENDPOINT", "https://me:pass@hub.example/x")];
        let env = Env::from_map(&vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(Environment::of(&env).endpoint, "https://hub.example/x");
    }
}
