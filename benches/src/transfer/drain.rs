//! The client: keeps requests in flight on every connection and discards the answers without copying them, but for a
//! sample that it proves.

use super::Error;
use crate::split_mix;
use rustix::net::RecvFlags;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use zest_xet::{ChunkRef, verify};

/// Peers that this process has been.
static PEERS: AtomicU32 = AtomicU32::new(0);

/// Time a whole run may take: 2 min. Who has not given everything by then has stalled.
const PATIENCE: Duration = Duration::from_secs(120);

/// Requests in flight on one connection.
const IN_FLIGHT: usize = 32;
/// One answer in this many is read and proven.
const SAMPLE: u64 = 32;
/// Requests sent at once.
const BATCH: usize = 8;
/// Bytes discarded at once, at most.
const DISCARD: usize = 1 << 20;
/// Frame length, message id, extension id, type, request id, chunk length.
const HEAD: usize = 15;

/// What came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Bytes of chunks.
    pub bytes: u64,
    /// Chunks that were read and proven.
    pub proven: u64,
}

/// Asks for every chunk once, in order, over these many connections.
///
/// # Errors
/// When the server goes, stalls or gives something else.
pub fn all(addr: SocketAddr, chunks: &[ChunkRef], connections: usize) -> Result<Drained, Error> {
    run(addr, chunks, connections, |number| (number..chunks.len()).step_by(connections))
}

/// Asks for random chunks, again and again the same, until about this many bytes came.
///
/// # Errors
/// As [`all`].
pub fn random(
    addr: SocketAddr,
    chunks: &[ChunkRef],
    connections: usize,
    bytes: u64,
) -> Result<Drained, Error> {
    let total: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    let count = (bytes * chunks.len() as u64 / total / connections as u64).max(1);
    run(addr, chunks, connections, |number| {
        let mut state = number as u64 + 1;
        (0..count).map(move |_| (split_mix(&mut state) % chunks.len() as u64) as usize)
    })
}

/// Asks for these chunks, each once, over these many connections.
///
/// # Errors
/// As [`all`].
pub fn these(
    addr: SocketAddr,
    chunks: &[ChunkRef],
    connections: usize,
    which: &[usize],
) -> Result<Drained, Error> {
    run(addr, chunks, connections, |number| which.iter().copied().skip(number).step_by(connections))
}

fn run<I: Iterator<Item = usize>>(
    addr: SocketAddr,
    chunks: &[ChunkRef],
    connections: usize,
    next: impl Fn(usize) -> I,
) -> Result<Drained, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let work = (0..connections).map(|number| converse(addr, chunks, next(number)));
        let all = futures_join(work.collect());
        let outcomes =
            tokio::time::timeout(PATIENCE, all).await.map_err(|_| format!("no end after {PATIENCE:?}"))?;
        let mut sum = Drained::default();
        for outcome in outcomes {
            let one = outcome?;
            sum.bytes += one.bytes;
            sum.proven += one.proven;
        }
        Ok(sum)
    })
}

/// Polls all futures to their ends.
async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut set: futures_util::stream::FuturesUnordered<F> = futures.into_iter().collect();
    let mut done = Vec::new();
    while let Some(one) = futures_util::StreamExt::next(&mut set).await {
        done.push(one);
    }
    done
}

async fn converse(
    addr: SocketAddr,
    chunks: &[ChunkRef],
    mut next: impl Iterator<Item = usize>,
) -> Result<Drained, Error> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    hello(&mut stream).await.map_err(|error| {
        format!("the server takes no such number of connections, or does not greet: {error}")
    })?;
    let mut asked: VecDeque<usize> = VecDeque::new();
    let (mut req, mut answered, mut drained, mut over) = (0_u32, 0_u64, Drained::default(), false);
    let mut scratch = vec![0; DISCARD];
    // Bytes of the front answer that were discarded.
    let mut into = 0;
    loop {
        if !over && asked.len() + BATCH <= IN_FLIGHT {
            let mut batch = Vec::new();
            while asked.len() < IN_FLIGHT {
                let Some(index) = next.next() else {
                    over = true;
                    break;
                };
                batch.extend_from_slice(&[0, 0, 0, 39, 20, 1, 1]);
                batch.extend_from_slice(&req.to_be_bytes());
                batch.extend_from_slice(chunks[index].hash.as_bytes());
                req += 1;
                asked.push_back(index);
            }
            stream.write_all(&batch).await?;
        }
        if asked.is_empty() {
            return Ok(drained);
        }
        if answered % SAMPLE == 0 && into == 0 {
            let chunk = chunks[asked[0]];
            let mut head = [0; HEAD];
            stream.read_exact(&mut head).await?;
            let want = [
                &(chunk.len + 11).to_be_bytes()[..],
                &[20, 7, 2],
                &(answered as u32).to_be_bytes(),
                &chunk.len.to_be_bytes(),
            ]
            .concat();
            if head[..] != want {
                return Err(format!("answer {answered} begins with {head:02x?}, not {want:02x?}").into());
            }
            let payload = &mut scratch[..chunk.len as usize];
            stream.read_exact(payload).await?;
            verify(&*payload, chunk).map_err(|error| format!("answer {answered}: {error}"))?;
            drained.bytes += u64::from(chunk.len);
            drained.proven += 1;
            asked.pop_front();
            answered += 1;
            continue;
        }
        // All up to the next one to be proven.
        let until = (SAMPLE - answered % SAMPLE) as usize;
        let whole: usize = asked.iter().take(until).map(|&i| HEAD + chunks[i].len as usize).sum();
        let room = (whole - into).min(DISCARD);
        stream.readable().await?;
        let outcome = stream.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(&stream, &mut scratch[..room], RecvFlags::TRUNC)?.1)
        });
        match outcome {
            Ok(0) => return Err("the server ended the connection".into()),
            Ok(read) => into += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        while let Some(&front) = asked.front() {
            let len = chunks[front].len as usize;
            if into < HEAD + len || answered % SAMPLE == 0 && into == 0 {
                break;
            }
            into -= HEAD + len;
            drained.bytes += len as u64;
            answered += 1;
            asked.pop_front();
        }
    }
}

/// Both handshakes. Leaves the stream where answers begin.
async fn hello(stream: &mut TcpStream) -> Result<(), Error> {
    let mut ours = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    ours.extend_from_slice(&[7; 20]);
    // Every connection is another peer: a server closes the second link of one.
    let number = PEERS.fetch_add(1, Ordering::Relaxed);
    ours.extend_from_slice(format!("-DR0100-{number:012}").as_bytes());
    let dict = b"d1:md6:ut_xeti7ee1:pi0e1:v5:draine";
    ours.extend_from_slice(&(dict.len() as u32 + 2).to_be_bytes());
    ours.extend_from_slice(&[20, 0]);
    ours.extend_from_slice(dict);
    stream.write_all(&ours).await?;
    let mut theirs = [0; 68];
    stream.read_exact(&mut theirs).await?;
    // Extension handshake, unchoke, interested: no other server sends anything else, nor fewer.
    for _ in 0..3 {
        let len = stream.read_u32().await?;
        let mut frame = vec![0; len as usize];
        stream.read_exact(&mut frame).await?;
    }
    Ok(())
}
