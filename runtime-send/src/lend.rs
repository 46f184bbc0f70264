//! Chunks in memory, sent without being copied: the kernel is lent their pages, and puts them on the wire from where they
//! lie.
//!
//! A page that was lent may be read by the kernel, or by a receiver on the same machine, long after the call. So nothing
//! may ever be written where something lent lies: a [`Lent`] comes from the [`BlockCache`](crate::BlockCache) only, which
//! gives memory back to the system instead of using it again. Heads are copied into pages of which the same is true.
//!
//! Here is the only call of this crate that touches a socket, because both runtimes need just this one. It never waits.

use memmap2::MmapMut;
use std::io::{self, IoSlice};
use std::ops::Deref;

/// A socket, as the system numbers it.
#[cfg(unix)]
pub type Socket = std::os::fd::RawFd;
/// A socket, as the system numbers it. Nothing is lent there.
#[cfg(not(unix))]
pub type Socket = u64;

/// Heads up to this many bytes are copied beside what is lent: 512. All heads of the wire formats are shorter.
const HEAD_BYTES_MAX: usize = 512;

/// Bytes that nobody will write to as long as anybody can see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent<'a>(&'a [u8]);

impl<'a> Lent<'a> {
    /// `bytes` lie in memory that is never written again, not even after this borrow has ended.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Lent(bytes)
    }

    /// What is left after `sent` bytes; nothing if there were fewer.
    #[must_use]
    pub fn from(self, sent: usize) -> Self {
        Lent(self.0.get(sent..).unwrap_or_default())
    }

    /// The first bytes, at most `len`.
    #[must_use]
    pub fn first(self, len: usize) -> Self {
        Lent(&self.0[..self.0.len().min(len)])
    }
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

/// A piece of what goes out next.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Must be copied.
    Copied(&'a [u8]),
    /// May be lent.
    Lent(Lent<'a>),
}

impl<'a> Piece<'a> {
    /// For a call that copies.
    #[must_use]
    pub fn as_slice(&self) -> IoSlice<'a> {
        match *self {
            Piece::Copied(bytes) | Piece::Lent(Lent(bytes)) => IoSlice::new(bytes),
        }
    }
}

/// Lends memory to sockets. One serves all connections of a thread.
#[derive(Debug, Default)]
pub struct Lender {
    way: Way,
    heads: Heads,
}

/// From memory to a socket.
#[derive(Debug, Default)]
enum Way {
    /// Not tried yet.
    #[default]
    Unknown,
    Open(linux::Pipe),
    /// The system does not let us; everything is copied.
    Closed,
}

/// What became of a try to lend.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "other systems are not asked"))]
enum Outcome {
    /// What the socket said.
    Sent(io::Result<usize>),
    /// The same, but the pipe is of no use any more.
    Clogged(io::Result<usize>),
    /// The system does not lend; nothing was sent.
    Refused(io::Error),
}

impl Lender {
    /// Sends the front of `pieces` to a non-blocking socket, as much as it takes. Returns the bytes taken, or `None` if
    /// nothing could be lent: what is in front has to be copied, or the system cannot do it. Then nothing was sent.
    ///
    /// # Errors
    /// What the socket says; `WouldBlock` if it takes nothing now.
    pub fn send(&mut self, socket: Socket, pieces: &[Piece<'_>]) -> Option<io::Result<usize>> {
        let fits = |piece: &&Piece<'_>| !matches!(piece, Piece::Copied(head) if head.len() > HEAD_BYTES_MAX);
        let front = pieces.iter().take_while(fits).count();
        let front = &pieces[..front];
        if !front.iter().any(|piece| matches!(piece, Piece::Lent(bytes) if !bytes.is_empty())) {
            return None;
        }
        if let Way::Unknown = self.way {
            self.way = linux::Pipe::open().map_or_else(
                |error| {
                    tracing::debug!(%error, "memory cannot be lent to sockets: it is copied");
                    Way::Closed
                },
                Way::Open,
            );
        }
        let Way::Open(pipe) = &self.way else { return None };
        let slices = self.heads.beside(front)?;
        match pipe.send(socket, &slices) {
            Outcome::Sent(outcome) => Some(outcome),
            Outcome::Refused(error) => {
                tracing::debug!(%error, "memory cannot be lent to sockets: it is copied");
                self.way = Way::Closed;
                None
            }
            // Something may still lie in it: the next one begins with another.
            Outcome::Clogged(outcome) => {
                self.way = Way::Unknown;
                Some(outcome)
            }
        }
    }
}

/// Pages for heads, filled from front to back and then given up.
#[derive(Debug, Default)]
struct Heads {
    memory: Option<MmapMut>,
    filled: usize,
}

impl Heads {
    /// Bytes of these pages: 64 KiB, heads of some 100 MB.
    const BYTES: usize = 64 << 10;

    /// The slices of `pieces`, what is to be copied lying here. Nothing if there is no memory.
    fn beside<'a>(&'a mut self, pieces: &[Piece<'a>]) -> Option<Vec<IoSlice<'a>>> {
        let copied = |piece: &Piece<'_>| match piece {
            Piece::Copied(head) => head.len(),
            Piece::Lent(_) => 0,
        };
        let bytes: usize = pieces.iter().map(copied).sum();
        if self.memory.is_none() || self.filled + bytes > Self::BYTES {
            self.memory = Some(MmapMut::map_anon(Self::BYTES.max(bytes)).ok()?);
            self.filled = 0;
        }
        let memory = self.memory.as_mut()?;
        let from = self.filled;
        for piece in pieces {
            if let Piece::Copied(head) = piece {
                memory[self.filled..self.filled + head.len()].copy_from_slice(head);
                self.filled += head.len();
            }
        }
        let mut heads = &memory[from..self.filled];
        let slices = pieces.iter().map(|piece| match *piece {
            Piece::Copied(head) => {
                let (this, rest) = heads.split_at(head.len());
                heads = rest;
                IoSlice::new(this)
            }
            Piece::Lent(Lent(bytes)) => IoSlice::new(bytes),
        });
        Some(slices.collect())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{IoSlice, Outcome, Socket, io};
    use nix::errno::Errno;
    use nix::fcntl::{SpliceFFlags, splice, vmsplice};
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
    use std::fs::File;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    /// Bytes a pipe holds: 1 MiB in pages of 4 KiB, the most that the kernel lets everybody have.
    const PIPE_BYTES: usize = 1 << 20;

    /// Pages on their way from memory to a socket. Empty between two calls.
    #[derive(Debug)]
    pub(super) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        null: File,
    }

    impl Pipe {
        pub(super) fn open() -> io::Result<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            // With less it works as well, in more calls.
            let _smaller = fcntl_setpipe_size(&write, PIPE_BYTES);
            let null = File::options().write(true).open("/dev/null")?;
            Ok(Self { read, write, null })
        }

        pub(super) fn send(&self, socket: Socket, slices: &[IoSlice<'_>]) -> Outcome {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            let (read, write) = (self.read.as_raw_fd(), self.write.as_raw_fd());
            let lent = match vmsplice(write, slices, flags) {
                Ok(lent) if lent > 0 => lent,
                Ok(_) => return Outcome::Refused(io::ErrorKind::Unsupported.into()),
                Err(error) => return Outcome::Refused(error.into()),
            };
            let (mut sent, mut end) = (0, None);
            while sent < lent && end.is_none() {
                match splice(read, None, socket, None, lent - sent, flags) {
                    Ok(0) => end = Some(Errno::EPIPE),
                    Ok(more) => sent += more,
                    Err(Errno::EINTR) => {}
                    Err(error) => end = Some(error),
                }
            }
            // What the socket did not take is taken out again.
            let mut left = lent - sent;
            while left > 0 {
                match splice(read, None, self.null.as_raw_fd(), None, left, flags) {
                    Ok(out @ 1..) => left -= out,
                    Err(Errno::EINTR) => {}
                    Ok(_) | Err(_) => break,
                }
            }
            let outcome = match end {
                Some(error) if sent == 0 => Err(error.into()),
                _ => Ok(sent),
            };
            if left == 0 { Outcome::Sent(outcome) } else { Outcome::Clogged(outcome) }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use super::{IoSlice, Outcome, Socket, io};

    /// Only Linux has a way to lend memory.
    #[derive(Debug)]
    pub(super) enum Pipe {}

    impl Pipe {
        pub(super) fn open() -> io::Result<Pipe> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn send(&self, _: Socket, _: &[IoSlice<'_>]) -> Outcome {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{BlockCache, SEGMENT_BYTES};
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use zest_xet::{ChunkRef, Hash, Proven, chunk_hash, verify};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        near.set_nonblocking(true).expect("a socket");
        (near, listener.accept().expect("it came").0)
    }

    fn chunk(number: u32) -> Proven<Vec<u8>> {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(number + 7) >> 5) as u8).collect();
        let chunk = ChunkRef { hash: chunk_hash(&bytes), len: bytes.len() as u32 };
        verify(bytes, chunk).expect("its own hash")
    }

    #[test]
    fn what_was_lent_arrives_as_it_was_even_if_its_place_is_needed_for_something_else() {
        let (near, mut far) = pair();
        let mut cache = BlockCache::new(SEGMENT_BYTES);
        let mut lender = Lender::default();
        let chunks: Vec<Proven<Vec<u8>>> = (0..4).map(chunk).collect();
        chunks.iter().for_each(|chunk| cache.admit(chunk));
        let hashes: Vec<Hash> = chunks.iter().map(|chunk| chunk.chunk().hash).collect();
        let mut want = Vec::new();
        let mut pieces = Vec::new();
        for (chunk, hash) in chunks.iter().zip(&hashes) {
            pieces.push(Piece::Copied(b"head"));
            pieces.push(Piece::Lent(cache.get(hash).expect("it was admitted")));
            want.extend_from_slice(b"head");
            want.extend_from_slice(chunk.bytes());
        }
        let sent =
            lender.send(near.as_raw_fd(), &pieces).expect("memory can be lent here").expect("it takes some");
        drop(pieces);
        assert!(sent > 100_000);
        // Nobody has read it yet. The cache takes in many times what it holds, the lender sends other heads.
        let (other, _kept) = pair();
        for number in 4..400 {
            let chunk = chunk(number);
            cache.admit(&chunk);
            let pieces = [Piece::Copied(b"HEAD"), Piece::Lent(cache.get(&chunk.chunk().hash).expect("new"))];
            let _full = lender.send(other.as_raw_fd(), &pieces);
        }
        cache.check_invariants();
        let mut got = vec![0; sent];
        far.read_exact(&mut got).expect("what was sent");
        assert!(got == want[..sent], "every byte is as it was when it was lent");
    }

    #[test]
    fn a_full_socket_keeps_its_place_and_the_rest_of_the_pipe_goes_to_nobody() {
        let (near, mut far) = pair();
        let mut cache = BlockCache::new(SEGMENT_BYTES);
        let mut lender = Lender::default();
        let one = chunk(1);
        cache.admit(&one);
        let hash = one.chunk().hash;
        let mut total = 0;
        loop {
            let lent = cache.get(&hash).expect("admitted").from(total % 100_000);
            match lender.send(near.as_raw_fd(), &[Piece::Lent(lent)]).expect("memory can be lent here") {
                Ok(sent) => total += sent,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        // Another connection gets nothing of what the first did not take.
        let (second, mut reader) = pair();
        let pieces = [Piece::Copied(b"mine"), Piece::Lent(cache.get(&hash).expect("admitted").first(3))];
        assert_eq!(lender.send(second.as_raw_fd(), &pieces).expect("lent").expect("sent"), 7);
        drop(second);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).expect("closed");
        assert_eq!(got, [b"mine", &one.bytes()[..3]].concat());
        drop(near);
        got.clear();
        far.read_to_end(&mut got).expect("closed");
        assert_eq!(got.len(), total);
        assert!(got.iter().enumerate().all(|(at, byte)| *byte == one.bytes()[at % 100_000]));
    }

    #[test]
    fn what_must_be_copied_is_left_to_others() {
        let (near, _far) = pair();
        let mut lender = Lender::default();
        let large = vec![0; HEAD_BYTES_MAX + 1];
        let mut cache = BlockCache::new(SEGMENT_BYTES);
        let one = chunk(2);
        cache.admit(&one);
        let lent = Piece::Lent(cache.get(&one.chunk().hash).expect("admitted"));
        assert!(lender.send(near.as_raw_fd(), &[Piece::Copied(b"head")]).is_none());
        assert!(lender.send(near.as_raw_fd(), &[Piece::Copied(&large), lent]).is_none());
        let front = [Piece::Copied(b"head"), lent, Piece::Copied(&large)];
        assert_eq!(lender.send(near.as_raw_fd(), &front).expect("lent").expect("sent"), 100_004);
    }

    #[test]
    fn a_closed_socket_is_an_error_and_no_signal() {
        let (near, far) = pair();
        let mut lender = Lender::default();
        let mut cache = BlockCache::new(SEGMENT_BYTES);
        let one = chunk(3);
        cache.admit(&one);
        drop(far);
        let failed = (0..100).find_map(|_| {
            let lent = Piece::Lent(cache.get(&one.chunk().hash).expect("admitted"));
            lender.send(near.as_raw_fd(), &[lent]).expect("lent").err()
        });
        let kind = failed.map(|error| error.kind());
        let closed = matches!(kind, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
        assert!(closed, "{kind:?}");
    }
}
