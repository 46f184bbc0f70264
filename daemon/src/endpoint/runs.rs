//! What each `zest run` has had: its command's address has a name behind the key.

use super::Endpoint;
use crate::limits::{RUN_PULLS_MAX, RUNS_MAX};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use zest_runtime_tokio::Session;

/// Hex digits of a run's name.
const NAME_DIGITS: usize = 16;

/// The name of a `zest run`. It is no secret, and opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunName(Arc<str>);

impl RunName {
    /// Takes `KEY.NAME` apart.
    pub(super) fn after_key(named: &str) -> (&str, Option<Self>) {
        match named.split_once('.') {
            Some((key, name)) => (key, Self::new(name)),
            None => (named, None),
        }
    }

    fn new(name: &str) -> Option<Self> {
        let is_name = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| Self(name.into()))
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of files by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RunFigures {
    /// From peers.
    pub(crate) from_peers: u64,
    /// From the CDN and the Hub.
    pub(crate) from_cdn: u64,
    /// From this disk: what was there before somebody asked, and chunks that other files had.
    pub(crate) from_disk: u64,
}

#[derive(Debug, Default)]
struct Run {
    /// What was sent of files that were whole.
    sent: u64,
    /// What its pulls have brought, as far as was seen.
    pulls: BTreeMap<u64, RunFigures>,
}

/// Those that are known, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<Vec<(RunName, Run)>>);

impl Runs {
    fn with(&self, name: Option<&RunName>, then: impl FnOnce(&mut Run)) {
        let Some(name) = name else { return };
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, run)) = runs.iter_mut().find(|(of, _)| of == name) {
            return then(run);
        }
        if runs.len() >= RUNS_MAX {
            runs.remove(0);
        }
        let mut run = Run::default();
        then(&mut run);
        runs.push((name.clone(), run));
    }

    /// It is sent these bytes of a file that is whole.
    pub(super) fn sent(&self, name: Option<&RunName>, bytes: u64) {
        self.with(name, |run| run.sent += bytes);
    }

    /// It reads what this pull brings.
    pub(super) fn pulls(&self, name: Option<&RunName>, pull: u64) {
        self.with(name, |run| {
            if run.pulls.len() < RUN_PULLS_MAX {
                run.pulls.entry(pull).or_default();
            }
        });
    }

    fn figures(&self, name: &str, session: &Session) -> Option<RunFigures> {
        let now = session.pulls();
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, run) = runs.iter_mut().find(|(of, _)| &*of.0 == name)?;
        for status in &now {
            if let Some(had) = run.pulls.get_mut(&status.id) {
                let now = &status.progress;
                *had = RunFigures {
                    from_peers: now.from_peers,
                    from_cdn: now.from_cdn,
                    from_disk: now.from_disk,
                };
            }
        }
        let start = RunFigures { from_disk: run.sent, ..RunFigures::default() };
        Some(run.pulls.values().fold(start, |sum, pull| RunFigures {
            from_peers: sum.from_peers + pull.from_peers,
            from_cdn: sum.from_cdn + pull.from_cdn,
            from_disk: sum.from_disk + pull.from_disk,
        }))
    }
}

impl Endpoint {
    /// What a run has had; zeros for one of which nothing was heard.
    pub(crate) fn run_figures(&self, name: &str) -> RunFigures {
        self.runs.figures(name, &self.session).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_behind_the_key_is_a_run_and_anything_else_is_none() {
        let (key, run) = RunName::after_key("abc.0123456789abcdef");
        assert_eq!((key, run.map(|run| run.to_string()).as_deref()), ("abc", Some("0123456789abcdef")));
        assert_eq!(RunName::after_key("abc"), ("abc", None));
        assert_eq!(RunName::after_key("abc.xyz"), ("abc", None));
        assert_eq!(RunName::after_key("abc.0123456789abcdef.1"), ("abc", None));
    }

    #[test]
    fn runs_are_told_apart_and_the_first_goes_when_there_are_too_many() {
        let runs = Runs::default();
        let name = |n: usize| RunName::new(&format!("{n:016x}"));
        for n in 0..=RUNS_MAX {
            runs.sent(name(n).as_ref(), 5);
            runs.pulls(name(n).as_ref(), n as u64);
        }
        runs.sent(None, 7);
        let all = runs.0.lock().expect("no holder panics");
        assert_eq!((all.len(), all[0].0.clone()), (RUNS_MAX, name(1).expect("a name")));
        assert!(all.iter().all(|(_, run)| run.sent == 5 && run.pulls.len() == 1));
    }
}
