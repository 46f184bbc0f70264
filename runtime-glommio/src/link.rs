//! One TCP connection: its link machine and its queue, read and written by one task.

use crate::core::Core;
use crate::disk::{self, Staged};
pub(crate) use crate::limits::SEND_STALL;
use crate::limits::{INTAKE_MAX, PARK_BYTES, XORBS_BELOW};
use crate::stats::add;
use futures_lite::io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::TcpStream;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, sendmsg};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use zest_core::link::{self, Head, Link, PeerFault};
use zest_core::{Duration, Instant, LinkId};
use zest_send::{GATHER_MAX, Part, Piece, Read, SendQueue, Span};
use zest_xet::Hash;

/// Bytes sent before other links get their turn: 4 MiB.
const TURN_BYTES: usize = 4 << 20;

/// A xorb range that waits to be looked up: request, xorb, first chunk, one past the last.
pub(crate) type XorbAsk = (zest_core::ReqId, Hash, u32, u32);

/// A connection as the rest of its core sees it.
pub(crate) struct LinkIo {
    pub(crate) id: LinkId,
    pub(crate) addr: SocketAddr,
    pub(crate) link: RefCell<Link>,
    queue: RefCell<SendQueue<Head, Staged>>,
    waker: RefCell<Option<Waker>>,
    /// Its task is having a turn, and looks at everything again before it waits.
    turning: Cell<bool>,
    closing: Cell<bool>,
    pub(crate) established: Cell<bool>,
    pub(crate) fault: Cell<Option<PeerFault>>,
    /// The other cores were told where its peer listens.
    pub(crate) known_elsewhere: Cell<bool>,
    /// Look-ups that wait for a file to be opened.
    pub(crate) lookups: Cell<usize>,
    pub(crate) xorbs: RefCell<VecDeque<XorbAsk>>,
    pub(crate) xorb_asked: Cell<bool>,
    /// It waits for room in the budget.
    pub(crate) starved: Cell<bool>,
    /// Nothing is read before then.
    pub(crate) held: Cell<Option<Instant>>,
    /// The peer will say nothing more; it still gets what it asked for.
    ended: Cell<bool>,
    /// Since when the socket takes nothing.
    blocked: Cell<Option<Instant>>,
}

impl LinkIo {
    pub(crate) fn new(id: LinkId, addr: SocketAddr, link: Link) -> Rc<Self> {
        Rc::new(Self {
            id,
            addr,
            link: RefCell::new(link),
            queue: RefCell::default(),
            waker: RefCell::default(),
            turning: Cell::new(false),
            closing: Cell::new(false),
            established: Cell::new(false),
            fault: Cell::new(None),
            known_elsewhere: Cell::new(false),
            lookups: Cell::new(0),
            xorbs: RefCell::default(),
            xorb_asked: Cell::new(false),
            starved: Cell::new(false),
            held: Cell::new(None),
            ended: Cell::new(false),
            blocked: Cell::new(None),
        })
    }

    /// Gives its task a turn.
    pub(crate) fn wake(&self) {
        if self.turning.get() {
            return;
        }
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks its task to end.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    /// Whether the remote has not said who it is.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.established.get() && !self.closing.get()
    }

    pub(crate) fn push(&self, head: Head, body: Option<Span>) {
        let mut queue = self.queue.borrow_mut();
        match body {
            None => queue.push(head),
            Some(span) => queue.push_range(head, span, None),
        }
    }

    pub(crate) fn push_bytes(&self, head: Head, bytes: Staged) {
        self.queue.borrow_mut().push_bytes(head, bytes);
    }

    /// Whether nothing is left to answer.
    pub(crate) fn is_idle(&self) -> bool {
        let looking = self.lookups.get() > 0 || self.xorb_asked.get() || !self.xorbs.borrow().is_empty();
        self.queue.borrow().is_empty() && !looking
    }

    pub(crate) fn next_read(&self, core: &Core) -> Option<Read> {
        self.queue.borrow_mut().next_read(&core.cache.borrow())
    }

    /// Whether there is anything to read; nothing is begun.
    pub(crate) fn needs_reads(&self, core: &Core) -> bool {
        let mut queue = self.queue.borrow_mut();
        let read = queue.next_read(&core.cache.borrow());
        read.inspect(|read| queue.put_off(read)).is_some()
    }

    pub(crate) fn put_off(&self, read: &Read) {
        self.queue.borrow_mut().put_off(read);
    }

    pub(crate) fn arrived(&self, part: &Part, bytes: Staged, start: usize) {
        self.queue.borrow_mut().arrived(part, bytes, start);
    }

    /// Lets go of what was read for it, if its socket has been full for `longer` or if it waits for room itself.
    pub(crate) fn unstage(&self, now: Instant, longer: Duration) {
        let blocked = self.blocked.get().is_some_and(|since| now.since(since) >= longer);
        if blocked || self.starved.get() {
            self.queue.borrow_mut().unstage();
        }
    }

    /// What is due by the clock: the link's deadlines, a reader that does not read, a shutdown.
    pub(crate) fn tick(self: &Rc<Self>, core: &Rc<Core>, now: Instant) {
        let due = self.link.borrow().poll_timeout().is_some_and(|(at, _)| at <= now);
        if due {
            self.link.borrow_mut().handle(now, link::Event::Timer);
            core.drain(self);
        }
        if self.held.get().is_some_and(|until| until <= now) {
            self.held.set(None);
            self.wake();
        }
        if self.blocked.get().is_some_and(|since| now.since(since) >= SEND_STALL) {
            tracing::debug!(link = self.id.0, addr = %self.addr, "a peer takes nothing of what it asked for");
            self.close();
        }
    }

    /// Everything that can be done without waiting. Ready when the connection is over.
    fn turn(
        self: &Rc<Self>,
        core: &Rc<Core>,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let known = self.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.waker.replace(Some(cx.waker().clone()));
        }
        self.starved.set(false);
        let mut turn = 0;
        loop {
            if self.closing.get() || ((core.stopping.get() || self.ended.get()) && self.is_idle()) {
                return Poll::Ready(Ok(()));
            }
            let sent = self.write(core, stream, cx)?;
            let heard = self.read(core, stream, cx)?;
            turn += sent;
            if sent == 0 && !heard {
                let over = self.closing.get() || (self.ended.get() && self.is_idle());
                return if over { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Takes in what the peer says, unless there is enough to do. True if something came.
    fn read(
        self: &Rc<Self>,
        core: &Rc<Core>,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        let waiting = self.queue.borrow().len() + self.lookups.get() + self.xorbs.borrow().len();
        if waiting >= INTAKE_MAX || self.held.get().is_some() || core.stopping.get() || self.ended.get() {
            return Ok(false);
        }
        let mut input = core.input.borrow_mut();
        let read = match Pin::new(stream).poll_read(cx, &mut input) {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read?,
        };
        if read == 0 {
            self.ended.set(true);
            return Ok(false);
        }
        self.link.borrow_mut().handle(core.now(), link::Event::Received(&input[..read]));
        drop(input);
        core.drain(self);
        Ok(true)
    }

    /// Sends what is ready, in one call; returns the bytes taken.
    fn write(
        self: &Rc<Self>,
        core: &Rc<Core>,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> io::Result<usize> {
        if self.queue.borrow().is_empty() {
            self.next_xorb(core);
            return Ok(0);
        }
        if self.blocked.get().is_none() {
            disk::read_ahead(core, self, cx.waker());
        }
        let now = core.now();
        let sent = {
            let queue = self.queue.borrow();
            let cache = core.cache.borrow();
            let mut pieces: Vec<Piece<'_>> = Vec::with_capacity(2 * GATHER_MAX);
            // What follows may have to be read first: the socket is told nothing of it.
            let _more = queue.gather(&cache, &mut pieces);
            let Some(first) = pieces.first() else {
                drop(pieces);
                drop((queue, cache));
                // The cache may have let go of what was counted on.
                self.queue.borrow_mut().look_again();
                disk::read_ahead(core, self, cx.waker());
                return Ok(0);
            };
            let outcome = match self.blocked.get() {
                None => send(core, stream, &pieces),
                Some(_) => Err(io::ErrorKind::WouldBlock.into()),
            };
            match outcome {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // glommio has no wait for room; a write of it waits, and then sends.
                    let slice = first.as_slice();
                    match Pin::new(stream).poll_write(cx, &slice[..slice.len().min(PARK_BYTES)]) {
                        Poll::Ready(sent) => sent?,
                        Poll::Pending => {
                            if self.blocked.get().is_none() {
                                self.blocked.set(Some(now));
                            }
                            return Ok(0);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        };
        self.blocked.set(None);
        add(&core.stats.uploaded, sent as u64);
        let payload = self.queue.borrow_mut().sent(sent);
        core.sent(self.id, payload);
        self.next_xorb(core);
        Ok(sent)
    }

    /// Has the next xorb range looked up, if the queue has room for it.
    pub(crate) fn next_xorb(&self, core: &Core) {
        if self.xorb_asked.get() || self.queue.borrow().len() > XORBS_BELOW {
            return;
        }
        if let Some(ask) = self.xorbs.borrow_mut().pop_front() {
            self.xorb_asked.set(true);
            core.ask_xorb(self.id, ask);
        }
    }
}

/// Sends what the socket takes in one go: chunks in memory are lent to it, everything else is copied.
fn send(core: &Core, stream: &TcpStream, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let socket = stream.as_raw_fd();
    if let Some(outcome) = core.lender.borrow_mut().send(socket, pieces) {
        return outcome;
    }
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(Piece::as_slice).collect();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket, &slices, &[], flags, None)?)
}

/// Runs a connection to its end.
pub(crate) async fn run(core: Rc<Core>, mut stream: TcpStream, io: Rc<LinkIo>) {
    let _ = stream.set_nodelay(true);
    // glommio waits for readiness before each call, so for it nothing changes; lending would wait without.
    let nonblocking = fcntl(stream.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    if let Err(error) = nonblocking {
        tracing::debug!(link = io.id.0, %error, "a socket that waits cannot be served");
        io.close();
    }
    core.drain(&io);
    let end = poll_fn(|cx| {
        io.turning.set(true);
        let end = io.turn(&core, &mut stream, cx);
        io.turning.set(false);
        end
    })
    .await;
    if let Err(error) = end {
        tracing::debug!(link = io.id.0, addr = %io.addr, %error, "link ended");
    }
    io.closing.set(true);
    io.waker.replace(None);
    io.queue.borrow_mut().clear();
    io.link.borrow_mut().handle(core.now(), link::Event::Closed);
    let _already_closed = stream.shutdown(Shutdown::Both).await;
    drop(stream);
    core.link_ended(&io);
}
