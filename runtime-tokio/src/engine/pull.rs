//! One pull, asked of an engine.

use super::Engine;
use crate::PullError;
use crate::api::{Progress, PullReport};
use crate::cancel::CancelToken;
use crate::pull::{Control, PullOptions, run};
use tokio::sync::watch;

/// Pulls a repository. Progress is told through the channel about ten times a second; a cancelled token ends the pull
/// with [`PullError::Interrupted`], keeping what is proven.
///
/// # Errors
/// See [`PullError`]; each says what happened and [`PullError::hint`] what to do next.
pub async fn pull(
    engine: &Engine,
    options: PullOptions,
    progress: watch::Sender<Progress>,
    cancel: CancelToken,
) -> Result<PullReport, PullError> {
    let control = Control::simple(progress, cancel);
    engine
        .run(move |context| Box::pin(run(context, options, control)))
        .await
        .unwrap_or(Err(PullError::EngineGone))
}
