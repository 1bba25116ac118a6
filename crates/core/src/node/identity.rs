//! Who a data folder is: the `identity` file at its root.
//!
//! A few lines of text that a person can read, closed by a CRC32C. It is
//! replaced as a whole (temporary file, sync, rename, sync of the folder),
//! so it is always one of its versions. Nothing else on disk says which
//! cluster and node a folder belongs to.

use std::fmt::Write as _;
use std::io;

use crate::catalog::Told;
use crate::data::digest::crc32c;
use crate::env::{Access, Disk};
use crate::id::{ClusterId, Epoch, FolderId, NodeId, Run, RunTag};

/// Its name.
pub(super) const IDENTITY_FILE: &str = "identity";
const IDENTITY_TEMPORARY: &str = "identity.new";
const MAGIC: &str = "dfs-sim node identity";
const FORMAT_VERSION: u32 = 2;
/// The longest identity file that is read, in bytes.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// What a data folder knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The node.
    pub(super) id: NodeId,
    /// The folder.
    pub(super) folder: FolderId,
    /// The cluster that took it in, once one did.
    pub(super) cluster: Option<ClusterId>,
    /// The adopted run and the last commit that it announced; run
    /// 0 before any.
    pub(super) told: Told,
    /// When it adopted that run, ms since 1970.
    pub(super) since_ms: u64,
    /// The first number above all numbers that the run announced.
    pub(super) numbers_end: u64,
    /// Where the coordinator was last.
    pub(super) coordinator: Option<String>,
}

/// Why an identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("format version {0} is newer than this build knows ({FORMAT_VERSION})")]
    Newer(u32),
    #[error("{0}")]
    Damaged(&'static str),
}

impl Identity {
    /// The identity of a folder that no cluster has taken in.
    pub(super) fn new(id: NodeId, folder: FolderId) -> Self {
        let (told, since_ms, numbers_end) = (Told::default(), 0, 0);
        Self { id, folder, cluster: None, told, since_ms, numbers_end, coordinator: None }
    }

    /// Reads the folder's identity; `None` when it has none.
    pub(super) fn read(disk: &dyn Disk) -> Result<Option<Self>, IdentityError> {
        let file = match disk.open(IDENTITY_FILE, Access::Random) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let len = file.len()?;
        if len > IDENTITY_BYTES_MAX {
            return Err(IdentityError::Damaged("it is far too long"));
        }
        let len = usize::try_from(len).expect("a bounded length fits");
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes)?;
        Self::decode(&bytes).map(Some)
    }

    /// Whether the folder of `disk` is still `folder`: a mount point whose
    /// volume is gone is another one. An identity that is damaged is there all
    /// the same; one bad read is none.
    pub(super) fn is_still(disk: &dyn Disk, folder: FolderId) -> bool {
        let is_ours = || match Self::read(disk) {
            Ok(found) => found.is_some_and(|found| found.folder == folder),
            Err(error) => matches!(error, IdentityError::Damaged(_)),
        };
        is_ours() || is_ours()
    }

    /// Whether the folder of `disk` has an identity that cannot be used: it is
    /// damaged, or the device does not read it. That of a later build is
    /// another's, and to be left alone.
    pub(super) fn is_lost(disk: &dyn Disk) -> bool {
        let cannot_be_read = || match Self::read(disk) {
            Ok(_) | Err(IdentityError::Newer(_)) => false,
            Err(IdentityError::Disk(_) | IdentityError::Damaged(_)) => true,
        };
        cannot_be_read() && cannot_be_read()
    }

    /// Makes this the folder's identity, durably.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        match disk.remove(IDENTITY_TEMPORARY) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(IDENTITY_TEMPORARY, Access::Random)?;
        file.write_at(0, self.encode().as_bytes())?;
        file.sync()?;
        disk.rename(IDENTITY_TEMPORARY, IDENTITY_FILE)?;
        disk.sync_dir("")
    }

    fn encode(&self) -> String {
        let mut text = format!("{MAGIC} {FORMAT_VERSION}\n");
        let Run { epoch, tag } = self.told.run;
        let cluster = self.cluster.map_or_else(|| "-".to_owned(), |cluster| cluster.to_string());
        let coordinator = self.coordinator.as_deref().unwrap_or("-");
        let lines = [
            ("id", self.id.to_string()),
            ("folder", self.folder.to_string()),
            ("cluster", cluster),
            ("epoch", epoch.to_string()),
            ("tag", format!("{:016x}", tag.0)),
            ("since", self.since_ms.to_string()),
            ("position", self.told.position.to_string()),
            ("numbers", self.numbers_end.to_string()),
            ("coordinator", coordinator.to_owned()),
        ];
        for (key, value) in lines {
            writeln!(text, "{key} {value}").expect("writing to a string cannot fail");
        }
        let sum = crc32c(&[text.as_bytes()]);
        writeln!(text, "crc32c {sum:08x}").expect("writing to a string cannot fail");
        text
    }

    fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let damaged = IdentityError::Damaged;
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let first = text.lines().next().ok_or(damaged("it is empty"))?;
        let version = first
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.trim().parse().ok())
            .ok_or(damaged("its first line is not that of a node's identity"))?;
        if version > FORMAT_VERSION {
            return Err(IdentityError::Newer(version));
        }
        let (body, sum) = text
            .trim_end_matches('\n')
            .rsplit_once("crc32c ")
            .ok_or(damaged("its checksum is missing"))?;
        if u32::from_str_radix(sum, 16).ok() != Some(crc32c(&[body.as_bytes()])) {
            return Err(damaged("its checksum does not fit"));
        }
        let value = |key: &str| {
            body.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
                .ok_or(damaged("a line is missing"))
        };
        let known = |text: &'static str| move || damaged(text);
        let number = |key: &str| {
            let number = value(key)?.parse::<u64>();
            number.map_err(|_| damaged("a line with a number has none"))
        };
        // Version 1 knew the number of its run, and nothing else of it.
        let has_run = version > 1;
        let since = |key: &str| if has_run { number(key) } else { Ok(0) };
        let tag = match has_run {
            true => u64::from_str_radix(value("tag")?, 16)
                .map_err(|_| damaged("its run's tag is no tag"))?,
            false => 0,
        };
        let run = Run { epoch: Epoch(number("epoch")?), tag: RunTag(tag) };
        let cluster = match value("cluster")? {
            "-" => None,
            hex => Some(ClusterId(parse_hex(hex).ok_or_else(known("its cluster is no id"))?)),
        };
        let coordinator = match value("coordinator")? {
            "-" => None,
            address => Some(address.to_owned()),
        };
        Ok(Self {
            id: NodeId::new(value("id")?).map_err(|_| damaged("its node id is no id"))?,
            folder: FolderId(
                parse_hex(value("folder")?).ok_or_else(known("its folder id is no id"))?,
            ),
            cluster,
            told: Told { run, position: since("position")? },
            since_ms: since("since")?,
            numbers_end: since("numbers")?,
            coordinator,
        })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            id: NodeId::new("n1").expect("allowed"),
            folder: FolderId([7; 16]),
            cluster: Some(ClusterId([0xa5; 16])),
            told: Told { run: Run::new(9, 0xabcd), position: 77 },
            since_ms: 1_700_000_000_000,
            numbers_end: 65_537,
            coordinator: Some("127.0.0.1:4000".to_owned()),
        }
    }

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        let fresh = Identity { cluster: None, coordinator: None, ..identity() };
        for identity in [identity(), fresh] {
            let read = Identity::decode(identity.encode().as_bytes()).expect("whole");
            assert_eq!(read, identity);
        }
    }

    #[test]
    fn version_2_is_written_as_it_always_was() {
        assert_eq!(
            identity().encode(),
            "dfs-sim node identity 2\nid n1\nfolder 07070707070707070707070707070707\n\
             cluster a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\nepoch 9\ntag 000000000000abcd\n\
             since 1700000000000\nposition 77\nnumbers 65537\ncoordinator 127.0.0.1:4000\n\
             crc32c 066930d8\n"
        );
    }

    #[test]
    fn version_1_is_read_as_a_run_without_a_tag() {
        let text = "dfs-sim node identity 1\nid n1\nfolder 07070707070707070707070707070707\n\
             cluster a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\nepoch 9\ncoordinator 127.0.0.1:4000\n\
             crc32c 8190a5f0\n";
        let told = Told { run: Run::new(9, 0), position: 0 };
        let expected = Identity { told, since_ms: 0, numbers_end: 0, ..identity() };
        assert_eq!(Identity::decode(text.as_bytes()).expect("an earlier format"), expected);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gives_another_identity() {
        let bytes = identity().encode().into_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Identity::decode(&flipped);
            assert!(read.as_ref().is_err() || *read.as_ref().expect("ok") == identity(), "{bit}");
        }
        for len in 0..bytes.len() - 1 {
            assert!(Identity::decode(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let text = identity().encode().replace("identity 2", "identity 3");
        assert!(matches!(Identity::decode(text.as_bytes()), Err(IdentityError::Newer(3))));
    }
}
