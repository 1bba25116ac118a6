//! What others ask of a node. Who may ask is checked here, before anything.

use std::sync::Arc;

use async_trait::async_trait;

use super::role::Node;
use crate::api::{
    Adopt, ChunkRead, Context, Error, HANDLES_PER_CALL_MAX, Hello, InventoryPage, Kind, NodeInfo,
    NodeService, ReadRequest, RebuildTask, Receipt, Result, WriteHeader, WriteStream,
};
use crate::env::HardPlace;
use crate::id::Handle;

#[async_trait]
impl NodeService for Node {
    async fn hello(&self) -> Result<Hello> {
        Ok(self.membership.hello())
    }

    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        self.membership.adopt(request).await
    }

    async fn release(&self, context: Context) -> Result<()> {
        self.membership.release(context)
    }

    async fn write_chunk(&self, header: WriteHeader, parts: WriteStream) -> Result<()> {
        self.membership.check_order(header.context)?;
        self.membership.check_takes_chunks()?;
        self.membership.check_handle(header.chunk.handle)?;
        self.volume.check_takes_chunks()?;
        let WriteHeader { context, chunk } = header;
        if chunk.cluster != context.cluster {
            let text = format!("chunk {} names another cluster than its upload", chunk.handle);
            return Err(Error::new(Kind::WrongIdentity, text));
        }
        let handle = chunk.handle;
        self.take(chunk, parts).await?;
        if self.env.is_hard_once_in(8, HardPlace::FailAfterWrite) {
            let text = format!("chunk {handle} was written, and this world says that it was not");
            return Err(Error::new(Kind::Unavailable, text));
        }
        Ok(())
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        self.membership.check_reader(request.cluster)?;
        self.hand_out(request).await
    }

    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()> {
        self.membership.check_order(context)?;
        if handles.len() > HANDLES_PER_CALL_MAX {
            let text = format!(
                "{} chunks are to be deleted in one call, at most {HANDLES_PER_CALL_MAX} can be",
                handles.len()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        self.store.delete(handles).await
    }

    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt> {
        self.membership.check_order(context)?;
        self.membership.check_handle(task.chunk.handle)?;
        if task.chunk.cluster != context.cluster {
            let text = format!("chunk {} names another cluster than its task", task.chunk.handle);
            return Err(Error::new(Kind::WrongIdentity, text));
        }
        self.volume.check_takes_chunks()?;
        self.rebuild(task).await
    }

    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage> {
        self.membership.check_reader(context.cluster)?;
        Ok(self.store.inventory(after))
    }

    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt> {
        self.membership.check_reader(context.cluster)?;
        let _turn = self.turn(&self.reads, 1).await?;
        let (store, cluster) = (Arc::clone(&self.store), context.cluster);
        self.on_disk(move || {
            let image = store.open_image(cluster, handle)?;
            store.verify(&image)?;
            Ok(Receipt { handle, seal: image.seal(), bytes_pulled: 0, from_parity: false })
        })
        .await
    }
}
