//! Put.

use super::{Client, ClientError, Progress, PutSummary, Source};
use crate::api::{Kind, PolicyOverrides, PutMode};
use crate::name::FileName;

/// What to store, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOptions {
    /// Under which name.
    pub name: FileName,
    /// What differs from the cluster's policy.
    pub policy: PolicyOverrides,
    /// What to do when the name is taken.
    pub mode: PutMode,
    /// Refuse to store with fewer copies than the policy names.
    pub is_strict: bool,
    /// Take a placement that cannot keep the policy's promise.
    pub allow_unsafe: bool,
}

pub(super) async fn put(
    _client: &Client,
    _source: Source,
    _options: PutOptions,
    _progress: &Progress,
) -> Result<PutSummary, ClientError> {
    Err(ClientError::new(Kind::NotSupported, "put is not built yet"))
}
