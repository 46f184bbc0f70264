//! `resolve`: a file by repository, revision and path. Xet files are redirected to the CDN, others sent from here.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use zest_store::{RepoId, RepoType};

use super::App;
use super::api::{Permission, kind_of, no_such_call, not_a_repo, repo_of, xet_token_url};
use super::body::{Part, body};
use super::library::{Entry, Freshness, Snapshot, blocking};
use super::request::{Request, Wanted, escape_path, hub_error, set, wanted};
use super::sign::{Purpose, unix_now};
use super::stats::count;

const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");

impl App {
    /// Answers `[{datasets|spaces}/]{org}/{name}/resolve/{revision}/{path}`.
    pub(crate) async fn resolve(self: &Arc<Self>, request: &Request) -> Response {
        let (kind, at) = match kind_of(request.segment(0)) {
            Some(kind @ (RepoType::Dataset | RepoType::Space)) => (kind, 1),
            _ => (RepoType::Model, 0),
        };
        if request.segment(at + 2) != "resolve" || request.segments.len() < at + 5 {
            return no_such_call();
        }
        let repo = repo_of(kind, request.segment(at), request.segment(at + 1));
        let found = self.find(request, repo, request.segment(at + 3), &request.rest(at + 4)).await;
        match found {
            Ok((repo, snapshot, entry)) => self.redirect(request, &repo, &snapshot, &entry),
            Err(error) => error,
        }
    }

    /// Answers `/api/resolve-cache/{kind}/{org}/{name}/{commit}/{path}`, to which small files are redirected.
    pub(crate) async fn resolve_cache(self: &Arc<Self>, request: &Request) -> Response {
        let repo = kind_of(request.segment(2))
            .and_then(|kind| repo_of(kind, request.segment(3), request.segment(4)));
        match self.find(request, repo, request.segment(5), &request.rest(6)).await {
            Ok((repo, snapshot, entry)) if entry.digest.xet().is_some() => {
                self.redirect(request, &repo, &snapshot, &entry)
            }
            Ok((_, snapshot, entry)) => {
                let mut response = self.send_file(request, &entry, false).await;
                set(&mut response, REPO_COMMIT, &snapshot.commit);
                response
            }
            Err(error) => error,
        }
    }

    async fn find(
        &self,
        request: &Request,
        repo: Option<RepoId>,
        revision: &str,
        path: &str,
    ) -> Result<(RepoId, Arc<Snapshot>, Entry), Response> {
        let repo = repo.ok_or_else(not_a_repo)?;
        self.admit(request, &repo, Permission::Read).await?;
        count(&self.counters.resolves, 1);
        let mut snapshot = self.snapshot(&repo, revision, Freshness::Recent).await?;
        for freshness in [Freshness::Recent, Freshness::Now] {
            if freshness == Freshness::Now {
                snapshot = self.snapshot(&repo, revision, freshness).await?;
            }
            if let Some(entry) = snapshot.file(path) {
                let (entry, disk) = (entry.clone(), entry.disk.clone());
                if blocking(move || disk.is_unchanged()).await {
                    return Ok((repo, snapshot, entry));
                }
            }
        }
        let mut error = hub_error(StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found");
        set(&mut error, REPO_COMMIT, &snapshot.commit);
        Err(error)
    }

    /// Sets the headers that tell a client what it wants to know about a file before it downloads it.
    pub(crate) fn describe(
        &self,
        response: &mut Response,
        request: &Request,
        repo: &RepoId,
        snapshot: &Snapshot,
        entry: &Entry,
    ) {
        set(response, REPO_COMMIT, &snapshot.commit);
        set(response, header::ACCEPT_RANGES, "bytes");
        set(response, LINKED_SIZE, &entry.size().to_string());
        set(response, LINKED_ETAG, &format!("\"{}\"", entry.digest.etag()));
        let Some(content) = entry.digest.xet() else { return };
        set(response, XET_HASH, &content.to_string());
        let link = format!(
            "<{}>; rel=\"xet-auth\", <{}{}/v1/reconstructions/{content}>; rel=\"xet-reconstruction-info\"",
            xet_token_url(request, repo, &snapshot.commit),
            request.base,
            super::request::CAS,
        );
        set(response, header::LINK, &link);
    }

    /// The redirect to a file's bytes.
    fn redirect(&self, request: &Request, repo: &RepoId, snapshot: &Snapshot, entry: &Entry) -> Response {
        let mut response = Response::new(Body::empty());
        self.describe(&mut response, request, repo, snapshot, entry);
        let place = format!("{}/{}/{}/{}", repo.kind.plural(), repo.name, snapshot.commit, entry.path);
        let location = if entry.digest.xet().is_some() {
            *response.status_mut() = StatusCode::FOUND;
            let expires = unix_now() + self.faults.url_ttl_secs();
            let signature = self.signer.sign(Purpose::File, &place, expires);
            let (base, prefix, path) = (&request.base, super::request::CDN, escape_path(&place));
            format!("{base}{prefix}/file/{path}?Expires={expires}&Signature={signature}")
        } else {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            format!("/api/resolve-cache/{}", escape_path(&place))
        };
        set(&mut response, header::LOCATION, &location);
        response
    }

    /// Sends a file as it is, or a range of it.
    pub(crate) async fn send_file(
        self: &Arc<Self>,
        request: &Request,
        entry: &Entry,
        is_cdn: bool,
    ) -> Response {
        let disk = entry.disk.clone();
        let Ok(file) = blocking(move || disk.open()).await else {
            return hub_error(
                StatusCode::NOT_FOUND,
                "EntryNotFound",
                "The file changed; ask for the revision again",
            );
        };
        let size = entry.size();
        let mut response = Response::new(Body::empty());
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
        set(&mut response, header::ETAG, &format!("\"{}\"", entry.digest.etag()));
        let range = match wanted(request.header(header::RANGE), size) {
            Wanted::All => 0..size,
            Wanted::Part(range) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                set(&mut response, header::CONTENT_RANGE, &content_range);
                range
            }
            Wanted::Nothing => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
                return response;
            }
        };
        set(&mut response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        if request.method != Method::HEAD {
            *response.body_mut() =
                body(self, request.peer.as_ref(), vec![Part::File(Arc::new(file), range)], is_cdn).await;
        }
        response
    }
}
