//! A node's service over the simulated network.

use std::sync::Arc;

use async_trait::async_trait;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Hello, InventoryPage, NodeInfo, NodeService, ReadRequest,
    RebuildTask, Receipt, Result, WriteHeader, WriteStream,
};
use dfs_core::id::Handle;

use super::path::Path;
use super::{CALL_DEADLINE, LONG_CALL_DEADLINE, read, write};
use crate::host::Host;

type Service = Arc<dyn NodeService>;

/// See the module's text.
pub(super) struct NodeLink(Path);

impl NodeLink {
    pub(super) fn new(path: Path) -> Self {
        Self(path)
    }
}

#[async_trait]
impl NodeService for NodeLink {
    async fn hello(&self) -> Result<Hello> {
        let ask = |node: Service| async move { node.hello().await };
        self.0.call("hello", CALL_DEADLINE, Host::node, ask).await
    }

    async fn release(&self, context: Context) -> Result<()> {
        let ask = move |node: Service| async move { node.release(context).await };
        self.0.call("release", CALL_DEADLINE, Host::node, ask).await
    }

    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        let (path, run) = (self.0.clone(), request.context.run);
        let ask = move |node: Service| async move {
            let order = path.order("adopt", run);
            order.answered(node.adopt(request).await)
        };
        self.0.call("adopt", CALL_DEADLINE, Host::node, ask).await
    }

    async fn write_chunk(&self, header: WriteHeader, parts: WriteStream) -> Result<()> {
        write::write_chunk(&self.0, header, parts).await
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        read::read_chunk(&self.0, request).await
    }

    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()> {
        self.0.note_deleted(&handles);
        let ordered = self.0.order_deletion(context.run, &handles);
        let told_ms = self.0.net().told_ms(&self.0.to().name);
        let path = self.0.clone();
        let ask = move |node: Service| async move {
            let order = path.order("delete_chunks", context.run);
            let deleted = handles.clone();
            let answer = order.answered(node.delete_chunks(context, handles).await);
            if answer.is_ok() {
                path.note_deletions(deleted, told_ms);
            }
            answer
        };
        let answer = self.0.call("delete_chunks", CALL_DEADLINE, Host::node, ask).await;
        if answer.is_ok() {
            ordered.confirmed();
        }
        answer
    }

    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt> {
        let began_ms = crate::trace::elapsed_ms();
        let (copies, stripe) = (task.copies.clone(), task.stripe.clone());
        let path = self.0.clone();
        let _order = self.0.order_rebuild(context.run, &task, self.0.address());
        let ask = move |node: Service| async move {
            let order = path.order("rebuild_chunk", context.run);
            let handle = task.chunk.handle;
            let receipt = order.answered(node.rebuild_chunk(context, task).await);
            if receipt.is_ok() {
                path.note_made(handle);
            }
            receipt
        };
        let receipt = self.0.call("rebuild_chunk", LONG_CALL_DEADLINE, Host::node, ask).await?;
        let sources = match receipt.from_parity {
            true => stripe.into_iter().flat_map(|member| member.copies).collect(),
            false => copies,
        };
        self.0.note_rebuilt(began_ms, sources, &receipt);
        Ok(receipt)
    }

    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage> {
        let _telling = self.0.telling(&self.0.to().name);
        let ask = move |node: Service| async move { node.inventory(context, after).await };
        self.0.call("inventory", CALL_DEADLINE, Host::node, ask).await
    }

    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt> {
        let ask = move |node: Service| async move { node.verify_chunk(context, handle).await };
        self.0.call("verify_chunk", LONG_CALL_DEADLINE, Host::node, ask).await
    }
}
