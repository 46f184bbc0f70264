//! What a seed box is to be like, and what it says of itself.

use super::args::RuntimeChoice;
use std::net::SocketAddr;
use std::sync::Arc;
use zest_runtime_tokio::{DiscoveryConfig, StoreHandles};
use zest_store::Endpoint;

/// What it is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) runtime: RuntimeChoice,
    pub(crate) listen: Vec<SocketAddr>,
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
    pub(crate) small_files: u64,
    pub(crate) disk_bytes: u64,
}
