//! The messages about chunks that the catalog does not know.

use dfs_core::api::{HeldChunk, ListUnknown, UNKNOWN_PER_PAGE_MAX, UnknownCopy, UnknownPage};
use dfs_core::id::Handle;

use super::super::wire;
use super::{BadMessage, Checked, address, list, need, node_id, wires};

impl From<ListUnknown> for wire::ListUnknownRequest {
    fn from(request: ListUnknown) -> Self {
        let place = |(node, handle): (dfs_core::id::NodeId, Handle)| wire::UnknownPlace {
            node: node.to_string(),
            handle: handle.0,
        };
        Self { after: request.after.map(place) }
    }
}

impl TryFrom<wire::ListUnknownRequest> for ListUnknown {
    type Error = BadMessage;

    fn try_from(wire: wire::ListUnknownRequest) -> Checked<Self> {
        let place = |place: wire::UnknownPlace| {
            Ok((node_id("after.node", place.node)?, Handle(place.handle)))
        };
        Ok(Self { after: wire.after.map(place).transpose()? })
    }
}

impl From<UnknownPage> for wire::ListUnknownReply {
    fn from(page: UnknownPage) -> Self {
        Self { copies: wires(page.copies), has_more: page.has_more }
    }
}

impl TryFrom<wire::ListUnknownReply> for UnknownPage {
    type Error = BadMessage;

    fn try_from(wire: wire::ListUnknownReply) -> Checked<Self> {
        let copies = list("copies", wire.copies, UNKNOWN_PER_PAGE_MAX)?;
        Ok(Self { copies, has_more: wire.has_more })
    }
}

impl From<UnknownCopy> for wire::UnknownCopy {
    fn from(copy: UnknownCopy) -> Self {
        let UnknownCopy { node, address, handle, stored_bytes, is_good } = copy;
        let chunk = HeldChunk { handle, stored_bytes, is_good };
        Self { node: node.to_string(), address, chunk: Some(chunk.into()) }
    }
}

impl TryFrom<wire::UnknownCopy> for UnknownCopy {
    type Error = BadMessage;

    fn try_from(wire: wire::UnknownCopy) -> Checked<Self> {
        let HeldChunk { handle, stored_bytes, is_good } = need("copy.chunk", wire.chunk)?;
        Ok(Self {
            node: node_id("copy.node", wire.node)?,
            address: address("copy.address", wire.address)?,
            handle,
            stored_bytes,
            is_good,
        })
    }
}
