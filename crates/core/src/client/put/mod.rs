//! Put: begin, write every stripe, commit; or leave nothing.

mod copy;
mod row;
mod seekable;
mod stream;
mod stripe;
mod upload;

use tokio::time::sleep;

use self::upload::{PutError, Upload};
use super::call::Backoff;
use super::{Client, ClientError, Progress, PutSummary, Source};
use crate::api::{BeginPut, Kind, PolicyOverrides, PutMode, SealedStripe};
use crate::name::FileName;

/// How often a put begins anew because the coordinator restarted under it.
const RESTARTS_MAX: u32 = 3;

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

/// Everything written that [`crate::api::CoordinatorService::commit`] must know.
struct Written {
    /// Bytes of the file.
    size: u64,
    /// Stripes in it.
    stripes: u64,
    /// Those of them that were not told yet.
    sealed: Vec<SealedStripe>,
}

pub(super) async fn put(
    client: &Client,
    mut source: Source,
    options: PutOptions,
    progress: &Progress,
) -> Result<PutSummary, ClientError> {
    let mut restarts = 0;
    let mut backoff = Backoff::new();
    loop {
        let lost = match attempt(client, &mut source, &options, progress).await {
            Ok(summary) => return Ok(PutSummary { restarts, ..summary }),
            Err(PutError::Failed(error)) => return Err(error),
            Err(PutError::Lost(error)) => error,
        };
        if matches!(source, Source::Stream(_)) {
            return Err(ClientError::new(
                Kind::Unavailable,
                format!(
                    "the upload of {} was lost ({lost}), and its source cannot be read twice: \
                     put it again",
                    options.name
                ),
            ));
        }
        if restarts == RESTARTS_MAX {
            return Err(ClientError::new(
                Kind::Unavailable,
                format!("the upload of {} was lost {} times: {lost}", options.name, restarts + 1),
            ));
        }
        restarts += 1;
        tracing::warn!(name = %options.name, %lost, restarts, "the upload was lost, beginning anew");
        sleep(backoff.next(&*client.env.random)).await;
    }
}

/// One upload from its begin to its commit.
async fn attempt(
    client: &Client,
    source: &mut Source,
    options: &PutOptions,
    progress: &Progress,
) -> Result<PutSummary, PutError> {
    let size = match source {
        Source::Seekable { len, .. } => Some(*len),
        Source::Stream(_) => None,
    };
    progress.begin(size.unwrap_or(0));
    let request = BeginPut {
        name: options.name.clone(),
        size,
        policy: options.policy,
        mode: options.mode,
        is_strict: options.is_strict,
        allow_unsafe: options.allow_unsafe,
    };
    // An upload that was opened by an answer that got lost lapses by itself.
    let grant = client.call(|coordinator| begin(coordinator, request.clone())).await?;
    let (upload, first) = Upload::new(client, grant, options, size);
    let written = match source {
        Source::Seekable { file, len } => {
            seekable::write(&upload, file.clone(), *len, first, progress).await
        }
        Source::Stream(stream) => stream::write(&upload, &mut **stream, progress).await,
    };
    match written {
        Ok(written) => upload.commit(written).await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn begin(
    coordinator: std::sync::Arc<dyn crate::api::CoordinatorService>,
    request: BeginPut,
) -> crate::api::Result<crate::api::UploadGrant> {
    coordinator.begin_put(request).await
}
