//! The table on disk, so that a start needs no bootstrap node.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `zdht` |
//! | 1 | version, 1 |
//! | per family, twice | |
//! | 20 | our id |
//! | 2 | number of nodes, big-endian |
//! | 26 or 38 each | id, address, port |
//! | 8 | keyed BLAKE3 of all before, as a checksum |

use super::NodeId;
use super::addr::{Family, is_usable};
use super::krpc::{node_v4, node_v6};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use nom::Parser as _;
use nom::bytes::complete::tag;
use nom::multi::count;
use thiserror::Error;
use zest_xet::fields::{Parsed, array, be_u16};

/// Nodes of one family that are written or read: 400. Ours; a table holds 8 in each of some 20 buckets.
pub const SAVED_NODES_MAX: usize = 400;

const MAGIC: [u8; 5] = *b"zdht\x01";
const CHECK_KEY: [u8; 32] = *b"zest: saved routing table, v1 \0\0";

/// What a node remembers over a restart: its ids and the nodes it knew, IPv4 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub(crate) families: [(NodeId, Vec<(NodeId, SocketAddr)>); 2],
}

/// Why saved bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SavedError {
    /// Neither ours nor of this version.
    #[error("not a saved routing table of version 1")]
    Version,
    /// Longer or shorter than it says.
    #[error("saved routing table of {0} bytes does not hold what it says")]
    Length(usize),
    /// More nodes than are ever written.
    #[error("saved routing table names {0} nodes, limit {SAVED_NODES_MAX}")]
    TooMany(usize),
    /// Damaged.
    #[error("saved routing table has a wrong checksum")]
    Checksum,
}

impl Saved {
    /// Nodes in all.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.families.iter().map(|(_, nodes)| nodes.len()).sum()
    }

    /// Their addresses, for a node that has an id of its own.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.families.iter().flat_map(|(_, nodes)| nodes).map(|(_, addr)| *addr)
    }

    /// As bytes, to be written to a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (id, nodes) in &self.families {
            let nodes = &nodes[..nodes.len().min(SAVED_NODES_MAX)];
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&(nodes.len() as u16).to_be_bytes());
            for (id, addr) in nodes {
                out.extend_from_slice(&id.0);
                match addr.ip() {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                }
                out.extend_from_slice(&addr.port().to_be_bytes());
            }
        }
        let check = checksum(&out);
        out.extend_from_slice(&check);
        out
    }

    /// Reads what [`to_bytes`](Saved::to_bytes) wrote. Addresses that cannot be sent to are left out.
    ///
    /// # Errors
    /// [`SavedError`]; the caller starts without a table then.
    pub fn parse(bytes: &[u8]) -> Result<Self, SavedError> {
        let length = SavedError::Length(bytes.len());
        let (body, check) = bytes.split_last_chunk::<8>().ok_or(length)?;
        let (mut rest, _) = magic(body).map_err(|_| SavedError::Version)?;
        let mut family = |family| {
            let (tail, (id, nodes)) = family_head(rest).map_err(|_| length)?;
            let count = usize::from(nodes);
            if count > SAVED_NODES_MAX {
                return Err(SavedError::TooMany(count));
            }
            let nodes = nodes_of(family, count, tail);
            let (tail, nodes) = nodes.map_err(|_| length)?;
            rest = tail;
            Ok((id, nodes.into_iter().filter(|(_, addr)| is_usable(*addr)).collect()))
        };
        let families = [family(Family::V4)?, family(Family::V6)?];
        if !rest.is_empty() {
            return Err(length);
        }
        if checksum(body) != *check {
            return Err(SavedError::Checksum);
        }
        Ok(Self { families })
    }
}

/// `zdht`, version
fn magic(input: &[u8]) -> Parsed<'_, &[u8]> {
    tag(&MAGIC[..])(input)
}

/// our id 20, number of nodes 2
fn family_head(input: &[u8]) -> Parsed<'_, (NodeId, u16)> {
    (array.map(NodeId), be_u16).parse(input)
}

/// So many nodes.
fn nodes_of(family: Family, nodes: usize, input: &[u8]) -> Parsed<'_, Vec<(NodeId, SocketAddr)>> {
    match family {
        Family::V4 => count(node_v4, nodes).parse(input),
        Family::V6 => count(node_v6, nodes).parse(input),
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let hash = blake3::keyed_hash(&CHECK_KEY, bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let v4 = (1..=3).map(|n| (NodeId([n; 20]), SocketAddr::new([20, n, 1, 1].into(), 1000))).collect();
        let v6 = alloc::vec![(NodeId([9; 20]), "[2001:db8::1]:2000".parse().unwrap())];
        Saved { families: [(NodeId([7; 20]), v4), (NodeId([8; 20]), v6)] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = saved().to_bytes();
        assert_eq!(bytes.len(), 5 + 2 * 22 + 3 * 26 + 38 + 8);
        assert_eq!(Saved::parse(&bytes), Ok(saved()));
        assert_eq!((saved().nodes(), saved().addrs().count()), (4, 4));
    }

    #[test]
    fn damage_of_any_kind_is_noticed() {
        let bytes = saved().to_bytes();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Saved::parse(&bad).is_err(), "byte {at}");
            assert!(Saved::parse(&bytes[..at]).is_err(), "cut at {at}");
        }
        let mut crowd = bytes;
        crowd[25..27].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(Saved::parse(&crowd), Err(SavedError::TooMany(65_535)));
    }
}
