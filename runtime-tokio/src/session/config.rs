//! What a session is told at its start, and what may change while it runs.

use crate::api::PolicyName;
use crate::disk::StoreHandles;
use crate::engine::EngineConfig;
use crate::giving::Folders;
use crate::{DOWNLOAD_BYTES_S_MIN, EngineError, Policy, UPLOAD_BYTES_S_MIN};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zest_store::{Catalog, Endpoint, Env, HfCache, StoreError};

/// How a session is to run: [`SessionConfig::new`], then whatever is to be different.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The environment: caches, Hub, token.
    pub env: Env,
    /// What is given. The environment's cache, unless something else is said.
    pub folders: Folders,
    /// Ports, caps, finding peers: everything about the engine.
    pub engine: EngineConfig,
    /// Where no port can be opened, do without.
    pub listens_if_it_can: bool,
}

impl SessionConfig {
    /// A session for this environment that accepts nobody, finds peers by their names alone, and has no caps.
    ///
    /// # Errors
    /// A cache cannot be opened.
    pub fn new(env: Env) -> Result<Self, StoreError> {
        let store = StoreHandles {
            catalog: Arc::new(Catalog::open(&env.zest_cache)?),
            cache: HfCache::open(&env.hub_cache, env.cache_options())?,
        };
        let hub = Some(Endpoint::new(&env.endpoint));
        let engine = EngineConfig { hub, ..EngineConfig::new(Arc::new(store)) };
        let folders = Folders::of_cache(&env, false);
        Ok(Self { env, folders, engine, listens_if_it_can: false })
    }

    /// The same for the environment of this process: `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and so on.
    ///
    /// # Errors
    /// A cache cannot be opened.
    pub fn from_process() -> Result<Self, StoreError> {
        Self::new(Env::from_process())
    }

    /// Changes something about the engine.
    #[must_use]
    pub fn engine(mut self, change: impl FnOnce(&mut EngineConfig)) -> Self {
        change(&mut self.engine);
        self
    }

    /// Gives what lies in these folders.
    #[must_use]
    pub fn folders(mut self, folders: Folders) -> Self {
        self.folders = folders;
        self
    }
}

/// What may change while a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How the origin is used beside peers.
    #[serde(default, with = "PolicyName")]
    #[cfg_attr(feature = "schema", schemars(with = "PolicyName"))]
    pub policy: Policy,
    /// Most payload bytes given to peers in any second; `None`: as many as they take.
    #[serde(default)]
    pub max_upload: Option<u64>,
    /// Most bytes received per second, from peers and the origin together; `None`: as many as come.
    #[serde(default)]
    pub max_download: Option<u64>,
    /// Keep the queueing delay of the line below 60 ms: receive less than would come, and next to nothing while others fill it.
    #[serde(default)]
    pub nice: bool,
}

impl Limits {
    /// # Errors
    /// A cap below its least value.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        for (what, given, min) in [
            ("upload cap in bytes/s", self.max_upload, UPLOAD_BYTES_S_MIN),
            ("download cap in bytes/s", self.max_download, DOWNLOAD_BYTES_S_MIN),
        ] {
            if let Some(given) = given.filter(|given| *given < min) {
                return Err(EngineError::Limit { what, given, min });
            }
        }
        Ok(())
    }
}
