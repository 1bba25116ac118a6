//! The identities of things: cluster, node, file, chunk, run.
//!
//! An identity is never used again for another thing, and none of them is
//! made here: the coordinator hands out numbers, the environment draws
//! random ones.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A chunk's handle: unique in its cluster, for ever.
///
/// The handles of one stripe are consecutive: data chunk `i` of a stripe has
/// `first + i`, its parity chunk `p` has `first + k + p`, where `k` is the
/// width of the code (also in a stripe that holds fewer data chunks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Handle(pub u64);

/// One version of one file: drawn from the same numbers as [`Handle`].
///
/// A later version of a name always has the higher id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u64);

/// One client's line of changes, one after the other: drawn from the same
/// numbers as [`Handle`], so that a later one is always higher.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ClientNumber(pub u64);

/// The name of one change that a client asks for. Every repeat of it carries
/// the same one, so that the change is made at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The client.
    pub client: ClientNumber,
    /// Rises with each change of this client, from 1. A client asks for the
    /// next change only when it needs no more answer to the one before.
    pub sequence: u64,
}

/// The coordinator's start, counted. Orders from a lower one are refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// 64 random bits that tell apart two runs of one number. 0 is the tag of
/// every run of a build that drew none.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct RunTag(pub u64);

/// One leadership of one coordinator. A node obeys exactly the run that it
/// adopted: neither another number, nor the same number with another tag.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Run {
    /// Its number. A later run of one catalog has a higher one.
    pub epoch: Epoch,
    /// Its tag.
    pub tag: RunTag,
}

impl Run {
    /// The run of this number and tag.
    #[must_use]
    pub const fn new(epoch: u64, tag: u64) -> Self {
        Self { epoch: Epoch(epoch), tag: RunTag(tag) }
    }
}

/// The place of a locked data folder: equal places on one booted machine are
/// the same folder, and a copy of the folder has another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockPlace {
    /// The boot of the machine, 128 random bits.
    pub boot: [u8; 16],
    /// The device of the lock file.
    pub device: u64,
    /// The inode of the lock file.
    pub inode: u64,
}

/// 128 random bits that name a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

/// 128 random bits that name a node's data folder, drawn when it is made.
///
/// Tells a node's own folder from another folder under the same [`NodeId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FolderId(pub [u8; 16]);

/// 64 random bits that name one run of a node's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// A member's short number inside one catalog; stands for its [`NodeId`]
/// wherever millions of copies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub u16);

/// The name that an operator gave a node: 1 to 64 of `A-Z a-z 0-9 . _ -`,
/// not starting with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.client.0, self.sequence)
    }
}

/// A node id broke a rule of [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "node id {0:?} is not allowed: use 1 to 64 of A-Z a-z 0-9 . _ - , not starting with . or -"
)]
pub struct BadNodeId(pub String);

impl NodeId {
    /// The longest node id, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// Checks `text` and takes it as a node id.
    ///
    /// # Errors
    /// [`BadNodeId`] when it breaks a rule.
    pub fn new(text: impl Into<String>) -> Result<Self, BadNodeId> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = !text.starts_with(['.', '-']);
        let fits = (1..=Self::LENGTH_MAX).contains(&text.len());
        if fits && starts_well && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(BadNodeId(text))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.epoch, self.tag.0 >> 32)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}
