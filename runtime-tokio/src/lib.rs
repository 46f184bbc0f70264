#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! Drives `zest-core` with tokio: one thread owns the node, every socket and the origin's streams; a few workers prove,
//! decode and write.
//!
//! - [`Session`]: zest inside a program; pulls, gives and tells, on any thread and runtime. Begin here.
//! - [`Engine`]: that thread. [`Engine::start`] opens the listener, [`Engine::shutdown`] ends it cleanly.
//! - [`pull`]: one repository into the HF cache.
//! - [`keep_index`]: makes what is in the HF cache ready to be shared.
//!
//! The way of a chunk from a peer: `readv` puts it page-aligned into a pooled buffer (`buffers`), a worker proves it and
//! writes it to its place (`workers`), the node hears that it is done. To a peer: the node names a file range, the link's
//! writer sends a 15-byte head and `sendfile`s the range.

mod api;
mod budget;
mod buffers;
mod cancel;
mod clock;
mod context;
mod discovery;
mod disk;
mod done;
mod engine;
mod error;
mod figures;
mod file_kind;
mod fnmatch;
mod giving;
mod header;
mod held;
mod hot;
mod hubs;
mod index;
mod jobs;
pub mod limits;
mod link;
mod lists;
mod lookup;
mod machine;
mod nice;
mod origin;
mod os;
mod outages;
mod peer_names;
mod peer_range;
mod perform;
mod pull;
mod pulls;
mod seal;
mod session;
mod small;
mod small_lookup;
mod steering;
mod tentative;
mod throttle;
mod traffic;
mod transport;
mod vicinity;
mod warm;
mod workers;

pub use api::{
    FileFailure, FileProgress, FileWait, How, Notice, PastOutage, PeerStatus, Phase, PolicyName, Priority,
    Progress, PullEvent, PullFailure, PullReport, PullRequest, PullState, PullStatus, PulledFile,
    SessionStatus, own_policy,
};
pub use budget::{UPLOAD_BUDGET_MIN, UploadBudget};
pub use cancel::CancelToken;
pub use discovery::{
    DhtConfig, DiscoveryConfig, DiscoveryStatus, ROUTERS, Reachability, Survey, SurveyFile, SurveyPeer,
    TrackerStatus, survey,
};
pub use disk::StoreHandles;
pub use engine::{Engine, EngineConfig, EngineStats, LINKS_MAX, pull};
pub use error::{EngineError, FailedFile, PullError, PullErrorKind, SourceFault, store_hint};
pub use fnmatch::{Filter, Pattern, fnmatch, selected};
pub use giving::{
    Amount, Folders, Giving, GivingStatus, INDEX_EVERY, Shared, hub_that_says_what_is_public, index_once,
    keep_giving,
};
pub use index::{IndexProgress, keep_index};
pub use outages::{Out, Service};
pub use pull::PullOptions;
pub use session::{
    Arriving, Came, Content, ContentHead, Extent, Limits, PullHandle, Session, SessionConfig, Signs,
};
pub use steering::NiceStats;
pub use throttle::DOWNLOAD_BYTES_S_MIN;
pub use zest_core::PeerId;
pub use zest_core::endpoint::{Found, Scope};
pub use zest_core::node::{Policy, UPLOAD_BYTES_S_MIN};
pub use zest_core::outage::PATIENCE;
pub use zest_core::tracker::{TrackerUrl, UrlError};
