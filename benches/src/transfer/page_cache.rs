//! Empties the page cache of one file and looks whether it is empty.

use super::Error;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::IoSliceMut;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Bytes between two looks: 64 KiB, so that a chunk that is cached is seen.
const LOOK_EVERY: u64 = 64 << 10;

/// Attempts before a file counts as one that stays cached, and the pause between them: 2 s in all. Pages under write-back
/// or in another process's read cannot be dropped at once.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Has the system forget the file's pages, and makes sure that it has.
///
/// # Errors
/// When pages stay, for example because a process maps the file, or the file system has no other place for them.
pub fn evict(path: &Path) -> Result<(), Error> {
    let file = File::open(path)?;
    let mut cached = 0;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        file.sync_data()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        cached = looks_cached(&file)?;
        // Looking may have read what was looked at.
        fadvise(&file, 0, None, Advice::DontNeed)?;
        if cached == 0 {
            return Ok(());
        }
    }
    Err(format!("{cached} of the places looked at in {} stay in the page cache", path.display()).into())
}

/// Looks at one byte in every 64 KiB; returns how many were in the page cache. (`mincore` would need a mapping; a read that
/// must not wait says the same.)
///
/// # Errors
/// When the file cannot be read so, as on file systems that know no such reads.
pub fn looks_cached(file: &File) -> Result<u64, Error> {
    // Else the kernel reads neighbours of what it was asked for.
    fadvise(file, 0, None, Advice::Random)?;
    let (mut cached, mut at, len) = (0, 0, file.metadata()?.len());
    while at < len {
        let mut byte = [0];
        match preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
            Ok(_) => cached += 1,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(format!("a read that does not wait: {error}").into()),
        }
        at += LOOK_EVERY;
    }
    Ok(cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_read_is_seen_and_can_be_forgotten() {
        // Not on tmpfs, where nothing can be evicted.
        let Ok(path) = std::env::current_exe() else { return };
        let dir =
            tempfile::tempdir_in(path.parent().expect("a folder")).expect("a folder beside the program");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).expect("written");
        let file = File::open(&path).expect("it is there");
        let before = looks_cached(&file);
        let Ok(before) = before else { return };
        assert_eq!(before, 16, "what was written is in the page cache");
        if evict(&path).is_ok() {
            std::fs::read(&path).expect("read");
            assert_eq!(looks_cached(&file).expect("as before"), 16);
        }
    }
}
