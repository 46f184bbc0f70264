//! The numbers that [`Location::file`] has for files that are not in the catalog: partial files, and what lies beside them.
//!
//! [`Location::file`]: zest_core::Location

use zest_core::{FileId, JobId};

/// Marks the numbers of such files among those of the catalog: bit 30, which the catalog would need 2^29 files for.
const PARTIAL: u32 = 1 << 30;
/// The catalog's mark for files of the original's caches, whose numbers may have any other bit.
const CATALOG_ORIGINAL: u32 = 1 << 31;
/// Marks what lies beside a partial file: bit 29, which would need 2^29 jobs in one process.
const TENTATIVE: u32 = 1 << 29;

/// What the number of a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A file of the catalog.
    Catalog(zest_store::FileId),
    /// The partial file of a job.
    Partial(JobId),
    /// What is kept of a block until something proves it; of the job that asks.
    Tentative(u32),
}

impl FileKind {
    pub(crate) fn of(id: FileId) -> Self {
        match id.0 & (CATALOG_ORIGINAL | PARTIAL | TENTATIVE) {
            PARTIAL => Self::Partial(JobId(id.0 & !PARTIAL)),
            marks if marks == PARTIAL | TENTATIVE => Self::Tentative(id.0 & !marks),
            _ => Self::Catalog(zest_store::FileId(id.0)),
        }
    }

    /// Its number.
    pub(crate) fn id(self) -> FileId {
        FileId(match self {
            Self::Catalog(file) => file.0,
            Self::Partial(job) => PARTIAL | job.0,
            Self::Tentative(block) => PARTIAL | TENTATIVE | block,
        })
    }

    /// Whether it is no file of the catalog.
    pub(crate) fn is_partial(self) -> bool {
        !matches!(self, Self::Catalog(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_means_one_thing() {
        let kinds = [0, 1, 2_199, TENTATIVE - 1].into_iter().flat_map(|n| {
            [FileKind::Catalog(zest_store::FileId(n)), FileKind::Partial(JobId(n)), FileKind::Tentative(n)]
        });
        for kind in kinds {
            assert_eq!(FileKind::of(kind.id()), kind);
        }
        for other in [TENTATIVE, CATALOG_ORIGINAL, CATALOG_ORIGINAL | PARTIAL, u32::MAX] {
            assert_eq!(FileKind::of(FileId(other)), FileKind::Catalog(zest_store::FileId(other)));
        }
    }
}
