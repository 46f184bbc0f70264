//! Reading an input: whatever is missing at its end reads as zero, so every input is a valid one.

/// Takes values off the front of an input.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Cursor { rest: input }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Up to `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A number in big-endian form.
    pub(crate) fn number<const N: usize>(&mut self) -> u64 {
        self.bytes(N).iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.number::<2>() as u16
    }
}
