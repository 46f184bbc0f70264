//! Answer bodies made from file ranges, a piece at a time, with the CDN's faults.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zest_xet::{ChunkHeader, Scheme};

use super::App;
use super::buffers::{BufferPool, PIECE_BYTES, Piece};
use super::disk::read_exact_at;
use super::faults::BodyFate;
use super::layout::Xorb;
use super::stats::{Sending, count};
use crate::guard::{Peer, Place};

/// Bytes per piece while the CDN is paced: 32 KiB, so that slow links flow evenly.
const PACED_PIECE_BYTES: usize = 32 * 1024;

/// Where the server is in its life; bodies watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// No new connections; bodies under way go on.
    Draining,
    /// Bodies break off.
    Cut,
}

/// A stretch of a body.
pub(crate) enum Part {
    /// Bytes in memory.
    Inline(Bytes),
    /// Bytes of a file.
    File(Arc<File>, Range<u64>),
    /// Bytes of a serialised xorb whose chunks lie in the file.
    Xorb(Arc<Xorb>, Arc<File>, Range<u64>),
}

impl Part {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File(_, range) | Self::Xorb(_, _, range) => range.end - range.start,
        }
    }

    /// Fills `out` from the front of the part and takes that off the part. `out` is not longer than the part.
    fn read(&mut self, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Inline(bytes) => out.copy_from_slice(&bytes.split_to(out.len())),
            Self::File(file, range) => {
                read_exact_at(file, out, range.start)?;
                range.start += out.len() as u64;
            }
            Self::Xorb(xorb, file, range) => {
                read_xorb(xorb, range.start, out, |room, at| read_exact_at(file, room, at))?;
                range.start += out.len() as u64;
            }
        }
        Ok(())
    }
}

/// Fills `out` with the serialised xorb from byte `from` on: for each chunk its header, then its bytes, which `read_at` gives of the
/// home file.
///
/// # Errors
/// What `read_at` met.
///
/// # Panics
/// If the xorb ends before.
pub fn read_xorb(
    xorb: &Xorb,
    from: u64,
    mut out: &mut [u8],
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut chunk = xorb.chunk_at(from);
    let mut skip = from - xorb.start_of(chunk);
    while !out.is_empty() {
        let (offset, len) = xorb.place(chunk);
        let header = ChunkHeader { packed_len: len, scheme: Scheme::None, len }.encode();
        if let Some(rest) = usize::try_from(skip).ok().and_then(|skip| header.get(skip..)) {
            let take = rest.len().min(out.len());
            let (head, tail) = out.split_at_mut(take);
            head.copy_from_slice(&rest[..take]);
            out = tail;
        }
        let skip_data = skip.saturating_sub(header.len() as u64);
        let take = usize::try_from(u64::from(len) - skip_data).unwrap_or(usize::MAX).min(out.len());
        let (data, tail) = out.split_at_mut(take);
        read_at(data, offset + skip_data)?;
        out = tail;
        chunk += 1;
        skip = 0;
    }
    Ok(())
}

/// What is still to be read of a body. Blocking.
struct Reader {
    parts: VecDeque<Part>,
    pool: Arc<BufferPool>,
}

impl Reader {
    /// The next `len` bytes, which are not more than are left.
    fn read(&mut self, len: usize) -> io::Result<Piece> {
        let mut piece = self.pool.take(len);
        let mut out = piece.bytes_mut();
        while !out.is_empty() {
            let Some(part) = self.parts.front_mut() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            let take = usize::try_from(part.len()).unwrap_or(usize::MAX).min(out.len());
            let (now, later) = out.split_at_mut(take);
            part.read(now)?;
            out = later;
            if part.len() == 0 {
                self.parts.pop_front();
            }
        }
        Ok(piece)
    }
}

/// A piece on its way from the disk, and the reader it comes back with.
type Reading = JoinHandle<(Reader, io::Result<Piece>)>;

struct Flow {
    app: Arc<App>,
    phase: watch::Receiver<Phase>,
    is_cdn: bool,
    fate: BodyFate,
    /// Bytes of the whole body, and of it handed to the connection, and of it read or being read.
    total: u64,
    sent: u64,
    asked: u64,
    reading: Option<Reading>,
    /// When the last piece has left, at the body's own rate.
    free: Instant,
    /// The body's place among those being sent.
    _place: Option<Place>,
    _sending: Option<Sending>,
}

/// A body of `parts`, once there is room for another one. CDN bodies are paced and have the fate that the faults give them now.
pub(crate) async fn body(app: &Arc<App>, peer: Option<&Peer>, parts: Vec<Part>, is_cdn: bool) -> Body {
    let place = match peer {
        Some(peer) => Some(peer.place().await),
        None => None,
    };
    let total = parts.iter().map(Part::len).sum();
    let fate = if is_cdn { app.faults.body_fate() } else { BodyFate::default() };
    let mut flow = Flow {
        app: app.clone(),
        phase: app.phase.subscribe(),
        is_cdn,
        fate,
        total,
        sent: 0,
        asked: 0,
        reading: None,
        free: Instant::now(),
        _place: place,
        _sending: is_cdn.then(|| Sending::new(app.clone())),
    };
    flow.ask(Reader { parts: parts.into(), pool: app.buffers.clone() });
    Body::from_stream(stream::unfold(flow, |mut flow| async move {
        let piece = flow.next().await?;
        if piece.is_err() {
            // After an error the stream must end: nothing is being read any more.
            flow.reading = None;
            flow.sent = flow.total;
        }
        Some((piece, flow))
    }))
}

impl Flow {
    /// Where the body breaks off or stalls.
    fn middle(&self) -> u64 {
        self.total / 2
    }

    /// Starts reading the next piece, so that the disk works while the connection sends.
    fn ask(&mut self, mut reader: Reader) {
        let limit = if self.is_cdn && self.app.faults.is_paced() { PACED_PIECE_BYTES } else { PIECE_BYTES };
        let stops = (self.fate.cut || self.fate.stall) && self.asked <= self.middle();
        let end = if stops { self.middle() } else { self.total };
        let take = usize::try_from(end - self.asked).unwrap_or(usize::MAX).min(limit);
        if take == 0 {
            return;
        }
        self.asked += take as u64;
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let piece = reader.read(take);
            (reader, piece)
        }));
    }

    /// When so many bytes of a CDN body may leave; `None` is now.
    fn leaves(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let faults = &self.app.faults;
        let own = faults.book_body(bytes, &mut self.free, now);
        faults.book(bytes, now).max(own)
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.sent >= self.total {
            return None;
        }
        if *self.phase.borrow() == Phase::Cut {
            return Some(Err(io::Error::other("the hub is shutting down")));
        }
        let Some(reading) = self.reading.take() else {
            if self.fate.stall {
                // Ends with the hub, not before.
                let _ = self.phase.wait_for(|phase| *phase > Phase::Running).await;
            }
            // Being pending once makes the connection flush what it has, so that the client gets the first half.
            tokio::task::yield_now().await;
            return Some(Err(io::Error::other("injected break of a body")));
        };
        let (reader, piece) = match reading.await {
            Ok(read) => read,
            Err(error) => return Some(Err(io::Error::other(error))),
        };
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!(%error, "a body breaks off");
                return Some(Err(error));
            }
        };
        self.ask(reader);
        let middle = self.middle();
        let bytes = piece.bytes_mut();
        let len = bytes.len() as u64;
        if self.fate.corrupt && (self.sent..self.sent + len).contains(&middle) {
            bytes[usize::try_from(middle - self.sent).unwrap_or(0)] ^= 0x40;
        }
        if self.is_cdn
            && let Some(until) = self.leaves(len as usize, Instant::now())
        {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = self.phase.wait_for(|phase| *phase == Phase::Cut) => {}
            }
        }
        self.sent += len;
        let counter = if self.is_cdn { &self.app.counters.cdn_bytes } else { &self.app.counters.hub_bytes };
        count(counter, len);
        Some(Ok(Bytes::from_owner(piece)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use zest_xet::{Chunker, Manifest, Rule, XorbChunks, file_hash};

    /// Bytes that repeat nothing within a chunk's reach.
    fn noise(len: usize) -> Vec<u8> {
        let mut x = 1u64;
        std::iter::repeat_with(|| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn every_cut_of_a_virtual_xorb_equals_the_serialised_form() {
        let data = noise(1_000_000);
        let mut chunks = Vec::new();
        let mut chunker = Chunker::new(Rule::Current);
        chunker.push(&data, &mut |chunk| chunks.push(chunk));
        chunker.finish(&mut |chunk| chunks.push(chunk));
        let manifest =
            Arc::new(Manifest::prove(file_hash(&chunks), data.len() as u64, chunks.clone()).expect("sound"));
        let mut layout = Layout::default();
        layout.add(&manifest);
        let (_, terms) = layout.terms(&manifest.file()).expect("laid out");
        let xorb = &terms[0].xorb;
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), &data).expect("written");
        let file = File::open(path.path()).expect("opened");

        let mut whole = vec![0; usize::try_from(xorb.bytes()).expect("small")];
        let read = |room: &mut [u8], at: u64| read_exact_at(&file, room, at);
        read_xorb(xorb, 0, &mut whole, read).expect("read");
        let parsed: Vec<_> = XorbChunks::new(&whole).collect::<Result<_, _>>().expect("a sound xorb");
        assert_eq!(parsed.len(), chunks.len());
        assert_eq!(parsed.iter().flat_map(|(_, data)| data.iter().copied()).collect::<Vec<u8>>(), data);

        let second = usize::try_from(xorb.start_of(1)).expect("small");
        for from in [0, 1, 7, 8, 9, second - 1, second, second + 3, second + 8, whole.len() - 1] {
            for len in [1, 2, 9, 70_000, 300_000] {
                let end = (from + len).min(whole.len());
                let mut part = vec![0; end - from];
                read_xorb(xorb, from as u64, &mut part, read).expect("read");
                assert!(part == whole[from..end], "bytes {from}..{end}");
                // What it is made of: all of it, and no byte more.
                let made_of: u64 =
                    xorb.sources(from as u64..end as u64).iter().map(|s| s.end - s.start).sum();
                let mut read_bytes = 0;
                read_xorb(xorb, from as u64, &mut part, |room, _| {
                    read_bytes += room.len() as u64;
                    Ok(())
                })
                .expect("read");
                assert_eq!(made_of, read_bytes, "bytes {from}..{end}");
            }
        }
    }

    #[test]
    fn a_reader_crosses_its_parts() {
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), b"0123456789").expect("written");
        let file = Arc::new(File::open(path.path()).expect("opened"));
        let parts = [
            Part::Inline(Bytes::from_static(b"ab")),
            Part::File(file.clone(), 2..5),
            Part::File(file, 9..10),
        ];
        let mut reader = Reader { parts: parts.into(), pool: Arc::default() };
        assert_eq!(reader.read(3).expect("read").as_ref(), b"ab2");
        assert_eq!(reader.read(3).expect("read").as_ref(), b"349");
        assert!(reader.read(1).is_err());
    }
}
