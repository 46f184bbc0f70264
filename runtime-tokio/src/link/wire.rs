//! What the byte path knows of a connection. Whatever carries bytes in order can stand behind it: TCP is here; a stream that is encrypted, or
//! runs over UDP, would be another one, of which links, the node and both halves of a connection know nothing.
//!
//! Both halves are compiled for each kind of wire: nothing is called through a table.

use rustix::net::SendFlags;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd as _;
use tokio::io::Interest;
use tokio::net::TcpStream;
use zest_send::{Lender, Piece};

/// A connection that gives and takes bytes in order. What is not possible at the moment fails with
/// [`WouldBlock`](io::ErrorKind::WouldBlock), and is possible once [`Wire::readable`] or [`Wire::writable`] has returned.
pub(super) trait Wire: 'static {
    /// Waits until there is something to read, or its end.
    async fn readable(&self) -> io::Result<()>;

    /// Waits until there is room to send.
    async fn writable(&self) -> io::Result<()>;

    /// Reads what has come into these places, one after the other. Nothing at the end.
    fn read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Sends heads and bodies that are in memory, as much as there is room for. What may be lent need not be copied. `more`: something
    /// follows at once.
    fn send(&self, lender: &mut Lender, parts: &[Piece<'_>], more: bool) -> io::Result<usize>;

    /// Sends a range of a file, as much as there is room for. Nothing if the file is shorter.
    fn send_range(&self, file: &File, offset: u64, len: u32) -> io::Result<usize>;

    /// Ends it for both sides.
    fn close(&self);
}

/// Chunks in memory are lent, ranges of files go from the system's pages to the socket: no copy of ours.
impl Wire for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    async fn writable(&self) -> io::Result<()> {
        Self::writable(self).await
    }

    fn read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || Ok(rustix::io::readv(self, into)?))
    }

    fn send(&self, lender: &mut Lender, parts: &[Piece<'_>], more: bool) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || {
            lender.send(self.as_raw_fd(), parts).unwrap_or_else(|| copy(self, parts, more))
        })
    }

    fn send_range(&self, file: &File, offset: u64, len: u32) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || range(self, file, offset, len))
    }

    fn close(&self) {
        let _already_gone = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
    }
}

/// A peer that is gone must not end the process: where the flag is not known, the standard library ignores the signal.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// Sends copies, as much as the socket takes; `more` follows at once.
fn copy(stream: &TcpStream, parts: &[Piece<'_>], more: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = if more { QUIET | SendFlags::MORE } else { QUIET };
    #[cfg(not(target_os = "linux"))]
    let (flags, _) = (QUIET, more);
    let slices: Vec<IoSlice<'_>> = parts.iter().map(Piece::as_slice).collect();
    Ok(rustix::net::sendmsg(stream, &slices, &mut rustix::net::SendAncillaryBuffer::default(), flags)?)
}

#[cfg(target_os = "linux")]
fn range(stream: &TcpStream, file: &File, mut offset: u64, len: u32) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(stream, file, Some(&mut offset), len as usize)?)
}

#[cfg(not(target_os = "linux"))]
fn range(stream: &TcpStream, file: &File, offset: u64, len: u32) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut piece = vec![0; (len as usize).min(crate::buffers::BUFFER_BYTES)];
    let read = file.read_at(&mut piece, offset)?;
    Ok(rustix::net::send(stream, &piece[..read], QUIET)?)
}
