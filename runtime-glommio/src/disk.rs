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
            if cannot_read(&file, &read, &error) {
                changed(&core, &io, read.file);
            }
            // Its frame has begun or is promised: it cannot be honoured.
            io.close();
        }
    }
    io.wake();
}

/// Says that a file cannot be read. Gives whether it is another one than was proven, of which nothing goes out any more; what the
/// disk alone refused may come another time.
fn cannot_read(file: &OpenFile, read: &Read, error: &io::Error) -> bool {
    tracing::warn!(target: zest_store::SAID, kind = "unreadable", "a shared file cannot be read: {error}");
    tracing::debug!(file = read.file.0, offset = read.offset, len = read.len, "cannot read");
    !file.is_unchanged() || error.kind() == io::ErrorKind::UnexpectedEof
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

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::fmt::Write as _;
    use std::sync::Mutex;
    use tracing::field::{Field, Visit};

    /// Keeps what is said to the user.
    struct Ears(Arc<Mutex<String>>);

    impl tracing::Subscriber for Ears {
        fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
            about.target() == zest_store::SAID
        }

        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut Words(&mut self.0.lock().expect("no panic")));
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    struct Words<'a>(&'a mut String);

    impl Visit for Words<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0, "{}={value:?};", field.name());
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_and_forgotten_only_if_it_is_another_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 8192]).expect("written");
        let read = Read { file: FileId(3), offset: 0, len: 4096, parts: Vec::new() };
        let said = Arc::new(Mutex::new(String::new()));
        let ears = Ears(said.clone());
        let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
            let _heard = tracing::subscriber::set_default(ears);
            let whole = OpenFile::open(crate::files::Found::of(&path)).await.expect("it opens");
            let (bytes, lead) = whole.read(0, 4096).await.expect("it can be read");
            assert_eq!(bytes[lead..][..4096], [7; 4096]);
            // Open for writing alone: the system refuses every read of it, as a failing disk does.
            let file = OpenFile::unreadable(&path).await;
            let error = file.read(0, 4096).await.expect_err("it was opened for writing");
            let kept = !cannot_read(&file, &read, &error);
            std::fs::write(&path, [8; 4096]).expect("another one");
            let end = whole.read(4096, 4096).await.expect_err("it is shorter now");
            (kept, cannot_read(&file, &read, &error), cannot_read(&whole, &read, &end))
        });
        // Where io_uring is refused no such runtime runs either.
        let Ok(executor) = executor else {
            return eprintln!("skipped, this machine does not permit io_uring");
        };
        let (kept, changed, shorter) = executor.join().expect("no panic");
        assert!(kept && changed && shorter, "{kept} {changed} {shorter}");
        let said = said.lock().expect("no panic").clone();
        assert!(said.contains("kind=\"unreadable\";"), "{said}");
        assert_eq!(said.matches("a shared file cannot be read: Bad file descriptor").count(), 2, "{said}");
    }
}
