//! What every [`NodeService`] must do: the node itself, the gRPC stub in
//! front of one, the simulated link.

mod keep;
mod refuse;
mod repair;

use std::sync::Arc;

use dfs_core::api::{Adopt, Context, Error, Kind, NodeService, Result};

use crate::sample;

/// Where a coordinator would listen. Nobody does: the suite has none.
const COORDINATOR: &str = "127.0.0.1:9";

/// A node with an empty folder that belongs to no cluster yet.
pub struct NodeUnderTest {
    /// The service as its callers have it.
    pub service: Arc<dyn NodeService>,
    /// Where other nodes of the suite reach it, `host:port`.
    pub address: String,
}

/// Runs the whole suite; `make` gives a new node each time.
///
/// # Panics
/// When a claim does not hold.
pub async fn node_contract(mut make: impl AsyncFnMut() -> NodeUnderTest) {
    refuse::a_node_is_adopted_once(make().await).await;
    refuse::strangers_and_the_past_are_refused(make().await).await;
    refuse::broken_writes_leave_nothing(make().await).await;
    keep::what_was_written_is_read(make().await).await;
    keep::frames_are_read_by_range(make().await).await;
    keep::a_handle_is_written_once(make().await).await;
    keep::many_writers_at_once_are_all_served(make().await).await;
    keep::deleted_chunks_are_gone(make().await).await;
    keep::the_inventory_is_whole_and_in_order(make().await).await;
    keep::verifying_gives_a_receipt(make().await).await;
    repair::a_chunk_is_pulled_from_a_copy(make().await, make().await).await;
    repair::a_chunk_is_rebuilt_from_its_stripe(make().await, make().await).await;
    repair::what_is_not_the_chunk_is_not_taken(make().await, make().await).await;
    repair::nothing_is_made_of_too_little(make().await, make().await).await;
}

impl NodeUnderTest {
    /// Takes the node into the suite's cluster.
    async fn adopt(&self) -> Context {
        let context = sample::context(1, 5);
        self.adopt_as(context).await.expect("a new node joins any cluster");
        context
    }

    async fn adopt_as(&self, context: Context) -> Result<dfs_core::api::NodeInfo> {
        let replaces = self.service.hello().await?.allegiance.told.run;
        let adopt = Adopt {
            context,
            coordinator: COORDINATOR.to_owned(),
            replaces,
            has_ended: true,
            position: 1,
            numbers_end: 1 << 40,
        };
        self.service.adopt(adopt).await
    }

    fn node(&self) -> &dyn NodeService {
        &*self.service
    }
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
