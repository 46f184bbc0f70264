//! Bodies that are made of files, as far as these have come.

use super::files::{Holder, Reader};
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use zest_hub_server::guard::Place;
use zest_hub_server::parts::{Xorb, read_xorb};

/// Bytes that are read and sent at a time: 120 KiB. Allocators keep what is below 128 KiB at hand.
const PIECE_BYTES: u64 = 120 << 10;

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
    _place: Option<Place>,
}

/// A body of these parts of a file.
pub(super) fn body(reader: Reader, parts: Vec<Part>, place: Option<Place>) -> Body {
    let flow = Flow { reader, parts: parts.into(), _place: place };
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
            let wanted = range.start..range.end.min(range.start + PIECE_BYTES);
            let (bytes, holder) = self.reader.ready(wanted).await.map_err(io::Error::other)?;
            let len = bytes.end - bytes.start;
            let read = read(len, move |room| holder.read_at(room, bytes.start)).await;
            match read {
                Ok(piece) => return Ok((len, Some(piece))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reader.look_again(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn of_xorb(&mut self, xorb: Arc<Xorb>, range: Range<u64>) -> io::Result<(u64, Option<Bytes>)> {
        loop {
            let wanted = range.start..range.end.min(range.start + PIECE_BYTES);
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
            let read =
                read(len, move |room| read_xorb(&xorb, from, room, |room, at| read_from(&holders, room, at)));
            match read.await {
                Ok(piece) => return Ok((len, Some(piece))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reader.look_again(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads what several holders have together.
fn read_from(holders: &[(Range<u64>, Holder)], mut room: &mut [u8], mut at: u64) -> io::Result<()> {
    while !room.is_empty() {
        let found = holders.iter().find(|(bytes, _)| bytes.contains(&at));
        let (bytes, holder) = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        let take = usize::try_from(bytes.end - at).unwrap_or(usize::MAX).min(room.len());
        let (now, later) = room.split_at_mut(take);
        holder.read_at(now, at)?;
        room = later;
        at += take as u64;
    }
    Ok(())
}

async fn read(
    len: u64,
    fill: impl FnOnce(&mut [u8]) -> io::Result<()> + Send + 'static,
) -> io::Result<Bytes> {
    super::answers::blocking(move || {
        let mut room = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        fill(&mut room)?;
        Ok(room.into())
    })
    .await
}
