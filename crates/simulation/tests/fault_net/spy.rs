//! A real node, with a note of every call that it was given and of how every
//! write's stream ended there.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use dfs_core::api::{
    Adopt, ChunkRead, Context, Hello, InventoryPage, NodeInfo, NodeService, ReadRequest,
    RebuildTask, Receipt, Result, WriteHeader, WriteStream,
};
use dfs_core::id::Handle;
use dfs_core::node::Node;
use futures_util::StreamExt;

pub(crate) struct Spy {
    pub(crate) node: Arc<Node>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, notes: Arc::default() }
    }

    /// What was noted so far, in order.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn note(&self, what: String) {
        self.lock().push(what);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.notes.lock().expect("one thread")
    }
}

#[async_trait]
impl NodeService for Spy {
    async fn hello(&self) -> Result<Hello> {
        self.node.hello().await
    }

    async fn release(&self, context: Context) -> Result<()> {
        self.node.release(context).await
    }

    async fn adopt(&self, request: Adopt) -> Result<NodeInfo> {
        self.note("adopt".to_owned());
        self.node.adopt(request).await
    }

    async fn write_chunk(&self, header: WriteHeader, parts: WriteStream) -> Result<()> {
        self.note(format!("write {}", header.chunk.handle.0));
        let notes = self.notes.clone();
        let parts = parts.inspect(move |part| {
            if let Err(error) = part {
                notes.lock().expect("one thread").push(format!("stream: {error}"));
            }
        });
        self.node.write_chunk(header, parts.boxed()).await
    }

    async fn read_chunk(&self, request: ReadRequest) -> Result<ChunkRead> {
        self.note(format!("read {}", request.handle.0));
        self.node.read_chunk(request).await
    }

    async fn delete_chunks(&self, context: Context, handles: Vec<Handle>) -> Result<()> {
        self.note(format!("delete {}", handles[0].0));
        self.node.delete_chunks(context, handles).await
    }

    async fn rebuild_chunk(&self, context: Context, task: RebuildTask) -> Result<Receipt> {
        self.note("rebuild".to_owned());
        self.node.rebuild_chunk(context, task).await
    }

    async fn inventory(&self, context: Context, after: Option<Handle>) -> Result<InventoryPage> {
        self.note("inventory".to_owned());
        self.node.inventory(context, after).await
    }

    async fn verify_chunk(&self, context: Context, handle: Handle) -> Result<Receipt> {
        self.note(format!("verify {}", handle.0));
        self.node.verify_chunk(context, handle).await
    }
}
