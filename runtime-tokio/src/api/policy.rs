//! How documents name the ways in which the origin is used beside peers.

use crate::Policy;
use serde::{Deserialize, Serialize};

/// The names of [`Policy`] in documents.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", remote = "Policy")]
pub(crate) enum PolicyName {
    Fastest,
    SpareOrigin,
}

/// A policy that may be left to somebody else.
pub(crate) mod own_policy {
    use super::{Policy, PolicyName};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Named(#[serde(with = "PolicyName")] Policy);

    pub(crate) fn serialize<S: Serializer>(policy: &Option<Policy>, to: S) -> Result<S::Ok, S::Error> {
        policy.map(Named).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Policy>, D::Error> {
        Ok(Option::<Named>::deserialize(from)?.map(|Named(policy)| policy))
    }
}
