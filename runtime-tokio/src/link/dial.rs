//! Connections from their first packet to their last: dialling, and what is told when one ends.

use super::LinkIo;
use crate::context::Context;
use crate::figures::OWN_ADDRESS;
use crate::limits::DIAL;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use zest_core::InfoHash;
use zest_core::link::{self, Link, PeerFault, Role, Severity};
use zest_core::node::{Direction, Event};

/// Silence of a dial after which another one begins beside it: 2 s.
const DIAL_BESIDE: std::time::Duration = std::time::Duration::from_secs(2);

/// Registers a connection and runs it.
pub(crate) async fn run(
    context: Rc<Context>,
    stream: TcpStream,
    addr: SocketAddr,
    direction: Direction,
    role: Role,
) {
    let transport = &context.transport;
    let id = transport.number();
    let config = link::Config { role, our_id: transport.peer_id, listen_port: transport.listen_port };
    let mut link = Link::new(context.clock.now(), config);
    let hub = context.vicinity.hub_for(addr, direction, |news| context.event(news));
    if let Some(hub) = hub {
        link.name_hub(hub);
    }
    link.give_plain();
    let io = LinkIo::new(id, addr, direction, link);
    transport.add(io.clone());
    if direction == Direction::Inbound {
        transport.came(id, addr.ip());
    }
    let _ = stream.set_nodelay(true);
    let from = stream.local_addr();
    super::read::run(context.clone(), stream, io.clone()).await;
    // Who only repeats what we say has our peer id as well, but then nobody came to us.
    let to_itself = direction == Direction::Outbound && from.is_ok_and(|from| transport.was_itself(from));
    ended(&context, &io, io.fault.take(), to_itself);
}

/// A connection has ended.
fn ended(context: &Rc<Context>, io: &LinkIo, fault: Option<PeerFault>, to_itself: bool) {
    if let Some(fault) = &fault {
        if fault.severity() == Severity::Fatal {
            tracing::warn!(%fault, link = io.id.0, "peer broke the protocol");
        } else {
            tracing::debug!(%fault, link = io.id.0, "link closed");
        }
    }
    context.transport.remove(io);
    if let Some(finder) = context.finder.get() {
        finder.parted(io.id);
    }
    if io.is_established() {
        context.event(Event::LinkDown { link: io.id, fault });
    } else if let Some(addr) = io.dialled() {
        if to_itself {
            if let Some(finder) = context.finder.get() {
                finder.own(addr);
            }
            context.pulls.figures.unreachable(addr, OWN_ADDRESS);
            context.event(Event::OwnAddress { addr });
        } else {
            let why = match fault {
                Some(PeerFault::SelfConnection) => "what answers there only repeats what it is told",
                _ => "what answers there does not speak as a peer",
            };
            context.pulls.figures.unreachable(addr, why);
            context.event(Event::DialFailed { addr });
        }
    }
}

/// A connection that hears nothing for a while is let run, and another one tried beside it: one that was begun while the line
/// was out may hear of its return much later than a new one.
async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let mut tries = FuturesUnordered::new();
    tries.push(TcpStream::connect(addr));
    loop {
        tokio::select! {
            Some(outcome) = tries.next() => match outcome {
                Err(_) if !tries.is_empty() => {}
                outcome => return outcome,
            },
            () = tokio::time::sleep(DIAL_BESIDE) => tries.push(TcpStream::connect(addr)),
        }
    }
}

/// Connects to a peer and runs the connection.
pub(crate) async fn dial(context: Rc<Context>, addr: SocketAddr, info_hash: InfoHash) {
    match zest_hub::lived::within(DIAL, connect(addr)).await {
        Some(Ok(stream)) => {
            run(context, stream, addr, Direction::Outbound, Role::Dial { info_hash }).await;
        }
        Some(Err(error)) => {
            tracing::debug!(%addr, %error, "cannot dial");
            context.pulls.figures.unreachable(addr, &error.to_string());
            context.event(Event::DialFailed { addr });
        }
        None => {
            tracing::debug!(%addr, "dial timed out");
            context.pulls.figures.unreachable(addr, "it does not answer");
            context.event(Event::DialFailed { addr });
        }
    }
}
