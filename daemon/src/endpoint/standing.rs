//! Who may have what: what the Hub said of a repository, and of whom.
//!
//! What everybody may read is answered to everybody who has the key. Anything else only to whose token the Hub has accepted for that
//! very commit within ten minutes. Of a token nothing is kept but a keyed hash, in memory.

use super::runs::RunName;
use crate::limits::REMEMBERED_MAX;
use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use zest_store::{RepoId, Token, aging_now};

/// How long the Hub's yes to a token counts: 10 min.
pub(super) const ACCEPTED_FOR: Duration = Duration::from_secs(600);

/// How long its word that a repository is for everybody counts without another question: 1 h.
const PUBLIC_FOR: Duration = Duration::from_secs(3600);

/// Bytes of the key that tokens are hashed with: a block of SHA-256.
const KEY_BYTES: usize = 64;

/// Who asks: a token, or nobody.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) token: Option<Token>,
    mark: Mark,
    /// The `zest run` whose command asks, for its figures alone.
    pub(super) run: Option<RunName>,
}

impl Caller {
    /// The same, in this `zest run`.
    pub(super) fn within(mut self, run: Option<RunName>) -> Self {
        self.run = run;
        self
    }

    /// A keyed hash of the token: what tells callers apart.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.token.is_some() { "a token" } else { "nobody" })
    }
}

/// How much the Hub lets a caller do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// See what files there are.
    List,
    /// Read them.
    Read,
}

/// A commit of a repository.
type Of = (RepoId, String);

/// A keyed hash of a token.
pub(super) type Mark = [u8; 32];

/// What is known of it.
pub(super) struct Standing {
    key: Hmac<Sha256>,
    /// What time it is, for what ages.
    now: fn() -> SystemTime,
    public: Mutex<BTreeMap<Of, SystemTime>>,
    accepted: Mutex<BTreeMap<(Of, Mark), (Level, SystemTime)>>,
}

impl Standing {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        let key = Hmac::new(&key.into());
        Ok(Self { key, now: aging_now, public: Mutex::default(), accepted: Mutex::default() })
    }

    /// Whom a request comes from.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Caller {
        let token =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| Token::new(token)).flatten()
            });
        // Whatever stands there tells callers apart, also what is no bearer.
        let all = headers.get_all(header::AUTHORIZATION).iter();
        let mac =
            all.fold(self.key.clone(), |mac, value| mac.chain_update(value.as_bytes()).chain_update([0]));
        Caller { token, mark: mac.finalize().into_bytes().into(), run: None }
    }

    /// The Hub says that everybody may read this commit.
    pub(super) fn note_public(&self, repo: &RepoId, commit: &str) {
        let mut public = self.public.lock().unwrap_or_else(PoisonError::into_inner);
        public.insert((repo.clone(), commit.to_owned()), (self.now)());
        forget_oldest(&mut public, |at| *at);
    }

    /// The Hub says that not everybody may.
    pub(super) fn note_closed(&self, repo: &RepoId) {
        self.public.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| of != repo);
    }

    /// Whether everybody may, as far as was heard lately.
    pub(super) fn is_public(&self, repo: &RepoId, commit: &str) -> bool {
        let public = self.public.lock().unwrap_or_else(PoisonError::into_inner);
        public.get(&(repo.clone(), commit.to_owned())).is_some_and(|at| self.is_within(*at, PUBLIC_FOR))
    }

    /// The Hub has let this caller.
    pub(super) fn note_accepted(&self, caller: &Caller, repo: &RepoId, commit: &str, level: Level) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ((repo.clone(), commit.to_owned()), caller.mark);
        let before = accepted.get(&key).filter(|(_, at)| self.is_within(*at, ACCEPTED_FOR)).copied();
        // A lower yes does not make a higher one last longer.
        if before.is_none_or(|(had, _)| had <= level) {
            accepted.insert(key, (level, (self.now)()));
        }
        forget_oldest(&mut accepted, |(_, at)| *at);
    }

    /// The Hub has refused this caller.
    pub(super) fn note_refused(&self, caller: &Caller, repo: &RepoId) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.retain(|((of, _), mark), _| of != repo || *mark != caller.mark);
    }

    /// Until when the Hub's yes to this caller counts, if it has given one.
    pub(super) fn accepted_until(
        &self,
        caller: &Caller,
        repo: &RepoId,
        commit: &str,
        level: Level,
    ) -> Option<SystemTime> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let (had, at) = accepted.get(&((repo.clone(), commit.to_owned()), caller.mark))?;
        (*had >= level && self.is_within(*at, ACCEPTED_FOR)).then_some(*at + ACCEPTED_FOR)
    }
}

impl Standing {
    /// Whether less than so long has passed.
    fn is_within(&self, at: SystemTime, time: Duration) -> bool {
        (self.now)().duration_since(at).is_ok_and(|passed| passed < time)
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

fn forget_oldest<K: Ord + Clone, V>(all: &mut BTreeMap<K, V>, at: impl Fn(&V) -> SystemTime) {
    if all.len() > REMEMBERED_MAX {
        let oldest = all.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use zest_store::RepoType;

    fn with(standing: &Standing, value: &str) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
        standing.caller(&headers)
    }

    #[test]
    fn a_yes_is_for_one_token_one_commit_and_no_more_than_was_asked() {
        let standing = Standing::new().expect("randomness");
        let repo = RepoId::new(RepoType::Model, "org/name").expect("a name");
        let (one, other) = (with(&standing, "Bearer hf_one"), with(&standing, "Bearer hf_other"));
        let nobody = standing.caller(&HeaderMap::new());
        standing.note_accepted(&one, &repo, "c", Level::List);
        let may = |caller: &Caller, commit: &str, level| {
            standing.accepted_until(caller, &repo, commit, level).is_some()
        };
        assert!(may(&one, "c", Level::List) && !may(&one, "c", Level::Read) && !may(&one, "d", Level::List));
        assert!(!may(&other, "c", Level::List) && !may(&nobody, "c", Level::List));
        standing.note_accepted(&one, &repo, "c", Level::Read);
        standing.note_accepted(&one, &repo, "c", Level::List);
        assert!(may(&one, "c", Level::Read));
        standing.note_refused(&one, &repo);
        assert!(!may(&one, "c", Level::List));
        let text = format!("{one:?} {standing:?}");
        assert!(!text.contains("hf_one"), "{text}");
    }

    #[test]
    fn a_yes_ages_however_long_that_is_waited_for() {
        // Minutes that have passed.
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(60 * PASSED.load(Ordering::Relaxed));
        let standing = Standing { now, ..Standing::new().expect("randomness") };
        let repo = RepoId::new(RepoType::Model, "org/name").expect("a name");
        let one = with(&standing, "Bearer hf_one");
        standing.note_accepted(&one, &repo, "c", Level::Read);
        standing.note_public(&repo, "c");
        for (minutes, accepted, public) in
            [(9, true, true), (10, false, true), (59, false, true), (60, false, false)]
        {
            PASSED.store(minutes, Ordering::Relaxed);
            assert_eq!(
                standing.accepted_until(&one, &repo, "c", Level::Read).is_some(),
                accepted,
                "{minutes}"
            );
            assert_eq!(standing.is_public(&repo, "c"), public, "{minutes}");
        }
    }

    #[test]
    fn what_turned_private_is_not_public_any_more() {
        let standing = Standing::new().expect("randomness");
        let repo = RepoId::new(RepoType::Model, "gpt2").expect("a name");
        standing.note_public(&repo, "c");
        assert!(standing.is_public(&repo, "c") && !standing.is_public(&repo, "d"));
        standing.note_closed(&repo);
        assert!(!standing.is_public(&repo, "c"));
    }
}
