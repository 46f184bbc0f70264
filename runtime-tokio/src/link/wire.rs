//! What the byte path knows of a connection. Whatever carries bytes in order can stand behind it: TCP is here; a stream that is encrypted, or
//! runs over UDP, would be another one, of which links, the node and both halves of a connection know nothing.
//!
//! Both halves are compiled for each kind of wire: nothing is called through a table.

use crate::os;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
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
        self.try_io(Interest::READABLE, || os::read_parts(self, into))
    }

    fn send(&self, lender: &mut Lender, parts: &[Piece<'_>], more: bool) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || {
            lender.send(os::socket(self), parts).unwrap_or_else(|| {
                let slices: Vec<IoSlice<'_>> = parts.iter().map(Piece::as_slice).collect();
                os::send_parts(self, &slices, more)
            })
        })
    }

    fn send_range(&self, file: &File, offset: u64, len: u32) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || os::send_range(self, file, offset, len))
    }

    fn close(&self) {
        os::shut(self);
    }
}
