//! Plain files: `resolve`, answered from the cache or while they arrive.

use super::body::{Part, body};
use super::files::Reader;
use super::hub::{is_out, unreachable, warn_of_age};
use super::route::resolve_of;
use super::standing::Level;
use super::{Asked, Endpoint, error, set};
use crate::app::App;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use zest_hub_server::parts::{Wanted, wanted};
use zest_runtime_tokio::PullErrorKind;
use zest_store::{RepoId, TreeEntry};

const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");

/// How long a client waits here for the first byte: 6 s. huggingface_hub gives up after 10, and after five times for good. Ours.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(6);
/// The same, where that was too short within the last minute: 1 s. Ours.
const AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// The same for a part that is read as such, where nobody is linked who might give it: 10 ms, in which what is on the disk is found.
/// Ours.
const PART_WITHIN: Duration = Duration::from_millis(10);
/// How long a CDN may take to show that it gives bytes before a client is sent there: 5 s. Ours.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// For how long that is taken for granted: 1 min. Ours.
const SHOWN_FOR: Duration = Duration::from_secs(60);
/// Longest such part: 16 MiB. huggingface_hub's `HfFileSystem` reads 5 MiB at a time, others the header of a file; who wants more wants
/// the file.
const PART_BYTES_MAX: u64 = 16 << 20;

/// Why this machine does not give bytes.
pub(super) enum Elsewhere {
    /// They come, and none of them can be proven soon.
    Late(Box<Reader>),
    /// They cannot be had.
    Failed(PullErrorKind),
}

/// A question that ends with who asked it.
struct Ahead(tokio::task::JoinHandle<Option<Response>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The permission to read.
pub(super) struct Permission {
    /// The Hub could not be asked.
    pub(super) stale: bool,
    /// Until when the Hub's yes counts, where not everybody may read.
    pub(super) until: Option<SystemTime>,
}

/// No permission.
pub(super) enum Denied {
    /// The Hub has refused, or is busy: it says so itself to whoever asks.
    ByTheHub,
    /// The Hub could not be asked, and not everybody may read.
    Unasked(Box<Response>),
}

impl Endpoint {
    /// Answers `GET` and `HEAD` of a file.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        app: &Arc<App>,
        asked: &Asked,
        method: &Method,
        headers: HeaderMap,
        (repo, revision, path): (&RepoId, &str, &str),
    ) -> Response {
        let pass = || self.pass(asked, method.clone(), headers.clone(), Body::empty());
        let ahead = match *method {
            Method::GET => self.ahead(asked, &headers, (repo, path)).await,
            _ => None,
        };
        let resolved = match self.commit_of(asked, repo, revision).await {
            Ok(resolved) => resolved,
            // The Hub says what it says of this very request.
            Err(response) if is_out(response.status()) => return response,
            Err(_) => return pass().await,
        };
        let commit = resolved.commit.as_str();
        let permission = match self.permission(asked, repo, commit, &resolve_of(repo, commit, path)).await {
            Ok(permission) => permission,
            Err(Denied::ByTheHub) => return pass().await,
            Err(Denied::Unasked(response)) => return *response,
        };
        let Some(list) = self.list(asked, repo, commit).await else { return pass().await };
        let stale = permission.stale || resolved.stale;
        let Some(entry) = list.get(path) else {
            // The list is whole: the Hub need not be asked for each file that a client looks for in vain.
            let mut response = error(StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found");
            set(&mut response, REPO_COMMIT, commit);
            if stale {
                warn_of_age(&mut response);
            }
            return response;
        };
        let mut response = match *method {
            Method::HEAD => head(entry),
            _ => match self
                .bytes_or_elsewhere(app, asked, &headers, (repo, commit, entry), (ahead, pass))
                .await
            {
                Ok(response) => response,
                // A disk that takes nothing, or whatever else only we have met: the Hub sends the client on.
                Err(PullErrorKind::Disk | PullErrorKind::Place | PullErrorKind::Verify) => {
                    return pass().await;
                }
                Err(_) if !stale => return pass().await,
                Err(_) => {
                    return error(
                        StatusCode::GATEWAY_TIMEOUT,
                        "",
                        "the file is not here, and nobody can be asked",
                    );
                }
            },
        };
        self.describe(&mut response, asked, repo, commit, entry);
        if stale {
            warn_of_age(&mut response);
        }
        response
    }

    /// Whether the caller may read a commit: everybody may, or the Hub has said so lately, or says so of `target` now.
    pub(super) async fn permission(
        &self,
        asked: &Asked,
        repo: &RepoId,
        commit: &str,
        target: &str,
    ) -> Result<Permission, Denied> {
        if self.is_public(repo, commit) {
            return Ok(Permission { stale: false, until: None });
        }
        let caller = &asked.caller;
        if let Some(until) = self.standing.accepted_until(caller, repo, commit, Level::Read) {
            return Ok(Permission { stale: false, until: Some(until) });
        }
        let answer = self.send(Method::HEAD, target, asked.own_headers(), None).await;
        let status = answer.as_ref().map(Response::status);
        match status {
            Ok(status) if status.is_success() || status.is_redirection() => {
                self.standing.note_accepted(caller, repo, commit, Level::Read);
                let until = self.standing.accepted_until(caller, repo, commit, Level::Read);
                return Ok(Permission { stale: false, until });
            }
            Ok(status) if !is_out(status) => {
                self.note_refusal(asked, repo, status);
                return Err(Denied::ByTheHub);
            }
            _ if self.was_public(repo, commit).await => {
                tracing::warn!(
                    target: zest_store::SAID,
                    kind = "stale",
                    "{repo} at {commit}: the Hub cannot be asked: anyone could read it when it was"
                );
                return Ok(Permission { stale: true, until: None });
            }
            // It says when it wants to be asked again.
            Ok(_) => return Err(Denied::ByTheHub),
            Err(_) => {}
        }
        let response = answer.unwrap_or_else(|why| unreachable(&why));
        Err(Denied::Unasked(Box::new(response)))
    }

    /// The bytes that a request wants; or, where they would come too late for many a client, where the Hub sends it.
    async fn bytes_or_elsewhere<P: Future<Output = Response>>(
        &self,
        app: &Arc<App>,
        asked: &Asked,
        headers: &HeaderMap,
        (repo, commit, entry): (&RepoId, &str, &TreeEntry),
        (ahead, pass): (Option<Ahead>, impl Fn() -> P),
    ) -> Result<Response, PullErrorKind> {
        let patience = match entry.xet_hash.is_some_and(|hash| self.late.is_noted(&hash)) {
            true => AGAIN_WITHIN,
            false => FIRST_BYTE_WITHIN,
        };
        let of = (repo, commit, entry);
        let sent_on = async {
            let part = self.part_of(headers, entry).await?;
            // Not for what is here.
            tokio::time::sleep(PART_WITHIN).await;
            match ahead {
                Some(mut ahead) => (&mut ahead.0).await.ok().flatten(),
                None => self.sent_on(asked, part.start, pass()).await,
            }
        };
        let own = self.bytes_of(app, asked, headers, of, Some(patience));
        let (mut sent_on, mut own) = (pin!(sent_on), pin!(own));
        let own = tokio::select! {
            biased;
            own = &mut own => own,
            sent = &mut sent_on => match sent {
                // The file goes on coming: the parts that follow are given from here.
                Some(sent) => return Ok(sent),
                None => own.await,
            },
        };
        let reader = match own {
            Err(Elsewhere::Late(reader)) => reader,
            Err(Elsewhere::Failed(why)) => return Err(why),
            Ok(response) => return Ok(response),
        };
        let sent = pass().await;
        if sent.status().is_success() || sent.status().is_redirection() {
            tracing::info!(target: "zest::endpoint", path = entry.path, "the line is slow: the Hub sends the client on");
            entry.xet_hash.into_iter().for_each(|hash| self.late.note(hash));
            reader.let_go();
            return Ok(sent);
        }
        // Nobody else gives it sooner.
        let waited = self.bytes_of(app, asked, headers, (repo, commit, entry), None).await;
        waited.map_err(|why| match why {
            Elsewhere::Failed(why) => why,
            Elsewhere::Late(_) => PullErrorKind::Network,
        })
    }

    /// The part, if only a few bytes are wanted, and nobody is linked who might give them sooner than the CDN. Without a list of chunks they
    /// can be proven when their whole xorb is here, and the CDN gives them in one round trip.
    async fn part_of(&self, headers: &HeaderMap, entry: &TreeEntry) -> Option<Range<u64>> {
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let size = entry.content_size();
        // Who leaves the end open goes on with a download.
        let is_small = size > PART_BYTES_MAX && range.is_some_and(|range| !range.ends_with('-'));
        let Wanted::Part(part) = wanted(range, size) else { return None };
        let is_part = is_small && part.end - part.start <= PART_BYTES_MAX;
        (is_part && self.session.stats().await.peers == 0).then_some(part)
    }

    /// The same, begun while the Hub is still asked what files there are, or what a branch is: of this file nothing is here so far.
    async fn ahead(
        self: &Arc<Self>,
        asked: &Asked,
        headers: &HeaderMap,
        (repo, path): (&RepoId, &str),
    ) -> Option<Ahead> {
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let Wanted::Part(part) = wanted(range.filter(|range| !range.ends_with('-')), u64::MAX) else {
            return None;
        };
        if part.end - part.start > PART_BYTES_MAX || self.session.stats().await.peers > 0 {
            return None;
        }
        if let Some((commit, list)) = self.lists.last(repo) {
            let entry = list.get(path).filter(|entry| entry.content_size() > PART_BYTES_MAX)?;
            let comes = match entry.xet_hash {
                Some(hash) => self.session.came(hash).await.is_some(),
                None => false,
            };
            if comes || self.is_here(repo, &commit, entry).await {
                return None;
            }
        }
        let (endpoint, asked, headers) = (self.clone(), asked.clone(), headers.clone());
        Some(Ahead(tokio::spawn(async move {
            let pass = endpoint.pass(&asked, Method::GET, headers, Body::empty());
            endpoint.sent_on(&asked, part.start, pass).await
        })))
    }

    /// Where the Hub sends the client for a part, if that gives bytes: a client cannot wait for an outage, and this machine can.
    async fn sent_on(
        &self,
        asked: &Asked,
        begin: u64,
        pass: impl Future<Output = Response>,
    ) -> Option<Response> {
        let (sent, is_news) = match self.sent_on.find(asked) {
            Some(sent) => (sent, false),
            None => (pass.await, true),
        };
        let to = sent.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        let to = to.filter(|_| sent.status().is_redirection())?;
        if is_news {
            self.sent_on.note(asked, &sent);
        }
        let shown = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < SHOWN_FOR);
        let lately = shown(&self.cdn_shown.lock().unwrap_or_else(PoisonError::into_inner));
        if !lately {
            let byte = format!("bytes={begin}-{begin}");
            let headers = HeaderMap::from_iter([(header::RANGE, byte.parse().ok()?)]);
            let ask = async {
                match to.strip_prefix(&asked.prefix) {
                    Some(target) => self.send(Method::GET, target, headers, None).await,
                    None => self.relay.elsewhere(to, headers).await,
                }
            };
            let answer = tokio::time::timeout(SHOWN_WITHIN, ask).await.ok()?.ok()?;
            if answer.status() != StatusCode::PARTIAL_CONTENT {
                return None;
            }
            // The byte itself, not only that it is promised.
            let mut body = answer.into_body().into_data_stream();
            tokio::time::timeout(SHOWN_WITHIN, body.next()).await.ok()??.ok()?;
            *self.cdn_shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        tracing::debug!(target: "zest::endpoint", path = asked.target, "a part cannot be proven at once: the Hub sends the client on");
        Some(sent)
    }

    /// The bytes that a request wants. With `patience`: unless no byte can be proven for so long although bytes come.
    pub(super) async fn bytes_of(
        &self,
        app: &Arc<App>,
        asked: &Asked,
        headers: &HeaderMap,
        (repo, commit, entry): (&RepoId, &str, &TreeEntry),
        patience: Option<Duration>,
    ) -> Result<Response, Elsewhere> {
        let size = entry.content_size();
        let etag = format!("\"{}\"", entry.etag());
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A part of what was another file is of no use.
        let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|of| of == etag));
        let mut response = Response::new(Body::empty());
        let range = match wanted(range, size) {
            Wanted::All => 0..size,
            Wanted::Part(range) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let of = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                set(&mut response, header::CONTENT_RANGE, &of);
                range
            }
            Wanted::Nothing => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
                return Ok(response);
            }
        };
        set(&mut response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        if range.is_empty() {
            return Ok(response);
        }
        let mut reader = self.open(app, &asked.caller, repo, commit, entry).await;
        if reader.is_on_disk() {
            self.runs.sent(asked.caller.run.as_ref(), range.end - range.start);
        }
        // What goes wrong before the first byte can still be answered.
        let first = loop {
            let Some(patience) = patience else { break reader.ready(range.clone()).await };
            let before = reader.came().await;
            match tokio::time::timeout(patience, reader.ready(range.clone())).await {
                Ok(first) => break first,
                // Where nothing comes at all the Hub's own CDN is out as well, most of the time: then it is waited for.
                Err(_late) if reader.came().await.unwrap_or(0) > before.unwrap_or(0) => {
                    return Err(Elsewhere::Late(Box::new(reader)));
                }
                Err(_late) => {}
            }
        };
        if let Err(why) = first {
            tracing::info!(target: "zest::endpoint", path = entry.path, "cannot be given from here: {why}");
            return Err(Elsewhere::Failed(why.kind()));
        }
        let place = match &asked.peer {
            Some(peer) => Some(peer.place().await),
            None => None,
        };
        *response.body_mut() = body(reader, vec![Part::File(range)], &self.buffers, place);
        Ok(response)
    }

    /// What a client wants to know of a file before it downloads it.
    fn describe(
        &self,
        response: &mut Response,
        asked: &Asked,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
    ) {
        let (etag, size) = (format!("\"{}\"", entry.etag()), entry.content_size());
        set(response, REPO_COMMIT, commit);
        set(response, header::ETAG, &etag);
        set(response, header::ACCEPT_RANGES, "bytes");
        set(response, header::CONTENT_TYPE, "application/octet-stream");
        set(response, LINKED_SIZE, &size.to_string());
        set(response, LINKED_ETAG, &etag);
        let Some(hash) = entry.xet_hash else { return };
        set(response, XET_HASH, &hash.to_string());
        let token = format!("{}{}/xet-read-token/{commit}", asked.base, super::route::api_of(repo));
        let cas = asked.cas(repo, commit);
        let link = format!(
            "<{token}>; rel=\"xet-auth\", <{cas}/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\""
        );
        set(response, header::LINK, &link);
    }
}

fn head(entry: &TreeEntry) -> Response {
    let mut response = Response::new(Body::empty());
    set(&mut response, header::CONTENT_LENGTH, &entry.content_size().to_string());
    response
}
