//! The door: one handler that logs, counts, applies faults and passes a request to its service.

use crate::limits::{FORM_BYTES_MAX, IGNORED_BYTES_MAX};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use super::App;
use super::faults::Service;
use super::request::{Request, TARGET_BYTES_MAX, set, text};
use super::stats::count;
use crate::guard::FormError;

/// Answers every request.
pub(crate) async fn handle(app: Arc<App>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let has_authorization = parts.headers.contains_key(header::AUTHORIZATION);
    app.log.record(parts.method.as_str(), parts.uri.path(), has_authorization);
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return text(StatusCode::URI_TOO_LONG, "the URL is too long");
    }
    if let Some(name) = stranger(&app, &parts) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            &format!("this hub does not know itself as {name}; it can be told with --public-url"),
        );
    }
    let Some(request) = Request::new(&parts, app.addr, app.base.as_deref()) else {
        return text(StatusCode::BAD_REQUEST, "the path is not UTF-8");
    };
    let service = match (request.segment(0), request.segment(1)) {
        ("api", "cas") => Service::Cas,
        ("api", "cdn") => Service::Cdn,
        _ => Service::Hub,
    };
    let counter = match service {
        Service::Hub => &app.counters.hub_requests,
        Service::Cas => &app.counters.cas_requests,
        Service::Cdn => &app.counters.cdn_requests,
    };
    count(counter, 1);
    if let Some(refusal) = refuse(&app, service).await {
        return refusal;
    }
    let takes_body = request.method == Method::POST && service != Service::Cdn;
    if !takes_body && request.method != Method::GET && request.method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "this hub is read-only");
    }
    let form = if takes_body {
        let is_form = service == Service::Hub && request.segment(4) == "paths-info";
        let bytes_max = if is_form { FORM_BYTES_MAX } else { IGNORED_BYTES_MAX };
        match read(&request, body, bytes_max).await {
            Ok(form) => form,
            Err(refusal) => return refusal,
        }
    } else {
        Bytes::new()
    };
    match service {
        Service::Cas => app.cas(&request).await,
        Service::Cdn => app.cdn(&request).await,
        Service::Hub => match (request.segment(0), request.segment(1)) {
            ("", _) => text(StatusCode::OK, &format!("zest hub\n\nHF_ENDPOINT={}\n", request.base)),
            ("api", "resolve-cache") => app.resolve_cache(&request).await,
            ("api", _) => app.api(&request, &form).await,
            _ if request.wants_page() => app.page(&request).await,
            _ => app.resolve(&request).await,
        },
    }
}

/// The name that a request uses for this hub, if it is not one of ours.
fn stranger(app: &App, parts: &axum::http::request::Parts) -> Option<String> {
    let host =
        parts.headers.get_all(header::HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
    let target = parts.uri.authority().map(|authority| authority.as_str().into());
    host.chain(target).find(|host| !app.hosts.allow(host)).map(|host| host.chars().take(80).collect())
}

async fn read(request: &Request, body: axum::body::Body, bytes_max: usize) -> Result<Bytes, Response> {
    let Some(peer) = &request.peer else { return Ok(Bytes::new()) };
    peer.form(body, bytes_max).await.map(Bytes::from).map_err(|error| match error {
        FormError::TooLong => text(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too long"),
        FormError::Late => text(StatusCode::REQUEST_TIMEOUT, "the request body did not come in time"),
        FormError::Busy => {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "too many request bodies at a time");
            set(&mut response, header::RETRY_AFTER, "1");
            response
        }
    })
}

/// The faults that hit a request as a whole.
async fn refuse(app: &App, service: Service) -> Option<Response> {
    let latency = app.faults.latency(service);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(retry_after) = app.faults.take_limited(service) {
        let mut response = text(StatusCode::TOO_MANY_REQUESTS, "too many requests (injected)");
        if let Some(secs) = retry_after {
            set(&mut response, header::RETRY_AFTER, &secs.to_string());
        }
        return Some(response);
    }
    app.faults
        .refuses(service)
        .then(|| text(StatusCode::SERVICE_UNAVAILABLE, "switched off or failed (injected)"))
}
