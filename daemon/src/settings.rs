//! `GET` and `PATCH /v1/settings`: what may change while the daemon runs.

use crate::answer::Refusal;
use serde::{Deserialize, Deserializer, Serialize};
#[cfg(test)]
use zest_runtime_tokio::PolicyName;
use zest_runtime_tokio::{Giving, Limits, Policy, Session, own_policy};

/// All settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Settings {
    /// Caps, and how the origin is used.
    #[serde(flatten)]
    pub limits: Limits,
    /// Who may be given to.
    pub giving: Giving,
}

/// Changes; what is left out stays. A cap that is null is lifted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    /// As [`Limits::policy`].
    #[serde(default, with = "own_policy")]
    #[cfg_attr(test, schemars(with = "Option<PolicyName>"))]
    policy: Option<Policy>,
    #[serde(default, deserialize_with = "given")]
    max_upload: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    max_download: Option<Option<u64>>,
    /// As [`Limits::nice`].
    #[serde(default)]
    nice: Option<bool>,
    #[serde(default)]
    giving: Option<Giving>,
}

/// Tells null from nothing at all.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(from).map(Some)
}

impl Settings {
    /// Those of now.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self { limits: session.limits(), giving: session.given_to() }
    }
}

impl SettingsPatch {
    /// Changes them: all of it, or nothing.
    pub(crate) fn apply(self, session: &Session) -> Result<Settings, Refusal> {
        let mut limits = session.limits();
        if let Some(policy) = self.policy {
            limits.policy = policy;
        }
        limits.max_upload = self.max_upload.unwrap_or(limits.max_upload);
        limits.max_download = self.max_download.unwrap_or(limits.max_download);
        limits.nice = self.nice.unwrap_or(limits.nice);
        session.set_limits(limits).map_err(|error| Refusal::usage(error.to_string()))?;
        if let Some(giving) = self.giving {
            session.give(giving);
        }
        Ok(Settings::of(session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_null_is_told_from_what_is_left_out() {
        let patch: SettingsPatch =
            serde_json::from_str(r#"{"max_upload":null,"policy":"spare-origin"}"#).expect("good");
        assert_eq!((patch.max_upload, patch.max_download, patch.giving), (Some(None), None, None));
        assert_eq!((patch.policy, patch.nice), (Some(Policy::SpareOrigin), None));
        for wrong in
            [r#"{"max_uplaod":1}"#, r#"{"policy":"slow"}"#, r#"{"max_upload":-1}"#, r#"{"giving":"all"}"#]
        {
            assert!(serde_json::from_str::<SettingsPatch>(wrong).is_err(), "{wrong}");
        }
    }
}
