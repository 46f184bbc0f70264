//! The CAS that clients of the endpoint meet: tokens, reconstructions, and xorbs that are made of the file while they are sent.
//!
//! Its addresses carry no key: a token, bound to one commit and good for minutes, opens the reconstructions, and each xorb's URL
//! is signed for its ranges.

use super::body::{Part, body};
use super::files::{failed, is_of_this_disk};
use super::hub::{is_out, unreachable, warn_of_age};
use super::resolve::Permission;
use super::route::api_of;
use super::runs::RunName;
use super::standing::{ACCEPTED_FOR, Caller, Level};
use super::{Asked, Endpoint, error, set};
use crate::app::App;
use crate::limits::{FRAMED_MAX, GRANTS_MAX, RANGES_MAX, UNKEPT_MAX, UNREAD_FOR};
use crate::secret::{Secret, random_hex};
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};
use zest_hub_server::guard::Peer;
use zest_hub_server::parts::{
    Layout, PlacedTerm, Purpose, Signer, Version, asked_bytes, closed_ranges, parse_form, reconstruction,
    unix_now,
};
use zest_store::{Access, RepoId, RepoType, TreeEntry};
use zest_xet::{ChunkRef, Hash, Manifest, chunk_hash, file_hash};

/// How long a token for what everybody may read is good: 1 h, as the Hub's.
const TOKEN_SECONDS: u64 = 3600;

/// How long the URL of a xorb is good: 1 h. Clients ask for another reconstruction after that.
const URL_SECONDS: u64 = 3600;

/// Bytes of a frame where nobody knows the file's chunks yet: 128 KiB, the longest chunk.
const FRAME_BYTES: u64 = zest_xet::CHUNK_BYTES_MAX as u64;

/// Random bytes of a grant's name.
const GRANT_BYTES: usize = 16;

/// Longest answer with a token of the Hub's: 64 KiB.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// How long a file counts as one that this machine cannot keep: 1 min. Then the disk is tried again.
const UNKEPT_FOR: Duration = Duration::from_secs(60);

/// Separator of parts: clients go by the lengths.
const BOUNDARY: &str = "zest-part";

/// What a token lets its holder do.
#[derive(Debug, Clone)]
struct Grant {
    repo: RepoId,
    commit: String,
    /// Who asked for it: files are fetched with that token. It is forgotten with the grant.
    caller: Caller,
    expires: u64,
}

/// Those that are good.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<BTreeMap<String, Grant>>);

/// A file as xorbs.
#[derive(Debug)]
struct Framed {
    file: Hash,
    manifest: Arc<Manifest>,
    terms: Vec<PlacedTerm>,
    /// The chunks are the file's own. Else they are frames of equal length, under names that mean nothing.
    real: bool,
}

/// Files that somebody else is to give for a minute, and when that was found: this machine could not keep them, or is too late with them.
#[derive(Debug, Default)]
pub(super) struct Unkept(Mutex<BTreeMap<Hash, Instant>>);

impl Unkept {
    pub(super) fn note(&self, file: Hash) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, at| at.elapsed() < UNKEPT_FOR);
        if all.len() < UNKEPT_MAX {
            all.insert(file, Instant::now());
        }
    }

    pub(super) fn is_noted(&self, file: &Hash) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(file).is_some_and(|at| at.elapsed() < UNKEPT_FOR)
    }
}

/// Files that are laid out, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Frames(Mutex<Vec<Arc<Framed>>>);

/// What signs tokens and addresses, for this daemon and those after it.
pub(super) fn signer(secret: &Secret) -> Signer {
    Signer::from_secret(secret.as_str(), TOKEN_SECONDS.max(URL_SECONDS))
}

impl Grants {
    fn add(&self, grant: Grant) -> Option<String> {
        let mut name = random_hex(GRANT_BYTES).ok()?;
        if let Some(run) = &grant.caller.run {
            // A daemon that knows no more of the grant counts for the run all the same.
            name = format!("{name}.{run}");
        }
        self.put(name.clone(), grant);
        Some(name)
    }

    fn put(&self, name: String, grant: Grant) {
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = unix_now();
        grants.retain(|_, grant| grant.expires > now);
        if grants.len() >= GRANTS_MAX {
            let first = grants.iter().min_by_key(|(_, grant)| grant.expires).map(|(name, _)| name.clone());
            first.map(|name| grants.remove(&name));
        }
        grants.insert(name, grant);
    }

    fn get(&self, name: &str) -> Option<Grant> {
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        grants.get(name).filter(|grant| grant.expires > unix_now()).cloned()
    }
}

impl Framed {
    fn new(file: Hash, manifest: Manifest, real: bool) -> Option<Self> {
        let mut layout = Layout::default();
        let manifest = Arc::new(manifest);
        layout.add(&manifest);
        let (manifest, terms) = layout.terms(&manifest.file())?;
        Some(Self { file, manifest, terms, real })
    }

    /// Frames of equal length. The names of chunks, and so of xorbs, come from the file's and their place in it.
    fn of_equal_length(file: Hash, size: u64) -> Option<Self> {
        let count = size.div_ceil(FRAME_BYTES);
        let chunk = |at: u64| {
            let name = [&b"zest frame "[..], file.as_bytes(), &at.to_le_bytes()].concat();
            let len = FRAME_BYTES.min(size - at * FRAME_BYTES);
            ChunkRef { hash: chunk_hash(&name), len: len as u32 }
        };
        let chunks: Vec<ChunkRef> = (0..count).map(chunk).collect();
        Self::new(file, Manifest::prove(file_hash(&chunks), size, chunks).ok()?, false)
    }
}

impl Endpoint {
    /// Answers `xet-read-token`: the Hub lets the caller read, and what is read is here.
    pub(super) async fn xet_token(
        &self,
        asked: &Asked,
        headers: HeaderMap,
        repo: &RepoId,
        revision: &str,
    ) -> Response {
        // zest itself proves what it gets by the file's own chunks, and has peers of its own.
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        if agent.starts_with("zest/") {
            return self.pass(asked, Method::GET, headers, Body::empty()).await;
        }
        let resolved = match self.commit_of(asked, repo, revision).await {
            Ok(resolved) => resolved,
            Err(response) => return response,
        };
        let commit = resolved.commit;
        let permission = match self.xet_permission(asked, &headers, repo, &commit).await {
            Ok(permission) => permission,
            Err(response) => return response,
        };
        let now = unix_now();
        let until = permission.until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
        let expires =
            until.map_or(now + TOKEN_SECONDS, |until| until.as_secs().min(now + ACCEPTED_FOR.as_secs()));
        let grant =
            Grant { repo: repo.clone(), commit: commit.clone(), caller: asked.caller.clone(), expires };
        let Some(name) = self.grants.add(grant) else {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "", "the system gave no randomness");
        };
        let scope = granted(&name, repo.kind.plural(), &scope_name(repo), &commit);
        let signature = self.signer.sign(Purpose::Token, &scope, expires);
        let token = format!("zest_{name}_{expires}_{signature}");
        let cas = asked.cas(repo, &commit);
        let answer = serde_json::json!({"casUrl": cas, "accessToken": token, "exp": expires});
        let mut response = Response::new(Body::from(answer.to_string()));
        set(&mut response, header::CONTENT_TYPE, "application/json; charset=utf-8");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        set(&mut response, HeaderName::from_static("x-xet-cas-url"), &cas);
        set(&mut response, HeaderName::from_static("x-xet-access-token"), &token);
        set(&mut response, HeaderName::from_static("x-xet-token-expiration"), &expires.to_string());
        if permission.stale || resolved.stale {
            warn_of_age(&mut response);
        }
        response
    }

    /// The permission to read, by the Hub's own answer to this question if it has to be asked.
    async fn xet_permission(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
        repo: &RepoId,
        commit: &str,
    ) -> Result<Permission, Response> {
        let target = format!("{}/xet-read-token/{commit}", api_of(repo));
        if self.is_public(repo, commit) {
            return Ok(Permission { stale: false, until: None });
        }
        if let Some(until) = self.standing.accepted_until(&asked.caller, repo, commit, Level::Read) {
            return Ok(Permission { stale: false, until: Some(until) });
        }
        match self.send(Method::GET, &target, headers.clone(), None).await {
            Ok(response) if response.status() == StatusCode::OK => {
                self.standing.note_accepted(&asked.caller, repo, commit, Level::Read);
                let until = self.standing.accepted_until(&asked.caller, repo, commit, Level::Read);
                Ok(Permission { stale: false, until })
            }
            Ok(response) if !is_out(response.status()) => {
                self.note_refusal(asked, repo, response.status());
                Err(self.at_home(asked, response))
            }
            _ if self.was_public(repo, commit).await => {
                tracing::warn!(target: zest_store::SAID, kind = "stale", "{repo} at {commit}: the Hub cannot be asked: anyone could read it when it was");
                Ok(Permission { stale: true, until: None })
            }
            Ok(response) => Err(self.at_home(asked, response)),
            Err(why) => Err(unreachable(&why)),
        }
    }

    /// Answers what lies below `/xet/`.
    pub(super) async fn cas(&self, app: &Arc<App>, parts: &Parts, base: &str) -> Response {
        let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        match path[..] {
            ["xet", "xorb", grant, file, xorb] if is_read => self.xorb(app, parts, grant, file, xorb).await,
            ["xet", kind, name, commit, "v1", "telemetry"]
                if !kind.is_empty() && !name.is_empty() && !commit.is_empty() =>
            {
                text(StatusCode::OK, "")
            }
            ["xet", kind, name, commit, version @ ("v1" | "v2"), "reconstructions", file] if is_read => {
                let version = if version == "v1" { Version::One } else { Version::Two };
                let answer = self.reconstruction(app, parts, base, (kind, name, commit), file, version);
                answer.await.unwrap_or_else(|response| response)
            }
            ["xet", kind, name, commit, "v1", "files", file] if parts.method == Method::HEAD => {
                match self.file_of(parts, (kind, name, commit), file).await {
                    Ok((_, _, entry)) => {
                        let mut response = text(StatusCode::OK, "");
                        set(&mut response, header::CONTENT_LENGTH, &entry.content_size().to_string());
                        response
                    }
                    Err(response) => response,
                }
            }
            _ => text(StatusCode::NOT_FOUND, "no such call"),
        }
    }

    /// Checks the token, and finds the file that it opens.
    async fn file_of(
        &self,
        parts: &Parts,
        (kind, name, commit): (&str, &str, &str),
        file: &str,
    ) -> Result<(String, Grant, TreeEntry), Response> {
        let refused = || text(StatusCode::UNAUTHORIZED, "invalid or expired Xet token");
        let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
        let scope = (kind, name, commit);
        let (grant_name, grant) = token.and_then(|token| self.grant_of(token, scope)).ok_or_else(refused)?;
        let scope = (grant.repo.kind.plural(), scope_name(&grant.repo), grant.commit.as_str());
        if scope != (kind, name.to_owned(), commit) {
            return Err(refused());
        }
        let hash: Hash = file.parse().map_err(|_| text(StatusCode::BAD_REQUEST, "malformed file hash"))?;
        let entry = self.entry_of(&grant, &hash).await;
        let entry =
            entry.ok_or_else(|| text(StatusCode::NOT_FOUND, "no such file in the token's revision"))?;
        Ok((grant_name, grant, entry))
    }

    /// What a token opens. One that an earlier daemon gave, which has died, opens what everybody may read.
    fn grant_of(&self, token: &str, (kind, name, commit): (&str, &str, &str)) -> Option<(String, Grant)> {
        let mut parts = token.strip_prefix("zest_")?.split('_');
        let (of, expires, signature) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        if !self.signer.is_valid(Purpose::Token, &granted(of, kind, name, commit), expires, signature) {
            return None;
        }
        let grant = self.grants.get(of).or_else(|| {
            let kind = RepoType::ALL.into_iter().find(|known| known.plural() == kind)?;
            let repo = RepoId::new(kind, &name.replace('~', "/")).ok()?;
            let grant = self.is_public(&repo, commit).then(|| Grant {
                repo,
                commit: commit.to_owned(),
                caller: self.standing.caller(&HeaderMap::new()).within(RunName::after_key(of).1),
                expires,
            })?;
            self.grants.put(of.to_owned(), grant.clone());
            Some(grant)
        })?;
        Some((of.to_owned(), grant))
    }

    async fn entry_of(&self, grant: &Grant, hash: &Hash) -> Option<TreeEntry> {
        let asked = Asked::within(grant.caller.clone());
        let list = self.list(&asked, &grant.repo, &grant.commit).await?;
        list.values().find(|entry| entry.xet_hash == Some(*hash)).cloned()
    }

    async fn reconstruction(
        &self,
        app: &Arc<App>,
        parts: &Parts,
        base: &str,
        scope: (&str, &str, &str),
        file: &str,
        version: Version,
    ) -> Result<Response, Response> {
        let (name, grant, entry) = self.file_of(parts, scope, file).await?;
        let size = entry.content_size();
        let bytes = match parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
            None => 0..size,
            Some(range) => asked_bytes(range, size).map_err(|status| text(status, "no such Range"))?,
        };
        if entry.xet_hash.is_some_and(|hash| self.unkept.is_noted(&hash)) {
            let range = parts.headers.get(header::RANGE);
            return self.through(&grant, file, version, range).await;
        }
        let framed = self.framed(&entry).await.ok_or_else(|| text(StatusCode::NOT_FOUND, "no such file"))?;
        // From now on it comes, if it is not here; its xorbs are asked for in a moment.
        let reader = self.open(app, &grant.caller, &grant.repo, &grant.commit, &entry).await;
        if !reader.is_on_disk() {
            tokio::spawn(async move {
                tokio::time::sleep(UNREAD_FOR).await;
                drop(reader);
            });
        }
        let expires = (unix_now() + URL_SECONDS).min(grant.expires.max(unix_now() + 60));
        let sign = |xorb: &Hash, ranges: &[zest_xet::FetchRange]| {
            let set: Vec<String> =
                ranges.iter().map(|range| format!("{}-{}", range.bytes.start, range.bytes.end - 1)).collect();
            let set = set.join(",");
            let signature =
                self.signer.sign(Purpose::Xorb, &signed(&name, file, &xorb.to_string(), &set), expires);
            format!(
                "{base}/xet/xorb/{name}/{file}/{xorb}?X-Xet-Signed-Range=bytes%3D{set}&Expires={expires}&Signature={signature}"
            )
        };
        let answer = reconstruction(&framed.manifest, framed.terms.clone(), &bytes, version, sign);
        let mut response = Response::new(Body::from(answer));
        set(&mut response, header::CONTENT_TYPE, "application/json; charset=utf-8");
        Ok(response)
    }

    /// The Hub's own reconstruction, for what this machine cannot keep: its clients fetch from the CDN, as without us.
    async fn through(
        &self,
        grant: &Grant,
        file: &str,
        version: Version,
        range: Option<&HeaderValue>,
    ) -> Result<Response, Response> {
        let own = Asked::within(grant.caller.clone()).own_headers();
        let target = format!("{}/xet-read-token/{}", api_of(&grant.repo), grant.commit);
        let token = self.send(Method::GET, &target, own, None).await.map_err(|why| unreachable(&why))?;
        if token.status() != StatusCode::OK {
            return Err(token);
        }
        let token = axum::body::to_bytes(token.into_body(), TOKEN_BYTES_MAX).await.unwrap_or_default();
        let token: serde_json::Value = serde_json::from_slice(&token).unwrap_or_default();
        let bearer = format!("Bearer {}", token["accessToken"].as_str().unwrap_or_default());
        let mut headers = HeaderMap::new();
        if let Ok(mut bearer) = HeaderValue::try_from(bearer) {
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        if let Some(range) = range {
            headers.insert(header::RANGE, range.clone());
        }
        let version = match version {
            Version::One => "v1",
            Version::Two => "v2",
        };
        let cas = token["casUrl"].as_str().unwrap_or_default().trim_end_matches('/');
        let url = format!("{cas}/{version}/reconstructions/{file}");
        self.relay.cas(&url, headers).await.map_err(|why| unreachable(&why))
    }

    /// The file as xorbs: of its own chunks where they are known.
    async fn framed(&self, entry: &TreeEntry) -> Option<Arc<Framed>> {
        let (hash, size) = (entry.xet_hash?, entry.content_size());
        let known = self.frames.of(&hash);
        if let Some(framed) = known.iter().find(|framed| framed.real) {
            return Some(framed.clone());
        }
        let (session, has_frames) = (self.session.clone(), !known.is_empty());
        let made = super::answers::blocking(move || {
            let manifest =
                session.store().catalog.load_manifest(&hash, Access::Own).filter(|list| list.size() == size);
            match manifest {
                Some(manifest) => Framed::new(hash, manifest, true),
                None if has_frames => None,
                None => Framed::of_equal_length(hash, size),
            }
        });
        match made.await {
            Some(framed) => Some(self.frames.add(Arc::new(framed))),
            None => known.into_iter().next(),
        }
    }

    async fn xorb(&self, app: &Arc<App>, parts: &Parts, grant: &str, file: &str, xorb: &str) -> Response {
        let denied = |why: &str| text(StatusCode::FORBIDDEN, &format!("Auth failed: {why}"));
        let query = parse_form(parts.uri.query().unwrap_or_default());
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let set_text = value("X-Xet-Signed-Range").unwrap_or_default();
        let expires = value("Expires").and_then(|expires| expires.parse().ok()).unwrap_or(0);
        let content = signed(grant, file, xorb, set_text.strip_prefix("bytes=").unwrap_or_default());
        if !self.signer.is_valid(Purpose::Xorb, &content, expires, value("Signature").unwrap_or_default()) {
            return denied("bad or expired signature");
        }
        let Some(grant) = self.grants.get(grant) else { return denied("the token has expired") };
        let signed = closed_ranges(set_text, RANGES_MAX.max(zest_xet::XORB_CHUNKS_MAX)).unwrap_or_default();
        let asked = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let asked = match asked {
            Some(asked) => closed_ranges(asked, RANGES_MAX),
            None => Some(signed.clone()).filter(|all| all.len() == 1),
        };
        let Some(asked) = asked else { return denied("a Range header with closed ranges is required") };
        let is_inside = |range: &Range<u64>| {
            signed.iter().any(|signed| signed.start <= range.start && range.end <= signed.end)
        };
        if !asked.iter().all(is_inside) {
            return denied("the range lies outside the signed ranges");
        }
        let (Ok(file), Ok(hash)) = (file.parse::<Hash>(), xorb.parse::<Hash>()) else {
            return text(StatusCode::NOT_FOUND, "no such xorb");
        };
        let found = self.frames.of(&file).into_iter().find_map(|framed| {
            framed.terms.iter().map(|term| &term.xorb).find(|xorb| xorb.hash() == hash).cloned()
        });
        // 403 makes clients ask for the reconstruction again, which then names other xorbs.
        let Some(xorb) = found.filter(|xorb| asked.iter().all(|range| range.end <= xorb.bytes())) else {
            return denied("the xorb is gone, ask for the reconstruction again");
        };
        let Some(entry) = self.entry_of(&grant, &file).await else {
            return denied("the file is gone, ask for the reconstruction again");
        };
        let mut reader = self.open(app, &grant.caller, &grant.repo, &grant.commit, &entry).await;
        if let Some(first) = asked.first().and_then(|range| xorb.sources(range.clone()).into_iter().next())
            && let Err(why) = reader.ready(first).await
        {
            if is_of_this_disk(&why) {
                let path = &entry.path;
                tracing::warn!(target: zest_store::SAID, kind = "not-kept", "{path} cannot be kept here, so it goes from the CDN to who asks: {why}");
                self.unkept.note(file);
                return denied("it cannot be kept here: ask for the reconstruction again");
            }
            return failed(&why);
        }
        let size = xorb.bytes();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, header::ETAG, &format!("\"{hash}\""));
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        let of = |range: &Range<u64>| format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let mut pieces = Vec::new();
        if let [range] = &asked[..] {
            set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
            set(&mut response, header::CONTENT_RANGE, &of(range));
            pieces.push(Part::Xorb(xorb, range.clone()));
        } else {
            set(&mut response, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={BOUNDARY}"));
            for range in &asked {
                let head = format!(
                    "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
                    of(range)
                );
                pieces.push(Part::Text(head.into()));
                pieces.push(Part::Xorb(xorb.clone(), range.clone()));
            }
            pieces.push(Part::Text(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
        }
        let total: u64 = pieces.iter().map(Part::len).sum();
        if reader.is_on_disk() {
            self.runs.sent(grant.caller.run.as_ref(), total);
        }
        set(&mut response, header::CONTENT_LENGTH, &total.to_string());
        if parts.method != Method::HEAD {
            let place = match parts.extensions.get::<Peer>() {
                Some(peer) => Some(peer.place().await),
                None => None,
            };
            *response.body_mut() = body(reader, pieces, &self.buffers, place);
        }
        response
    }
}

impl Frames {
    fn of(&self, file: &Hash) -> Vec<Arc<Framed>> {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter(|framed| framed.file == *file).cloned().collect()
    }

    fn add(&self, framed: Arc<Framed>) -> Arc<Framed> {
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            frames.iter().find(|known| known.file == framed.file && known.real == framed.real)
        {
            return known.clone();
        }
        if frames.len() >= FRAMED_MAX {
            frames.remove(0);
        }
        frames.push(framed.clone());
        framed
    }
}

/// What the signature of a token stands for.
fn granted(grant: &str, kind: &str, name: &str, commit: &str) -> String {
    format!("{grant} {kind} {name} {commit}")
}

/// What the signature of a xorb's URL stands for.
fn signed(grant: &str, file: &str, xorb: &str, set: &str) -> String {
    format!("{grant} {file} {xorb} {set}")
}

/// A repository's name as one segment of a path; `~` cannot be part of a name.
pub(super) fn scope_name(repo: &RepoId) -> String {
    repo.name.replace('/', "~")
}

fn text(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(message.to_owned()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

/// Whether a path is one of the CAS.
pub(super) fn is_cas(uri: &Uri) -> bool {
    uri.path().starts_with("/xet/")
        && RepoType::ALL.iter().any(|kind| {
            uri.path()[5..].split('/').next().is_some_and(|word| word == kind.plural() || word == "xorb")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_equal_length_cover_the_file_and_have_names_of_their_own() {
        let (one, other) = (chunk_hash(b"one"), chunk_hash(b"other"));
        for size in [1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 200_000_000] {
            let framed = Framed::of_equal_length(one, size).expect("laid out");
            assert_eq!(framed.manifest.size(), size);
            let covered: u64 = framed
                .terms
                .iter()
                .map(|term| {
                    let bytes = term.xorb.start_of(term.chunks.start)..term.xorb.start_of(term.chunks.end);
                    term.xorb.sources(bytes).iter().map(|source| source.end - source.start).sum::<u64>()
                })
                .sum();
            assert_eq!(covered, size);
            let twin = Framed::of_equal_length(other, size).expect("laid out");
            assert_ne!(twin.terms[0].xorb.hash(), framed.terms[0].xorb.hash());
        }
        assert!(
            Framed::of_equal_length(one, 0).is_none()
                || Framed::of_equal_length(one, 0).is_some_and(|f| f.terms.is_empty())
        );
    }
}
