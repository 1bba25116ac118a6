//! The file that the demonstration stores.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use dfs_core::data::digest::{Digest, Hasher};
use dfs_simulation::rng::Rng;
use tokio::task::spawn_blocking;

use super::below;
use crate::exit::{Code, Failure};

/// The size of the file that is made when none is given.
const SIZE: usize = 256 << 20;
/// Bytes made or read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file and what it hashes to.
pub(super) struct Material {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its SHA-256.
    pub(super) digest: Digest,
}

impl Material {
    /// Hashes `file`, or makes one in `folder`.
    pub(super) async fn prepare(file: Option<&Path>, folder: &Path) -> Result<Self, Failure> {
        let given = file.map(Path::to_owned);
        let path = given.clone().unwrap_or_else(|| below(folder, "material"));
        let work = path.clone();
        let prepare = move || if given.is_some() { hash(&work) } else { make(&work) };
        let digest = spawn_blocking(prepare)
            .await
            .map_err(|e| Failure::new(Code::Other, e.to_string()))?
            .map_err(|e| Failure::local("read", &path, &e))?;
        Ok(Self { path, digest })
    }
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&piece[..count]),
        }
    }
}

/// Half of it text that compresses, half of it noise; the same every time.
fn make(path: &Path) -> io::Result<Digest> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut hasher = Hasher::default();
    let mut rng = Rng::new(0x0df5_51b5);
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for number in 0..SIZE / PIECE_BYTES {
        piece.clear();
        if number % 2 == 0 {
            while piece.len() < PIECE_BYTES {
                let (row, value) = (piece.len(), rng.next_u64() % 1000);
                writeln!(piece, "row {row:>8} of piece {number:>4}: value {value}")?;
            }
        } else {
            while piece.len() < PIECE_BYTES {
                piece.extend_from_slice(&rng.next_u64().to_le_bytes());
            }
        }
        piece.truncate(PIECE_BYTES);
        hasher.update(&piece);
        file.write_all(&piece)?;
    }
    file.flush()?;
    Ok(hasher.finish())
}
