//! What the node says, done: each action goes to the room that it concerns.

use crate::context::Context;
use crate::file_kind::FileKind;
use crate::link::dial::dial;
use crate::workers::{ChunkPlace, Work};
use crate::{lists, lookup, origin, seal, small_lookup, tentative};
use std::rc::Rc;
use zest_core::link::{Dialect, Outgoing, ZestMessage};
use zest_core::node::{Action, Event, Source};
use zest_core::{BufId, JobId, LinkId, Location};

/// Does what the node says.
pub(crate) fn perform(context: &Rc<Context>, action: Action) {
    match action {
        Action::Dial { addr, info_hash } => {
            tokio::task::spawn_local(dial(context.clone(), addr, info_hash));
        }
        Action::Send { link, message } => {
            if let Some(io) = context.transport.get(link) {
                let payload = message.payload_bytes();
                if payload > 0 && !context.vicinity.gives_to(io.addr) {
                    // Nothing of it goes out: the node's account is settled at once.
                    io.send(context, withheld(message));
                    return context.event(Event::Sent { link, bytes: payload });
                }
                if payload > 0 {
                    context.transport.traffic.gave(payload);
                    context.pulls.figures.given(&message, |id| context.small.named(id));
                }
                io.send(context, message);
            }
        }
        Action::Close { link, why } => {
            tracing::debug!(link = link.0, why, "closing a link");
            if let Some(io) = context.transport.get(link) {
                io.close();
            }
        }
        Action::Hold { link, until } => {
            if let Some(io) = context.transport.get(link) {
                io.hold(context.machine.wall(until));
            }
        }
        Action::Prove { job, index, chunk, offset, buf, link } => {
            let buf = context.held.take(buf);
            let job = context.jobs.get(job).map(|job| job.file.clone());
            if let (Some(job), Some(buf)) = (job, buf) {
                let place = ChunkPlace { index, offset };
                context.disk.push(Work::Prove { job, place, chunk, buf, source: Source::Peer(link) });
            }
        }
        Action::Free { buf } => {
            context.held.take(buf);
        }
        Action::KeepManifestPart { job, link, buf, first, last } => {
            keep_manifest_part(context, job, link, buf, first, last);
        }
        Action::ProveBlockList { job, block, link, buf } => {
            let buf = context.held.take(buf);
            if let Some(buf) = buf {
                let context = context.clone();
                tokio::task::spawn_local(lists::prove_records(context, job, block, link, buf));
            }
        }
        Action::ProveTentative { job, block, nth, before, chunk, buf, link } => {
            let buf = context.held.take(buf);
            if let Some(buf) = buf {
                tentative::compare(context, (job, block, nth), before, chunk, buf, link);
            }
        }
        Action::DropTentative { job, block } => tentative::drop_block(context, job, block),
        Action::AdoptBlockList { job, block, list } => tentative::adopt_told(context, job, block, &list),
        Action::CopyLocal { job, index, from } => copy_local(context, job, index, from),
        Action::OriginPlan { job } => {
            tokio::task::spawn_local(origin::plan::ask_layout(context.clone(), job));
        }
        Action::OriginFetch { job, block } => origin::fetch::start(context, job, block),
        Action::OriginStop { job, block } => {
            if let Some(job) = context.jobs.get(job) {
                job.fetching.stop(block);
            }
        }
        Action::LookupChunk { link, req, hash, dialect } => {
            let place = context.disk.locate_chunk(&hash, context.access_of(link));
            context.event(Event::ChunkLocated { link, req, hash, dialect, place });
        }
        Action::LookupXorb { link, req, xorb, start, end } => {
            let io = context.transport.get(link);
            let answer = match io {
                // One answer can be thousands of parts: a peer that asks faster than it reads gets no more of them.
                Some(io) if io.is_behind() => {
                    Outgoing::NotFound { req: req.0, hash: xorb, dialect: Dialect::Range }
                }
                _ => context.disk.locate_xorb(req.0, xorb, context.access_of(link), start, end),
            };
            context.event(Event::XorbLocated { link, answer });
        }
        Action::LookupManifest { link, req, file, first, count } => {
            let io = context.transport.get(link);
            // A part may be half a megabyte: who does not read what it was sent gets no more of them.
            let behind = io.is_some_and(|io| io.is_behind());
            let access = context.access_of(link);
            let place = if behind { None } else { context.locate_manifest(&file, access, first, count) };
            context.event(Event::ManifestLocated { link, req, place });
        }
        Action::LookupPlain { link, req, key, size, offset } => {
            small_lookup::look_up(context, (link, req), key, size, offset);
        }
        Action::PlainCame { plain, link, bufs } => context.small.came(&context.held, plain, link, bufs),
        Action::PlainAlone { plain } => context.small.alone(plain),
        Action::LookupFile { link, file } => {
            let (total, runs) = context.disk.locate_file(&file, context.access_of(link));
            context.event(Event::FileLocated { link, file, total, runs });
        }
        Action::Complete { job } => {
            tokio::task::spawn_local(seal::seal(context.clone(), job));
        }
        Action::Failed { job, why } => {
            if let Some(job) = context.jobs.get(job) {
                let path = job.path.clone();
                let origin = job.origin.as_ref().and_then(|origin| origin.last_fault()).map(Box::new);
                job.finish(Err(crate::PullError::NoSource { path, why, origin }));
            }
        }
        Action::Banned { addr, peer_id, until, jobs } => {
            // Wrong bytes are about one job, a broken protocol about all that the peer had to do with.
            let jobs = context.machine.blamed().map_or(jobs, |job| vec![job]);
            context.pulls.figures.banned(addr, &jobs);
            let secs = (until - context.machine.seems()).as_secs();
            tracing::warn!(%addr, ?peer_id, secs, "peer shut out: it sent wrong bytes or broke the protocol");
        }
    }
}

fn copy_local(context: &Rc<Context>, id: JobId, index: u32, from: Location) {
    if context.jobs.get(id).is_some_and(|job| tentative::copy(context, id, &job, index, from)) {
        return;
    }
    if let Some(job) = context.jobs.get(id).filter(|_| FileKind::of(from.file).is_partial()) {
        let place = ChunkPlace { index, offset: from.offset };
        return context.disk.push(Work::Check { job: job.file.clone(), place, len: from.len });
    }
    let (Some(job), Some(file)) = (context.jobs.get(id), context.disk.open(from.file)) else {
        context.event(Event::ChunkBad { job: id, index, source: Source::Disk });
        return;
    };
    let expected = job.file.expected(index);
    let told = job.lists.copy_goes_to(index);
    let Some(offset) = job.file.manifest.get().map(|m| m.offset(index)).or(told) else {
        context.event(Event::ChunkBad { job: id, index, source: Source::Disk });
        return;
    };
    let place = ChunkPlace { index, offset };
    let job = job.file.clone();
    context.disk.push(Work::Copy { job, place, len: from.len, expected, file, from: from.offset });
}

fn keep_manifest_part(context: &Rc<Context>, id: JobId, link: LinkId, buf: BufId, first: u32, last: bool) {
    let (Some(buf), Some(job)) = (context.held.take(buf), context.jobs.get(id)) else { return };
    if let Some(records) = job.lists.came(buf.as_ref(), first == 0, last) {
        tokio::task::spawn_local(lookup::prove_manifest(context.clone(), id, link, records));
    }
}

/// The answer where something is not given.
fn withheld(message: Outgoing) -> Outgoing {
    match message {
        Outgoing::Chunk { req, hash, dialect, .. } => Outgoing::NotFound { req, hash, dialect },
        Outgoing::XorbBytes { req, xorb, .. } | Outgoing::XorbRange { req, xorb, .. } => {
            Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range }
        }
        Outgoing::ManifestPart { req, .. } => Outgoing::Zest(ZestMessage::ManifestNone { req }),
        Outgoing::Plain { req, .. } => Outgoing::Zest(ZestMessage::PlainNone { req }),
        other => other,
    }
}
