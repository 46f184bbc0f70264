//! `POST /v1/files`: one file's proven bytes while they come, or the blob's name for who may link it.

use crate::answer::{Refusal, failed, ok};
use crate::app::App;
use crate::asked::{check_dir, token_of};
use crate::reads::Read;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::guard::{Peer, Place};
use zest_runtime_tokio::{Content, ContentHead, PullError, PullHandle, PullRequest};
use zest_store::{RepoId, RepoType};

/// Time from the end of a part to that of its file's pull: 2 s. Without a word by then it is left to itself.
const ENDING: Duration = Duration::from_secs(2);

/// The name by which it is asked what has come ([`crate::reads`]).
const NAME: HeaderName = HeaderName::from_static("x-zest-read");

/// Who asks can read this user's files and is content with where the bytes lie.
const IN_PLACE: HeaderName = HeaderName::from_static("x-zest-in-place");

/// He waits for the file's name as well: it is put into its place before it is durable, and a last line says when.
const LANDED: HeaderName = HeaderName::from_static("x-zest-landed");

/// A file of fewer bytes is sent all the same: 8 MiB. It may have its final name before anybody can look under the first.
const IN_PLACE_BYTES_MIN: u64 = 8 << 20;

/// Bytes for which a line is worth it: 4 MiB. Of fewer, more are waited for, once.
const LINE_BYTES_MIN: u64 = 4 << 20;

/// For so long: 20 ms.
const GATHERING: Duration = Duration::from_millis(20);

/// Most bytes that wait for a slow reader: 256 KiB, one read.
const PIECE_BYTES: usize = 256 << 10;

/// What is asked for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRequest {
    /// `ORG/NAME`.
    pub(crate) repo: String,
    /// A model, if it is not said.
    #[serde(default, rename = "type")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) kind: Option<RepoType>,
    /// Branch, tag or commit; `main` if it is not said.
    #[serde(default)]
    pub(crate) revision: Option<String>,
    /// The file, by its path in the repository.
    pub(crate) path: String,
    /// What it must be: its hash in Xet, or what the Hub calls its content.
    #[serde(default)]
    pub(crate) hash: Option<String>,
    /// Bytes it must have.
    #[serde(default)]
    pub(crate) size: Option<u64>,
    /// The cache of Hugging Face's tools that it goes to, if not the daemon's.
    #[serde(default)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The Hub, if not the daemon's.
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    /// Whether the name of a blob will do.
    #[serde(default)]
    link: bool,
    /// Who asks holds the file's lock in that cache, and waits for us.
    #[serde(default)]
    locked: bool,
    /// As [`PullRequest::own_blobs`].
    #[serde(default)]
    own_blobs: bool,
}

/// Where a file lies that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Blob {
    /// An absolute path, which is no link.
    blob: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    /// As it was asked for.
    pub(crate) hash: String,
}

/// Where proven bytes of a file lie: in a file of this machine, at the same place. One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lies {
    /// An absolute path, which is no link. The file may get another name at any time, and keeps its bytes.
    path: PathBuf,
    /// Number of its device: what has another is not meant.
    dev: u64,
    /// Its number there.
    ino: u64,
    /// First byte.
    from: u64,
    /// The byte behind the last.
    to: u64,
}

/// The last line for who waits for the file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Landed {
    /// Its name in the snapshot.
    landed: PathBuf,
}

/// Part of a file: first byte, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u64,
    len: u64,
    is_part: bool,
}

/// Answers with a file.
pub(crate) async fn answer(app: &Arc<App>, parts: &Parts, asked: FileRequest) -> Result<Response, Refusal> {
    let request = request(parts, &asked)?;
    // A body on its way takes a place, as everywhere.
    let peer = parts.extensions.get::<Peer>().ok_or_else(|| Refusal::usage("nobody sent it"))?;
    let place = peer.place().await;
    let content = app.session.read(request, &asked.path);
    app.keep_following(content.pull());
    let signs = content.signs();
    let mut open = Open {
        content,
        app: app.clone(),
        at: 0,
        left: 0,
        is_part: false,
        in_place: false,
        lands: false,
        _place: place,
        _read: None,
    };
    if let Some(name) = parts.headers.get(NAME) {
        open._read = Some(app.reads.begin(name.to_str().unwrap_or_default(), signs)?);
    }
    let head = match open.content.head().await {
        Ok(head) => head,
        Err(error) => return Ok(failed(&(&*error).into())),
    };
    let hash = check(&head, &asked)?;
    if asked.link
        && let Some(blob) = blob(&open.content, &head, &hash).await
    {
        return Ok(ok(&blob));
    }
    let part = part(parts, head.size)?;
    (open.at, open.left) = (part.from, part.len);
    let lands = parts.headers.contains_key(LANDED) && !part.is_part;
    open.in_place = parts.headers.contains_key(IN_PLACE) && (lands || head.size >= IN_PLACE_BYTES_MIN);
    let in_place = open.in_place;
    open.is_part = part.is_part;
    open.lands = in_place && lands;
    // Who has to hear that the Hub refuses, or that nobody is there, hears it instead of a broken stream.
    let first = match open.next().await {
        Ok(first) => first,
        Err(error) => return Ok(failed(&(&*error).into())),
    };
    let stream = stream::unfold((open, Some(first)), |(mut open, first)| async move {
        let piece = match first {
            Some(first) => Ok(first),
            None => open.next().await,
        };
        match piece {
            Ok(piece) if piece.is_empty() => None,
            piece => Some((piece, (open, None))),
        }
    });
    let mut response = Response::new(Body::from_stream(stream));
    *response.status_mut() = if part.is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    if in_place {
        set(header::CONTENT_TYPE, "application/x-ndjson".to_owned());
    } else {
        set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
        set(header::CONTENT_LENGTH, part.len.to_string());
    }
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "no-store".to_owned());
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    set(header::ETAG, format!("\"{hash}\""));
    if part.is_part {
        let last = part.from + part.len - 1;
        set(header::CONTENT_RANGE, format!("bytes {}-{last}/{}", part.from, head.size));
    }
    Ok(response)
}

fn request(parts: &Parts, asked: &FileRequest) -> Result<PullRequest, Refusal> {
    let repo = RepoId::new(asked.kind.unwrap_or(RepoType::Model), &asked.repo)
        .map_err(|error| Refusal::usage(error.to_string()))?;
    let mut request = PullRequest::new(repo)
        .cache_dir(asked.cache_dir.clone())
        .endpoint(asked.endpoint.clone())
        .lock_held(asked.locked)
        .own_blobs(asked.own_blobs)
        .named_first(parts.headers.contains_key(IN_PLACE) && parts.headers.contains_key(LANDED));
    if let Some(revision) = &asked.revision {
        request = request.revision(revision);
    }
    check_dir("cache_dir", asked.cache_dir.as_ref())?;
    token_of(parts, &mut request)?;
    Ok(request)
}

/// What stands for the file's content, which must be what was asked for.
fn check(head: &ContentHead, asked: &FileRequest) -> Result<String, Refusal> {
    let xet = head.xet_hash.as_ref();
    let ours = [xet, Some(&head.etag)];
    let is_it = |hash: &String| ours.contains(&Some(hash));
    if let Some(wanted) = asked.hash.as_ref().filter(|hash| !is_it(hash)) {
        let text = format!("{} is {}, not {wanted}", asked.path, xet.unwrap_or(&head.etag));
        return Err(Refusal::new(StatusCode::CONFLICT, "verify", text).hint("the revision has changed"));
    }
    if let Some(wanted) = asked.size.filter(|size| *size != head.size) {
        let text = format!("{} has {} bytes, not {wanted}", asked.path, head.size);
        return Err(Refusal::new(StatusCode::CONFLICT, "verify", text).hint("the revision has changed"));
    }
    Ok(asked.hash.as_ref().or(xet).unwrap_or(&head.etag).clone())
}

async fn blob(content: &Content, head: &ContentHead, hash: &str) -> Option<Blob> {
    let place = content.place()?;
    let blob = tokio::task::spawn_blocking(move || std::fs::canonicalize(place)).await.ok()?.ok()?;
    blob.to_str()?;
    Some(Blob { blob, size: head.size, hash: hash.to_owned() })
}

/// What of the file is wanted (RFC 9110, 14.2). Several ranges, and what is no range, mean all of it.
fn part(parts: &Parts, size: u64) -> Result<Part, Refusal> {
    let all = Part { from: 0, len: size, is_part: false };
    let range = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else { return Ok(all) };
    let Some((from, to)) = range.trim().split_once('-') else { return Ok(all) };
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let (from, end) = match (number(from), number(to)) {
        (Some(from), Some(to)) if to < from => return Ok(all),
        (Some(from), Some(to)) => (from, to.saturating_add(1).min(size)),
        (Some(from), None) if to.is_empty() => (from, size),
        (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return Ok(all),
    };
    if from >= end {
        let text = format!("the file has {size} bytes");
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "usage", text));
    }
    Ok(Part { from, len: end - from, is_part: true })
}

/// A file on its way to a reader.
struct Open {
    content: Content,
    app: Arc<App>,
    at: u64,
    left: u64,
    is_part: bool,
    /// It is said where the bytes lie.
    in_place: bool,
    /// It is still to be said when the file has its name.
    lands: bool,
    _place: Place,
    _read: Option<Read>,
}

impl Open {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Bytes, Arc<PullError>> {
        if self.left == 0 && std::mem::take(&mut self.lands) {
            return line(&Landed { landed: self.content.landed().await? });
        }
        if self.left == 0 {
            return Ok(Bytes::new());
        }
        if self.in_place {
            return self.next_line().await;
        }
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = self.content.read(self.at, max).await?;
        self.at += piece.len() as u64;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(piece)
    }
}

impl Open {
    async fn next_line(&mut self) -> Result<Bytes, Arc<PullError>> {
        let mut extent = self.content.extent(self.at).await?;
        let end = self.at + self.left;
        if extent.bytes.end < end.min(self.at + LINE_BYTES_MIN) {
            // Peers give chunk by chunk, and a line for each costs both sides more than the bytes.
            tokio::time::sleep(GATHERING).await;
            extent = self.content.extent(self.at).await?;
        }
        let to = extent.bytes.end.min(end);
        let (dev, ino) = extent.file;
        let lies = Lies { path: extent.path, dev, ino, from: self.at, to };
        self.left -= to - self.at;
        self.at = to;
        line(&lies)
    }
}

fn line(document: &impl Serialize) -> Result<Bytes, Arc<PullError>> {
    let mut line = serde_json::to_vec(document).map_err(|_not_utf8| Arc::new(PullError::EngineGone))?;
    line.push(b'\n');
    Ok(line.into())
}

impl Drop for Open {
    /// Who has all of it lets the pull end, however long the disk takes to make the file durable; who has not, and is gone, ends it.
    /// What is proven of it is kept, and another one that wants the same goes on with it.
    fn drop(&mut self) {
        let (app, pull) = (self.app.clone(), self.content.pull().clone());
        let patience = match (self.left == 0, self.is_part) {
            (true, false) => None,
            (true, true) => Some(ENDING),
            (false, _) => Some(Duration::ZERO),
        };
        tokio::spawn(async move { finish(&app, &pull, patience).await });
    }
}

async fn finish(app: &App, pull: &PullHandle, patience: Option<Duration>) {
    if let Some(patience) = patience
        && tokio::time::timeout(patience, pull.wait()).await.is_err()
    {
        pull.cancel();
    }
    let _either_way = pull.wait().await;
    // Hundreds of files of one model are not hundreds of pulls to look back at.
    app.session.forget(pull.id());
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn of(range: &str, size: u64) -> Result<(u64, u64, bool), u16> {
        let request = Request::post("/v1/files").header("range", range).body(()).expect("a request");
        let part = part(&request.into_parts().0, size).map_err(|refusal| refusal.status.as_u16())?;
        Ok((part.from, part.len, part.is_part))
    }

    #[test]
    fn ranges_are_those_of_http() {
        for (range, want) in [
            ("bytes=0-0", (0, 1, true)),
            ("bytes=10-", (10, 90, true)),
            ("bytes=-5", (95, 5, true)),
            ("bytes=-500", (0, 100, true)),
            ("bytes=90-500", (90, 10, true)),
            ("bytes=5-4", (0, 100, false)),
            ("bytes=0-1,3-4", (0, 100, false)),
            ("bytes=+1-2", (0, 100, false)),
            ("lines=1-2", (0, 100, false)),
            ("bytes=-", (0, 100, false)),
        ] {
            assert_eq!(of(range, 100), Ok(want), "{range}");
        }
        for range in ["bytes=100-", "bytes=-0", "bytes=200-300"] {
            assert_eq!(of(range, 100), Err(416), "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Err(416));
    }

    #[test]
    fn what_is_another_file_by_now_is_refused() {
        let head = ContentHead { size: 3, etag: "e".into(), xet_hash: Some("x".into()) };
        let asked = |hash: Option<&str>, size| FileRequest {
            repo: "a/b".into(),
            kind: None,
            revision: None,
            path: "f".into(),
            hash: hash.map(str::to_owned),
            size,
            cache_dir: None,
            endpoint: None,
            link: false,
            locked: false,
            own_blobs: false,
        };
        assert_eq!(check(&head, &asked(None, None)), Ok("x".into()));
        assert_eq!(check(&head, &asked(Some("e"), Some(3))), Ok("e".into()));
        assert_eq!(check(&head, &asked(Some("y"), None)).expect_err("another").status, 409);
        assert_eq!(check(&head, &asked(None, Some(4))).expect_err("longer").status, 409);
    }
}
