//! The writing half of a connection: heads are gathered into one call, a chunk is its head with MSG_MORE and `sendfile` of
//! its range.

use crate::context::Context;
use crate::linkio::{Item, LinkIo, QUEUE_MAX};
use bytes::Bytes;
use rustix::net::SendFlags;
use std::fs::File;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use zest_core::Location;

/// Heads without a body gathered into one write.
const GATHER_MAX: usize = 64;
/// Time in which a peer that is being answered must take at least one byte; after that it is cut off. As long as BEP 3
/// allows a peer to be silent.
const SEND_STALL: Duration = Duration::from_secs(120);
/// Bytes sent before other links get their turn.
const TURN_BYTES: usize = 4 << 20;

/// Sends what is queued until the link closes, then shuts the connection down.
pub(crate) async fn run(context: Rc<Context>, stream: Rc<TcpStream>, io: Rc<LinkIo>) {
    if let Err(error) = write_all(&context, &stream, &io).await {
        tracing::debug!(link = io.id.0, addr = %io.addr, %error, "writing ended");
    }
    io.close();
    let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Both);
}

async fn write_all(context: &Rc<Context>, stream: &TcpStream, io: &Rc<LinkIo>) -> io::Result<()> {
    let mut turn = 0;
    loop {
        if io.queue.borrow().is_empty() {
            if io.closing.get() {
                return Ok(());
            }
            io.work.notified().await;
            continue;
        }
        if io.closing.get() {
            return Ok(());
        }
        match stream.try_io(Interest::WRITABLE, || write_some(context, stream, io)) {
            Ok(sent) => {
                turn += sent;
                io.uploaded.set(io.uploaded.get() + sent as u64);
                context.uploaded(sent as u64);
                if io.queue.borrow().len() <= QUEUE_MAX / 2 {
                    io.drained.notify_one();
                }
                if turn >= TURN_BYTES {
                    turn = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::select! {
                    ready = stream.writable() => ready?,
                    () = closed(io) => return Ok(()),
                    () = tokio::time::sleep(SEND_STALL) => return Err(io::ErrorKind::TimedOut.into()),
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
        io.work.notified().await;
    }
}

/// One system call's worth from the front of the queue.
fn write_some(context: &Context, stream: &TcpStream, io: &LinkIo) -> io::Result<usize> {
    let mut queue = io.queue.borrow_mut();
    let mut parts: Vec<IoSlice<'_>> = Vec::new();
    for item in queue.iter().take(GATHER_MAX) {
        match item {
            Item::Head(head) => parts.push(IoSlice::new(head.as_bytes())),
            Item::Bytes(bytes) => parts.push(IoSlice::new(bytes)),
            Item::File(..) => break,
        }
    }
    if parts.is_empty() {
        let Some(Item::File(place, file)) = queue.front_mut() else { return Ok(0) };
        // It may have waited here for long behind a slow reader: what changed meanwhile must not go out.
        if context.open(place.file).is_none() {
            return Err(io::Error::other("the file changed while it waited to be sent"));
        }
        let sent = send_file(stream, file, place)?;
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
        return Ok(sent);
    }
    let more = queue.len() > parts.len();
    let mut flags = SendFlags::NOSIGNAL;
    #[cfg(target_os = "linux")]
    if more {
        flags |= SendFlags::MORE;
    }
    let _ = more;
    let sent = rustix::net::sendmsg(stream, &parts, &mut rustix::net::SendAncillaryBuffer::default(), flags)?;
    drop(parts);
    let mut left = sent;
    while left > 0 {
        let Some(item) = queue.front_mut() else { break };
        let len = match item {
            Item::Head(head) => head.as_bytes().len(),
            Item::Bytes(bytes) => bytes.len(),
            Item::File(..) => break,
        };
        if left >= len {
            left -= len;
            queue.pop_front();
        } else {
            let rest = match item {
                Item::Head(head) => Item::Bytes(Bytes::copy_from_slice(&head.as_bytes()[left..])),
                Item::Bytes(bytes) => Item::Bytes(bytes.slice(left..)),
                Item::File(..) => break,
            };
            *item = rest;
            left = 0;
        }
    }
    Ok(sent)
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
    Ok(rustix::net::send(stream, &piece[..read], SendFlags::NOSIGNAL)?)
}
