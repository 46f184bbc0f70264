//! The UDP sockets of the DHT and of UDP trackers, one per family, on one port.

use super::Finder;
use super::config::Reach;
use crate::error::EngineError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Longest datagram that is taken: 4,096 bytes, the longest answer of a UDP tracker that is read; the DHT's are shorter.
const DATAGRAM_BYTES_MAX: usize = zest_core::tracker::udp::REPLY_BYTES_MAX;
/// Pause after a socket failed to receive: it must not spin.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// The sockets, those that the machine has.
#[derive(Debug, Default)]
pub(super) struct Udp {
    pub(super) v4: Option<Rc<UdpSocket>>,
    pub(super) v6: Option<Rc<UdpSocket>>,
}

impl Udp {
    /// Opens them on `fixed`, or else on the listener's port, or else on any.
    ///
    /// # Errors
    /// The fixed port is taken.
    pub(super) fn open(reach: Reach, fixed: Option<u16>) -> Result<Self, EngineError> {
        if let Some(port) = fixed {
            return Self::open_on(reach, port).map_err(|source| EngineError::DhtPort { port, source });
        }
        let opened = Self::open_on(reach, reach.port).or_else(|error| {
            tracing::debug!(%error, port = reach.port, "the UDP port is taken; any free one is used");
            Self::open_on(reach, 0)
        });
        Ok(opened.unwrap_or_else(|error| {
            tracing::debug!(%error, "no UDP socket");
            Self::default()
        }))
    }

    /// Both families on one port. That one of them is missing on this machine is no failure, that its port is taken is one.
    fn open_on(reach: Reach, port: u16) -> io::Result<Self> {
        let v4 = open(reach.v4.map(IpAddr::V4), port)?;
        let port = v4.as_ref().and_then(|socket| socket.local_addr().ok()).map_or(port, |addr| addr.port());
        let v6 = open(reach.v6.map(IpAddr::V6), port)?;
        Ok(Self { v4, v6 })
    }

    /// Our UDP port.
    pub(super) fn port(&self) -> Option<u16> {
        let socket = self.v4.as_ref().or(self.v6.as_ref())?;
        socket.local_addr().ok().map(|addr| addr.port())
    }

    /// Sends a datagram; one that cannot be sent is a datagram that is lost.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        // Straight to the system: tokio would refuse the first one, as it has not looked at the socket yet.
        if let Some(socket) = socket
            && let Err(error) = socket2::SockRef::from(&**socket).send_to(bytes, &to.into())
        {
            tracing::trace!(%to, %error, "datagram not sent");
        }
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Rc<UdpSocket>> {
        self.v4.iter().chain(&self.v6)
    }
}

fn open(ip: Option<IpAddr>, port: u16) -> io::Result<Option<Rc<UdpSocket>>> {
    let Some(ip) = ip else { return Ok(None) };
    match bind(SocketAddr::new(ip, port)) {
        Ok(socket) => Ok(Some(Rc::new(socket))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(error) => {
            tracing::debug!(%ip, %error, "no UDP socket of this family");
            Ok(None)
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Hands every datagram of a socket on. Never ends.
pub(super) async fn receive(finder: Rc<Finder>, socket: Rc<UdpSocket>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => finder.datagram(from, &buffer[..len]),
            Err(error) => {
                tracing::debug!(%error, "cannot receive datagrams");
                tokio::time::sleep(RECEIVE_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn here(port: u16) -> Reach {
        Reach { port, v4: Some(Ipv4Addr::LOCALHOST), v6: Some(Ipv6Addr::LOCALHOST), loopback: true }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_if_it_is_fixed_and_passed_over_if_not() {
        let first = Udp::open(here(0), None).unwrap();
        let port = first.port().unwrap();
        let error = Udp::open(here(0), Some(port)).unwrap_err();
        assert!(error.to_string().contains(&format!("UDP port {port}")), "{error}");
        let second = Udp::open(here(port), None).unwrap();
        assert_ne!(second.port(), Some(port));
    }
}
