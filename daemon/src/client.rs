//! The other end: finds the daemon of a cache, has it prove itself, and asks it.
//!
//! Its Unix socket lies where nobody but this user can make one, and the system says who made it. Whoever listens on a port may be
//! somebody else: another user of this machine may have taken it. So every connection to a port begins with a nonce, and only who
//! answers with the secret's proof for that port hears the secret, or a token.

use crate::secret::random_hex;
use crate::{DaemonError, Places, Running, Secret};
use axum::body::Body;
use axum::http::{Method, Request, header};
use futures_util::StreamExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Time for a connection and its proof: 5 s. A daemon answers within milliseconds; a machine that swaps does not.
const CONNECT: Duration = Duration::from_secs(5);

/// Time for an answer: 30 s.
const ANSWER: Duration = Duration::from_secs(30);

/// Silence of a stream of events after which it is broken: 45 s, three times the daemon's signs of life.
const SILENCE: Duration = Duration::from_secs(45);

/// Longest answer that is read: 256 MiB, the report of a million files.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Random bytes of a nonce: 128 bits.
const NONCE_BYTES: usize = 16;

/// Why the daemon was not asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Its files cannot be read.
    #[error("{0}")]
    Daemon(#[from] DaemonError),
    /// It has no API, or does not say yet where.
    #[error("the daemon ({0}) has no API to ask")]
    NoApi(Box<Running>),
    /// It did not answer.
    #[error("the daemon at {addr} does not answer: {why}")]
    Silent {
        /// Where.
        addr: SocketAddr,
        /// What happened.
        why: String,
    },
    /// Who answers does not have the secret.
    #[error("what answers at {addr} is not the daemon of this cache")]
    Foreign {
        /// Where.
        addr: SocketAddr,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its body; null if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Whether it did what was asked.
    #[must_use]
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A daemon that has proven itself once.
#[derive(Debug, Clone)]
pub struct Client {
    addr: SocketAddr,
    socket: Option<PathBuf>,
    secret: Secret,
}

impl Client {
    /// The daemon of this cache; `None` if there is none.
    ///
    /// # Errors
    /// There is one, and it cannot be asked.
    pub async fn find(places: &Places) -> Result<Option<Self>, ClientError> {
        let Some(running) = Running::find(places)? else { return Ok(None) };
        let (addr, socket) = match &running.record {
            Some(record) if record.is_of_this_boot() => (record.http.first().copied(), record.socket.clone()),
            _ => (None, None),
        };
        let Some(addr) = addr else { return Err(ClientError::NoApi(Box::new(running))) };
        let client = Self { addr, socket, secret: Secret::read(places)? };
        client.connect().await?;
        Ok(Some(client))
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Asks for something.
    ///
    /// # Errors
    /// It does not answer, or is another one now.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        let request = async {
            let mut connection = self.connect().await?;
            let response = self.send(&mut connection, self.request(method, path, body, headers)?).await?;
            let status = response.status().as_u16();
            let bytes = read(Body::new(response.into_body())).await.map_err(|why| self.silent(why))?;
            Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
        };
        tokio::time::timeout(ANSWER, request).await.unwrap_or_else(|_| Err(self.silent("it is silent")))
    }

    /// Listens to a stream of events, from after this one on.
    ///
    /// # Errors
    /// As [`Client::ask`]; there is nothing to listen to (any more).
    pub async fn events(&self, path: &str, after: Option<&str>) -> Result<Events, ClientError> {
        let mut connection = self.connect().await?;
        let headers: Vec<(&str, &str)> = after.map(|id| ("last-event-id", id)).into_iter().collect();
        let asked = self.send(&mut connection, self.request(Method::GET, path, None, &headers)?);
        let response =
            tokio::time::timeout(ANSWER, asked).await.map_err(|_| self.silent("it is silent"))??;
        if response.status() != 200 {
            return Err(self.silent(format_args!("no events, but status {}", response.status())));
        }
        Ok(Events {
            body: Body::new(response.into_body()).into_data_stream(),
            _connection: connection,
            input: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    fn silent(&self, why: impl std::fmt::Display) -> ClientError {
        ClientError::Silent { addr: self.addr, why: why.to_string() }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Request<Body>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.addr.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret.as_str()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        request.body(body).map_err(|error| self.silent(error))
    }

    async fn send(
        &self,
        connection: &mut SendRequest<Body>,
        request: Request<Body>,
    ) -> Result<hyper::Response<hyper::body::Incoming>, ClientError> {
        connection.send_request(request).await.map_err(|error| self.silent(error))
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<Body>, ClientError> {
        let spoken = http1::handshake(TokioIo::new(stream)).await;
        let (connection, driver) = spoken.map_err(|error| self.silent(error))?;
        tokio::spawn(async move {
            // Whoever asked hears of it, too.
            let _error = driver.await;
        });
        Ok(connection)
    }

    /// A connection whose other end has proven itself.
    async fn connect(&self) -> Result<SendRequest<Body>, ClientError> {
        tokio::time::timeout(CONNECT, self.prove()).await.unwrap_or_else(|_| Err(self.silent("it is silent")))
    }

    async fn prove(&self) -> Result<SendRequest<Body>, ClientError> {
        if let Some(path) = &self.socket {
            match crate::socket::connect(path).await {
                Ok(stream) => return self.speak(stream).await,
                Err(error) => tracing::debug!("{}: {error}; the port is asked", path.display()),
            }
        }
        let tcp = TcpStream::connect(self.addr).await.map_err(|error| self.silent(error))?;
        let mut connection = self.speak(tcp).await?;
        let nonce = random_hex(NONCE_BYTES)?;
        let request = Request::get(format!("/v1/health?nonce={nonce}"))
            .header(header::HOST, self.addr.to_string())
            .body(Body::empty())
            .map_err(|error| self.silent(error))?;
        let response = self.send(&mut connection, request).await?;
        let bytes = read(Body::new(response.into_body())).await.map_err(|why| self.silent(why))?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let proof = answer["proof_at"].as_str().unwrap_or_default();
        if !self.secret.proves(proof, self.addr.port(), &nonce) {
            return Err(ClientError::Foreign { addr: self.addr });
        }
        connection.ready().await.map_err(|error| self.silent(error))?;
        Ok(connection)
    }
}

async fn read(body: Body) -> Result<Vec<u8>, String> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| error.to_string())?;
        if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(format!("more than {ANSWER_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// A stream of events.
pub struct Events {
    body: axum::body::BodyDataStream,
    /// It ends with its sender.
    _connection: SendRequest<Body>,
    input: Vec<u8>,
    ready: VecDeque<(Option<String>, String)>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("input", &self.input.len()).finish_non_exhaustive()
    }
}

impl Events {
    /// The next one's id and data; `None` once it has ended or broken.
    pub async fn next(&mut self) -> Option<(Option<String>, String)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let piece = tokio::time::timeout(SILENCE, self.body.next()).await.ok()??.ok()?;
            if self.input.len() + piece.len() > ANSWER_BYTES_MAX {
                return None;
            }
            self.input.extend_from_slice(&piece);
            self.ready.extend(take_events(&mut self.input));
        }
    }
}

/// Whole events off the front of what was read. Ours have one line of data and `\n` alone.
fn take_events(input: &mut Vec<u8>) -> Vec<(Option<String>, String)> {
    let mut events = Vec::new();
    let mut from = 0;
    while let Some(len) = input[from..].windows(2).position(|pair| pair == b"\n\n") {
        let text = String::from_utf8_lossy(&input[from..from + len]).into_owned();
        from += len + 2;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.strip_prefix(' ').unwrap_or(line).to_owned())
        };
        if let Some(data) = field("data") {
            events.push((field("id"), data));
        }
    }
    input.drain(..from);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let text = b"retry: 1000\n\nid: a-1\nevent: paused\ndata: {\"x\":1}\n\n:\n\ndata: 2\n\nid: a-3\nda";
        for cut in 0..text.len() {
            let mut input = text[..cut].to_vec();
            let mut events = take_events(&mut input);
            input.extend_from_slice(&text[cut..]);
            events.extend(take_events(&mut input));
            let want = [(Some("a-1".to_owned()), "{\"x\":1}".to_owned()), (None, "2".to_owned())];
            assert_eq!(events, want, "cut at {cut}");
            assert_eq!(input, b"id: a-3\nda");
        }
    }
}
