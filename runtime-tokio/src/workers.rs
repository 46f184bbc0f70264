//! The workers: a few threads that decode, prove and write, so that the engine's thread only moves bytes.

use crate::buffers::Buffer;
use crate::job::JobFile;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use zest_core::JobId;
use zest_core::node::{OriginFault, Source};
use zest_xet::{CHUNK_BYTES_MAX, ChunkHeader, ChunkRef, Decoder, chunk_hash, verify};

/// One place of a chunk in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index among the file's chunks.
    pub(crate) index: u32,
    /// First byte in the file.
    pub(crate) offset: u64,
}

/// Something that costs processor time.
pub(crate) enum Work {
    /// A raw chunk of a peer: prove it, write it.
    Prove { job: Arc<JobFile>, place: Place, chunk: ChunkRef, buf: Buffer, source: Source },
    /// A packed chunk of a xorb: decode it, prove it if its hash is known, write it to all its places.
    Decode {
        job: Arc<JobFile>,
        header: ChunkHeader,
        packed: Bytes,
        places: Vec<Place>,
        expected: Option<ChunkRef>,
        source: Source,
        keep: Keep,
        permit: OwnedSemaphorePermit,
    },
    /// A chunk that lies in another file of this machine.
    Copy { job: Arc<JobFile>, place: Place, len: u32, expected: Option<ChunkRef>, file: Arc<File>, from: u64 },
    /// Anything else.
    Task(Box<dyn FnOnce() + Send>),
}

/// What to do with a decoded chunk beyond writing it.
pub(crate) enum Keep {
    /// It counts: note it in the journal and report it done.
    Record {
        /// Dropped when the work is done; the fetch waits for the last of them.
        _busy: Sender<()>,
    },
    /// A peer sent it in a xorb range: report it under this number, for the range to be judged as a whole.
    Report {
        /// Where to.
        to: UnboundedSender<Decoded>,
        /// Its number in the xorb.
        seq: u32,
    },
}

/// A chunk that was decoded and written but not yet proven.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its number in the xorb.
    pub(crate) seq: u32,
    /// Where it was written.
    pub(crate) places: Vec<Place>,
    /// Its hash and length; `None` if it did not decode or write.
    pub(crate) chunk: Option<ChunkRef>,
    /// Its packed length.
    pub(crate) packed_len: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// The chunk is in the partial file.
    Chunk { job: JobId, index: u32, len: u32, source: Source },
    /// It failed its proof or did not decode.
    Bad { job: JobId, index: u32, source: Source, why: String },
    /// The stream of a block has ended, and so has the work on its chunks.
    FetchEnded { job: JobId, block: u32, fault: Option<OriginFault> },
    /// The disk refused it.
    Disk { job: JobId, error: std::io::Error },
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    closed: bool,
}

/// The threads and their queue.
pub(crate) struct Workers {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads that report to `done`.
    pub(crate) fn start(count: usize, done: &UnboundedSender<Done>) -> std::io::Result<Workers> {
        let queue: Arc<(Mutex<Queue>, Condvar)> = Arc::default();
        let threads = (0..count)
            .map(|n| {
                let queue = queue.clone();
                let done = done.clone();
                std::thread::Builder::new()
                    .name(format!("zest-worker-{n}"))
                    .stack_size(512 << 10)
                    .spawn(move || run(&queue, &done))
            })
            .collect::<Result<_, _>>()?;
        Ok(Workers { queue, threads })
    }

    pub(crate) fn push(&self, work: Work) {
        let mut queue = self.queue.0.lock().expect("workers do not panic while they hold the queue");
        queue.work.push_back(work);
        drop(queue);
        self.queue.1.notify_one();
    }

    /// Lets the threads finish what is queued, and waits for them.
    pub(crate) fn stop(&mut self) {
        self.queue.0.lock().expect("workers do not panic while they hold the queue").closed = true;
        self.queue.1.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(queue: &(Mutex<Queue>, Condvar), done: &UnboundedSender<Done>) {
    let mut decoder = Decoder::new();
    let mut room = vec![0; CHUNK_BYTES_MAX];
    loop {
        let work = {
            let mut queue_now = queue.0.lock().expect("workers do not panic while they hold the queue");
            loop {
                if let Some(work) = queue_now.work.pop_front() {
                    break work;
                }
                if queue_now.closed {
                    return;
                }
                queue_now = queue.1.wait(queue_now).expect("workers do not panic while they hold the queue");
            }
        };
        match work {
            Work::Prove { job, place, chunk, buf, source } => {
                let report = prove(&job, place, chunk, buf, source);
                let _ = done.send(report);
            }
            Work::Decode { job, header, packed, places, expected, source, keep, permit } => {
                decode(&job, header, &packed, places, expected, source, &keep, &mut decoder, &mut room, done);
                drop((keep, permit));
            }
            Work::Copy { job, place, len, expected, file, from } => {
                let report = copy(&job, place, len, expected, &file, from, &mut room);
                let _ = done.send(report);
            }
            Work::Task(task) => task(),
        }
    }
}

fn prove(job: &JobFile, place: Place, chunk: ChunkRef, buf: Buffer, source: Source) -> Done {
    match verify(buf, chunk) {
        Ok(proven) => match job.keep(place, proven.chunk(), 0, proven.bytes()) {
            Ok(()) => Done::Chunk { job: job.id, index: place.index, len: chunk.len, source },
            Err(error) => Done::Disk { job: job.id, error },
        },
        Err(mismatch) => {
            Done::Bad { job: job.id, index: place.index, source, why: format!("{:?}", mismatch.reason) }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the fields of one Work, and the worker's own room")]
fn decode(
    job: &JobFile,
    header: ChunkHeader,
    packed: &[u8],
    places: Vec<Place>,
    expected: Option<ChunkRef>,
    source: Source,
    keep: &Keep,
    decoder: &mut Decoder,
    room: &mut [u8],
    done: &UnboundedSender<Done>,
) {
    let bad = |places: Vec<Place>, why: String| match keep {
        Keep::Record { .. } => {
            for place in places {
                let _ = done.send(Done::Bad { job: job.id, index: place.index, source, why: why.clone() });
            }
        }
        Keep::Report { to, seq } => {
            let _ = to.send(Decoded { seq: *seq, places, chunk: None, packed_len: header.packed_len });
        }
    };
    let out = &mut room[..header.len as usize];
    if let Err(error) = decoder.decode(header, packed, out) {
        return bad(places, error.to_string());
    }
    let out: &[u8] = out;
    let chunk = match expected {
        Some(expected) => match verify(out, expected) {
            Ok(proven) => proven.chunk(),
            Err(mismatch) => return bad(places, format!("{:?}", mismatch.reason)),
        },
        None => ChunkRef { hash: chunk_hash(out), len: header.len },
    };
    match keep {
        Keep::Record { .. } => {
            for place in places {
                let report = match job.keep(place, chunk, header.packed_len, out) {
                    Ok(()) => Done::Chunk { job: job.id, index: place.index, len: chunk.len, source },
                    Err(error) => Done::Disk { job: job.id, error },
                };
                let _ = done.send(report);
            }
        }
        Keep::Report { to, seq } => {
            for place in &places {
                if let Err(error) = job.write(*place, out) {
                    let _ = done.send(Done::Disk { job: job.id, error });
                    let _ = to.send(Decoded { seq: *seq, places, chunk: None, packed_len: header.packed_len });
                    return;
                }
            }
            let _ = to.send(Decoded { seq: *seq, places, chunk: Some(chunk), packed_len: header.packed_len });
        }
    }
}

fn copy(
    job: &JobFile,
    place: Place,
    len: u32,
    expected: Option<ChunkRef>,
    file: &File,
    from: u64,
    room: &mut [u8],
) -> Done {
    let bad = |why: String| Done::Bad { job: job.id, index: place.index, source: Source::Disk, why };
    let Some(out) = room.get_mut(..len as usize) else { return bad(format!("a chunk of {len} bytes")) };
    if let Err(error) = file.read_exact_at(out, from) {
        return bad(error.to_string());
    }
    let out: &[u8] = out;
    let chunk = match expected {
        Some(expected) => match verify(out, expected) {
            Ok(proven) => proven.chunk(),
            Err(mismatch) => return bad(format!("{:?}", mismatch.reason)),
        },
        None => ChunkRef { hash: chunk_hash(out), len },
    };
    match job.keep(place, chunk, 0, out) {
        Ok(()) => Done::Chunk { job: job.id, index: place.index, len, source: Source::Disk },
        Err(error) => Done::Disk { job: job.id, error },
    }
}
