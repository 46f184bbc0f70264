//! What the Hub says: passed on, kept where it does not change, and repeated, with a warning, where the Hub cannot be asked.

use super::answers::{KEPT_BYTES_MAX, Kept};
use super::route::{Route, revision_of};
use super::standing::{Caller, Level};
use super::{Asked, Endpoint, error};
use crate::limits::{FORM_BYTES_MAX, TURNS_MAX};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zest_hub::HubError;
use zest_hub_server::guard::{FormError, Peer};
use zest_store::{Commit, RepoId, is_commit};

/// How long an answer about a branch serves those who ask the same with the same token: 5 s. Twenty programs that start together
/// ask once, and so does one that asks for each of its files.
const SAME_FOR: Duration = Duration::from_secs(5);

/// What is said with an answer that is repeated (RFC 9111, 5.5).
const WARNING: &str = "111 zest \"the Hub cannot be asked: this is what it said last\"";

/// One question at a time, and what was answered lately.
pub(super) type Turn = Arc<tokio::sync::Mutex<Option<(Instant, Kept)>>>;

/// A commit, and what is to be said with it.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) commit: String,
    /// The Hub could not be asked: this is what it said last.
    pub(super) stale: bool,
}

/// Whether the Hub says that a commit has no such file or folder.
fn is_no_entry(response: &Response) -> bool {
    let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
    response.status() == StatusCode::NOT_FOUND && code == Some("EntryNotFound")
}

impl Endpoint {
    /// A question about a repository that has an answer of one piece.
    pub(super) async fn ask(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
        method: &Method,
        body: Body,
    ) -> Response {
        let form = match *method {
            Method::POST => match self.form(asked, body).await {
                Ok(form) => Some(form),
                Err(response) => return response,
            },
            _ => None,
        };
        match self.answer(asked, headers, form).await {
            Ok((kept, stale)) => self.give(&kept, stale, asked, *method == Method::HEAD),
            Err(response) => response,
        }
    }

    async fn form(&self, asked: &Asked, body: Body) -> Result<Bytes, Response> {
        let Some(peer) = &asked.peer else { return Ok(Bytes::new()) };
        Peer::form(peer, body, FORM_BYTES_MAX).await.map(Bytes::from).map_err(|why| match why {
            FormError::TooLong => error(StatusCode::PAYLOAD_TOO_LARGE, "", "more than 1 MiB"),
            FormError::Late => error(StatusCode::REQUEST_TIMEOUT, "", "the body did not come in time"),
            FormError::Busy => error(StatusCode::SERVICE_UNAVAILABLE, "", "too many bodies at a time"),
        })
    }

    /// The answer, and whether it is only what was said last. What is no 200 is given back as it is.
    async fn answer(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
        form: Option<Bytes>,
    ) -> Result<(Kept, bool), Response> {
        let question = match &form {
            None => format!("GET {}", asked.target),
            Some(form) => format!("POST {} {}", asked.target, hex(&Sha256::digest(form))),
        };
        let (repo, commit) = match &asked.route {
            Route::Revision { repo, revision } | Route::Tree { repo, revision, .. } => {
                (repo, Some(revision).filter(|revision| is_commit(revision)))
            }
            Route::Refs { repo } => (repo, None),
            _ => return Err(error(StatusCode::NOT_FOUND, "", "no such question")),
        };
        let caller = &asked.caller;
        if let Some(commit) = commit
            && self.may_list(caller, repo, commit)
            && let Some(kept) = self.answers.get(&question).await
        {
            return Ok((kept, false));
        }
        let turn = self.turn(&question, caller);
        let mut turn = turn.lock().await;
        if let Some((at, kept)) = turn.as_ref()
            && at.elapsed() < SAME_FOR
        {
            return Ok((kept.clone(), false));
        }
        let (method, body) = match &form {
            None => (Method::GET, None),
            Some(form) => (Method::POST, Some(Body::from(form.clone()))),
        };
        let mut headers = headers.clone();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(header::IF_NONE_MATCH);
        if let Some(form) = &form {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(form.len()));
        }
        let answer = self.send(method, &asked.target, headers, body).await;
        let silent = match answer {
            Ok(response) if is_out(response.status()) => Some(Ok(response)),
            Ok(response) if response.status() == StatusCode::OK => {
                let kept = self.read(response).await?;
                self.learn(asked, repo, &kept, form.is_some()).await;
                self.answers.put(&question, &kept).await;
                *turn = Some((Instant::now(), kept.clone()));
                return Ok((kept, false));
            }
            // A folder that a commit has not got does not come to be, and says nothing of who may read. Clients look for some in vain.
            Ok(response) if commit.is_some() && is_no_entry(&response) => {
                let kept = self.read(response).await?;
                self.answers.put(&question, &kept).await;
                return Ok((kept, false));
            }
            Ok(response) => {
                self.note_refusal(asked, repo, response.status());
                return Err(self.at_home(asked, response));
            }
            Err(why) => Some(Err(why)),
        };
        drop(turn);
        if let Some(kept) = self.answers.get(&question).await
            && self.was_open(asked, repo, commit.map(String::as_str), &kept).await
        {
            tracing::warn!(target: zest_store::SAID, kind = "stale", "{question}: the Hub cannot be asked: answered with what it said last");
            return Ok((kept, true));
        }
        match silent {
            Some(Ok(response)) => Err(self.at_home(asked, response)),
            Some(Err(why)) => Err(unreachable(&why)),
            None => Err(error(StatusCode::BAD_GATEWAY, "", "the Hub did not answer")),
        }
    }

    /// An answer of one piece.
    async fn read(&self, response: Response) -> Result<Kept, Response> {
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let Ok(piece) = piece else {
                return Err(error(StatusCode::BAD_GATEWAY, "", "the Hub broke its answer off"));
            };
            if bytes.len() + piece.len() > KEPT_BYTES_MAX {
                return Err(error(StatusCode::BAD_GATEWAY, "", "the Hub's answer is longer than 32 MiB"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Kept::new(parts.status, &parts.headers, bytes.into()))
    }

    /// What an answer says of who may read, and of which files there are.
    async fn learn(&self, asked: &Asked, repo: &RepoId, kept: &Kept, is_form: bool) {
        let caller = &asked.caller;
        match &asked.route {
            Route::Revision { .. } => {
                let Ok(answer) = serde_json::from_slice::<Value>(&kept.body) else { return };
                let Some(commit) = answer["sha"].as_str().filter(|commit| is_commit(commit)) else { return };
                self.standing.note_accepted(caller, repo, commit, Level::List);
                let open = answer["private"] == Value::Bool(false) && answer["gated"] == Value::Bool(false);
                let of = of(repo, commit);
                if open {
                    self.standing.note_public(repo, commit);
                    self.answers.note_public(&of).await;
                } else {
                    self.note_closed(repo);
                    self.answers.note_closed(&of).await;
                }
            }
            Route::Tree { revision: commit, whole, .. } if is_commit(commit) => {
                self.standing.note_accepted(caller, repo, commit, Level::List);
                let is_last = !kept.headers.contains_key(header::LINK);
                if *whole && is_last && !is_form {
                    self.note_list(repo, commit, vec![kept.body.clone()]).await;
                }
            }
            _ => {}
        }
    }

    /// Pages that are together the list of a commit's files: pulls need not ask for it again.
    pub(super) async fn note_list(&self, repo: &RepoId, commit: &str, pages: Vec<Bytes>) {
        let (session, repo, commit) = (self.session.clone(), repo.clone(), commit.to_owned());
        let hub = self.hub.clone();
        super::answers::blocking(move || {
            let Some(entries) = super::files::entries_of(&repo, &pages) else { return };
            let store = session.store();
            let of = Commit { hub: Some(hub), repo: repo.clone(), commit: commit.clone() };
            let noted = store.catalog.note_list(&of, &entries);
            let noted = noted.and_then(|()| store.cache.write_tree(&repo, &commit, &entries));
            if let Err(error) = noted {
                tracing::info!(%error, "the list of files is not kept");
            }
        })
        .await;
    }

    /// What a branch, tag or commit stands for.
    pub(super) async fn commit_of(
        &self,
        asked: &Asked,
        repo: &RepoId,
        revision: &str,
    ) -> Result<Resolved, Response> {
        if is_commit(revision) {
            return Ok(Resolved { commit: revision.to_owned(), stale: false });
        }
        let route = Route::Revision { repo: repo.clone(), revision: revision.to_owned() };
        let question = Asked { target: revision_of(repo, revision), route, ..asked.clone() };
        let (kept, stale) = self.answer(&question, &asked.own_headers(), None).await?;
        let answer: Value = serde_json::from_slice(&kept.body).unwrap_or_default();
        match answer["sha"].as_str().filter(|commit| is_commit(commit)) {
            Some(commit) => Ok(Resolved { commit: commit.to_owned(), stale }),
            None => Err(error(StatusCode::BAD_GATEWAY, "", "the Hub names no commit")),
        }
    }

    /// Whether what was said last may be repeated: it was said to everybody.
    async fn was_open(&self, asked: &Asked, repo: &RepoId, commit: Option<&str>, kept: &Kept) -> bool {
        let commit = match (&asked.route, commit) {
            (_, Some(commit)) => Some(commit.to_owned()),
            (Route::Revision { .. }, None) => {
                let answer: Value = serde_json::from_slice(&kept.body).unwrap_or_default();
                answer["sha"].as_str().map(str::to_owned)
            }
            // Branches, and what is on one, say no commit: what the repository's main branch says counts.
            (_, None) => self.last_commit(repo).await,
        };
        match commit {
            Some(commit) => self.was_public(repo, &commit).await,
            None => false,
        }
    }

    async fn last_commit(&self, repo: &RepoId) -> Option<String> {
        let kept = self.answers.get(&format!("GET {}", revision_of(repo, "main"))).await?;
        let answer: Value = serde_json::from_slice(&kept.body).ok()?;
        answer["sha"].as_str().map(str::to_owned)
    }

    /// Whether everybody could read a commit when the Hub was asked last.
    pub(super) async fn was_public(&self, repo: &RepoId, commit: &str) -> bool {
        self.is_public(repo, commit) || self.answers.was_public(&of(repo, commit)).await
    }

    /// A word that a caller is not to read a repository. If that is nobody in particular, not everybody may.
    pub(super) fn note_refusal(&self, asked: &Asked, repo: &RepoId, status: StatusCode) {
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            return;
        }
        self.standing.note_refused(&asked.caller, repo);
        if asked.caller.token.is_none() && status != StatusCode::NOT_FOUND {
            self.note_closed(repo);
        }
    }

    fn note_closed(&self, repo: &RepoId) {
        self.standing.note_closed(repo);
        // Nobody else is given it either.
        if let Err(error) = self.session.store().catalog.revoke_repo(&self.hub, repo) {
            tracing::warn!(
                target: zest_store::SAID,
                kind = "not-noted",
                "{repo} is not shared any more, and other processes cannot be told: {error}"
            );
        }
    }

    fn turn(&self, question: &str, caller: &Caller) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if turns.len() >= TURNS_MAX {
            turns.retain(|_, turn| {
                let fresh = |turn: &Option<(Instant, Kept)>| {
                    turn.as_ref().is_some_and(|(at, _)| at.elapsed() < SAME_FOR)
                };
                Arc::strong_count(turn) > 1 || turn.try_lock().is_ok_and(|turn| fresh(&turn))
            });
        }
        turns.entry((question.to_owned(), caller.mark())).or_default().clone()
    }

    fn give(&self, kept: &Kept, stale: bool, asked: &Asked, is_head: bool) -> Response {
        let body = if is_head { Body::empty() } else { Body::from(kept.body.clone()) };
        let mut response = Response::new(body);
        *response.status_mut() = kept.status;
        *response.headers_mut() = kept.headers.clone();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(kept.body.len()));
        if stale {
            warn_of_age(&mut response);
        }
        self.at_home(asked, response)
    }

    /// Sends something to the Hub, unless nobody is to be asked.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Response, HubError> {
        if self.session.env().offline {
            let reason = "nobody is asked offline (HF_HUB_OFFLINE)".to_owned();
            return Err(HubError::Unreachable { url: self.hub.to_string(), reason, tries: 0 });
        }
        self.relay.pass(method, target, headers, body).await
    }

    /// Passes a request on, and what the Hub says back.
    pub(super) async fn pass(
        &self,
        asked: &Asked,
        method: Method,
        headers: HeaderMap,
        body: Body,
    ) -> Response {
        let has_body =
            headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
        let body = has_body.then_some(body);
        match self.send(method, &asked.target, headers, body).await {
            Ok(response) => self.at_home(asked, response),
            Err(why) => unreachable(&why),
        }
    }

    /// Links to the Hub lead here.
    pub(super) fn at_home(&self, asked: &Asked, mut response: Response) -> Response {
        let here =
            |link: &str| self.relay.at_home(&asked.target, link).map(|to| format!("{}{to}", asked.base));
        let headers = response.headers_mut();
        // A path without a host is what Hub clients follow.
        let location = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| {
            let to = self.relay.at_home(&asked.target, to)?;
            HeaderValue::try_from(format!("{}{to}", asked.prefix)).ok()
        });
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        let links: Vec<HeaderValue> = headers
            .get_all(header::LINK)
            .iter()
            .map(|value| {
                let led = value.to_str().ok().and_then(|text| HeaderValue::try_from(lead(text, here)).ok());
                led.unwrap_or_else(|| value.clone())
            })
            .collect();
        headers.remove(header::LINK);
        for link in links {
            headers.append(header::LINK, link);
        }
        response
    }
}

/// A `Link` header with its targets changed.
fn lead(text: &str, to: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split('<');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('<');
        match part.split_once('>') {
            Some((target, rest)) => {
                out.push_str(&to(target).unwrap_or_else(|| target.to_owned()));
                out.push('>');
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}

/// A commit's name among what is noted.
fn of(repo: &RepoId, commit: &str) -> String {
    format!("{}/{} {commit}", repo.kind.plural(), repo.name)
}

/// A gateway says that what is behind it cannot be reached.
pub(super) fn is_out(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

pub(super) fn warn_of_age(response: &mut Response) {
    const NAME: HeaderName = HeaderName::from_static("warning");
    response.headers_mut().insert(NAME, HeaderValue::from_static(WARNING));
}

/// The Hub cannot be asked.
pub(super) fn unreachable(why: &HubError) -> Response {
    error(StatusCode::GATEWAY_TIMEOUT, "", &format!("zest cannot ask the Hub: {why}"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
