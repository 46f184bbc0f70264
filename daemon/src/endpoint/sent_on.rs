//! Where the Hub sends clients for the parts of a file: each part would ask it again.

use super::Asked;
use super::route::Route;
use super::standing::Mark;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zest_store::is_commit;

/// How long it is remembered where the Hub sends a client for a file of a commit: 5 min. What it sends to is good for longer. Ours.
const SENT_FOR: Duration = Duration::from_secs(300);
/// And for a file of a branch, which may be another one soon: 5 s, as what a branch is.
const SENT_FOR_BRANCH: Duration = Duration::from_secs(5);
/// Of so many files that is remembered. Ours.
const SENT_MAX: usize = 256;

/// Which file, and who asks for it.
type SentFor = (String, String, Mark);

/// Where the Hub sends clients for files that are read in parts, and since when: each part would ask it again.
#[derive(Debug, Default)]
pub(super) struct SentOn(Mutex<BTreeMap<SentFor, (Instant, StatusCode, HeaderMap)>>);

impl SentOn {
    fn of(asked: &Asked) -> (SentFor, Duration) {
        let lasts = match &asked.route {
            Route::Resolve { revision, .. } if is_commit(revision) => SENT_FOR,
            _ => SENT_FOR_BRANCH,
        };
        ((asked.prefix.clone(), asked.target.clone(), asked.caller.mark()), lasts)
    }

    pub(super) fn find(&self, asked: &Asked) -> Option<Response> {
        let (of, lasts) = Self::of(asked);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, status, headers) = all.get(&of).filter(|(at, ..)| at.elapsed() < lasts)?;
        let mut response = Response::new(Body::empty());
        (*response.status_mut(), *response.headers_mut()) = (*status, headers.clone());
        Some(response)
    }

    pub(super) fn note(&self, asked: &Asked, sent: &Response) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SENT_MAX {
            all.retain(|_, (at, ..)| at.elapsed() < SENT_FOR_BRANCH);
        }
        if all.len() < SENT_MAX {
            let mut headers = sent.headers().clone();
            // The body that said the same in words is not kept.
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRANSFER_ENCODING);
            all.insert(Self::of(asked).0, (Instant::now(), sent.status(), headers));
        }
    }
}
