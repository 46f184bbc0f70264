//! `/v2/`: GGUF models as images, for Ollama and OCI clients (`zest serve --oci`).
//!
//! These clients can carry no key, so there is none: nothing is given but what everybody may read, and no token is used, not even
//! the daemon's.

use super::standing::Caller;
use super::{Asked, Endpoint, set};
use crate::app::App;
use crate::images::{self, EXTRAS, ImageError, Layer, MANIFEST_TYPE, OCI_MANIFEST_TYPE};
use crate::limits::{EXTRA_BYTES_MAX, IMAGES_MAX};
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::Response;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use zest_hub_server::parts::escape_path;
use zest_store::{RepoId, RepoType, TreeEntry};

/// Where it begins.
const PREFIX: &str = "/v2";

/// Bytes of a GGUF file in which its architecture stands.
const FIRST_BYTES: u64 = 256;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a hash stands for.
#[derive(Debug, Clone)]
enum Content {
    /// A document, with its media type.
    Document(&'static str, Bytes),
    /// A file of the commit.
    File(Arc<TreeEntry>),
}

#[derive(Debug, Clone)]
struct Known {
    sha256: String,
    repo: RepoId,
    commit: String,
    content: Content,
}

/// What was named by manifests, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Images(Mutex<VecDeque<Known>>);

impl Images {
    fn add(&self, known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.sha256 != known.sha256 || other.repo != known.repo);
        if all.len() >= IMAGES_MAX {
            all.pop_front();
        }
        all.push_back(known);
    }

    fn find(&self, repo: &RepoId, sha256: &str) -> Option<Known> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|known| known.sha256 == sha256 && known.repo == *repo).cloned()
    }
}

/// Whether a path is a registry's.
pub(super) fn is_oci(uri: &Uri) -> bool {
    uri.path() == PREFIX || uri.path().starts_with("/v2/")
}

impl Endpoint {
    /// Answers what lies below `/v2/`.
    pub(super) async fn oci(&self, app: &Arc<App>, parts: &Parts, host: &str) -> Response {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "nothing can be written here");
        }
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default().trim_matches('/');
        let segments: Vec<&str> = path.split('/').collect();
        let mut response = match &segments[..] {
            [""] => document("application/json", Bytes::from_static(b"{}")),
            [name @ .., "manifests", reference] => self.manifest(app, parts, name, reference).await,
            [name @ .., "blobs", digest] => self.blob(app, parts, host, name, digest).await,
            [name @ .., "tags", "list"] => self.tags(parts, name).await,
            _ => refused(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such call"),
        };
        set(&mut response, VERSION, "registry/2.0");
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// Nobody's question.
    fn nobody(&self, parts: &Parts) -> Asked {
        let caller: Caller = self.standing.caller(&HeaderMap::new());
        Asked { peer: parts.extensions.get().cloned(), ..Asked::within(caller) }
    }

    /// A repository that everybody may read, and the commit of its main branch.
    async fn open_repo(&self, asked: &Asked, name: &[&str]) -> Result<(RepoId, String), Response> {
        let unknown = || {
            refused(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository, or not everybody may read it")
        };
        let name = match name {
            // What clients write before a name without an owner.
            ["library", name] => (*name).to_owned(),
            [_] | [_, _] => name.join("/"),
            _ => return Err(unknown()),
        };
        let repo = RepoId::new(RepoType::Model, &name).map_err(|_| unknown())?;
        let commit = self.commit_of(asked, &repo, "main").await.map_err(|_| unknown())?.commit;
        self.check_open(asked, &repo, &commit).await?;
        Ok((repo, commit))
    }

    /// Whether everybody may read a commit.
    async fn check_open(&self, asked: &Asked, repo: &RepoId, commit: &str) -> Result<(), Response> {
        let target = super::route::revision_of(repo, commit);
        match self.permission(asked, repo, commit, &target).await {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(refused(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "not everybody may read this repository"))
            }
        }
    }

    async fn tags(&self, parts: &Parts, name: &[&str]) -> Response {
        let asked = self.nobody(parts);
        let (repo, commit) = match self.open_repo(&asked, name).await {
            Ok(found) => found,
            Err(response) => return response,
        };
        let Some(list) = self.list(&asked, &repo, &commit).await else {
            return refused(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "nobody can say what is in it");
        };
        let tags = images::tags(list.values());
        let answer = serde_json::json!({"name": name.join("/"), "tags": tags});
        document("application/json", answer.to_string().into())
    }

    async fn manifest(&self, app: &Arc<App>, parts: &Parts, name: &[&str], reference: &str) -> Response {
        let asked = self.nobody(parts);
        let (repo, commit) = match self.open_repo(&asked, name).await {
            Ok(found) => found,
            Err(response) => return response,
        };
        if let Some(sha256) = reference.strip_prefix("sha256:") {
            return match self.images.find(&repo, sha256) {
                Some(Known { content: Content::Document(kind, bytes), .. }) => {
                    named(document(kind, bytes), sha256)
                }
                _ => refused(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "ask for it by its tag first"),
            };
        }
        let accepts = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        // Ollama asks for Docker's alone.
        let is_oci = accepts.into_iter().any(|accept| accept.contains(OCI_MANIFEST_TYPE));
        let kind = if is_oci { OCI_MANIFEST_TYPE } else { MANIFEST_TYPE };
        match self.make(app, &asked, &repo, &commit, reference, kind).await {
            Ok(bytes) => {
                let sha256 = images::sha256(&bytes);
                named(document(kind, bytes), &sha256)
            }
            Err(why) => refused(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &why),
        }
    }

    /// Makes a manifest, and notes what it names.
    async fn make(
        &self,
        app: &Arc<App>,
        asked: &Asked,
        repo: &RepoId,
        commit: &str,
        tag: &str,
        kind: &'static str,
    ) -> Result<Bytes, String> {
        let list = self.list(asked, repo, commit).await.ok_or("nobody can say what is in it")?;
        let choice = images::choose(list.values(), tag).map_err(|error: ImageError| error.to_string())?;
        let note = |sha256: &str, content: Content| {
            let (sha256, repo, commit) = (sha256.to_owned(), repo.clone(), commit.to_owned());
            self.images.add(Known { sha256, repo, commit, content });
        };
        let mut layers = vec![Layer::model(&choice.model)];
        note(choice.model.etag(), Content::File(Arc::new(choice.model.clone())));
        if let Some(projector) = &choice.projector {
            layers.push(Layer::projector(projector));
            note(projector.etag(), Content::File(Arc::new(projector.clone())));
        }
        for name in EXTRAS {
            let Some(entry) = list.get(name).filter(|entry| entry.content_size() <= EXTRA_BYTES_MAX) else {
                continue;
            };
            let bytes = self.first_bytes(app, asked, repo, commit, entry, entry.content_size()).await?;
            if let Some(layer) = Layer::extra(name, &bytes) {
                note(&layer.sha256, Content::Document("application/octet-stream", bytes));
                layers.push(layer);
            }
        }
        // A file that is not here yet says it later: nobody waits for that.
        let mut first = Bytes::new();
        if self.is_here(repo, commit, &choice.model).await {
            let len = choice.model.content_size().min(FIRST_BYTES);
            first = self.first_bytes(app, asked, repo, commit, &choice.model, len).await.unwrap_or_default();
        }
        let family = images::architecture(&first).unwrap_or_default();
        let image = images::image(&layers, &choice.tag, &family);
        note(
            &images::sha256(&image.config),
            Content::Document("application/octet-stream", image.config.into()),
        );
        let manifest = if kind == OCI_MANIFEST_TYPE { image.oci_manifest } else { image.manifest };
        let manifest = Bytes::from(manifest);
        note(&images::sha256(&manifest), Content::Document(kind, manifest.clone()));
        Ok(manifest)
    }

    /// The first bytes of a file.
    async fn first_bytes(
        &self,
        app: &Arc<App>,
        asked: &Asked,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        len: u64,
    ) -> Result<Bytes, String> {
        let reader = self.open(app, &asked.caller, repo, commit, entry).await;
        let body = super::body::body(reader, vec![super::body::Part::File(0..len)], &self.buffers, None);
        let bytes = axum::body::to_bytes(body, usize::try_from(len).unwrap_or(usize::MAX)).await;
        bytes.map_err(|error| format!("{}: {error}", entry.path))
    }

    async fn blob(&self, app: &Arc<App>, parts: &Parts, host: &str, name: &[&str], digest: &str) -> Response {
        let unknown =
            || refused(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no manifest of this repository names it");
        let asked = self.nobody(parts);
        let Some(sha256) = digest.strip_prefix("sha256:") else { return unknown() };
        let (repo, commit) = match self.open_repo(&asked, name).await {
            Ok(found) => found,
            Err(response) => return response,
        };
        let known = match self.images.find(&repo, sha256) {
            Some(known) => known,
            // Of an earlier daemon's manifest.
            None => match self.list(&asked, &repo, &commit).await {
                Some(list) => {
                    let is_it = |entry: &&TreeEntry| entry.lfs_sha256.as_deref() == Some(sha256);
                    let Some(entry) = list.values().find(is_it) else { return unknown() };
                    let content = Content::File(Arc::new(entry.clone()));
                    Known { sha256: sha256.to_owned(), repo, commit, content }
                }
                None => return unknown(),
            },
        };
        // What its manifest was made of may be an older commit.
        if let Err(response) = self.check_open(&asked, &known.repo, &known.commit).await {
            return response;
        }
        let mut response = match &known.content {
            Content::Document(_, bytes) => document("application/octet-stream", bytes.clone()),
            Content::File(entry) if parts.method == Method::HEAD => {
                let mut response = Response::new(Body::empty());
                set(&mut response, header::CONTENT_LENGTH, &entry.content_size().to_string());
                response
            }
            Content::File(entry) => {
                let of = (&known.repo, known.commit.as_str(), &**entry);
                match self.bytes_of(app, &asked, &parts.headers, of, None).await {
                    Ok(response) => response,
                    // Whatever keeps it from coming here: the Hub has it.
                    Err(_) => {
                        let (name, path) = (escape_path(&known.repo.name), escape_path(&entry.path));
                        let to = format!("{}/{name}/resolve/{}/{path}", self.hub, known.commit);
                        let mut response = Response::new(Body::empty());
                        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                        set(&mut response, header::LOCATION, &to);
                        return response;
                    }
                }
            }
        };
        set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        // Ollama takes no plain 200: it wants to be told where, and may be told here.
        set(&mut response, header::LOCATION, &format!("{host}{}", parts.uri.path()));
        named(response, sha256)
    }
}

fn named(mut response: Response, sha256: &str) -> Response {
    set(&mut response, DIGEST, &format!("sha256:{sha256}"));
    set(&mut response, header::ETAG, &format!("\"sha256:{sha256}\""));
    response
}

fn document(kind: &str, bytes: Bytes) -> Response {
    let len = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    set(&mut response, header::CONTENT_TYPE, kind);
    set(&mut response, header::CONTENT_LENGTH, &len.to_string());
    response
}

/// An error as registries give them.
fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let text = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    let mut response = document("application/json", text.into());
    *response.status_mut() = status;
    response
}
