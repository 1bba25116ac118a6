//! The names of files in a node's folder. All are made of numbers.

use crate::id::Handle;

/// Chunks with a file of their own, in 256 folders.
pub(super) const CHUNKS: &str = "chunks";
/// Packs of small chunks.
pub(super) const PACKS: &str = "packs";
/// Chunks that were found bad.
pub(super) const QUARANTINE: &str = "quarantine";
/// Chunks being written. Swept at start-up.
pub(super) const DRAFTS: &str = "tmp";

const CHUNK_SUFFIX: &str = ".chunk";
const PACK_SUFFIX: &str = ".pack";

/// The folder of a chunk's file.
pub(super) fn chunk_folder(handle: Handle) -> String {
    format!("{CHUNKS}/{:02x}", handle.0 & 0xff)
}

/// A chunk's file.
pub(super) fn chunk(handle: Handle) -> String {
    format!("{}/{:016x}{CHUNK_SUFFIX}", chunk_folder(handle), handle.0)
}

/// Where a bad chunk is kept.
pub(super) fn quarantine(handle: Handle) -> String {
    format!("{QUARANTINE}/{:016x}{CHUNK_SUFFIX}", handle.0)
}

/// Where a pack that cannot be opened is kept.
pub(super) fn quarantined_pack(number: u32, salt: u64) -> String {
    format!("{QUARANTINE}/{number:08x}-{salt:016x}{PACK_SUFFIX}")
}

/// A file to write a chunk into; `number` is new in this run.
pub(super) fn draft(handle: Handle, number: u64) -> String {
    format!("{DRAFTS}/{:016x}-{number}{CHUNK_SUFFIX}", handle.0)
}

/// A pack. Its salt is in its name, so that a lost first block loses nothing.
pub(super) fn pack(number: u32, salt: u64) -> String {
    format!("{PACKS}/{number:08x}-{salt:016x}{PACK_SUFFIX}")
}

/// Whose file `name` is, in a folder of chunks or in quarantine.
pub(super) fn parse_chunk(name: &str) -> Option<Handle> {
    hex(name.strip_suffix(CHUNK_SUFFIX)?, 16).map(Handle)
}

/// Number and salt of the pack called `name`.
pub(super) fn parse_pack(name: &str) -> Option<(u32, u64)> {
    let (number, salt) = name.strip_suffix(PACK_SUFFIX)?.split_once('-')?;
    Some((u32::try_from(hex(number, 8)?).ok()?, hex(salt, 16)?))
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_exact = text.len() == digits && text.bytes().all(is_ours);
    is_exact.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_taken_for_ours() {
        let handle = Handle(0xab12);
        assert_eq!(chunk(handle), "chunks/12/000000000000ab12.chunk");
        assert_eq!(parse_chunk("000000000000ab12.chunk"), Some(handle));
        assert_eq!(parse_pack("0000000a-00000000000000ff.pack"), Some((10, 255)));
        for other in
            ["", ".chunk", "ab12.chunk", "000000000000AB12.chunk", "+00000000000ab12.chunk"]
        {
            assert_eq!(parse_chunk(other), None, "{other}");
        }
        assert_eq!(parse_pack("0000000a.pack"), None);
    }
}
