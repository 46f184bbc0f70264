//! Node ids: distance (BEP 5) and the rule that ties an id to its address (BEP 42).

use crate::InfoHash;
use crate::node::rng::Rng;
use core::fmt;
use core::net::IpAddr;

use super::addr::is_local;

/// A point of the key space: 160 bits, of a node or of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// Bits in an id.
    pub const BITS: u32 = 160;

    /// The XOR metric of BEP 5; smaller is closer.
    #[must_use]
    pub fn distance(&self, other: &Self) -> [u8; 20] {
        core::array::from_fn(|at| self.0[at] ^ other.0[at])
    }

    /// Leading bits that both ids share, 0..=160.
    #[must_use]
    pub fn common_bits(&self, other: &Self) -> u32 {
        let distance = self.distance(other);
        let whole = distance.iter().take_while(|byte| **byte == 0).count();
        8 * whole as u32 + distance.get(whole).map_or(0, |byte| byte.leading_zeros())
    }

    /// Whether the id follows from the address as BEP 42 asks. Ids behind local addresses always do.
    #[must_use]
    pub fn fits(&self, ip: IpAddr) -> bool {
        let id = &self.0;
        let (prefix, rest) = (address_bits(ip, id[19]), id[2]);
        is_local(ip) || (prefix[..2] == id[..2] && prefix[2] & 0xf8 == rest & 0xf8)
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// A random id that [`fits`](NodeId::fits) the address.
    pub(crate) fn for_address(ip: IpAddr, rng: &mut Rng) -> Self {
        let mut id = Self::random(rng);
        let prefix = address_bits(ip, id.0[19]);
        id.0[..2].copy_from_slice(&prefix[..2]);
        id.0[2] = prefix[2] & 0xf8 | id.0[2] & 7;
        id
    }

    /// A random id that shares exactly `bits` leading bits with this one (all of them random if `exact` is false
    /// behind those bits).
    pub(crate) fn random_near(&self, bits: u32, exact: bool, rng: &mut Rng) -> Self {
        let mut id = Self::random(rng);
        for bit in 0..bits.min(Self::BITS) {
            id.copy_bit(bit, self, false);
        }
        if exact && bits < Self::BITS {
            id.copy_bit(bits, self, true);
        }
        id
    }

    fn copy_bit(&mut self, bit: u32, from: &Self, invert: bool) {
        let (byte, mask) = ((bit / 8) as usize, 0x80u8 >> (bit % 8));
        let value = (from.0[byte] & mask != 0) != invert;
        if value {
            self.0[byte] |= mask;
        } else {
            self.0[byte] &= !mask;
        }
    }
}

impl From<InfoHash> for NodeId {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The first four bytes of an id at this address; 21 bits of them count (BEP 42).
fn address_bits(ip: IpAddr, random: u8) -> [u8; 4] {
    /// Which bits of an address count: the fewer, the more of a network one holder is likely to own (BEP 42).
    const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let salt = (random & 7) << 5;
    match ip {
        IpAddr::V4(v4) => {
            let mut bytes = v4.octets();
            bytes.iter_mut().zip(MASK_V4).for_each(|(byte, mask)| *byte &= mask);
            bytes[0] |= salt;
            crc32c(&bytes).to_be_bytes()
        }
        IpAddr::V6(v6) => {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(v6.octets()).zip(MASK_V6).for_each(|((to, byte), mask)| *to = byte & mask);
            bytes[0] |= salt;
            crc32c(&bytes).to_be_bytes()
        }
    }
}

/// CRC-32C (Castagnoli), bit by bit: eight bytes at most, and seldom.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    #[test]
    fn the_checksum_is_the_castagnoli_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_vectors_of_bep_42_fit_and_no_neighbouring_id_does() {
        let vectors: [(&str, u8, [u8; 3]); 5] = [
            ("124.31.75.21", 1, [0x5f, 0xbf, 0xbf]),
            ("21.75.31.124", 86, [0x5a, 0x3c, 0xe9]),
            ("65.23.51.170", 22, [0xa5, 0xd4, 0x32]),
            ("84.124.73.14", 65, [0x1b, 0x03, 0x21]),
            ("43.213.53.83", 90, [0xe5, 0x6f, 0x6c]),
        ];
        for (ip, random, prefix) in vectors {
            let ip: IpAddr = ip.parse().unwrap();
            let mut id = NodeId([0x77; 20]);
            id.0[..3].copy_from_slice(&prefix);
            id.0[19] = random;
            assert!(id.fits(ip), "{ip}");
            // Bit 21 is free, bit 20 is not.
            id.0[2] ^= 0x04;
            assert!(id.fits(ip), "{ip}");
            id.0[2] ^= 0x08;
            assert!(!id.fits(ip), "{ip}");
        }
    }

    #[test]
    fn ids_made_for_an_address_fit_it_and_local_ones_are_exempt() {
        let mut rng = Rng::new([1; 32]);
        for ip in ["8.8.4.4".parse().unwrap(), IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 7, 8, 9, 1, 2, 3))] {
            for _ in 0..50 {
                assert!(NodeId::for_address(ip, &mut rng).fits(ip));
            }
            assert!((0..50).filter(|_| NodeId::random(&mut rng).fits(ip)).count() < 2);
        }
        for local in ["127.0.0.1", "10.1.2.3", "192.168.7.7", "::1", "fe80::1", "fd00::2"] {
            assert!(NodeId::random(&mut rng).fits(local.parse().unwrap()), "{local}");
        }
    }

    #[test]
    fn ids_near_another_share_exactly_the_bits_asked_for() {
        let mut rng = Rng::new([2; 32]);
        let id = NodeId::random(&mut rng);
        for bits in [0, 1, 7, 8, 9, 63, 159] {
            assert_eq!(id.random_near(bits, true, &mut rng).common_bits(&id), bits);
            assert!(id.random_near(bits, false, &mut rng).common_bits(&id) >= bits);
        }
        assert_eq!(id.random_near(160, true, &mut rng), id);
        assert_eq!(id.common_bits(&id), 160);
    }
}
