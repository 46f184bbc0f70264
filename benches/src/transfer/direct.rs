//! The baseline of cold seeding: what the disk itself gives. Reads past the page cache (`O_DIRECT`) with some threads, each of
//! which waits for one read at a time, so that as many are in flight.

use super::process::Service;
use super::{Error, seed_data};
use crate::split_mix;
use rustix::fs::{Mode, OFlags};
use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// What offsets, lengths and addresses of direct reads are multiples of: 4 KiB, enough for every disk in use.
pub(super) const ALIGN: usize = 4 << 10;

/// Bytes of a read in order: 1 MiB.
const SEQUENTIAL_BYTES: u64 = 1 << 20;

/// Largest enclosing range of a chunk of 128 KiB, and more than [`SEQUENTIAL_BYTES`] needs.
const BUFFER_BYTES: usize = (1 << 20) + 2 * ALIGN;

/// Reads of `file` until `bytes` bytes were asked for: 1 MiB after the other, or the chunks of `list` in random order, each once,
/// each with what direct reads make of it. Prints `{"event": "read", …}` with bytes, wall and CPU time.
///
/// # Errors
/// When the file system refuses direct reads, or the disk fails.
pub fn run(file: &Path, list: &Path, order: &str, depth: usize, bytes: u64) -> Result<(), Error> {
    let fd = open(file)?;
    let size = std::fs::metadata(file)?.len();
    let mut places: Vec<(u64, u64)> = match order {
        "sequential" => {
            (0..size / SEQUENTIAL_BYTES).map(|n| (n * SEQUENTIAL_BYTES, SEQUENTIAL_BYTES)).collect()
        }
        "random" => {
            seed_data::read_list(list)?.into_iter().map(|(_, offset, len)| (offset, u64::from(len))).collect()
        }
        other => return Err(format!("{other:?} is neither sequential nor random").into()),
    };
    if order == "random" {
        shuffle(&mut places, 1);
    }
    let mut sum = 0;
    let count = places.iter().take_while(|(_, len)| {
        sum += len;
        sum <= bytes
    });
    let count = count.count();
    places.truncate(count.max(1));

    let next = AtomicUsize::new(0);
    let (start, cpu) = (Instant::now(), process_cpu_s());
    let work = || -> Result<u64, Error> {
        let mut memory = vec![0; BUFFER_BYTES + ALIGN];
        let skip = memory.as_ptr().align_offset(ALIGN);
        let (buffer, mut read) = (&mut memory[skip..][..BUFFER_BYTES], 0);
        while let Some(&(offset, len)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (from, to) = enclosing(offset, len);
            let got = pread(&fd, &mut buffer[..(to - from) as usize], from)?;
            if (got as u64) < offset + len - from {
                return Err(format!("{got} bytes at {from}, not {}", to - from).into());
            }
            read += len;
        }
        Ok(read)
    };
    let read = thread::scope(|scope| {
        let threads: Vec<_> = (0..depth).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .sum::<Result<u64, Error>>()
    })?;
    let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    println!("{}", serde_json::json!({"event": "read", "bytes": read, "wall_s": wall_s, "cpu_s": cpu_s}));
    Ok(())
}

/// What such a reader did.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Bytes it read.
    pub bytes: u64,
    /// Seconds it took.
    pub wall_s: f64,
    /// CPU time of its process, in seconds.
    pub cpu_s: f64,
}

/// Runs `command`, which calls [`run`], to its end.
///
/// # Errors
/// When it does not say what it read: the file system may refuse direct reads.
pub fn watch(command: &mut Command) -> Result<Done, Error> {
    let read = Service::start(command)?.event("read").map_err(|_| "direct reads are refused here")?;
    let field = |name: &str| read[name].as_f64().ok_or("the reader does not say what it read");
    Ok(Done { bytes: field("bytes")? as u64, wall_s: field("wall_s")?, cpu_s: field("cpu_s")? })
}

/// Opens a file for direct reads.
pub(super) fn open(file: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let fd = rustix::fs::open(file, flags, Mode::empty());
    Ok(fd.map_err(|error| format!("direct reads of {}: {error}", file.display()))?)
}

/// What a direct read makes of a range: from where to where it reads.
pub(super) fn enclosing(offset: u64, len: u64) -> (u64, u64) {
    (offset / ALIGN as u64 * ALIGN as u64, (offset + len).next_multiple_of(ALIGN as u64))
}

/// CPU time of this process so far, in seconds.
#[must_use]
pub fn process_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Puts `items` into an order that `seed` decides (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        items.swap(last, (split_mix(&mut state) % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_keeps_every_item_and_the_seed_decides() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..100).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), shuffled(4));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
