//! Where a daemon keeps what is its own.

use crate::os;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The folder of a daemon's files: zest's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    dir: PathBuf,
}

impl Places {
    /// In this cache of zest's.
    #[must_use]
    pub fn new(zest_cache: &Path) -> Self {
        Self { dir: zest_cache.to_owned() }
    }

    /// The lock, with the number of the process that holds it.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.dir.join("zest.pid")
    }

    /// Where the daemon is.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    /// What opens its API.
    #[must_use]
    pub fn secret(&self) -> PathBuf {
        self.dir.join("api-secret")
    }

    /// What opens the local endpoint.
    #[must_use]
    pub fn endpoint_key(&self) -> PathBuf {
        self.dir.join("endpoint-key")
    }

    /// What signs the addresses that the local endpoint gives out.
    #[must_use]
    pub fn endpoint_signer(&self) -> PathBuf {
        self.dir.join("endpoint-signer")
    }

    /// Which Hub is behind the local endpoint.
    #[must_use]
    pub fn endpoint_hub(&self) -> PathBuf {
        self.dir.join("endpoint-hub")
    }

    /// The pulls that are under way.
    #[must_use]
    pub fn pulls(&self) -> PathBuf {
        self.dir.join("pulls.json")
    }

    /// What a daemon in the background says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("zest.log")
    }

    /// A page that leads a browser to the dashboard.
    #[must_use]
    pub fn dashboard(&self) -> PathBuf {
        self.dir.join("dashboard.html")
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Opens a file of ours; a link in its place is an error.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    os::follow_no_link(OpenOptions::new().read(true)).open(path)
}

/// Writes a file for its owner alone, in one step: whoever reads it sees all of the old or all of the new, also after the machine
/// lost its power.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, true)
}

/// The same without waiting for the disk: what a power cut makes of it is none, or damaged.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, false)
}

fn write(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // What a process of this number left when it was killed.
    let _not_there = std::fs::remove_file(&fresh);
    let write = || {
        let mut file = os::for_owner(OpenOptions::new().write(true).create_new(true)).open(&fresh)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(&fresh, path)
    };
    write().inspect_err(|_| {
        let _best_effort = std::fs::remove_file(&fresh);
    })
}
