//! The baseline: the least that gives chunks by hash. One thread, a table in memory, each answer a head with `MSG_MORE`
//! and a `sendfile`. Nothing is checked.

use super::Error;
use super::plain::{self, Shelf};
use rustix::net::SendFlags;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Serves `file`, whose chunks are in `list`, on a port of loopback that it prints; until it is killed.
///
/// # Errors
/// When the files cannot be read or no port is free.
pub fn run(file: &Path, list: &Path, congestion_control: Option<&str>) -> Result<(), Error> {
    let shelf = Rc::new(Shelf::open(File::open(file)?, list)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    plain::listen(&runtime, shelf, congestion_control, serve)
}

async fn serve(mut stream: TcpStream, shelf: Rc<Shelf>) -> io::Result<()> {
    plain::greet(&mut stream).await?;
    let mut input = Vec::with_capacity(plain::INPUT_BYTES);
    loop {
        for ask in shelf.asks(&mut stream, &mut input).await? {
            send(&stream, &shelf, &ask.head, ask.offset, ask.len as usize).await?;
        }
    }
}

async fn send(stream: &TcpStream, shelf: &Shelf, head: &[u8], offset: u64, len: usize) -> io::Result<()> {
    let (mut sent, mut at, end) = (0, offset, offset + len as u64);
    while sent < head.len() || at < end {
        let outcome = stream.try_io(Interest::WRITABLE, || {
            if sent < head.len() {
                sent += rustix::net::send(stream, &head[sent..], SendFlags::MORE | SendFlags::NOSIGNAL)?;
            }
            if sent == head.len() {
                let left = (end - at) as usize;
                rustix::fs::sendfile(stream, &shelf.file, Some(&mut at), left)?;
            }
            Ok(())
        });
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            other => other?,
        }
    }
    Ok(())
}
