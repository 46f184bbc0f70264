//! How documents name the ways in which the origin is used beside peers.

use crate::Policy;
use serde::{Deserialize, Serialize};

/// The names of [`Policy`] in documents.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", remote = "Policy")]
pub enum PolicyName {
    /// It joins whenever the peers alone are slower: never slower than the origin alone.
    Fastest,
    /// A swarm has about one copy from it.
    SpareOrigin,
}

/// A policy that may be left to somebody else, by its name: for `#[serde(with = …)]`.
pub mod own_policy {
    use super::{Policy, PolicyName};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Named(#[serde(with = "PolicyName")] Policy);

    /// Writes its name, or nothing.
    ///
    /// # Errors
    /// As of `to`.
    pub fn serialize<S: Serializer>(policy: &Option<Policy>, to: S) -> Result<S::Ok, S::Error> {
        policy.map(Named).serialize(to)
    }

    /// Reads its name, or nothing.
    ///
    /// # Errors
    /// It is no policy's name.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Policy>, D::Error> {
        Ok(Option::<Named>::deserialize(from)?.map(|Named(policy)| policy))
    }
}
