//! Advisory locks between processes (`flock`, the kind that huggingface_hub takes). Nobody fails because of a
//! lock: who does not get one waits, and where the file system has none the work goes on without, as
//! correctness never rests on them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::os;

/// How often a lock that somebody else holds is tried again: 20 ms.
const POLL: Duration = Duration::from_millis(20);

/// A held lock; dropping it releases it. The file stays, as others may hold it open.
#[derive(Debug)]
pub struct FileLock {
    /// `None` where the file system has no locks.
    file: Option<File>,
}

impl FileLock {
    /// Tries once. `Ok(None)`: somebody else holds it.
    ///
    /// `mode` is given to a lock file that is created, regardless of the umask, so that other users of a
    /// shared cache can take it too.
    ///
    /// # Errors
    /// Something that is no lock file in its place. Where one cannot be made or opened (another user's, read-only, full), the work goes on
    /// without: if something then cannot be written, that error says so.
    pub fn try_acquire(path: &Path, mode: u32) -> io::Result<Option<Self>> {
        let Some(file) = open(path, mode)? else { return Ok(Some(Self { file: None })) };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(_)) => Ok(Some(Self { file: None })),
        }
    }

    /// Waits until the lock is free. Blocks the thread.
    ///
    /// # Errors
    /// As [`FileLock::try_acquire`].
    pub fn acquire(path: &Path, mode: u32) -> io::Result<Self> {
        let Some(file) = open(path, mode)? else { return Ok(Self { file: None }) };
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self { file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(Self { file: None }),
            }
        }
    }

    /// Waits until the lock is free, but not for ever. `Ok(None)`: somebody else held it all the time. `on_wait` is told once, as
    /// soon as it has to wait.
    ///
    /// # Errors
    /// As [`FileLock::try_acquire`].
    pub(crate) fn acquire_within(
        path: &Path,
        mode: u32,
        patience: Duration,
        on_wait: impl FnOnce(),
    ) -> io::Result<Option<Self>> {
        let mut on_wait = Some(on_wait);
        let until = Instant::now() + patience;
        loop {
            if let Some(lock) = Self::try_acquire(path, mode)? {
                return Ok(Some(lock));
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Who holds the lock of this file, as far as the system tells: "process 42 (hf) of alice (uid 1001)".
    #[must_use]
    pub fn holder(path: &Path) -> Option<String> {
        os::lock_holder(&fs::symlink_metadata(path).ok()?)
    }

    /// Whether the file system really gave a lock.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.file.is_some()
    }
}

/// `None` where there can be no lock file.
fn open(path: &Path, mode: u32) -> io::Result<Option<File>> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    let created = !path.exists();
    match made.and_then(|()| os::open_nofollow(path, false, mode)) {
        Ok(file) => {
            if created {
                // Best effort: the file may belong to another user by now.
                let _ = os::set_file_mode(&file, mode);
            }
            Ok(Some(file))
        }
        Err(error) => match error.kind() {
            // Reading is enough to lock.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Ok(os::open_read_nofollow(path).ok())
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Unsupported => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_and_gets_it_after_release() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/a.lock");
        let first = FileLock::try_acquire(&path, 0o664).unwrap().unwrap();
        assert!(first.is_real());
        assert!(FileLock::try_acquire(&path, 0o664).unwrap().is_none());
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || FileLock::acquire(&path, 0o664).unwrap().is_real()
        });
        drop(first);
        assert!(waiter.join().unwrap());
        assert_eq!(os::mode(&fs::metadata(&path).unwrap()), 0o664);
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_waited_for_a_while_and_its_holder_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let held = FileLock::try_acquire(&path, 0o666).unwrap().unwrap();
        let mut told = 0;
        let given = FileLock::acquire_within(&path, 0o666, Duration::from_millis(1), || told += 1).unwrap();
        assert!(given.is_none() && told == 1);
        if let Some(holder) = FileLock::holder(&path) {
            assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
        }
        drop(held);
        assert_eq!(FileLock::holder(&path), None);
        assert!(FileLock::acquire_within(&path, 0o666, Duration::ZERO, || told += 1).unwrap().is_some());
        assert_eq!(told, 1);
    }

    /// Where the program below finds its lock.
    #[cfg(target_os = "linux")]
    const LOCK: &str = "ZEST_TEST_LOCK";

    #[cfg(target_os = "linux")]
    #[test]
    fn a_holder_is_named_whatever_bytes_it_calls_itself_by() {
        use std::io::{BufRead as _, BufReader};
        use std::os::unix::process::CommandExt as _;
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let program = dir.path().join(os::text_of(b"caf\xe9) R 1".to_vec()));
        os::symlink(&std::env::current_exe().unwrap(), &program).unwrap();
        // The system calls a program by the name of its file; what it is told to be called by is text, as the test runner wants it.
        let mut child = Command::new(program)
            .arg0("holder")
            .args(["lock::tests::a_program_that_holds_a_lock", "--exact", "--ignored", "--nocapture"])
            .env(LOCK, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("it has it")), "the lock is free");
        let holder = FileLock::holder(&path);
        drop(child.stdin.take());
        child.wait().unwrap();
        if let Some(holder) = holder {
            let name = format!("process {} (caf\u{fffd}) R 1) of ", child.id());
            assert!(holder.starts_with(&name) && holder.contains(", running for "), "{holder}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "the test above runs it"]
    fn a_program_that_holds_a_lock() {
        let path = std::env::var_os(LOCK).expect("the test above says which");
        let _held = FileLock::try_acquire(Path::new(&path), 0o666).unwrap().unwrap();
        println!("it has it");
        io::read_to_string(io::stdin()).unwrap();
    }

    #[test]
    fn a_pipe_in_a_locks_place_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(FileLock::try_acquire(&path, 0o666).is_err());
    }

    #[test]
    fn a_planted_symlink_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        os::symlink(&dir.path().join("victim"), &path).unwrap();
        assert!(FileLock::try_acquire(&path, 0o664).is_err());
        assert!(!dir.path().join("victim").exists());
    }
}
