//! Systems that are no Unix: Windows. Nothing here has run on one. Nothing is sent from the system's own pages or lent, and no
//! interface is chosen.

use socket2::{SockRef, Socket};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use tokio::net::{TcpStream, UdpSocket};
use zest_store::FileExt as _;

/// There is no such limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    None
}

// Files.

/// There is no such call: none of it.
pub(super) fn write_parts_at(_: &File, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
    Ok(0)
}

/// Reads more of a file, behind `bytes`, as much as there is room for; how much it was.
pub(crate) fn read_more_at(file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let before = bytes.len();
    bytes.resize(bytes.capacity(), 0);
    let read = file.read_at(&mut bytes[before..], offset);
    bytes.truncate(before + read.as_ref().copied().unwrap_or_default());
    read
}

// Connections. None of these waits.

/// Reads what has come into these places.
pub(crate) fn read_parts(stream: &TcpStream, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    (&*SockRef::from(stream)).read_vectored(into)
}

/// Sends copies, as much as the socket takes. It is told nothing of what follows.
pub(crate) fn send_parts(stream: &TcpStream, parts: &[IoSlice<'_>], _: bool) -> io::Result<usize> {
    (&*SockRef::from(stream)).write_vectored(parts)
}

/// Reads a piece of a file and sends that.
pub(crate) fn send_range(stream: &TcpStream, file: &File, offset: u64, len: u32) -> io::Result<usize> {
    let mut piece = vec![0; (len as usize).min(crate::buffers::BUFFER_BYTES)];
    let read = file.read_at(&mut piece, offset)?;
    (&*SockRef::from(stream)).write(&piece[..read])
}

/// Ends it for both sides.
pub(crate) fn shut(stream: &TcpStream) {
    let _already_gone = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
}

/// A connection as memory is lent to it: it is not.
pub(crate) fn socket(_: &TcpStream) -> zest_send::Socket {
    0
}

// Listening.

/// There is no choice.
pub(crate) fn set_congestion_control(_: &std::net::TcpListener, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A restart does not wait for old connections anyway; the option would let two processes share the port.
pub(crate) fn restart_at_once(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Every program of the machine may have a socket at this address.
pub(crate) fn share_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

// Interfaces.

/// The route decides.
pub(crate) fn choose_interface_v4(_: &UdpSocket, _: u32) -> io::Result<()> {
    Ok(())
}

/// 0: the system chooses one.
pub(crate) fn interfaces(_: bool) -> Vec<u32> {
    vec![0]
}
