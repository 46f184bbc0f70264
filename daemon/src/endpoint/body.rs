//! Bodies that are made of files, as far as these have come.

use super::files::{Holder, How, Reader};
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use zest_hub_server::guard::Place;
use zest_hub_server::parts::{BufferPool, PIECE_BYTES, Piece, Xorb, read_xorb};

/// A part of a body.
#[derive(Debug)]
pub(super) enum Part {
    /// What is at hand.
    Text(Bytes),
    /// Bytes of the file.
    File(Range<u64>),
    /// Bytes of a serialised xorb whose chunks lie in the file.
    Xorb(Arc<Xorb>, Range<u64>),
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(range) | Self::Xorb(_, range) => range.end - range.start,
        }
    }
}

struct Flow {
    reader: Reader,
    parts: VecDeque<Part>,
    pool: Arc<BufferPool>,
    _place: Option<Place>,
}

/// A body of these parts of a file.
pub(super) fn body(reader: Reader, parts: Vec<Part>, pool: &Arc<BufferPool>, place: Option<Place>) -> Body {
    let flow = Flow { reader, parts: parts.into(), pool: pool.clone(), _place: place };
    Body::from_stream(stream::try_unfold(flow, |mut flow| async move {
        match flow.next().await {
            Ok(Some(piece)) => Ok(Some((piece, flow))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::info!(%error, "a body breaks off");
                Err(error)
            }
        }
    }))
}

impl Flow {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let (taken, piece) = match self.parts.front() {
                None => return Ok(None),
                Some(Part::Text(text)) => (text.len() as u64, Some(text.clone())),
                Some(part) if part.len() == 0 => (0, None),
                Some(Part::File(range)) => self.of_file(range.clone()).await?,
                Some(Part::Xorb(xorb, range)) => self.of_xorb(xorb.clone(), range.clone()).await?,
            };
            match self.parts.front_mut() {
                Some(Part::File(range) | Part::Xorb(_, range)) if range.end - range.start > taken => {
                    range.start += taken;
                }
                _ => drop(self.parts.pop_front()),
            }
            if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                return Ok(Some(piece));
            }
        }
    }

    async fn of_file(&mut self, range: Range<u64>) -> io::Result<(u64, Option<Bytes>)> {
        loop {
            let wanted = range.start..range.end.min(range.start + PIECE_BYTES as u64);
            let (bytes, holder) = self.reader.ready(wanted).await.map_err(io::Error::other)?;
            let len = bytes.end - bytes.start;
            let fill = move |room: &mut [u8], how| holder.read(room, bytes.start, how);
            match read(&self.pool, len, fill).await {
                Ok(piece) => return Ok((len, Some(piece))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reader.look_again(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn of_xorb(&mut self, xorb: Arc<Xorb>, range: Range<u64>) -> io::Result<(u64, Option<Bytes>)> {
        loop {
            let wanted = range.start..range.end.min(range.start + PIECE_BYTES as u64);
            let mut holders: Vec<(Range<u64>, Holder)> = Vec::new();
            for source in xorb.sources(wanted.clone()) {
                let mut at = source.start;
                while at < source.end {
                    let ready = self.reader.ready(at..source.end).await.map_err(io::Error::other)?;
                    at = ready.0.end;
                    holders.push(ready);
                }
            }
            let (xorb, from, len) = (xorb.clone(), wanted.start, wanted.end - wanted.start);
            let fill = move |room: &mut [u8], how| {
                read_xorb(&xorb, from, room, |room, at| read_from(&holders, room, at, how))
            };
            match read(&self.pool, len, fill).await {
                Ok(piece) => return Ok((len, Some(piece))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reader.look_again(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads what several holders have together.
fn read_from(holders: &[(Range<u64>, Holder)], mut room: &mut [u8], mut at: u64, how: How) -> io::Result<()> {
    while !room.is_empty() {
        let found = holders.iter().find(|(bytes, _)| bytes.contains(&at));
        let (bytes, holder) = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        let take = usize::try_from(bytes.end - at).unwrap_or(usize::MAX).min(room.len());
        let (now, later) = room.split_at_mut(take);
        holder.read(now, at, how)?;
        room = later;
        at += take as u64;
    }
    Ok(())
}

/// A piece of `len` bytes. What lies in memory is read at once: to have another thread do that, and wait for it, takes longer.
async fn read(
    pool: &Arc<BufferPool>,
    len: u64,
    fill: impl Fn(&mut [u8], How) -> io::Result<()> + Send + 'static,
) -> io::Result<Bytes> {
    let mut piece = pool.take(usize::try_from(len).unwrap_or(usize::MAX));
    match fill(piece.bytes_mut(), How::AtOnce) {
        Ok(()) => return Ok(Bytes::from_owner(piece)),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Err(_not_in_memory) => {}
    }
    let read = super::answers::blocking(move || fill(piece.bytes_mut(), How::Waiting).map(|()| piece));
    read.await.map(Bytes::from_owner::<Piece>)
}
