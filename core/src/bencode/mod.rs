//! Bencode (BEP 3), borrowed from the input and read without recursion.
//!
//! | value | bytes |
//! |---|---|
//! | integer | `i` decimal `e`, no leading zeros, no `-0` |
//! | byte string | decimal length, `:`, bytes |
//! | list | `l` values `e` |
//! | dictionary | `d` (byte string, value)… `e`, keys sorted |
//!
//! Reading is strict about values and tolerant about the order of dictionary keys, which many clients get wrong. A
//! [`Value`] is checked as a whole when it is made, so walking it cannot fail. [`lenient_dict`] keeps the entries before
//! the first error. Writing ([`Encoder`]) is strict: unsorted keys are our bug and panic.

mod encode;

pub use encode::Encoder;

use nom::combinator::{map_opt, opt, verify};
use nom::sequence::preceded;
use nom::{IResult, Parser as _};
use thiserror::Error;
use zest_xet::fields::{Parsed, byte};

/// Deepest nesting that is read: 8 levels. Ours; no message we know has more than 4.
pub const DEPTH_MAX: usize = 8;

/// Most values (keys and ends of lists included) in one document: 1,024. Ours; a full DHT answer has under 100.
pub const TOKENS_MAX: usize = 1024;

/// Why a document was refused, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("bencode byte {at}: {what}")]
pub struct BencodeError {
    /// Offset of the offending byte.
    pub at: usize,
    /// What is wrong with it.
    pub what: Wrong,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Wrong {
    /// The document ends inside a value.
    #[error("document ends inside a value")]
    Truncated,
    /// Bytes after the value.
    #[error("bytes after the end of the value")]
    Trailing,
    /// A byte that begins no value.
    #[error("byte begins no value")]
    Unexpected,
    /// Not a canonical integer, or outside of 64 bits.
    #[error("not a canonical 64-bit integer")]
    Integer,
    /// Not a canonical length, or longer than the document.
    #[error("string length is not canonical or exceeds the document")]
    Length,
    /// A dictionary key that is no byte string, or a key without a value.
    #[error("dictionary entry is not a string and a value")]
    Key,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// More values than [`TOKENS_MAX`].
    #[error("more than {TOKENS_MAX} values")]
    Tokens,
}

/// A checked value, borrowed from the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Integer.
    Int(i64),
    /// Byte string.
    Bytes(&'a [u8]),
    /// List.
    List(List<'a>),
    /// Dictionary.
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// The integer, if it is one.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        if let Value::Int(int) = self { Some(int) } else { None }
    }

    /// The bytes, if it is a byte string.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn list(self) -> Option<List<'a>> {
        if let Value::List(list) = self { Some(list) } else { None }
    }

    /// The dictionary, if it is one.
    #[must_use]
    pub fn dict(self) -> Option<Dict<'a>> {
        if let Value::Dict(dict) = self { Some(dict) } else { None }
    }
}

/// A checked list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    /// Values, without `l` and `e`.
    body: &'a [u8],
}

impl<'a> List<'a> {
    /// The values in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut scanner = Scanner::new(self.body);
        core::iter::from_fn(move || scanner.value(DEPTH_MAX))
    }
}

/// A checked dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dict<'a> {
    /// Entries, without `d` and `e`.
    body: &'a [u8],
}

impl<'a> Dict<'a> {
    /// The entries in the order of the document.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut scanner = Scanner::new(self.body);
        core::iter::from_fn(move || scanner.entry(DEPTH_MAX))
    }

    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }
}

/// Reads one document that fills `input`.
///
/// # Errors
/// [`BencodeError`] with the first offending byte.
pub fn parse(input: &[u8]) -> Result<Value<'_>, BencodeError> {
    let (value, end) = parse_prefix(input)?;
    if end == input.len() { Ok(value) } else { Err(BencodeError { at: end, what: Wrong::Trailing }) }
}

/// Reads one document at the start of `input`, and says where it ends.
///
/// # Errors
/// [`BencodeError`] with the first offending byte.
pub fn parse_prefix(input: &[u8]) -> Result<(Value<'_>, usize), BencodeError> {
    let mut scanner = Scanner::new(input);
    match scanner.value(DEPTH_MAX) {
        Some(value) => Ok((value, scanner.at())),
        None => Err(scanner.error),
    }
}

/// Reads a dictionary as far as it goes: the entries before the first error, which hides everything after it. Bytes
/// after the dictionary are ignored. For peers that write `iTruee` behind the keys we need.
///
/// # Errors
/// Only if `input` does not begin a dictionary.
pub fn lenient_dict(input: &[u8]) -> Result<LenientDict<'_>, BencodeError> {
    match input.first() {
        Some(b'd') => Ok(LenientDict { input }),
        Some(_) => Err(BencodeError { at: 0, what: Wrong::Unexpected }),
        None => Err(BencodeError { at: 0, what: Wrong::Truncated }),
    }
}

/// A dictionary that may be broken somewhere; see [`lenient_dict`].
#[derive(Debug, Clone, Copy)]
pub struct LenientDict<'a> {
    input: &'a [u8],
}

impl<'a> LenientDict<'a> {
    /// Keys and values in the order they stand in, each checked when its turn comes.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut scanner = Scanner::new(&self.input[1..]);
        core::iter::from_fn(move || scanner.entry(DEPTH_MAX - 1)).fuse()
    }
}

/// Its functions give `None` at the first error, and `error` says which: an answer that fits two registers is half the time.
struct Scanner<'a> {
    /// What is still to be read.
    rest: &'a [u8],
    /// Bytes there were in the beginning.
    len: usize,
    tokens_left: usize,
    error: BencodeError,
}

impl<'a> Scanner<'a> {
    #[inline]
    fn new(input: &'a [u8]) -> Self {
        Scanner {
            rest: input,
            len: input.len(),
            tokens_left: TOKENS_MAX,
            error: BencodeError { at: 0, what: Wrong::Truncated },
        }
    }

    /// Reads one entry of a dictionary; `None` at its end and at the first error.
    #[inline(always)]
    fn entry(&mut self, depth_max: usize) -> Option<(&'a [u8], Value<'a>)> {
        self.count()?;
        let key = self.string()?;
        Some((key, self.value(depth_max)?))
    }

    /// Offset of the next byte.
    fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    #[cold]
    fn err_at<T>(&mut self, at: usize, what: Wrong) -> Option<T> {
        self.error = BencodeError { at, what };
        None
    }

    /// The next byte is wrong, or there is none.
    #[cold]
    fn err<T>(&mut self, what: Wrong) -> Option<T> {
        let what = if self.rest.is_empty() { Wrong::Truncated } else { what };
        self.err_at(self.at(), what)
    }

    #[inline]
    fn count(&mut self) -> Option<()> {
        match self.tokens_left.checked_sub(1) {
            Some(left) => self.tokens_left = left,
            None => return self.err_at(self.at(), Wrong::Tokens),
        }
        Some(())
    }

    /// Reads one value, checked throughout, at most `depth_max` levels deep.
    #[inline(always)]
    fn value(&mut self, depth_max: usize) -> Option<Value<'a>> {
        Some(match *self.rest {
            [b'i', ..] => Value::Int(self.int()?),
            [b'0'..=b'9', ..] => {
                self.count()?;
                Value::Bytes(self.string()?)
            }
            [first, ref body @ ..] => {
                self.skip_value(depth_max)?;
                let body = &body[..body.len() - self.rest.len() - 1];
                if first == b'l' { Value::List(List { body }) } else { Value::Dict(Dict { body }) }
            }
            [] => return self.err(Wrong::Truncated),
        })
    }

    /// Moves past one value of any kind, at most `depth_max` levels deep.
    fn skip_value(&mut self, depth_max: usize) -> Option<()> {
        let mut depth = 0usize;
        // What is open, a bit each, the innermost lowest: 1 for a dictionary.
        let mut dicts = 0u32;
        loop {
            if dicts & 1 == 1 && !matches!(self.rest, [b'e', ..]) {
                self.count()?;
                if !matches!(self.rest, [b'0'..=b'9', ..]) {
                    return self.err(Wrong::Key);
                }
                self.string()?;
                if let [b'e', ..] = self.rest {
                    return self.err(Wrong::Key);
                }
            }
            match *self.rest {
                [b'0'..=b'9', ..] => {
                    self.count()?;
                    self.string()?;
                }
                [b'i', ..] => drop(self.int()?),
                [kind @ (b'l' | b'd'), ref rest @ ..] => {
                    self.count()?;
                    if depth == depth_max {
                        return self.err(Wrong::Depth);
                    }
                    depth += 1;
                    dicts = dicts << 1 | u32::from(kind == b'd');
                    self.rest = rest;
                    continue;
                }
                [b'e', ref rest @ ..] if depth > 0 => {
                    self.count()?;
                    self.rest = rest;
                    depth -= 1;
                    dicts >>= 1;
                }
                _ => return self.err(Wrong::Unexpected),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Takes what a parser gave.
    #[inline(always)]
    fn took<T>(&mut self, read: IResult<&'a [u8], T, Fault>) -> Option<T> {
        match read {
            Ok((rest, value)) => {
                self.rest = rest;
                Some(value)
            }
            Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
                self.err_at(self.len - fault.left, fault.what)
            }
            Err(nom::Err::Incomplete(_)) => self.err(Wrong::Truncated),
        }
    }

    /// A byte string.
    #[inline(always)]
    fn string(&mut self) -> Option<&'a [u8]> {
        let read = string(self.rest);
        self.took(read)
    }

    /// An integer, which the next byte says it is.
    #[inline(always)]
    fn int(&mut self) -> Option<i64> {
        self.count()?;
        let read = int(self.rest);
        self.took(read)
    }
}

/// What is wrong, and how many bytes are left where it is.
#[derive(Debug, Clone, Copy)]
struct Fault {
    left: usize,
    what: Wrong,
}

impl Fault {
    /// At the first of these bytes, or because there is none.
    #[cold]
    fn at(rest: &[u8], what: Wrong) -> nom::Err<Self> {
        let what = if rest.is_empty() { Wrong::Truncated } else { what };
        nom::Err::Error(Self { left: rest.len(), what })
    }
}

/// Decimal length, `:`, bytes.
#[inline(always)]
fn string(input: &[u8]) -> IResult<&[u8], &[u8], Fault> {
    let (rest, len) = match *input {
        // Nearly every string is this short.
        [digit @ b'0'..=b'9', b':', ref rest @ ..] => (rest, u64::from(digit - b'0')),
        _ => decimal(input, b':', Wrong::Length)?,
    };
    match usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)) {
        Some((bytes, rest)) => Ok((rest, bytes)),
        None => Err(nom::Err::Error(Fault { left: input.len(), what: Wrong::Length })),
    }
}

/// `i`, decimal, `e`.
#[inline(always)]
fn int(input: &[u8]) -> IResult<&[u8], i64, Fault> {
    match *input {
        // Nearly every integer is this short.
        [b'i', digit @ b'0'..=b'9', b'e', ref rest @ ..] => Ok((rest, i64::from(digit - b'0'))),
        _ => long_int(input),
    }
}

fn long_int(input: &[u8]) -> IResult<&[u8], i64, Fault> {
    let wrong = nom::Err::Error(Fault { left: input.len(), what: Wrong::Integer });
    let sign = preceded(is(b'i'), opt(is(b'-'))).parse(input);
    let (rest, minus) = sign.map_err(|_| Fault::at(input, Wrong::Unexpected))?;
    let negative = minus.is_some();
    let (rest, value) = decimal(rest, b'e', Wrong::Integer)?;
    let int =
        if negative && value != 0 { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() };
    int.filter(|_| !(negative && value == 0)).map(|int| (rest, int)).ok_or(wrong)
}

/// This byte.
#[inline(always)]
fn is(want: u8) -> impl Fn(&[u8]) -> Parsed<'_, u8> {
    move |input| verify(byte, |byte: &u8| *byte == want).parse(input)
}

/// One decimal digit.
#[inline(always)]
fn digit(input: &[u8]) -> Parsed<'_, u8> {
    map_opt(byte, |byte| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9)).parse(input)
}

/// Digits up to `stop` as a number that fits 64 bits, in the one form that has no leading zero.
fn decimal(input: &[u8], stop: u8, wrong: Wrong) -> IResult<&[u8], u64, Fault> {
    let mut rest = input;
    let mut value = 0u64;
    let mut count = 0;
    while let Ok((tail, next)) = digit(rest) {
        let leading_zero = count == 1 && value == 0;
        let more = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(next)));
        let Some(more) = more.filter(|_| !leading_zero) else { return Err(Fault::at(rest, wrong)) };
        (value, rest, count) = (more, tail, count + 1);
    }
    match is(stop)(rest) {
        Ok((rest, _)) if count > 0 => Ok((rest, value)),
        _ => Err(Fault::at(rest, wrong)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn wrong(input: &[u8]) -> (usize, Wrong) {
        let err = parse(input).expect_err("must be refused");
        (err.at, err.what)
    }

    #[test]
    fn values_of_every_kind_are_read_in_place() {
        let doc = parse(b"d4:dictd1:xi0ee3:inti-42e4:listl0:i7ee3:str3:abce").unwrap().dict().unwrap();
        assert_eq!(doc.get(b"int").unwrap().int(), Some(-42));
        assert_eq!(doc.get(b"str").unwrap().bytes(), Some(&b"abc"[..]));
        let list: Vec<_> = doc.get(b"list").unwrap().list().unwrap().iter().collect();
        assert_eq!(list, vec![Value::Bytes(b""), Value::Int(7)]);
        assert_eq!(doc.get(b"dict").unwrap().dict().unwrap().get(b"x"), Some(Value::Int(0)));
        assert_eq!(doc.get(b"none"), None);
        assert_eq!(doc.iter().count(), 4);
        assert_eq!(parse(b"de").unwrap().dict().unwrap().iter().count(), 0);
    }

    #[test]
    fn unsorted_keys_are_read() {
        let doc = parse(b"d1:bi2e1:ai1ee").unwrap().dict().unwrap();
        assert_eq!(doc.get(b"a").unwrap().int(), Some(1));
    }

    #[test]
    fn malformed_documents_are_refused_with_place_and_reason() {
        assert_eq!(wrong(b""), (0, Wrong::Truncated));
        assert_eq!(wrong(b"i1ei2e"), (3, Wrong::Trailing));
        assert_eq!(wrong(b"x"), (0, Wrong::Unexpected));
        assert_eq!(wrong(b"e"), (0, Wrong::Unexpected));
        assert_eq!(wrong(b"iTruee"), (1, Wrong::Integer));
        assert_eq!(wrong(b"i01e"), (2, Wrong::Integer));
        assert_eq!(wrong(b"i-0e"), (0, Wrong::Integer));
        assert_eq!(wrong(b"ie"), (1, Wrong::Integer));
        assert_eq!(wrong(b"i-e"), (2, Wrong::Integer));
        assert_eq!(wrong(b"i9223372036854775808e"), (0, Wrong::Integer));
        assert_eq!(parse(b"i-9223372036854775808e").unwrap().int(), Some(i64::MIN));
        assert_eq!(wrong(b"i99999999999999999999999e").1, Wrong::Integer);
        assert_eq!(wrong(b"5:abc"), (0, Wrong::Length));
        assert_eq!(wrong(b"00:"), (1, Wrong::Length));
        assert_eq!(wrong(b"18446744073709551616:"), (19, Wrong::Length));
        assert_eq!(wrong(b"di1ei2ee"), (1, Wrong::Key));
        assert_eq!(wrong(b"d1:ae"), (4, Wrong::Key));
        assert_eq!(wrong(b"l"), (1, Wrong::Truncated));
    }

    #[test]
    fn depth_and_size_have_limits_and_the_stack_does_not_grow() {
        let nested = |n: usize| [vec![b'l'; n], vec![b'e'; n]].concat();
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(wrong(&nested(DEPTH_MAX + 1)), (DEPTH_MAX, Wrong::Depth));
        assert_eq!(wrong(&nested(1_000_000)), (DEPTH_MAX, Wrong::Depth));
        let wide = |n: usize| [&b"l"[..], &b"0:".repeat(n), b"e"].concat();
        assert!(parse(&wide(TOKENS_MAX - 2)).is_ok());
        assert_eq!(wrong(&wide(TOKENS_MAX - 1)).1, Wrong::Tokens);
    }

    #[test]
    fn a_lenient_dictionary_keeps_what_stands_before_the_first_error() {
        let dict = lenient_dict(b"d1:md3:xeti2ee3:xetd5:bloomiTrueee1:v1:xe").unwrap();
        let entries: Vec<_> = dict.iter().collect();
        assert_eq!((entries.len(), entries[0].0), (1, &b"m"[..]));
        assert_eq!(entries[0].1.dict().unwrap().get(b"xet"), Some(Value::Int(2)));
        assert_eq!(lenient_dict(b"d1:ai1e").unwrap().iter().count(), 1);
        assert_eq!(lenient_dict(b"d1:ai1eegarbage").unwrap().iter().count(), 1);
        assert!(lenient_dict(b"").is_err());
        assert!(lenient_dict(b"le").is_err());
        let deep = [&b"d1:a"[..], &b"l".repeat(100)].concat();
        assert_eq!(lenient_dict(&deep).unwrap().iter().count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_can_be_walked(input in proptest::collection::vec(
            prop_oneof![Just(b'd'), Just(b'l'), Just(b'i'), Just(b'e'), Just(b':'), b'0'..=b'9', any::<u8>()], 0..60))
        {
            let _ = lenient_dict(&input).map(|d| d.iter().count());
            if let Ok(value) = parse(&input) {
                let mut out = Vec::new();
                let mut enc = Encoder::new(&mut out);
                if rewrite(value, &mut enc) {
                    enc.finish();
                    prop_assert_eq!(out, input);
                }
            }
        }
    }

    /// Writes `value` again; false if its keys are out of order.
    fn rewrite(value: Value<'_>, enc: &mut Encoder<'_>) -> bool {
        match value {
            Value::Int(int) => drop(enc.int(int)),
            Value::Bytes(bytes) => drop(enc.bytes(bytes)),
            Value::List(list) => {
                enc.list();
                if !list.iter().all(|v| rewrite(v, enc)) {
                    return false;
                }
                enc.end();
            }
            Value::Dict(dict) => {
                enc.dict();
                let mut last: Option<&[u8]> = None;
                for (key, value) in dict.iter() {
                    if last.is_some_and(|l| l >= key) {
                        return false;
                    }
                    last = Some(key);
                    enc.key(key);
                    if !rewrite(value, enc) {
                        return false;
                    }
                }
                enc.end();
            }
        }
        true
    }
}
