//! The client: put and get, and the only place that hashes, compresses and
//! encodes for writing.
//!
//! File bytes go straight to and from the nodes; the coordinator is asked for
//! names and layouts only. Whatever the file's size, a bounded number of
//! frames is held ([`window`]); a put that fails leaves nothing visible; a get
//! hands on no byte that failed a checksum and never mixes two versions.
//! Not here: walking folders, many files at once, drawing progress bars.

mod buffer;
mod call;
mod error;
mod get;
mod pace;
mod progress;
mod put;
mod request;
mod settings;
mod sink;
mod source;
mod summary;
mod unknown;
pub mod window;

use std::ops::Range;
use std::sync::Arc;

pub use error::ClientError;
pub use get::first_choice;
pub use progress::Progress;
pub use put::PutOptions;
pub use request::Doubt;
pub use settings::ClientSettings;
pub use sink::Sink;
pub use source::{Source, SourceCheck, StreamSource};
pub use summary::{ChunkNote, CopyLeft, CopyReplaced, GetSummary, NOTES_MAX, NoteHow, PutSummary};

use crate::api::CoordinatorService;
use crate::env::Env;
use crate::name::FileName;

/// Stores and fetches files. Cheap to clone; one serves many files at once,
/// but each put and each get has a memory budget of its own.
#[derive(Clone)]
pub struct Client {
    env: Env,
    coordinator: Arc<dyn CoordinatorService>,
    settings: ClientSettings,
    /// The coordinator's address, for messages.
    address: Option<Arc<str>>,
    buffers: Arc<buffer::FrameBuffers>,
    numbers: Arc<request::Numbers>,
    outage: Arc<call::Outage>,
    paces: Arc<pace::Paces>,
}

impl Client {
    /// A client of the cluster behind `coordinator`. Nothing is sent yet.
    pub fn new(
        env: Env,
        coordinator: Arc<dyn CoordinatorService>,
        settings: ClientSettings,
    ) -> Self {
        Self {
            env,
            coordinator,
            settings,
            address: None,
            buffers: Arc::default(),
            numbers: Arc::default(),
            outage: Arc::default(),
            paces: Arc::default(),
        }
    }

    /// Names the coordinator's address in messages.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The coordinator as it is; see [`Client::call`] for calls that try again.
    #[must_use]
    pub fn coordinator(&self) -> &Arc<dyn CoordinatorService> {
        &self.coordinator
    }

    /// Stores all bytes of `source` under a name. Returns when they are
    /// durable and visible; when it fails, nothing is visible, except after
    /// `NotKnown`.
    ///
    /// # Errors
    /// Kinds as the coordinator gives them (`Exists`, `Insufficient`, …);
    /// `Exists` also when a stream has no byte and would replace a file;
    /// `Internal` when the source could not be read, or changed while it was
    /// read; `Unavailable` when the coordinator did not answer before the
    /// commit, or restarted under a source that cannot be read twice;
    /// `NotKnown` when it did not answer the commit.
    pub async fn put(
        &self,
        source: Source,
        options: PutOptions,
        progress: &Progress,
    ) -> Result<PutSummary, ClientError> {
        put::put(self, source, options, progress).await
    }

    /// Fetches a file, or the bytes of `range` that it has, into `sink`.
    ///
    /// A chunk that is read whole is held to its SHA-256; of a chunk that is
    /// read in part only, every frame is held to its CRC32C.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, or one that was removed while it was
    /// read; `Unavailable` when it was replaced while it was read, or too few
    /// of its nodes can be reached; `Integrity` when its bytes are lost or damaged beyond
    /// what its policy survives; `Internal` when `sink` failed.
    pub async fn get(
        &self,
        name: &FileName,
        range: Option<Range<u64>>,
        sink: &mut dyn Sink,
        progress: &Progress,
    ) -> Result<GetSummary, ClientError> {
        get::get(self, name, range, sink, progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(future: T) -> T {
        future
    }

    /// Callers run many files at once on a runtime of several threads.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn puts_and_gets_may_run_on_any_thread(
        client: &Client,
        source: Source,
        options: PutOptions,
        sink: &mut dyn Sink,
        progress: &Progress,
    ) {
        let name = options.name.clone();
        let _ = is_send(client.put(source, options, progress)).await;
        let _ = is_send(client.get(&name, None, sink, progress)).await;
    }
}
