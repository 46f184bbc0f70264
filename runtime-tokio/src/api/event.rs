//! What happens to a pull, one thing at a time.

use super::{Notice, Phase, Progress, PullReport, PulledFile};
use crate::PullError;
use crate::error::{FailedFile, PullErrorKind};
use crate::outages::Service;
use serde::{Deserialize, Serialize};

/// Something that happened to a pull. The last one is [`PullEvent::Done`] or [`PullEvent::Failed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PullEvent {
    /// It has come to another phase.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// How far it is, about ten times a second while something moves.
    Progress(Progress),
    /// A file is in its place.
    File(PulledFile),
    /// Something that changes the outcome.
    Notice(Notice),
    /// Something does not answer.
    Out {
        /// What.
        service: Service,
        /// What it said last, or what the network said of it.
        why: String,
    },
    /// It answers again.
    Back {
        /// What.
        service: Service,
    },
    /// It rests by its user's wish.
    Paused,
    /// It goes on.
    Resumed,
    /// It ended well.
    Done(Box<PullReport>),
    /// It ended without success. What is proven is kept.
    Failed(PullFailure),
}

/// Why a pull ended without success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PullFailure {
    /// A word: `usage`, `auth`, `not-found`, `network`, `verify`, `disk`, `place`, `interrupted` or `other`.
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// What the user can do next.
    pub hint: Option<String>,
    /// For how long a server asks to be left alone, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<f64>,
    /// The files that could not be had, where the others are in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileFailure>,
}

/// Why a file could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileFailure {
    /// Its path in the repository.
    pub path: String,
    /// A word, as [`PullFailure::kind`].
    pub kind: String,
    /// What went wrong with it.
    pub message: String,
}

impl From<&PullError> for PullFailure {
    fn from(error: &PullError) -> Self {
        let kind = error.kind();
        let retry_after_s = match kind {
            PullErrorKind::RateLimited { retry_after } => retry_after.map(|wait| wait.as_secs_f64()),
            _ => None,
        };
        let failed = match error {
            PullError::SomeFiles { failed, .. } => &failed[..],
            _ => &[],
        };
        let file = |file: &FailedFile| FileFailure {
            path: file.path.clone(),
            kind: file.error.kind().word().to_owned(),
            message: file.why(),
        };
        let (message, hint, files) = (error.to_string(), error.hint(), failed.iter().map(file).collect());
        Self { kind: kind.word().to_owned(), message, hint, retry_after_s, files }
    }
}
