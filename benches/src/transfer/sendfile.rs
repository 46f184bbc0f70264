//! The yardstick: the least that gives chunks by hash. One thread, a table in memory, each answer a head with `MSG_MORE`
//! and a `sendfile`. It speaks just enough of the protocol for the drain client and checks nothing.

use super::Error;
use super::seed_data;
use rustix::net::SendFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request: frame length, 20, extension id, type, request id, hash.
const REQUEST: usize = 43;

struct Shelf {
    file: File,
    places: HashMap<[u8; 32], (u64, u32)>,
}

/// Serves `file`, whose chunks are in `list`, on a port of loopback that it prints; until it is killed.
///
/// # Errors
/// When the files cannot be read or no port is free.
pub fn run(file: &Path, list: &Path) -> Result<(), Error> {
    let list = seed_data::read_list(list)?;
    let places = list.into_iter().map(|(hash, offset, len)| (hash, (offset, len))).collect();
    let shelf = Rc::new(Shelf { file: File::open(file)?, places });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!(
            "{}",
            serde_json::json!({"event": "listening", "addrs": [listener.local_addr()?.to_string()]})
        );
        loop {
            let (stream, _) = listener.accept().await?;
            let shelf = shelf.clone();
            tokio::task::spawn_local(async move {
                // It ends when the client goes.
                let _gone = serve(stream, &shelf).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream, shelf: &Shelf) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut hello = [0; 68];
    stream.read_exact(&mut hello).await?;
    let len = stream.read_u32().await?;
    stream.read_exact(&mut vec![0; len as usize]).await?;
    let dict = b"d1:md6:ut_xeti1ee1:pi0ee";
    let mut answer = hello.to_vec();
    answer.extend_from_slice(&(dict.len() as u32 + 2).to_be_bytes());
    answer.extend_from_slice(&[20, 0]);
    answer.extend_from_slice(dict);
    answer.extend_from_slice(&[0, 0, 0, 1, 1, 0, 0, 0, 1, 2]);
    stream.write_all(&answer).await?;
    let mut input = Vec::with_capacity(16 << 10);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let whole = input.len() / REQUEST * REQUEST;
        for request in input[..whole].as_chunks::<REQUEST>().0 {
            let (req, hash) = request[7..].split_first_chunk::<4>().expect("36 bytes");
            let &(offset, len) = shelf.places.get(hash).ok_or(io::ErrorKind::NotFound)?;
            let mut head = [0; 15];
            head[..4].copy_from_slice(&(len + 11).to_be_bytes());
            head[4..7].copy_from_slice(&[20, 7, 2]);
            head[7..11].copy_from_slice(req);
            head[11..].copy_from_slice(&len.to_be_bytes());
            send(&stream, shelf, &head, offset, len as usize).await?;
        }
        input.drain(..whole);
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
