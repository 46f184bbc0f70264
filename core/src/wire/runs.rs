//! Runs of chunks, as availability messages carry them: each run skips that many chunks after the end of the run before
//! and then takes at least one. Both numbers are unsigned LEB128 of at most 32 bits in the shortest form; only the first
//! run may skip none. So one set of chunks has one form.

use super::zest_error::ZestError;
use alloc::vec::Vec;
use nom::Parser as _;
use zest_xet::fields::{Parsed, byte};

/// Fewest bytes of a run: 2 (skip and take below 128).
const RUN_BYTES_MIN: usize = 2;

/// Bytes of the longest number: 5 (32 bits, seven in each).
const LEB128_BYTES_MAX: u32 = 5;

/// Reads `count` runs that fill `rest`, as (first chunk, chunks), in order and apart from one another. No run reaches past
/// `total`. `what` names the message.
pub(super) fn parse(
    mut rest: &[u8],
    count: u16,
    total: u32,
    what: &'static str,
) -> Result<Vec<(u32, u32)>, ZestError> {
    // The count cannot make us reserve more than the message is long.
    let mut runs = Vec::with_capacity(usize::from(count).min(rest.len() / RUN_BYTES_MIN));
    let mut end = 0u32;
    for index in 0..u32::from(count) {
        let (left, (skip, take)) = (leb128, leb128).parse(rest).map_err(|_| ZestError::Run(index))?;
        let first = end.checked_add(skip);
        let past = first.and_then(|first| first.checked_add(take)).filter(|past| *past <= total);
        let touches = skip == 0 && index > 0;
        let (Some(first), Some(past), false, 1..) = (first, past, touches, take) else {
            return Err(ZestError::Run(index));
        };
        runs.push((first, take));
        (rest, end) = (left, past);
    }
    if rest.is_empty() { Ok(runs) } else { Err(ZestError::Length(what)) }
}

/// The runs with those that touch joined.
///
/// # Panics
/// When it comes to a run that is empty, reaches past `total` or begins before the end of the one before.
pub(super) fn joined(runs: &[(u32, u32)], total: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut runs = runs.iter().copied().peekable();
    let mut end = 0;
    core::iter::from_fn(move || {
        let (first, take) = runs.next()?;
        let mut check = |first: u32, take: u32| {
            let past = first.checked_add(take).filter(|&past| past <= total);
            let lawful = take > 0 && first >= end;
            end = past.filter(|_| lawful).unwrap_or_else(|| {
                panic!("availability run {first}+{take} of {total} after {end}");
            });
            end
        };
        let mut past = check(first, take);
        while let Some((next, more)) = runs.next_if(|&(next, _)| next == past) {
            past = check(next, more);
        }
        Some((first, past - first))
    })
}

/// The runs of one message as they are being written.
pub(super) struct Written {
    room: usize,
    end: u32,
    /// How many there are.
    pub(super) count: u16,
    /// Their bytes.
    pub(super) bytes: Vec<u8>,
}

impl Written {
    /// None yet; `room` bytes at most.
    pub(super) fn new(room: usize) -> Self {
        assert!(room / RUN_BYTES_MIN <= usize::from(u16::MAX), "the number of runs fits its field");
        Self { room, end: 0, count: 0, bytes: Vec::new() }
    }

    /// Appends a run that begins past the end of the one before; false, and nothing is changed, if it does not fit.
    pub(super) fn push(&mut self, first: u32, take: u32) -> bool {
        let before = self.bytes.len();
        put_leb128(&mut self.bytes, first - self.end);
        put_leb128(&mut self.bytes, take);
        if self.bytes.len() > self.room {
            self.bytes.truncate(before);
            return false;
        }
        self.end = first + take;
        self.count += 1;
        true
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn leb128(input: &[u8]) -> Parsed<'_, u32> {
    let mut rest = input;
    let mut value = 0u64;
    for index in 0..LEB128_BYTES_MAX {
        let bits;
        (rest, bits) = byte(rest)?;
        value |= u64::from(bits & 0x7f) << (7 * index);
        if bits & 0x80 == 0 {
            let shortest = bits != 0 || index == 0;
            let value = u32::try_from(value).ok().filter(|_| shortest);
            return value.map(|value| (rest, value)).ok_or(nom::Err::Error(()));
        }
    }
    Err(nom::Err::Error(()))
}

fn put_leb128(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn join(runs: &[(u32, u32)], total: u32) -> Vec<(u32, u32)> {
        joined(runs, total).collect()
    }

    #[test]
    fn runs_that_touch_become_one() {
        assert_eq!(join(&[], 0), []);
        assert_eq!(join(&[(0, 1), (1, 2), (3, 1), (5, 1)], 6), [(0, 4), (5, 1)]);
        let end = u32::MAX;
        assert_eq!(join(&[(0, 1), (end - 2, 1), (end - 1, 1)], end), [(0, 1), (end - 2, 2)]);
    }

    #[test]
    #[should_panic(expected = "availability run 4+1 of 9 after 5")]
    fn a_run_that_overlaps_the_one_before_is_our_bug() {
        join(&[(0, 2), (2, 3), (4, 1)], 9);
    }

    #[test]
    #[should_panic(expected = "availability run 2+0 of 9 after 2")]
    fn an_empty_run_is_our_bug() {
        join(&[(0, 2), (2, 0)], 9);
    }

    #[test]
    #[should_panic(expected = "availability run 1+4294967295 of 4294967295 after 0")]
    fn a_run_past_the_last_number_is_our_bug() {
        join(&[(1, u32::MAX)], u32::MAX);
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut written = Written::new(5);
        assert!(written.push(0, 1) && written.push(200, 1));
        assert!(!written.push(300, 1));
        assert_eq!((written.count, &written.bytes[..]), (2, &[0, 1, 0xc7, 0x01, 1][..]));
        assert_eq!(parse(&written.bytes, 2, 201, "test"), Ok(vec![(0, 1), (200, 1)]));
    }
}
