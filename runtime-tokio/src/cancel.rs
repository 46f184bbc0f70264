//! Asking what runs to end.

/// Asks a running pull to end early, keeping what is proven. Cheap to clone.
pub use tokio_util::sync::CancellationToken as CancelToken;
