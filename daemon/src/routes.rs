//! What can be asked: every route, with who may ask it.

use crate::answer::{Refusal, failed, json, ok, text_of};
use crate::app::{App, Listener};
use crate::asked::{check_dir, token_of};
use crate::dashboard;
use crate::endpoint::Endpoint;
use crate::events::EventId;
use crate::files;
use crate::gate::{Caller, secret_needed};
use crate::limits::{BODY_BYTES_MAX, LISTENERS_MAX, PULLS_MAX, TARGET_BYTES_MAX};
use crate::metrics;
use crate::openapi::{self, Bearer, Code, Health};
use crate::settings::{Settings, SettingsPatch};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json as value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use zest_hub_server::guard::hosts::Hosts;
use zest_hub_server::guard::{FormError, Peer};
use zest_runtime_tokio::{PullEvent, PullHandle, PullRequest, PullStatus};

/// Time between two signs of life to a listener: 15 s. Proxies and browsers give up after 30 and more.
const BEAT: Duration = Duration::from_secs(15);

/// How long an answer waits for a pull that was told to end: 5 s. It goes on ending after that.
const END_WAIT: Duration = Duration::from_secs(5);

/// Longest nonce: 128 digits; shortest: 16, 64 bits.
const NONCE_DIGITS: std::ops::RangeInclusive<usize> = 16..=128;

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// Answers a request.
pub(crate) async fn handle(app: Arc<App>, endpoint: Option<Arc<Endpoint>>, request: Request) -> Response {
    app.count_request();
    let (parts, body) = request.into_parts();
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| endpoint.owns(&parts.uri)) {
        return match app.gate.check_place(&parts) {
            Ok(()) => endpoint.handle(&app, parts, body).await,
            Err(refusal) => refusal.answer(),
        };
    }
    match answer(&app, endpoint.as_deref(), &parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(),
    }
}

/// Answers where figures and signs of life alone are given, to whoever asks by an address.
pub(crate) async fn figures(app: Arc<App>, hosts: Arc<Hosts>, request: Request) -> Response {
    app.count_request();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| hosts.allow(host)) {
        let refusal = Refusal::new(StatusCode::MISDIRECTED_REQUEST, "usage", "ask by this machine's address");
        return refusal.answer();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_refused().answer();
    }
    match request.uri().path() {
        "/metrics" => text_of(StatusCode::OK, metrics::CONTENT_TYPE, app.metrics().await.into()),
        "/livez" => ok(&Health { status: "ok", proof: None, proof_at: None }),
        "/readyz" => ready(&app),
        path => Refusal::not_found(format!("there is no {path} here")).answer(),
    }
}

async fn answer(
    app: &Arc<App>,
    endpoint: Option<&Endpoint>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "usage", "the path is too long"));
    }
    let caller = app.gate.check(parts)?;
    let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
    // Who asks for HEAD gets the head of what GET gives.
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    if let ["v1", "login"] = path[..] {
        if *method != Method::POST {
            return Err(method_refused());
        }
        return login(app, read(document(parts, body).await?)?);
    }
    if let Some(response) = open_to_all(app, caller, parts, method, &path).await? {
        return Ok(response);
    }
    if caller != Caller::Owner {
        return Err(secret_needed());
    }
    let is = |wanted: &Method| match method == wanted {
        true => Ok(()),
        false => Err(method_refused()),
    };
    if path[..] != ["metrics"] {
        app.count_need();
    }
    match path[..] {
        ["metrics"] => {
            is(&Method::GET)?;
            Ok(text_of(StatusCode::OK, metrics::CONTENT_TYPE, app.metrics().await.into()))
        }
        ["v1", "pull"] => {
            is(&Method::POST)?;
            pull(app, parts, body).await
        }
        ["v1", "openapi.json"] => {
            is(&Method::GET)?;
            Ok(ok(openapi::document()))
        }
        ["v1", "files"] => {
            is(&Method::POST)?;
            let asked = read(document(parts, body).await?)?;
            check_room(app)?;
            files::answer(app, parts, asked).await
        }
        ["v1", "pulls"] => {
            is(&Method::GET)?;
            Ok(ok(&app.session.pulls()))
        }
        ["v1", "pulls", id] if *method == Method::DELETE => delete(app, &find(app, id)?).await,
        ["v1", "pulls", id] => {
            is(&Method::GET)?;
            Ok(ok(&find(app, id)?.status()))
        }
        ["v1", "pulls", id, "events"] => {
            is(&Method::GET)?;
            events(app, parts, Some(find(app, id)?.id()))
        }
        ["v1", "pulls", id, verb @ ("pause" | "resume" | "cancel")] => {
            is(&Method::POST)?;
            Ok(ok(&tell(app, &find(app, id)?, verb).await))
        }
        ["v1", "events"] => {
            is(&Method::GET)?;
            events(app, parts, None)
        }
        ["v1", "models"] => {
            is(&Method::GET)?;
            Ok(ok(&*app.models.of(&app.session).await))
        }
        ["v1", "settings"] if *method == Method::PATCH => {
            let patch: SettingsPatch = read(document(parts, body).await?)?;
            Ok(ok(&patch.apply(&app.session)?))
        }
        ["v1", "settings"] => {
            is(&Method::GET)?;
            Ok(ok(&Settings::of(&app.session)))
        }
        ["v1", "peers"] => {
            is(&Method::GET)?;
            Ok(ok(&app.session.peers().await))
        }
        ["v1", "reads", name] => {
            is(&Method::GET)?;
            let none = || Refusal::not_found("nobody waits for a file of this name".to_owned());
            Ok(ok(&app.reads.came(name).ok_or_else(none)?))
        }
        ["v1", "runs", name] => {
            is(&Method::GET)?;
            let endpoint =
                endpoint.ok_or_else(|| Refusal::not_found("there is no local endpoint".to_owned()))?;
            Ok(ok(&endpoint.run_figures(name)))
        }
        ["v1", "codes"] => {
            is(&Method::POST)?;
            code(app)
        }
        ["v1", "stop"] => {
            is(&Method::POST)?;
            app.stop.ask();
            Ok(json(StatusCode::ACCEPTED, &value!({"status": "stopping"})))
        }
        _ => Err(Refusal::not_found(format!("there is no {}", parts.uri.path()))),
    }
}

/// What needs no secret.
async fn open_to_all(
    app: &Arc<App>,
    caller: Caller,
    parts: &Parts,
    method: &Method,
    path: &[&str],
) -> Result<Option<Response>, Refusal> {
    if !matches!(path, ["" | "livez" | "readyz"] | ["v1", "health" | "status"]) {
        return Ok(None);
    }
    if *method != Method::GET {
        return Err(method_refused());
    }
    Ok(Some(match path {
        [""] => dashboard::page(),
        ["v1", "health"] => health(app, parts)?,
        ["v1", "status"] if caller == Caller::Owner => ok(&app.full().await),
        ["v1", "status"] => ok(&app.original().await),
        ["readyz"] => ready(app),
        _ => ok(&value!({"status": "ok"})),
    }))
}

fn ready(app: &App) -> Response {
    let (code, status) = match app.stop.is_stopping() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        false => (StatusCode::OK, "ok"),
    };
    json(code, &Health { status, proof: None, proof_at: None })
}

fn method_refused() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "usage", "that method means nothing here")
}

/// Life, and on a nonce the proof of who we are.
fn health(app: &App, parts: &Parts) -> Result<Response, Refusal> {
    let status = if app.stop.is_stopping() { "stopping" } else { "ok" };
    let Some(nonce) = query(parts, "nonce") else {
        return Ok(ok(&Health { status, proof: None, proof_at: None }));
    };
    let is_nonce = NONCE_DIGITS.contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_nonce {
        return Err(Refusal::usage("a nonce has 16 to 128 hexadecimal digits"));
    }
    let port = app.about.http.first().map_or(0, std::net::SocketAddr::port);
    let secret = app.gate.secret();
    let (proof, proof_at) = (Some(secret.proof(nonce)), Some(secret.proof_at(port, nonce)));
    Ok(ok(&Health { status, proof, proof_at }))
}

/// A code that opens the dashboard once.
fn code(app: &App) -> Result<Response, Refusal> {
    let code = app.gate.pages().code().map_err(|error| Refusal::busy(error.to_string()))?;
    Ok(json(StatusCode::CREATED, &Code { code, seconds: Some(dashboard::CODE_FOR.as_secs()) }))
}

/// A page's bearer for its code.
fn login(app: &App, given: Code) -> Result<Response, Refusal> {
    let bearer = app.gate.pages().let_in(&given.code).map_err(|error| Refusal::busy(error.to_string()))?;
    let refused = || Refusal::new(StatusCode::FORBIDDEN, "auth", "that is no code, or not any more");
    Ok(ok(&Bearer {
        bearer: bearer.ok_or_else(|| refused().hint("zest dashboard opens the page with a new one"))?,
    }))
}

/// The value of a query's field, as it stands there.
fn query<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let pairs = parts.uri.query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn find(app: &App, id: &str) -> Result<PullHandle, Refusal> {
    let id: Option<u64> = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten();
    let pull = id.and_then(|id| app.session.get(id));
    pull.ok_or_else(|| Refusal::not_found("there is no such pull, or it is forgotten"))
}

/// A body that is a JSON object.
async fn document(parts: &Parts, body: Body) -> Result<Value, Refusal> {
    let peer = parts.extensions.get::<Peer>().ok_or_else(|| Refusal::usage("nobody sent it"))?;
    let bytes = peer.form(body, BODY_BYTES_MAX).await.map_err(|error| match error {
        FormError::TooLong => {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "usage", format!("more than {BODY_BYTES_MAX} bytes"))
        }
        FormError::Late => {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "usage", "the body did not come in time")
        }
        FormError::Busy => Refusal::busy("too many bodies at a time"),
    })?;
    match serde_json::from_slice(&bytes) {
        // serde would read a list as the fields in their order.
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Refusal::usage("a JSON object is wanted")),
        Err(error) => Err(Refusal::usage(error.to_string())),
    }
}

/// What an object says.
fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal::usage(error.to_string()))
}

async fn pull(app: &Arc<App>, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let request = request(parts, document(parts, body).await?)?;
    check_room(app)?;
    let pull = app.pull(request);
    if !matches!(query(parts, "wait"), Some("true" | "1")) {
        let mut response = json(StatusCode::ACCEPTED, &pull.status());
        if let Ok(place) = HeaderValue::from_str(&format!("/v1/pulls/{}", pull.id())) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        return Ok(response);
    }
    match pull.wait().await {
        Ok(report) => Ok(ok(&report)),
        Err(error) => Ok(failed(&(&*error).into())),
    }
}

/// Whether one more pull may begin.
fn check_room(app: &App) -> Result<(), Refusal> {
    if app.stop.is_stopping() {
        return Err(Refusal::busy("the daemon is stopping"));
    }
    let under_way = app.session.pulls().iter().filter(|pull| !has_ended(pull)).count();
    match under_way < PULLS_MAX {
        true => Ok(()),
        false => Err(Refusal::busy(format!("{under_way} pulls are under way"))),
    }
}

fn has_ended(pull: &PullStatus) -> bool {
    pull.report.is_some() || pull.failure.is_some()
}

/// What a body and its heads ask for.
fn request(parts: &Parts, body: Value) -> Result<PullRequest, Refusal> {
    let mut request: PullRequest = read(body)?;
    check_dir("local_dir", request.local_dir.as_ref())?;
    check_dir("cache_dir", request.cache_dir.as_ref())?;
    token_of(parts, &mut request)?;
    Ok(request)
}

async fn tell(app: &App, pull: &PullHandle, verb: &str) -> PullStatus {
    match verb {
        "pause" => {
            pull.pause();
            app.pending.paused(pull.id(), true);
        }
        "resume" => {
            pull.resume();
            app.pending.paused(pull.id(), false);
        }
        _ => end(pull).await,
    }
    pull.status()
}

/// Tells a pull to end, and waits for that, though not for ever.
async fn end(pull: &PullHandle) {
    pull.cancel();
    let _still_ending = tokio::time::timeout(END_WAIT, pull.wait()).await;
}

/// Ends a pull and forgets it.
async fn delete(app: &App, pull: &PullHandle) -> Result<Response, Refusal> {
    end(pull).await;
    match app.session.forget(pull.id()) || app.session.get(pull.id()).is_none() {
        true => Ok(text_of(StatusCode::NO_CONTENT, "application/json", Body::empty())),
        false => Err(Refusal::busy("it is still ending")),
    }
}

/// What happens to one pull, or to all: `text/event-stream`, from the beginning or from where the listener was.
fn events(app: &Arc<App>, parts: &Parts, pull: Option<u64>) -> Result<Response, Refusal> {
    let named =
        parts.headers.get(LAST_EVENT).and_then(|id| id.to_str().ok()).or_else(|| query(parts, "after"));
    let at = match (named, pull) {
        (Some(id), _) => app.log.read_id(id),
        (None, Some(_)) => 0,
        // Who listens to all wants what comes.
        (None, None) => app.log.last(),
    };
    if let Some(end) = pull.and_then(|pull| app.log.end_of(pull))
        && end <= at
    {
        // A browser that had everything asks again; this tells it not to.
        return Ok(text_of(StatusCode::NO_CONTENT, "text/event-stream", Body::empty()));
    }
    let Some(place) = app.listen(LISTENERS_MAX) else {
        return Err(Refusal::busy(format!("{LISTENERS_MAX} listeners are there")));
    };
    let listening = Listening {
        app: app.clone(),
        at,
        pull,
        news: app.log.news(),
        queue: VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]),
        over: false,
        _place: place,
    };
    let body = stream::unfold(listening, |mut listening| async move {
        let text = listening.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(text), listening))
    });
    Ok(text_of(StatusCode::OK, "text/event-stream", Body::from_stream(body)))
}

struct Listening {
    app: Arc<App>,
    at: EventId,
    pull: Option<u64>,
    news: watch::Receiver<EventId>,
    queue: VecDeque<Bytes>,
    over: bool,
    _place: Listener,
}

impl Listening {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(text) = self.queue.pop_front() {
                return Some(text);
            }
            if self.over {
                return None;
            }
            self.news.borrow_and_update();
            let batch = self.app.log.after(self.at, self.pull);
            if batch.lost {
                self.queue.push_back(Bytes::from_static(b"event: lost\ndata: {}\n\n"));
            }
            if let Some(last) = batch.events.last() {
                self.at = last.id;
                self.queue.extend(batch.events.into_iter().map(|event| event.text));
                continue;
            }
            if self.pull.is_some_and(|pull| self.is_over(pull)) {
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => self.over = changed.is_err(),
                () = self.app.stop.over() => self.over = true,
                () = tokio::time::sleep(BEAT) => self.queue.push_back(Bytes::from_static(b":\n\n")),
            }
        }
    }

    /// Whether there is no more to come of a pull. An end that is not kept any more is said again.
    fn is_over(&mut self, pull: u64) -> bool {
        let Some(end) = self.app.log.end_of(pull) else {
            self.over = self.app.session.get(pull).is_none();
            return self.over;
        };
        if end > self.at {
            self.at = end;
            let status = self.app.session.get(pull).map(|pull| pull.status());
            let event = match status {
                Some(PullStatus { report: Some(report), .. }) => Some(PullEvent::Done(Box::new(report))),
                Some(PullStatus { failure: Some(failure), .. }) => Some(PullEvent::Failed(failure)),
                _ => None,
            };
            self.queue.extend(event.map(|event| self.app.log.text(end, pull, &event)));
        }
        self.over = true;
        true
    }
}
