//! The door: one handler that logs, counts, applies faults and passes a request to its service.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use super::App;
use super::faults::Service;
use super::request::{Request, TARGET_BYTES_MAX, set, text};
use super::stats::count;

/// Longest request body: 1 MiB, thousands of paths for `paths-info`. Longer ones are answered 413.
const REQUEST_BODY_BYTES_MAX: usize = 1 << 20;

/// Answers every request.
pub(crate) async fn handle(State(app): State<Arc<App>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let has_authorization = parts.headers.contains_key(header::AUTHORIZATION);
    app.log.record(parts.method.as_str(), parts.uri.path(), has_authorization);
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return text(StatusCode::URI_TOO_LONG, "the URL is too long");
    }
    let Some(request) = Request::new(&parts, app.addr, app.public_url.as_deref()) else {
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
        match axum::body::to_bytes(body, REQUEST_BODY_BYTES_MAX).await {
            Ok(form) => form,
            Err(_) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too long"),
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
            _ => app.resolve(&request).await,
        },
    }
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
