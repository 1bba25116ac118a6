//! The cluster's policy, from flags, environment, configuration and defaults.

use std::time::Duration;

use dfs_core::coordinator::{DELETE_GRACE_MS_DEFAULT, REPAIR_AFTER_MS_DEFAULT};
use dfs_core::env::Durability;
use dfs_core::id::{NodeId, NodeIndex};
use dfs_core::placement::{Candidate, promise};
use dfs_core::policy::{
    CHUNK_SIZE_DEFAULT, Compression, ParitySpec, PlacementStrategy, PolicySpec,
};

use crate::cli::{ByteSize, ClusterPolicyArgs};
use crate::exit::{Code, Failure};
use crate::settings::CoordSettings;

/// How a cluster is kept, all decided.
#[derive(Debug, Clone)]
pub(super) struct ClusterPolicy {
    /// What files get that ask for nothing else.
    pub(super) spec: PolicySpec,
    /// How nodes are chosen.
    pub(super) placement: PlacementStrategy,
    /// When copies of an offline node are made anew.
    pub(super) repair_after: Duration,
    /// How long deleted chunks stay.
    pub(super) delete_grace: Duration,
    /// What an acknowledgement waits for.
    pub(super) durability: Durability,
    /// Whether a promise that cannot be kept is taken all the same.
    pub(super) allow_unsafe: bool,
}

impl ClusterPolicy {
    /// Flags and environment, then `settings`, then defaults.
    ///
    /// # Errors
    /// A usage failure that names the number that is out of its bounds.
    pub(super) fn decide(
        args: &ClusterPolicyArgs,
        settings: &CoordSettings,
    ) -> Result<Self, Failure> {
        let parity = args.parity.or(settings.parity).unwrap_or(ParitySpec::None);
        let replication_default = if parity == ParitySpec::None { 2 } else { 1 };
        let spec = PolicySpec {
            replication: args.replication.or(settings.replication).unwrap_or(replication_default),
            parity,
            compression: args.compression.or(settings.compression).unwrap_or(Compression::Lz4),
            chunk_size: args
                .chunk_size
                .or(settings.chunk_size)
                .map_or(Ok(CHUNK_SIZE_DEFAULT), chunk_size)?,
        };
        spec.validate().map_err(|e| Failure::usage(e.to_string()))?;
        let placement = args.placement.or(settings.placement);
        let durability = args.durability.or(settings.durability);
        Ok(Self {
            spec,
            placement: placement.unwrap_or(PlacementStrategy::RoundRobin),
            repair_after: args
                .repair_after
                .or(settings.repair_after)
                .unwrap_or(Duration::from_millis(REPAIR_AFTER_MS_DEFAULT)),
            delete_grace: args
                .delete_grace
                .or(settings.delete_grace)
                .unwrap_or(Duration::from_millis(DELETE_GRACE_MS_DEFAULT)),
            durability: durability.unwrap_or_default(),
            allow_unsafe: args.allow_unsafe,
        })
    }

    /// Checks that `nodes` nodes, all of them there, can keep the promise.
    ///
    /// # Errors
    /// Exit code 9 and what would help, unless a broken promise is allowed.
    pub(super) fn check(&self, nodes: usize) -> Result<(), Failure> {
        let candidates: Vec<Candidate> = (1..=nodes).map(candidate).collect();
        let promise = promise(&self.spec, self.placement, &candidates, self.allow_unsafe);
        if promise.nodes_lost_max.is_some() || self.allow_unsafe {
            return Ok(());
        }
        Err(Failure::new(
            Code::Insufficient,
            format!("{} (--allow-unsafe starts all the same)", promise.sentence),
        ))
    }
}

/// A chunk size as flags and configuration name it.
///
/// # Errors
/// When it does not fit; its bounds are checked with the whole policy.
pub(super) fn chunk_size(size: ByteSize) -> Result<u32, Failure> {
    u32::try_from(size.0)
        .map_err(|_| Failure::usage(format!("a chunk has at most 1 GiB, not {} bytes", size.0)))
}

fn candidate(number: usize) -> Candidate {
    Candidate {
        index: NodeIndex(u16::try_from(number).unwrap_or(u16::MAX)),
        id: NodeId::new(format!("n{number}")).expect("a letter and digits are a node id"),
        zone: None,
        capacity: u64::MAX,
        free: u64::MAX,
        is_writable: true,
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(line: &str) -> ClusterPolicyArgs {
        match Cli::try_parse_from(line.split_whitespace()).expect("a good line").command {
            Command::Coord(args) => args.policy,
            other => panic!("not coord: {other:?}"),
        }
    }

    #[test]
    fn the_flag_wins_over_the_file_and_the_file_over_the_default() {
        let settings = CoordSettings {
            replication: Some(3),
            parity: Some(ParitySpec::Xor { data: 2 }),
            ..CoordSettings::default()
        };
        let decide = |line: &str, settings: &CoordSettings| {
            ClusterPolicy::decide(&args(line), settings).expect("a policy")
        };
        let policy = decide("dfs-sim coord --replication 2", &settings);
        assert_eq!(policy.spec.to_string(), "R=2 xor:2 lz4");
        let policy = decide("dfs-sim coord", &settings);
        assert_eq!(policy.spec.to_string(), "R=3 xor:2 lz4");
        let policy = decide("dfs-sim coord", &CoordSettings::default());
        assert_eq!(policy.spec.to_string(), "R=2 none lz4");
        let policy = decide("dfs-sim coord --parity rs:4+2", &CoordSettings::default());
        assert_eq!(policy.spec.to_string(), "R=1 rs:4+2 lz4");
    }

    #[test]
    fn the_founding_policy_is_taken_and_one_without_nodes_enough_is_refused() {
        let settings = CoordSettings::default();
        let decide = |line| ClusterPolicy::decide(&args(line), &settings).expect("a policy");
        let founding = decide("dfs-sim coord --replication 2 --parity xor");
        assert_eq!(founding.check(3), Ok(()));
        let wide = decide("dfs-sim coord --parity rs:4+2");
        let refusal = wide.check(5).expect_err("five are too few for 4+2");
        assert_eq!(refusal.code, Code::Insufficient);
        assert!(refusal.message.contains("rs:4+2 needs 6 nodes"), "{refusal}");
        assert_eq!(wide.check(6), Ok(()));
    }
}
