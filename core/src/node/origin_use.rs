//! How the origin is used, over all jobs.

use super::active::Active;
use super::breadth::Breadth;
use super::in_order::InOrder;
use super::sparing::Sparing;
use super::{Config, outages};

#[derive(Debug)]
pub(super) struct OriginUse {
    /// Whether its work is shared (policy `fastest`).
    pub(super) sparing: Sparing,
    /// How many streams it is worth.
    pub(super) breadth: Breadth,
    /// How many of a file that is read.
    pub(super) in_order: InOrder,
    /// What of it does not answer.
    pub(super) out: outages::Origin,
    /// Blocks that it gives now.
    pub(super) active: Active,
}

impl OriginUse {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            sparing: Sparing::default(),
            breadth: Breadth::new(config.origin_fetches_max, config.origin_fetches_limit),
            in_order: InOrder::new(),
            out: outages::Origin::new(config.patience),
            active: Active::default(),
        }
    }
}
