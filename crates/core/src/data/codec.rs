//! LZ4 under the founding header: `[raw length u32 LE][LZ4 block]`.
//!
//! Knows nothing of sums: a block whose bits flipped may well decode, to
//! other bytes. Callers check the frame's sum first.

use std::cell::RefCell;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use super::frame::{FRAME_SIZE, FrameError};

/// Bytes of the founding header.
const RAW_LEN_SIZE: usize = 4;
/// LZ4 is kept when it leaves at most this share of the raw bytes, in
/// percent. Below that gain, reading it back costs more than it saves.
const KEPT_PERCENT_MAX: usize = 97;

/// What compressing needs besides its input and output, kept by each thread:
/// LZ4 wants room that is initialised and longer than the input, and filling
/// that anew for each frame would cost as much as compressing noise does.
struct Scratch {
    table: CompressTable,
    block: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        table: CompressTable::large(),
        block: Vec::new(),
    });
}

/// Appends header and block of `raw` to `out` when that saves enough; else
/// appends nothing and says false. `raw` has at most [`FRAME_SIZE`] bytes.
pub(super) fn compress(raw: &[u8], out: &mut Vec<u8>) -> bool {
    SCRATCH.with_borrow_mut(|Scratch { table, block }| {
        let room = get_maximum_output_size(raw.len());
        if block.len() < room {
            block.resize(room, 0);
        }
        let len = compress_into_with_table(raw, block, table)
            .expect("the output has the maximum output size");
        if (RAW_LEN_SIZE + len) * 100 > raw.len() * KEPT_PERCENT_MAX {
            return false;
        }
        let raw_len = u32::try_from(raw.len()).expect("a frame is at most 1 MiB");
        out.extend_from_slice(&raw_len.to_le_bytes());
        out.extend_from_slice(&block[..len]);
        true
    })
}

/// The claimed raw length, at most [`FRAME_SIZE`], and the block.
pub(super) fn split(payload: &[u8]) -> Result<(usize, &[u8]), FrameError> {
    let Some((header, block)) = payload.split_first_chunk::<RAW_LEN_SIZE>() else {
        return Err(FrameError::Decode(format!("{} bytes hold no length", payload.len())));
    };
    let raw_len = u32::from_le_bytes(*header) as usize;
    if raw_len > FRAME_SIZE {
        return Err(FrameError::Decode(format!(
            "it claims {raw_len} raw bytes, a frame has at most {FRAME_SIZE}"
        )));
    }
    Ok((raw_len, block))
}

/// Appends the raw bytes of `payload` to `raw`; nothing when it fails.
pub(super) fn decompress(payload: &[u8], raw: &mut Vec<u8>) -> Result<(), FrameError> {
    let (raw_len, block) = split(payload)?;
    let start = raw.len();
    raw.resize(start + raw_len, 0);
    let outcome = match decompress_into(block, &mut raw[start..]) {
        Ok(len) if len == raw_len => Ok(()),
        Ok(len) => Err(FrameError::Decode(format!("{len} raw bytes, its header says {raw_len}"))),
        Err(error) => Err(FrameError::Decode(error.to_string())),
    };
    if outcome.is_err() {
        raw.truncate(start);
    }
    outcome
}
