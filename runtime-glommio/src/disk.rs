//! Reading what connections have to send and the cache does not hold: bounded in flight, neighbours merged, the file
//! looked at again after each read, chunks that come back proven and kept.

use crate::budget::Permit;
use crate::core::Core;
use crate::files::{OpenFile, State};
use crate::link::LinkIo;
use crate::stats::add;
use glommio::io::ReadResult;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use zest_send::{Part, Read};
use zest_store::FileId;
use zest_xet::{ChunkRef, verify};

/// What goes out from memory. Its clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Staged {
    /// What a read gave, which counts against the budget until the last clone is gone.
    Read { bytes: ReadResult, _permit: Rc<Permit> },
    /// A part of a small file.
    Small { file: Arc<[u8]>, part: Range<usize> },
}

impl Staged {
    /// A part of a small file, if it has it.
    pub(crate) fn part(file: Arc<[u8]>, offset: u32, len: u32) -> Option<Self> {
        let from = offset as usize;
        let part = from..from + len as usize;
        (part.end <= file.len()).then_some(Self::Small { file, part })
    }
}

impl AsRef<[u8]> for Staged {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Read { bytes, .. } => bytes,
            Self::Small { file, part } => &file[part.clone()],
        }
    }
}

/// Begins the reads that the front of a link's queue needs, as far as there is room.
pub(crate) fn read_ahead(core: &Rc<Core>, io: &Rc<LinkIo>, waker: &Waker) {
    loop {
        if !core.budget.has_room() {
            if io.needs_reads(core) && !io.starved.replace(true) {
                core.budget.wait(waker);
            }
            return;
        }
        let Some(read) = io.next_read(core) else { return };
        let state = core.files.borrow_mut().state(read.file, core.now());
        match state {
            State::Open(file) => {
                let permit = core.budget.take(file.cost(read.offset, read.len));
                core.reads.set(core.reads.get() + 1);
                glommio::spawn_local(run(core.clone(), io.clone(), file, read, permit)).detach();
            }
            State::Unknown | State::Opening => {
                core.open(read.file);
                if let Some(waiting) = core.files.borrow_mut().waiting(read.file) {
                    waiting.links.push(io.id);
                }
                io.put_off(&read);
                return;
            }
            State::Failed => {
                tracing::debug!(link = io.id.0, file = read.file.0, "a file to be sent cannot be opened");
                io.close();
                return;
            }
        }
    }
}

async fn run(core: Rc<Core>, io: Rc<LinkIo>, file: Rc<OpenFile>, read: Read, permit: Permit) {
    let outcome = file.read(read.offset, read.len).await;
    core.reads.set(core.reads.get() - 1);
    match outcome {
        Ok((bytes, lead)) => {
            add(&core.stats.disk_reads, 1);
            add(&core.stats.disk_bytes, u64::from(read.len));
            // Looked at after the read: whoever changed the file before it is found out.
            let staged = Staged::Read { bytes, _permit: Rc::new(permit) };
            let good = file.is_unchanged() && keep(&core, &read.parts, &staged, lead).await;
            if good {
                for part in &read.parts {
                    io.arrived(part, staged.clone(), lead + part.at as usize);
                }
            } else {
                changed(&core, &io, read.file);
            }
        }
        Err(error) => {
            tracing::warn!(target: zest_store::SAID, kind = "unreadable", "a shared file cannot be read: {error}");
            tracing::debug!(file = read.file.0, offset = read.offset, len = read.len, "cannot read");
            if !file.is_unchanged() || error.kind() == io::ErrorKind::UnexpectedEof {
                changed(&core, &io, read.file);
            }
            // Its frame has begun or is promised: it cannot be honoured.
            io.close();
        }
    }
    io.wake();
}

/// Keeps chunks that were asked for before, once they are proven. False if one is not what it should be.
async fn keep(core: &Rc<Core>, parts: &[Part], staged: &Staged, lead: usize) -> bool {
    for part in parts {
        let Some(hash) = part.span.hash else { continue };
        if !core.cache.borrow_mut().missed(&hash) || core.cache.borrow().contains(&hash) {
            continue;
        }
        let from = lead + part.at as usize;
        let bytes = &staged.as_ref()[from..from + part.span.len as usize];
        match verify(bytes, ChunkRef { hash, len: part.span.len }) {
            Ok(proven) => core.cache.borrow_mut().admit(&proven),
            Err(error) => {
                tracing::warn!(
                    target: zest_store::SAID,
                    kind = "rotten",
                    "a chunk on the disk is not what was proven, and is not uploaded: `zest verify` names the file"
                );
                tracing::debug!(%error, file = part.span.file.0, offset = part.span.offset, "rotten");
                return false;
            }
        }
        // Hashing a chunk takes 20 µs: others get their turn in between.
        glommio::yield_if_needed().await;
    }
    true
}

/// A file is not what was proven. Nothing of it goes out any more.
fn changed(core: &Rc<Core>, io: &LinkIo, file: FileId) {
    core.forget(file);
    io.close();
}
