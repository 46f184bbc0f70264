//! `daemon.json`: where the daemon of a cache is.

use crate::os::{is_private, is_process};
use crate::places::{open, write_private};
use crate::{DaemonError, Places, Socket};
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest record that is read: 64 KiB. Ours have less than one.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Where a daemon is, for those who look for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The machine, by its own name.
    pub host: String,
    /// Which start of that machine, where the system tells (Linux).
    pub boot_id: Option<String>,
    /// When it began, in Unix seconds.
    pub started: u64,
    /// The same as the system counts it (Linux: clock ticks since boot): a number that is used again has another one.
    pub start_ticks: Option<u64>,
    /// Where its API listens; nowhere without one.
    pub http: Vec<SocketAddr>,
    /// Its API's Unix socket, if it has one.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Where peers can connect to.
    pub listen: Vec<SocketAddr>,
    /// Its log, if it writes one.
    pub log: Option<PathBuf>,
}

impl Record {
    /// Of this process.
    #[must_use]
    pub fn of_this_process(http: Vec<SocketAddr>, listen: Vec<SocketAddr>, log: Option<PathBuf>) -> Self {
        let pid = std::process::id();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            host: host(),
            boot_id: boot_id(),
            started,
            start_ticks: start_ticks(pid),
            http,
            socket: None,
            listen,
            log,
        }
    }

    /// With this Unix socket.
    #[must_use]
    pub fn with_socket(mut self, socket: Option<&Socket>) -> Self {
        self.socket = socket.map(|socket| socket.path().to_owned());
        self
    }

    /// The one that is there.
    ///
    /// # Errors
    /// It is not there, somebody else could have written it, or it is none.
    pub fn read(places: &Places) -> Result<Self, DaemonError> {
        let path = places.record();
        let read = || {
            let file = open(&path)?;
            if !is_private(&file.metadata()?) {
                let why = "it is not for its owner alone";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            let mut text = String::new();
            file.take(RECORD_BYTES_MAX).read_to_string(&mut text)?;
            serde_json::from_str(&text).map_err(io::Error::from)
        };
        read().map_err(DaemonError::file(&path))
    }

    pub(crate) fn write(&self, places: &Places) -> Result<(), DaemonError> {
        let path = places.record();
        let text = serde_json::to_vec_pretty(self).expect("plain data");
        write_private(&path, &text).map_err(DaemonError::file(path))
    }

    /// Whether it speaks of this machine, since it was switched on last.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        self.host == host() && (self.boot_id.is_none() || self.boot_id == boot_id())
    }

    /// Whether the process of that number is the one that wrote it, as far as can be told.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let begins_alike = self.start_ticks.is_none() || self.start_ticks == start_ticks(self.pid);
        self.is_of_this_boot() && is_process(self.pid) && begins_alike
    }
}

/// This machine's name, where the system keeps it in a file (Linux); elsewhere empty, as it is for all.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// Field 22 of `/proc/PID/stat` (proc(5)). The name before it may hold spaces, brackets and any other
/// byte.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(')')?;
    // The first field after the name is the third.
    fields.split_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_tells_whether_its_process_lives() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(dir.path());
        let http = vec![SocketAddr::from(([127, 0, 0, 1], 9847))];
        let record = Record::of_this_process(http, Vec::new(), None);
        record.write(&places).expect("written");
        assert_eq!(Record::read(&places).expect("read"), record);
        assert!(record.is_alive());
        let mut other = record.clone();
        other.start_ticks = other.start_ticks.map(|ticks| ticks + 1);
        assert_eq!(other.is_alive(), other.start_ticks.is_none(), "a number that is used again");
        assert!(!Record { host: "elsewhere".into(), ..record.clone() }.is_alive());
        assert!(!Record { boot_id: Some("x".into()), ..record }.is_alive());
    }

    #[test]
    fn what_others_could_have_written_is_not_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(dir.path());
        Record::of_this_process(Vec::new(), Vec::new(), None).write(&places).expect("written");
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(places.record(), open).expect("ours");
        assert!(Record::read(&places).is_err());
    }
}
