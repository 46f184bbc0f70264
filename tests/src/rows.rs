//! A Hub that lists what it is told to list: rows that no folder of a disk could give, and files outside Xet.

use sha1::Digest as _;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One commit of one repository, `org/name`, on a port of loopback. It answers for as long as the test runs.
#[derive(Clone)]
pub struct Rows(Arc<Inner>);

struct Inner {
    addr: SocketAddr,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    rows: Vec<String>,
    given: BTreeMap<String, Vec<u8>>,
    lost: bool,
    asked: Vec<String>,
}

impl Rows {
    /// A Hub without files.
    ///
    /// # Panics
    /// If loopback has no port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let addr = listener.local_addr().expect("bound");
        let rows = Self(Arc::new(Inner { addr, said: Mutex::default() }));
        rows.commit('1', &[]);
        let hub = rows.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = hub.clone();
                std::thread::spawn(move || hub.answer(stream));
            }
        });
        rows
    }

    /// Its address, as `HF_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.0.addr)
    }

    /// From now on `main` is the commit of forty such digits, with these files.
    pub fn commit(&self, digit: char, files: &[(&str, &[u8])]) {
        let mut said = self.said();
        said.commit = digit.to_string().repeat(40);
        said.files = files.iter().map(|(path, data)| ((*path).to_owned(), data.to_vec())).collect();
        said.rows.clear();
    }

    /// Lists one more row, as it is.
    pub fn add_row(&self, json: impl Into<String>) {
        self.said().rows.push(json.into());
    }

    /// Gives these bytes under a path, whatever is listed.
    pub fn give(&self, path: &str, data: &[u8]) {
        self.said().given.insert(path.to_owned(), data.to_vec());
    }

    /// From now on it names the commit and has neither its listing nor its files.
    pub fn lose_commit(&self) {
        self.said().lost = true;
    }

    /// Paths of the files that were asked for so far; they are forgotten.
    #[must_use]
    pub fn take_fetched(&self) -> Vec<String> {
        std::mem::take(&mut self.said().asked)
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.said.lock().expect("no holder panics")
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        loop {
            let (mut first, mut line) = (String::new(), String::new());
            if reader.read_line(&mut first).unwrap_or(0) == 0 {
                return;
            }
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = self.reply(&path);
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                return;
            }
        }
    }

    fn reply(&self, path: &str) -> (u16, Vec<u8>) {
        let mut said = self.said();
        let commit = said.commit.clone();
        if path.contains("/revision/") {
            let json = format!(r#"{{"id":"org/name","sha":"{commit}","private":false,"gated":false}}"#);
            return (200, json.into_bytes());
        }
        if said.lost {
            return (404, br#"{"error":"Invalid rev id"}"#.to_vec());
        }
        if path.contains("/tree/") {
            let files = said.files.iter().map(|(path, data)| row(path, &git_id(data), data.len()));
            let rows: Vec<String> = files.chain(said.rows.iter().cloned()).collect();
            return (200, format!("[{}]", rows.join(",")).into_bytes());
        }
        let Some((_, name)) = path.split_once(&format!("/resolve/{commit}/")) else {
            return (404, Vec::new());
        };
        let name = decoded(name);
        said.asked.push(name.clone());
        said.files.get(&name).or(said.given.get(&name)).map_or((404, Vec::new()), |data| (200, data.clone()))
    }
}

/// A row of a listing.
#[must_use]
pub fn row(path: &str, oid: &str, size: usize) -> String {
    let path = serde_json::Value::from(path);
    format!(r#"{{"type":"file","path":{path},"oid":"{oid}","size":{size}}}"#)
}

/// Git's id of a blob.
#[must_use]
pub fn git_id(data: &[u8]) -> String {
    let sha = sha1::Sha1::new().chain_update(format!("blob {}\0", data.len())).chain_update(data).finalize();
    sha.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).expect("UTF-8")
}
