//! Drives `zest-core` with tokio: one thread owns the node, every socket and the origin's streams; a few workers prove,
//! decode and write.
//!
//! - [`Engine`]: that thread. [`Engine::start`] opens the listener, [`Engine::shutdown`] ends it cleanly.
//! - [`pull`]: one repository into the HF cache.
//! - [`keep_index`]: makes what is in the HF cache ready to be shared.
//!
//! The way of a chunk from a peer: `readv` puts it page-aligned into a pooled buffer (`buffers`), a worker proves it and
//! writes it to its place (`workers`), the node hears that it is done. To a peer: the node names a file range, the link's
//! writer sends a 15-byte head and `sendfile`s the range.

mod block;
mod budget;
mod buffers;
mod clock;
mod context;
mod discovery;
mod engine;
mod error;
mod fnmatch;
mod header;
mod hot;
mod index;
mod job;
mod jobs;
mod linkio;
mod lists;
mod lookup;
mod origin;
mod outages;
mod peer_range;
mod progress;
mod pull;
mod seal;
mod stream;
mod throttle;
mod vicinity;
mod workers;
mod writer;

pub use budget::{UPLOAD_BUDGET_MIN, UploadBudget};
pub use discovery::{
    DhtConfig, DiscoveryConfig, DiscoveryStatus, ROUTERS, Reachability, Survey, SurveyFile, SurveyPeer,
    TrackerStatus, survey,
};
pub use engine::{Engine, EngineConfig, EngineStats, LINKS_MAX, StoreHandles};
pub use error::{EngineError, FailedFile, PullError, PullErrorKind, SourceFault, store_hint};
pub use fnmatch::{Filter, Pattern, fnmatch, selected};
pub use index::{IndexProgress, keep_index};
pub use outages::{Out, Service};
pub use progress::{CancelToken, FileProgress, How, Notice, Phase, Progress, PullReport, PulledFile};
pub use pull::{PullOptions, pull};
pub use throttle::DOWNLOAD_BYTES_S_MIN;
pub use zest_core::endpoint::{Found, Scope};
pub use zest_core::node::{Policy, UPLOAD_BYTES_S_MIN};
pub use zest_core::outage::PATIENCE;
pub use zest_core::tracker::{TrackerUrl, UrlError};
