//! Open descriptors, kept for reuse and bounded in number.

pub(super) use crate::limits::OPEN_FILES_MAX;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use crate::os::Identity;

/// An open file, and what it was when it was opened.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    pub(super) file: Arc<File>,
    pub(super) identity: Identity,
}

/// Least recently used ones are closed first (once nobody uses them any more).
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    files: BTreeMap<u32, (OpenFile, u64)>,
    clock: u64,
}

impl OpenFiles {
    pub(super) fn get(&mut self, id: u32) -> Option<OpenFile> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(&id)?;
        *used = self.clock;
        Some(file.clone())
    }

    pub(super) fn insert(&mut self, id: u32, file: OpenFile) {
        if self.files.len() >= OPEN_FILES_MAX
            && let Some(oldest) = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(&id, _)| id)
        {
            self.files.remove(&oldest);
        }
        self.clock += 1;
        self.files.insert(id, (file, self.clock));
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.files.remove(&id);
    }
}
