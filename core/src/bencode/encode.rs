//! Writing bencode.

use super::DEPTH_MAX;
use alloc::vec::Vec;
use core::num::NonZeroUsize;

/// Writes one document. Order, nesting and sorted keys are the caller's duty and are asserted. Allocates nothing but what
/// `out` needs.
///
/// ```
/// let mut out = Vec::new();
/// let mut enc = zest_core::bencode::Encoder::new(&mut out);
/// enc.dict().key(b"a").int(-1).key(b"b").list().bytes(b"xy").end().end();
/// enc.finish();
/// assert_eq!(out, b"d1:ai-1e1:bl2:xyee");
/// ```
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    /// The first `depth` are open.
    open: [Level; DEPTH_MAX],
    depth: usize,
}

#[derive(Clone, Copy)]
enum Level {
    List,
    Dict {
        /// Where in the output the last key stands: where it begins, and bytes.
        last_key: Option<(NonZeroUsize, usize)>,
        value_due: bool,
    },
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    #[must_use]
    #[inline]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Encoder { out, open: [Level::List; DEPTH_MAX], depth: 0 }
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, int: i64) -> &mut Self {
        self.value();
        self.out.push(b'i');
        self.decimal(int < 0, int.unsigned_abs());
        self.out.push(b'e');
        self
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.value();
        self.string(bytes);
        self
    }

    /// Opens a list.
    #[inline]
    pub fn list(&mut self) -> &mut Self {
        self.value();
        self.out.push(b'l');
        self.open(Level::List)
    }

    /// Opens a dictionary.
    #[inline]
    pub fn dict(&mut self) -> &mut Self {
        self.value();
        self.out.push(b'd');
        self.open(Level::Dict { last_key: None, value_due: false })
    }

    /// A key; greater than the one before it.
    #[inline]
    pub fn key(&mut self, key: &[u8]) -> &mut Self {
        let Some(&mut Level::Dict { last_key, value_due: false }) = self.innermost() else {
            panic!("bencode: a key stands only in a dictionary, after a value");
        };
        if let Some((at, len)) = last_key {
            assert!(self.out[at.get()..][..len] < *key, "bencode: keys must ascend");
        }
        self.string(key);
        // Its dictionary begins before it.
        let last_key = NonZeroUsize::new(self.out.len() - key.len()).map(|at| (at, key.len()));
        self.open[self.depth - 1] = Level::Dict { last_key, value_due: true };
        self
    }

    /// Closes the innermost list or dictionary.
    #[inline]
    pub fn end(&mut self) -> &mut Self {
        match self.innermost() {
            Some(Level::List | Level::Dict { value_due: false, .. }) => self.out.push(b'e'),
            _ => panic!("bencode: nothing to close, or a key without its value"),
        }
        self.depth -= 1;
        self
    }

    /// Checks that everything was closed.
    #[inline]
    pub fn finish(self) {
        assert_eq!(self.depth, 0, "bencode: a list or dictionary was left open");
    }

    #[inline]
    fn open(&mut self, level: Level) -> &mut Self {
        assert!(
            self.depth < DEPTH_MAX,
            "bencode: no deeper than {DEPTH_MAX}, which is all that readers take"
        );
        self.open[self.depth] = level;
        self.depth += 1;
        self
    }

    #[inline]
    fn innermost(&mut self) -> Option<&mut Level> {
        self.open[..self.depth].last_mut()
    }

    #[inline]
    fn value(&mut self) {
        if let Some(Level::Dict { value_due, .. }) = self.innermost() {
            assert!(*value_due, "bencode: a value in a dictionary needs its key first");
            *value_due = false;
        }
    }

    #[inline]
    fn string(&mut self, bytes: &[u8]) {
        if let Ok(len @ 0..=9) = u8::try_from(bytes.len()) {
            self.out.extend_from_slice(&[b'0' + len, b':']);
        } else {
            self.decimal(false, bytes.len() as u64);
            self.out.push(b':');
        }
        self.out.extend_from_slice(bytes);
    }

    fn decimal(&mut self, negative: bool, mut value: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        if negative {
            self.out.push(b'-');
        }
        self.out.extend_from_slice(&digits[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "keys must ascend")]
    fn writing_unsorted_keys_is_our_bug() {
        Encoder::new(&mut Vec::new()).dict().key(b"b").int(1).key(b"a");
    }

    #[test]
    #[should_panic(expected = "keys must ascend")]
    fn keys_are_compared_within_their_own_dictionary() {
        Encoder::new(&mut Vec::new()).dict().key(b"b").dict().key(b"c").int(1).end().key(b"b");
    }

    #[test]
    #[should_panic(expected = "no deeper than 8")]
    fn writing_what_no_reader_takes_is_our_bug() {
        let mut out = Vec::new();
        let mut enc = Encoder::new(&mut out);
        for _ in 0..=DEPTH_MAX {
            enc.list();
        }
    }
}
