//! The hard places of a scenario: those in the roles, and those on the links.

use dfs_core::env::{Hard, HardPlace};
use dfs_core::limit::{self, SmallLimits};

use crate::net::Link;
use crate::scenario::Scenario;
use crate::world::World;

/// Hard places that are on the links: every call arrives twice; of a thousand
/// answers ten are lost, and the call has had its effect.
const HARD_LINKS: [&str; 2] = ["calls-twice", "drop-replies"];

/// Answers that are lost, of a thousand, where replies are dropped.
const REPLIES_DROPPED_PER_MILLE: u32 = 10;

/// The hard place at which every named limit of pages, batches, steps and
/// packs is a small one.
pub const SMALL_LIMITS: &str = "small-limits";

/// The names of all hard places.
#[must_use]
pub fn hard_names() -> Vec<&'static str> {
    HardPlace::ALL
        .iter()
        .map(|place| place.name())
        .chain(HARD_LINKS)
        .chain([SMALL_LIMITS])
        .collect()
}

/// Whether there is a hard place of that name.
pub(crate) fn is_hard_name(name: &str) -> bool {
    hard_names().contains(&name)
}

/// Makes the world as hard as the scenario wants it. Limits are small for as
/// long as what it returns lives.
pub(super) fn make_hard(world: &World, scenario: &Scenario) -> Option<SmallLimits> {
    let is_on = |name: &str| scenario.hard.iter().any(|on| on == name);
    world.set_hard(Hard::new(HardPlace::ALL.into_iter().filter(|place| is_on(place.name()))));
    world.net().set_all(hard_link(scenario));
    is_on(SMALL_LIMITS).then(limit::make_small)
}

/// A link on which nothing is wrong but what is always hard.
pub(super) fn hard_link(scenario: &Scenario) -> Link {
    let is_on = |name: &str| scenario.hard.iter().any(|on| on == name);
    Link {
        double_per_mille: if is_on(HARD_LINKS[0]) { 1000 } else { 0 },
        reply_loss_per_mille: if is_on(HARD_LINKS[1]) { REPLIES_DROPPED_PER_MILLE } else { 0 },
        ..Link::default()
    }
}
