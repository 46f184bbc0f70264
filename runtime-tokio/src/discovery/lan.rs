//! The multicast sockets of local service discovery (BEP 14), one per group, on every interface that can.
//!
//! A machine without multicast, without IPv6 or without a network is none of our business: a debug line, and another look a
//! minute later, since networks come and go.

use super::Finder;
use super::config::Reach;
use crate::os;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;
use zest_core::lsd::Group;
use zest_core::lsd::message::READ_BYTES_MAX;

/// Time between two looks for interfaces that came or went: 60 s.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Pause after a socket failed to receive: it must not spin.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);
/// Routers do not pass our messages on: hop limit 1.
const HOPS: u32 = 1;

/// One group's socket.
#[derive(Debug)]
pub(super) struct LanSocket {
    group: Group,
    socket: UdpSocket,
    /// The address messages come from, if the listener has one.
    from: Option<Ipv4Addr>,
    loopback: bool,
    /// Interfaces that have joined.
    joined: RefCell<BTreeSet<u32>>,
    up: Cell<bool>,
}

impl LanSocket {
    /// Opens the socket of a group, if the listener takes connections of its family.
    pub(super) fn open(group: Group, reach: Reach) -> Option<Self> {
        let family = match group {
            Group::V4 => reach.v4.map(IpAddr::V4),
            Group::V6 => reach.v6.map(IpAddr::V6),
        }?;
        let from = match family {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        };
        match bind(group) {
            Ok(socket) => Some(Self {
                group,
                socket,
                from,
                loopback: reach.loopback,
                joined: RefCell::default(),
                up: Cell::new(false),
            }),
            Err(error) => {
                tracing::debug!(?group, %error, "no local service discovery of this family");
                None
            }
        }
    }

    /// Joins on interfaces that are new. Whether the group can be sent to, if that has changed.
    fn join(&self) -> Option<bool> {
        let here = os::interfaces(self.loopback);
        let mut joined = self.joined.borrow_mut();
        joined.retain(|index| here.contains(index));
        for index in here {
            if joined.contains(&index) {
                continue;
            }
            match self.join_on(index) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    tracing::debug!(group = ?self.group, index, %error, "cannot join the group");
                }
                // Joined, now or in a former life of the interface.
                _ => drop(joined.insert(index)),
            }
        }
        let up = !joined.is_empty();
        (self.up.replace(up) != up).then_some(up)
    }

    fn join_on(&self, index: u32) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.socket);
        match (self.group.addr().ip(), self.from) {
            (IpAddr::V4(group), Some(from)) => socket.join_multicast_v4(&group, &from),
            (IpAddr::V4(group), None) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, index),
        }
    }

    /// Sends to the group on every interface that has joined.
    pub(super) fn send(&self, bytes: &[u8]) {
        for index in self.joined.borrow().iter().copied() {
            if let Err(error) = self.send_on(index, bytes) {
                tracing::debug!(group = ?self.group, index, %error, "multicast not sent");
            }
            if self.from.is_some() {
                // The address names the interface.
                break;
            }
        }
    }

    fn send_on(&self, index: u32, bytes: &[u8]) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.socket);
        match (self.group, self.from) {
            (Group::V4, Some(from)) => socket.set_multicast_if_v4(&from)?,
            (Group::V4, None) => os::choose_interface_v4(&self.socket, index)?,
            (Group::V6, _) => socket.set_multicast_if_v6(index)?,
        }
        socket.send_to(bytes, &self.group.addr().into()).map(drop)
    }

    pub(super) fn group(&self) -> Group {
        self.group
    }
}

/// Bound to the group's address, so that nothing else is received. Every BitTorrent client of the machine has one.
fn bind(group: Group) -> io::Result<UdpSocket> {
    let addr: SocketAddr = group.addr();
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    os::share_address(&socket)?;
    match group {
        Group::V4 => socket.set_multicast_ttl_v4(HOPS)?,
        Group::V6 => {
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(HOPS)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Looks for interfaces now and then. Never ends.
pub(super) async fn keep_joined(finder: Rc<Finder>, socket: Rc<LanSocket>) {
    loop {
        if let Some(up) = socket.join() {
            finder.lan_group(socket.group, up);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Hands every message of a group on. Never ends.
pub(super) async fn receive(finder: Rc<Finder>, socket: Rc<LanSocket>) {
    let mut buffer = vec![0; READ_BYTES_MAX + 1];
    loop {
        match socket.socket.recv_from(&mut buffer).await {
            Ok((len, from)) => finder.lan_datagram(socket.group, from, &buffer[..len]),
            Err(error) => {
                tracing::debug!(%error, "cannot receive multicast");
                tokio::time::sleep(RECEIVE_PAUSE).await;
            }
        }
    }
}
