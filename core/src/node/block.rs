//! The blocks of a file as the node is told of them.

use super::event::{Block, Run};
use alloc::vec::Vec;
use zest_xet::{Plan, PlanTerm};

impl Block {
    /// The blocks of a file that is laid out like this.
    #[must_use]
    pub fn all_of(plan: &Plan) -> Vec<Self> {
        let run = |term: &PlanTerm| Run {
            first: term.first_index,
            count: term.chunks.end - term.chunks.start,
            xorb_chunk: term.chunks.start,
            offset: term.offset,
        };
        let blocks = (0u32..).zip(&plan.blocks).map(|(at, block)| Self {
            xorb: block.xorb,
            chunks: block.chunks.clone(),
            runs: block.terms.iter().map(|&term| run(&plan.terms[term as usize])).collect(),
            wire_bytes: block.bytes.end - block.bytes.start,
            whole: plan.is_whole_xorb(at),
        });
        blocks.collect()
    }
}
