//! What came of a job's file and nothing proves yet.

use std::cell::RefCell;
use zest_core::doubts::Doubts;
use zest_xet::Ballot;

#[derive(Default)]
pub(crate) struct Unproven {
    /// Votes for chunks of a file that does not prove.
    pub(crate) ballot: RefCell<Ballot>,
    /// What peers sent in xorb ranges.
    pub(crate) doubts: RefCell<Doubts>,
}
