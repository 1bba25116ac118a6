//! The codes: XOR, and Reed–Solomon over GF(2^8).
//!
//! Shards shorter than the longest count as padded with zeros, and data
//! shards that are not there as all zeros. No code notices a wrong shard:
//! whoever decodes has checked each by its own sum.
//!
//! Reed–Solomon's matrix is the Vandermonde matrix made systematic, which is
//! that of Backblaze's, klauspost's and the `reed-solomon-erasure` family, so
//! any of these can read what was coded here.

use std::sync::OnceLock;

use rusty_erasure::{Coder, coder, compat::reed_solomon_erasure_matrix};

use crate::policy::{Code, Coding, STRIPE_WIDTH_MAX};

/// Bytes of each shard that are coded at a time: the blocks of a whole
/// stripe stay in the processor's cache, and the end of a short shard is
/// padded in a block of this size rather than in a copy of the shard.
const BLOCK_BYTES: usize = 32 << 10;
/// What stands for shards that have ended.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The wanted shards cannot be computed from those that are there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Fewer shards than the code needs.
    #[error("{needed} shards are needed, {found} are there")]
    TooFew {
        /// K.
        needed: usize,
        /// Different shards there.
        found: usize,
    },
    /// No policy names such a code.
    #[error("{0:?} is no code: K and M are at least 1, K + M at most 32")]
    Coding(Coding),
    /// The code has no such shard.
    #[error("shard {position} of a code that has {shards}")]
    Position {
        /// As it was given.
        position: u8,
        /// K + M.
        shards: usize,
    },
    /// A shard is longer than the length that was asked for.
    #[error("shard {position} has {found} bytes, the row has {len}")]
    Length {
        /// Which shard.
        position: u8,
        /// Its length.
        found: usize,
        /// The length of the row.
        len: usize,
    },
}

/// The parity shards of `data`, each as long as the longest of them.
///
/// # Panics
/// When there are more data shards than the code is wide.
#[must_use]
pub fn encode(coding: Coding, data: &[&[u8]]) -> Vec<Vec<u8>> {
    let len = data.iter().map(|shard| shard.len()).max().unwrap_or(0);
    let mut parity = vec![vec![0; len]; usize::from(coding.parity)];
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    encode_into(coding, data, &mut outputs);
    parity
}

/// As [`encode`], over whatever is in `parity`: M slices, each as long as
/// the longest data shard.
pub(super) fn encode_into(coding: Coding, data: &[&[u8]], parity: &mut [&mut [u8]]) {
    let width = usize::from(coding.data);
    assert!(data.len() <= width, "{} shards in a code {width} wide", data.len());
    assert_eq!(parity.len(), usize::from(coding.parity), "parity shards");
    match coding.code {
        Code::None => {}
        Code::Xor => xor_all(data, parity[0]),
        Code::ReedSolomon => {
            let coder = reed_solomon(coding);
            by_blocks(data, width, parity, |sources, outputs| {
                coder.encode(sources, outputs).expect("blocks of one length, as many as K and M");
            });
        }
    }
}

/// Adds data shard `position` to `parity`: M shards, which begin empty and
/// grow with the longest. After each data shard was added once, in any order,
/// `parity` is what [`encode`] gives.
///
/// # Panics
/// When the code has no data shard of that position, or not that many parity
/// shards.
pub fn update(coding: Coding, position: u8, shard: &[u8], parity: &mut [Vec<u8>]) {
    for shard_so_far in parity.iter_mut() {
        if shard_so_far.len() < shard.len() {
            shard_so_far.resize(shard.len(), 0);
        }
    }
    let mut outputs: Vec<&mut [u8]> =
        parity.iter_mut().map(|output| &mut output[..shard.len()]).collect();
    update_into(coding, position, shard, &mut outputs);
}

/// As [`update`], on slices exactly as long as the shard.
pub(super) fn update_into(coding: Coding, position: u8, shard: &[u8], parity: &mut [&mut [u8]]) {
    assert!(position < coding.data, "data shard {position} of {}", coding.data);
    assert_eq!(parity.len(), usize::from(coding.parity), "parity shards");
    match coding.code {
        Code::None => {}
        Code::Xor => xor(shard, parity[0]),
        Code::ReedSolomon => reed_solomon(coding)
            .update(usize::from(position), shard, parity)
            .expect("position and lengths were checked"),
    }
}

/// Computes the `wanted` shards of a row that is `len` bytes long from any K
/// `available` ones. A data shard that is known to be all zeros is given as
/// an empty slice. Shards there are taken to be right.
///
/// # Errors
/// [`ErasureError`] when there are too few, or what was given contradicts
/// itself.
pub fn reconstruct(
    coding: Coding,
    available: &[(u8, &[u8])],
    wanted: &[u8],
    len: usize,
) -> Result<Vec<Vec<u8>>, ErasureError> {
    if !is_sound(coding) {
        return Err(ErasureError::Coding(coding));
    }
    let width = usize::from(coding.data);
    let shards = width + usize::from(coding.parity);
    let given = available.iter().map(|&(position, _)| position);
    if let Some(position) =
        given.chain(wanted.iter().copied()).find(|&position| usize::from(position) >= shards)
    {
        return Err(ErasureError::Position { position, shards });
    }
    let mut present: [Option<&[u8]>; STRIPE_WIDTH_MAX as usize] = [None; _];
    for &(position, shard) in available {
        if shard.len() > len {
            return Err(ErasureError::Length { position, found: shard.len(), len });
        }
        present[usize::from(position)] = Some(shard);
    }
    let found = present.iter().flatten().count();
    if found < width {
        return Err(ErasureError::TooFew { needed: width, found });
    }
    let mut rebuilt = vec![vec![0; len]; wanted.len()];
    let mut outputs: Vec<&mut [u8]> = rebuilt.iter_mut().map(Vec::as_mut_slice).collect();
    match coding.code {
        Code::None | Code::Xor => {
            for (&position, output) in wanted.iter().zip(&mut outputs) {
                rebuild_xor(&present[..shards], position, output);
            }
        }
        Code::ReedSolomon => {
            rebuild_reed_solomon(coding, &present[..shards], wanted, &mut outputs);
        }
    }
    Ok(rebuilt)
}

/// One shard of an XOR row: itself, or the sum of all others.
fn rebuild_xor(present: &[Option<&[u8]>], wanted: u8, output: &mut [u8]) {
    match present[usize::from(wanted)] {
        Some(itself) => output[..itself.len()].copy_from_slice(itself),
        None => present.iter().flatten().for_each(|shard| xor(shard, output)),
    }
}

/// Shards of a Reed–Solomon row, from the first K that are present.
fn rebuild_reed_solomon(
    coding: Coding,
    present: &[Option<&[u8]>],
    wanted: &[u8],
    outputs: &mut [&mut [u8]],
) {
    let coder = reed_solomon(coding);
    let width = usize::from(coding.data);
    let mut is_taken: Vec<bool> = present.iter().map(Option::is_some).collect();
    let surplus = is_taken.iter_mut().filter(|taken| **taken).skip(width);
    surplus.for_each(|taken| *taken = false);
    let positions: Vec<usize> = wanted.iter().map(|&position| usize::from(position)).collect();
    let plan = coder
        .decode_plan(&is_taken, &positions)
        .expect("K shards of an MDS code, and positions that it has");
    let taken: Vec<usize> =
        is_taken.iter().enumerate().filter_map(|(at, &taken)| taken.then_some(at)).collect();
    let sources: Vec<&[u8]> = taken.iter().filter_map(|&at| present[at]).collect();
    by_blocks(&sources, width, outputs, |blocks, outputs| {
        let mut row: Vec<Option<&[u8]>> = vec![None; present.len()];
        for (&at, &block) in taken.iter().zip(blocks) {
            row[at] = Some(block);
        }
        coder.recover_with(&plan, &row, outputs).expect("as many and as long as the plan says");
    });
}

/// Hands `sources`, as if there were `width` of them and all were as long as
/// the outputs, and `outputs` to `code`, block by block.
fn by_blocks(
    sources: &[&[u8]],
    width: usize,
    outputs: &mut [&mut [u8]],
    mut code: impl FnMut(&[&[u8]], &mut [&mut [u8]]),
) {
    let len = outputs.first().map_or(0, |output| output.len());
    for start in (0..len).step_by(BLOCK_BYTES) {
        let end = len.min(start + BLOCK_BYTES);
        let padded: Vec<Vec<u8>> = sources.iter().map(|source| pad(source, start, end)).collect();
        let blocks: Vec<&[u8]> = (0..width)
            .map(|at| match sources.get(at) {
                Some(source) if source.len() >= end => &source[start..end],
                Some(source) if source.len() > start => &padded[at],
                _ => &ZEROS[..end - start],
            })
            .collect();
        let mut parts: Vec<&mut [u8]> =
            outputs.iter_mut().map(|output| &mut output[start..end]).collect();
        code(&blocks, &mut parts);
    }
}

/// The block of a source that ends inside it, padded with zeros; nothing,
/// and nothing allocated, for any other block.
fn pad(source: &[u8], start: usize, end: usize) -> Vec<u8> {
    if source.len() <= start || source.len() >= end {
        return Vec::new();
    }
    let mut block = source[start..].to_vec();
    block.resize(end - start, 0);
    block
}

/// The exclusive or of `sources` over whatever is in `output`.
fn xor_all(sources: &[&[u8]], output: &mut [u8]) {
    for (index, block) in output.chunks_mut(BLOCK_BYTES).enumerate() {
        let start = index * BLOCK_BYTES;
        block.fill(0);
        for source in sources {
            let end = source.len().min(start + block.len());
            xor(source.get(start..end).unwrap_or_default(), block);
        }
    }
}

/// Adds `source` to the start of `target`, which is at least as long.
fn xor(source: &[u8], target: &mut [u8]) {
    let (words, rest) = source.as_chunks::<8>();
    let (targets, target_rest) = target[..source.len()].as_chunks_mut::<8>();
    for (target, word) in targets.iter_mut().zip(words) {
        *target = (u64::from_ne_bytes(*target) ^ u64::from_ne_bytes(*word)).to_ne_bytes();
    }
    for (target, byte) in target_rest.iter_mut().zip(rest) {
        *target ^= byte;
    }
}

/// True when `coding` is one that a policy may name.
pub(super) fn is_sound(coding: Coding) -> bool {
    let parity_fits = match coding.code {
        Code::None => coding.data == 1 && coding.parity == 0,
        Code::Xor => coding.parity == 1,
        Code::ReedSolomon => coding.parity >= 1,
    };
    let width = u16::from(coding.data) + u16::from(coding.parity);
    parity_fits && coding.data >= 1 && width <= u16::from(STRIPE_WIDTH_MAX)
}

/// The coder of one Reed–Solomon code, made when it is first asked for.
fn reed_solomon(coding: Coding) -> &'static Coder {
    const SIDE: usize = STRIPE_WIDTH_MAX as usize;
    static CODERS: [[OnceLock<Coder>; SIDE]; SIDE] =
        [const { [const { OnceLock::new() }; SIDE] }; SIDE];
    assert!(is_sound(coding), "no such code: {coding:?}");
    let (data, parity) = (usize::from(coding.data), usize::from(coding.parity));
    CODERS[data][parity].get_or_init(|| {
        let matrix = reed_solomon_erasure_matrix(data, parity)
            .expect("K + M is at most 32, and the matrix exists up to 256");
        coder(matrix).expect("M is at least 1")
    })
}

#[cfg(test)]
mod tests;
