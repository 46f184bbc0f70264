//! The Hub API: what repositories there are, their revisions and file lists, and Xet tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use zest_store::{RepoId, RepoType};

use super::App;
use super::digest::{Digest, lfs_pointer};
use super::library::{Access, Entry, Freshness, Missing, Snapshot};
use super::request::{Request, escape_path, escape_segment, hub_error, json as json_reply, parse_form, set};
use super::sign::{Purpose, equal_in_constant_time, hex, unix_now};
use super::stats::count;

/// Date in answers that must have one: the hub has no history to tell.
const SOME_DATE: &str = "2026-01-01T00:00:00.000Z";

/// Repositories in one answer to a listing: 1000.
const LISTED_REPOS_MAX: usize = 1000;

/// What a request needs the permission to do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// See that it exists and what files it has.
    List,
    /// Read its files.
    Read,
}

impl App {
    /// Whether the request carries one of our tokens.
    fn is_member(&self, request: &Request) -> bool {
        let given = request.bearer().unwrap_or_default();
        // All are compared, so that the duration does not tell which one matched.
        self.tokens
            .iter()
            .fold(false, |found, token| found | equal_in_constant_time(token.as_bytes(), given.as_bytes()))
    }

    /// Lets a request through to a repository, or gives the answer the public Hub gives. Tokens we do not know count as those of
    /// a user without rights, not as wrong: clients send the token of the public Hub along, whatever the endpoint.
    pub(crate) async fn admit(
        &self,
        request: &Request,
        repo: &RepoId,
        permission: Permission,
    ) -> Result<(), Response> {
        let stranger = request.bearer().is_none();
        let hidden = || {
            let status = if stranger { StatusCode::UNAUTHORIZED } else { StatusCode::NOT_FOUND };
            hub_error(status, "RepoNotFound", "Repository not found")
        };
        match self.library.access(repo).await.ok_or_else(hidden)? {
            Access::Private if !self.is_member(request) => Err(hidden()),
            Access::Gated if permission == Permission::Read && !self.is_member(request) => Err(if stranger {
                hub_error(
                    StatusCode::UNAUTHORIZED,
                    "GatedRepo",
                    "Access to this repository is restricted. Please log in.",
                )
            } else {
                let message =
                    "Access to this repository is restricted and you are not in the authorized list.";
                hub_error(StatusCode::FORBIDDEN, "GatedRepo", message)
            }),
            _ => Ok(()),
        }
    }

    /// The snapshot of a revision, or the Hub's error.
    pub(crate) async fn snapshot(
        &self,
        repo: &RepoId,
        revision: &str,
        freshness: Freshness,
    ) -> Result<Arc<Snapshot>, Response> {
        self.library.snapshot(repo, revision, freshness).await.map_err(|Missing| {
            let message = format!("Invalid rev id: {}", escape_path(revision));
            hub_error(StatusCode::NOT_FOUND, "RevisionNotFound", &message)
        })
    }

    /// Answers `/api/...`, except `resolve-cache`, CAS and CDN.
    pub(crate) async fn api(&self, request: &Request, form: &[u8]) -> Response {
        let result = match (request.segment(1), request.segment(2)) {
            ("whoami-v2", "") => Ok(self.whoami(request)),
            (kind, "") => match kind_of(kind) {
                Some(kind) => Ok(self.list(request, kind).await),
                None => Err(no_such_call()),
            },
            (kind, _) => match kind_of(kind) {
                Some(kind) => self.repo_api(request, kind, form).await,
                None => Err(no_such_call()),
            },
        };
        result.unwrap_or_else(|error| error)
    }

    fn whoami(&self, request: &Request) -> Response {
        if !self.is_member(request) {
            return hub_error(StatusCode::UNAUTHORIZED, "", "Invalid username or password.");
        }
        json_reply(&json!({
            "type": "user", "id": "0", "name": "member", "fullname": "member", "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "hub", "role": "read"}},
        }))
    }

    /// `GET /api/{kind}`: what the sender of the request may know of.
    async fn list(&self, request: &Request, kind: RepoType) -> Response {
        let search = request.query("search").unwrap_or_default().to_lowercase();
        let author = request.query("author");
        let limit = request.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(LISTED_REPOS_MAX);
        let member = self.is_member(request);
        let rows: Vec<Value> = (self.library.repos().await.into_iter())
            .filter(|(repo, access)| repo.kind == kind && (member || *access != Access::Private))
            .filter(|(repo, _)| repo.name.to_lowercase().contains(&search))
            .filter(|(repo, _)| author.is_none_or(|author| owner(repo) == author))
            .take(limit.min(LISTED_REPOS_MAX))
            .map(|(repo, access)| Value::Object(card(&repo, access)))
            .collect();
        json_reply(&Value::Array(rows))
    }

    /// `/api/{kind}/{org}/{name}[/{call}/{revision}/...]`.
    async fn repo_api(&self, request: &Request, kind: RepoType, form: &[u8]) -> Result<Response, Response> {
        let repo = repo_of(kind, request.segment(2), request.segment(3)).ok_or_else(not_a_repo)?;
        let call = request.segment(4);
        let permission = if call == "xet-read-token" { Permission::Read } else { Permission::List };
        self.admit(request, &repo, permission).await?;
        let revision = if request.segment(5).is_empty() { "main" } else { request.segment(5) };
        if request.method == Method::POST && call != "paths-info" {
            return Err(hub_error(StatusCode::METHOD_NOT_ALLOWED, "", "This hub is read-only."));
        }
        match call {
            "" | "revision" => self.revision(&repo, revision).await,
            "refs" => Ok(self.refs(request, &repo).await),
            "tree" => self.tree(request, &repo, revision).await,
            "paths-info" => self.paths_info(&repo, revision, form).await,
            "xet-read-token" => self.xet_token(request, &repo, revision).await,
            _ => Err(no_such_call()),
        }
    }

    async fn revision(&self, repo: &RepoId, revision: &str) -> Result<Response, Response> {
        let snapshot = self.snapshot(repo, revision, Freshness::Now).await?;
        count(&self.counters.revisions, 1);
        let access = self.library.access(repo).await.ok_or_else(not_a_repo)?;
        let mut answer = card(repo, access);
        answer.insert("sha".into(), json!(snapshot.commit));
        answer.insert("usedStorage".into(), json!(snapshot.files.iter().map(Entry::size).sum::<u64>()));
        let siblings: Vec<Value> =
            snapshot.files.iter().map(|file| json!({"rfilename": file.path})).collect();
        answer.insert("siblings".into(), Value::Array(siblings));
        Ok(json_reply(&Value::Object(answer)))
    }

    async fn refs(&self, request: &Request, repo: &RepoId) -> Response {
        let (mut branches, mut tags, mut pulls) = (Vec::new(), Vec::new(), Vec::new());
        for name in self.library.revisions(repo).await {
            let Ok(snapshot) = self.library.snapshot(repo, &name, Freshness::Now).await else { continue };
            let (list, full) = if name.starts_with("refs/") {
                (&mut pulls, name.clone())
            } else if is_tag(&name) {
                (&mut tags, format!("refs/tags/{name}"))
            } else {
                (&mut branches, format!("refs/heads/{name}"))
            };
            list.push(json!({"name": name, "ref": full, "targetCommit": snapshot.commit}));
        }
        let mut answer = json!({"branches": branches, "tags": tags, "converts": []});
        if request.flag("include_prs") {
            answer["pullRequests"] = Value::Array(pulls);
        }
        json_reply(&answer)
    }

    async fn tree(&self, request: &Request, repo: &RepoId, revision: &str) -> Result<Response, Response> {
        let cursor = request.query("cursor").and_then(|cursor| cursor.parse::<usize>().ok());
        // Later pages name the commit of the first, so only that one looks at the folder.
        let freshness = if cursor.is_none() { Freshness::Now } else { Freshness::Recent };
        let snapshot = self.snapshot(repo, revision, freshness).await?;
        let prefix = request.rest(6);
        let prefix = prefix.trim_end_matches('/');
        let (recursive, expand) = (request.flag("recursive"), request.flag("expand"));
        let rows = tree_rows(&snapshot, prefix, recursive);
        if rows.is_empty() && !prefix.is_empty() {
            return Err(hub_error(
                StatusCode::NOT_FOUND,
                "EntryNotFound",
                "Path does not exist on this revision",
            ));
        }
        count(&self.counters.tree_pages, 1);
        let from = cursor.unwrap_or(0).min(rows.len());
        let asked =
            request.query("limit").and_then(|limit| limit.parse::<usize>().ok()).unwrap_or(usize::MAX);
        let to = rows.len().min(from.saturating_add(self.faults.tree_page().min(asked.max(1))));
        let page = rows[from..to].iter().map(|row| row.json(&snapshot, expand)).collect();
        let mut response = json_reply(&Value::Array(page));
        if to < rows.len() {
            let prefix = if prefix.is_empty() { String::new() } else { format!("/{}", escape_path(prefix)) };
            let next = format!(
                "{}/api/{}/{}/tree/{}{prefix}?recursive={recursive}&expand={expand}&cursor={to}",
                request.base,
                repo.kind.plural(),
                repo.name,
                snapshot.commit,
            );
            set(&mut response, header::LINK, &format!("<{next}>; rel=\"next\""));
        }
        Ok(response)
    }

    async fn paths_info(&self, repo: &RepoId, revision: &str, form: &[u8]) -> Result<Response, Response> {
        let snapshot = self.snapshot(repo, revision, Freshness::Now).await?;
        let text = std::str::from_utf8(form).unwrap_or_default();
        let (paths, expand) = match serde_json::from_str::<Value>(text) {
            Ok(body) => {
                let paths = body["paths"].as_array().into_iter().flatten();
                let paths: BTreeSet<String> =
                    paths.filter_map(|path| path.as_str().map(str::to_owned)).collect();
                (paths, body["expand"] == json!(true))
            }
            Err(_) => {
                let pairs = parse_form(text);
                let is_set =
                    |(name, value): &(String, String)| name == "expand" && value.eq_ignore_ascii_case("true");
                let expand = pairs.iter().any(is_set);
                (
                    pairs.into_iter().filter(|(name, _)| name == "paths").map(|(_, path)| path).collect(),
                    expand,
                )
            }
        };
        let rows: Vec<Value> = tree_rows(&snapshot, "", true)
            .iter()
            .filter(|row| paths.contains(row.path()))
            .map(|row| row.json(&snapshot, expand))
            .collect();
        Ok(json_reply(&Value::Array(rows)))
    }

    async fn xet_token(
        &self,
        request: &Request,
        repo: &RepoId,
        revision: &str,
    ) -> Result<Response, Response> {
        let snapshot = self.snapshot(repo, revision, Freshness::Recent).await?;
        let expires = unix_now() + self.faults.token_ttl_secs();
        let token = XetScope { repo: repo.clone(), commit: snapshot.commit.clone() }.token(self, expires);
        let cas = request.base.clone() + super::request::CAS;
        count(&self.counters.xet_tokens, 1);
        let mut response = json_reply(&json!({"casUrl": cas, "accessToken": token, "exp": expires}));
        set(&mut response, HeaderName::from_static("x-xet-cas-url"), &cas);
        set(&mut response, HeaderName::from_static("x-xet-access-token"), &token);
        set(&mut response, HeaderName::from_static("x-xet-token-expiration"), &expires.to_string());
        Ok(response)
    }
}

/// What a Xet token lets its holder read: the files of one commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct XetScope {
    pub(crate) repo: RepoId,
    pub(crate) commit: String,
}

impl XetScope {
    /// `xet_{expiry}.{kind}.{org}~{name}.{commit}.{signature}`; `~` cannot be part of a name, but `.` can.
    fn token(&self, app: &App, expires: u64) -> String {
        let scope = self.text();
        format!("xet_{expires}:{scope}:{}", app.signer.sign(Purpose::Token, &scope, expires))
    }

    fn text(&self) -> String {
        format!("{}:{}:{}", self.repo.kind.plural(), self.repo.name.replace('/', "~"), self.commit)
    }

    /// Reads and checks a token.
    pub(crate) fn check(app: &App, token: &str) -> Option<Self> {
        let mut parts = token.strip_prefix("xet_")?.split(':');
        let (expires, kind, name) = (parts.next()?.parse().ok()?, kind_of(parts.next()?)?, parts.next()?);
        let (commit, signature) = (parts.next()?.to_owned(), parts.next()?);
        let scope = Self { repo: RepoId::new(kind, &name.replace('~', "/")).ok()?, commit };
        let valid = app.signer.is_valid(Purpose::Token, &scope.text(), expires, signature);
        (valid && parts.next().is_none()).then_some(scope)
    }
}

/// `models`, `datasets`, `spaces`.
pub(crate) fn kind_of(plural: &str) -> Option<RepoType> {
    RepoType::ALL.into_iter().find(|kind| kind.plural() == plural)
}

/// The repository `org/name`, if both are names.
pub(crate) fn repo_of(kind: RepoType, org: &str, name: &str) -> Option<RepoId> {
    // Decoded segments may hold slashes; `RepoId` would take `a/b` as one part for two.
    (!org.contains('/') && !name.contains('/') && !name.is_empty())
        .then(|| RepoId::new(kind, &format!("{org}/{name}")).ok())
        .flatten()
}

pub(crate) fn not_a_repo() -> Response {
    hub_error(StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found")
}

pub(crate) fn no_such_call() -> Response {
    hub_error(StatusCode::NOT_FOUND, "", "Sorry, we can't find what you are looking for.")
}

/// Folders that look like a version are shown as tags: `v1`, `v0.1-rc`.
fn is_tag(revision: &str) -> bool {
    revision.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn owner(repo: &RepoId) -> &str {
    repo.name.split_once('/').map_or("", |(owner, _)| owner)
}

/// The fields of a repository that do not depend on a revision.
fn card(repo: &RepoId, access: Access) -> serde_json::Map<String, Value> {
    let gated = if access == Access::Gated { json!("manual") } else { json!(false) };
    let card = json!({
        "_id": "0", "id": repo.name, "modelId": repo.name, "author": owner(repo),
        "private": access == Access::Private, "gated": gated, "disabled": false,
        "downloads": 0, "likes": 0, "tags": [], "createdAt": SOME_DATE, "lastModified": SOME_DATE,
    });
    match card {
        Value::Object(card) => card,
        _ => unreachable!("an object literal is an object"),
    }
}

/// A row of a tree listing.
enum Row<'a> {
    Folder(String),
    File(&'a Entry),
}

impl Row<'_> {
    fn path(&self) -> &str {
        match self {
            Self::Folder(path) => path,
            Self::File(entry) => &entry.path,
        }
    }

    fn json(&self, snapshot: &Snapshot, expand: bool) -> Value {
        let mut row = match self {
            Self::Folder(path) => {
                // No git tree stands behind a folder; its id only has to change with the commit.
                let id = hex(&Sha1::digest(format!("tree {} {path}", snapshot.commit)));
                json!({"type": "directory", "oid": id, "size": 0, "path": path})
            }
            Self::File(entry) => {
                let oid = entry.digest.git_id(entry.size());
                let mut row = json!({"type": "file", "oid": oid, "size": entry.size(), "path": entry.path});
                if let Digest::Xet { sha256, file } = &entry.digest {
                    let pointer = lfs_pointer(sha256, entry.size()).len();
                    row["lfs"] = json!({"oid": hex(sha256), "size": entry.size(), "pointerSize": pointer});
                    row["xetHash"] = json!(file.to_string());
                }
                row
            }
        };
        if expand {
            row["lastCommit"] = json!({"id": snapshot.commit, "title": "", "date": SOME_DATE});
        }
        row
    }
}

/// The rows below `prefix` (a folder, or empty): folders before their content, all in path order.
fn tree_rows<'a>(snapshot: &'a Snapshot, prefix: &str, recursive: bool) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let mut folders = BTreeSet::new();
    for entry in &snapshot.files {
        let below = match prefix {
            "" => Some(entry.path.as_str()),
            _ => entry.path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(below) = below else { continue };
        let skipped = entry.path.len() - below.len();
        for (slash, _) in below.match_indices('/') {
            let folder = &entry.path[..skipped + slash];
            if folders.insert(folder) {
                rows.push(Row::Folder(folder.to_owned()));
            }
            if !recursive {
                break;
            }
        }
        if recursive || !below.contains('/') {
            rows.push(Row::File(entry));
        }
    }
    rows
}

/// The URL of the token call for a commit.
pub(crate) fn xet_token_url(request: &Request, repo: &RepoId, commit: &str) -> String {
    format!(
        "{}/api/{}/{}/xet-read-token/{}",
        request.base,
        repo.kind.plural(),
        repo.name,
        escape_segment(commit)
    )
}
