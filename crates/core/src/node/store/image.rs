//! Reading a chunk image, from a file of its own or from inside a pack.
//!
//! Nothing leaves here that was not checked: header and footer when the image
//! is opened, each frame when it is read.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::{Buffer, BufferPool};
use crate::data::chunk::{
    ChunkError, ChunkHeader, ChunkSeal, FOOTER_BYTES_MAX, Footer, HEADER_BYTES_MAX, decode_footer,
    decode_header,
};
use crate::data::digest::{Digest, Hasher};
use crate::data::frame::{self, Place, STORED_MAX};
use crate::env::File;
use crate::id::{ClusterId, Handle};
use crate::mutant::{Mutant, is_planted};

/// Images up to this length are read in one go: those of one frame.
const WHOLE_READ_BYTES_MAX: u64 = (HEADER_BYTES_MAX + STORED_MAX + 1024) as u64;

/// Why an image, or a frame of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum ImageError {
    /// Its file cannot be opened: that tells nothing about the chunk.
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    /// The disk cannot read it.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// The bytes are not as they were written.
    #[error("{0}")]
    Bad(#[from] ChunkError),
    /// Its footer is not as it was written. Its header is, so that a footer
    /// of a later format is damage too.
    #[error("{0}")]
    Footer(ChunkError),
    /// The bytes are those of another chunk, or of another cluster's.
    #[error("it holds chunk {found} of cluster {cluster}")]
    Misplaced {
        /// Which chunk is there.
        found: Handle,
        /// Whose.
        cluster: ClusterId,
    },
    /// Header, footer and length do not fit together.
    #[error("it has {found} bytes, its footer says {claimed}")]
    Length {
        /// Bytes there.
        found: u64,
        /// Bytes claimed.
        claimed: u64,
    },
    /// Every frame is good, and the whole is not.
    #[error("its SHA-256 is {found}, its seal says {claimed}")]
    Digest {
        /// Computed.
        found: Digest,
        /// In the seal.
        claimed: Digest,
    },
}

impl ImageError {
    /// Whether nothing was read, rather than something wrong.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Disk(_))
    }

    /// True where the file is there and may not be opened: its mode or owner
    /// was changed, or a folder is in its place. Other failures to open a file
    /// (a disk that fails, too many open files) say nothing about this one.
    pub(super) fn is_closed_to_us(&self) -> bool {
        let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::IsADirectory];
        matches!(self, Self::Open(error) if kinds.contains(&error.kind()))
            && !is_planted(Mutant::StopAtClosedFile)
    }
}

/// An image whose header and footer were read and checked.
pub(in crate::node) struct Image {
    header: ChunkHeader,
    footer: Footer,
    /// Where each frame begins in the image, and where the last one ends.
    bounds: Vec<u64>,
    file: Arc<dyn File>,
    base: u64,
    /// The image itself, where it is short.
    whole: Option<Bytes>,
    buffers: BufferPool,
}

impl Image {
    /// Opens the image of `len` bytes at `base` in `file`.
    pub(super) fn open(
        file: Arc<dyn File>,
        base: u64,
        len: u64,
        buffers: &BufferPool,
    ) -> Result<Self, ImageError> {
        let is_short = len <= WHOLE_READ_BYTES_MAX;
        let head_len = if is_short { len } else { HEADER_BYTES_MAX as u64 };
        let head = read(&*file, base, head_len, buffers)?;
        let (header, header_len) = decode_header(head.as_ref())?;
        let footer = if is_short {
            decode_footer(head.as_ref())
        } else {
            let tail_len = len.min(FOOTER_BYTES_MAX as u64);
            decode_footer(read(&*file, base + len - tail_len, tail_len, buffers)?.as_ref())
        };
        let footer = footer.map_err(ImageError::Footer)?;
        if footer.handle != header.handle {
            let (found, cluster) = (footer.handle, header.cluster);
            return Err(ImageError::Misplaced { found, cluster });
        }
        let claimed = footer.image_len(header_len);
        if claimed != len {
            return Err(ImageError::Length { found: len, claimed });
        }
        let mut bounds = Vec::with_capacity(footer.frame_lens.len() + 1);
        bounds.push(header_len as u64);
        for &frame_len in &footer.frame_lens {
            bounds.push(bounds.last().expect("never empty") + u64::from(frame_len));
        }
        let whole = is_short.then(|| head.freeze());
        let buffers = buffers.clone();
        Ok(Self { header, footer, bounds, file, base, whole, buffers })
    }

    /// Refuses an image that is not that of `handle` in `cluster`.
    pub(super) fn expect(self, cluster: ClusterId, handle: Handle) -> Result<Self, ImageError> {
        if self.header.handle == handle && self.header.cluster == cluster {
            return Ok(self);
        }
        Err(ImageError::Misplaced { found: self.header.handle, cluster: self.header.cluster })
    }

    /// What the chunk is.
    pub(in crate::node) fn header(&self) -> &ChunkHeader {
        &self.header
    }

    /// Its lengths and digest.
    pub(in crate::node) fn seal(&self) -> ChunkSeal {
        self.footer.seal
    }

    /// Reads and checks stored frame `index`, which is below the seal's count.
    pub(super) fn frame(&self, index: u32) -> Result<Bytes, ImageError> {
        let at = index as usize;
        let (from, to) = (self.bounds[at], self.bounds[at + 1]);
        let stored = match &self.whole {
            Some(whole) => whole.slice(from as usize..to as usize),
            None => read(&*self.file, self.base + from, to - from, &self.buffers)?.freeze(),
        };
        if !is_planted(Mutant::RepairFromUnverified) {
            let place = Place { handle: self.header.handle, index };
            frame::check(place, &stored).map_err(|error| ChunkError::Frame { index, error })?;
        }
        Ok(stored)
    }

    /// Reads all frames and checks each.
    pub(super) fn check_frames(&self) -> Result<(), ImageError> {
        (0..self.footer.seal.frames).try_for_each(|index| self.frame(index).map(drop))
    }

    /// The image itself.
    pub(super) fn bytes(&self) -> io::Result<Bytes> {
        match &self.whole {
            Some(whole) => Ok(whole.clone()),
            None => {
                let len = self.footer.image_len(self.bounds[0] as usize);
                Ok(read(&*self.file, self.base, len, &self.buffers)?.freeze())
            }
        }
    }

    /// Reads the whole chunk and checks every sum.
    pub(super) fn verify(&self) -> Result<(), ImageError> {
        let mut hasher = Hasher::default();
        let mut scratch = Vec::new();
        for index in 0..self.footer.seal.frames {
            let bad = |error| ChunkError::Frame { index, error };
            let stored = self.frame(index)?;
            let place = Place { handle: self.header.handle, index };
            let checked = frame::check(place, &stored).map_err(bad)?;
            hasher.update(frame::content(&checked, &mut scratch).map_err(bad)?);
        }
        let (found, claimed) = (hasher.finish(), self.footer.seal.digest);
        if found != claimed {
            return Err(ImageError::Digest { found, claimed });
        }
        Ok(())
    }
}

/// True where the image was written by a later build: not damage.
pub(super) fn is_newer(error: &ImageError) -> bool {
    matches!(error, ImageError::Bad(ChunkError::Version { .. }))
}

/// True where the file is not there.
pub(super) fn is_missing(error: &ImageError) -> bool {
    matches!(error, ImageError::Open(error) if error.kind() == io::ErrorKind::NotFound)
}

fn read(file: &dyn File, at: u64, len: u64, buffers: &BufferPool) -> io::Result<Buffer> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let mut buffer = buffers.take(len);
    file.read_at(at, buffer.as_mut_slice())?;
    Ok(buffer)
}
