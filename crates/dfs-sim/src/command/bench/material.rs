//! Files to store: bytes that do not compress, and text that does.

use std::fmt::Write as _;
use std::fs::File as LocalFile;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dfs_simulation::rng::Rng;

use super::budget::Data;

/// Bytes after which a file repeats itself: far more than LZ4 looks back, and
/// no frame is compressed by another.
const PERIOD_BYTES: usize = 32 << 20;

/// `len` bytes of this kind, the same for the same seed.
pub(super) fn bytes(data: Data, seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    match data {
        Data::Random => rng.bytes(len),
        Data::Text => {
            let mut text = String::with_capacity(len + 100);
            let mut row = 0;
            while text.len() < len {
                let (user, took) = (rng.below(10_000), rng.below(1000));
                writeln!(text, "row {row:>8}: user {user:>4} waited {took:>3} ms for an answer")
                    .expect("writing to a string cannot fail");
                row += 1;
            }
            text.truncate(len);
            text.into_bytes()
        }
    }
}

/// Makes a file of `len` bytes.
pub(super) fn make(path: &Path, data: Data, len: u64) -> io::Result<()> {
    let period = bytes(data, 1, PERIOD_BYTES);
    let mut file = BufWriter::new(LocalFile::create(path)?);
    let mut left = len;
    while left > 0 {
        let part = left.min(PERIOD_BYTES as u64);
        file.write_all(&period[..part as usize])?;
        left -= part;
    }
    file.flush()
}
