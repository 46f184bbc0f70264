//! The workers: a few threads that decode, prove and write, so that the engine's thread only moves bytes.

use crate::buffers::Buffer;
use crate::jobs::JobFile;
use crate::os::FileExt as _;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use zest_core::node::{OriginFault, Source};
use zest_core::{JobId, LinkId, Location};
use zest_xet::{
    CHUNK_BYTES_MAX, Checked, ChunkHeader, ChunkRef, Decoder, Mismatch, MismatchReason, Proven, chunk_hash,
    verify,
};

/// One place of a chunk in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    /// Index among the file's chunks.
    pub(crate) index: u32,
    /// First byte in the file.
    pub(crate) offset: u64,
}

/// Something that costs processor time.
pub(crate) enum Work {
    /// A raw chunk of a peer: prove it, write it.
    Prove { job: Arc<JobFile>, place: ChunkPlace, chunk: ChunkRef, buf: Buffer, source: Source },
    /// A packed chunk of a xorb: decode it, prove it if its hash is known, write it to all its places.
    Decode {
        job: Arc<JobFile>,
        header: ChunkHeader,
        packed: Bytes,
        places: Vec<ChunkPlace>,
        expected: Option<ChunkRef>,
        source: Source,
        keep: Keep,
        permit: OwnedSemaphorePermit,
    },
    /// A chunk that lies in another file of this machine.
    Copy {
        job: Arc<JobFile>,
        place: ChunkPlace,
        len: u32,
        expected: Option<ChunkRef>,
        file: Arc<File>,
        from: u64,
    },
    /// A chunk that nothing proves: compare it with what its author told, and keep it if it is that.
    Compare {
        job: JobId,
        block: u32,
        nth: u32,
        chunk: ChunkRef,
        buf: Buffer,
        link: LinkId,
        to: TentativePlace,
    },
    /// Such a chunk that lies where it belongs, and is what a proven list names: it counts.
    Adopt { job: Arc<JobFile>, place: ChunkPlace, chunk: ChunkRef, stream: u32 },
    /// A chunk that an earlier process wrote into the partial file.
    Check { job: Arc<JobFile>, place: ChunkPlace, len: u32 },
    /// Anything else.
    Task(Box<dyn FnOnce() + Send>),
}

/// Where a chunk that nothing proves is kept.
pub(crate) enum TentativePlace {
    /// Where it belongs if its author told the truth, under the name of a stream, as long as that is open.
    Own { file: Arc<JobFile>, place: ChunkPlace, stream: u32, open: Arc<AtomicBool> },
    /// In a file of its own.
    Beside { file: Arc<File>, offset: u64 },
}

/// What came of such a chunk.
#[derive(Debug)]
pub(crate) enum Compared {
    /// It lies where it belongs, if anything does.
    Own { place: ChunkPlace, chunk: ChunkRef, stream: u32 },
    /// It lies in a file of its own.
    Beside { offset: u64, len: u32 },
    /// It is not what its author told, or what that told is not so.
    Wrong,
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
        /// The stream it came in.
        stream: u32,
    },
}

/// What a worker made of a chunk of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Decoded, written, and what the list says if there is one.
    Good(ChunkRef),
    /// It does not decode or is not what the list says.
    Wrong,
    /// The disk refused it; the job has heard of that.
    Unwritten,
}

/// A chunk that was decoded and written but not yet proven.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its number in the xorb.
    pub(crate) seq: u32,
    /// Where it was written.
    pub(crate) places: Vec<ChunkPlace>,
    /// Its hash and length, and whether it was the wanted one.
    pub(crate) chunk: Outcome,
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
    /// What an earlier process wrote is not there any more; `rotten` unless somebody else wrote there meanwhile.
    Gone { job: JobId, index: u32, rotten: bool },
    /// All chunks of a block have been seen, and this list of them is that of its xorb.
    BlockProven { job: JobId, block: u32, list: Vec<ChunkRef> },
    /// A chunk that nothing proves was compared with what its author told: where it is kept, if it is that.
    Compared { job: JobId, block: u32, nth: u32, link: LinkId, kept: std::io::Result<Compared> },
    /// The stream of a block has ended, and so has the work on its chunks.
    FetchEnded { job: JobId, block: u32, fault: Option<OriginFault> },
    /// The disk refused it.
    Disk { job: JobId, error: std::io::Error },
    /// A chunk that is often asked for was read, if it is what it should be.
    Read { place: Location, chunk: Option<Proven<Vec<u8>>> },
}

/// Where workers leave what they have done. Filled by the batch, so that the engine is woken once for several chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailbox(Arc<(Mutex<Vec<Done>>, Notify)>);

impl Mailbox {
    /// Leaves one thing.
    pub(crate) fn send(&self, done: Done) {
        self.post(&mut vec![done]);
    }

    /// Leaves several, in order.
    fn post(&self, batch: &mut Vec<Done>) {
        if batch.is_empty() {
            return;
        }
        let mut box_now = self.0.0.lock().expect("no holder panics");
        let wake = box_now.is_empty();
        box_now.append(batch);
        drop(box_now);
        if wake {
            self.0.1.notify_one();
        }
    }

    /// Waits until something is there and takes all of it.
    pub(crate) async fn take(&self, into: &mut Vec<Done>) {
        loop {
            let notified = self.0.1.notified();
            std::mem::swap(into, &mut self.0.0.lock().expect("no holder panics"));
            if !into.is_empty() {
                return;
            }
            notified.await;
        }
    }
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    /// Threads that wait: only they need a call to the system to be woken.
    idle: usize,
    closed: bool,
}

/// Things a worker takes at once when plenty wait: 12. Ours; their journal records go out in one write, and neighbours among
/// them too.
const BATCH: usize = 12;

/// The threads and their queue.
pub(crate) struct Workers {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads that report to `done`.
    pub(crate) fn start(count: usize, done: &Mailbox) -> std::io::Result<Self> {
        let queue: Arc<(Mutex<Queue>, Condvar)> = Arc::default();
        let threads = (0..count)
            .map(|n| {
                let queue = queue.clone();
                let done = done.clone();
                std::thread::Builder::new()
                    .name(format!("zest-worker-{n}"))
                    .stack_size(512 << 10)
                    .spawn(move || run(&queue, count, &done))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue, threads })
    }

    /// Queues something without waking anyone: [`Workers::kick`] follows once the batch is complete.
    pub(crate) fn push(&self, work: Work) {
        self.queue.0.lock().expect("workers do not panic while they hold the queue").work.push_back(work);
    }

    /// Wakes as many idle workers as there is work for.
    pub(crate) fn kick(&self) {
        let queue = self.queue.0.lock().expect("workers do not panic while they hold the queue");
        let wakes = queue.idle.min(queue.work.len());
        drop(queue);
        for _ in 0..wakes {
            self.queue.1.notify_one();
        }
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

fn run(queue: &(Mutex<Queue>, Condvar), count: usize, mailbox: &Mailbox) {
    let mut decoder = Decoder::new();
    let mut room = vec![0; CHUNK_BYTES_MAX];
    let mut batch = Vec::with_capacity(BATCH);
    let mut proven = Vec::with_capacity(BATCH);
    let mut done = Vec::with_capacity(BATCH);
    loop {
        {
            let mut queue_now = queue.0.lock().expect("workers do not panic while they hold the queue");
            while queue_now.work.is_empty() {
                if queue_now.closed {
                    return;
                }
                queue_now.idle += 1;
                queue_now = queue.1.wait(queue_now).expect("workers do not panic while they hold the queue");
                queue_now.idle -= 1;
            }
            let take = (queue_now.work.len() / count).clamp(1, BATCH);
            batch.extend(queue_now.work.drain(..take));
        }
        // Dropped after the reports are posted: who waits for the last of them finds all reports before it.
        let mut tokens = Vec::new();
        for work in batch.drain(..) {
            match work {
                Work::Prove { job, place, chunk, buf, source } => match verify(buf, chunk) {
                    Ok(chunk) => proven.push(Fresh { job, place, chunk, source }),
                    Err(Mismatch { buf, reason }) => {
                        let second = second_reading(buf.as_ref(), chunk, &mut decoder, &mut room);
                        done.push(doubted(&job, place, chunk, second, reason, source));
                    }
                },
                Work::Decode { job, header, packed, places, expected, source, keep, permit } => {
                    decode(
                        &job,
                        header,
                        &packed,
                        places,
                        expected,
                        source,
                        &keep,
                        &mut decoder,
                        &mut room,
                        &mut done,
                    );
                    tokens.push((keep, permit));
                }
                Work::Copy { job, place, len, expected, file, from } => {
                    done.push(copy(&job, place, len, expected, &file, from, &mut room));
                }
                Work::Compare { job, block, nth, chunk, buf, link, to } => {
                    let kept = compare(chunk, buf.as_ref(), to);
                    done.push(Done::Compared { job, block, nth, link, kept });
                }
                Work::Adopt { job, place, chunk, stream } => {
                    let kept = job.record_stream(place, stream, chunk, 0);
                    done.push(report(job.id, place.index, chunk.len, Source::Disk, kept));
                }
                Work::Check { job, place, len } => done.push(match job.check(place, &mut room) {
                    Ok(Checked::Good) => {
                        Done::Chunk { job: job.id, index: place.index, len, source: Source::Disk }
                    }
                    Ok(Checked::Rotten) => Done::Gone { job: job.id, index: place.index, rotten: true },
                    Ok(Checked::Wrong | Checked::Overtaken) => {
                        Done::Gone { job: job.id, index: place.index, rotten: false }
                    }
                    Err(error) => Done::Disk { job: job.id, error },
                }),
                Work::Task(task) => {
                    settle(&mut proven, &mut done);
                    mailbox.post(&mut done);
                    task();
                }
            }
        }
        settle(&mut proven, &mut done);
        mailbox.post(&mut done);
        drop(tokens);
    }
}

/// A peer's chunk that is proven and not yet written.
struct Fresh {
    job: Arc<JobFile>,
    place: ChunkPlace,
    chunk: Proven<Buffer>,
    source: Source,
}

/// Writes what a batch has proven: neighbours at once, and one note in the journal for all of a file.
fn settle(fresh: &mut Vec<Fresh>, done: &mut Vec<Done>) {
    fresh.sort_unstable_by_key(|one| (one.job.id, one.place.offset));
    for of_job in fresh.chunk_by(|a, b| a.job.id == b.job.id) {
        let chunks: Vec<(ChunkPlace, ChunkRef, &[u8])> =
            of_job.iter().map(|one| (one.place, one.chunk.chunk(), one.chunk.bytes())).collect();
        let bytes: usize = chunks.iter().map(|(.., bytes)| bytes.len()).sum();
        of_job[0].job.more_came(bytes as u64);
        match of_job[0].job.keep_all(&chunks) {
            Ok(()) => done.extend(of_job.iter().map(|one| Done::Chunk {
                job: one.job.id,
                index: one.place.index,
                len: one.chunk.chunk().len,
                source: one.source,
            })),
            Err(error) => done.push(Done::Disk { job: of_job[0].job.id, error }),
        }
    }
    fresh.clear();
}

/// What becomes of a payload that is not the chunk as it lies: before anyone is blamed, the other reading that the dialects
/// allow counts (docs/protocol.md).
fn doubted(
    job: &JobFile,
    place: ChunkPlace,
    chunk: ChunkRef,
    second: Option<Proven<&[u8]>>,
    reason: MismatchReason,
    source: Source,
) -> Done {
    match second {
        Some(proven) => {
            let kept = job.keep(place, proven.chunk(), 0, proven.bytes());
            report(job.id, place.index, chunk.len, source, kept.map(|()| true))
        }
        None => Done::Bad { job: job.id, index: place.index, source, why: format!("{reason:?}") },
    }
}

/// The payload read as an answer with a start before its data, which is the chunk as it is or as a xorb holds it.
fn second_reading<'a>(
    payload: &'a [u8],
    chunk: ChunkRef,
    decoder: &mut Decoder,
    room: &'a mut [u8],
) -> Option<Proven<&'a [u8]>> {
    let data = zest_core::wire::xet::other_reading(payload)?;
    if let Ok(proven) = verify(data, chunk) {
        return Some(proven);
    }
    let (head, packed) = data.split_first_chunk::<{ ChunkHeader::BYTES }>()?;
    let header = ChunkHeader::parse(head).ok().filter(|h| h.len == chunk.len)?;
    let out = room.get_mut(..header.len as usize)?;
    decoder.decode(header, packed, out).ok()?;
    verify(&*out, chunk).ok()
}

#[expect(clippy::too_many_arguments, reason = "the fields of one Work, and the worker's own room")]
fn decode(
    job: &JobFile,
    header: ChunkHeader,
    packed: &[u8],
    places: Vec<ChunkPlace>,
    expected: Option<ChunkRef>,
    source: Source,
    keep: &Keep,
    decoder: &mut Decoder,
    room: &mut [u8],
    done: &mut Vec<Done>,
) {
    let bad = |places: Vec<ChunkPlace>, why: String, done: &mut Vec<Done>| match keep {
        Keep::Record { .. } => {
            let bad =
                |place: ChunkPlace| Done::Bad { job: job.id, index: place.index, source, why: why.clone() };
            done.extend(places.into_iter().map(bad));
        }
        Keep::Report { to, seq, .. } => {
            let packed_len = header.packed_len;
            let _ = to.send(Decoded { seq: *seq, places, chunk: Outcome::Wrong, packed_len });
        }
    };
    let out = &mut room[..header.len as usize];
    if let Err(error) = decoder.decode(header, packed, out) {
        return bad(places, error.to_string(), done);
    }
    let out: &[u8] = out;
    let chunk = match expected {
        Some(expected) => match verify(out, expected) {
            Ok(proven) => proven.chunk(),
            Err(mismatch) => return bad(places, format!("{:?}", mismatch.reason), done),
        },
        None => ChunkRef { hash: chunk_hash(out), len: header.len },
    };
    match keep {
        Keep::Record { .. } => {
            for place in places {
                let kept = match expected {
                    Some(_) => job.keep(place, chunk, header.packed_len, out).map(|()| true),
                    None => job.keep_unproven(place, chunk, header.packed_len, out),
                };
                done.push(report(job.id, place.index, chunk.len, source, kept));
            }
        }
        Keep::Report { to, seq, stream } => {
            let written = places.iter().try_for_each(|place| job.write_doubtful(*place, *stream, out));
            let chunk = match written {
                Ok(()) => Outcome::Good(chunk),
                Err(error) => {
                    done.push(Done::Disk { job: job.id, error });
                    Outcome::Unwritten
                }
            };
            let _ = to.send(Decoded { seq: *seq, places, chunk, packed_len: header.packed_len });
        }
    }
}

fn copy(
    job: &JobFile,
    place: ChunkPlace,
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
    let kept = match expected {
        Some(_) => job.keep(place, chunk, 0, out).map(|()| true),
        None => job.keep_unproven(place, chunk, 0, out),
    };
    report(job.id, place.index, len, Source::Disk, kept)
}

/// Keeps a chunk that nothing proves, if it is what its author told.
fn compare(told: ChunkRef, bytes: &[u8], to: TentativePlace) -> std::io::Result<Compared> {
    if bytes.len() != told.len as usize || chunk_hash(bytes) != told.hash {
        return Ok(Compared::Wrong);
    }
    match to {
        TentativePlace::Own { file, place, stream, open } => {
            let fits = file.keep_tentative(place, told, stream, &open, bytes)?;
            Ok(if fits { Compared::Own { place, chunk: told, stream } } else { Compared::Wrong })
        }
        TentativePlace::Beside { file, offset } => {
            file.write_all_at(bytes, offset)?;
            Ok(Compared::Beside { offset, len: told.len })
        }
    }
}

fn report(job: JobId, index: u32, len: u32, source: Source, kept: std::io::Result<bool>) -> Done {
    match kept {
        Ok(true) => Done::Chunk { job, index, len, source },
        Ok(false) => Done::Bad { job, index, source, why: "the proven list names another chunk".into() },
        Err(error) => Done::Disk { job, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{Encoder, SchemeChoice};

    #[test]
    fn a_chunk_in_an_answer_with_a_start_is_read_too() {
        let data = vec![7; 20_000];
        let chunk = ChunkRef { hash: chunk_hash(&data), len: 20_000 };
        let mut packed = Vec::new();
        Encoder::new().encode(&data, SchemeChoice::Lz4, &mut packed);
        for body in [&data, &packed] {
            let mut payload = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
            payload.extend_from_slice(body);
            let mut room = vec![0; CHUNK_BYTES_MAX];
            assert!(second_reading(&payload, chunk, &mut Decoder::new(), &mut room).is_some());
            payload[10] ^= 1;
            assert!(second_reading(&payload, chunk, &mut Decoder::new(), &mut room).is_none());
        }
    }
}
