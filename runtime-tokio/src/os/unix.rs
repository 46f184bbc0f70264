//! Unix, with what Linux alone has.

use rustix::io::Errno;
use rustix::net::SendFlags;
use socket2::Socket;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd as _;
use tokio::net::{TcpStream, UdpSocket};

/// Raises the number of files that may be open at once to what the system allows this process; `None` is no limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match limit.current == limit.maximum || setrlimit(Resource::Nofile, more).is_err() {
        true => limit.current,
        false => limit.maximum,
    }
}

// Files.

/// Writes parts of a file that lie one behind the other, as many bytes as the system takes at once.
#[cfg(target_os = "linux")]
pub(super) fn write_parts_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    match rustix::io::pwritev(file, parts, offset) {
        Err(Errno::INTR) => Ok(0),
        written => Ok(written?),
    }
}

/// There is no such call everywhere: none of it.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_parts_at(_: &File, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
    Ok(0)
}

/// Reads more of a file, into memory behind `bytes` that was not touched before; how much it was.
pub(crate) fn read_more_at(file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pread(file, rustix::buffer::spare_capacity(bytes), offset) {
            Err(Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}

// Connections. None of these waits.

/// Reads what has come into these places.
pub(crate) fn read_parts(stream: &TcpStream, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    Ok(rustix::io::readv(stream, into)?)
}

/// A peer that is gone must not end the process: where the flag is not known, the standard library ignores the signal.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// Sends copies, as much as the socket takes; `more` follows at once.
pub(crate) fn send_parts(stream: &TcpStream, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = if more { QUIET | SendFlags::MORE } else { QUIET };
    #[cfg(not(target_os = "linux"))]
    let (flags, _) = (QUIET, more);
    Ok(rustix::net::sendmsg(stream, parts, &mut rustix::net::SendAncillaryBuffer::default(), flags)?)
}

/// Sends a range of a file out of the system's own pages.
#[cfg(target_os = "linux")]
pub(crate) fn send_range(stream: &TcpStream, file: &File, mut offset: u64, len: u32) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), len as usize)?)
}

/// Reads a piece of a file and sends that.
#[cfg(not(target_os = "linux"))]
pub(crate) fn send_range(stream: &TcpStream, file: &File, offset: u64, len: u32) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut piece = vec![0; (len as usize).min(crate::buffers::BUFFER_BYTES)];
    let read = file.read_at(&mut piece, offset)?;
    Ok(rustix::net::send(stream, &piece[..read], QUIET)?)
}

/// Ends it for both sides.
pub(crate) fn shut(stream: &TcpStream) {
    let _already_gone = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
}

/// A connection as memory is lent to it.
pub(crate) fn socket(stream: &TcpStream) -> zest_send::Socket {
    stream.as_raw_fd()
}

// Listening.

/// For a listener and all that it accepts.
#[cfg(target_os = "linux")]
pub(crate) fn set_congestion_control(listener: &std::net::TcpListener, name: &str) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_congestion(listener, name)?)
}

/// Only Linux has a choice.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_congestion_control(_: &std::net::TcpListener, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A restart does not wait for old connections.
pub(crate) fn restart_at_once(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Every program of the machine may have a socket at this address.
pub(crate) fn share_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)
}

// Interfaces.

/// Messages to a group leave by this interface, whether or not a route leads to it.
#[cfg(target_os = "linux")]
pub(crate) fn choose_interface_v4(socket: &UdpSocket, index: u32) -> io::Result<()> {
    let any = std::net::Ipv4Addr::UNSPECIFIED;
    Ok(rustix::net::sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?)
}

/// The route decides.
#[cfg(not(target_os = "linux"))]
pub(crate) fn choose_interface_v4(_: &UdpSocket, _: u32) -> io::Result<()> {
    Ok(())
}

/// Indices of the interfaces that are up: those that can multicast, or the loopback ones.
#[cfg(target_os = "linux")]
pub(crate) fn interfaces(loopback: bool) -> Vec<u32> {
    /// `IFF_UP`, `IFF_LOOPBACK` and `IFF_MULTICAST` of netdevice(7).
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    const MULTICAST: u32 = 0x1000;

    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return vec![0] };
    let number = |text: String| {
        let text = text.trim();
        match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    };
    let mut found: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| {
            let read = |name: &str| number(std::fs::read_to_string(entry.path().join(name)).ok()?);
            let (index, flags) = (read("ifindex")?, read("flags")?);
            let kind = if loopback { LOOPBACK } else { MULTICAST };
            let fits = flags & UP != 0 && flags & kind != 0 && (flags & LOOPBACK != 0) == loopback;
            fits.then_some(index)
        })
        .collect();
    found.sort_unstable();
    found
}

/// 0: the system chooses one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn interfaces(_: bool) -> Vec<u32> {
    vec![0]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn loopback_is_an_interface_of_its_own() {
        let here = super::interfaces(true);
        assert!(!here.is_empty(), "every machine has a loopback interface that is up");
        assert!(super::interfaces(false).iter().all(|index| !here.contains(index)));
    }
}
