//! Whether a scenario makes sense, before anything of it happens.

use std::collections::BTreeSet;

use dfs_core::id::{NodeId, NodeIndex};
use dfs_core::name::FileName;
use dfs_core::placement::{Candidate, PlacementError, PlacementRequest, choose};
use dfs_core::policy::BadPolicy;

use super::{Act, ClusterPlan, Fault, FaultKind, Field, Harm, Op, Scenario};
use crate::cluster::COORDINATOR;

/// The most nodes and clients of a scenario.
const HOSTS_MAX: usize = 500;
/// The longest scenario, in hours of virtual time.
const HOURS_MAX: u64 = 24 * 31;

/// Why a scenario cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadScenario {
    /// It is no TOML, or has keys or values that there are not.
    #[error("{0}")]
    Form(String),
    /// The policy breaks a rule.
    #[error("[cluster] {0}")]
    Policy(#[from] BadPolicy),
    /// The policy cannot be kept on so many nodes, so nothing could be stored.
    #[error("[cluster] nothing could be stored: {0}")]
    Placement(#[from] PlacementError),
    /// Something of the whole breaks a rule.
    #[error("{0}")]
    Whole(String),
    /// An op breaks a rule.
    #[error("[[op]] number {0} ({1}) {2}")]
    Op(usize, &'static str, String),
    /// A fault breaks a rule.
    #[error("[[fault]] number {0} ({1}) {2}")]
    Fault(usize, &'static str, String),
}

impl Scenario {
    /// Checks that it can be run.
    ///
    /// # Errors
    /// What is wrong, where, and the nearest fix.
    pub fn check(&self) -> Result<(), BadScenario> {
        let whole = |text: String| Err(BadScenario::Whole(text));
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(is_word) {
            return whole(format!(
                "name: {:?} is no name for a scenario: use letters, digits and -",
                self.name
            ));
        }
        if self.lasts.0.is_zero() || self.lasts.0.as_secs() > HOURS_MAX * 3600 {
            return whole(format!("lasts: a scenario takes from 1ms to 31d, not {}", self.lasts));
        }
        let cluster = &self.cluster;
        for (what, count) in [("nodes", cluster.nodes), ("clients", cluster.clients)] {
            if !(1..=HOSTS_MAX).contains(&count) {
                return whole(format!("[cluster] {what} must be 1 to {HOSTS_MAX}, not {count}"));
            }
        }
        cluster.check_placement()?;
        if let Some(workload) = &self.workload
            && workload.size_min > workload.size_max
        {
            return whole(format!(
                "[workload] size-min is {}, above size-max, which is {}",
                workload.size_min, workload.size_max
            ));
        }
        for place in &self.hard {
            if !crate::run::is_hard_name(place) {
                let known = crate::run::hard_names().join(", ");
                return whole(format!("hard: there is no place {place:?}; there are {known}"));
            }
        }
        for (at, op) in self.ops.iter().enumerate() {
            let refused = |why| BadScenario::Op(at + 1, op.act.name(), why);
            self.check_op(op).map_err(refused)?;
        }
        for (at, fault) in self.faults.iter().enumerate() {
            let refused = |why| BadScenario::Fault(at + 1, fault.what.name(), why);
            self.check_fault(fault).map_err(refused)?;
        }
        Ok(())
    }

    fn check_op(&self, op: &Op) -> Result<(), String> {
        if !(1..=self.cluster.clients).contains(&op.client) {
            let clients = self.cluster.clients;
            return Err(format!("is of client {}, and there are {clients}", op.client));
        }
        if op.act != Act::List {
            FileName::new(op.name.clone()).map_err(|error| format!("name: {error}"))?;
        }
        let is_put = matches!(op.act, Act::Put | Act::Replace);
        if is_put != op.size.is_some() {
            return Err(if is_put { "needs size" } else { "takes no size" }.to_owned());
        }
        let is_range = op.act == Act::GetRange;
        if is_range != (op.offset.is_some() && op.len.is_some()) {
            let what = if is_range { "needs offset and len" } else { "takes no offset and no len" };
            return Err(what.to_owned());
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), String> {
        if fault.at > self.lasts {
            return Err(format!("is at {}, after the end at {}", fault.at, self.lasts));
        }
        let kind = fault.what;
        let given = [
            (Field::Host, "host", !fault.host.is_empty()),
            (Field::To, "to", !fault.to.is_empty()),
            (Field::Lasts, "lasts", fault.lasts.is_some()),
            (Field::Count, "count", fault.count.is_some()),
            (Field::PerMille, "per-mille", fault.per_mille.is_some()),
            (Field::Latency, "latency", fault.latency.is_some()),
            (Field::Rate, "rate", fault.rate.is_some()),
            (Field::Jump, "jump", fault.jump.is_some()),
            (Field::Free, "free", fault.free.is_some()),
        ];
        for (field, name, is_given) in given {
            let is_taken = kind.fields().contains(&field);
            let is_needed = is_taken && !(field == Field::Host && kind.is_on_network());
            if is_given && !is_taken {
                return Err(format!("takes no {name}"));
            }
            if is_needed && !is_given {
                return Err(format!("needs {name}"));
            }
        }
        if fault.per_mille.is_some_and(|share| share > 1000) {
            return Err("per-mille is at most 1000".to_owned());
        }
        for (field, host) in [("host", &fault.host), ("to", &fault.to)] {
            if !host.is_empty() && self.hosts_named(host).is_empty() {
                return Err(format!(
                    "{field}: there is no host {host:?}: the nodes are n1 to n{}, the clients c1 to \
                     c{}, the coordinator is {COORDINATOR}, a rack goes by its zone, and all is all \
                     nodes",
                    self.cluster.nodes, self.cluster.clients
                ));
            }
        }
        let is_node = |host: &String| host.starts_with('n');
        if kind == FaultKind::LoseLedger && fault.host != COORDINATOR {
            return Err(format!("strikes {COORDINATOR} only, not {}", fault.host));
        }
        let is_of_one = kind.is_on_folder() || kind == FaultKind::SlowRate;
        if is_of_one && self.hosts_named(&fault.host).len() > 1 {
            return Err(format!("strikes one node, not {}", fault.host));
        }
        if kind == FaultKind::SwapFolders && !self.hosts_named(&fault.to).iter().all(is_node) {
            return Err(format!("to: {} is no node", fault.to));
        }
        if kind.needs_node() && !self.hosts_named(&fault.host).iter().all(is_node) {
            return Err(format!("strikes nodes only, not {}", fault.host));
        }
        Ok(())
    }

    /// The faults that never strike, because the policy does not survive them
    /// even when nothing else is wrong: what destroys may strike one node at a
    /// time, and none where no node may be lost.
    #[must_use]
    pub fn beyond_policy(&self) -> Vec<&Fault> {
        let is_beyond = |fault: &&Fault| {
            let hosts = self.hosts_named(&fault.host);
            let nodes = hosts.iter().filter(|host| host.starts_with('n')).count();
            fault.what.harm() == Harm::Destroys
                && nodes > 0
                && (nodes > 1 || self.cluster.tolerance() == 0)
        };
        let is_left_out = |fault: &&Fault| !self.beyond_tolerance && is_beyond(fault);
        self.faults.iter().filter(is_left_out).collect()
    }

    /// The hosts that go by a name in a fault: itself, the nodes of a rack,
    /// all nodes. Nodes that join later can be named too.
    #[must_use]
    pub fn hosts_named(&self, name: &str) -> Vec<String> {
        let nodes = || (1..=self.cluster.nodes).map(crate::cluster::name_of);
        let zones = &self.cluster.zones;
        if name == "all" {
            return nodes().collect();
        }
        if zones.iter().any(|zone| zone == name) {
            let in_zone = |(at, _): &(usize, String)| zones[at % zones.len()] == name;
            return nodes().enumerate().filter(in_zone).map(|(_, node)| node).collect();
        }
        let joins = self.faults.iter().filter(|fault| fault.what == FaultKind::Join).count();
        let is_numbered = |letter: char, count: usize| {
            let number = name.strip_prefix(letter).and_then(|rest| rest.parse().ok());
            number.is_some_and(|number: usize| {
                (1..=count).contains(&number) && name == format!("{letter}{number}")
            })
        };
        let is_known = name == COORDINATOR
            || is_numbered('n', self.cluster.nodes + joins)
            || is_numbered('c', self.cluster.clients);
        if is_known { vec![name.to_owned()] } else { Vec::new() }
    }
}

impl ClusterPlan {
    /// Places a full stripe on all nodes, as the cluster itself would.
    fn check_placement(&self) -> Result<(), BadScenario> {
        let policy = self.policy().resolve(self.nodes)?;
        let candidates: Vec<Candidate> = (0..self.nodes)
            .map(|at| Candidate {
                index: NodeIndex(u16::try_from(at).expect("few nodes")),
                id: NodeId::new(crate::cluster::name_of(at + 1)).expect("host names are node ids"),
                zone: self.zones.get(at % self.zones.len().max(1)).cloned(),
                capacity: self.disk.0,
                free: self.disk.0,
                is_writable: true,
                note: None,
            })
            .collect();
        let nobody = BTreeSet::new();
        choose(&PlacementRequest {
            strategy: self.placement,
            candidates: &candidates,
            policy: &policy,
            shape: policy.full_shape(),
            key: 0,
            chunk_bytes: 0,
            excluded: &nobody,
            allow_unsafe: false,
            is_strict: true,
        })?;
        Ok(())
    }
}

impl FaultKind {
    /// Whether it makes sense on nodes only: the coordinator's ledger is one
    /// copy, and what destroys it ends the cluster.
    #[must_use]
    pub fn needs_node(self) -> bool {
        let passes = matches!(self, Self::FailRead | Self::FlipRead);
        let is_of_nodes =
            matches!(self, Self::Leave | Self::Unmount | Self::SlowRate) || self.is_on_folder();
        is_of_nodes || (self.harm() == super::Harm::Destroys && !passes)
    }
}
