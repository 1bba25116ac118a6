//! What every [`CoordinatorService`] must do: the coordinator itself, the
//! gRPC stub in front of one, the simulated link. The suite speaks as nodes
//! and as a client; it holds no chunk.

mod membership;
mod namespace;
mod upload;

use std::sync::{Arc, Mutex};

use dfs_core::api::{
    Allegiance, BeginPut, Commit, Committed, CoordinatorService, Error, Heartbeat, HeartbeatReply,
    InventoryDigest, Kind, NodeInfo, NodeSpace, PolicyOverrides, PutMode, Result, SealedChunk,
    SealedStripe, StripePlacement, Told, UploadGrant,
};
use dfs_core::data::digest::Digest;
use dfs_core::id::{FolderId, NodeId, SessionId};
use dfs_core::name::FileName;
use dfs_core::policy::{CHUNK_SIZE_MIN, Compression, ParitySpec, PlacementStrategy, PolicySpec};

/// The policy that the coordinators under test are to be started with.
pub const POLICY: PolicySpec = PolicySpec {
    replication: 2,
    parity: ParitySpec::None,
    compression: Compression::Lz4,
    chunk_size: CHUNK_SIZE_MIN,
};
/// The placement that the coordinators under test are to be started with.
pub const PLACEMENT: PlacementStrategy = PlacementStrategy::RoundRobin;

/// Bytes of one full chunk.
const CHUNK: u64 = CHUNK_SIZE_MIN as u64;

/// Runs the whole suite; `make` gives a new coordinator each time, on an
/// empty folder, without nodes, under [`POLICY`] and [`PLACEMENT`].
///
/// # Panics
/// When a claim does not hold.
pub async fn coordinator_contract(mut make: impl AsyncFnMut() -> Arc<dyn CoordinatorService>) {
    membership::nodes_join_and_are_seen(&*make().await).await;
    membership::impostors_are_refused(&*make().await).await;
    membership::a_polite_stop_is_seen(&*make().await).await;
    upload::too_few_nodes_are_said_with_the_fix(&*make().await).await;
    upload::a_file_is_visible_from_its_commit_on(&*make().await).await;
    upload::a_long_file_is_placed_stripe_by_stripe(&*make().await).await;
    upload::a_failed_target_is_replaced(&*make().await).await;
    upload::what_does_not_add_up_is_refused(&*make().await).await;
    upload::an_aborted_upload_is_gone(&*make().await).await;
    upload::of_two_writers_of_a_name_one_wins(&*make().await).await;
    upload::of_two_commits_at_once_each_hears_of_its_own_file(&*make().await).await;
    upload::a_replaced_file_has_the_later_version(&*make().await).await;
    namespace::names_are_listed_in_order_page_by_page(&*make().await).await;
    namespace::folders_are_summed_up(&*make().await).await;
    namespace::names_move(&*make().await).await;
    namespace::names_go(&*make().await).await;
}

/// A node that the suite speaks for.
#[derive(Debug, Clone)]
struct Speaker(NodeInfo, Arc<Mutex<(Allegiance, Option<u64>)>>);

impl Speaker {
    fn new(id: &str, folder: u8) -> Self {
        let info = NodeInfo {
            id: NodeId::new(id).expect("a good id"),
            folder: FolderId([folder; 16]),
            session: SessionId(u64::from(folder) * 1000 + 1),
            // Nobody listens there: what the coordinator asks stays unanswered.
            address: format!("127.0.0.1:{folder}"),
            zone: None,
            cluster: None,
            replaces: false,
            version: "0.0.0-spoken-for".to_owned(),
        };
        Self(info, Arc::default())
    }

    async fn beat(&self, coordinator: &dyn CoordinatorService) -> Result<HeartbeatReply> {
        let (allegiance, confirms) = self.1.lock().expect("one at a time").clone();
        let heartbeat = Heartbeat {
            allegiance,
            confirms,
            info: self.0.clone(),
            joins: true,
            space: NodeSpace { total: 1 << 40, free: 1 << 40, used: 0 },
            digest: InventoryDigest::default(),
            changes: None,
            trouble: None,
            is_volume_gone: false,
            refuses: None,
        };
        let reply = coordinator.heartbeat(heartbeat).await?;
        // It obeys whoever answers it.
        let told = Told { run: reply.context.run, position: reply.position };
        let allegiance = Allegiance { told, ..Allegiance::default() };
        *self.1.lock().expect("one at a time") = (allegiance, Some(reply.answer));
        Ok(reply)
    }

    async fn join(&mut self, coordinator: &dyn CoordinatorService) {
        let reply = self.beat(coordinator).await.expect("a new node may join");
        self.0.cluster = Some(reply.context.cluster);
        self.beat(coordinator).await.expect("a member is heard");
        self.beat(coordinator).await.expect("a member confirms the answer, and is leased");
    }
}

/// Three nodes that have joined.
async fn three_nodes(coordinator: &dyn CoordinatorService) -> Vec<Speaker> {
    let mut speakers: Vec<Speaker> =
        (1..=3).map(|number| Speaker::new(&format!("n{number}"), number)).collect();
    for speaker in &mut speakers {
        speaker.join(coordinator).await;
    }
    speakers
}

fn name(text: &str) -> FileName {
    FileName::new(text).expect("a good name")
}

fn wish(text: &str, size: Option<u64>) -> BeginPut {
    BeginPut {
        name: name(text),
        size,
        policy: PolicyOverrides::default(),
        mode: PutMode::IfAbsent,
        is_strict: false,
        allow_unsafe: false,
        from: None,
    }
}

/// What a client tells of a stripe of one chunk of `raw_len` bytes, when all
/// its targets took it.
fn sealed(placement: &StripePlacement, raw_len: u64) -> SealedStripe {
    let holders = |targets: &Vec<dfs_core::api::Target>| {
        targets.iter().map(|target| target.node.clone()).collect()
    };
    let chunk = |targets| SealedChunk {
        digest: Digest::of(&placement.first_handle.0.to_le_bytes()),
        raw_len,
        stored_len: raw_len + 12,
        holders: holders(targets),
    };
    SealedStripe {
        index: placement.index,
        first_handle: placement.first_handle,
        shape: placement.shape,
        chunks: placement.targets.iter().map(chunk).collect(),
    }
}

/// Stores a file of one small chunk, as far as the coordinator can tell.
async fn store(
    coordinator: &dyn CoordinatorService,
    text: &str,
    size: u64,
    mode: PutMode,
) -> Result<Committed> {
    let grant = coordinator.begin_put(BeginPut { mode, ..wish(text, Some(size)) }).await?;
    coordinator.commit(commit_of(&grant, size)).await
}

fn commit_of(grant: &UploadGrant, size: u64) -> Commit {
    let sealed = grant.first.iter().map(|placement| sealed(placement, size)).collect();
    Commit { upload: grant.upload, size, sealed, request: None }
}

fn assert_kind<T>(result: Result<T>, kind: Kind, claim: &str) -> Error {
    match result {
        Ok(_) => panic!("{claim}: succeeded, expected {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{claim}: {error}");
            assert!(!error.message.is_empty(), "{claim}: no message");
            error
        }
    }
}
