//! Chunks on nodes that the catalog does not know: which they are, and what
//! their headers say that they were.

use std::time::Duration;

use tokio::time::timeout;

use super::Client;
use crate::api::{Error, Kind, ListUnknown, ReadRequest, Result, UnknownCopy, UnknownPage};
use crate::data::chunk::ChunkHeader;
use crate::id::{ClusterId, Handle, NodeId};

/// How long a node has to give a header.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

impl Client {
    /// The page of unknown copies behind `after`.
    ///
    /// # Errors
    /// As the coordinator gives them.
    pub async fn unknown_page(&self, after: Option<(NodeId, Handle)>) -> Result<UnknownPage> {
        self.call(|coordinator| {
            let request = ListUnknown { after: after.clone() };
            async move { coordinator.list_unknown(request).await }
        })
        .await
    }

    /// What the copy's header says that its chunk is. No byte of its content
    /// is read, and none is verified.
    ///
    /// # Errors
    /// As the node gives them; `Unavailable` when it does not answer in time.
    pub async fn header_of(&self, cluster: ClusterId, copy: &UnknownCopy) -> Result<ChunkHeader> {
        let node = self.env.peers.node(&copy.address);
        let request = ReadRequest { cluster, handle: copy.handle, frames: 0..0 };
        match timeout(HEADER_WITHIN, node.read_chunk(request)).await {
            Ok(read) => Ok(read?.header),
            Err(_elapsed) => {
                let seconds = HEADER_WITHIN.as_secs();
                let text = format!("node {} did not answer within {seconds} s", copy.node);
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }

    /// Lets go of a kept range of handles, `first` to below `end`.
    ///
    /// # Errors
    /// `NotFound` when no such range is kept.
    pub async fn release_kept(&self, first: Handle, end: Handle) -> Result<()> {
        self.call(|coordinator| async move { coordinator.release_kept(first, end).await }).await
    }
}
