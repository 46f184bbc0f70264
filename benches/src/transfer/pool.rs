//! The baseline of cold seeding on tokio: reads past the page cache (`O_DIRECT`) by a pool of threads, 16 chunks of a
//! connection at once, which go out in one gathered write. What one would write with tokio and tune; nothing is checked.

use super::Error;
use super::direct::{self, ALIGN, enclosing};
use super::plain::{self, Ask, Shelf};
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Threads that read: 32, as many as the reader keeps busy that shows what the disk gives.
const THREADS: usize = 32;

/// Chunks of a connection read at once.
const AT_ONCE: usize = 16;

/// Room for what a direct read makes of a chunk of 128 KiB, wherever the memory begins.
const BUFFER_BYTES: usize = (128 << 10) + 3 * ALIGN;

/// Serves `file`, whose chunks are in `list`, on a port of loopback that it prints; until it is killed.
///
/// # Errors
/// When the files cannot be read, the file system refuses direct reads, or no port is free.
pub fn run(file: &Path, list: &Path, congestion_control: Option<&str>) -> Result<(), Error> {
    let shelf = Rc::new(Shelf::open(direct::open(file)?.into(), list)?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().max_blocking_threads(THREADS).build()?;
    plain::listen(&runtime, shelf, congestion_control, serve)
}

async fn serve(mut stream: TcpStream, shelf: Rc<Shelf>) -> io::Result<()> {
    plain::greet(&mut stream).await?;
    let file = Arc::new(shelf.file.try_clone()?);
    let mut free: Vec<Vec<u8>> = Vec::new();
    let mut input = Vec::with_capacity(plain::INPUT_BYTES);
    loop {
        for asks in shelf.asks(&mut stream, &mut input).await?.chunks(AT_ONCE) {
            let reads: Vec<_> = asks
                .iter()
                .map(|&Ask { offset, len, .. }| {
                    let (file, memory) = (file.clone(), free.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES]));
                    tokio::task::spawn_blocking(move || read(&file, memory, offset, len))
                })
                .collect();
            let mut found = Vec::with_capacity(asks.len());
            for read in reads {
                found.push(read.await.map_err(io::Error::other)??);
            }
            send(&mut stream, asks, &found).await?;
            free.extend(found.into_iter().map(|(memory, _)| memory));
        }
    }
}

/// Reads a chunk into `memory`, and says where in it the chunk begins.
fn read(file: &File, mut memory: Vec<u8>, offset: u64, len: u32) -> io::Result<(Vec<u8>, usize)> {
    let (from, to) = enclosing(offset, len.into());
    let skip = memory.as_ptr().align_offset(ALIGN);
    let got = rustix::io::pread(file, &mut memory[skip..][..(to - from) as usize], from)?;
    let before = (offset - from) as usize;
    if got < before + len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((memory, skip + before))
}

async fn send(stream: &mut TcpStream, asks: &[Ask], found: &[(Vec<u8>, usize)]) -> io::Result<()> {
    let parts = asks.iter().zip(found).flat_map(|(ask, (memory, at))| {
        [IoSlice::new(&ask.head), IoSlice::new(&memory[*at..][..ask.len as usize])]
    });
    let mut parts: Vec<IoSlice<'_>> = parts.collect();
    let mut left = parts.as_mut_slice();
    while !left.is_empty() {
        let sent = stream.write_vectored(left).await?;
        IoSlice::advance_slices(&mut left, sent);
    }
    Ok(())
}
