//! What a person sees who opens an address of this hub in a browser: a few words in place of JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use zest_store::{RepoId, RepoType};

use super::App;
use super::api::{Permission, kind_of, repo_of};
use super::request::{Request, set};

impl Request {
    /// Whether a browser asks: programs say nothing of HTML.
    pub(crate) fn wants_page(&self) -> bool {
        let accepts = self.header(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
        accepts && matches!(self.method, Method::GET | Method::HEAD)
    }
}

impl App {
    /// Answers a browser: files as everybody gets them, else a page about what was asked for.
    pub(crate) async fn page(self: &Arc<Self>, request: &Request) -> Response {
        let repo = repo_of_page(request);
        if let Some(repo) = &repo
            && self.admit(request, repo, Permission::List).await.is_ok()
        {
            let line = format!("HF_ENDPOINT={} zest pull {repo}", request.base);
            return page(StatusCode::OK, &repo.name, &format!("This hub has it. To fetch it:\n\n{line}"));
        }
        let answer = self.resolve(request).await;
        let status = answer.status();
        if !status.is_client_error() {
            return answer;
        }
        let what = match repo {
            Some(repo) => repo.name,
            None => request.segments.join("/"),
        };
        let words = match status {
            StatusCode::NOT_FOUND => "There is nothing of that name here. Is it typed right?",
            _ => "There is nothing of that name here, or it is not shown to everybody. Is it typed right?",
        };
        let mut shown = page(status, &what, words);
        // What programs go by stays.
        for (name, value) in answer.headers() {
            if !shown.headers().contains_key(name) {
                shown.headers_mut().insert(name, value.clone());
            }
        }
        shown
    }
}

/// The repository whose page is asked for: `[{datasets|spaces}/]{org}/{name}`.
fn repo_of_page(request: &Request) -> Option<RepoId> {
    let segments: Vec<&str> =
        request.segments.iter().map(String::as_str).filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        [org, name] => repo_of(RepoType::Model, org, name),
        [kind, org, name] => repo_of(kind_of(kind)?, org, name),
        _ => None,
    }
}

fn page(status: StatusCode, title: &str, words: &str) -> Response {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (title, words) = (escape(title), escape(words));
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><pre>{words}</pre>\n"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
    // It needs nothing, and nothing that was asked for may run in it.
    set(&mut response, header::CONTENT_SECURITY_POLICY, "default-src 'none'");
    response
}
