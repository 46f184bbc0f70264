//! The endpoint's key: what stands in its address, and opens nothing but what lies below `/hf/`.
//!
//! `HF_ENDPOINT` ends up in tracebacks and logs, so this is not the API's secret, and it can be changed at any time.

use crate::{DaemonError, Places, Secret};
use std::sync::{Mutex, PoisonError};
use zest_store::Identity;

/// The key as a running daemon knows it. Another process may change it; from then on the old one opens nothing.
#[derive(Debug)]
pub(super) struct Key {
    places: Places,
    known: Mutex<Option<(State, Secret)>>,
}

/// What tells that the file is still the one that was read.
type State = Identity;

impl Key {
    pub(super) fn new(places: Places) -> Result<Self, DaemonError> {
        Secret::endpoint_key(&places)?;
        Ok(Self { places, known: Mutex::default() })
    }

    /// Whether this is it, now.
    pub(super) fn is(&self, given: &str) -> bool {
        let state = std::fs::metadata(self.places.endpoint_key()).map(|meta| Identity::of(&meta));
        let Ok(state) = state else { return false };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(of, _)| *of != state) {
            *known = Secret::endpoint_key(&self.places).ok().map(|key| (state, key));
        }
        known.as_ref().is_some_and(|(_, key)| key.is(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_changed_opens_nothing_any_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(dir.path());
        let key = Key::new(places.clone()).expect("made");
        let first = Secret::endpoint_key(&places).expect("the same");
        assert!(key.is(first.as_str()) && !key.is("") && !key.is(&first.as_str()[1..]));
        let second = Secret::rotate_endpoint_key(&places).expect("changed");
        assert_ne!(first, second);
        assert!(key.is(second.as_str()) && !key.is(first.as_str()));
        assert_ne!(Secret::read_or_make(&places).expect("the API's"), second);
    }
}
