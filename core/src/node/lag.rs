//! Whether we give much less than we get, while others wait for us.
//!
//! On average a swarm gives as fast as it gets. A node that does not has an uplink slower than most, and what it alone has takes
//! its time to reach the others; so it leaves it to them to fetch from the origin.

/// Who gives less than a quarter of what it gets, while others wait for it, lags. Ours.
const LAGGING: u64 = 4;
/// Measurements in a row that must say so: 3, three quarters of a second. Ours.
const LAGS_MIN: u32 = 3;

/// What left since the last measurement, and what the last ones found.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    out: u64,
    lags: u32,
}

impl Lag {
    /// These bytes left.
    pub(crate) fn left(&mut self, bytes: u64) {
        self.out += bytes;
    }

    /// Every [`super::MEASURE`]: compares with what came in. While nobody waits for us nothing is known.
    pub(crate) fn measure(&mut self, waited_for: bool, income: u64) {
        let out = core::mem::take(&mut self.out);
        if waited_for {
            self.lags = if out.saturating_mul(LAGGING) < income { self.lags + 1 } else { 0 };
        }
    }

    /// Whether what only we have would take its time to reach others.
    pub(crate) fn is_lagging(&self) -> bool {
        self.lags >= LAGS_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_little_while_others_wait_lags_until_it_gives_more() {
        let mut lag = Lag::default();
        for _ in 0..LAGS_MIN {
            assert!(!lag.is_lagging());
            lag.left(100);
            lag.measure(true, 401);
        }
        assert!(lag.is_lagging());
        lag.measure(false, 1000);
        assert!(lag.is_lagging(), "nobody waited, so nothing was learnt");
        lag.left(100);
        lag.measure(true, 400);
        assert!(!lag.is_lagging());
    }
}
