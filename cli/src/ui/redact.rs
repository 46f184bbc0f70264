//! Blanks tokens. No line should hold one to begin with; this is the net below.

use std::borrow::Cow;
use std::sync::{Arc, RwLock};

/// Shortest text treated as a secret: 6 bytes. Shorter ones would blank ordinary words, and protect nothing.
const SECRET_BYTES_MIN: usize = 6;

/// What stands in place of a secret.
const BLANK: &str = "***";

/// Known secrets, shared by all clones.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// Blanks `secret` from now on.
    pub(super) fn add(&self, secret: &str) {
        if secret.len() < SECRET_BYTES_MIN {
            return;
        }
        let mut list = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !list.iter().any(|known| known == secret) {
            list.push(secret.to_owned());
        }
    }

    /// `text` without secrets.
    pub(super) fn blank<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let list = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut text = Cow::Borrowed(text);
        for secret in list.iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), BLANK));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_blanked_in_every_clone() {
        let secrets = Secrets::default();
        let clone = secrets.clone();
        secrets.add("hf_abcdef");
        assert_eq!(clone.blank("Bearer hf_abcdef, again hf_abcdef!"), "Bearer ***, again ***!");
        assert!(matches!(clone.blank("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn short_texts_are_no_secrets() {
        let secrets = Secrets::default();
        secrets.add("");
        secrets.add("a");
        assert_eq!(secrets.blank("a man"), "a man");
    }
}
