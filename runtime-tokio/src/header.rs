//! Headers of safetensors files: which bytes of a file come first, because they say what is in the rest.
//!
//! The file's first eight bytes are the length of its header, which follows. So a job wants the first chunk, and with that
//! learns how much more. What it reads there is believed for the order of fetching alone, so it need not be proven: a lie
//! changes that order, within the format's own limit, and nothing else.

use crate::context::Context;
use crate::jobs::{JobFile, JobState};
use std::rc::Rc;
use zest_core::JobId;
use zest_core::node::Event;
use zest_xet::safetensors::{LEN_BYTES, header_end};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells() {
        assert!(is_expected("model.safetensors") && is_expected("a/model-00001-of-00002.safetensors"));
        assert!(!is_expected("model.safetensors.index.json") && !is_expected("safetensors"));
    }
}
