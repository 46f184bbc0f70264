//! HTTP: what the Hub answers, and what strangers ask of the embedded hub. And the beginning of a safetensors file, which
//! comes from where the answers come from.

use zest_hub::fuzzing as answers;
use zest_hub_server::fuzzing as requests;
use zest_store::{RepoId, RepoType, check_storable, format_tree, parse_tree};

use crate::cursor::Cursor;

/// Input: u8 which answer, the rest as that reads it.
pub fn hub_answers(input: &[u8]) {
    let mut input = Cursor::new(input);
    match input.u8() % 5 {
        0 => listing(input),
        1 => revision(input),
        2 => cas_token(input),
        3 => next_page(input),
        _ => message(input),
    }
}

/// Pages of a listing, or answers of `paths-info`: u16 length of the first, the first, the second.
///
/// What is listed may become a path and stands there once, nothing of it is refused as well, and the cache gives it back as
/// it was; the same pages twice say the same.
fn listing(mut input: Cursor<'_>) {
    let len = usize::from(input.u16());
    let (first, second) = (input.bytes(len), input.rest());
    let repo = RepoId::new(RepoType::Model, "org/model").expect("a name");
    let pages = [first, second, first, second];
    let count = if second.is_empty() { 1 } else { 2 };
    let Ok(tree) = answers::listing(&repo, &pages[..count]) else { return };
    let mut entries = tree.entries;
    for entry in &entries {
        check_storable(&entry.path).expect("what is listed may become a path");
        assert!(entry.size <= 16 << 40 && entry.content_size() <= 16 << 40, "a size is bounded");
        assert!(tree.refused.iter().all(|row| row.path != entry.path), "listed and refused");
    }
    if count == 2 {
        let again = answers::listing(&repo, &pages).expect("they were read a moment ago");
        assert_eq!(again.entries, entries, "what is said twice counts once");
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(entries.windows(2).all(|two| two[0].path != two[1].path), "a path stands there once");
    assert_eq!(parse_tree(format_tree(&entries).as_bytes()), Some(entries), "the cache keeps what is listed");
}

/// u8 size of a piece, the answer. However it is cut, the same fields are found; where the whole is JSON they are what JSON
/// says; and nothing is open that is not said to be.
fn revision(mut input: Cursor<'_>) {
    let step = usize::from(input.u8());
    let body = input.rest();
    let wanted = ["sha", "private", "gated"];
    let found = answers::fields(&wanted, body, step);
    assert_eq!(answers::fields(&wanted, body, 1 << 20), found, "where it is cut does not matter");
    let whole = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
    if let Ok(whole) = whole.as_ref().map_err(drop)
        && body.len() <= 4096
    {
        let found = found.as_ref().expect("JSON is read");
        assert!(wanted.iter().all(|name| found.get(*name) == whole.get(*name)), "{found:?} of {whole:?}");
    }
    let Ok(info) = answers::revision(body) else { return };
    let found = found.expect("it was read a moment ago");
    assert!(info.commit.len() == 40 && found["sha"] == info.commit.as_str());
    assert_eq!(info.private, found.get("private") != Some(&false.into()));
    assert_eq!(info.gated, found.get("gated") != Some(&false.into()));
}

/// u8 form, u8 length of a header, that header, the answer. Form bit 0: the Hub speaks TLS; bits 1 and 2: which header.
///
/// A token goes to an address that may have it, and can be sent.
fn cas_token(mut input: Cursor<'_>) {
    let (form, len) = (input.u8(), usize::from(input.u8()));
    let value = String::from_utf8_lossy(input.bytes(len));
    let name =
        ["x-xet-cas-url", "x-xet-access-token", "x-xet-token-expiration", "date"][usize::from(form >> 1) % 4];
    let from = if form & 1 == 0 { "http://hub.example/api" } else { "https://hub.example/api" };
    let Ok((cas, secret)) = answers::cas_token(from, &[(name, &value)], input.rest()) else { return };
    assert!(
        cas.starts_with("https://") || form & 1 == 0 && cas.starts_with("http://"),
        "in the clear: {cas}"
    );
    let authority = cas.split('/').nth(2).expect("an address has a host");
    assert!(!authority.is_empty() && !authority.contains('@'), "{cas}");
    assert!(!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()));
}

/// u8 form, the `Link` header. Form bit 0: the endpoint is below a path of its host.
///
/// A listing goes on at few places, and never in the clear or under somebody's name.
fn next_page(mut input: Cursor<'_>) {
    let endpoint = ["https://mirror.example", "https://mirror.example/hf"][usize::from(input.u8() & 1)];
    let from = format!("{endpoint}/api/models/org/model/tree/main?recursive=true");
    let header = String::from_utf8_lossy(input.rest());
    let Ok(pages) = answers::next_pages(endpoint, &from, &header) else { return };
    assert!(pages.len() <= 3, "{pages:?}");
    for page in &pages {
        let authority = page.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
        assert!(authority.is_some_and(|host| !host.is_empty() && !host.contains('@')), "{pages:?}");
    }
}

/// u8 length of a secret, the secret, the body of an error answer: one line, bounded, without the secret.
fn message(mut input: Cursor<'_>) {
    let len = usize::from(input.u8());
    // Without a star, which may stand there for it.
    let secret: String = input.bytes(len).iter().map(|byte| char::from(b'0' + byte % 75)).collect();
    let body = input.rest();
    for header in [None, std::str::from_utf8(body).ok()] {
        let text = answers::message(header, body, &[&secret]);
        assert!(text.chars().count() <= 501 && !text.contains(char::is_control), "{text:?}");
        assert!(secret.is_empty() || !text.contains(&secret), "{secret} in {text:?}");
    }
}

/// Longest path and query of an input, so that escaped it still is one.
const TARGET_BYTES_MAX: usize = 4096;

/// Input: u8 form, u16 length of the target, the target, the value of one header. Form: which header; a range is read for a
/// body of as many bytes as the target is long.
///
/// A path is taken apart as it can be put together again; the address that leads back here is made of harmless letters; a
/// range lies within the body.
pub fn hub_request(input: &[u8]) {
    let mut input = Cursor::new(input);
    let (form, len) = (input.u8(), usize::from(input.u16()));
    let target = String::from_utf8_lossy(input.bytes(len.min(TARGET_BYTES_MAX))).into_owned();
    let value = String::from_utf8_lossy(input.rest()).into_owned();
    let name = ["host", "authorization", "range", "accept"][usize::from(form) % 4];
    if let Some(read) = requests::read(&target, &[(name, &value)], "recursive") {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let host = read.base.strip_prefix("http://").expect("an address of ours");
        assert!(host.len() <= 262 && host.bytes().all(letter), "{host:?}");
        assert!(read.bearer.is_none() || name == "authorization");
        let segments: Vec<String> = read.segments.iter().map(|part| requests::escape_segment(part)).collect();
        let again = requests::read(&format!("/{}", segments.join("/")), &[], "").expect("our own address");
        if !read.segments.is_empty() {
            assert_eq!(again.segments, read.segments);
        }
    }
    for (name, value) in requests::form(&target) {
        let pair = format!("{}={}", requests::escape_segment(&name), requests::escape_segment(&value));
        assert_eq!(requests::form(&pair), [(name, value)], "a pair reads back");
    }
    for size in [0, 1, len as u64, u64::MAX] {
        if let Some(part) = requests::wanted(&value, size) {
            assert!(part == (0..0) || part.start < part.end && part.end <= size, "{part:?} of {size}");
            let written = format!("bytes={}-{}", part.start, part.end.saturating_sub(1));
            assert!(part.is_empty() || requests::wanted(&written, size) == Some(part), "a range reads back");
        }
    }
    if let Some(ranges) = requests::closed_ranges(&value, 8) {
        assert!((1..=8).contains(&ranges.len()) && ranges.iter().all(|range| range.start < range.end));
    }
}

/// Input: u64 size of the file, its first bytes. The header lies within the file, whose first eight bytes say how long it is.
pub fn safetensors(input: &[u8]) {
    let mut input = Cursor::new(input);
    let size = input.number::<8>();
    let mut first = [0; 8];
    let bytes = input.bytes(8);
    first[..bytes.len()].copy_from_slice(bytes);
    let len = u64::from_le_bytes(first);
    match zest_xet::safetensors::header_end(first, size) {
        Some(end) => assert!(end <= size && end - 8 == len && len <= 100_000_000),
        None => assert!(len > 100_000_000 || size < 8 || len > size - 8),
    }
}
