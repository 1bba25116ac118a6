//! How the stripes are: looked over in slices, all the time.

use std::sync::Arc;
use std::time::Duration;

use super::role::Coordinator;
use crate::api::StripeHealth;
use crate::id::{Handle, NodeIndex};

/// How often the stripes are looked over.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);

/// What the last look over all stripes found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    health: StripeHealth,
    waiting: u64,
}

pub(super) struct RepairTask {
    pub(super) handle: Handle,
    pub(super) target: NodeIndex,
    pub(super) copies_after: Vec<NodeIndex>,
}

impl Survey {
    pub(super) fn health(&self) -> StripeHealth {
        self.health
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn copies_on(&self, _node: NodeIndex) -> u64 {
        0
    }
}

impl Coordinator {
    pub(super) async fn survey_and_mend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SURVEY_INTERVAL).await;
            self.begin_rebuilds(Vec::new());
        }
    }
}
