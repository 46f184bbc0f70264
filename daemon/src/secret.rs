//! The secret that opens the API: 256 random bits in a file that its owner alone can read.

use crate::places::{open, write_private};
use crate::{DaemonError, Places};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::{self, Write as _};
use std::io::{self, Read as _};
use std::path::Path;
use subtle::ConstantTimeEq as _;

/// Random bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// The same in hex digits, as it stands in the file and in `Authorization`.
const SECRET_DIGITS: usize = 2 * SECRET_BYTES;

/// Shortest secret that a user gives: 32 characters, 128 bits in hex.
const GIVEN_BYTES_MIN: u64 = 32;

/// Longest: 256.
const GIVEN_BYTES_MAX: u64 = 256;

/// The secret. Its value is in no debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Reads it.
    ///
    /// # Errors
    /// It is not there, is not ours alone, or is no secret.
    pub fn read(places: &Places) -> Result<Self, DaemonError> {
        let path = places.secret();
        read(&path).map_err(DaemonError::file(path))
    }

    /// Reads it; makes one where there is none. One that others could have read is replaced. For who has the
    /// [claim](crate::Instance).
    ///
    /// # Errors
    /// It cannot be written.
    pub fn read_or_make(places: &Places) -> Result<Self, DaemonError> {
        read_or_make(&places.secret())
    }

    /// The key of the local endpoint; made where there is none. It opens what lies below `/hf/` and nothing else.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn endpoint_key(places: &Places) -> Result<Self, DaemonError> {
        read_or_make(&places.endpoint_key())
    }

    /// Another key for the local endpoint. From now on the old one opens nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn rotate_endpoint_key(places: &Places) -> Result<Self, DaemonError> {
        make(&places.endpoint_key())
    }

    /// What signs the addresses and tokens that the local endpoint gives out, made where there is none: they outlive a daemon that dies.
    pub(crate) fn endpoint_signer(places: &Places) -> Result<Self, DaemonError> {
        read_or_make(&places.endpoint_signer())
    }

    /// One of the user's own, from a file: 32 to 256 visible characters. Not everybody may read it; a group may, as that is how secrets
    /// come into containers.
    ///
    /// # Errors
    /// It cannot be read, everybody can read it, or it is none.
    pub fn from_file(path: &Path) -> Result<Self, DaemonError> {
        let read = || {
            let file = std::fs::File::open(path)?;
            let meta = file.metadata()?;
            let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
            if !meta.is_file() || crate::os::is_for_anybody(&meta) {
                return refuse("everybody can read it, or it is no file (chmod o=)");
            }
            let mut text = String::new();
            file.take(GIVEN_BYTES_MAX + 2).read_to_string(&mut text)?;
            let text = text.trim();
            let is_long = (GIVEN_BYTES_MIN..=GIVEN_BYTES_MAX).contains(&(text.len() as u64));
            match is_long && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok(Self(text.to_owned())),
                false => refuse("a secret has 32 to 256 visible characters"),
            }
        };
        read().map_err(DaemonError::file(path))
    }

    /// The value, for the Authorization header and nothing else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is it. How long that takes does not depend on where they differ.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// What only who has the secret can answer to a nonce: HMAC-SHA-256 over it, in hex.
    #[must_use]
    pub fn proof(&self, nonce: &str) -> String {
        let mac = <Hmac<Sha256>>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        hex(&mac.chain_update(nonce.as_bytes()).finalize().into_bytes())
    }

    /// The same for one port: it cannot be had at the daemon's and shown at another.
    #[must_use]
    pub fn proof_at(&self, port: u16, nonce: &str) -> String {
        self.proof(&format!("port {port}\n{nonce}"))
    }

    /// Whether `proof` is that of this port and nonce.
    #[must_use]
    pub fn proves(&self, proof: &str, port: u16, nonce: &str) -> bool {
        self.proof_at(port, nonce).as_bytes().ct_eq(proof.as_bytes()).into()
    }
}

fn read_or_make(path: &Path) -> Result<Secret, DaemonError> {
    match read(path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let path = path.display();
            tracing::warn!(target: zest_store::SAID, kind = "new-secret", "the API has a new secret, as the old one is no good: {path}: {error}");
        }
    }
    make(path)
}

fn make(path: &Path) -> Result<Secret, DaemonError> {
    let secret = Secret(random_hex(SECRET_BYTES)?);
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = written.and_then(|()| write_private(path, format!("{}\n", secret.0).as_bytes()));
    written.map_err(DaemonError::file(path.to_owned()))?;
    Ok(secret)
}

fn read(path: &Path) -> io::Result<Secret> {
    let file = open(path)?;
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    if !crate::os::is_private(&file.metadata()?) {
        return refuse("it is not for its owner alone (chmod 600)");
    }
    let mut text = String::new();
    file.take(4 * SECRET_DIGITS as u64).read_to_string(&mut text)?;
    let text = text.trim();
    match text.len() == SECRET_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(Secret(text.to_owned())),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no secret")),
    }
}

/// So many random bytes in hex: a secret, or a name that nobody else has.
///
/// # Errors
/// The system gave no randomness.
pub fn random_hex(bytes: usize) -> Result<String, DaemonError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| DaemonError::Random(error.to_string()))?;
    Ok(hex(&random))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn places() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().expect("a folder");
        let places = Places::new(dir.path());
        (dir, places)
    }

    #[test]
    fn a_secret_is_made_once_and_is_for_its_owner_alone() {
        let (_dir, places) = places();
        assert!(Secret::read(&places).is_err());
        let secret = Secret::read_or_make(&places).expect("made");
        let mode = std::fs::metadata(places.secret()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Secret::read_or_make(&places).expect("read"), secret);
        assert_eq!(Secret::read(&places).expect("read"), secret);
        assert!(secret.is(secret.as_str()) && !secret.is("") && !secret.is(&secret.as_str()[1..]));
        assert_eq!(format!("{secret:?}"), "***");
        let (_other, other) = self::places();
        assert_ne!(Secret::read_or_make(&other).expect("made"), secret, "new per installation");
    }

    #[test]
    fn a_secret_that_others_could_have_read_is_replaced() {
        let (_dir, places) = places();
        let before = Secret::read_or_make(&places).expect("made");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(places.secret(), open).expect("ours");
        assert!(Secret::read(&places).is_err(), "a client does not use it");
        assert_ne!(Secret::read_or_make(&places).expect("made"), before);
        // A link in its place is not followed, and what it leads to is left alone.
        let elsewhere = places.dir().join("elsewhere");
        std::fs::rename(places.secret(), &elsewhere).expect("ours");
        std::os::unix::fs::symlink(&elsewhere, places.secret()).expect("a link");
        let there = std::fs::read(&elsewhere).expect("there");
        let fresh = Secret::read_or_make(&places).expect("made");
        assert_eq!(std::fs::read(&elsewhere).expect("there"), there);
        assert!(!there.starts_with(fresh.as_str().as_bytes()));
    }

    #[test]
    fn a_secret_of_the_users_is_long_and_not_for_everybody() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        let with = |text: &str, mode| {
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            Secret::from_file(&path).ok()
        };
        let long = "x".repeat(32);
        assert!(with(&format!("{long}\n"), 0o440).is_some_and(|secret| secret.is(&long)));
        assert_eq!(with(&long, 0o604), None);
        for wrong in ["", "short", &format!("{long} {long}"), &"x".repeat(257)] {
            assert_eq!(with(wrong, 0o600), None, "{wrong}");
        }
    }

    #[test]
    fn a_proof_is_hmac_sha256_and_one_of_another_port_proves_nothing() {
        let secret = Secret("a".repeat(64));
        // Python: hmac.new(b"a" * 64, b"n", "sha256").hexdigest()
        let python = "b3f86dc76c9fb60cf5aac18d1f08a58076257859067fd8818ae5755feeabe070";
        assert_eq!(secret.proof("n"), python);
        assert_ne!(secret.proof("n"), secret.proof("m"));
        let proof = secret.proof_at(9847, "n");
        assert!(secret.proves(&proof, 9847, "n"));
        assert!(!secret.proves(&proof, 9848, "n") && !secret.proves(&proof, 9847, "m"));
        assert!(!secret.proves(&secret.proof("n"), 9847, "n"));
        assert!(!Secret("b".repeat(64)).proves(&proof, 9847, "n"));
    }
}
