//! A peer that listens and does as it is told: honest, lying, silent, slow or mad. Everything it receives is kept.

use crate::known::Known;
use crate::speak::{self, Ask};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a scripted peer does about a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Says nothing.
    Nothing,
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Sends these bytes one by one, with this pause after each.
    Trickle(Vec<u8>, Duration),
    /// Sends these bytes and resets the connection.
    Reset(Vec<u8>),
}

/// How far a scripted peer goes in the opening.
#[derive(Debug, Clone)]
pub enum Opening {
    /// Accepts and says nothing.
    Silence,
    /// Sends these bytes instead of a handshake.
    Raw(Vec<u8>),
    /// Sends the handshake, then nothing.
    Handshake,
    /// Handshake, extension handshake with this dictionary, unchoke, interested, then these bytes; then it answers.
    Full(Vec<u8>, Vec<u8>),
}

type Answer = Arc<dyn Fn(&Ask) -> Reply + Send + Sync>;

/// The script.
#[derive(Clone)]
pub struct Script {
    /// Its peer id.
    pub peer_id: [u8; 20],
    /// The opening.
    pub opening: Opening,
    /// Its answers.
    pub answer: Answer,
}

impl Script {
    /// A peer with all of zest's extensions and these answers.
    pub fn zest(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(speak::DICT_ZEST, b"-SC0100-", answer)
    }

    /// A peer with BEP XET and nothing else.
    pub fn plain(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(speak::DICT_PLAIN, b"-SC0100-", answer)
    }

    /// zest 0.4.
    pub fn original(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(speak::DICT_ORIGINAL, b"-ZE0200-", answer)
    }

    /// A peer that opens in its own way and answers nothing.
    #[must_use]
    pub fn opening(opening: Opening) -> Self {
        Self { opening, ..Self::zest(|_| Reply::Nothing) }
    }

    /// An honest zest peer that has the whole file.
    #[must_use]
    pub fn honest(known: &Arc<Known>) -> Self {
        let known = known.clone();
        Self::zest(move |ask| honest(&known, ask))
    }

    /// An honest zest peer, except for chunks: those are answered by `lie`, which gets the request id and the true bytes.
    pub fn lying(known: &Arc<Known>, lie: impl Fn(u32, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let known = known.clone();
        Self::zest(move |ask| match ask {
            Ask::Chunk { req, hash } => match known.chunk(hash) {
                Some(bytes) => lie(*req, bytes),
                None => Reply::Bytes(speak::not_found(*req, hash)),
            },
            other => honest(&known, other),
        })
    }

    fn with(dict: &[u8], prefix: &[u8; 8], answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let mut peer_id = [b'x'; 20];
        peer_id[..8].copy_from_slice(prefix);
        Self { peer_id, opening: Opening::Full(dict.to_vec(), Vec::new()), answer: Arc::new(answer) }
    }

    /// Starts it on a free port.
    pub async fn start(mut self) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        // Peers of one test differ in their ids.
        let tail = format!("{:012}", addr.port());
        self.peer_id[8..].copy_from_slice(tail.as_bytes());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let changed = watch::Sender::new(0);
        let task = tokio::spawn(accept(listener, self, seen.clone(), changed.clone()));
        Peer { address: addr.to_string(), seen, changed, task }
    }
}

/// True answers about one file.
#[must_use]
pub fn honest(known: &Known, ask: &Ask) -> Reply {
    match ask {
        Ask::Manifest { req, file, first, count } if *file == known.file() => {
            Reply::Bytes(speak::manifest(known, *req, *first, *count))
        }
        Ask::Manifest { req, .. } => Reply::Bytes(speak::manifest_none(*req)),
        Ask::Interest { file } if *file == known.file() => {
            let total = known.manifest.len();
            Reply::Bytes(speak::have(file, total, &[(0, total)]))
        }
        Ask::Interest { file } => Reply::Bytes(speak::have(file, 0, &[])),
        Ask::Chunk { req, hash } => match known.chunk(hash) {
            Some(bytes) => Reply::Bytes(speak::chunk(*req, bytes)),
            None => Reply::Bytes(speak::not_found(*req, hash)),
        },
        Ask::Xorb { req, xorb, .. } => Reply::Bytes(speak::not_found(*req, xorb)),
        Ask::Follow { .. } | Ask::Cancel { .. } | Ask::Other(..) => Reply::Nothing,
    }
}

#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    asks: Vec<Ask>,
    opened: u32,
    ended: u32,
}

/// A running scripted peer; it ends when dropped.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens.
    pub address: String,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("no holder panics")
}

impl Peer {
    /// Connections it ever had.
    #[must_use]
    pub fn connections(&self) -> u32 {
        lock(&self.seen).opened
    }

    /// Everything that was asked of it, handshakes and control messages included.
    #[must_use]
    pub fn asks(&self) -> Vec<Ask> {
        lock(&self.seen).asks.clone()
    }

    /// Requests for chunks or xorb ranges.
    #[must_use]
    pub fn data_asks(&self) -> usize {
        lock(&self.seen).asks.iter().filter(|ask| matches!(ask, Ask::Chunk { .. } | Ask::Xorb { .. })).count()
    }

    /// Every byte it received.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        lock(&self.seen).bytes.clone()
    }

    /// Waits until it had a connection and every one is over.
    pub async fn all_closed(&self) {
        let mut changed = self.changed.subscribe();
        let over = |seen: &Seen| seen.opened > 0 && seen.opened == seen.ended;
        while !over(&lock(&self.seen)) {
            changed.changed().await.expect("the peer lives");
        }
    }
}

async fn accept(listener: TcpListener, script: Script, seen: Arc<Mutex<Seen>>, changed: watch::Sender<u64>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (script, seen, changed) = (script.clone(), seen.clone(), changed.clone());
        lock(&seen).opened += 1;
        connections.spawn(async move {
            // An error is the other side's way to end it, or our own reset.
            let _ = converse(stream, &script, &seen).await;
            lock(&seen).ended += 1;
            changed.send_modify(|n| *n += 1);
        });
    }
}

async fn converse(mut stream: TcpStream, script: &Script, seen: &Mutex<Seen>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let (xet_id, dict, after) = match &script.opening {
        Opening::Silence => return drain(&mut stream, seen).await,
        Opening::Raw(bytes) => {
            stream.write_all(bytes).await?;
            return drain(&mut stream, seen).await;
        }
        Opening::Handshake => (speak::THEIR_XET, None, None),
        Opening::Full(dict, after) => {
            let original = dict == speak::DICT_ORIGINAL;
            (if original { speak::UT_XET } else { speak::THEIR_XET }, Some(dict), Some(after))
        }
    };
    while input.len() < 68 {
        more(&mut stream, seen, &mut input).await?;
    }
    let info_hash = input[28..48].try_into().expect("20 bytes");
    stream.write_all(&speak::handshake(info_hash, script.peer_id)).await?;
    let (Some(dict), Some(after)) = (dict, after) else { return drain(&mut stream, seen).await };
    let opening = [&speak::ext(0, dict)[..], &speak::frame(1, &[]), &speak::frame(2, &[]), after];
    stream.write_all(&opening.concat()).await?;
    input.drain(..68);
    loop {
        while let Some(frame) = take_frame(&mut input) {
            if frame.is_empty() {
                continue;
            }
            let ask = speak::read_ask(&frame, xet_id, speak::THEIR_ZEST);
            lock(seen).asks.push(ask.clone());
            match (script.answer)(&ask) {
                Reply::Nothing => {}
                Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
                Reply::Trickle(bytes, pause) => {
                    for byte in bytes {
                        stream.write_all(&[byte]).await?;
                        tokio::time::sleep(pause).await;
                    }
                }
                Reply::Reset(bytes) => {
                    stream.write_all(&bytes).await?;
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
        more(&mut stream, seen, &mut input).await?;
    }
}

async fn more(stream: &mut TcpStream, seen: &Mutex<Seen>, input: &mut Vec<u8>) -> std::io::Result<()> {
    let before = input.len();
    if stream.read_buf(input).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    lock(seen).bytes.extend_from_slice(&input[before..]);
    Ok(())
}

async fn drain(stream: &mut TcpStream, seen: &Mutex<Seen>) -> std::io::Result<()> {
    let mut input = Vec::new();
    loop {
        more(stream, seen, &mut input).await?;
        input.clear();
    }
}

/// The next whole frame, without its length.
pub(crate) fn take_frame(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = u32::from_be_bytes(*input.first_chunk()?) as usize;
    if input.len() < 4 + len {
        return None;
    }
    let frame = input[4..4 + len].to_vec();
    input.drain(..4 + len);
    Some(frame)
}

/// Waits for a pull or anything else with a generous outer limit, so that a hang fails the test instead of the run.
pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it ends within a minute")
}
