//! Byte grouping by 4 (BG4) and back.
//!
//! Grouped, the bytes at positions 0, 4, 8, … of the chunk come first, then those at 1, 5, 9, …, and so on; when the
//! length is no multiple of 4 the first groups have one byte more.

use core::ops::Range;

/// Bytes that are grouped together.
const GROUPS: usize = 4;

/// Where group `group` lies in the grouped form of `len` bytes.
fn group_range(len: usize, group: usize) -> Range<usize> {
    let (quads, extra) = (len / GROUPS, len % GROUPS);
    let start = group * quads + group.min(extra);
    start..start + quads + usize::from(group < extra)
}

/// Groups `data` into `out` of the same length.
pub(crate) fn group(data: &[u8], out: &mut [u8]) {
    assert_eq!(data.len(), out.len(), "grouping keeps the length");
    for group in 0..GROUPS {
        let to = &mut out[group_range(data.len(), group)];
        for (to, quad) in to.iter_mut().zip(data[group.min(data.len())..].chunks(GROUPS)) {
            *to = quad[0];
        }
    }
}

/// Undoes [`group`]: writes the chunk whose grouped form is `grouped` to `out` of the same length.
pub(crate) fn regroup(grouped: &[u8], out: &mut [u8]) {
    assert_eq!(grouped.len(), out.len(), "regrouping keeps the length");
    let quads = grouped.len() / GROUPS;
    let groups = [0, 1, 2, 3].map(|group| &grouped[group_range(grouped.len(), group)]);
    let done = simd::regroup_quads(groups.map(|group| &group[..quads]), &mut out[..quads * GROUPS]);
    regroup_scalar(groups, done, out);
}

/// The plain twin of the wide paths, from quad number `from` on; it also writes the last, incomplete quad.
fn regroup_scalar(groups: [&[u8]; GROUPS], from: usize, out: &mut [u8]) {
    for (quad, to) in out.chunks_mut(GROUPS).enumerate().skip(from) {
        for (to, group) in to.iter_mut().zip(groups) {
            *to = group[quad];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod simd {
    //! x86-64: SSE2 is always there, AVX2 is used when the processor has it.

    use core::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpackhi_epi16,
        _mm_unpacklo_epi8, _mm_unpacklo_epi16, _mm256_loadu_si256, _mm256_permute2x128_si256,
        _mm256_storeu_si256, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpacklo_epi8,
        _mm256_unpacklo_epi16,
    };

    use super::GROUPS;

    /// Regroups as many whole quads as fit the vector width and returns how many. The groups have equal lengths and
    /// `out` has four times that.
    pub(super) fn regroup_quads(groups: [&[u8]; GROUPS], out: &mut [u8]) -> usize {
        check(groups, out);
        #[cfg(feature = "std")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, and the lengths were checked above.
            return unsafe { avx2(groups, out) };
        }
        // SAFETY: SSE2 belongs to x86-64, and the lengths were checked above.
        unsafe { sse2(groups, out) }
    }

    fn check(groups: [&[u8]; GROUPS], out: &[u8]) {
        let quads = groups[0].len();
        assert!(groups.iter().all(|group| group.len() == quads), "groups of whole quads have equal lengths");
        assert_eq!(out.len(), quads * GROUPS, "output holds as many quads as the groups");
    }

    /// # Safety
    /// All groups have the same length and `out` is four times as long.
    pub(super) unsafe fn sse2(groups: [&[u8]; GROUPS], out: &mut [u8]) -> usize {
        let [a, b, c, d] = groups;
        let quads = a.len() & !15;
        for at in (0..quads).step_by(16) {
            // SAFETY: at + 16 <= quads, the length of each group, and 4 * at + 64 <= 4 * quads, that of `out`;
            // loads and stores are of the unaligned kind, and SSE2 is part of the architecture.
            unsafe {
                let load = |group: &[u8]| _mm_loadu_si128(group.as_ptr().add(at).cast::<__m128i>());
                let (a, b, c, d) = (load(a), load(b), load(c), load(d));
                let (ab_low, ab_high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
                let to = out.as_mut_ptr().add(GROUPS * at).cast::<__m128i>();
                _mm_storeu_si128(to, _mm_unpacklo_epi16(ab_low, cd_low));
                _mm_storeu_si128(to.add(1), _mm_unpackhi_epi16(ab_low, cd_low));
                _mm_storeu_si128(to.add(2), _mm_unpacklo_epi16(ab_high, cd_high));
                _mm_storeu_si128(to.add(3), _mm_unpackhi_epi16(ab_high, cd_high));
            }
        }
        quads
    }

    /// # Safety
    /// The processor has AVX2; all groups have the same length and `out` is four times as long.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(groups: [&[u8]; GROUPS], out: &mut [u8]) -> usize {
        let [a, b, c, d] = groups;
        let quads = a.len() & !31;
        for at in (0..quads).step_by(32) {
            // SAFETY: at + 32 <= quads, the length of each group, and 4 * at + 128 <= 4 * quads, that of `out`;
            // loads and stores are of the unaligned kind.
            unsafe {
                let load = |group: &[u8]| _mm256_loadu_si256(group.as_ptr().add(at).cast::<__m256i>());
                let (a, b, c, d) = (load(a), load(b), load(c), load(d));
                // Unpacking works within each 128-bit half, so every register holds 4 quads of the first 16 and
                // 4 of the last 16; the permutes put the halves in order.
                let (ab_low, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
                let q0 = _mm256_unpacklo_epi16(ab_low, cd_low);
                let q1 = _mm256_unpackhi_epi16(ab_low, cd_low);
                let q2 = _mm256_unpacklo_epi16(ab_high, cd_high);
                let q3 = _mm256_unpackhi_epi16(ab_high, cd_high);
                let to = out.as_mut_ptr().add(GROUPS * at).cast::<__m256i>();
                _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(q0, q1));
                _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x20>(q2, q3));
                _mm256_storeu_si256(to.add(2), _mm256_permute2x128_si256::<0x31>(q0, q1));
                _mm256_storeu_si256(to.add(3), _mm256_permute2x128_si256::<0x31>(q2, q3));
            }
        }
        quads
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod simd {
    //! AArch64: NEON is always there, and its four-way store does the whole work.

    use core::arch::aarch64::{uint8x16x4_t, vld1q_u8, vst4q_u8};

    use super::GROUPS;

    /// Regroups as many whole quads as fit the vector width and returns how many. The groups have equal lengths and
    /// `out` has four times that.
    pub(super) fn regroup_quads(groups: [&[u8]; GROUPS], out: &mut [u8]) -> usize {
        let [a, b, c, d] = groups;
        assert!(
            groups.iter().all(|group| group.len() == a.len()),
            "groups of whole quads have equal lengths"
        );
        assert_eq!(out.len(), a.len() * GROUPS, "output holds as many quads as the groups");
        let quads = a.len() & !15;
        for at in (0..quads).step_by(16) {
            // SAFETY: at + 16 <= quads, the length of each group, and 4 * at + 64 <= 4 * quads, that of `out`;
            // NEON loads and stores need no alignment, and NEON is part of the architecture.
            unsafe {
                let load = |group: &[u8]| vld1q_u8(group.as_ptr().add(at));
                vst4q_u8(out.as_mut_ptr().add(GROUPS * at), uint8x16x4_t(load(a), load(b), load(c), load(d)));
            }
        }
        quads
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod simd {
    //! Elsewhere the plain loop does everything.

    pub(super) fn regroup_quads(_groups: [&[u8]; super::GROUPS], _out: &mut [u8]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn sample(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn groups_are_the_documented_ones() {
        let mut out = [0; 10];
        group(b"0123456789", &mut out);
        assert_eq!(&out, b"0481592637");
    }

    #[test]
    fn regrouping_undoes_grouping_and_equals_the_plain_twin_at_every_length() {
        for len in (0..700).chain([8191, 65_536, 131_069, 131_071, 131_072]) {
            let data = sample(len);
            let mut grouped = vec![0; len];
            group(&data, &mut grouped);
            let groups = [0, 1, 2, 3].map(|i| &grouped[group_range(len, i)]);
            let mut plain = vec![0; len];
            regroup_scalar(groups, 0, &mut plain);
            assert_eq!(plain, data, "plain, {len} bytes");
            let mut wide = vec![0; len];
            regroup(&grouped, &mut wide);
            assert_eq!(wide, data, "wide, {len} bytes");
        }
    }

    /// On a machine with AVX2 the test above never takes the SSE2 path.
    #[cfg(target_arch = "x86_64")]
    #[test]
    #[allow(unsafe_code)]
    fn sse2_equals_the_plain_twin() {
        for quads in 0..200 {
            let grouped = sample(quads * 4);
            let groups = [0, 1, 2, 3].map(|i| &grouped[group_range(quads * 4, i)]);
            let mut plain = vec![0; quads * 4];
            regroup_scalar(groups, 0, &mut plain);
            let mut wide = vec![0; quads * 4];
            // SAFETY: four groups of `quads` bytes and room for four times that.
            let done = unsafe { simd::sse2(groups, &mut wide) };
            regroup_scalar(groups, done, &mut wide);
            assert_eq!((wide, done), (plain, quads & !15));
        }
    }
}
