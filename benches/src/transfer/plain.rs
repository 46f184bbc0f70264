//! What the baselines that seed have in common: a table in memory and just enough of the protocol for the drain client.

use super::{Error, congestion, seed_data};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request: frame length, 20, extension id, type, request id, hash.
const REQUEST: usize = 43;

/// Room for what comes in: 16 KiB, 381 requests.
pub(super) const INPUT_BYTES: usize = 16 << 10;

/// A file and where its chunks are.
pub(super) struct Shelf {
    pub(super) file: File,
    places: HashMap<[u8; 32], (u64, u32)>,
}

/// A chunk that was asked for: the head of the answer, and the place of what follows it.
pub(super) struct Ask {
    pub(super) head: [u8; 15],
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl Shelf {
    pub(super) fn open(file: File, list: &Path) -> Result<Self, Error> {
        let list = seed_data::read_list(list)?;
        let places = list.into_iter().map(|(hash, offset, len)| (hash, (offset, len))).collect();
        Ok(Self { file, places })
    }

    /// Waits for requests and takes them out of `input`, where part of another one may stay. An error when the client has
    /// gone, which is how it ends, or asks for something else.
    pub(super) async fn asks(&self, stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<Ask>> {
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let whole = input.len() / REQUEST * REQUEST;
        let asks = input[..whole].as_chunks::<REQUEST>().0.iter().map(|request| self.ask(request)).collect();
        input.drain(..whole);
        asks
    }

    fn ask(&self, request: &[u8; REQUEST]) -> io::Result<Ask> {
        let (req, hash) = request[7..].split_first_chunk::<4>().expect("36 bytes");
        let &(offset, len) = self.places.get(hash).ok_or(io::ErrorKind::NotFound)?;
        let mut head = [0; 15];
        head[..4].copy_from_slice(&(len + 11).to_be_bytes());
        head[4..7].copy_from_slice(&[20, 7, 2]);
        head[7..11].copy_from_slice(req);
        head[11..].copy_from_slice(&len.to_be_bytes());
        Ok(Ask { head, offset, len })
    }
}

/// Accepts on a port of loopback, which is printed, and gives each client to `serve`; for ever. The congestion control is
/// the system's unless one is named.
pub(super) fn listen<F: Future<Output = io::Result<()>> + 'static>(
    runtime: &tokio::runtime::Runtime,
    shelf: Rc<Shelf>,
    congestion_control: Option<&str>,
    serve: fn(TcpStream, Rc<Shelf>) -> F,
) -> Result<(), Error> {
    let local = tokio::task::LocalSet::new();
    local.block_on(runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        congestion::set(&listener, congestion_control)?;
        println!(
            "{}",
            serde_json::json!({"event": "listening", "addrs": [listener.local_addr()?.to_string()]})
        );
        loop {
            let (stream, _) = listener.accept().await?;
            // It ends when the client goes.
            tokio::task::spawn_local(serve(stream, shelf.clone()));
        }
    })
}

/// The handshakes of both protocols, and the right to ask.
pub(super) async fn greet(stream: &mut TcpStream) -> io::Result<()> {
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
    stream.write_all(&answer).await
}
