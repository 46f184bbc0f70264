//! A scripted HTTP/1.1 server: full control over bytes, lengths, silence and hang-ups; remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zest_hub::{Hub, HubConfig, RetryPolicy};
use zest_store::{RepoId, RepoType, Token};

pub(crate) const COMMIT: &str = "46419508aa93b233602f04008333d945f9b77530";
pub(crate) const OID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Tokens that must never turn up where they do not belong.
pub(crate) const HUB_TOKEN: &str = "hf_secretOfTheHub";
pub(crate) const CAS_TOKEN: &str = "xet_secretOfTheCas";

/// One request as received; header names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What happens after the bytes of a reply.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    KeepAlive,
    HangUp,
    Silence,
    Drops,
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    length: Option<usize>,
    after: After,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        let head = format!("HTTP/1.1 {status} Scripted\r\n");
        Self { head, body: Vec::new(), length: Some(0), after: After::KeepAlive }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.length = Some(self.body.len());
        self
    }

    /// Promises another length than the body has.
    pub(crate) fn promising(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// No length at all: the body ends with the connection.
    pub(crate) fn without_length(mut self) -> Self {
        (self.length, self.after) = (None, After::HangUp);
        self
    }

    pub(crate) fn then_hang_up(mut self) -> Self {
        self.after = After::HangUp;
        self
    }

    pub(crate) fn then_silence(mut self) -> Self {
        self.after = After::Silence;
        self
    }

    /// A byte now and then, as long as somebody waits.
    pub(crate) fn then_drops(mut self) -> Self {
        self.after = After::Drops;
        self
    }

    /// Not even a status line.
    pub(crate) fn nothing() -> Self {
        Self { head: String::new(), body: Vec::new(), length: None, after: After::Silence }
    }
}

pub(crate) struct Server {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    accept: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers by `script(request, number from 0)`.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&seen), Arc::new(script));
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move { serve(stream, &log, &*script).await });
            }
        });
        Self { origin, seen, accept }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// A client of this server that tries quickly and gives up quickly.
    pub(crate) fn hub(&self, token: Option<&str>) -> Hub {
        Hub::new(self.config(token)).unwrap()
    }

    pub(crate) fn config(&self, token: Option<&str>) -> HubConfig {
        let retry = RetryPolicy {
            tries: 3,
            base: Duration::from_millis(1),
            retry_after_max: Duration::from_millis(5),
            ..RetryPolicy::default()
        };
        HubConfig { retry, range_retry: retry, ..HubConfig::new(&self.origin, token.and_then(Token::new)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    script: &(dyn Fn(&Seen, usize) -> Reply + Send + Sync),
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(n) => buffer.extend_from_slice(&bytes[..n]),
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let seen = Seen { path, headers };
        // What was posted is passed over.
        let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(n) => buffer.extend_from_slice(&bytes[..n]),
            }
        }
        buffer.drain(..length);
        let number = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len() - 1
        };
        let reply = script(&seen, number);
        let mut bytes = reply.head.into_bytes();
        if !bytes.is_empty() {
            if let Some(length) = reply.length {
                bytes.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(&reply.body);
        if stream.write_all(&bytes).await.is_err() || reply.after == After::HangUp {
            return;
        }
        if reply.after == After::Drops {
            while stream.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        }
        if reply.after == After::Silence {
            // Until the client gives up.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    }
}

pub(crate) fn repo() -> RepoId {
    RepoId::new(RepoType::Model, "lab/tiny").unwrap()
}

pub(crate) fn hash(seed: u8) -> zest_xet::Hash {
    zest_xet::Hash::from_bytes([seed; 32])
}

/// An answer of `xet-read-token` that is good for an hour.
pub(crate) fn token_json(cas: &str, secret: &str) -> Reply {
    Reply::ok(format!(r#"{{"casUrl":"{cas}","accessToken":"{secret}","exp":{}}}"#, unix_now() + 3600))
}

pub(crate) fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A one-term reconstruction whose bytes lie at `url`.
pub(crate) fn reconstruction_json(version: u8, url: &str) -> String {
    let hash = hash(9);
    let term = format!(r#"{{"hash":"{hash}","range":{{"start":0,"end":1}},"unpacked_length":10}}"#);
    let fetch = if version == 2 {
        format!(
            r#""xorbs":{{"{hash}":[{{"url":"{url}","ranges":[{{"chunks":{{"start":0,"end":1}},"bytes":{{"start":0,"end":17}}}}]}}]}}"#
        )
    } else {
        format!(
            r#""fetch_info":{{"{hash}":[{{"range":{{"start":0,"end":1}},"url":"{url}","url_range":{{"start":0,"end":17}}}}]}}"#
        )
    };
    format!(r#"{{"offset_into_first_range":0,"terms":[{term}],{fetch}}}"#)
}

/// All bytes of a body.
pub(crate) async fn read(mut body: zest_hub::Body) -> Result<Vec<u8>, zest_hub::HubError> {
    let mut all = Vec::new();
    while let Some(bytes) = body.chunk().await? {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(body.received(), all.len() as u64);
    assert!(matches!(body.chunk().await, Ok(None)), "an ended body stays ended");
    Ok(all)
}
