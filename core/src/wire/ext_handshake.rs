//! The extension handshake of BEP 10: message id 20, extension id 0, then one bencoded dictionary.
//!
//! | key | value | here |
//! |---|---|---|
//! | `hub` | 20 bytes: [`hub_key`] of the Hub whose files the sender shares with this link alone | only on links within a site, and to peers the user named |
//! | `m` | dictionary name → extension id of the sender, 0 withdraws | `ut_pex`, `ut_xet`, `xet`, `zest` |
//! | `p` | TCP port the sender accepts links on | ours: always present, 0 for none |
//! | `plain` | 1: the sender answers `plain request` of [`super::zest`] | where that is so |
//! | `reqq` | requests the sender queues before it drops any | [`crate::link::OUTSTANDING_MAX`] |
//! | `v` | name and version | `zest/<version>` |
//!
//! Ours, as sent: `d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v10:zest/0.5.0e`. `ut_xet`
//! and `xet` name one extension: zest 0.4 answers on id 1 whatever was negotiated, ccbt 0.1.0 calls it `xet` and resolves an incoming id
//! in its own numbering, where it is 2. With these two numbers both are right.

use super::client_name::ClientName;
use super::xet::Dialect;
use crate::bencode::{Encoder, Value, lenient_dict};
use alloc::vec::Vec;
use sha1::{Digest as _, Sha1};

/// Makes [`Extension`] of its table, so that a new extension is one line here, its wire file, and its arm where a link dispatches.
macro_rules! extensions {
    ($($(#[$doc:meta])* $name:literal $variant:ident = $id:literal,)+) => {
        /// An extension we speak.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Extension {
            $($(#[$doc])* $variant = $id,)+
        }

        impl Extension {
            /// All, in the order of their names.
            pub const ALL: [Self; [$($id),+].len()] = [$(Self::$variant),+];

            /// Its name in `m`.
            #[must_use]
            pub const fn name(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The one with this name.
            #[must_use]
            #[inline(always)]
            pub fn named(name: &[u8]) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The one whose messages come under this id of ours.
            #[must_use]
            #[inline(always)]
            pub const fn with_id(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Our id for it.
            #[must_use]
            pub const fn id(self) -> u8 {
                self as u8
            }
        }
    };
}

// By name, as bencode sorts keys; the ids count from 1 on.
extensions! {
    /// Peer exchange ([`super::pex`]).
    b"ut_pex" UtPex = 4,
    /// Chunks by hash ([`super::xet`]).
    b"ut_xet" UtXet = 1,
    /// The same by ccbt's name.
    b"xet" Xet = 2,
    /// Ours ([`super::zest`]).
    b"zest" Zest = 3,
}

/// What a Hub is called on the wire: SHA-1 of `zest-hub-v1:` and its address. Two ends that say the same may speak of files
/// that this Hub shows to everyone who can reach it.
#[must_use]
pub fn hub_key(address: &str) -> [u8; 20] {
    let mut sha = Sha1::new();
    sha.update(b"zest-hub-v1:");
    sha.update(address.as_bytes());
    sha.finalize().into()
}

/// Longest extension handshake that is read: 16 KiB. Ours; real ones have some hundred bytes.
pub const EXT_HANDSHAKE_BYTES_MAX: u32 = 16 << 10;

/// Our name and version, sent as `v`. Anything from 0.5 on is told from the original, whose `v` is `zest/0.3`.
pub const CLIENT: &str = concat!("zest/", env!("CARGO_PKG_VERSION"));

/// What the remote said in all its extension handshakes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtHandshake {
    /// Its id for each extension, by our id less 1; see [`ExtHandshake::id`].
    pub ids: [Option<u8>; Extension::ALL.len()],
    /// Its name and version.
    pub client: ClientName,
    /// TCP port it accepts links on; none if it says 0 or nothing.
    pub listen_port: Option<u16>,
    /// Requests it queues.
    pub reqq: Option<u32>,
    /// The [`hub_key`] of the Hub it speaks of.
    pub hub: Option<[u8; 20]>,
    /// It answers `plain request`.
    pub plain: bool,
    /// Layout in which to ask it: [`Dialect::Range`] (ask for xorb ranges) for the original, else [`Dialect::Chunk`].
    pub dialect_guess: Dialect,
}

impl ExtHandshake {
    /// Nothing said yet.
    #[must_use]
    pub fn empty(dialect_guess: Dialect) -> Self {
        Self {
            ids: [None; Extension::ALL.len()],
            client: ClientName::NONE,
            listen_port: None,
            reqq: None,
            hub: None,
            plain: false,
            dialect_guess,
        }
    }

    /// The same with an id for an extension; `None` withdraws it.
    #[must_use]
    pub fn with(mut self, extension: Extension, id: Option<u8>) -> Self {
        *self.slot(extension) = id;
        self
    }

    /// The id on which the remote takes messages of that extension; none if it does not speak it.
    #[must_use]
    #[inline]
    pub fn id(&self, extension: Extension) -> Option<u8> {
        self.ids[usize::from(extension.id()) - 1]
    }

    /// The id on which the remote takes Xet messages, under either name.
    #[must_use]
    #[inline]
    pub fn xet_id(&self) -> Option<u8> {
        self.id(Extension::UtXet).or(self.id(Extension::Xet))
    }

    #[inline]
    fn slot(&mut self, extension: Extension) -> &mut Option<u8> {
        &mut self.ids[usize::from(extension.id()) - 1]
    }

    /// Takes in one more handshake. Keys that are absent or of the wrong type change nothing (BEP 10: a repeat is
    /// additive); what stands behind the first bencode error is lost.
    ///
    /// Returns false, and changes nothing, if the message does not even begin a dictionary.
    #[must_use]
    pub fn update(&mut self, message: &[u8]) -> bool {
        let Ok(dict) = lenient_dict(message) else { return false };
        for (key, value) in dict.iter() {
            match (key, value) {
                (b"hub", Value::Bytes(key)) => self.hub = key.try_into().ok(),
                (b"m", Value::Dict(names)) => self.update_ids(names.iter()),
                (b"p", Value::Int(port)) => {
                    self.listen_port = u16::try_from(port).ok().filter(|&port| port != 0);
                }
                (b"plain", Value::Int(version)) => self.plain = version == 1,
                (b"reqq", Value::Int(count)) => self.reqq = u32::try_from(count).ok(),
                (b"v", Value::Bytes(name)) => self.client = ClientName::new(name),
                _ => {}
            }
        }
        if is_original(&self.client) {
            self.dialect_guess = Dialect::Range;
        }
        true
    }

    fn update_ids<'a>(&mut self, names: impl Iterator<Item = (&'a [u8], Value<'a>)>) {
        for (name, id) in names {
            let Some(extension) = Extension::named(name) else { continue };
            if let Some(id) = id.int() {
                *self.slot(extension) = u8::try_from(id).ok().filter(|&id| id != 0);
            }
        }
    }
}

/// Whether `v` is the original's: `zest/0.` and a minor version below 5.
fn is_original(client: &ClientName) -> bool {
    let minor = client.as_bytes().strip_prefix(b"zest/0.").unwrap_or_default();
    matches!(minor, [b'0'..=b'4'] | [b'0'..=b'4', b'.', ..])
}

/// Our handshake: the bencoded dictionary.
#[must_use]
pub fn ours(listen_port: u16, reqq: u32) -> Vec<u8> {
    ours_of(None, false, listen_port, reqq)
}

/// The same, naming the Hub that is spoken of on this link, and saying whether we answer `plain request`.
#[must_use]
pub fn ours_of(hub: Option<&[u8; 20]>, plain: bool, listen_port: u16, reqq: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut enc = Encoder::new(&mut out);
    enc.dict();
    if let Some(hub) = hub {
        enc.key(b"hub").bytes(hub);
    }
    enc.key(b"m").dict();
    for extension in Extension::ALL {
        enc.key(extension.name()).int(extension.id().into());
    }
    enc.end();
    enc.key(b"p").int(listen_port.into());
    if plain {
        enc.key(b"plain").int(1);
    }
    enc.key(b"reqq").int(reqq.into());
    enc.key(b"v").bytes(CLIENT.as_bytes());
    enc.end();
    enc.finish();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(message: &[u8]) -> ExtHandshake {
        let mut seen = ExtHandshake::empty(Dialect::Chunk);
        assert!(seen.update(message));
        seen
    }

    #[test]
    fn ours_reads_back_and_is_not_taken_for_the_original() {
        let bytes = ours(6881, 512);
        let expected = alloc::format!(
            "d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v{}:{CLIENT}e",
            CLIENT.len()
        );
        assert_eq!(bytes, expected.as_bytes());
        let seen = read(&bytes);
        assert_eq!(
            (
                seen.id(Extension::UtXet),
                seen.id(Extension::Xet),
                seen.id(Extension::Zest),
                seen.id(Extension::UtPex)
            ),
            (Some(1), Some(2), Some(3), Some(4))
        );
        assert_eq!((seen.listen_port, seen.reqq, &*seen.client), (Some(6881), Some(512), CLIENT));
        assert_eq!(seen.dialect_guess, Dialect::Chunk);
    }

    #[test]
    fn a_hub_is_named_by_a_key_and_only_where_it_is_asked_for() {
        let key = hub_key("https://hub.example");
        assert!(!read(&ours(6881, 512)).plain);
        let seen = read(&ours_of(Some(&key), true, 6881, 512));
        assert!(seen.plain);
        assert_eq!((seen.hub, seen.id(Extension::Zest), seen.listen_port), (Some(key), Some(3), Some(6881)));
        assert_eq!(read(&ours(6881, 512)).hub, None);
        assert_ne!(key, hub_key("https://hub.example:8443"));
        assert_eq!(read(b"d3:hub3:abce").hub, None, "a key of another length is none");
    }

    #[test]
    fn the_original_is_known_by_its_version() {
        let seen = read(b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e");
        assert_eq!((seen.xet_id(), seen.id(Extension::Zest), seen.listen_port), (Some(1), None, Some(6881)));
        assert_eq!(seen.dialect_guess, Dialect::Range);
        for (client, original) in [
            ("zest/0.4.2", true),
            ("zest/0.5.0", false),
            ("zest/0.30", false),
            ("zest/1.3", false),
            ("zest/", false),
        ] {
            assert_eq!(is_original(&client.into()), original, "{client}");
        }
    }

    #[test]
    fn what_ccbt_writes_is_read_up_to_its_first_error() {
        let seen = read(
            b"d1:e8:disabled1:md3:ssli1e11:ut_metadatai3e3:xeti2ee3:xetd14:hash_algorithm18:xet-hash:v1:blake322:\
supports_bloom_filtersiTrueee1:v4:loste",
        );
        assert_eq!(
            (seen.id(Extension::UtXet), seen.id(Extension::Xet), seen.xet_id()),
            (None, Some(2), Some(2))
        );
        assert_eq!(&*seen.client, "");
    }

    #[test]
    fn a_repeated_handshake_adds_and_withdraws() {
        let mut seen = read(b"d1:md6:ut_xeti4e4:zesti9ee1:v1:xe");
        assert!(seen.update(b"d1:md4:zesti0eee"));
        assert_eq!(
            (seen.id(Extension::UtXet), seen.id(Extension::Zest), &*seen.client),
            (Some(4), None, "x")
        );
    }

    #[test]
    fn ids_and_ports_out_of_range_are_no_ids_and_ports() {
        let seen = read(b"d1:md6:ut_xeti256e3:xeti-1e4:zest1:xe1:pi65536e4:reqqi-1e1:vi1ee");
        assert_eq!(seen, ExtHandshake::empty(Dialect::Chunk));
        assert!(!ExtHandshake::empty(Dialect::Chunk).update(b"le"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_panic(message in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ExtHandshake::empty(Dialect::Chunk).update(&[b"d1:m", &message[..]].concat());
            let _ = ExtHandshake::empty(Dialect::Chunk).update(&message);
        }
    }
}
