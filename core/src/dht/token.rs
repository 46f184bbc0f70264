//! Write tokens: proof that whoever announces an address can also receive there.
//!
//! Eight bytes of keyed BLAKE3 over the address. The key is random and new every five minutes; tokens of the previous one
//! still count. From any number of tokens nothing follows about the token of another address, which a checksum would allow.

use super::limits::TOKEN_SECRET_LIFE;
use crate::Instant;
use crate::node::rng::Rng;
use core::net::IpAddr;

/// Bytes of a token of ours.
pub const TOKEN_BYTES: usize = 8;

#[derive(Debug)]
pub(crate) struct Tokens {
    current: [u8; 32],
    previous: [u8; 32],
    since: Instant,
}

impl Tokens {
    pub(crate) fn new(now: Instant, rng: &mut Rng) -> Self {
        Self { current: rng.bytes32(), previous: rng.bytes32(), since: now }
    }

    fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        let age = now.since(self.since);
        if age < TOKEN_SECRET_LIFE {
            return;
        }
        self.previous = if age < TOKEN_SECRET_LIFE * 2 { self.current } else { rng.bytes32() };
        self.current = rng.bytes32();
        self.since = now;
    }

    pub(crate) fn make(&mut self, now: Instant, ip: IpAddr, rng: &mut Rng) -> [u8; TOKEN_BYTES] {
        self.rotate(now, rng);
        token(&self.current, ip)
    }

    pub(crate) fn check(&mut self, now: Instant, ip: IpAddr, shown: &[u8], rng: &mut Rng) -> bool {
        self.rotate(now, rng);
        shown == token(&self.current, ip) || shown == token(&self.previous, ip)
    }
}

fn token(secret: &[u8; 32], ip: IpAddr) -> [u8; TOKEN_BYTES] {
    let hash = match ip {
        IpAddr::V4(ip) => blake3::keyed_hash(secret, &ip.octets()),
        IpAddr::V6(ip) => blake3::keyed_hash(secret, &ip.octets()),
    };
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    #[test]
    fn a_token_lives_through_one_change_of_secret_and_belongs_to_one_address() {
        let mut rng = Rng::new([1; 32]);
        let mut tokens = Tokens::new(Instant(0), &mut rng);
        let ip = "8.8.8.8".parse().unwrap();
        let at = |s| Instant(0) + Duration::from_secs(s);
        let token = tokens.make(at(0), ip, &mut rng);
        assert!(tokens.check(at(299), ip, &token, &mut rng));
        assert!(!tokens.check(at(299), "8.8.8.9".parse().unwrap(), &token, &mut rng));
        assert!(!tokens.check(at(299), ip, &token[..7], &mut rng));
        assert!(tokens.check(at(301), ip, &token, &mut rng));
        assert!(!tokens.check(at(602), ip, &token, &mut rng));
        let token = tokens.make(at(700), ip, &mut rng);
        assert!(!tokens.check(at(9000), ip, &token, &mut rng), "nor does it survive a long sleep");
    }

    #[test]
    fn tokens_are_not_linear_in_the_address() {
        let mut rng = Rng::new([2; 32]);
        let mut tokens = Tokens::new(Instant(0), &mut rng);
        let mut of = |ip: [u8; 4]| u64::from_be_bytes(tokens.make(Instant(0), ip.into(), &mut rng));
        // With a linear checksum these four cancel out.
        assert_ne!(of([1, 0, 0, 0]) ^ of([2, 0, 0, 0]) ^ of([3, 0, 0, 0]) ^ of([0, 0, 0, 0]), 0);
    }
}
