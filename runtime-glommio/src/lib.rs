#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! Drives `zest-core` for seeding on Linux with one io_uring executor per core.
//!
//! - [`probe`]: whether this process may use io_uring, asked of the kernel and not of its version.
//! - [`Seeder`]: the executors. [`Seeder::start`] returns once every one of them has reported up.
//!
//! Each core has a listener of its own (`SO_REUSEPORT`), a node, a block cache and its open files; nothing crosses cores
//! for a request. All cores read one [`zest_store::Shelf`], which is swapped whole when the catalog changes, and tell each
//! other which peers came, so that each can tell its own of all (BEP 11).
//!
//! The way of a chunk out: requests are parsed in batches (`link`), the node answers with places (`driver`), what lies in
//! the block cache or was read with O_DIRECT (`disk`) goes out with up to 16 heads in one `sendmsg`. The page cache is
//! not used: a data set larger than memory is read as fast as the disk gives it, and one that fits is served from the
//! block cache.
//!
//! Nothing on an executor blocks: files are opened and the original's caches are searched by the `clerk`, a thread of its
//! own. No task is cancelled, because glommio 0.9 leaks the header of each one that is.

#![cfg(target_os = "linux")]

mod accept;
mod budget;
mod clerk;
mod core;
mod disk;
mod driver;
mod error;
mod files;
mod inbox;
mod kept;
pub mod limits;
mod link;
mod probe;
mod seeder;
mod small;
mod stats;

pub use error::SeederError;
pub use probe::{Refusal, Ring, probe};
pub use seeder::{Seeder, SeederConfig};
pub use stats::SeederStats;
