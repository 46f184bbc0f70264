//! Making a failing run small: whole kinds of trouble are switched off, then nodes are taken away, as long as it fails.

use crate::check::Canary;
use crate::run::{Failure, run_with};
use crate::scenario::{Scenario, Subsystem};
use crate::trace::Trace;

/// What broke, without the numbers.
fn kind(why: &str) -> String {
    why.chars().filter(|c| c.is_ascii_alphabetic()).take(40).collect()
}

/// The smallest run found that still breaks the same promise.
#[must_use]
pub fn shrink(failure: &Failure, canary: Canary) -> Failure {
    let fails = |scenario: Scenario| {
        let found = run_with(scenario, Trace::default(), canary).err()?;
        (kind(&found.why) == kind(&failure.why)).then_some(*found)
    };
    let mut best = failure.clone();
    for what in Subsystem::ALL {
        let mut calmer = best.scenario.clone();
        calmer.switch_off(what);
        if let Some(found) = fails(calmer) {
            best = found;
        }
    }
    // Half the nodes, three quarters of them, one less.
    loop {
        let nodes = best.scenario.nodes;
        let fewer = [nodes / 2, nodes * 3 / 4, nodes - 1];
        let found = fewer
            .into_iter()
            .filter(|n| (1..nodes).contains(n))
            .find_map(|nodes| fails(Scenario { nodes, ..best.scenario.clone() }));
        match found {
            Some(found) => best = found,
            None => return best,
        }
    }
}
