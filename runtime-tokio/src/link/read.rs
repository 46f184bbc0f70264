//! The reading half of a connection, and what its link machine says to do.
//!
//! Reading: `readv` into [rest of the payload][next head][next payload …], as far as answers can be foreseen, so that a
//! payload goes from the socket straight to the first byte of its page-aligned buffer.

use super::wire::Wire;
use super::{LinkIo, QUEUE_MAX};
use crate::buffers::{BUFFER_BYTES, Buffer};
use crate::context::Context;
use crate::file_kind::FileKind;
use crate::peer_range::{self, PeerRange};
use crate::traffic::Way;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use zest_core::link::{self, Body, Head, Message, Outgoing, PayloadKind, PeerFault};
use zest_core::node::{BUDGET_SPENT, Direction, Event};
use zest_core::{Location, finder};
use zest_send::Span;
use zest_xet::Hash;

/// Payloads foreseen in one `readv`.
const AHEAD_MAX: usize = 4;

/// The payload that is being received.
enum Payload {
    /// Into a buffer, whole. `preloaded`: its first bytes may already lie there, read ahead of their announcement.
    Whole { kind: PayloadKind, buf: Buffer, preloaded: bool, filled: usize, len: usize },
    /// A xorb range, handed on as it comes.
    Stream { left: usize, to: mpsc::Sender<Bytes> },
    /// Bytes nobody waits for any more.
    Skip { left: usize },
}

/// Runs a connection to its end.
pub(super) async fn run<W: Wire>(context: Rc<Context>, wire: W, io: Rc<LinkIo>) {
    io.drain(&context, &[], &mut None, &mut None);
    let wire = Rc::new(wire);
    let writer = tokio::task::spawn_local(super::write::run(context.clone(), wire.clone(), io.clone()));
    let end = read_loop(&context, &*wire, &io).await;
    io.close();
    let _ = writer.await;
    if let Err(error) = end {
        tracing::debug!(link = io.id.0, addr = %io.addr, %error, "link ended");
    }
    io.link.borrow_mut().handle(context.clock.now(), link::Event::Closed);
}

impl LinkIo {
    /// The node's word to this link.
    pub(crate) fn send(self: &Rc<Self>, context: &Rc<Context>, message: Outgoing) {
        self.link.borrow_mut().handle(context.clock.now(), link::Event::Send(message));
        // Answers the link gives itself (NOT_FOUND without the extension) come out here; no payload can.
        self.drain(context, &[], &mut None, &mut None);
    }

    /// Takes the link's actions. `input` is the slice of the last `Received`; `ready` is a buffer in which the first
    /// payload bytes may already lie.
    fn drain(
        self: &Rc<Self>,
        context: &Rc<Context>,
        input: &[u8],
        payload: &mut Option<Payload>,
        ready: &mut Option<Buffer>,
    ) {
        if self.draining.replace(true) {
            return;
        }
        let mut streams: Vec<(mpsc::Sender<Bytes>, Bytes)> = Vec::new();
        loop {
            let Some(action) = self.link.borrow_mut().poll_action() else { break };
            match action {
                link::Action::Transmit { head, body, chunk } => self.enqueue(context, head, body, chunk),
                link::Action::Established { peer_id, .. } => {
                    self.established.set(Some(peer_id));
                    context.transport.shook_hands(self.id);
                    let (link, addr, direction) = (self.id, self.addr, self.direction);
                    context.pulls.figures.linked(addr);
                    if let Some(finder) = context.finder.get() {
                        finder.linked(link, addr, direction, peer_id);
                    }
                    context.event(Event::LinkUp { link, addr, direction, peer_id });
                }
                link::Action::Message(message) => {
                    if matches!(message, Message::Error { code: BUDGET_SPENT, .. }) {
                        context.pulls.figures.spent();
                    }
                    if finder::concerns(&message)
                        && let Some(finder) = context.finder.get()
                    {
                        finder.heard(self.id, &message);
                    }
                    context.event(Event::Message { link: self.id, message });
                }
                link::Action::PayloadStart { req, kind, len } => {
                    let len = len as usize;
                    *payload = Some(match kind {
                        PayloadKind::XorbRange { start } => {
                            let range = PeerRange { link: self.id, req, start, len: len as u32 };
                            match peer_range::begin(context, range) {
                                Some(to) => Payload::Stream { left: len, to },
                                None => Payload::Skip { left: len },
                            }
                        }
                        PayloadKind::Chunk | PayloadKind::ManifestPart { .. } | PayloadKind::Plain => {
                            let preloaded = len <= BUFFER_BYTES && ready.is_some();
                            let buf = if preloaded { ready.take() } else { None };
                            let buf = buf.unwrap_or_else(|| context.transport.buffer(len));
                            Payload::Whole { kind, buf, preloaded, filled: 0, len }
                        }
                    });
                }
                link::Action::PayloadBytes { at, len } => {
                    let bytes = &input[at as usize..(at + len) as usize];
                    match payload {
                        Some(Payload::Whole { buf, filled, preloaded, len, .. }) => {
                            if std::mem::take(preloaded) {
                                // Its beginning came with the head after all: what was read ahead comes later.
                                *ready = Some(std::mem::replace(buf, context.transport.buffer(*len)));
                            }
                            buf.room()[*filled..*filled + bytes.len()].copy_from_slice(bytes);
                            *filled += bytes.len();
                        }
                        Some(Payload::Stream { left, to }) => {
                            *left -= bytes.len();
                            streams.push((to.clone(), Bytes::copy_from_slice(bytes)));
                        }
                        Some(Payload::Skip { left }) => *left -= bytes.len(),
                        None => debug_assert!(false, "payload bytes follow a payload's start"),
                    }
                }
                link::Action::PayloadEnd { req } => match payload.take() {
                    Some(Payload::Whole { kind, mut buf, len, .. }) => {
                        buf.set_len(len);
                        self.downloaded.set(self.downloaded.get() + len as u64);
                        let buf = context.held.keep(buf);
                        context.event(Event::Payload { link: self.id, req, kind, buf, len: len as u32 });
                    }
                    // A xorb range in answer to something else: as good as no answer.
                    Some(Payload::Skip { .. }) => {
                        context.event(Event::Message { link: self.id, message: Message::NotFound { req } });
                    }
                    Some(Payload::Stream { .. }) | None => {}
                },
                link::Action::Close { why } => {
                    if why == PeerFault::SelfConnection && self.direction == Direction::Inbound {
                        context.transport.met_itself(self.addr);
                    }
                    self.fault.set(Some(why));
                    self.close();
                }
            }
        }
        self.draining.set(false);
        for (to, bytes) in streams {
            // Heads of 16 KiB at most lie outside the direct path; the channel has room for far more of them.
            let _ = to.try_send(bytes);
        }
    }

    /// Queues a head and its body. A body that is gone ends the link: its frame cannot be honoured.
    fn enqueue(&self, context: &Context, head: Head, body: Option<Body>, chunk: Option<Hash>) {
        match body {
            None => self.outbox.queue.borrow_mut().push(head),
            Some(Body::File(place)) => {
                let Some(open) = open_now(context, place, chunk) else { return self.close() };
                let file = zest_store::FileId(place.file.0);
                let span = Span { file, offset: place.offset, len: place.len, hash: chunk };
                self.outbox.queue.borrow_mut().push_range(head, span, open);
            }
            Some(Body::Buf { id, offset, len }) => {
                let Some(bytes) = context.held.bytes(id, offset, len) else { return self.close() };
                self.outbox.queue.borrow_mut().push_bytes(head, bytes);
            }
        }
        self.outbox.work.notify_one();
    }
}

/// The file of a range, if it has to be kept open until the range is sent: one of a file under way that is not in memory. `None` if that
/// is gone.
fn open_now(context: &Context, place: Location, chunk: Option<Hash>) -> Option<Option<Arc<File>>> {
    if let Some(hash) = chunk {
        if context.disk.hot.cache().contains(&hash) {
            return Some(None);
        }
        context.disk.missed(hash, place);
    }
    // It was looked at when it was located, and will be when it is sent.
    if FileKind::of(place.file).is_partial() { context.disk.open(place.file).map(Some) } else { Some(None) }
}

async fn read_loop<W: Wire>(context: &Rc<Context>, wire: &W, io: &Rc<LinkIo>) -> io::Result<()> {
    let mut payload: Option<Payload> = None;
    loop {
        // A writer that cannot keep up stops the intake: requests wait in the socket, not in memory.
        while io.outbox.len() > QUEUE_MAX && !io.closing.get() {
            io.outbox.drained.notified().await;
        }
        if io.closing.get() {
            return Ok(());
        }
        // One that is held does not even hear that more came: it would be told again and again.
        if let Some(until) = io.held.take().filter(|until| *until > context.clock.now()) {
            tokio::select! {
                () = tokio::time::sleep_until(context.clock.to_tokio(until)) => {}
                () = io.outbox.drained.notified() => io.held.set(Some(until)),
            }
            continue;
        }
        let deadline = io.link.borrow().poll_timeout().map(|(at, _)| context.clock.to_tokio(at));
        let ready = async {
            tokio::select! {
                ready = wire.readable() => ready.map(|()| true),
                () = io.outbox.drained.notified() => Ok(false),
            }
        };
        let readable = match deadline {
            Some(at) => match tokio::time::timeout_at(at, ready).await {
                Ok(ready) => ready?,
                Err(_) => {
                    io.link.borrow_mut().handle(context.clock.now(), link::Event::Timer);
                    io.drain(context, &[], &mut payload, &mut None);
                    continue;
                }
            },
            None => ready.await?,
        };
        if !readable {
            continue;
        }
        let way = context.transport.traffic.way_of(io.addr);
        // Where it can be reached is measured; the port of one that came says nothing.
        if way == Way::Line && io.direction == Direction::Outbound {
            context.transport.traffic.peer_at(io.addr);
        }
        // With a cap on what is received, only so much is read at once, and only when it is this link's turn.
        let room = context.transport.traffic.turn(way).await;
        let done = match &mut payload {
            Some(Payload::Stream { left, to }) => {
                let to = to.clone();
                let mut piece = vec![0; (*left).clamp(1, BUFFER_BYTES.min(room))];
                match wire.read(&mut [IoSliceMut::new(&mut piece)]) {
                    Ok(0) => return Ok(()),
                    Ok(read) => {
                        context.transport.traffic.took(read, way);
                        *left -= read;
                        piece.truncate(read);
                        // Back-pressure: the decoder's pace is the reader's pace. If it has given up, the rest is skipped.
                        let _ = to.send(Bytes::from(piece)).await;
                        Some(read)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        if let Some(bytes) = done {
            io.downloaded.set(io.downloaded.get() + bytes as u64);
            io.link
                .borrow_mut()
                .handle(context.clock.now(), link::Event::PayloadRead { bytes: bytes as u32 });
            io.drain(context, &[], &mut payload, &mut None);
            continue;
        }
        if !read_once(context, wire, io, &mut payload, (way, room)).await? {
            return Ok(());
        }
    }
}

/// One `readv` of at most `most` bytes into the foreseen places; false at the end of the stream.
async fn read_once<W: Wire>(
    context: &Rc<Context>,
    wire: &W,
    io: &Rc<LinkIo>,
    payload: &mut Option<Payload>,
    (way, most): (Way, usize),
) -> io::Result<bool> {
    let expect = io.link.borrow().expect();
    let rest = expect.payload.map_or(0, |(_, left)| left as usize);
    let chunks: Vec<(usize, usize)> = (io.link.borrow().expect_chunks().take(AHEAD_MAX))
        .map(|(head, len)| ((head as usize).min(HEAD_ROOM), len as usize))
        .collect();
    let mut ahead: Vec<Buffer> = Vec::with_capacity(chunks.len());
    for _ in &chunks {
        match context.transport.pool.try_take() {
            Some(buf) => ahead.push(buf),
            None if ahead.is_empty() && rest == 0 => {
                // What it sends is left lying for as long as the workers are behind: it is not silent meanwhile.
                let link = io.id;
                context.event(Event::Intake { link, open: false });
                let buf = context.transport.pool.take().await;
                context.event(Event::Intake { link, open: true });
                ahead.push(buf);
            }
            None => break,
        }
    }
    let mut head = context.transport.heads();
    // Small heads between foreseen payloads; all the room where nothing is foreseen.
    let mut skipped = Vec::new();
    let mut heads: Vec<[u8; HEAD_ROOM]> = vec![[0; HEAD_ROOM]; ahead.len()];
    let read = {
        let mut parts: Vec<IoSliceMut<'_>> = Vec::with_capacity(2 + 2 * AHEAD_MAX);
        let mut room = most;
        match payload {
            Some(Payload::Whole { buf, filled, len, .. }) if rest > 0 => {
                add_part(&mut parts, &mut buf.room()[*filled..*len], &mut room);
            }
            _ if rest > 0 => {
                skipped.resize(rest.min(BUFFER_BYTES), 0);
                add_part(&mut parts, &mut skipped, &mut room);
            }
            _ => {}
        }
        let whole_rest = rest == 0 || parts[0].len() == rest;
        if whole_rest && ahead.is_empty() {
            add_part(&mut parts, &mut head, &mut room);
        } else if whole_rest {
            for ((buf, &(head, len)), place) in ahead.iter_mut().zip(&chunks).zip(&mut heads) {
                add_part(&mut parts, &mut place[..head], &mut room);
                add_part(&mut parts, &mut buf.room()[..len], &mut room);
            }
        }
        wire.read(&mut parts)
    };
    let mut left = match read {
        Ok(0) => return Ok(false),
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error),
    };
    context.transport.traffic.took(left, way);
    let now = context.clock.now();
    if rest > 0 {
        let room = if skipped.is_empty() { rest } else { skipped.len() };
        let bytes = left.min(room);
        left -= bytes;
        direct(context, io, payload, bytes);
    }
    if ahead.is_empty() {
        if left > 0 {
            io.link.borrow_mut().handle(now, link::Event::Received(&head[..left]));
            io.drain(context, &head[..left], payload, &mut None);
        }
        return Ok(true);
    }
    let mut foreseen = true;
    for (n, (buf, (head, len))) in ahead.into_iter().zip(chunks).enumerate() {
        let bytes = left.min(head);
        if bytes == 0 {
            break;
        }
        left -= bytes;
        let mut ready = Some(buf);
        {
            let part = &heads[n][..bytes];
            // The buffer is offered to the payload only while all before it came as foreseen.
            let mut offer = if foreseen { ready.take() } else { None };
            io.link.borrow_mut().handle(now, link::Event::Received(part));
            io.drain(context, part, payload, &mut offer);
            if let Some(unused) = offer {
                ready = Some(unused);
            }
        }
        let bytes = left.min(len);
        left -= bytes;
        if bytes == 0 {
            continue;
        }
        match (payload.as_mut(), ready) {
            (Some(Payload::Whole { preloaded, len: wanted, .. }), None) if *preloaded => {
                *preloaded = false;
                // It lies where it belongs already. A shorter payload leaves bytes of the next frame behind it.
                let own = bytes.min(*wanted);
                let behind = (own < bytes).then(|| match payload {
                    Some(Payload::Whole { buf, .. }) => buf.room()[own..bytes].to_vec(),
                    _ => Vec::new(),
                });
                direct(context, io, payload, own);
                if let Some(behind) = behind {
                    foreseen = false;
                    io.link.borrow_mut().handle(now, link::Event::Received(&behind));
                    io.drain(context, &behind, payload, &mut None);
                }
            }
            (_, Some(mut other)) => {
                foreseen = false;
                let part = &other.room()[..bytes];
                io.link.borrow_mut().handle(now, link::Event::Received(part));
                io.drain(context, part, payload, &mut None);
            }
            (_, None) => return Err(io::Error::other("a buffer was neither the payload's nor ours")),
        }
        if io.closing.get() {
            return Ok(true);
        }
    }
    Ok(true)
}

/// Adds a place to read to, or as much of it as there is room for.
fn add_part<'a>(parts: &mut Vec<IoSliceMut<'a>>, place: &'a mut [u8], room: &mut usize) {
    let len = place.len().min(*room);
    if len > 0 {
        *room -= len;
        parts.push(IoSliceMut::new(&mut place[..len]));
    }
}

/// Room for the head of any chunk.
const HEAD_ROOM: usize = 64;

/// Payload bytes that were read straight to where they belong.
fn direct(context: &Rc<Context>, io: &Rc<LinkIo>, payload: &mut Option<Payload>, bytes: usize) {
    match payload {
        Some(Payload::Whole { filled, .. }) => *filled += bytes,
        Some(Payload::Stream { left, .. } | Payload::Skip { left }) => *left -= bytes,
        None => {}
    }
    io.link.borrow_mut().handle(context.clock.now(), link::Event::PayloadRead { bytes: bytes as u32 });
    io.drain(context, &[], payload, &mut None);
}
