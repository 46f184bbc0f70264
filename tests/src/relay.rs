//! A line that can be cut: a TCP relay on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything gets through.
    Good = 0,
    /// Connections break, and new ones break at once.
    Cut = 1,
    /// Nothing gets through, and nobody is told. Connections that lived then are dead for ever.
    Mute = 2,
    /// A byte a second gets through; connections that are opened later do better.
    Trickles = 3,
    /// Connections break, and whoever opens one is answered with the log-in page of a network.
    Page = 4,
}

/// What a network shows to whoever has not logged in yet.
const PAGE: &str = "<!DOCTYPE html><html><body>Log in to the hotel's network</body></html>";

#[derive(Debug)]
struct State {
    line: AtomicU8,
    changed: Notify,
    /// Connections that were opened while the line was not good.
    tries: AtomicU32,
    /// Bytes that got through to whoever opened a connection.
    carried: AtomicU64,
}

/// See [`Relay::to`].
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

impl Relay {
    /// A line to this address.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port of loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let (line, tries, carried) = (AtomicU8::new(0), AtomicU32::new(0), AtomicU64::new(0));
        let state = Arc::new(State { line, changed: Notify::new(), tries, carried });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                if shared.line() != Line::Good as u8 {
                    shared.tries.fetch_add(1, SeqCst);
                }
                if shared.line() == Line::Cut as u8 {
                    drop(from);
                    continue;
                }
                tokio::spawn(carry(from, target, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its beginning as the endpoint of a Hub.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the line is so.
    pub fn set(&self, line: Line) {
        self.state.line.store(line as u8, SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Bytes that got through to whoever opened a connection, heads included.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.state.carried.load(SeqCst)
    }

    /// Connections that were opened while the line was not good.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.state.tries.load(SeqCst)
    }
}

impl State {
    fn line(&self) -> u8 {
        self.line.load(SeqCst)
    }
}

async fn carry(mut from: TcpStream, target: SocketAddr, state: Arc<State>) {
    let changed = state.changed.notified();
    tokio::pin!(changed);
    changed.as_mut().enable();
    if state.line() == Line::Mute as u8 {
        // It hears nothing, ever.
        return std::future::pending().await;
    }
    if state.line() == Line::Page as u8 {
        return show_page(from).await;
    }
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    let trickles = {
        let ((mut reads, mut writes), (mut answers, mut asks)) = (from.split(), to.split());
        tokio::select! {
            _ = async { tokio::join!(tokio::io::copy(&mut reads, &mut asks), count(&mut answers, &mut writes, &state)) } => return,
            () = changed => state.line(),
        }
    };
    if trickles == Line::Mute as u8 {
        return std::future::pending().await;
    }
    if trickles != Line::Trickles as u8 {
        return;
    }
    let mut byte = [0];
    while to.read_exact(&mut byte).await.is_ok() && from.write_all(&byte).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Carries bytes, and counts them.
async fn count(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    state: &State,
) -> std::io::Result<()> {
    let mut room = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut room).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&room[..read]).await?;
        state.carried.fetch_add(read as u64, SeqCst);
    }
}

/// Answers one request.
async fn show_page(mut from: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = from.read_u8().await else { return };
        head.push(byte);
    }
    let length = PAGE.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{PAGE}"
    );
    let _gone = from.write_all(answer.as_bytes()).await;
    let _gone = from.shutdown().await;
}
