//! The coordinator in another process.

use async_trait::async_trait;
use dfs_core::api::{
    BadCopy, BeginPut, ClusterStatus, Commit, Committed, CoordinatorService, FileMap, Heartbeat,
    HeartbeatReply, List, ListPage, ListUnknown, Lookup, NodeReport, Place, Remove, Removed,
    Rename, Rescued, Result, Retarget, StripePlacement, Target, UnknownPage, UploadGrant, Usage,
};
use dfs_core::id::{ClientNumber, ClusterId, FileId, Handle, NodeId, SessionId};
use tonic::transport::Channel;

use super::peer::{Line, Peer};
use crate::grpc::convert::{maybe, member, put, read};
use crate::grpc::limit::{CALL_TIMEOUT, COORDINATOR_MESSAGE_BYTES_MAX, RESCUE_TIMEOUT};
use crate::grpc::wire;
use crate::grpc::wire::coordinator_client::CoordinatorClient;
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;

/// The coordinator that listens at some address.
pub struct CoordinatorStub {
    peer: Peer,
}

impl CoordinatorStub {
    pub(super) fn new(line: Line, address: &str) -> Self {
        Self { peer: Peer::new(line, "coordinator", address) }
    }

    fn client(&self) -> Result<CoordinatorClient<Channel>> {
        let client = CoordinatorClient::new(self.peer.channel()?);
        Ok(client.max_decoding_message_size(COORDINATOR_MESSAGE_BYTES_MAX))
    }
}

#[async_trait]
impl CoordinatorService for CoordinatorStub {
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        let mut client = self.client()?;
        let call = client.heartbeat(wire::HeartbeatRequest::from(heartbeat));
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn leave(&self, cluster: ClusterId, node: NodeId, session: SessionId) -> Result<()> {
        let mut client = self.client()?;
        let call = client.leave(member::leave_request(cluster, node, session));
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn begin_put(&self, request: BeginPut) -> Result<UploadGrant> {
        let of = |reply| match reply {
            Reply::BeginPut(reply) => Some(reply),
            _ => None,
        };
        let reply = self.peer.ask(CALL_TIMEOUT, Ask::BeginPut(request.into()), of).await?;
        self.peer.take(reply.try_into())
    }

    async fn place(&self, request: Place) -> Result<Vec<StripePlacement>> {
        let mut client = self.client()?;
        let call = client.place(wire::PlaceRequest::from(request));
        self.peer.answer(CALL_TIMEOUT, call, put::placed).await
    }

    async fn retarget(&self, request: Retarget) -> Result<Option<Target>> {
        let mut client = self.client()?;
        let call = client.retarget(wire::RetargetRequest::from(request));
        self.peer.answer(CALL_TIMEOUT, call, |reply| maybe(reply.target)).await
    }

    async fn client_number(&self) -> Result<ClientNumber> {
        let mut client = self.client()?;
        let call = client.client_number(wire::ClientNumberRequest {});
        self.peer.answer(CALL_TIMEOUT, call, |reply| Ok(ClientNumber(reply.client))).await
    }

    async fn commit(&self, request: Commit) -> Result<Committed> {
        let of = |reply| match reply {
            Reply::Commit(reply) => Some(reply),
            _ => None,
        };
        let reply = self.peer.ask(CALL_TIMEOUT, Ask::Commit(request.into()), of).await?;
        self.peer.take(reply.try_into())
    }

    async fn abort(&self, upload: FileId) -> Result<()> {
        let mut client = self.client()?;
        let call = client.abort(wire::AbortRequest { upload: upload.0 });
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn lookup(&self, request: Lookup) -> Result<FileMap> {
        let of = |reply| match reply {
            Reply::Lookup(reply) => Some(reply),
            _ => None,
        };
        let reply = self.peer.ask(CALL_TIMEOUT, Ask::Lookup(request.into()), of).await?;
        self.peer.take(reply.try_into())
    }

    async fn list(&self, request: List) -> Result<ListPage> {
        let mut client = self.client()?;
        let call = client.list(wire::ListRequest::from(request));
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn remove(&self, request: Remove) -> Result<Removed> {
        let of = |reply| match reply {
            Reply::Remove(reply) => Some(reply),
            _ => None,
        };
        let reply = self.peer.ask(CALL_TIMEOUT, Ask::Remove(request.into()), of).await?;
        self.peer.take(reply.try_into())
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        let mut client = self.client()?;
        let call = client.rename(wire::RenameRequest::from(request));
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn usage(&self, prefix: String) -> Result<Usage> {
        let mut client = self.client()?;
        let call = client.usage(wire::UsageRequest { prefix });
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn status(&self) -> Result<ClusterStatus> {
        let mut client = self.client()?;
        let call = client.status(wire::StatusRequest {});
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn report_bad(&self, report: BadCopy) -> Result<()> {
        let mut client = self.client()?;
        let call = client.report_bad(wire::ReportBadRequest::from(report));
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn list_unknown(&self, request: ListUnknown) -> Result<UnknownPage> {
        let mut client = self.client()?;
        let call = client.list_unknown(wire::ListUnknownRequest::from(request));
        self.peer.answer(CALL_TIMEOUT, call, TryInto::try_into).await
    }

    async fn release_kept(&self, first: Handle, end: Handle) -> Result<()> {
        let mut client = self.client()?;
        let range = Some(wire::HandleRange { first: first.0, end: end.0 });
        let call = client.release_kept(wire::ReleaseKeptRequest { range });
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }

    async fn rescue(&self, folder: String) -> Result<Rescued> {
        let mut client = self.client()?;
        let call = client.rescue(wire::RescueRequest { folder });
        let of =
            |reply: wire::RescueReply| Ok(Rescued { files: reply.files, position: reply.position });
        self.peer.answer(RESCUE_TIMEOUT, call, of).await
    }

    async fn report_nodes(&self, reports: Vec<NodeReport>) -> Result<()> {
        let mut client = self.client()?;
        let call = client.report_nodes(read::node_reports_request(reports));
        self.peer.answer(CALL_TIMEOUT, call, |_| Ok(())).await
    }
}
