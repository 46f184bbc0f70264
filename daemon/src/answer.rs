//! Answers: JSON, never kept by anybody, and errors in one form.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use zest_runtime_tokio::PullFailure;

/// An error, as `{"error":{"kind","message","hint"}}`. The kinds are those of the exit codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    kind: &'static str,
    message: String,
    hint: Option<&'static str>,
    header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), hint: None, header: None }
    }

    /// What was sent makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "usage", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// Too much at once, or the end is near: later it may work.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "other", message);
        refusal.header(header::RETRY_AFTER, "1")
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) fn answer(self) -> Response {
        #[derive(Serialize)]
        struct Error<'a> {
            kind: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Document<'a> {
            error: Error<'a>,
        }
        let error = Error { kind: self.kind, message: &self.message, hint: self.hint };
        let mut response = json(self.status, &Document { error });
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// JSON with this status.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => text_of(status, "application/json", text.into()),
        Err(error) => {
            tracing::error!("an answer cannot be written: {error}");
            text_of(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", Body::empty())
        }
    }
}

/// JSON with status 200.
pub(crate) fn ok(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}

/// A body of this type, which no cache keeps and no browser takes for something else.
pub(crate) fn text_of(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The HTTP status that stands for a kind of failure of a pull. 401 is not among them: it means the API's own secret.
#[must_use]
pub fn status_of(kind: &str) -> u16 {
    match kind {
        "usage" => 400,
        "auth" => 403,
        "not-found" => 404,
        "place" | "interrupted" => 409,
        "network" | "verify" => 502,
        "disk" => 507,
        _ => 500,
    }
}

/// A pull's failure as an answer.
pub(crate) fn failed(failure: &PullFailure) -> Response {
    #[derive(Serialize)]
    struct Document<'a> {
        error: &'a PullFailure,
    }
    let status = StatusCode::from_u16(status_of(&failure.kind)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &Document { error: failure })
}
