//! A coordinator's service over the simulated network.

use std::sync::Arc;

use async_trait::async_trait;
use dfs_core::api::{
    BadCopy, BeginPut, ClusterStatus, Commit, Committed, CoordinatorService, FileMap, Heartbeat,
    HeartbeatReply, List, ListPage, ListUnknown, Lookup, NodeReport, Place, Remove, Removed,
    Rename, Rescued, Result, Retarget, StripePlacement, Target, UnknownPage, UploadGrant, Usage,
};
use dfs_core::id::{ClientNumber, ClusterId, FileId, Handle, NodeId, SessionId};

use super::CALL_DEADLINE;
use super::path::Path;
use crate::host::Host;

type Service = Arc<dyn CoordinatorService>;

/// See the module's text.
pub(super) struct CoordinatorLink(Path);

impl CoordinatorLink {
    pub(super) fn new(path: Path) -> Self {
        Self(path)
    }

    async fn ask<T: Send + 'static, F>(
        &self,
        what: &'static str,
        ask: impl FnOnce(Service) -> F + Clone + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.0.call(what, CALL_DEADLINE, Host::coordinator, ask).await
    }
}

#[async_trait]
impl CoordinatorService for CoordinatorLink {
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        let path = self.0.clone();
        let ask = |to: Service| async move {
            let heard = path.hearing(&heartbeat);
            heard.answered(to.heartbeat(heartbeat).await)
        };
        self.ask("heartbeat", ask).await
    }

    async fn leave(&self, cluster: ClusterId, node: NodeId, session: SessionId) -> Result<()> {
        let ask = move |to: Service| async move { to.leave(cluster, node, session).await };
        self.ask("leave", ask).await
    }

    async fn begin_put(&self, request: BeginPut) -> Result<UploadGrant> {
        let request = BeginPut { from: Some(self.0.caller_name().to_owned()), ..request };
        self.ask("begin_put", |to: Service| async move { to.begin_put(request).await }).await
    }

    async fn place(&self, request: Place) -> Result<Vec<StripePlacement>> {
        let path = self.0.clone();
        let ask = |to: Service| async move {
            let placed = to.place(request).await;
            path.placed(placed.as_deref().unwrap_or_default());
            placed
        };
        self.ask("place", ask).await
    }

    async fn retarget(&self, request: Retarget) -> Result<Option<Target>> {
        self.ask("retarget", |to: Service| async move { to.retarget(request).await }).await
    }

    async fn client_number(&self) -> Result<ClientNumber> {
        self.ask("client_number", |to: Service| async move { to.client_number().await }).await
    }

    async fn commit(&self, request: Commit) -> Result<Committed> {
        let asked = self.0.request(request.request);
        let ask = |to: Service| async move {
            asked.answered(to.commit(request).await, |stored| format!("file {}", stored.info.id))
        };
        self.ask("commit", ask).await
    }

    async fn abort(&self, upload: FileId) -> Result<()> {
        self.ask("abort", move |to: Service| async move { to.abort(upload).await }).await
    }

    async fn lookup(&self, request: Lookup) -> Result<FileMap> {
        self.ask("lookup", |to: Service| async move { to.lookup(request).await }).await
    }

    async fn list(&self, request: List) -> Result<ListPage> {
        self.ask("list", |to: Service| async move { to.list(request).await }).await
    }

    async fn remove(&self, request: Remove) -> Result<Removed> {
        let asked = self.0.request(request.request);
        let ask = |to: Service| async move {
            let sum = |gone: &Removed| format!("{} files, {} bytes", gone.files, gone.bytes);
            asked.answered(to.remove(request).await, sum)
        };
        self.ask("remove", ask).await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        let asked = self.0.request(request.request);
        let ask = |to: Service| async move {
            asked.answered(to.rename(request).await, |()| "renamed".to_owned())
        };
        self.ask("rename", ask).await
    }

    async fn usage(&self, prefix: String) -> Result<Usage> {
        self.ask("usage", |to: Service| async move { to.usage(prefix).await }).await
    }

    async fn status(&self) -> Result<ClusterStatus> {
        self.ask("status", |to: Service| async move { to.status().await }).await
    }

    async fn report_bad(&self, report: BadCopy) -> Result<()> {
        self.ask("report_bad", |to: Service| async move { to.report_bad(report).await }).await
    }

    async fn list_unknown(&self, request: ListUnknown) -> Result<UnknownPage> {
        self.ask("list_unknown", |to: Service| async move { to.list_unknown(request).await }).await
    }

    async fn release_kept(&self, first: Handle, end: Handle) -> Result<()> {
        let ask = move |to: Service| async move { to.release_kept(first, end).await };
        self.ask("release_kept", ask).await
    }

    async fn rescue(&self, folder: String) -> Result<Rescued> {
        self.ask("rescue", |to: Service| async move { to.rescue(folder).await }).await
    }

    async fn report_nodes(&self, reports: Vec<NodeReport>) -> Result<()> {
        self.ask("report_nodes", |to: Service| async move { to.report_nodes(reports).await }).await
    }
}
