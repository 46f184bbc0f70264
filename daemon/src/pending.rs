//! `pulls.json`: the pulls under way, so that the next daemon goes on with what this one was killed in.
//!
//! No token is in it. A pull that had another than the daemon's is not begun again: it waits until the same is asked for with a token. One that
//! was to use none goes on without one.

use crate::os::is_private;
use crate::places::{open, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zest_runtime_tokio::PullRequest;
use zest_store::Token;

/// Longest file that is read: 64 MiB, 256 pulls with bodies of the longest.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Pulls that wait for a token, at most: 256. Those that have waited longest go.
const WAITING_MAX: usize = 256;

/// One pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) request: PullRequest,
    /// It had a token of its own.
    own_token: bool,
    /// It was to use none, not even the daemon's.
    #[serde(default)]
    anonymous: bool,
    pub(crate) paused: bool,
}

impl Kept {
    /// What to begin again.
    pub(crate) fn again(self) -> PullRequest {
        self.request.implicit_token(!self.anonymous)
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Pending {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: BTreeMap<u64, Kept>,
    waiting: Vec<Kept>,
}

impl Pending {
    /// What an earlier daemon left: the pulls to begin, and what keeps the account from now on.
    pub(crate) fn take_over(path: &Path) -> (Vec<Kept>, Self) {
        let left = read(path).unwrap_or_default();
        let (mut waiting, ready): (Vec<Kept>, Vec<Kept>) = left.into_iter().partition(|kept| kept.own_token);
        waiting.drain(..waiting.len().saturating_sub(WAITING_MAX));
        let inner = Inner { waiting, ..Inner::default() };
        (ready, Self { path: path.to_owned(), inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pull begins. `daemons` is the daemon's own token, which the next one has, too.
    pub(crate) fn began(&self, id: u64, request: &PullRequest, daemons: Option<&Token>) {
        // Of another Hub it is never used unasked.
        let is_daemons = request.endpoint.is_none() && request.token.as_ref() == daemons;
        let own_token = request.token.is_some() && !is_daemons;
        let anonymous = request.token.is_none() && !request.implicit_token;
        let plain = request.clone().token(None).implicit_token(true);
        let mut inner = self.inner();
        inner.waiting.retain(|kept| kept.request != plain);
        // A login in an address is a secret, too: it is in no file.
        let has_login =
            plain.endpoint.as_deref().is_some_and(|url| !zest_hub::endpoint_secrets(url).is_empty());
        if !has_login {
            inner.running.insert(id, Kept { request: plain, own_token, anonymous, paused: false });
        }
        self.write(&inner);
    }

    /// Its user has it rest, or go on.
    pub(crate) fn paused(&self, id: u64, paused: bool) {
        let mut inner = self.inner();
        if let Some(kept) = inner.running.get_mut(&id) {
            kept.paused = paused;
            self.write(&inner);
        }
    }

    /// It is over.
    pub(crate) fn ended(&self, id: u64) {
        let mut inner = self.inner();
        if inner.running.remove(&id).is_some() {
            self.write(&inner);
        }
    }

    /// Those that wait for a token.
    pub(crate) fn waiting(&self) -> Vec<PullRequest> {
        self.inner().waiting.iter().map(|kept| kept.request.clone()).collect()
    }

    /// A full disk costs what the next daemon would have gone on with, and nothing else.
    fn write(&self, inner: &Inner) {
        let all: Vec<&Kept> = inner.waiting.iter().chain(inner.running.values()).collect();
        let written = match all.is_empty() {
            true => match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            false => serde_json::to_vec(&all)
                .map_err(Into::into)
                .and_then(|text| write_atomically(&self.path, &text)),
        };
        if let Err(error) = written {
            tracing::warn!(
                target: zest_store::SAID,
                kind = "not-noted",
                "the pulls under way are not gone on with after a restart: {}: {error}",
                self.path.display()
            );
        }
    }
}

/// `None` if it is not there, could be somebody else's, or is damaged.
fn read(path: &Path) -> Option<Vec<Kept>> {
    let file = open(path).ok()?;
    if !is_private(&file.metadata().ok()?) {
        return None;
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> PullRequest {
        PullRequest::model(name).expect("a name")
    }

    #[test]
    fn what_was_under_way_is_left_to_the_next_and_what_is_over_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pulls.json");
        let (ready, pending) = Pending::take_over(&path);
        assert!(ready.is_empty());
        pending.began(1, &request("a/over"), None);
        pending.began(2, &request("a/paused"), None);
        pending.began(3, &request("a/private").token(Token::new("hf_of_that_pull")), None);
        pending.began(5, &request("a/public").implicit_token(false), None);
        pending.began(4, &request("a/b").endpoint(Some("https://me:password@hub.example".into())), None);
        pending.paused(2, true);
        pending.ended(1);
        let text = std::fs::read_to_string(&path).expect("written");
        assert!(!text.contains("hf_of_that_pull") && !text.contains("password"), "{text}");
        let (ready, pending) = Pending::take_over(&path);
        let kept =
            |name, anonymous, paused| Kept { request: request(name), own_token: false, anonymous, paused };
        assert_eq!(ready, [kept("a/paused", false, true), kept("a/public", true, false)]);
        assert!(
            !ready[1].clone().again().implicit_token,
            "the next daemon's token is not used for it either"
        );
        assert_eq!(pending.waiting(), [request("a/private")]);
        // Nothing has begun yet, and the one that waits is still noted when something does.
        pending.began(1, &request("a/paused"), None);
        assert_eq!(Pending::take_over(&path).1.waiting().len(), 1);
        pending.began(2, &request("a/private").token(Token::new("hf_again")), None);
        assert!(pending.waiting().is_empty(), "it has its token");
        pending.ended(1);
        pending.ended(2);
        assert!(!path.exists());
    }

    #[test]
    fn a_pull_with_the_daemons_own_token_is_gone_on_with() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pulls.json");
        let (_, pending) = Pending::take_over(&path);
        let (own, other) = (Token::new("hf_of_the_daemon"), Token::new("hf_of_another"));
        let elsewhere = Some("https://hub.example".to_owned());
        pending.began(1, &request("a/own").token(own.clone()).implicit_token(false), own.as_ref());
        pending.began(2, &request("a/other").token(other), own.as_ref());
        pending.began(3, &request("a/elsewhere").token(own.clone()).endpoint(elsewhere), own.as_ref());
        let (ready, pending) = Pending::take_over(&path);
        let [again] = &ready[..] else { panic!("{ready:?}") };
        assert_eq!(again.request, request("a/own"));
        assert!(again.clone().again().implicit_token, "by the next daemon's own");
        assert_eq!(pending.waiting().len(), 2);
    }

    #[test]
    fn a_damaged_list_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pulls.json");
        for text in ["", "{", "[1]", r#"[{"request":{"repo":"../x"},"own_token":false,"paused":false}]"#] {
            write_atomically(&path, text.as_bytes()).expect("written");
            assert!(Pending::take_over(&path).0.is_empty(), "{text}");
        }
    }
}
