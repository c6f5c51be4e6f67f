//! The warm pool of an Agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, default_revision};

/// Started pods that wait for attempts. An attempt gets one of them if its own pod would be the same; otherwise it gets its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmPool {
    /// Number of waiting pods.
    #[schemars(range(min = 0, max = 50))]
    pub size: u16,
    /// Repository that the pods fetch while they wait. Only attempts of plans with this repository and credential get the pods. Without a
    /// repository, only those of plans without a workspace do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<PoolRepository>,
}

/// A repository that waiting pods fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolRepository {
    /// URL, as in `spec.workspace.url` of the plans.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Branch, tag or commit that is fetched. Attempts fetch what is newer. Default: main.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 255))]
    pub revision: String,
    /// Secret with the Git credential, as in `spec.workspace.credentialsSecretRef` of the plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
}

/// The pods of a warm pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmPoolStatus {
    /// Number of pods that wait for an attempt.
    #[serde(default)]
    pub ready: u32,
    /// Number of pods that start.
    #[serde(default)]
    pub starting: u32,
    /// Number of pods that attempts got so far.
    #[serde(default)]
    pub used: u64,
    /// Why the pool has fewer pods than its size, if something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
