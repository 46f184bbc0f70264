//! The ports on which peers are accepted.

use crate::limits::BACKLOG;
use std::net::SocketAddr;

/// Ports after a taken one that are tried: 8, up to BitTorrent's usual last, 6889.
const NEXT_PORTS: u16 = 8;

/// A listener at this address alone.
pub(super) fn bind(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections; never SO_REUSEPORT, which would let two processes share the port, as on
    // Windows this option does.
    crate::os::restart_at_once(&socket)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds to one of the next ports, or else to any.
pub(super) fn bind_near(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let mut next = (1..=NEXT_PORTS).filter_map(|n| addr.port().checked_add(n));
    let near = next.find_map(|port| bind(SocketAddr::new(addr.ip(), port)).ok());
    near.map_or_else(|| bind(SocketAddr::new(addr.ip(), 0)), Ok)
}
