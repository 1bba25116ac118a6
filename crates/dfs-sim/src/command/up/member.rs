//! Which nodes `up` runs: those whose folders are there. A node that the
//! catalog names and whose folder is gone is missing; it is never begun anew
//! under its old name unless that is asked for.

use std::collections::BTreeSet;
use std::path::Path;

use dfs_core::ledger::{LEDGER_FILE, Ledger};
use dfs_runtime::RealWorld;

use crate::command::node::shown;
use crate::exit::Failure;

/// The most nodes in one process.
pub(super) const NODES_MAX: u8 = 64;
/// Nodes when neither a flag nor the folder says how many.
const NODES_DEFAULT: u8 = 3;
/// The file that makes a folder a node's.
const IDENTITY_FILE: &str = "identity";

/// What is known of a folder's nodes, by number: `n1` is 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Those that have a folder.
    pub(super) present: BTreeSet<u8>,
    /// Those that the catalog names.
    pub(super) known: BTreeSet<u8>,
}

/// The nodes that run, and those that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members {
    /// Those to start.
    pub(super) running: BTreeSet<u8>,
    /// Those of them whose old folder is gone for good.
    pub(super) replaced: BTreeSet<u8>,
    /// Those whose folder is missing.
    pub(super) missing: BTreeSet<u8>,
    /// Whether the folder had no node before.
    pub(super) is_new: bool,
}

impl Found {
    /// Looks at the folder and its catalog. A catalog that cannot be read
    /// names nobody here: the coordinator's start says what is wrong with it.
    pub(super) fn look(world: &RealWorld, data: &Path) -> Self {
        let has_identity = |number: &u8| data.join(name(*number)).join(IDENTITY_FILE).exists();
        Self {
            present: (1..=NODES_MAX).filter(has_identity).collect(),
            known: known(world, &data.join("coord")),
        }
    }

    /// Decides who runs: all that are present, those of `replaced`, and new
    /// ones until there are `wanted`.
    ///
    /// # Errors
    /// A usage failure when fewer are wanted than there are, or a node that is
    /// there is to be replaced.
    pub(super) fn members(
        &self,
        data: &Path,
        wanted: Option<u8>,
        replaced: &[String],
    ) -> Result<Members, Failure> {
        let replaced = self.replaced(data, replaced)?;
        let all: BTreeSet<u8> = self.present.union(&self.known).copied().collect();
        let there = u8::try_from(all.len()).unwrap_or(NODES_MAX);
        let count = wanted.unwrap_or(if there == 0 { NODES_DEFAULT } else { there });
        if count < there {
            return Err(Failure::usage(format!(
                "{} has {there} nodes, and --nodes {count} would leave some out: start them all",
                shown(data)
            )));
        }
        let new = (1..=NODES_MAX).filter(|number| !all.contains(number));
        let new: BTreeSet<u8> = new.take(usize::from(count - there)).collect();
        let here: BTreeSet<u8> = self.present.union(&replaced).copied().collect();
        Ok(Members {
            missing: self.known.difference(&here).copied().collect(),
            running: here.union(&new).copied().collect(),
            replaced,
            is_new: all.is_empty(),
        })
    }

    fn replaced(&self, data: &Path, names: &[String]) -> Result<BTreeSet<u8>, Failure> {
        let number = |wanted: &String| {
            let number = (1..=NODES_MAX).find(|number| name(*number) == *wanted);
            match number {
                Some(number) if self.present.contains(&number) => Err(Failure::usage(format!(
                    "--replace {wanted}: {} is there; move it away first if it is gone for good",
                    shown(&data.join(wanted))
                ))),
                Some(number) if self.known.contains(&number) => Ok(number),
                _ => Err(Failure::usage(format!(
                    "--replace {wanted}: the catalog names no such node (--nodes adds new ones)"
                ))),
            }
        };
        names.iter().map(number).collect()
    }
}

/// The id of a node by its number.
pub(super) fn name(number: u8) -> String {
    format!("n{number}")
}

/// The nodes of ours that the catalog in `folder` names.
fn known(world: &RealWorld, folder: &Path) -> BTreeSet<u8> {
    if !folder.join(LEDGER_FILE).exists() {
        return BTreeSet::new();
    }
    let Ok((env, _tasks)) = world.env(folder, None) else { return BTreeSet::new() };
    let Ok((_ledger, catalog)) = Ledger::open(&*env.disk, Default::default()) else {
        return BTreeSet::new();
    };
    let is_named = |number: &u8| {
        let name = name(*number);
        catalog.members().any(|member| member.id.as_str() == name)
    };
    (1..=NODES_MAX).filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(
        present: &[u8],
        known: &[u8],
        wanted: Option<u8>,
        replaced: &[&str],
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let set = |numbers: &[u8]| numbers.iter().copied().collect();
        let found = Found { present: set(present), known: set(known) };
        let replaced: Vec<String> = replaced.iter().map(|id| (*id).to_owned()).collect();
        let members = found.members(Path::new("d"), wanted, &replaced)?;
        Ok((members.running.into_iter().collect(), members.missing.into_iter().collect()))
    }

    #[test]
    fn every_folder_runs_and_a_lost_one_is_missing_until_it_is_replaced() {
        let all = [1, 2, 3, 4, 5];
        for (present, known, wanted, replaced, running, missing) in [
            (&[][..], &[][..], None, &[][..], &[1, 2, 3][..], &[][..]),
            (&[], &[], Some(5), &[], &all, &[]),
            (&all, &all, None, &[], &all, &[]),
            (&[2, 3, 4, 5], &all, None, &[], &[2, 3, 4, 5], &[1]),
            (&[2, 3, 4, 5], &all, Some(5), &[], &[2, 3, 4, 5], &[1]),
            (&[2, 3, 4, 5], &all, Some(6), &[], &[2, 3, 4, 5, 6], &[1]),
            (&[2, 5], &all, None, &["n1", "n4"], &[1, 2, 4, 5], &[3]),
            (&[], &all, None, &[], &[], &all),
            // A folder that no catalog names is a node that joins.
            (&[1, 4], &[1], None, &[], &[1, 4], &[]),
            (&[1, 4], &[1], Some(3), &[], &[1, 2, 4], &[]),
        ] {
            let found = members(present, known, wanted, replaced).expect("good");
            assert_eq!(found, (running.to_vec(), missing.to_vec()), "{present:?} {wanted:?}");
        }
        for (wanted, replaced) in
            [(Some(4), &[][..]), (None, &["n2"]), (None, &["n9"]), (None, &["x"])]
        {
            members(&[2, 3, 4, 5], &all, wanted, replaced).expect_err("it is refused");
        }
    }
}
