//! The writing half of a connection: heads and chunks in memory are gathered into one go, the chunks lent to the socket and not
//! copied; a chunk on disk is its head with MSG_MORE and `sendfile` of its range.

use super::outbox::Item;
use super::{LinkIo, QUEUE_MAX};
use crate::context::Context;
use crate::limits::SEND_STALL;
use bytes::Bytes;
use rustix::net::SendFlags;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::TcpStream;
use zest_core::Location;
use zest_core::node::Event;
use zest_hub::lived;
use zest_send::{GATHER_MAX as LENT_MAX, Piece};

/// Heads without a body gathered into one write.
const GATHER_MAX: usize = 64;
/// Bytes sent before other links get their turn.
const TURN_BYTES: usize = 4 << 20;

/// Sends what is queued until the link closes, then shuts the connection down.
pub(super) async fn run(context: Rc<Context>, stream: Rc<TcpStream>, io: Rc<LinkIo>) {
    if let Err(error) = write_all(&context, &stream, &io).await {
        tracing::debug!(link = io.id.0, addr = %io.addr, %error, "writing ended");
    }
    io.close();
    let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Both);
}

/// Bytes that one system call took.
#[derive(Debug, Clone, Copy)]
struct Sent {
    all: usize,
    /// Of these, bytes of bodies.
    payload: usize,
}

async fn write_all(context: &Rc<Context>, stream: &TcpStream, io: &Rc<LinkIo>) -> io::Result<()> {
    let mut turn = 0;
    // Bytes of bodies that the node has not been told of: it is told once a round.
    let mut untold = 0;
    let tell = |untold: &mut u64| {
        if *untold > 0 {
            let bytes = std::mem::take(untold);
            context.event(Event::Sent { link: io.id, bytes });
        }
    };
    loop {
        if io.outbox.is_empty() {
            if io.closing.get() {
                return Ok(());
            }
            tell(&mut untold);
            // Telling it may have brought more to send.
            if io.outbox.queue.borrow().is_empty() {
                io.outbox.work.notified().await;
            }
            continue;
        }
        if io.closing.get() {
            return Ok(());
        }
        match stream.try_io(Interest::WRITABLE, || write_some(context, stream, io)) {
            Ok(sent) => {
                turn += sent.all;
                untold += sent.payload as u64;
                io.uploaded.set(io.uploaded.get() + sent.all as u64);
                context.transport.traffic.sent(sent.all as u64);
                if io.outbox.queue.borrow().len() <= QUEUE_MAX / 2 {
                    io.outbox.drained.notify_one();
                }
                if turn >= TURN_BYTES {
                    turn = 0;
                    tell(&mut untold);
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tell(&mut untold);
                tokio::select! {
                    ready = stream.writable() => ready?,
                    () = closed(io) => return Ok(()),
                    _ = lived::within(SEND_STALL, std::future::pending::<()>()) => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the link is asked to close.
async fn closed(io: &LinkIo) {
    while !io.closing.get() {
        io.outbox.work.notified().await;
    }
}

/// One system call's worth from the front of the queue.
fn write_some(context: &Context, stream: &TcpStream, io: &LinkIo) -> io::Result<Sent> {
    let mut queue = io.outbox.queue.borrow_mut();
    if let Some(Item::Hot { hash, place, sent }) = queue.front()
        && context.disk.hot.cache().get(hash).is_none_or(|bytes| bytes.len() != place.len as usize)
    {
        // It went from memory while it waited.
        let (offset, len) = (place.offset + u64::from(*sent), place.len - sent);
        queue[0] = Item::File(Location { offset, len, ..*place }, None);
    }
    let cache = context.disk.hot.cache();
    let mut parts: Vec<Piece<'_>> = Vec::new();
    let mut chunks = 0;
    for item in queue.iter().take(GATHER_MAX) {
        match item {
            Item::Head(head) => parts.push(Piece::Copied(head.as_bytes())),
            Item::Rest(bytes) | Item::Bytes(bytes) => parts.push(Piece::Copied(bytes)),
            Item::Hot { hash, place, sent } if chunks < LENT_MAX => match cache.get(hash) {
                Some(bytes) if bytes.len() == place.len as usize => {
                    chunks += 1;
                    parts.push(Piece::Lent(bytes.from(*sent as usize)));
                }
                _ => break,
            },
            Item::Hot { .. } | Item::File(..) => break,
        }
    }
    if parts.is_empty() {
        let Some(Item::File(place, file)) = queue.front_mut() else { return Ok(Sent { all: 0, payload: 0 }) };
        // It may have waited here for long behind a slow reader: what changed meanwhile must not go out.
        let Some(file) = file.clone().or_else(|| context.disk.open(place.file)) else {
            return Err(io::Error::other("the file changed while it waited to be sent"));
        };
        let sent = send_file(stream, &file, place)?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        place.offset += sent as u64;
        place.len -= sent as u32;
        if place.len == 0 {
            queue.pop_front();
        }
        return Ok(Sent { all: sent, payload: sent });
    }
    let more = queue.len() > parts.len();
    let sent = match context.disk.hot.lender().send(stream.as_raw_fd(), &parts) {
        Some(sent) => sent?,
        None => send(stream, &parts, more)?,
    };
    drop(parts);
    let (mut left, mut payload) = (sent, 0);
    while left > 0 {
        let Some(item) = queue.front_mut() else { break };
        let len = match item {
            Item::Head(head) => head.as_bytes().len(),
            Item::Rest(bytes) | Item::Bytes(bytes) => bytes.len(),
            Item::Hot { place, sent, .. } => (place.len - *sent) as usize,
            Item::File(..) => break,
        };
        if let Item::Bytes(_) | Item::Hot { .. } = item {
            payload += left.min(len);
        }
        if left >= len {
            left -= len;
            queue.pop_front();
        } else {
            let rest = match item {
                Item::Hot { sent, .. } => {
                    *sent += left as u32;
                    break;
                }
                Item::Head(head) => Item::Rest(Bytes::copy_from_slice(&head.as_bytes()[left..])),
                Item::Rest(bytes) => Item::Rest(bytes.slice(left..)),
                Item::Bytes(bytes) => Item::Bytes(bytes.slice(left..)),
                Item::File(..) => break,
            };
            *item = rest;
            left = 0;
        }
    }
    Ok(Sent { all: sent, payload })
}

/// A peer that is gone must not end the process: where the flag is not known, the standard library ignores the signal.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// Sends copies, as much as the socket takes; `more` follows at once.
fn send(stream: &TcpStream, parts: &[Piece<'_>], more: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = if more { QUIET | SendFlags::MORE } else { QUIET };
    #[cfg(not(target_os = "linux"))]
    let (flags, _) = (QUIET, more);
    let slices: Vec<IoSlice<'_>> = parts.iter().map(Piece::as_slice).collect();
    Ok(rustix::net::sendmsg(stream, &slices, &mut rustix::net::SendAncillaryBuffer::default(), flags)?)
}

#[cfg(target_os = "linux")]
fn send_file(stream: &TcpStream, file: &File, place: &Location) -> io::Result<usize> {
    let mut offset = place.offset;
    Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), place.len as usize)?)
}

#[cfg(not(target_os = "linux"))]
fn send_file(stream: &TcpStream, file: &File, place: &Location) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut piece = vec![0; (place.len as usize).min(crate::buffers::BUFFER_BYTES)];
    let read = file.read_at(&mut piece, place.offset)?;
    Ok(rustix::net::send(stream, &piece[..read], QUIET)?)
}
