//! Signed URLs and Xet tokens: HMAC-SHA-256 under a random key, for `zest hub` one that lives as long as the process.

use std::time::UNIX_EPOCH;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Block of SHA-256 in bytes (FIPS 180-4), the key length of its HMAC.
const HMAC_BLOCK_BYTES: usize = 64;

/// Hex digits of a signature: all 256 bits.
const SIGNATURE_HEX_DIGITS: usize = 64;

/// What is signed. Each kind starts its message with its own word, so one kind never passes for another.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// A Xet token: scope.
    Token,
    /// Ranges of a xorb: hash and range set.
    Xorb,
    /// A whole file: its place.
    File,
}

impl Purpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Xorb => "xorb",
            Self::File => "file",
        }
    }
}

/// How far the clocks of two processes, one after the other, may differ: 1 min. Ours; more than clocks are adjusted by.
const CLOCK_SLACK_SECONDS: u64 = 60;

/// A signing key, already mixed in.
pub struct Signer {
    key: Hmac<Sha256>,
    /// No signature of this key was ever made for longer, in seconds.
    longest: Option<u64>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Signer {
    /// A signer with a fresh random key.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; HMAC_BLOCK_BYTES];
        getrandom::fill(&mut key)?;
        Ok(Self::from_key(&key))
    }

    /// A signer whose key is this secret: what it signs is good for every process that has it, and for `longest` seconds at most. What
    /// is dated farther ahead was signed while the clock was ahead, and is good no more once it is right again.
    #[must_use]
    pub fn from_secret(secret: &str, longest: u64) -> Self {
        let key = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self { key, longest: Some(longest) }
    }

    /// A key of this process alone, whose time never goes back.
    fn from_key(key: &[u8; HMAC_BLOCK_BYTES]) -> Self {
        Self { key: Hmac::new(key.into()), longest: None }
    }

    fn mac(&self, message: &[u8]) -> String {
        hex(&self.key.clone().chain_update(message).finalize().into_bytes())
    }

    /// Signature of `content`, valid until `expires` (Unix seconds).
    #[must_use]
    pub fn sign(&self, purpose: Purpose, content: &str, expires: u64) -> String {
        self.mac(format!("{}\n{expires}\n{content}", purpose.word()).as_bytes())
    }

    /// Whether `signature` is ours for `content`, has not expired, and does not do so later than it may.
    #[must_use]
    pub fn is_valid(&self, purpose: Purpose, content: &str, expires: u64, signature: &str) -> bool {
        let expected = self.sign(purpose, content, expires);
        debug_assert_eq!(expected.len(), SIGNATURE_HEX_DIGITS, "signature length");
        let now = unix_now();
        let last = self.longest.map_or(u64::MAX, |longest| now.saturating_add(longest + CLOCK_SLACK_SECONDS));
        equal_in_constant_time(expected.as_bytes(), signature.as_bytes()) && now < expires && expires <= last
    }
}

/// Compares secrets without telling by its duration where they differ. Lengths are not secret.
pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Seconds since the Unix epoch, which go on whatever is done to the clock; a clock before it counts as 0, which makes everything expire later, not earlier than a
/// right clock would: harmless, since the key does not outlive the process.
#[must_use]
pub fn unix_now() -> u64 {
    zest_store::aging_now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Reads exactly `N` bytes of lower- or upper-case hex.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16);
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231_case_2() {
        let mut key = [0; HMAC_BLOCK_BYTES];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            Signer::from_key(&key).mac(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn signature_holds_for_its_purpose_content_and_time_only() {
        let signer = Signer::from_key(&[7; HMAC_BLOCK_BYTES]);
        let expires = unix_now() + 60;
        let good = signer.sign(Purpose::Xorb, "content", expires);
        assert!(signer.is_valid(Purpose::Xorb, "content", expires, &good));
        assert!(!signer.is_valid(Purpose::File, "content", expires, &good));
        assert!(!signer.is_valid(Purpose::Xorb, "contenu", expires, &good));
        assert!(!signer.is_valid(Purpose::Xorb, "content", expires + 1, &good));
        assert!(!signer.is_valid(Purpose::Xorb, "content", expires, &good[1..]));
        let old = signer.sign(Purpose::Xorb, "content", 1);
        assert!(!signer.is_valid(Purpose::Xorb, "content", 1, &old));
    }

    #[test]
    fn what_was_signed_while_the_clock_was_ahead_is_good_no_more() {
        let signer = Signer::from_secret("a secret that outlives its processes", 3600);
        let is_good = |signer: &Signer, expires| {
            let signature = signer.sign(Purpose::Token, "content", expires);
            signer.is_valid(Purpose::Token, "content", expires, &signature)
        };
        let now = unix_now();
        assert!(is_good(&signer, now + 3600));
        assert!(!is_good(&signer, now + 24 * 3600), "of a clock that showed tomorrow");
        assert!(!is_good(&signer, u64::MAX));
        // What a process signs for itself it dates as it likes: its time never goes back.
        assert!(is_good(&Signer::from_key(&[7; HMAC_BLOCK_BYTES]), now + 24 * 3600));
    }

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(hex(&[0, 0xab, 0x7f]), "00ab7f");
        assert_eq!(unhex::<3>("00Ab7f"), Some([0, 0xab, 0x7f]));
        assert_eq!(unhex::<3>("00ab7"), None);
        assert_eq!(unhex::<2>("00ég"), None);
    }
}
