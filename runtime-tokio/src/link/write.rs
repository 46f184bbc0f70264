//! The writing half of a connection: heads and chunks in memory are gathered into one go; a chunk on disk is its head, announced as
//! one that more follows, and then its range. How that is sent is the [`Wire`]'s.

use super::wire::Wire;
use super::{LinkIo, QUEUE_MAX};
use crate::context::Context;
use crate::limits::SEND_STALL;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::FileId;
use zest_core::node::Event;
use zest_hub::lived;
use zest_send::{Piece, Span};

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
    payload: u64,
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
            if io.outbox.is_empty() {
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
                untold += sent.payload;
                io.uploaded.set(io.uploaded.get() + sent.all as u64);
                context.transport.traffic.sent(sent.all as u64);
                if io.outbox.len() <= QUEUE_MAX / 2 {
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
    let sent = match queue.front_range() {
        // Its head is under way.
        Some((span, open)) => send_range(context, wire, span, open)?,
        None => {
            let cache = context.disk.hot.cache();
            let mut pieces: Vec<Piece<'_>> = Vec::new();
            let more = queue.gather(&cache, &mut pieces);
            wire.send(&mut context.disk.hot.lender(), &pieces, more)?
        }
    };
    Ok(Sent { all: sent, payload: queue.sent(sent) })
}

/// Sends from a file what is not in memory.
fn send_range<W: Wire>(
    context: &Context,
    wire: &W,
    span: Span,
    open: Option<&Arc<File>>,
) -> io::Result<usize> {
    // It may have waited here for long behind a slow reader: what changed meanwhile must not go out.
    let Some(file) = open.cloned().or_else(|| context.disk.open(FileId(span.file.0))) else {
        return Err(io::Error::other("the file changed while it waited to be sent"));
    };
    match wire.send_range(&file, span.offset, span.len)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent")),
        sent => Ok(sent),
    }
}
