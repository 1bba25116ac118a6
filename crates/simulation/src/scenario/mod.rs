//! What happens in a simulated world, as data: a cluster, what its clients
//! do, what goes wrong and when. Scenarios that people write, the built-in
//! ones, those that a seed draws and those that are left after shrinking are
//! all of this one type, and are all run by [`crate::run`].

mod builtin;
mod check;
mod fault;
mod text;
mod workload;

use dfs_core::policy::{
    CHUNK_SIZE_MIN, Compression, ParitySpec, PlacementStrategy, Policy, PolicySpec,
};
use dfs_core::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

pub use builtin::{BUILT_IN, BuiltIn, built_in};
pub use check::BadScenario;
pub use fault::{Fault, FaultKind, Field, Harm};
pub(crate) use workload::name_before;
pub use workload::{Act, Op, Weights, Workload};

use crate::cluster::ClusterSettings;
use text::{as_text, is_default};

/// A scenario: a TOML file with these keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it is called: letters, digits, `-`.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default, skip_serializing_if = "is_default")]
    pub about: String,
    /// How long clients work and faults strike, in virtual time. After it
    /// everything heals, and is checked.
    #[serde(with = "as_text")]
    pub lasts: Span,
    /// More may be lost than the policy survives: then a read must give the
    /// exact bytes or an honest error, and nothing has to heal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beyond_tolerance: bool,
    /// Places in the code that make life hard, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hard: Vec<String>,
    /// The cluster.
    #[serde(default)]
    pub cluster: ClusterPlan,
    /// What clients do, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What clients do, one by one; after what was drawn.
    #[serde(default, rename = "op", skip_serializing_if = "is_default")]
    pub ops: Vec<Op>,
    /// What goes wrong.
    #[serde(default, rename = "fault", skip_serializing_if = "is_default")]
    pub faults: Vec<Fault>,
}

/// The cluster of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClusterPlan {
    /// Nodes: `n1`, `n2`, …
    pub nodes: usize,
    /// Clients: `c1`, `c2`, …
    pub clients: usize,
    /// Copies of each data chunk.
    pub replication: u8,
    /// Parity: `none`, `xor`, `xor:4`, `rs:4+2`.
    #[serde(with = "as_text")]
    pub parity: ParitySpec,
    /// `lz4` or `none`.
    #[serde(with = "as_text")]
    pub compression: Compression,
    /// The largest chunk.
    #[serde(with = "as_text")]
    pub chunk_size: ByteSize,
    /// `round-robin` or `ring`.
    #[serde(with = "as_text")]
    pub placement: PlacementStrategy,
    /// Racks, for the nodes in order and then from the start again.
    #[serde(skip_serializing_if = "is_default")]
    pub zones: Vec<String>,
    /// How long after a node went offline its copies are rebuilt.
    #[serde(with = "as_text")]
    pub repair_after: Span,
    /// How long the chunks of deleted files stay.
    #[serde(with = "as_text")]
    pub delete_grace: Span,
    /// What each node's disk holds.
    #[serde(with = "as_text")]
    pub disk: ByteSize,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        Self {
            nodes: 5,
            clients: 2,
            replication: 2,
            parity: ParitySpec::None,
            compression: Compression::Lz4,
            chunk_size: ByteSize(u64::from(CHUNK_SIZE_MIN)),
            placement: PlacementStrategy::RoundRobin,
            zones: Vec::new(),
            repair_after: Span::from_secs(60),
            delete_grace: Span::from_secs(60),
            disk: ByteSize(1 << 30),
        }
    }
}

impl ClusterPlan {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> PolicySpec {
        PolicySpec {
            replication: self.replication,
            parity: self.parity,
            compression: self.compression,
            chunk_size: u32::try_from(self.chunk_size.0).unwrap_or(u32::MAX),
        }
    }

    /// How many nodes any of which may be lost, as the policy promises.
    #[must_use]
    pub fn tolerance(&self) -> usize {
        let policy = self.policy().resolve(self.nodes);
        policy.as_ref().map_or(0, Policy::promised_losses).into()
    }

    /// Whether a whole stripe finds nodes of their own for all its copies
    /// while so many nodes are left out.
    #[must_use]
    pub fn spares(&self, nodes: usize) -> bool {
        let policy = self.policy().resolve(self.nodes);
        policy.is_ok_and(|policy| {
            let data = usize::from(policy.coding.data) * usize::from(policy.replication);
            data + usize::from(policy.coding.parity) + nodes <= self.nodes
        })
    }

    /// What the cluster of the world is started with.
    #[must_use]
    pub fn settings(&self) -> ClusterSettings {
        let racks =
            self.zones.iter().cycle().take(if self.zones.is_empty() { 0 } else { self.nodes });
        ClusterSettings {
            policy: self.policy(),
            placement: self.placement,
            repair_after: self.repair_after.0,
            delete_grace: self.delete_grace.0,
            zones: racks.cloned().collect(),
            ..ClusterSettings::new(self.nodes, self.replication, self.parity)
        }
    }
}

impl Scenario {
    /// Reads a scenario and checks it.
    ///
    /// # Errors
    /// What is wrong, where, and the nearest fix.
    pub fn parse(text: &str) -> Result<Self, BadScenario> {
        let scenario: Self = toml::from_str(text).map_err(|e| BadScenario::Form(e.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a form in TOML")
    }

    /// The same with all ops that the seed draws one by one.
    #[must_use]
    pub fn drawn(&self, seed: u64) -> Self {
        let mut drawn = self.clone();
        if let Some(mut workload) = drawn.workload.take() {
            let mut ops = workload.draw(seed, self.cluster.clients);
            ops.append(&mut drawn.ops);
            drawn.ops = ops;
            workload.ops = 0;
            drawn.workload = (workload.stored_before > 0).then_some(workload);
        }
        drawn
    }
}
