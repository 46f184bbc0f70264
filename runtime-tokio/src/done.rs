//! What the workers report, taken in.

use crate::context::Context;
use crate::workers::Done;
use crate::{header, lists, origin, tentative};
use std::rc::Rc;
use zest_core::node::{Event, Source};

/// What the workers report.
pub(crate) fn report(context: &Rc<Context>, done: Done) {
    match done {
        Done::Chunk { job: id, index, len, source } => {
            if let Some(job) = context.jobs.get(id) {
                // It was written before the proven list came, and the list names another.
                if !job.file.holds(index) {
                    job.counts.count(|counts| counts.bad_chunks += 1);
                    context.event(Event::ChunkBad { job: id, index, source });
                    return;
                }
                let of_peer = source == Source::Disk && job.tentative.borrow_mut().was_copied(index);
                // A chunk that came twice is not twice there, and is said to have come twice. What a peer gave is counted here or nowhere: the file's list may have
                // found it in the partial file since it was copied there.
                let counts = source != Source::Disk || of_peer || context.machine.needs(id, index);
                let from = if of_peer { None } else { Some(source) };
                if counts && !job.counts.is_first(index) {
                    if source != Source::Disk {
                        job.counts.count(|counts| counts.twice_bytes += u64::from(len));
                    }
                } else if counts {
                    job.counts.count(|counts| {
                        let (bytes, chunks) = match from {
                            None | Some(Source::Peer(_)) => (&mut counts.peer_bytes, &mut counts.peer_chunks),
                            Some(Source::Origin) => (&mut counts.cdn_bytes, &mut counts.cdn_chunks),
                            Some(Source::Disk) => (&mut counts.disk_bytes, &mut counts.disk_chunks),
                        };
                        *bytes += u64::from(len);
                        *chunks += 1;
                    });
                }
                context.origin.hubs.moved();
                origin::fetch::sync_now_and_then(&job);
                if index == 0 {
                    header::first_chunk_came(context, id, &job, len);
                }
                job.news.notify_waiters();
                if source == Source::Origin {
                    tentative::hashed(context, id, &job, index);
                }
            }
            context.event(Event::ChunkDone { job: id, index, source });
        }
        Done::Bad { job: id, index, source, why } => {
            tracing::warn!(index, ?source, why, "a chunk failed its proof");
            if let Some(job) = context.jobs.get(id) {
                job.counts.count(|counts| counts.bad_chunks += 1);
                if let (Source::Origin, Some(origin)) = (source, &job.origin) {
                    origin.gave_wrong_bytes();
                }
            }
            context.event(Event::ChunkBad { job: id, index, source });
        }
        Done::Gone { job: id, index, rotten } => {
            if let Some(job) = context.jobs.get(id).filter(|_| rotten) {
                let (path, file) = (&job.path, job.file.file);
                tracing::warn!(path, %file, index, "a chunk of an earlier run has rotted on disk; it is fetched again");
                job.counts.count(|counts| counts.rotten_chunks += 1);
            }
            context.event(Event::ChunkBad { job: id, index, source: Source::Disk });
        }
        Done::Compared { job, block, nth, link, kept } => {
            tentative::compared(context, (job, block, nth), link, kept);
        }
        Done::BlockProven { job, block, list } => lists::block_proven(context, job, block, list),
        Done::FetchEnded { job, block, fault } => context.event(Event::OriginEnded { job, block, fault }),
        Done::Read { place, chunk } => context.disk.was_read(place, chunk.as_ref()),
        Done::Disk { job: id, error } => {
            if let Some(job) = context.jobs.get(id) {
                let path = job.path.clone();
                job.finish(Err(crate::PullError::Io { path, source: error }));
            }
        }
    }
}
