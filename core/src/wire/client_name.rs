//! What a remote calls itself, fit to be shown to people.

use super::text;
use core::fmt;
use core::ops::Deref;

/// Bytes of a remote's `v` that are kept: 64. Ours.
pub const CLIENT_BYTES_MAX: usize = 64;

/// A remote's name and version: at most [`CLIENT_BYTES_MAX`] bytes of whole characters, control characters and broken
/// UTF-8 replaced. It lies where its link does; a stranger's greeting allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientName {
    bytes: [u8; CLIENT_BYTES_MAX],
    len: u8,
}

impl ClientName {
    /// No name.
    pub const NONE: Self = Self { bytes: [0; CLIENT_BYTES_MAX], len: 0 };

    /// What can be shown of a name.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        if name.len() <= CLIENT_BYTES_MAX && name.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            // Nearly every name: nothing to cut or to replace.
            return Self::copy(name);
        }
        // A character has at most four bytes: one that is cut here does not fit anyway.
        let clean = text(&name[..name.len().min(CLIENT_BYTES_MAX + 3)], CLIENT_BYTES_MAX);
        let end = (0..=CLIENT_BYTES_MAX.min(clean.len())).rev().find(|&at| clean.is_char_boundary(at));
        Self::copy(&clean.as_bytes()[..end.unwrap_or(0)])
    }

    /// Its bytes; they are UTF-8.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }

    fn copy(name: &[u8]) -> Self {
        let mut bytes = [0; CLIENT_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Self { bytes, len: name.len() as u8 }
    }
}

impl From<&str> for ClientName {
    fn from(name: &str) -> Self {
        Self::new(name.as_bytes())
    }
}

impl Deref for ClientName {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_or_dirty_name_is_cut_and_cleaned() {
        assert_eq!(&*ClientName::new(b"zest/0.5.0"), "zest/0.5.0");
        assert_eq!(&*ClientName::new(&[b'x'; 65]), "x".repeat(64));
        assert_eq!(&*ClientName::new(b"a\nb"), "a\u{fffd}b");
        let dirty = "\u{e9}\n".repeat(100);
        let clean = alloc::format!("{}\u{e9}", "\u{e9}\u{fffd}".repeat(12));
        assert_eq!(&*ClientName::new(dirty.as_bytes()), clean, "cut between characters");
    }

    proptest! {
        #[test]
        fn any_name_can_be_shown(name in proptest::collection::vec(any::<u8>(), 0..100)) {
            let shown = ClientName::new(&name);
            prop_assert!(shown.len() <= CLIENT_BYTES_MAX && !shown.chars().any(char::is_control));
            prop_assert_eq!(shown.is_empty(), name.is_empty());
        }
    }
}
