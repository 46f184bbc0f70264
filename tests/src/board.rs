//! A tracker of the tests' own (BEP 3 over HTTP, BEP 23): a few lines, and everything it was told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longest request that is read, in bytes.
const REQUEST_BYTES_MAX: usize = 8192;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Of which swarm.
    pub swarm: [u8; 20],
    /// Where it can be reached: the address it spoke from, and the port it named.
    pub peer: SocketAddr,
    /// `started`, `completed`, `stopped`, or nothing.
    pub event: String,
}

/// A running tracker. Ends when dropped.
#[derive(Debug)]
pub struct Board {
    address: SocketAddr,
    said: Arc<Mutex<Vec<Said>>>,
    task: JoinHandle<()>,
}

impl Board {
    /// Starts one.
    ///
    /// # Panics
    /// If nothing can listen there.
    pub async fn open(address: SocketAddr) -> Board {
        let listener = TcpListener::bind(address).await.expect("a free address");
        let address = listener.local_addr().expect("it is bound");
        let said = Arc::new(Mutex::new(Vec::new()));
        let told = said.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                tokio::spawn(answer(stream, from.ip(), told.clone()));
            }
        });
        Board { address, said, task }
    }

    /// Its announce URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Everything it was told so far.
    #[must_use]
    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, from: IpAddr, told: Arc<Mutex<Vec<Said>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(read) if read > 0 && request.len() <= REQUEST_BYTES_MAX => {}
            _ => return,
        }
    }
    let body = {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&request, from) {
            Some(said) => {
                let reply = reply(&told, &said);
                told.push(said);
                reply
            }
            None => b"d14:failure reason14:not understoode".to_vec(),
        }
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Whoever does not wait for the answer does not get it.
    drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
}

fn read(request: &[u8], from: IpAddr) -> Option<Said> {
    let line = std::str::from_utf8(request).ok()?.lines().next()?;
    let (_, query) = line.strip_prefix("GET ")?.split_once(' ')?.0.split_once('?')?;
    let words: BTreeMap<&str, &str> = query.split('&').filter_map(|word| word.split_once('=')).collect();
    let swarm = plain(words.get("info_hash")?)?.try_into().ok()?;
    let peer = SocketAddr::new(from, words.get("port")?.parse().ok()?);
    Some(Said { swarm, peer, event: words.get("event").copied().unwrap_or_default().to_owned() })
}

/// Undoes percent-encoding.
fn plain(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Everybody else in the swarm.
fn reply(told: &[Said], asks: &Said) -> Vec<u8> {
    let mut there: Vec<SocketAddr> = Vec::new();
    for said in told.iter().filter(|said| said.swarm == asks.swarm && said.peer != asks.peer) {
        there.retain(|peer| *peer != said.peer);
        if said.event != "stopped" {
            there.push(said.peer);
        }
    }
    let mut peers = Vec::new();
    for peer in there {
        if let IpAddr::V4(ip) = peer.ip() {
            peers.extend(ip.octets());
            peers.extend(peer.port().to_be_bytes());
        }
    }
    [b"d8:intervali1800e5:peers".as_slice(), peers.len().to_string().as_bytes(), b":", &peers, b"e"].concat()
}
