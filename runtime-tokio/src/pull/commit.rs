//! The commit that a pull is about.

use std::sync::Arc;
use std::time::SystemTime;
use zest_store::Commit;
use zest_xet::Hash;

pub(crate) struct PulledCommit {
    pub(super) id: String,
    /// Until when anyone may read it, if so.
    pub(super) public_until: Option<SystemTime>,
    /// As what it is shared: of the Hub that listed it.
    pub(super) whose: Commit,
    /// Nobody knows the list of its files: what lies there is what there is.
    pub(super) as_found: bool,
    /// Some of its files in Xet, by which those are known that have to do with it.
    pub(super) xet: Arc<[Hash]>,
    /// The user does not want it shared.
    pub(super) denied: bool,
    /// Nothing that is wanted is in Xet, so it was not asked who may read it.
    pub(super) all_whole: bool,
    /// The Hub has spoken of it since the pull began.
    pub(super) asked: bool,
}
