//! Headers of safetensors files: which bytes of a file come first, because they say what is in the rest.
//!
//! The file's first eight bytes are the length of its header, which follows. So a job wants the first chunk, and with that
//! learns how much more. What it reads there is believed for the order of fetching alone, so it need not be proven: a lie
//! changes that order, within the format's own limit, and nothing else.

use crate::context::Context;
use crate::job::JobFile;
use crate::jobs::JobState;
use std::rc::Rc;
use zest_core::JobId;
use zest_core::node::Event;

/// Bytes that say how long the header is: a 64-bit number, least byte first (safetensors' description of its format).
const LEN_BYTES: usize = 8;
/// The longest header that programs accept: 100 MB (safetensors, "the header size is limited to 100 MB").
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Whether the file's name says that it begins with such a header.
pub(crate) fn is_expected(path: &str) -> bool {
    path.ends_with(".safetensors")
}

/// Bytes that come first of a file that begins with a header, at the start of its job: the header, if an earlier run
/// fetched the first chunk, else its length.
pub(crate) fn front_at_start(file: &JobFile) -> u64 {
    let first = file.table.lock().expect("no holder panics").get(0);
    first.and_then(|seen| front(file, seen.chunk.len)).unwrap_or(LEN_BYTES as u64)
}

/// The first chunk lies in the partial file: now it is known what comes first.
pub(crate) fn first_chunk_came(context: &Rc<Context>, id: JobId, job: &JobState, len: u32) {
    if !job.has_header {
        return;
    }
    if let Some(bytes) = front(&job.file, len) {
        tracing::debug!(path = job.path, bytes, "the header comes first");
        context.event(Event::JobFront { job: id, bytes });
    }
}

/// Bytes up to the header's end, if the first chunk of `len` bytes tells.
fn front(file: &JobFile, len: u32) -> Option<u64> {
    let mut first = [0; LEN_BYTES];
    if (len as usize) < LEN_BYTES || !file.read_at(0, &mut first) {
        return None;
    }
    header_end(first, file.size)
}

/// Where a header of this length ends, if a file of `size` bytes can have it. Public for the fuzz targets, no interface of the
/// crate.
#[must_use]
pub fn header_end(len: [u8; LEN_BYTES], size: u64) -> Option<u64> {
    let len = u64::from_le_bytes(len);
    let end = len.checked_add(LEN_BYTES as u64)?;
    (len <= HEADER_BYTES_MAX && end <= size).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_cannot_be_is_not_believed() {
        let end = |len: u64, size| header_end(len.to_le_bytes(), size);
        assert_eq!(end(0, 8), Some(8));
        assert_eq!(end(92, 100), Some(100));
        assert_eq!(end(93, 100), None, "longer than the file");
        assert_eq!(end(100_000_000, u64::MAX), Some(100_000_008));
        assert_eq!(end(100_000_001, u64::MAX), None, "longer than the format allows");
        assert_eq!(end(u64::MAX, u64::MAX), None);
        assert_eq!(header_end([16, 39, 0, 0, 0, 0, 0, 0], 1 << 20), Some(10_008), "least byte first");
    }

    #[test]
    fn the_name_tells() {
        assert!(is_expected("model.safetensors") && is_expected("a/model-00001-of-00002.safetensors"));
        assert!(!is_expected("model.safetensors.index.json") && !is_expected("safetensors"));
    }
}
