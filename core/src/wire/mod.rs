//! Byte formats on the connection, one file each, each with its byte table. Pure functions: bytes in, values out.
//!
//! All integers are big-endian. "n" in a byte table is what is left of the message. Beside each table stands the [`nom`] parser that
//! mirrors it; the fields that formats share are those of [`zest_xet::fields`].

pub mod client_name;
pub mod ext_handshake;
pub mod frame;
pub mod handshake;
pub mod pex;
mod runs;
pub mod xet;
pub mod zest;
mod zest_error;

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
