//! `GET /v1/openapi.json`: the API as a document (OpenAPI 3.1). Its schemas are those of the types that answers are
//! written with.

#[cfg(test)]
mod making;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::LazyLock;

/// The document, which a test compares with the types: what makes it would be a third of a megabyte of every program.
const DOCUMENT: &str = include_str!("openapi.json");

/// Life, and on a nonce the proof of who answers.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Health {
    /// `ok`, or `stopping`.
    pub(crate) status: &'static str,
    /// HMAC-SHA-256 of the nonce under the secret's hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
    /// The same of `port PORT`, a line feed and the nonce: believe this one, with the port that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof_at: Option<String>,
}

/// What opens the dashboard, once.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    /// Random.
    pub(crate) code: String,
    /// For how long it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
}

/// What a page of the dashboard asks with from then on.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Bearer {
    /// In place of the secret, as long as the daemon runs.
    pub(crate) bearer: String,
}

/// The document, read when it is first asked for.
///
/// # Panics
/// Never: a test reads it.
pub(crate) fn document() -> &'static Value {
    static READ: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(DOCUMENT).expect("a test reads it"));
    &READ
}
