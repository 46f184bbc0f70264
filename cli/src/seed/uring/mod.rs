//! Seeding on io_uring: `glommio.rs`, and `none.rs` for a build that has none, where nobody ever has a [`Uring`].

#[cfg_attr(all(target_os = "linux", target_env = "gnu", feature = "glommio"), path = "glommio.rs")]
#[cfg_attr(not(all(target_os = "linux", target_env = "gnu", feature = "glommio")), path = "none.rs")]
mod build;

pub(crate) use build::Uring;

use crate::failure::{Failure, Kind};

/// Why io_uring cannot be used.
#[derive(Debug)]
#[allow(dead_code, reason = "a build knows one of them")]
pub(crate) enum Refusal {
    /// The system does not let us, with the reason.
    System(String),
    /// It is not part of this build.
    Build,
}

impl Refusal {
    /// For who wanted nothing else.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::System(why) => Failure::new(Kind::Other, why).hint("or run it with --runtime tokio"),
            Self::Build => Failure::new(Kind::Usage, "this zest-seed was built without io_uring")
                .hint("use --runtime tokio, or build on Linux with the feature glommio"),
        }
    }
}
