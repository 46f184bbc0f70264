//! Weights as trained networks have them: bfloat16, normally distributed around zero. What matters is that they
//! compress as real ones do and cost next to nothing to make.

/// Standard deviation of the weights, as transformers initialises them.
const DEVIATION: f64 = 0.02;

/// Entries of the quantile table: one per value of 16 random bits.
const QUANTILES: usize = 1 << 16;

/// The bfloat16 number 1.0.
const ONE: u16 = 0x3F80;

/// Turns 16 random bits into a normally distributed weight by looking it up.
pub(super) struct Weights {
    quantiles: Vec<u16>,
}

impl Weights {
    /// Builds the table by adding up the normal density from left to right and noting where the sum passes each
    /// 65,536th.
    pub(super) fn new() -> Self {
        const STEP: f64 = 1.0 / 16_384.0;
        const FAR: f64 = 5.0;
        let scale = STEP / (2.0 * std::f64::consts::PI).sqrt();
        let (mut x, mut sum) = (-FAR, 0.0);
        let quantiles = (0..QUANTILES)
            .map(|i| {
                let wanted = (i as f64 + 0.5) / QUANTILES as f64;
                while sum < wanted && x < FAR {
                    sum += scale * (-x * x / 2.0).exp();
                    x += STEP;
                }
                bf16((x * DEVIATION) as f32)
            })
            .collect();
        Self { quantiles }
    }

    /// Appends `count` gaussian weights, determined by `seed`.
    pub(super) fn gaussian(&self, seed: u64, count: usize, out: &mut Vec<u8>) {
        out.reserve(count * 2);
        let end = out.len() + count * 2;
        let mut random = Random::new(seed);
        while out.len() < end {
            let bits = random.next();
            let mut group = [0; 8];
            for (i, weight) in group.chunks_exact_mut(2).enumerate() {
                let quantile = self.quantiles[usize::from((bits >> (16 * i)) as u16)];
                weight.copy_from_slice(&quantile.to_le_bytes());
            }
            out.extend_from_slice(&group[..(end - out.len()).min(8)]);
        }
    }

    /// Appends `count` ones.
    pub(super) fn ones(&self, count: usize, out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(ONE.to_le_bytes(), count).flatten());
    }
}

/// The upper half of the float, rounded to nearest.
fn bf16(value: f32) -> u16 {
    ((value.to_bits() + 0x8000) >> 16) as u16
}

/// SplitMix64 (Steele, Lea and Flood, 2014): enough for weights that mean nothing.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Far apart, so that neighbouring seeds share no stretch of the sequence.
        Self(seed.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(bytes: &[u8]) -> Vec<f64> {
        let float = |pair: &[u8]| f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16);
        bytes.chunks_exact(2).map(|pair| f64::from(float(pair))).collect()
    }

    #[test]
    fn mean_and_deviation_are_those_of_a_normal_distribution() {
        let mut bytes = Vec::new();
        Weights::new().gaussian(1, 200_001, &mut bytes);
        assert_eq!(bytes.len(), 400_002);
        let values = floats(&bytes);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 2e-4, "{mean}");
        assert!((variance.sqrt() - DEVIATION).abs() < 2e-4, "{}", variance.sqrt());
        let within = values.iter().filter(|v| v.abs() < DEVIATION).count() as f64 / values.len() as f64;
        assert!((within - 0.6827).abs() < 0.005, "{within}");
    }

    #[test]
    fn seeds_give_different_weights_and_the_same_seed_the_same() {
        let weights = Weights::new();
        let made = |seed| {
            let mut out = Vec::new();
            weights.gaussian(seed, 1000, &mut out);
            out
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn ones_are_ones() {
        let mut out = Vec::new();
        Weights::new().ones(3, &mut out);
        assert_eq!(floats(&out), [1.0, 1.0, 1.0]);
    }
}
