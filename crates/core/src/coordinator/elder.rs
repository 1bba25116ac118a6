//! Starting on an older copy of the catalog, because the later one is lost.
//!
//! The new run must stand above every run that the nodes know, and its numbers
//! above every number that the later copy handed out. So the nodes are asked
//! before the run begins.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::role::CoordinatorStartError;
use super::settings::CoordinatorSettings;
use crate::api::Hello;
use crate::catalog::{Catalog, Kinship};
use crate::env::Env;
use crate::id::NodeId;

/// How long nodes may take to answer.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The distance between the new numbers and the highest that any node was
/// told of: no later copy hands out more before its nodes hear of it.
const NUMBERS_SKIPPED: u64 = 1 << 40;
/// The highest number of a run, or of a chunk, that is believed.
const NUMBER_MAX: u64 = 1 << 62;

/// Where a run goes on that starts on an older copy.
pub(super) struct Elder {
    /// The highest number of a run that a node knows.
    pub(super) epoch: u64,
    /// The first number to hand out.
    pub(super) skip_to: u64,
}

/// Asks the nodes how far a later copy of `catalog` went. `None` when no node
/// knows a later one.
///
/// # Errors
/// [`CoordinatorStartError::TooFewNodes`] when half of the members or more do
/// not answer: what they know would be passed over.
pub(super) async fn ask(
    env: &Env,
    settings: &CoordinatorSettings,
    catalog: &Catalog,
    position: u64,
) -> Result<Option<Elder>, CoordinatorStartError> {
    let members = catalog.members().map(|member| member.address.clone());
    let addresses: BTreeSet<String> = settings.nodes.iter().cloned().chain(members).collect();
    let asked = addresses.into_iter().map(|address| {
        let node = env.peers.node(&address);
        async move { timeout(HELLO_TIMEOUT, node.hello()).await.ok()?.ok() }
    });
    let cluster = catalog.cluster().map(|cluster| cluster.cluster);
    let answers: Vec<Hello> = join_all(asked).await.into_iter().flatten().collect();
    let of_cluster = || answers.iter().filter(|hello| hello.info.cluster == cluster);
    let heard: BTreeSet<&NodeId> = of_cluster().map(|hello| &hello.info.id).collect();
    let counted: Vec<&NodeId> = (catalog.members().map(|member| &member.id))
        .filter(|id| !settings.without.contains(id))
        .collect();
    let silent: Vec<&str> =
        counted.iter().filter(|id| !heard.contains(*id)).map(|id| id.as_str()).collect();
    if 2 * silent.len() >= counted.len().max(1) {
        let (silent, count) = (silent.join(", "), counted.len());
        return Err(CoordinatorStartError::TooFewNodes(format!(
            "an older catalog is accepted only when more than half of the {count} members say \
             what they know, and these do not answer: {silent}. Start them, or name those that are \
             gone for good with --without"
        )));
    }
    let is_newer =
        |hello: &&Hello| catalog.kinship(hello.allegiance.told, position) != Kinship::Ancestor;
    if of_cluster().find(is_newer).is_none() {
        tracing::info!("no node knows a newer catalog than this one: it starts as ever");
        return Ok(None);
    }
    let highest = |of: fn(&Hello) -> u64| of_cluster().map(of).max().unwrap_or(0);
    let epoch = highest(|hello| hello.allegiance.told.run.epoch.0);
    let numbers_end = highest(|hello| hello.allegiance.numbers_end);
    let next_number = catalog.cluster().map_or(0, |cluster| cluster.next_number);
    if epoch.max(numbers_end) > NUMBER_MAX {
        return Err(CoordinatorStartError::TooFewNodes(format!(
            "a node claims run {epoch} and numbers below {numbers_end}, which cannot be: find \
             that node with 'dfs-sim node ls', and start without it"
        )));
    }
    Ok(Some(Elder { epoch, skip_to: numbers_end.max(next_number) + NUMBERS_SKIPPED }))
}
