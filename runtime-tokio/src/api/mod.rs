//! What goes in and what comes out, as types that programs exchange too: requests, events, progress, reports, status. The command
//! line's `--json` prints them.

mod event;
mod policy;
mod progress;
mod report;
mod request;
mod status;

pub use event::{FileFailure, PullEvent, PullFailure};
pub use policy::{PolicyName, own_policy};
pub use progress::{FileProgress, FileWait, How, Notice, Phase, Progress, PulledFile};
pub use report::{PastOutage, PullReport};
pub use request::{Priority, PullRequest};
pub use status::{PeerStatus, PullState, PullStatus, SessionStatus};
