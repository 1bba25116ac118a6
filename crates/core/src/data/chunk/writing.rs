//! What writers of chunks count while the frames go by.

use super::{ChunkError, ChunkHeader, ChunkSeal, encode_footer, encode_header};
use crate::data::digest::Hasher;
use crate::data::frame::{self, Codec, FRAME_SIZE, HEADER_SIZE, Place};
use crate::id::Handle;
use crate::mutant::{Mutant, is_planted};

/// Makes a chunk's seal, frame by frame: for whoever makes chunks.
#[derive(Clone, Default)]
pub struct SealBuilder {
    hasher: Hasher,
    raw_len: u64,
    stored_len: u64,
    frames: u32,
}

impl SealBuilder {
    /// Takes the next frame: its raw bytes (of a parity frame: its payload),
    /// and the length of the stored frame made of them.
    pub fn add(&mut self, raw: &[u8], stored_len: usize) {
        self.hasher.update(raw);
        self.raw_len += raw.len() as u64;
        self.stored_len += stored_len as u64;
        self.frames += 1;
    }

    /// Takes the next stored parity frame, made by [`frame::seal_parity`].
    pub fn add_parity(&mut self, stored: &[u8]) {
        self.add(stored.get(HEADER_SIZE..).unwrap_or_default(), stored.len());
    }

    /// The seal of all frames so far.
    #[must_use]
    pub fn finish(self) -> ChunkSeal {
        ChunkSeal {
            raw_len: self.raw_len,
            stored_len: self.stored_len,
            frames: self.frames,
            digest: self.hasher.finish(),
        }
    }
}

/// Checks the frames of one chunk as they are written down behind its
/// header, and makes its footer: for whoever keeps chunks.
///
/// Everything about a frame is checked but what its payload decompresses to.
/// Memory: four bytes a frame.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    handle: Handle,
    is_parity: bool,
    chunk_size: u32,
    frames_max: u32,
    raw_len: u64,
    stored_len: u64,
    frame_lens: Vec<u32>,
}

impl ImageBuilder {
    /// Begins the image of a chunk; gives the bytes of its header too.
    ///
    /// # Errors
    /// [`ChunkError::Field`] when the header breaks a rule.
    pub fn new(header: &ChunkHeader) -> Result<(Self, Vec<u8>), ChunkError> {
        header.validate()?;
        let builder = Self {
            handle: header.handle,
            is_parity: header.is_parity(),
            chunk_size: header.chunk_size,
            frames_max: header.frames_max(),
            raw_len: 0,
            stored_len: 0,
            frame_lens: Vec::new(),
        };
        Ok((builder, encode_header(header)))
    }

    /// Checks the next whole stored frame and takes note of it.
    ///
    /// # Errors
    /// [`ChunkError`] when the frame is bad or may not stand here; the image
    /// is then to be thrown away.
    pub fn add(&mut self, stored: &[u8]) -> Result<(), ChunkError> {
        let index = self.frames();
        let bad = |error| ChunkError::Frame { index, error };
        if index >= self.frames_max {
            return Err(ChunkError::TooManyFrames { frames_max: self.frames_max });
        }
        let is_full = self.raw_len == u64::from(index) * FRAME_SIZE as u64;
        if !self.is_parity && !is_full {
            return Err(ChunkError::AfterShort { index });
        }
        let is_taken_blindly = is_planted(Mutant::RepairFromUnverified);
        let check = if is_taken_blindly { frame::check_form_only } else { frame::check };
        let place = Place { handle: self.handle, index };
        let checked = check(place, stored).map_err(bad)?;
        if (checked.codec == Codec::Parity) != self.is_parity {
            return Err(bad(frame::FrameError::Codec(checked.codec as u8)));
        }
        let raw_len = self.raw_len + frame::raw_len(&checked).map_err(bad)? as u64;
        if raw_len > self.raw_len_max() {
            return Err(ChunkError::Field { field: "raw length", found: raw_len });
        }
        self.raw_len = raw_len;
        self.stored_len += stored.len() as u64;
        self.frame_lens.push(u32::try_from(stored.len()).expect("at most STORED_MAX"));
        Ok(())
    }

    /// The most raw bytes that the frames up to the next one may have. Coded
    /// rows are longer by the headers of the frames that they code.
    fn raw_len_max(&self) -> u64 {
        let headers = if self.is_parity { self.frame_lens.len() + 1 } else { 0 };
        u64::from(self.chunk_size) + (headers * HEADER_SIZE) as u64
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u32 {
        u32::try_from(self.frame_lens.len()).expect("at most FRAMES_MAX")
    }

    /// Bytes of the stored frames so far.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        self.stored_len
    }

    /// The bytes of the footer, when `seal` describes the frames that came.
    /// Its digest is taken at its word.
    ///
    /// # Errors
    /// [`ChunkError::Seal`] when it does not.
    pub fn finish(self, seal: &ChunkSeal) -> Result<Vec<u8>, ChunkError> {
        for (what, claimed, found) in [
            ("frames", u64::from(seal.frames), u64::from(self.frames())),
            ("stored bytes", seal.stored_len, self.stored_len),
            ("raw bytes", seal.raw_len, self.raw_len),
        ] {
            if claimed != found {
                return Err(ChunkError::Seal { what, claimed, found });
            }
        }
        Ok(encode_footer(seal, &self.frame_lens, self.handle))
    }
}
