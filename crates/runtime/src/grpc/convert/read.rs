//! The messages of looking up, listing, removing and renaming.

use dfs_core::api::{
    BadCopy, ChunkMap, Condition, CopyAt, CopyState, ENTRIES_PER_PAGE_MAX, FileInfo, FileMap, List,
    ListEntry, ListPage, Lookup, Met, NODES_PER_REPORT_MAX, NodeReport, NodeState, Remove, Removed,
    Rename, STRIPES_PER_CALL_MAX, StripeMap,
};
use dfs_core::id::{FileId, Handle};
use dfs_core::policy::STRIPE_WIDTH_MAX;

use super::super::limit::COPIES_MAX;
use super::super::wire::{self, list_entry::Entry};
use super::put::exactly;
use super::{
    BadMessage, Checked, address, bad, digest, file_name, id_bytes, list, need, node_id, prefix,
    text, wires,
};

impl From<Lookup> for wire::LookupRequest {
    fn from(request: Lookup) -> Self {
        Self {
            name: request.name.as_str().to_owned(),
            version: request.version.map(|it| it.0),
            first_stripe: request.first_stripe,
        }
    }
}

impl TryFrom<wire::LookupRequest> for Lookup {
    type Error = BadMessage;

    fn try_from(wire: wire::LookupRequest) -> Checked<Self> {
        Ok(Self {
            name: file_name("name", wire.name)?,
            version: wire.version.map(FileId),
            first_stripe: wire.first_stripe,
        })
    }
}

impl From<FileInfo> for wire::FileInfo {
    fn from(info: FileInfo) -> Self {
        Self {
            name: info.name.as_str().to_owned(),
            id: info.id.0,
            size_bytes: info.size,
            policy: Some(info.policy.into()),
            created_ms: info.created_ms,
            stripes: info.stripes,
            chunks: info.chunks,
            stored_bytes: info.stored_bytes,
            raw_bytes: info.raw_bytes,
            spares: info.spares,
            copies_missing: info.copies_missing,
            condition: wire::Condition::from(info.condition).into(),
        }
    }
}

impl TryFrom<wire::FileInfo> for FileInfo {
    type Error = BadMessage;

    fn try_from(wire: wire::FileInfo) -> Checked<Self> {
        Ok(Self {
            condition: wire.condition().into(),
            name: file_name("file.name", wire.name)?,
            id: FileId(wire.id),
            size: wire.size_bytes,
            policy: need("file.policy", wire.policy)?,
            created_ms: wire.created_ms,
            stripes: wire.stripes,
            chunks: wire.chunks,
            stored_bytes: wire.stored_bytes,
            raw_bytes: wire.raw_bytes,
            spares: wire.spares,
            copies_missing: wire.copies_missing,
        })
    }
}

impl From<Condition> for wire::Condition {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Full => Self::Full,
            Condition::Degraded => Self::Degraded,
            Condition::AtRisk => Self::AtRisk,
            Condition::Unknown => Self::Unknown,
            Condition::Unreachable => Self::Unreachable,
            Condition::Lost => Self::Lost,
        }
    }
}

impl From<wire::Condition> for Condition {
    fn from(wire: wire::Condition) -> Self {
        match wire {
            wire::Condition::Full => Self::Full,
            wire::Condition::Degraded => Self::Degraded,
            wire::Condition::AtRisk => Self::AtRisk,
            // A build that does not know the word says nothing.
            wire::Condition::Unknown | wire::Condition::Unspecified => Self::Unknown,
            wire::Condition::Unreachable => Self::Unreachable,
            wire::Condition::Lost => Self::Lost,
        }
    }
}

impl From<NodeState> for wire::NodeState {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Unknown => Self::Unknown,
            NodeState::Online => Self::Online,
            NodeState::Suspect => Self::Suspect,
            NodeState::Offline => Self::Offline,
            NodeState::Absent => Self::Absent,
            NodeState::NoVolume => Self::NoVolume,
            NodeState::CutOff => Self::CutOff,
        }
    }
}

impl TryFrom<wire::NodeState> for NodeState {
    type Error = BadMessage;

    fn try_from(wire: wire::NodeState) -> Checked<Self> {
        match wire {
            wire::NodeState::Unknown => Ok(Self::Unknown),
            wire::NodeState::Online => Ok(Self::Online),
            wire::NodeState::Suspect => Ok(Self::Suspect),
            wire::NodeState::Offline => Ok(Self::Offline),
            wire::NodeState::Absent => Ok(Self::Absent),
            wire::NodeState::NoVolume => Ok(Self::NoVolume),
            wire::NodeState::CutOff => Ok(Self::CutOff),
            wire::NodeState::Unspecified => bad("node.state", "is not a known one"),
        }
    }
}

impl From<CopyState> for wire::CopyState {
    fn from(state: CopyState) -> Self {
        match state {
            CopyState::Unknown => Self::Unknown,
            CopyState::Held => Self::Held,
            CopyState::Bad => Self::Bad,
            CopyState::Missing => Self::Missing,
        }
    }
}

impl TryFrom<wire::CopyState> for CopyState {
    type Error = BadMessage;

    fn try_from(wire: wire::CopyState) -> Checked<Self> {
        match wire {
            wire::CopyState::Unknown => Ok(Self::Unknown),
            wire::CopyState::Held => Ok(Self::Held),
            wire::CopyState::Bad => Ok(Self::Bad),
            wire::CopyState::Missing => Ok(Self::Missing),
            wire::CopyState::Unspecified => bad("copy.presence", "is not a known one"),
        }
    }
}

impl From<CopyAt> for wire::CopyAt {
    fn from(copy: CopyAt) -> Self {
        Self {
            node: copy.node.to_string(),
            address: copy.address,
            state: wire::NodeState::from(copy.state).into(),
            presence: wire::CopyState::from(copy.presence).into(),
            is_slow: copy.is_slow,
        }
    }
}

impl TryFrom<wire::CopyAt> for CopyAt {
    type Error = BadMessage;

    fn try_from(wire: wire::CopyAt) -> Checked<Self> {
        Ok(Self {
            state: wire.state().try_into()?,
            presence: wire.presence().try_into()?,
            is_slow: wire.is_slow,
            node: node_id("copy.node", wire.node)?,
            address: address("copy.address", wire.address)?,
        })
    }
}

impl From<ChunkMap> for wire::ChunkMap {
    fn from(chunk: ChunkMap) -> Self {
        Self {
            digest: id_bytes(&chunk.digest.0),
            raw_bytes: chunk.raw_len,
            stored_bytes: chunk.stored_len,
            copies: wires(chunk.copies),
        }
    }
}

impl TryFrom<wire::ChunkMap> for ChunkMap {
    type Error = BadMessage;

    fn try_from(wire: wire::ChunkMap) -> Checked<Self> {
        Ok(Self {
            digest: digest("chunk.digest", &wire.digest)?,
            raw_len: wire.raw_bytes,
            stored_len: wire.stored_bytes,
            copies: list("chunk.copies", wire.copies, COPIES_MAX)?,
        })
    }
}

impl From<StripeMap> for wire::StripeMap {
    fn from(stripe: StripeMap) -> Self {
        Self {
            first_handle: stripe.first_handle.0,
            shape: Some(stripe.shape.into()),
            chunks: wires(stripe.chunks),
        }
    }
}

impl TryFrom<wire::StripeMap> for StripeMap {
    type Error = BadMessage;

    fn try_from(wire: wire::StripeMap) -> Checked<Self> {
        let shape = need("stripe.shape", wire.shape)?;
        exactly("stripe.chunks", wire.chunks.len(), &shape)?;
        Ok(Self {
            first_handle: Handle(wire.first_handle),
            shape,
            chunks: list("stripe.chunks", wire.chunks, STRIPE_WIDTH_MAX.into())?,
        })
    }
}

impl From<FileMap> for wire::LookupReply {
    fn from(map: FileMap) -> Self {
        Self {
            context: Some(map.context.into()),
            info: Some(map.info.into()),
            stripes: wires(map.stripes),
            may_be_old: map.may_be_old,
        }
    }
}

impl TryFrom<wire::LookupReply> for FileMap {
    type Error = BadMessage;

    fn try_from(wire: wire::LookupReply) -> Checked<Self> {
        Ok(Self {
            context: need("context", wire.context)?,
            info: need("info", wire.info)?,
            stripes: list("stripes", wire.stripes, STRIPES_PER_CALL_MAX)?,
            may_be_old: wire.may_be_old,
        })
    }
}

impl From<List> for wire::ListRequest {
    fn from(request: List) -> Self {
        Self {
            prefix: request.prefix,
            after: request.after,
            limit: request.limit,
            by_folder: request.by_folder,
        }
    }
}

impl TryFrom<wire::ListRequest> for List {
    type Error = BadMessage;

    fn try_from(wire: wire::ListRequest) -> Checked<Self> {
        if wire.limit == 0 || wire.limit as usize > ENTRIES_PER_PAGE_MAX {
            return bad(
                "limit",
                format!("is {}, 1 to {ENTRIES_PER_PAGE_MAX} are allowed", wire.limit),
            );
        }
        Ok(Self {
            prefix: prefix("prefix", wire.prefix)?,
            after: wire.after.map(|it| prefix("after", it)).transpose()?,
            limit: wire.limit,
            by_folder: wire.by_folder,
        })
    }
}

impl From<ListEntry> for wire::ListEntry {
    fn from(entry: ListEntry) -> Self {
        let entry = match entry {
            ListEntry::File(info) => Entry::File(info.into()),
            ListEntry::Folder { prefix, files, bytes } => {
                Entry::Folder(wire::Folder { prefix, files, logical_bytes: bytes })
            }
        };
        Self { entry: Some(entry) }
    }
}

impl TryFrom<wire::ListEntry> for ListEntry {
    type Error = BadMessage;

    fn try_from(wire: wire::ListEntry) -> Checked<Self> {
        match wire.entry {
            Some(Entry::File(info)) => Ok(Self::File(info.try_into()?)),
            Some(Entry::Folder(folder)) => Ok(Self::Folder {
                prefix: prefix("folder.prefix", folder.prefix)?,
                files: folder.files,
                bytes: folder.logical_bytes,
            }),
            None => bad("entry", "is missing or not a known one"),
        }
    }
}

impl From<ListPage> for wire::ListReply {
    fn from(page: ListPage) -> Self {
        Self { entries: wires(page.entries), next: page.next, may_be_old: page.may_be_old }
    }
}

impl TryFrom<wire::ListReply> for ListPage {
    type Error = BadMessage;

    fn try_from(wire: wire::ListReply) -> Checked<Self> {
        Ok(Self {
            entries: list("entries", wire.entries, ENTRIES_PER_PAGE_MAX)?,
            next: wire.next.map(|it| prefix("next", it)).transpose()?,
            may_be_old: wire.may_be_old,
        })
    }
}

impl From<Remove> for wire::RemoveRequest {
    fn from(request: Remove) -> Self {
        Self {
            path: request.path,
            is_recursive: request.is_recursive,
            is_dry_run: request.is_dry_run,
            request: request.request.map(Into::into),
        }
    }
}

impl TryFrom<wire::RemoveRequest> for Remove {
    type Error = BadMessage;

    fn try_from(wire: wire::RemoveRequest) -> Checked<Self> {
        Ok(Self {
            path: prefix("path", wire.path)?,
            is_recursive: wire.is_recursive,
            is_dry_run: wire.is_dry_run,
            request: wire.request.map(Into::into),
        })
    }
}

impl From<Removed> for wire::RemoveReply {
    fn from(removed: Removed) -> Self {
        Self { files: removed.files, logical_bytes: removed.bytes }
    }
}

impl TryFrom<wire::RemoveReply> for Removed {
    type Error = BadMessage;

    fn try_from(wire: wire::RemoveReply) -> Checked<Self> {
        Ok(Self { files: wire.files, bytes: wire.logical_bytes })
    }
}

impl From<Rename> for wire::RenameRequest {
    fn from(request: Rename) -> Self {
        Self {
            from: request.from.as_str().to_owned(),
            to: request.to.as_str().to_owned(),
            mode: wire::PutMode::from(request.mode).into(),
            request: request.request.map(Into::into),
        }
    }
}

impl TryFrom<wire::RenameRequest> for Rename {
    type Error = BadMessage;

    fn try_from(wire: wire::RenameRequest) -> Checked<Self> {
        Ok(Self {
            mode: wire.mode().try_into()?,
            from: file_name("from", wire.from)?,
            to: file_name("to", wire.to)?,
            request: wire.request.map(Into::into),
        })
    }
}

pub(crate) fn node_reports_request(reports: Vec<NodeReport>) -> wire::ReportNodesRequest {
    wire::ReportNodesRequest { nodes: wires(reports) }
}

pub(crate) fn node_reports(wire: wire::ReportNodesRequest) -> Checked<Vec<NodeReport>> {
    list("nodes", wire.nodes, NODES_PER_REPORT_MAX)
}

impl From<NodeReport> for wire::NodeReport {
    fn from(report: NodeReport) -> Self {
        let met = match report.met {
            Met::Speed { is_slow } => wire::node_report::Met::Speed(wire::NodeSpeed { is_slow }),
            Met::Unreachable(reason) => wire::node_report::Met::Unreachable(reason),
        };
        Self { node: report.node.to_string(), met: Some(met) }
    }
}

impl TryFrom<wire::NodeReport> for NodeReport {
    type Error = BadMessage;

    fn try_from(wire: wire::NodeReport) -> Checked<Self> {
        let met = match wire.met {
            Some(wire::node_report::Met::Speed(speed)) => Met::Speed { is_slow: speed.is_slow },
            Some(wire::node_report::Met::Unreachable(reason)) => Met::Unreachable(text(reason)),
            None => return bad("node.met", "is missing"),
        };
        Ok(Self { node: node_id("node", wire.node)?, met })
    }
}

impl From<BadCopy> for wire::ReportBadRequest {
    fn from(report: BadCopy) -> Self {
        Self { handle: report.handle.0, node: report.node.to_string(), reason: report.reason }
    }
}

impl TryFrom<wire::ReportBadRequest> for BadCopy {
    type Error = BadMessage;

    fn try_from(wire: wire::ReportBadRequest) -> Checked<Self> {
        Ok(Self {
            handle: Handle(wire.handle),
            node: node_id("node", wire.node)?,
            reason: text(wire.reason),
        })
    }
}
