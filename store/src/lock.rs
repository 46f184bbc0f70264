//! Advisory locks between processes (`flock`, the kind that huggingface_hub takes). Nobody fails because of a
//! lock: who does not get one waits, and where the file system has none the work goes on without, as
//! correctness never rests on them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::os;

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
    /// Only if the lock file cannot be opened.
    pub fn try_acquire(path: &Path, mode: u32) -> io::Result<Option<FileLock>> {
        let file = open(path, mode)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FileLock { file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(_)) => Ok(Some(FileLock { file: None })),
        }
    }

    /// Waits until the lock is free. Blocks the thread.
    ///
    /// # Errors
    /// Only if the lock file cannot be opened.
    pub fn acquire(path: &Path, mode: u32) -> io::Result<FileLock> {
        let file = open(path, mode)?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(FileLock { file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(FileLock { file: None }),
            }
        }
    }

    /// Whether the file system really gave a lock.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.file.is_some()
    }
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let created = !path.exists();
    let file = os::open_nofollow(path, false, mode)?;
    if created {
        // Best effort: the file may belong to another user by now.
        let _ = os::set_file_mode(&file, mode);
    }
    Ok(file)
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
    fn a_planted_symlink_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        os::symlink(&dir.path().join("victim"), &path).unwrap();
        assert!(FileLock::try_acquire(&path, 0o664).is_err());
        assert!(!dir.path().join("victim").exists());
    }
}
