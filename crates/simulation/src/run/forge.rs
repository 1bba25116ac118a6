//! Copies that are whole and not what they should be: how they come about in
//! a run, and that none is left at its end.

use std::sync::Arc;

use dfs_core::api::{
    BadCopy, Context, Error, HeldChunk, Kind, NodeService, ReadRequest, Receipt, Result,
    WriteHeader, WritePart,
};
use dfs_core::data::chunk::SealBuilder;
use dfs_core::data::digest::Digest;
use dfs_core::data::frame::{self, Place};
use dfs_core::id::{Handle, NodeId};
use dfs_core::policy::Compression;
use futures_util::{StreamExt, stream};

use super::operator::verified_by;
use super::state::Run;
use crate::rng::Rng;
use crate::scenario::{Fault, FaultKind};

impl Run<'_> {
    /// Replaces copies of a node by others of the same chunk: every checksum
    /// in them is right, and their bytes are not those that were stored.
    pub(super) async fn forge(&self, number: usize, fault: &Fault, name: &str) {
        if fault.what != FaultKind::ForgeCopy {
            return;
        }
        let host = self.world.host(name);
        let (Some(context), Some(node)) = (self.context().await, host.node()) else { return };
        let Ok(page) = node.inventory(context, None).await else { return };
        let good: Vec<Handle> =
            page.chunks.iter().filter(|chunk| chunk.is_good).map(|chunk| chunk.handle).collect();
        let mut rng = Rng::derive(self.world.seed(), &format!("forge {number}"));
        for _ in 0..fault.count.unwrap_or(1).min(u32::try_from(good.len()).unwrap_or(0)) {
            let at = usize::try_from(rng.below(good.len() as u64)).expect("it is in memory");
            let handle = good[at];
            let bytes = format!("forged {}", rng.next_u64());
            // Its process may be killed meanwhile: then this ends with it.
            let work = replace(node.clone(), context, handle, bytes);
            if let Ok(Ok(())) = host.spawn(work).await {
                self.world.trace().event(name, format_args!("chunk {handle} is forged"));
            }
        }
    }

    /// True when a verified copy is not the chunk that the catalog has.
    pub(super) fn differs(&self, receipt: &Receipt) -> bool {
        let wanted = self.digest_of(receipt.handle);
        wanted.is_some_and(|digest| digest != receipt.seal.digest)
    }

    fn is_named(&self, name: &str, handle: Handle) -> bool {
        let Some(coordinator) = self.cluster.coordinator_role() else { return false };
        let catalog = coordinator.catalog();
        let chunk = catalog.chunk(handle).and_then(|(stripe, slot)| stripe.chunks.get(slot));
        let mut named = chunk.into_iter().flat_map(|chunk| chunk.copies.iter());
        named.any(|node| catalog.member(*node).is_some_and(|member| member.id.as_str() == name))
    }

    fn digest_of(&self, handle: Handle) -> Option<Digest> {
        let catalog = self.cluster.coordinator_role()?.catalog();
        let (stripe, slot) = catalog.chunk(handle)?;
        stripe.chunks.get(slot).map(|chunk| chunk.digest)
    }

    /// Reports such a copy, as a reader does.
    pub(super) async fn report_differing(&self, name: &str, handle: Handle) {
        let (Some(coordinator), Ok(node)) = (self.coordinator(), NodeId::new(name)) else { return };
        let reason = "it has another SHA-256 than the catalog".to_owned();
        let _ = coordinator.report_bad(BadCopy { node, handle, reason }).await;
    }

    /// I7: at the end every copy that a layout names is what the catalog says.
    pub(super) async fn check_digests(&self) {
        let Some(context) = self.context().await else { return };
        for name in self.cluster.node_names() {
            let Some(node) = self.world.host(&name).node() else { continue };
            let Ok(page) = node.inventory(context, None).await else { continue };
            // A surplus copy is not replaced: it is trimmed in its time.
            let is_checked = |held: &&HeldChunk| held.is_good && self.is_named(&name, held.handle);
            for held in page.chunks.iter().filter(is_checked) {
                let host = self.world.host(&name);
                let Ok(receipt) = verified_by(&host, &node, context, held.handle).await else {
                    continue;
                };
                if self.differs(&receipt) {
                    let text = format!(
                        "the copy of chunk {} on {name} has another SHA-256 than the catalog",
                        held.handle
                    );
                    return self.violates("I7", text);
                }
            }
        }
    }
}

/// Replaces a data chunk of a node by other bytes under the same header.
async fn replace(
    node: Arc<dyn NodeService>,
    context: Context,
    handle: Handle,
    bytes: String,
) -> Result<()> {
    let request = ReadRequest { cluster: context.cluster, handle, frames: 0..0 };
    let header = node.read_chunk(request).await?.header;
    if header.is_parity() {
        return Err(Error::new(Kind::Invalid, "parity is not forged"));
    }
    let (mut frame, mut seal) = (Vec::new(), SealBuilder::default());
    let place = Place { handle, index: 0 };
    frame::seal(place, bytes.as_bytes(), Compression::None, &mut frame);
    seal.add(bytes.as_bytes(), frame.len());
    let parts = [WritePart::Frame(frame.into()), WritePart::Seal(seal.finish())];
    let header = WriteHeader { context, chunk: header };
    node.delete_chunks(context, vec![handle]).await?;
    node.write_chunk(header, stream::iter(parts.map(Ok)).boxed()).await
}
