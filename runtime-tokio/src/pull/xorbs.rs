//! `--keep-xorbs`: also writes what was pulled as xorbs, where zest 0.4 looks for them and serves them from.
//!
//! `<zest cache>/xorbs/<first two digits>/<xorb hash>` holds a whole xorb, `….<first chunk>` a range of one. Chunks are
//! stored with scheme "none": every reader of the format takes that, and nothing has to be compressed.

use crate::os::FileExt as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use zest_xet::{ChunkHeader, ChunkRef, Manifest, Plan, Scheme, xorb_hash};

/// Writes every block of `plan` out of the finished file at `from`. What is there already stays.
pub(super) fn keep(zest_cache: &Path, from: &Path, manifest: &Manifest, plan: &Plan) -> io::Result<()> {
    let file = File::open(from)?;
    for (at, block) in plan.blocks.iter().enumerate() {
        let index_of = |chunk: u32| plan.places(at as u32, chunk).next().map(|(_, index)| index);
        // Chunks between two terms are in no file of ours: such a block cannot be written whole.
        let Some(indices) = block.chunks.clone().map(index_of).collect::<Option<Vec<u32>>>() else {
            continue;
        };
        let chunks: Vec<ChunkRef> = indices.iter().map(|&index| manifest.chunk(index)).collect();
        let whole = block.chunks.start == 0 && xorb_hash(&chunks) == block.xorb;
        let name = block.xorb.to_string();
        let dir = zest_cache.join("xorbs").join(&name[..2]);
        let path = dir.join(if whole { name } else { format!("{name}.{}", block.chunks.start) });
        if path.exists() {
            continue;
        }
        std::fs::create_dir_all(&dir)?;
        let temp = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = write(&temp, &file, manifest, &indices).and_then(|()| std::fs::rename(&temp, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temp);
        }
        written?;
    }
    Ok(())
}

fn write(temp: &Path, file: &File, manifest: &Manifest, indices: &[u32]) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 20, File::create(temp)?);
    let mut room = vec![0; zest_xet::CHUNK_BYTES_MAX];
    for &index in indices {
        let len = manifest.chunk(index).len;
        let bytes = &mut room[..len as usize];
        file.read_exact_at(bytes, manifest.offset(index))?;
        out.write_all(&ChunkHeader { packed_len: len, scheme: Scheme::None, len }.encode())?;
        out.write_all(bytes)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
