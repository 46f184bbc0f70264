//! One daemon per user and cache: the claim, and who has it.

use crate::os::is_process;
use crate::{DaemonError, Places, Record};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};
use zest_store::Identity;

/// How long a claim is tried: 500 ms. Who only looks takes the lock for a moment, and who ends lets go of it within that.
const CLAIM: Duration = Duration::from_millis(500);

/// How often: every 10 ms.
const CLAIM_AGAIN: Duration = Duration::from_millis(10);

/// Digits of a process's number, a sign of the line's end, and room for what others write.
const PID_BYTES_MAX: u64 = 64;

/// The claim to be the daemon of a cache. It ends with the process, whatever ends that; dropping it takes the files away.
#[derive(Debug)]
pub struct Instance {
    places: Places,
    /// Held locked.
    file: File,
}

/// The daemon of a cache, as far as is known from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its process.
    pub pid: Option<u32>,
    /// Where it is; `None` while it starts.
    pub record: Option<Record>,
}

impl Instance {
    /// Claims the cache. What a process that is gone has left is taken over.
    ///
    /// # Errors
    /// [`DaemonError::Running`] if somebody has it; the lock's file cannot be made.
    pub fn claim(places: &Places) -> Result<Self, DaemonError> {
        let path = places.pid();
        std::fs::create_dir_all(places.dir()).map_err(DaemonError::file(places.dir()))?;
        let until = Instant::now() + CLAIM;
        loop {
            let file = lock_file(&path).map_err(DaemonError::file(&path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Self::begin(places, file),
                // Its last holder has taken it away meanwhile.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(CLAIM_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(DaemonError::Running(Box::new(Running::here(places))));
                }
                // No locks here: the number that stands in the file is all there is.
                Err(TryLockError::Error(_)) => match Running::by_number(places) {
                    Some(running) => return Err(DaemonError::Running(Box::new(running))),
                    None => return Self::begin(places, file),
                },
            }
        }
    }

    fn begin(places: &Places, mut file: File) -> Result<Self, DaemonError> {
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write().map_err(DaemonError::file(places.pid()))?;
        // What it says is of somebody who is gone.
        let _not_there = std::fs::remove_file(places.record());
        Ok(Self { places: places.clone(), file })
    }

    /// Says where the daemon is, once it can be asked.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn announce(&self, record: &Record) -> Result<(), DaemonError> {
        record.write(&self.places)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _not_there = std::fs::remove_file(self.places.record());
        if is_at(&self.file, &self.places.pid()) {
            let _not_there = std::fs::remove_file(self.places.pid());
        }
    }
}

impl Running {
    /// Who has the cache; `None` if nobody has. What somebody left who is gone says nothing.
    ///
    /// # Errors
    /// The lock's file cannot be read.
    pub fn find(places: &Places) -> Result<Option<Self>, DaemonError> {
        let path = places.pid();
        let file = match crate::places::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DaemonError::File { path, source: error }),
        };
        Ok(match file.try_lock_shared() {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => Some(Self::here(places)),
            Err(TryLockError::Error(_)) => Self::by_number(places),
        })
    }

    fn here(places: &Places) -> Self {
        let pid = read_pid(places);
        // While another one starts, the old record may still be there.
        let record = Record::read(places).ok().filter(|record| pid.is_none_or(|pid| pid == record.pid));
        Self { pid, record }
    }

    /// Who has it by the number in the file alone.
    fn by_number(places: &Places) -> Option<Self> {
        let running = Self::here(places);
        let lives = match &running.record {
            Some(record) => record.is_alive() || !record.is_of_this_boot(),
            None => running.pid.is_some_and(is_process),
        };
        lives.then_some(running)
    }

    /// The process, if it is one of this machine and surely the daemon's: what may be sent a signal.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        match &self.record {
            Some(record) => record.is_alive().then_some(record.pid),
            // It has the lock, and no other machine can be told from this one by a number.
            None => self.pid.filter(|pid| is_process(*pid) && is_zest(*pid)),
        }
    }
}

/// Whether a process is of a program named zest, where that can be seen.
fn is_zest(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name.trim().starts_with("zest"),
        Err(_) => false,
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => write!(f, "a process that has not said its number yet")?,
        }
        let Some(record) = &self.record else { return Ok(()) };
        if !record.is_of_this_boot() {
            write!(f, " on {}", record.host)?;
        }
        match record.http.first() {
            Some(addr) => write!(f, ", http://{addr}"),
            None => write!(f, ", without an API"),
        }
    }
}

pub(crate) fn lock_file(path: &std::path::Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    crate::os::follow_no_link(crate::os::for_owner(&mut options)).open(path)
}

/// Whether this open file is still the one at `path`.
pub(crate) fn is_at(file: &File, path: &std::path::Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    Identity::of(&ours).file() == Identity::of(&there).file()
}

fn read_pid(places: &Places) -> Option<u32> {
    let mut text = String::new();
    crate::places::open(&places.pid()).ok()?.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_one_daemon_and_the_second_learns_who_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(&dir.path().join("zest"));
        assert_eq!(Running::find(&places).expect("readable"), None);
        let first = Instance::claim(&places).expect("nobody has it");
        first
            .announce(&Record::of_this_process(vec![([127, 0, 0, 1], 1).into()], Vec::new(), None))
            .expect("written");
        let found = Running::find(&places).expect("readable").expect("it runs");
        assert_eq!((found.pid, found.process()), (Some(std::process::id()), Some(std::process::id())));
        let error = Instance::claim(&places).expect_err("it is taken").to_string();
        assert!(
            error.contains(&std::process::id().to_string()) && error.contains("http://127.0.0.1:1"),
            "{error}"
        );
        drop(first);
        assert_eq!(Running::find(&places).expect("readable"), None);
        assert!(!places.pid().exists() && !places.record().exists());
        drop(Instance::claim(&places).expect("it is free again"));
    }

    #[test]
    fn what_a_killed_daemon_left_is_stale() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(dir.path());
        let mut record = Record::of_this_process(vec![([127, 0, 0, 1], 1).into()], Vec::new(), None);
        record.write(&places).expect("written");
        // A process that lives and has nothing to do with it.
        record.pid = 1;
        std::fs::write(places.pid(), "1\n").expect("written");
        assert_eq!(Running::find(&places).expect("readable"), None, "nobody holds the lock");
        let claim = Instance::claim(&places).expect("taken over");
        assert!(Record::read(&places).is_err(), "where the old one was is not where this one is");
        assert_eq!(Running::find(&places).expect("readable").and_then(|it| it.pid), Some(std::process::id()));
        drop(claim);
    }

    #[test]
    fn a_foreign_process_is_sent_no_signal() {
        let of = |pid| Running { pid: Some(pid), record: None };
        assert_eq!(of(u32::MAX).process(), None);
        let record = Record::of_this_process(Vec::new(), Vec::new(), None);
        let elsewhere = Record { host: "elsewhere".into(), ..record };
        assert_eq!(Running { pid: Some(elsewhere.pid), record: Some(elsewhere) }.process(), None);
    }
}
