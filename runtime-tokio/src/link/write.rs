//! The writing half of a connection: heads and chunks in memory are gathered into one go; a chunk on disk is its head, announced as
//! one that more follows, and then its range. How that is sent is the [`Wire`]'s.

use super::outbox::Item;
use super::wire::Wire;
use super::{LinkIo, QUEUE_MAX};
use crate::context::Context;
use crate::limits::SEND_STALL;
use bytes::Bytes;
use std::io;
use std::rc::Rc;
use zest_core::Location;
use zest_core::node::Event;
use zest_hub::lived;
use zest_send::{GATHER_MAX as LENT_MAX, Piece};

/// Heads without a body gathered into one write.
const GATHER_MAX: usize = 64;
/// Bytes sent before other links get their turn.
const TURN_BYTES: usize = 4 << 20;

/// Sends what is queued until the link closes, then shuts the connection down.
pub(super) async fn run<W: Wire>(context: Rc<Context>, wire: Rc<W>, io: Rc<LinkIo>) {
    if let Err(error) = write_all(&context, &*wire, &io).await {
        tracing::debug!(link = io.id.0, addr = %io.addr, %error, "writing ended");
    }
    io.close();
    wire.close();
}

/// Bytes that one system call took.
#[derive(Debug, Clone, Copy)]
struct Sent {
    all: usize,
    /// Of these, bytes of bodies.
    payload: usize,
}

async fn write_all<W: Wire>(context: &Rc<Context>, wire: &W, io: &Rc<LinkIo>) -> io::Result<()> {
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
        match write_some(context, wire, io) {
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
                    ready = wire.writable() => ready?,
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
fn write_some<W: Wire>(context: &Context, wire: &W, io: &LinkIo) -> io::Result<Sent> {
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
        let sent = wire.send_range(&file, place.offset, place.len)?;
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
    let sent = wire.send(&mut context.disk.hot.lender(), &parts, more)?;
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
