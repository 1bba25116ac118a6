//! A whole image in memory: a small chunk, or a test's.

use super::{
    ChunkError, ChunkHeader, ChunkSeal, Footer, ImageBuilder, decode_footer, decode_header,
};

/// A whole chunk image: its header and footer are good and belong together.
/// Its frames were not looked at.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// What the chunk is.
    pub header: ChunkHeader,
    /// Its seal and frame index.
    pub footer: Footer,
    /// All stored frames, one after the other.
    pub frames: &'a [u8],
}

impl<'a> Image<'a> {
    /// Reads the image that is exactly `bytes`.
    ///
    /// # Errors
    /// [`ChunkError`] when header, footer or length are not as written.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let (header, header_len) = decode_header(bytes)?;
        let footer = decode_footer(bytes)?;
        footer.belongs_to(&header, header_len, bytes.len() as u64)?;
        let frames = &bytes[header_len..bytes.len() - footer.encoded_len()];
        Ok(Self { header, footer, frames })
    }

    /// Stored frame `index`, not yet checked; `None` behind the last.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<&'a [u8]> {
        let len = *self.footer.frame_lens.get(index)?;
        let start = usize::try_from(self.footer.frame_offset(index)).ok()?;
        self.frames.get(start..start + len as usize)
    }
}

/// The whole image of a chunk.
///
/// # Errors
/// [`ChunkError`] when a frame is bad, or the seal does not describe them.
pub fn encode_image(
    header: &ChunkHeader,
    frames: &[impl AsRef<[u8]>],
    seal: &ChunkSeal,
) -> Result<Vec<u8>, ChunkError> {
    let (mut builder, mut image) = ImageBuilder::new(header)?;
    for frame in frames {
        builder.add(frame.as_ref())?;
        image.extend_from_slice(frame.as_ref());
    }
    image.extend_from_slice(&builder.finish(seal)?);
    Ok(image)
}
