//! Put: begin, write every stripe, commit; or leave nothing.

mod copy;
mod row;
mod seekable;
mod stream;
mod stripe;
mod upload;

use std::time::Duration;

use tokio::time::sleep;

use self::upload::{PutError, Upload};
use super::call::Backoff;
use super::{Client, ClientError, Progress, PutSummary, Source};
use crate::api::{BeginPut, Kind, PolicyOverrides, PutMode, SealedStripe};
use crate::env::{self, Work};
use crate::name::FileName;

/// How often a put begins anew because the coordinator restarted under it.
const RESTARTS_MAX: u32 = 3;

/// How often the coordinator hears of an upload, whatever its source does.
const UPLOAD_RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

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
    /// Let a stream without a byte replace a file. Such a stream is mostly a
    /// command that failed.
    pub allow_empty: bool,
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
    mut options: PutOptions,
    progress: &Progress,
) -> Result<PutSummary, ClientError> {
    let mut restarts = 0;
    let mut is_guarded = false;
    let mut backoff = Backoff::new();
    loop {
        let lost = match attempt(client, &mut source, &options, progress).await {
            Ok(summary) => return Ok(PutSummary { restarts, ..summary }),
            // A stream stays at its end: the same attempt again stores an
            // empty file, but only where none is.
            Err(PutError::EmptyStream) => {
                options.mode = PutMode::IfAbsent;
                is_guarded = true;
                continue;
            }
            Err(PutError::Failed(error)) if is_guarded && error.kind == Kind::Exists => {
                return Err(ClientError::new(
                    Kind::Exists,
                    format!(
                        "the source ended without a single byte, and an empty stream replaces no \
                         file: {} stays as it is; check the command that feeds the put, or add \
                         --allow-empty",
                        options.name
                    ),
                ));
            }
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
        from: None,
    };
    // An upload that was opened by an answer that got lost lapses by itself.
    let grant = client.call(|coordinator| begin(coordinator, request.clone())).await?;
    let (upload, first) = Upload::new(client, grant, options, size);
    let write = async {
        match source {
            Source::Seekable { file, len, .. } => {
                seekable::write(&upload, file.clone(), *len, first, progress).await
            }
            Source::Stream(stream) => stream::write(&upload, &mut **stream, progress).await,
        }
    };
    // The source may be slow, or pause for hours.
    let written = tokio::select! {
        biased;
        written = write => written,
        lost = renew(&upload) => Err(lost),
    };
    upload.tell_of_nodes().await;
    let checked = match written {
        Ok(written) => check(client, source, options, &written).await.map(|()| written),
        Err(error) => Err(error),
    };
    match checked {
        Ok(written) => upload.commit(written).await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// Tells the coordinator from time to time that the upload is not left alone.
/// Returns when it is lost.
async fn renew(upload: &Upload<'_>) -> PutError {
    loop {
        sleep(UPLOAD_RENEWAL_INTERVAL).await;
        match upload.place(0, Vec::new(), Vec::new()).await {
            Err(PutError::Lost(error)) => return PutError::Lost(error),
            Err(error) => tracing::debug!(?error, "the upload could not be renewed"),
            Ok(_) => {}
        }
    }
}

/// Fails when what was written is not what the source was, or may not be
/// committed: after the commit it would be too late.
async fn check(
    client: &Client,
    source: &mut Source,
    options: &PutOptions,
    written: &Written,
) -> Result<(), PutError> {
    let change = match source {
        Source::Seekable { check: None, .. } => Ok(None),
        Source::Seekable { check: Some(check), .. } => {
            let check = check.clone();
            env::run(&*client.env.pool, Work::Disk, move || check.change()).await
        }
        Source::Stream(stream) => {
            if written.size == 0 && options.mode == PutMode::Replace && !options.allow_empty {
                return Err(PutError::EmptyStream);
            }
            stream.change().await
        }
    };
    match change.map_err(|error| row::unreadable(&error))? {
        None => Ok(()),
        Some(how) => Err(row::changed(&how)),
    }
}

async fn begin(
    coordinator: std::sync::Arc<dyn crate::api::CoordinatorService>,
    request: BeginPut,
) -> crate::api::Result<crate::api::UploadGrant> {
    coordinator.begin_put(request).await
}
