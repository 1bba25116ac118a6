//! Clients: the services of other processes, over one connection each.

mod coordinator;
mod node;
mod peer;
mod short;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::env::Peers;
use tokio::runtime::Handle;

pub use coordinator::CoordinatorStub;
pub use node::NodeStub;

use super::limit::PEERS_MAX;
use peer::Line;

/// The way to other processes over gRPC: one connection for each address,
/// made when it is first needed, and made again after it was lost.
pub struct GrpcPeers {
    runtime: Handle,
    lines: Mutex<BTreeMap<String, Line>>,
}

impl GrpcPeers {
    /// No connections yet; they will run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, lines: Mutex::default() }
    }

    fn line(&self, address: &str) -> Line {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(address) {
            return line.clone();
        }
        // Far more than a cluster has: addresses of the past. Who still
        // holds a handle keeps its connection.
        if lines.len() >= PEERS_MAX {
            lines.clear();
        }
        let _inside = self.runtime.enter();
        let line = Line::to(address);
        lines.insert(address.to_owned(), line.clone());
        line
    }
}

impl Peers for GrpcPeers {
    fn node(&self, address: &str) -> Arc<dyn NodeService> {
        Arc::new(NodeStub::new(self.line(address), address))
    }

    fn coordinator(&self, address: &str) -> Arc<dyn CoordinatorService> {
        Arc::new(CoordinatorStub::new(self.line(address), address))
    }
}
