//! The coordinator behind gRPC.

use std::sync::Arc;

use async_trait::async_trait;
use dfs_core::api::{BeginPut, CoordinatorService, Rescued};
use dfs_core::id::{FileId, Handle};
use futures_util::FutureExt;
use tonic::{Request, Response, Status};

use super::call::{Calls, checked, not_taken, well_formed};
use super::share;
use super::short::Serve;
use crate::grpc::convert::{folder_path, member, prefix, put, read};
use crate::grpc::wire::short_answer::Reply;
use crate::grpc::wire::short_call::Ask;
use crate::grpc::wire::{self, coordinator_server};

type Answer<T> = Result<Response<T>, Status>;

/// The generated service in front of the role.
pub(super) struct Adapter {
    service: Arc<dyn CoordinatorService>,
    calls: Calls,
}

impl Adapter {
    pub(super) fn new(service: Arc<dyn CoordinatorService>, calls: Calls) -> Self {
        Self { service, calls }
    }
}

/// The short calls that a coordinator takes.
pub(super) fn short(service: Arc<dyn CoordinatorService>) -> Serve {
    Arc::new(move |ask| {
        let service = service.clone();
        let reply = async move {
            Ok(match ask {
                Ask::BeginPut(request) => Reply::BeginPut(
                    service.begin_put(from_peer(well_formed(request.try_into())?)).await?.into(),
                ),
                Ask::Commit(request) => {
                    Reply::Commit(service.commit(well_formed(request.try_into())?).await?.into())
                }
                Ask::Lookup(request) => {
                    Reply::Lookup(service.lookup(well_formed(request.try_into())?).await?.into())
                }
                Ask::Remove(request) => {
                    Reply::Remove(service.remove(well_formed(request.try_into())?).await?.into())
                }
                Ask::Write(_) | Ask::Read(_) => return Err(not_taken("coordinator")),
            })
        };
        reply.boxed()
    })
}

#[async_trait]
impl coordinator_server::Coordinator for Adapter {
    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Answer<wire::HeartbeatReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        self.calls.answer(async move { service.heartbeat(request).await }, Into::into).await
    }

    async fn leave(&self, request: Request<wire::LeaveRequest>) -> Answer<wire::LeaveReply> {
        let (cluster, node, session) = checked(member::leaving(request.into_inner()))?;
        let service = self.service.clone();
        let call = async move { service.leave(cluster, node, session).await };
        self.calls.answer(call, |()| wire::LeaveReply {}).await
    }

    async fn place(&self, request: Request<wire::PlaceRequest>) -> Answer<wire::PlaceReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        self.calls.answer(async move { service.place(request).await }, put::place_reply).await
    }

    async fn retarget(
        &self,
        request: Request<wire::RetargetRequest>,
    ) -> Answer<wire::RetargetReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        let call = async move { service.retarget(request).await };
        let reply = |target: Option<_>| wire::RetargetReply { target: target.map(Into::into) };
        self.calls.answer(call, reply).await
    }

    async fn abort(&self, request: Request<wire::AbortRequest>) -> Answer<wire::AbortReply> {
        let upload = FileId(request.into_inner().upload);
        let service = self.service.clone();
        let call = async move { service.abort(upload).await };
        self.calls.answer(call, |()| wire::AbortReply {}).await
    }

    async fn list(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        self.calls.answer(async move { service.list(request).await }, Into::into).await
    }

    async fn rename(&self, request: Request<wire::RenameRequest>) -> Answer<wire::RenameReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        let call = async move { service.rename(request).await };
        self.calls.answer(call, |()| wire::RenameReply {}).await
    }

    async fn client_number(
        &self,
        _: Request<wire::ClientNumberRequest>,
    ) -> Answer<wire::ClientNumberReply> {
        let service = self.service.clone();
        let call = async move { service.client_number().await };
        self.calls.answer(call, |client| wire::ClientNumberReply { client: client.0 }).await
    }

    async fn usage(&self, request: Request<wire::UsageRequest>) -> Answer<wire::UsageReply> {
        let under = checked(prefix("prefix", request.into_inner().prefix))?;
        let service = self.service.clone();
        self.calls.answer(async move { service.usage(under).await }, Into::into).await
    }

    async fn status(&self, _: Request<wire::StatusRequest>) -> Answer<wire::StatusReply> {
        let service = self.service.clone();
        self.calls.answer(async move { service.status().await }, Into::into).await
    }

    async fn report_bad(
        &self,
        request: Request<wire::ReportBadRequest>,
    ) -> Answer<wire::ReportBadReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        let call = async move { service.report_bad(request).await };
        self.calls.answer(call, |()| wire::ReportBadReply {}).await
    }

    async fn list_unknown(
        &self,
        request: Request<wire::ListUnknownRequest>,
    ) -> Answer<wire::ListUnknownReply> {
        let request = checked(request.into_inner().try_into())?;
        let service = self.service.clone();
        self.calls.answer(async move { service.list_unknown(request).await }, Into::into).await
    }

    async fn release_kept(
        &self,
        request: Request<wire::ReleaseKeptRequest>,
    ) -> Answer<wire::ReleaseKeptReply> {
        let range = request.into_inner().range.unwrap_or_default();
        let service = self.service.clone();
        let call =
            async move { service.release_kept(Handle(range.first), Handle(range.end)).await };
        self.calls.answer(call, |()| wire::ReleaseKeptReply {}).await
    }

    async fn rescue(&self, request: Request<wire::RescueRequest>) -> Answer<wire::RescueReply> {
        let folder = checked(folder_path(request.into_inner().folder))?;
        let service = self.service.clone();
        let call = async move { service.rescue(folder).await };
        let reply = |rescued: Rescued| wire::RescueReply {
            files: rescued.files,
            position: rescued.position,
        };
        self.calls.answer(call, reply).await
    }

    async fn report_nodes(
        &self,
        request: Request<wire::ReportNodesRequest>,
    ) -> Answer<wire::ReportNodesReply> {
        let reports = checked(read::node_reports(request.into_inner()))?;
        let service = self.service.clone();
        let call = async move { service.report_nodes(reports).await };
        self.calls.answer(call, |()| wire::ReportNodesReply {}).await
    }
}

/// An upload belongs to whom it is asked by.
fn from_peer(request: BeginPut) -> BeginPut {
    BeginPut { from: share::peer().map(|peer| peer.to_string()), ..request }
}
