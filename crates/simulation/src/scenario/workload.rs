//! What clients do: one by one, or drawn from a seed.

use dfs_core::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use super::text::{as_text, as_text_if_any, is_default};
use crate::rng::Rng;

/// The largest of the small files, which nodes pack together.
const SMALL_MAX_BYTES: u64 = 4096;

/// What one client does once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Op {
    /// Which client, from 1. Each does its ops in order, one at a time.
    #[serde(default = "first")]
    pub client: usize,
    /// How long it waits before.
    #[serde(default, with = "as_text", skip_serializing_if = "is_default")]
    pub after: Span,
    /// What it does.
    #[serde(rename = "do")]
    pub act: Act,
    /// To which file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// `put`, `replace`: bytes of the file.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// `get-range`: the first byte and how many.
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub offset: Option<ByteSize>,
    /// See [`Op::offset`].
    #[serde(default, with = "as_text_if_any", skip_serializing_if = "Option::is_none")]
    pub len: Option<ByteSize>,
}

/// What can be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Store it under a free name.
    Put,
    /// Store it under a name that may be taken.
    Replace,
    /// Fetch it.
    Get,
    /// Fetch a part of it.
    GetRange,
    /// Remove it.
    Remove,
    /// Give it a name that nobody else uses.
    Rename,
    /// List all names.
    List,
}

impl Act {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Replace => "replace",
            Self::Get => "get",
            Self::GetRange => "get-range",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::List => "list",
        }
    }
}

/// Ops drawn from a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Workload {
    /// Files that are there before anything goes wrong.
    #[serde(skip_serializing_if = "is_default")]
    pub stored_before: usize,
    /// Ops of all clients together.
    pub ops: usize,
    /// The mean pause of a client between two ops.
    #[serde(with = "as_text")]
    pub every: Span,
    /// How many names there are. Low ones are used more.
    pub names: usize,
    /// The smallest file.
    #[serde(with = "as_text")]
    pub size_min: ByteSize,
    /// The largest file.
    #[serde(with = "as_text")]
    pub size_max: ByteSize,
    /// How often each op is drawn.
    #[serde(skip_serializing_if = "is_default")]
    pub weights: Weights,
}

/// How often each op is drawn, in parts of their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(missing_docs, reason = "each is the weight of the op of its name")]
pub struct Weights {
    pub put: u32,
    pub replace: u32,
    pub get: u32,
    pub get_range: u32,
    pub remove: u32,
    pub rename: u32,
    pub list: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            stored_before: 0,
            ops: 100,
            every: Span::from_secs(2),
            names: 8,
            size_min: ByteSize(0),
            size_max: ByteSize(300 << 10),
            weights: Weights::default(),
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { put: 4, replace: 5, get: 8, get_range: 4, remove: 2, rename: 1, list: 1 }
    }
}

impl Workload {
    /// The ops that `seed` draws, for `clients` clients.
    #[must_use]
    pub fn draw(&self, seed: u64, clients: usize) -> Vec<Op> {
        let mut rng = Rng::derive(seed, "workload");
        let mut reads = Rng::derive(seed, "reads");
        let mut ops: Vec<Op> = (0..self.ops).map(|_| self.draw_op(&mut rng, clients)).collect();
        for op in &mut ops {
            self.aim(op, &mut reads);
        }
        ops
    }

    /// Aims a read at what is there: half of the reads, and all of them where
    /// nothing else is ever stored, are of files that were stored before, and
    /// half of the ranges begin where small files have bytes too.
    fn aim(&self, op: &mut Op, rng: &mut Rng) {
        if !matches!(op.act, Act::Get | Act::GetRange) {
            return;
        }
        let is_nothing_put = self.weights.put + self.weights.replace == 0;
        if self.stored_before > 0 && (is_nothing_put || rng.chance(1, 2)) {
            op.name = name_before(1 + index(rng.below(self.stored_before as u64)));
        }
        if let Some(offset) = &mut op.offset
            && rng.chance(1, 2)
        {
            offset.0 %= SMALL_MAX_BYTES;
        }
    }

    /// The size of one file.
    pub(crate) fn draw_size(&self, rng: &mut Rng) -> ByteSize {
        let (min, max) = (self.size_min.0, self.size_max.0.max(self.size_min.0));
        // Half of them are small ones, which nodes pack together.
        let small_max = max.min(SMALL_MAX_BYTES).max(min);
        let max = if rng.chance(1, 2) { small_max } else { max };
        ByteSize(min + rng.below(max - min + 1))
    }

    fn draw_op(&self, rng: &mut Rng, clients: usize) -> Op {
        let client = 1 + index(rng.below(clients.max(1) as u64));
        let after = Span::from_millis(rng.below(2 * self.every.as_millis() + 1));
        let act = self.weights.draw(rng);
        let names = self.names.max(1) as u64;
        let name = format!("f{}", 1 + rng.below(names).min(rng.below(names)));
        let mut op = Op { client, after, act, name, size: None, offset: None, len: None };
        match act {
            Act::Put | Act::Replace => op.size = Some(self.draw_size(rng)),
            Act::GetRange => {
                op.offset = Some(ByteSize(rng.below(self.size_max.0 + 1)));
                op.len = Some(ByteSize(1 + rng.below(self.size_max.0 / 2 + 1)));
            }
            Act::List => op.name.clear(),
            Act::Get | Act::Remove | Act::Rename => {}
        }
        op
    }
}

impl Weights {
    fn draw(self, rng: &mut Rng) -> Act {
        let all = [
            (Act::Put, self.put),
            (Act::Replace, self.replace),
            (Act::Get, self.get),
            (Act::GetRange, self.get_range),
            (Act::Remove, self.remove),
            (Act::Rename, self.rename),
            (Act::List, self.list),
        ];
        let sum: u64 = all.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = rng.below(sum);
        for (act, weight) in all {
            match drawn.checked_sub(u64::from(weight)) {
                Some(rest) => drawn = rest,
                None => return act,
            }
        }
        Act::Get
    }
}

/// The name of stored-before file number `number`, from 1.
pub(crate) fn name_before(number: usize) -> String {
    format!("before/{number:05}")
}

fn first() -> usize {
    1
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("it was a count in memory")
}
