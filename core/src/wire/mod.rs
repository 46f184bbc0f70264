//! Byte formats on the connection, one file each, each with its byte table. Pure functions: bytes in, values out.
//!
//! All integers are big-endian. "n" in a byte table is what is left of the message.

pub mod client_name;
pub mod ext_handshake;
pub mod frame;
pub mod handshake;
pub mod pex;
mod runs;
pub mod xet;
pub mod zest;

/// Big-endian `u16` at `at`, if it is there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Big-endian `u32` at `at`, if it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// Big-endian `u64` at `at`, if it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b))
}

/// Hash at `at`, if it is there.
pub(crate) fn hash_at(bytes: &[u8], at: usize) -> Option<zest_xet::Hash> {
    bytes.get(at..)?.first_chunk().map(|b| zest_xet::Hash::from_bytes(*b))
}

/// A remote's text for people: at most `chars_max` characters, control characters and broken UTF-8 replaced.
pub(crate) fn text(bytes: &[u8], chars_max: usize) -> alloc::string::String {
    let plain = bytes.len() <= chars_max && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    if plain && let Ok(text) = core::str::from_utf8(bytes) {
        // Nearly every text: nothing to cut or to replace.
        return text.into();
    }
    let all = alloc::string::String::from_utf8_lossy(bytes);
    // A character has at most four bytes.
    let mut text = alloc::string::String::with_capacity(all.len().min(4 * chars_max));
    text.extend(
        all.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).take(chars_max),
    );
    text
}
