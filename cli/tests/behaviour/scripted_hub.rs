//! A Hub on loopback whose every answer a test writes itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The only commit of such a Hub.
pub(crate) const COMMIT: &str = "c0ffee0000000000000000000000000000000000";

/// What was asked: target and head.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The head's lines behind the first.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let is = |line: &&String| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && line[name.len()..].starts_with(':')
        };
        self.head.iter().find(is).map(|line| line[name.len() + 1..].trim())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// After so many bytes of the body nothing more comes, and the connection stays open.
    pub(crate) silent_after: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), silent_after: None }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body)
    }

    pub(crate) fn silent_after(mut self, bytes: usize) -> Self {
        self.silent_after = Some(bytes);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// One file of the listing that [`usual`] gives.
#[derive(Debug, Clone)]
pub(crate) struct ListedFile {
    pub(crate) path: String,
    pub(crate) size: usize,
    /// Git blob id.
    pub(crate) oid: String,
}

impl ListedFile {
    pub(crate) fn new(path: impl Into<String>, size: usize) -> Self {
        Self { path: path.into(), size, oid: "a".repeat(40) }
    }
}

/// What a Hub with one public model `org/name` answers to revision and tree; `None` for everything else.
pub(crate) fn usual(asked: &Asked, files: &[ListedFile]) -> Option<Answer> {
    let path = asked.target.split('?').next().unwrap_or_default();
    if path.contains("/revision/") {
        return Some(Answer::ok(format!(r#"{{"sha":"{COMMIT}","private":false,"gated":false}}"#)));
    }
    if path.contains("/tree/") {
        let rows: Vec<_> = files
            .iter()
            .map(|file| {
                serde_json::json!({"type": "file", "path": file.path, "size": file.size, "oid": file.oid})
            })
            .collect();
        return Some(Answer::ok(serde_json::Value::Array(rows).to_string()));
    }
    None
}

/// Runs until the test ends.
pub(crate) struct ScriptedHub {
    pub(crate) addr: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ScriptedHub {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Self { addr, asked }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Answer) {
    let Ok(mut to) = stream.try_clone() else { return };
    let mut from = BufReader::new(stream);
    while let Some(asked) = read(&mut from) {
        log.lock().expect("no panic").push(asked.clone());
        let answer = answer(&asked);
        let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
        for (name, value) in &answer.headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += &format!("content-length: {}\r\n\r\n", answer.body.len());
        let body = if asked.method == "HEAD" { &[][..] } else { &answer.body };
        let body = &body[..answer.silent_after.unwrap_or(usize::MAX).min(body.len())];
        if to.write_all(bytes.as_bytes()).and_then(|()| to.write_all(body)).is_err() {
            return;
        }
        if answer.silent_after.is_some() {
            // Until the other side goes.
            let _ = std::io::Read::read(&mut from, &mut [0]);
            return;
        }
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = || {
        let mut text = String::new();
        from.read_line(&mut text).ok().filter(|bytes| *bytes > 0)?;
        Some(text.trim_end().to_owned())
    };
    let first = line()?;
    let (method, rest) = first.split_once(' ')?;
    let target = rest.split(' ').next()?.to_owned();
    let mut head = Vec::new();
    loop {
        match line()? {
            text if text.is_empty() => break,
            text => head.push(text),
        }
    }
    let mut asked = Asked { method: method.to_owned(), target, head, body: Vec::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    std::io::Read::read_exact(from, &mut asked.body).ok()?;
    Some(asked)
}
