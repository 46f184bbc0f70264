//! What an engine is told, and what it tells of itself.

use crate::budget::{UPLOAD_BUDGET_MIN, UploadBudget};
use crate::discovery::DiscoveryConfig;
use crate::disk::StoreHandles;
use crate::error::EngineError;
use crate::limits::LINKED_MAX;
use crate::steering::NiceStats;
use crate::throttle::DOWNLOAD_BYTES_S_MIN;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use zest_core::PeerId;
use zest_core::node::{self, INBOUND_MAX, PEERS_MAX, Policy, UPLOAD_BYTES_S_MIN};
use zest_core::outage::PATIENCE;
use zest_store::Endpoint;

/// Peers linked at once, at most, whatever an engine is told: 512.
pub const LINKS_MAX: usize = LINKED_MAX;
/// How long finding a peer may take where the origin refuses a file for good: 5 s. Ours; a look-up in the DHT takes two.
const FINDING: Duration = Duration::from_secs(5);

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
    /// Keep the line's queue short: receive less than would come (`core/src/nice.rs`).
    pub nice: bool,
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
    /// The Hub we are configured for. If not everybody knows it (see [`zest_store::Catalog::speak_for`]), it is named to peers of this
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
            nice: false,
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

    /// What of it the node is told.
    pub(super) fn node(
        &self,
        seed: [u8; 32],
        id: PeerId,
        hub: Option<[u8; 20]>,
        hub_here: bool,
    ) -> node::Config {
        let links_max = self.links_max.min(LINKS_MAX);
        node::Config {
            policy: self.policy,
            upload_bytes_s: self.upload_bytes_s,
            download_bytes_s: self.download_bytes_s,
            hub,
            hub_here,
            peers_max: links_max,
            patience: self.give_up_after,
            // What nobody is looked for is not waited for.
            finding: match self.discovery.as_ref().is_some_and(DiscoveryConfig::is_needed) {
                true => FINDING,
                false => Duration::ZERO,
            },
            inbound_max: if links_max > PEERS_MAX { links_max } else { links_max.min(INBOUND_MAX) },
            tentative: true,
            ..node::Config::new(seed, id)
        }
    }

    /// # Errors
    /// A limit below its least value.
    pub(super) fn check(&self) -> Result<(), EngineError> {
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
    /// Small files outside Xet uploaded to peers.
    #[serde(default)]
    pub small_files_given: u64,
    /// Those that came from peers and were right.
    #[serde(default)]
    pub small_files_got: u64,
    /// Peers shut out.
    pub banned: u32,
    /// Bytes that may still be given today, where there is a budget.
    #[serde(default)]
    pub budget_left: Option<u64>,
    /// What is left is less than a chunk may have, so whoever asks may be told to go elsewhere.
    pub budget_spent: bool,
    /// How the line is, while its queue is to stay short.
    #[serde(default)]
    pub nice: Option<NiceStats>,
}
