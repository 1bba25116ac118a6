//! The messages of an upload.

use dfs_core::api::{
    BeginPut, Commit, Committed, Place, PutMode, Retarget, STRIPES_PER_CALL_MAX, SealedChunk,
    SealedStripe, StripePlacement, Target, UploadGrant,
};
use dfs_core::id::{ClientNumber, FileId, Handle, RequestId};
use dfs_core::policy::{STRIPE_WIDTH_MAX, StripeShape};

use super::super::limit::{COPIES_MAX, NODES_MAX};
use super::super::wire;
use super::{
    BadMessage, Checked, address, bad, bounded, byte, digest, file_name, id_bytes, list, maybe,
    need, node_id, text, texts, wires,
};

impl From<PutMode> for wire::PutMode {
    fn from(mode: PutMode) -> Self {
        match mode {
            PutMode::IfAbsent => Self::IfAbsent,
            PutMode::Replace => Self::Replace,
        }
    }
}

impl TryFrom<wire::PutMode> for PutMode {
    type Error = BadMessage;

    fn try_from(wire: wire::PutMode) -> Checked<Self> {
        match wire {
            wire::PutMode::IfAbsent => Ok(Self::IfAbsent),
            wire::PutMode::Replace => Ok(Self::Replace),
            wire::PutMode::Unspecified => bad("mode", "is not a known one"),
        }
    }
}

impl From<BeginPut> for wire::BeginPutRequest {
    fn from(request: BeginPut) -> Self {
        Self {
            name: request.name.as_str().to_owned(),
            size_bytes: request.size,
            policy: Some(request.policy.into()),
            mode: wire::PutMode::from(request.mode).into(),
            is_strict: request.is_strict,
            allow_unsafe: request.allow_unsafe,
        }
    }
}

impl TryFrom<wire::BeginPutRequest> for BeginPut {
    type Error = BadMessage;

    fn try_from(wire: wire::BeginPutRequest) -> Checked<Self> {
        Ok(Self {
            mode: wire.mode().try_into()?,
            name: file_name("name", wire.name)?,
            size: wire.size_bytes,
            policy: need("policy", wire.policy)?,
            is_strict: wire.is_strict,
            allow_unsafe: wire.allow_unsafe,
            from: None,
        })
    }
}

impl From<Target> for wire::Target {
    fn from(target: Target) -> Self {
        Self { node: target.node.to_string(), address: target.address }
    }
}

impl TryFrom<wire::Target> for Target {
    type Error = BadMessage;

    fn try_from(wire: wire::Target) -> Checked<Self> {
        Ok(Self {
            node: node_id("target.node", wire.node)?,
            address: address("target.address", wire.address)?,
        })
    }
}

impl From<StripePlacement> for wire::StripePlacement {
    fn from(placement: StripePlacement) -> Self {
        let chunks = placement.targets.into_iter();
        Self {
            index: placement.index,
            first_handle: placement.first_handle.0,
            shape: Some(placement.shape.into()),
            chunks: chunks.map(|it| wire::ChunkTargets { targets: wires(it) }).collect(),
        }
    }
}

impl TryFrom<wire::StripePlacement> for StripePlacement {
    type Error = BadMessage;

    fn try_from(wire: wire::StripePlacement) -> Checked<Self> {
        let shape = need("stripe.shape", wire.shape)?;
        exactly("stripe.chunks", wire.chunks.len(), &shape)?;
        let targets = wire.chunks.into_iter();
        Ok(Self {
            index: wire.index,
            first_handle: Handle(wire.first_handle),
            shape,
            targets: targets
                .map(|it| list("stripe.targets", it.targets, COPIES_MAX))
                .collect::<Checked<_>>()?,
        })
    }
}

/// A stripe's message has as many chunks as its shape.
pub(super) fn exactly(field: &'static str, found: usize, shape: &StripeShape) -> Checked<()> {
    let needed = shape.chunks();
    if found == needed { Ok(()) } else { bad(field, format!("{found} chunks for {shape:?}")) }
}

impl From<UploadGrant> for wire::BeginPutReply {
    fn from(grant: UploadGrant) -> Self {
        Self {
            context: Some(grant.context.into()),
            upload: grant.upload.0,
            policy: Some(grant.policy.into()),
            first: grant.first.map(Into::into),
        }
    }
}

impl TryFrom<wire::BeginPutReply> for UploadGrant {
    type Error = BadMessage;

    fn try_from(wire: wire::BeginPutReply) -> Checked<Self> {
        Ok(Self {
            context: need("context", wire.context)?,
            upload: FileId(wire.upload),
            policy: need("policy", wire.policy)?,
            first: maybe(wire.first)?,
        })
    }
}

impl From<SealedChunk> for wire::SealedChunk {
    fn from(chunk: SealedChunk) -> Self {
        Self {
            digest: id_bytes(&chunk.digest.0),
            raw_bytes: chunk.raw_len,
            stored_bytes: chunk.stored_len,
            holders: chunk.holders.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<wire::SealedChunk> for SealedChunk {
    type Error = BadMessage;

    fn try_from(wire: wire::SealedChunk) -> Checked<Self> {
        Ok(Self {
            digest: digest("chunk.digest", &wire.digest)?,
            raw_len: wire.raw_bytes,
            stored_len: wire.stored_bytes,
            holders: texts("chunk.holders", wire.holders, COPIES_MAX, node_id)?,
        })
    }
}

impl From<SealedStripe> for wire::SealedStripe {
    fn from(stripe: SealedStripe) -> Self {
        Self {
            index: stripe.index,
            first_handle: stripe.first_handle.0,
            shape: Some(stripe.shape.into()),
            chunks: wires(stripe.chunks),
        }
    }
}

impl TryFrom<wire::SealedStripe> for SealedStripe {
    type Error = BadMessage;

    fn try_from(wire: wire::SealedStripe) -> Checked<Self> {
        let shape = need("stripe.shape", wire.shape)?;
        exactly("stripe.chunks", wire.chunks.len(), &shape)?;
        Ok(Self {
            index: wire.index,
            first_handle: Handle(wire.first_handle),
            shape,
            chunks: list("stripe.chunks", wire.chunks, STRIPE_WIDTH_MAX.into())?,
        })
    }
}

impl From<Place> for wire::PlaceRequest {
    fn from(request: Place) -> Self {
        Self {
            upload: request.upload.0,
            first_stripe: request.first_stripe,
            stripes: request.stripes.into_iter().map(u32::from).collect(),
            sealed: wires(request.sealed),
            failed: request.failed.iter().map(ToString::to_string).collect(),
            chunk_bytes_max: request.chunk_bytes_max,
        }
    }
}

impl TryFrom<wire::PlaceRequest> for Place {
    type Error = BadMessage;

    fn try_from(wire: wire::PlaceRequest) -> Checked<Self> {
        bounded("stripes", wire.stripes.len(), STRIPES_PER_CALL_MAX)?;
        let stripes = wire.stripes.into_iter();
        Ok(Self {
            upload: FileId(wire.upload),
            first_stripe: wire.first_stripe,
            stripes: stripes.map(|it| byte("stripes", it)).collect::<Checked<_>>()?,
            sealed: list("sealed", wire.sealed, STRIPES_PER_CALL_MAX)?,
            failed: texts("failed", wire.failed, NODES_MAX, node_id)?,
            chunk_bytes_max: wire.chunk_bytes_max,
        })
    }
}

pub(crate) fn place_reply(stripes: Vec<StripePlacement>) -> wire::PlaceReply {
    wire::PlaceReply { stripes: wires(stripes) }
}

pub(crate) fn placed(wire: wire::PlaceReply) -> Checked<Vec<StripePlacement>> {
    list("stripes", wire.stripes, STRIPES_PER_CALL_MAX)
}

impl From<Retarget> for wire::RetargetRequest {
    fn from(request: Retarget) -> Self {
        Self {
            upload: request.upload.0,
            handle: request.handle.0,
            failed: request.failed.to_string(),
            reason: request.reason,
            is_slow: request.is_slow,
        }
    }
}

impl TryFrom<wire::RetargetRequest> for Retarget {
    type Error = BadMessage;

    fn try_from(wire: wire::RetargetRequest) -> Checked<Self> {
        Ok(Self {
            upload: FileId(wire.upload),
            handle: Handle(wire.handle),
            failed: node_id("failed", wire.failed)?,
            reason: text(wire.reason),
            is_slow: wire.is_slow,
        })
    }
}

impl From<Commit> for wire::CommitRequest {
    fn from(request: Commit) -> Self {
        Self {
            upload: request.upload.0,
            size_bytes: request.size,
            sealed: wires(request.sealed),
            request: request.request.map(Into::into),
        }
    }
}

impl TryFrom<wire::CommitRequest> for Commit {
    type Error = BadMessage;

    fn try_from(wire: wire::CommitRequest) -> Checked<Self> {
        Ok(Self {
            upload: FileId(wire.upload),
            size: wire.size_bytes,
            sealed: list("sealed", wire.sealed, STRIPES_PER_CALL_MAX)?,
            request: wire.request.map(Into::into),
        })
    }
}

// Any numbers may come: the catalog knows which were handed out.
impl From<RequestId> for wire::RequestId {
    fn from(request: RequestId) -> Self {
        Self { client: request.client.0, sequence: request.sequence }
    }
}

impl From<wire::RequestId> for RequestId {
    fn from(wire: wire::RequestId) -> Self {
        Self { client: ClientNumber(wire.client), sequence: wire.sequence }
    }
}

impl From<Committed> for wire::CommitReply {
    fn from(committed: Committed) -> Self {
        Self { info: Some(committed.info.into()), copies_missing: committed.copies_missing }
    }
}

impl TryFrom<wire::CommitReply> for Committed {
    type Error = BadMessage;

    fn try_from(wire: wire::CommitReply) -> Checked<Self> {
        Ok(Self { info: need("info", wire.info)?, copies_missing: wire.copies_missing })
    }
}
