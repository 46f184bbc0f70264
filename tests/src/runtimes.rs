//! The runtimes that drive core. A behaviour of the wire is a behaviour of all of them: one test, run on each.

use std::sync::Arc;
use zest_store::Catalog;

/// Which runtime gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `zest serve`.
    Tokio,
    /// `zest-seed` on io_uring.
    Glommio,
}

impl Kind {
    /// Whether it can run here; if not, says why.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            Self::Tokio => true,
            Self::Glommio => uring_is_here(),
        }
    }
}

#[cfg(target_os = "linux")]
fn uring_is_here() -> bool {
    let probed = zest_runtime_glommio::probe();
    if let Err(refusal) = &probed {
        println!("skipped: {refusal}");
    }
    probed.is_ok()
}

#[cfg(not(target_os = "linux"))]
fn uring_is_here() -> bool {
    println!("skipped: io_uring is Linux's");
    false
}

/// Makes a test on each runtime of every `async fn name(kind: Kind)`.
#[macro_export]
macro_rules! on_every_runtime {
    ($($name:ident),+ $(,)?) => {
        mod on_tokio {
            $(
                #[::tokio::test]
                async fn $name() {
                    super::$name($crate::Kind::Tokio).await;
                }
            )+
        }
        mod on_glommio {
            $(
                #[::tokio::test]
                async fn $name() {
                    if $crate::Kind::Glommio.is_here() {
                        super::$name($crate::Kind::Glommio).await;
                    }
                }
            )+
        }
    };
}

/// A seeder beside the engine that pulls, on the same catalog.
#[derive(Debug)]
pub struct Seedbox {
    #[cfg(target_os = "linux")]
    seeder: Option<zest_runtime_glommio::Seeder>,
}

#[cfg(target_os = "linux")]
impl Seedbox {
    /// Starts one on a free port of loopback, if this kind is not the engine itself.
    pub async fn start(kind: Kind, catalog: &Arc<Catalog>, cache_bytes: u64) -> Option<Self> {
        use zest_runtime_glommio::{Seeder, SeederConfig};
        if kind == Kind::Tokio {
            return None;
        }
        let mut config = SeederConfig::new(catalog.clone());
        config.listen = vec![crate::loopback()];
        config.cache_bytes = cache_bytes;
        // What the engine takes.
        config.links_max = 512;
        config.cores = vec![0];
        let started = tokio::task::spawn_blocking(move || Seeder::start(config)).await;
        Some(Self { seeder: Some(started.expect("no panic").expect("the seeder starts")) })
    }

    fn seeder(&self) -> &zest_runtime_glommio::Seeder {
        self.seeder.as_ref().expect("it is on")
    }

    /// Where peers reach it.
    #[must_use]
    pub fn address(&self) -> String {
        self.seeder().local_addrs()[0].to_string()
    }

    /// Bytes it has sent, with heads.
    #[must_use]
    pub fn uploaded(&self) -> u64 {
        self.seeder().stats().uploaded
    }

    /// Reads from the disk so far.
    #[must_use]
    pub fn disk_reads(&self) -> u64 {
        self.seeder().stats().disk_reads
    }

    /// Has it look at the catalog again.
    pub fn refresh(&self) {
        self.seeder().refresh();
    }
}

#[cfg(target_os = "linux")]
impl Drop for Seedbox {
    fn drop(&mut self) {
        if let Some(seeder) = self.seeder.take() {
            seeder.shutdown();
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Seedbox {
    pub(crate) async fn start(_: Kind, _: &Arc<Catalog>, _: u64) -> Option<Seedbox> {
        None
    }

    pub(crate) fn address(&self) -> String {
        unreachable!("there is none")
    }

    pub(crate) fn uploaded(&self) -> u64 {
        unreachable!("there is none")
    }

    pub(crate) fn refresh(&self) {}
}
