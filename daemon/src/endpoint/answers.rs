//! What the Hub has answered, kept on disk: for commits, which do not change, and for when it cannot be asked.

pub(super) use crate::limits::KEPT_BYTES_MAX;
use crate::limits::{ALL_BYTES_MAX, ALL_MAX};
use crate::places::write_atomically;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// Answers kept between two looks at how many there are: 64.
const LOOK_EVERY: usize = 64;

/// Longest line before the body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Headers that are kept: what clients look at, and nothing that is of one connection, caller or moment.
const KEPT_HEADERS: [&str; 10] = [
    "content-type",
    "etag",
    "link",
    "x-repo-commit",
    "x-linked-size",
    "x-linked-etag",
    "x-xet-hash",
    "x-total-count",
    "x-error-code",
    "x-error-message",
];

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    /// What was asked, to be read by people, and to be sure.
    asked: String,
    status: u16,
    headers: Vec<(String, String)>,
    bytes: usize,
}

/// Version of the files' form.
const VERSION: u32 = 1;

/// All of them.
#[derive(Debug)]
pub(super) struct Answers {
    dir: PathBuf,
    hub: String,
    kept: AtomicUsize,
}

impl Kept {
    /// The part of an answer that is worth keeping.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let mut kept = HeaderMap::new();
        for name in KEPT_HEADERS.map(HeaderName::from_static) {
            for value in headers.get_all(&name) {
                kept.append(&name, value.clone());
            }
        }
        Self { status, headers: kept, body }
    }
}

impl Answers {
    /// Those of one Hub, in zest's cache.
    pub(super) fn new(zest_cache: &Path, hub: &str) -> Self {
        Self { dir: zest_cache.join("answers"), hub: hub.to_owned(), kept: AtomicUsize::new(0) }
    }

    /// What was answered to this question last.
    pub(super) async fn get(&self, question: &str) -> Option<Kept> {
        let (path, asked) = (self.path(question), self.asked(question));
        blocking(move || {
            let bytes =
                std::fs::read(path).ok().filter(|bytes| bytes.len() <= HEAD_BYTES_MAX + KEPT_BYTES_MAX)?;
            let line = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
            let head: Head = serde_json::from_slice(&bytes[..line]).ok()?;
            let body = Bytes::from(bytes).slice(line + 1..);
            if head.version != VERSION || head.asked != asked || head.bytes != body.len() {
                return None;
            }
            let mut headers = HeaderMap::new();
            for (name, value) in head.headers {
                headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
            }
            Some(Kept { status: StatusCode::from_u16(head.status).ok()?, headers, body })
        })
        .await
    }

    /// Keeps an answer. A disk that takes no more costs nothing but the answer.
    pub(super) async fn put(&self, question: &str, kept: &Kept) {
        if kept.body.len() > KEPT_BYTES_MAX {
            return;
        }
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let head = Head {
            version: VERSION,
            asked: self.asked(question),
            status: kept.status.as_u16(),
            headers: kept.headers.iter().filter_map(text).collect(),
            bytes: kept.body.len(),
        };
        let Ok(mut bytes) = serde_json::to_vec(&head) else { return };
        bytes.push(b'\n');
        bytes.extend_from_slice(&kept.body);
        let (dir, path) = (self.dir.clone(), self.path(question));
        let look = self.kept.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY);
        blocking(move || {
            let written = std::fs::create_dir_all(&dir).and_then(|()| write_atomically(&path, &bytes));
            if let Err(error) = written {
                tracing::info!(%error, "an answer of the Hub is not kept");
            }
            if look {
                forget_oldest(&dir);
            }
        })
        .await;
    }

    /// Notes that everybody may read a commit: what is known of it is answered also where the Hub cannot be asked.
    pub(super) async fn note_public(&self, of: &str) {
        let question = format!("public {of}");
        if self.get(&question).await.is_none() {
            self.put(&question, &Kept::new(StatusCode::OK, &HeaderMap::new(), Bytes::new())).await;
        }
    }

    /// Whether everybody could, when the Hub was asked last.
    pub(super) async fn was_public(&self, of: &str) -> bool {
        self.get(&format!("public {of}")).await.is_some()
    }

    /// It is not for everybody.
    pub(super) async fn note_closed(&self, of: &str) {
        let path = self.path(&format!("public {of}"));
        blocking(move || {
            let _not_there = std::fs::remove_file(path);
        })
        .await;
    }

    fn asked(&self, question: &str) -> String {
        format!("{} {question}", self.hub)
    }

    fn path(&self, question: &str) -> PathBuf {
        use std::fmt::Write as _;
        let digest = Sha256::digest(self.asked(question).as_bytes());
        let name = digest.iter().fold(String::new(), |mut name, byte| {
            let _infallible = write!(name, "{byte:02x}");
            name
        });
        self.dir.join(name)
    }
}

/// Forgets those that were written first, until the rest has room.
fn forget_oldest(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
    let mut count = files.len();
    for (_, len, path) in files {
        if bytes <= ALL_BYTES_MAX && count <= ALL_MAX {
            break;
        }
        let _best_effort = std::fs::remove_file(path);
        bytes -= len;
        count -= 1;
    }
}

/// Runs what works on the disk.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_kept_for_its_hub_and_question_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let answers = Answers::new(dir.path(), "http://hub");
        let mut headers = HeaderMap::new();
        headers.insert("link", "<x>; rel=\"next\"".parse().expect("a value"));
        headers.insert("set-cookie", "secret".parse().expect("a value"));
        let kept = Kept::new(StatusCode::OK, &headers, Bytes::from_static(b"[1,\n2]"));
        answers.put("GET /x", &kept).await;
        let found = answers.get("GET /x").await.expect("kept");
        assert_eq!((found.status, &found.body[..]), (StatusCode::OK, &b"[1,\n2]"[..]));
        assert!(found.headers.contains_key("link") && !found.headers.contains_key("set-cookie"));
        assert!(answers.get("GET /y").await.is_none());
        assert!(Answers::new(dir.path(), "http://other").get("GET /x").await.is_none());
        let path = answers.path("GET /x");
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes.pop();
        std::fs::write(&path, bytes).expect("written");
        assert!(answers.get("GET /x").await.is_none());
    }

    #[tokio::test]
    async fn a_commit_is_public_until_it_is_said_not_to_be() {
        let dir = tempfile::tempdir().expect("a folder");
        let answers = Answers::new(dir.path(), "http://hub");
        assert!(!answers.was_public("models/a/b c").await);
        answers.note_public("models/a/b c").await;
        assert!(answers.was_public("models/a/b c").await);
        answers.note_closed("models/a/b c").await;
        assert!(!answers.was_public("models/a/b c").await);
    }
}
