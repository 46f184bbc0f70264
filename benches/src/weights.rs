//! Weights as trained networks have them: bfloat16, normally distributed around zero. Made quickly, and the same on
//! every machine.

use crate::split_mix;

/// Standard deviation of the weights: 0.02, as transformers initialises them.
const DEVIATION: f64 = 0.02;

/// Entries of the quantile table: one for every value of 16 random bits.
const QUANTILES: usize = 1 << 16;

/// Makes weights: a table turns 16 random bits into a normally distributed number.
#[derive(Debug)]
pub struct Weights {
    quantiles: Vec<[u8; 2]>,
}

impl Weights {
    /// Builds the table, in about a millisecond.
    #[must_use]
    pub fn new() -> Self {
        // Adds up the density from -5 to 5 deviations and notes where the sum passes each quantile.
        let step = 1.0 / 16_384.0;
        let scale = step / std::f64::consts::TAU.sqrt();
        let (mut at, mut sum) = (-5.0f64, 0.0f64);
        let quantile = |number: usize| {
            while sum < (number as f64 + 0.5) / QUANTILES as f64 && at < 5.0 {
                sum += scale * (-at * at / 2.0).exp();
                at += step;
            }
            let bits = ((at * DEVIATION) as f32).to_bits() + 0x8000;
            ((bits >> 16) as u16).to_le_bytes()
        };
        Self { quantiles: (0..QUANTILES).map(quantile).collect() }
    }

    /// `bytes` bytes of weights; the same `seed` gives the same.
    #[must_use]
    pub fn make(&self, seed: u64, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 8);
        // Far apart, so that neighbouring seeds share no stretch.
        let mut state = seed.wrapping_mul(0xd1b5_4a32_d192_ed03);
        while out.len() < bytes {
            let random = split_mix(&mut state);
            for part in 0..4 {
                out.extend_from_slice(&self.quantiles[usize::from((random >> (16 * part)) as u16)]);
            }
        }
        out.truncate(bytes);
        out
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_normally_distributed_and_repeatable() {
        let weights = Weights::new();
        let bytes = weights.make(3, 400_001);
        assert_eq!((bytes.len(), weights.make(3, 400_001) == bytes), (400_001, true));
        assert_ne!(weights.make(4, 100), weights.make(3, 100));
        let (pairs, _) = bytes.as_chunks::<2>();
        let values =
            pairs.iter().map(|pair| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*pair)) << 16)));
        let count = pairs.len() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let deviation = (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 2e-4 && (deviation - DEVIATION).abs() < 2e-4, "{mean} ± {deviation}");
    }
}
