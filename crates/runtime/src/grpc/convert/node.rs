//! The messages of the node's service.

use dfs_core::api::{
    Adopt, Allegiance, Context, HANDLES_PER_CALL_MAX, HeldChunk, Hello, InventoryPage, NodeInfo,
    ReadRequest, RebuildTask, Receipt, StripeMember, Told, WriteHeader,
};
use dfs_core::data::chunk::{ChunkHeader, ChunkSeal};
use dfs_core::data::frame::{FRAME_SIZE, HEADER_SIZE, STORED_MAX};
use dfs_core::id::{FileId, Handle, SessionId};
use dfs_core::policy::{STRIPE_WIDTH_MAX, StripeShape};

use super::super::limit::{COPIES_MAX, FRAMES_PER_CHUNK_MAX};
use super::super::wire;
use super::policy::{chunk_size, replication};
use super::{
    BadMessage, Checked, address, bad, bounded, byte, cluster, digest, file_name, folder, id_bytes,
    list, need, node_id, text, texts, wires, zone,
};

impl From<Adopt> for wire::AdoptRequest {
    fn from(adopt: Adopt) -> Self {
        Self {
            context: Some(adopt.context.into()),
            coordinator: adopt.coordinator,
            replaces: Some(adopt.replaces.into()),
            has_ended: adopt.has_ended,
            position: adopt.position,
            numbers_end: adopt.numbers_end,
        }
    }
}

impl TryFrom<wire::AdoptRequest> for Adopt {
    type Error = BadMessage;

    fn try_from(wire: wire::AdoptRequest) -> Checked<Self> {
        Ok(Self {
            context: need("context", wire.context)?,
            coordinator: address("coordinator", wire.coordinator)?,
            replaces: need("replaces", wire.replaces)?,
            has_ended: wire.has_ended,
            position: wire.position,
            numbers_end: wire.numbers_end,
        })
    }
}

impl From<Allegiance> for wire::Allegiance {
    fn from(allegiance: Allegiance) -> Self {
        Self {
            run: Some(allegiance.told.run.into()),
            position: allegiance.told.position,
            since_ms: allegiance.since_ms,
            coordinator: allegiance.coordinator,
            numbers_end: allegiance.numbers_end,
            leased_ms: allegiance.leased_ms,
        }
    }
}

impl TryFrom<wire::Allegiance> for Allegiance {
    type Error = BadMessage;

    fn try_from(wire: wire::Allegiance) -> Checked<Self> {
        let coordinator = wire.coordinator.map(|it| address("allegiance.coordinator", it));
        Ok(Self {
            told: Told { run: need("allegiance.run", wire.run)?, position: wire.position },
            since_ms: wire.since_ms,
            coordinator: coordinator.transpose()?,
            numbers_end: wire.numbers_end,
            leased_ms: wire.leased_ms,
        })
    }
}

impl From<Hello> for wire::HelloReply {
    fn from(hello: Hello) -> Self {
        Self { info: Some(hello.info.into()), allegiance: Some(hello.allegiance.into()) }
    }
}

impl TryFrom<wire::HelloReply> for Hello {
    type Error = BadMessage;

    fn try_from(wire: wire::HelloReply) -> Checked<Self> {
        let allegiance = need("allegiance", wire.allegiance)?;
        Ok(Self { info: need("info", wire.info)?, allegiance })
    }
}

impl From<NodeInfo> for wire::NodeInfo {
    fn from(info: NodeInfo) -> Self {
        Self {
            id: info.id.to_string(),
            folder: id_bytes(&info.folder.0),
            session: info.session.0,
            address: info.address,
            zone: info.zone,
            cluster: info.cluster.map(|it| id_bytes(&it.0)),
            replaces: info.replaces,
            version: info.version,
        }
    }
}

impl TryFrom<wire::NodeInfo> for NodeInfo {
    type Error = BadMessage;

    fn try_from(wire: wire::NodeInfo) -> Checked<Self> {
        Ok(Self {
            id: node_id("node.id", wire.id)?,
            folder: folder("node.folder", &wire.folder)?,
            session: SessionId(wire.session),
            address: address("node.address", wire.address)?,
            zone: wire.zone.map(|it| zone("node.zone", it)).transpose()?,
            cluster: wire.cluster.map(|it| cluster("node.cluster", &it)).transpose()?,
            replaces: wire.replaces,
            version: text(wire.version),
        })
    }
}

impl From<ChunkHeader> for wire::ChunkHeader {
    fn from(header: ChunkHeader) -> Self {
        Self {
            cluster: id_bytes(&header.cluster.0),
            handle: header.handle.0,
            file: header.file.0,
            name: header.name.as_str().to_owned(),
            file_size_bytes: header.file_size,
            created_ms: header.created_ms,
            stripe: header.stripe,
            shape: Some(header.shape.into()),
            position: header.position.into(),
            replication: header.replication.into(),
            compression: wire::Compression::from(header.compression).into(),
            chunk_size_bytes: header.chunk_size,
            chunk_index: header.chunk_index,
        }
    }
}

impl TryFrom<wire::ChunkHeader> for ChunkHeader {
    type Error = BadMessage;

    fn try_from(wire: wire::ChunkHeader) -> Checked<Self> {
        let compression = wire.compression().try_into()?;
        let shape: StripeShape = need("chunk.shape", wire.shape)?;
        let position = byte("chunk.position", wire.position)?;
        let is_data = position < shape.data;
        let width = shape.coding.data + shape.coding.parity;
        let is_parity = (shape.coding.data..width).contains(&position);
        if !is_data && !is_parity {
            return bad("chunk.position", format!("{position} is not in a stripe of {shape:?}"));
        }
        Ok(Self {
            cluster: cluster("chunk.cluster", &wire.cluster)?,
            handle: Handle(wire.handle),
            file: FileId(wire.file),
            name: file_name("chunk.name", wire.name)?,
            file_size: wire.file_size_bytes,
            created_ms: wire.created_ms,
            stripe: wire.stripe,
            shape,
            position,
            replication: replication(wire.replication)?,
            compression,
            chunk_size: chunk_size(wire.chunk_size_bytes)?,
            chunk_index: wire.chunk_index,
        })
    }
}

impl From<ChunkSeal> for wire::ChunkSeal {
    fn from(seal: ChunkSeal) -> Self {
        Self {
            raw_bytes: seal.raw_len,
            stored_bytes: seal.stored_len,
            frames: seal.frames,
            digest: id_bytes(&seal.digest.0),
        }
    }
}

impl TryFrom<wire::ChunkSeal> for ChunkSeal {
    type Error = BadMessage;

    fn try_from(wire: wire::ChunkSeal) -> Checked<Self> {
        // A parity frame's payload is a whole stored frame, so a parity
        // chunk's raw bytes are a little above those of its data.
        const RAW_PER_FRAME_MAX: u64 = (FRAME_SIZE + HEADER_SIZE) as u64;
        let frames = u64::from(wire.frames);
        if wire.frames > FRAMES_PER_CHUNK_MAX {
            return bad(
                "seal.frames",
                format!("is {frames}, at most {FRAMES_PER_CHUNK_MAX} are allowed"),
            );
        }
        if wire.raw_bytes > frames * RAW_PER_FRAME_MAX
            || wire.stored_bytes > frames * STORED_MAX as u64
        {
            let (raw, stored) = (wire.raw_bytes, wire.stored_bytes);
            return bad(
                "seal",
                format!("{raw} raw and {stored} stored bytes do not fit {frames} frames"),
            );
        }
        Ok(Self {
            raw_len: wire.raw_bytes,
            stored_len: wire.stored_bytes,
            frames: wire.frames,
            digest: digest("seal.digest", &wire.digest)?,
        })
    }
}

impl From<WriteHeader> for wire::WriteHeader {
    fn from(header: WriteHeader) -> Self {
        Self { context: Some(header.context.into()), chunk: Some(header.chunk.into()) }
    }
}

impl TryFrom<wire::WriteHeader> for WriteHeader {
    type Error = BadMessage;

    fn try_from(wire: wire::WriteHeader) -> Checked<Self> {
        Ok(Self { context: need("context", wire.context)?, chunk: need("chunk", wire.chunk)? })
    }
}

impl From<ReadRequest> for wire::ReadChunkRequest {
    fn from(request: ReadRequest) -> Self {
        Self {
            cluster: id_bytes(&request.cluster.0),
            handle: request.handle.0,
            first_frame: request.frames.start,
            end_frame: request.frames.end,
        }
    }
}

impl TryFrom<wire::ReadChunkRequest> for ReadRequest {
    type Error = BadMessage;

    fn try_from(wire: wire::ReadChunkRequest) -> Checked<Self> {
        if wire.first_frame > wire.end_frame {
            return bad(
                "frames",
                format!("{}..{} ends before it begins", wire.first_frame, wire.end_frame),
            );
        }
        Ok(Self {
            cluster: cluster("cluster", &wire.cluster)?,
            handle: Handle(wire.handle),
            frames: wire.first_frame..wire.end_frame,
        })
    }
}

/// The handles of one deletion.
pub(crate) fn delete_request(context: Context, handles: Vec<Handle>) -> wire::DeleteChunksRequest {
    wire::DeleteChunksRequest {
        context: Some(context.into()),
        handles: handles.into_iter().map(|it| it.0).collect(),
    }
}

pub(crate) fn deletion(wire: wire::DeleteChunksRequest) -> Checked<(Context, Vec<Handle>)> {
    bounded("handles", wire.handles.len(), HANDLES_PER_CALL_MAX)?;
    let handles = wire.handles.into_iter().map(Handle).collect();
    Ok((need("context", wire.context)?, handles))
}

impl From<StripeMember> for wire::StripeMember {
    fn from(member: StripeMember) -> Self {
        Self {
            position: member.position.into(),
            handle: member.handle.0,
            digest: id_bytes(&member.digest.0),
            copies: member.copies,
        }
    }
}

impl TryFrom<wire::StripeMember> for StripeMember {
    type Error = BadMessage;

    fn try_from(wire: wire::StripeMember) -> Checked<Self> {
        let position = byte("member.position", wire.position)?;
        if position >= STRIPE_WIDTH_MAX {
            return bad(
                "member.position",
                format!("is {position}, below {STRIPE_WIDTH_MAX} is allowed"),
            );
        }
        Ok(Self {
            position,
            handle: Handle(wire.handle),
            digest: digest("member.digest", &wire.digest)?,
            copies: texts("member.copies", wire.copies, COPIES_MAX, address)?,
        })
    }
}

pub(crate) fn rebuild_request(context: Context, task: RebuildTask) -> wire::RebuildChunkRequest {
    wire::RebuildChunkRequest {
        context: Some(context.into()),
        chunk: Some(task.chunk.into()),
        digest: id_bytes(&task.digest.0),
        copies: task.copies,
        stripe: wires(task.stripe),
        bytes_per_second_max: task.bytes_per_second_max,
    }
}

pub(crate) fn rebuild(wire: wire::RebuildChunkRequest) -> Checked<(Context, RebuildTask)> {
    let task = RebuildTask {
        chunk: need("chunk", wire.chunk)?,
        digest: digest("digest", &wire.digest)?,
        copies: texts("copies", wire.copies, COPIES_MAX, address)?,
        stripe: list("stripe", wire.stripe, STRIPE_WIDTH_MAX.into())?,
        bytes_per_second_max: wire.bytes_per_second_max,
    };
    Ok((need("context", wire.context)?, task))
}

impl From<Receipt> for wire::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            handle: receipt.handle.0,
            seal: Some(receipt.seal.into()),
            pulled_bytes: receipt.bytes_pulled,
            from_parity: receipt.from_parity,
        }
    }
}

impl TryFrom<wire::Receipt> for Receipt {
    type Error = BadMessage;

    fn try_from(wire: wire::Receipt) -> Checked<Self> {
        Ok(Self {
            handle: Handle(wire.handle),
            seal: need("receipt.seal", wire.seal)?,
            bytes_pulled: wire.pulled_bytes,
            from_parity: wire.from_parity,
        })
    }
}

impl From<HeldChunk> for wire::HeldChunk {
    fn from(chunk: HeldChunk) -> Self {
        Self { handle: chunk.handle.0, stored_bytes: chunk.stored_bytes, is_good: chunk.is_good }
    }
}

impl TryFrom<wire::HeldChunk> for HeldChunk {
    type Error = BadMessage;

    fn try_from(wire: wire::HeldChunk) -> Checked<Self> {
        Ok(Self {
            handle: Handle(wire.handle),
            stored_bytes: wire.stored_bytes,
            is_good: wire.is_good,
        })
    }
}

impl From<InventoryPage> for wire::InventoryReply {
    fn from(page: InventoryPage) -> Self {
        Self { version: page.version, chunks: wires(page.chunks), is_last: page.is_last }
    }
}

impl TryFrom<wire::InventoryReply> for InventoryPage {
    type Error = BadMessage;

    fn try_from(wire: wire::InventoryReply) -> Checked<Self> {
        Ok(Self {
            version: wire.version,
            chunks: list("chunks", wire.chunks, HANDLES_PER_CALL_MAX)?,
            is_last: wire.is_last,
        })
    }
}
