//! A peer that dials a machine and asks by hand.

use crate::peer::take_frame;
use crate::speak;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer. A test that waits this long has failed; nothing depends on the figure.
const PATIENCE: Duration = Duration::from_secs(20);

/// The type of SLOT (docs/protocol.md).
const SLOT: u8 = 8;

/// An open connection to a machine.
#[derive(Debug)]
pub struct Caller {
    /// The socket, for tests that send what no peer would.
    pub stream: TcpStream,
    input: Vec<u8>,
    /// The handshake that came.
    pub handshake: Vec<u8>,
}

impl Caller {
    /// Dials and exchanges handshakes; `dict` is the extension handshake.
    pub async fn dial(address: &str, peer_id: &[u8; 20], dict: &[u8]) -> Self {
        let stream = TcpStream::connect(address).await.expect("the machine accepts");
        stream.set_nodelay(true).expect("a TCP option");
        let mut caller = Self { stream, input: Vec::new(), handshake: Vec::new() };
        caller.send(&speak::handshake([7; 20], *peer_id)).await;
        while caller.input.len() < 68 {
            assert!(caller.more().await, "the machine ended the link in the handshake");
        }
        caller.handshake = caller.input.drain(..68).collect();
        caller.send(&speak::ext(0, dict)).await;
        caller
    }

    /// Takes over a connection on which everything of ours was said; reads the handshake.
    pub async fn over(stream: TcpStream) -> Self {
        let mut caller = Self { stream, input: Vec::new(), handshake: Vec::new() };
        while caller.input.len() < 68 {
            assert!(caller.more().await, "the machine ended the link in the handshake");
        }
        caller.handshake = caller.input.drain(..68).collect();
        caller
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the link is open");
    }

    /// The next frame without its length, keep-alives passed over; `None` at the end of the link.
    pub async fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            match take_frame(&mut self.input) {
                Some(frame) if frame.is_empty() => {}
                Some(frame) => return Some(frame),
                None if self.more().await => {}
                None => return None,
            }
        }
    }

    /// The next extended message: extension id and body; what is not extended, handshakes and news of our upload slot are
    /// passed over.
    pub async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.frame().await?.as_slice() {
                [20, 0, ..] | [20, speak::THEIR_ZEST, SLOT, ..] => {}
                [20, id, body @ ..] => return Some((*id, body.to_vec())),
                _ => {}
            }
        }
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        match read.expect("the machine answers or ends the link") {
            Ok(read) => read > 0,
            Err(_) => false,
        }
    }
}
