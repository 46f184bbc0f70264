//! The only room of the crate that knows the operating system: `unix.rs`, and `other.rs` for what is none. Each says beside a call
//! that only some systems have what is done where there is none.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use system::*;
pub(crate) use zest_store::FileExt;

use std::fs::File;
use std::io::{self, IoSlice};

/// Writes parts of a file that lie one behind the other.
pub(crate) fn write_all_parts_at(file: &File, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut written = if parts.len() > 1 { write_parts_at(file, parts, offset)? } else { 0 };
    // All of it, or the rest of a write that the system cut short.
    for part in parts {
        let skip = written.min(part.len());
        written -= skip;
        if skip < part.len() {
            file.write_all_at(&part[skip..], offset + skip as u64)?;
        }
        offset += part.len() as u64;
    }
    Ok(())
}
