//! The local endpoint: a Hub, with its CAS, for every program that knows `HF_ENDPOINT`.
//!
//! `http://127.0.0.1:9847/hf/KEY` is passed on to the configured Hub with the caller's own token, except for what zest knows or can do
//! better: answers about commits come from disk (`answers.rs`), files from the cache or while they are fetched (`files.rs`,
//! `resolve.rs`), and Xet clients are given a CAS that is this machine (`xet.rs`). Who may have what is decided in `standing.rs`.
//!
//! The key opens nothing but this, and nothing here opens the API.

mod answers;
mod body;
mod files;
mod hub;
mod key;
mod oci;
mod one_copy;
mod resolve;
mod route;
mod runs;
mod sent_on;
mod standing;
mod xet;

use crate::about::About;
use crate::app::App;
use crate::limits::ENDPOINT_TARGET_BYTES_MAX;
use crate::places::write_private;
use crate::{DaemonError, Places, Secret};
use answers::Answers;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use files::{Errands, Lists};
use key::Key;
use oci::Images;
use one_copy::Watched;
use route::{Route, route};
#[cfg(test)]
pub(crate) use runs::RunFigures;
use runs::{RunName, Runs};
use sent_on::SentOn;
use standing::{Caller, Standing};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use xet::{Frames, Grants, Unkept, scope_name};
use zest_hub::{HubConfig, Relay, endpoint_name};
use zest_hub_server::guard::Peer;
use zest_hub_server::parts::{BufferPool, Signer};
use zest_runtime_tokio::Session;
use zest_store::{Endpoint as HubName, RepoId};

/// Where it begins.
const PREFIX: &str = "/hf/";

/// What is sent with questions of ours on a caller's behalf.
const OWN_HEADERS: [HeaderName; 2] = [header::AUTHORIZATION, header::USER_AGENT];

/// The endpoint of a daemon.
#[derive(Debug)]
pub(crate) struct Endpoint {
    key: Key,
    relay: Relay,
    hub: HubName,
    session: Session,
    answers: Answers,
    standing: Standing,
    turns: Mutex<BTreeMap<(String, [u8; 32]), hub::Turn>>,
    lists: Lists,
    errands: Errands,
    watched: Watched,
    sent_on: SentOn,
    grants: Grants,
    frames: Frames,
    unkept: Unkept,
    late: Unkept,
    /// When the CDN gave a byte last that it was asked for only to see whether it does.
    cdn_shown: Mutex<Option<Instant>>,
    signer: Signer,
    /// Memory for what is sent.
    buffers: Arc<BufferPool>,
    runs: Runs,
    images: Images,
    /// Whether `/v2/` is answered.
    oci: bool,
}

/// A request, taken apart.
#[derive(Debug, Clone)]
struct Asked {
    /// Path and query at the Hub.
    target: String,
    route: Route,
    caller: Caller,
    peer: Option<Peer>,
    /// `/hf/KEY`, with the name of a `zest run` behind it if one asks.
    prefix: String,
    /// The same with scheme and host: where links lead.
    base: String,
    /// Scheme and host alone.
    host: String,
    own: HeaderMap,
}

impl Endpoint {
    /// Whether a path is the endpoint's.
    pub(crate) fn owns(&self, uri: &Uri) -> bool {
        uri.path().starts_with(PREFIX) || xet::is_cas(uri) || (self.oci && oci::is_oci(uri))
    }

    /// One over this session's Hub.
    pub(crate) fn new(session: &Session, about: &About, oci: bool) -> Result<Self, DaemonError> {
        let env = session.env();
        let random = |error: getrandom::Error| DaemonError::Random(error.to_string());
        let relay = Relay::new(HubConfig { token: None, ..HubConfig::from_env(env) });
        // Programs of zest that are given our own address ask the Hub behind it.
        let noted = write_private(&Places::new(&about.zest_cache).endpoint_hub(), env.endpoint.as_bytes());
        if let Err(error) = noted {
            tracing::warn!(
                target: zest_store::SAID,
                kind = "not-noted",
                "which Hub is behind the endpoint cannot be noted, so a zest that is given it asks itself: {error}"
            );
        }
        Ok(Self {
            key: Key::new(Places::new(&about.zest_cache))?,
            relay: relay.map_err(|error| DaemonError::Hub(error.to_string()))?,
            hub: HubName::new(&env.endpoint),
            session: session.clone(),
            answers: Answers::new(&about.zest_cache, &endpoint_name(&env.endpoint)),
            standing: Standing::new().map_err(random)?,
            turns: Mutex::default(),
            lists: Lists::default(),
            errands: Errands::default(),
            watched: Watched::default(),
            sent_on: SentOn::default(),
            grants: Grants::default(),
            frames: Frames::default(),
            unkept: Unkept::default(),
            late: Unkept::default(),
            cdn_shown: Mutex::default(),
            buffers: Arc::default(),
            signer: xet::signer(&Secret::endpoint_signer(&Places::new(&about.zest_cache))?),
            runs: Runs::default(),
            images: Images::default(),
            oci,
        })
    }

    /// Answers a request whose `Host` and `Origin` are good.
    pub(crate) async fn handle(self: &Arc<Self>, app: &Arc<App>, parts: Parts, body: Body) -> Response {
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > ENDPOINT_TARGET_BYTES_MAX)
        {
            return error(StatusCode::URI_TOO_LONG, "", "the address is too long");
        }
        let host = match parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("http://{host}"),
            None => return error(StatusCode::BAD_REQUEST, "", "a Host is missing"),
        };
        if self.oci && oci::is_oci(&parts.uri) {
            return self.oci(app, &parts, &host).await;
        }
        let Some(rest) = parts.uri.path().strip_prefix(PREFIX) else {
            return self.cas(app, &parts, &host).await;
        };
        let (named, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (key, run) = RunName::after_key(named);
        if !self.key.is(key) {
            let text =
                "this is not the key of the endpoint, or not any more: `zest endpoint` says what it is";
            return error(StatusCode::FORBIDDEN, "", text);
        }
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("/{path}{query}");
        let Ok(uri) = target.parse::<Uri>() else {
            return error(StatusCode::BAD_REQUEST, "", "no such address");
        };
        let prefix = format!("{PREFIX}{named}");
        let mut own = HeaderMap::new();
        for name in OWN_HEADERS {
            if let Some(value) = parts.headers.get(&name) {
                own.insert(name, value.clone());
            }
        }
        let asked = Asked {
            route: route(&uri),
            target,
            caller: self.standing.caller(&parts.headers).within(run),
            peer: parts.extensions.get().cloned(),
            base: format!("{host}{prefix}"),
            prefix,
            host,
            own,
        };
        let (method, headers) = (parts.method, parts.headers);
        let reads = matches!(method, Method::GET | Method::HEAD);
        match asked.route.clone() {
            Route::Resolve { repo, revision, path } if reads => {
                self.resolve(app, &asked, &method, headers, (&repo, &revision, &path)).await
            }
            Route::XetToken { repo, revision } if method == Method::GET => {
                self.xet_token(&asked, headers, &repo, &revision).await
            }
            Route::Revision { .. } | Route::Tree { .. } | Route::Refs { .. } if reads => {
                self.ask(&asked, &headers, &method, body).await
            }
            Route::Tree { .. } if method == Method::POST && asked.target.contains("/paths-info/") => {
                self.ask(&asked, &headers, &method, body).await
            }
            _ => self.pass(&asked, method, headers, body).await,
        }
    }

    /// Whether everybody may read a commit, as was heard lately, here or by the pulls.
    fn is_public(&self, repo: &RepoId, commit: &str) -> bool {
        self.standing.is_public(repo, commit)
            || self.session.store().catalog.public_until(&self.hub, repo, commit).is_some()
    }

    /// Whether a caller may see what files a commit has.
    fn may_list(&self, caller: &Caller, repo: &RepoId, commit: &str) -> bool {
        self.is_public(repo, commit)
            || self.standing.accepted_until(caller, repo, commit, standing::Level::List).is_some()
    }
}

impl Asked {
    /// A question that belongs to what a caller began before.
    fn within(caller: Caller) -> Self {
        let mut own = HeaderMap::new();
        let bearer =
            caller.token.as_ref().map(|token| HeaderValue::try_from(format!("Bearer {}", token.as_str())));
        if let Some(Ok(mut bearer)) = bearer {
            bearer.set_sensitive(true);
            own.insert(header::AUTHORIZATION, bearer);
        }
        let empty = String::new;
        let (target, prefix, base, host) = (empty(), empty(), empty(), empty());
        Self { target, route: Route::Other, caller, peer: None, prefix, base, host, own }
    }

    /// What is sent with a question of ours on the caller's behalf: the caller's token and name.
    fn own_headers(&self) -> HeaderMap {
        self.own.clone()
    }

    /// Where the files of a commit are reconstructed.
    fn cas(&self, repo: &RepoId, commit: &str) -> String {
        format!("{}/xet/{}/{}/{commit}", self.host, repo.kind.plural(), scope_name(repo))
    }
}

/// Sets a header whose value was made from checked parts.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(_) => tracing::warn!(%name, "left out a header that HTTP cannot carry"),
    }
}

/// An error in the form that clients of the Hub understand.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let text = serde_json::json!({ "error": message }).to_string();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json; charset=utf-8");
    if !code.is_empty() {
        set(&mut response, HeaderName::from_static("x-error-code"), code);
    }
    let one_line: String = message.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
    set(&mut response, HeaderName::from_static("x-error-message"), &one_line);
    response
}
