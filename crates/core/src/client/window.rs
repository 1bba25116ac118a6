//! How much a put or a get holds at once: the client's memory promise.
//!
//! Client, node and coordinator each stay under 256 MiB resident. Of the
//! client's, a put or a get takes [`FRAMES_BYTES_MAX`] for frames; kept
//! buffers, streams of the transport and the program share the rest.

use crate::data::frame::FRAME_SIZE;

/// Bytes of frames that one put or one get holds at once.
pub const FRAMES_BYTES_MAX: u64 = 96 << 20;
/// The most stripes that one put writes at once.
pub const STRIPES_IN_FLIGHT_MAX: usize = 16;
/// Chunks that are written or read at once where memory allows it: enough to
/// keep a few cores and disks busy, few enough that a disk sees long runs.
const CHUNKS_IN_FLIGHT: u64 = 4;
/// Small chunks that are written or read at once: their time is waiting.
const SMALL_CHUNKS_IN_FLIGHT: u64 = 16;

/// How a put with a seekable source goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutWindow {
    /// Stripes in flight at once.
    pub stripes: usize,
    /// Frames that wait in front of each copy's stream.
    pub queue_frames: usize,
    /// Whether the next row is read while the present one is coded and sent.
    pub is_pipelined: bool,
}

impl PutWindow {
    /// The window for stripes of `width` chunks (data and parity) of
    /// `chunk_bytes` each.
    #[must_use]
    pub fn plan(width: usize, chunk_bytes: u64) -> Self {
        let width = u64::try_from(width.max(1)).expect("a stripe is at most 32 chunks wide");
        let frame_bytes = chunk_bytes.clamp(1, FRAME_SIZE as u64);
        // In the making, being sent, waiting in front of the stream (2), in it.
        let deep_bytes = width * chunk_bytes.clamp(1, 5 * frame_bytes);
        // Being sent, waiting in front of the stream, in it.
        let flat_bytes = width * chunk_bytes.clamp(1, 3 * frame_bytes);
        let is_deep = deep_bytes <= FRAMES_BYTES_MAX;
        let stripe_bytes = if is_deep { deep_bytes } else { flat_bytes };
        let chunks_wanted = if chunk_bytes <= FRAME_SIZE as u64 {
            SMALL_CHUNKS_IN_FLIGHT
        } else {
            CHUNKS_IN_FLIGHT
        };
        // Two at least, so that one is read while another is made durable.
        let wanted = (chunks_wanted / width).max(2);
        let affordable = (FRAMES_BYTES_MAX / stripe_bytes).max(1);
        let stripes = usize::try_from(wanted.min(affordable)).unwrap_or(STRIPES_IN_FLIGHT_MAX);
        Self {
            stripes: stripes.min(STRIPES_IN_FLIGHT_MAX),
            queue_frames: if is_deep { 2 } else { 1 },
            is_pipelined: is_deep,
        }
    }

    /// Frames that one stripe of `width` chunks may hold at once.
    #[cfg(test)]
    fn frames_held(&self, width: u64) -> u64 {
        width * if self.is_pipelined { 5 } else { 3 } * self.stripes as u64
    }
}

/// How a get goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetWindow {
    /// Chunks in flight at once.
    pub chunks: usize,
    /// Opened frames that each may have waiting for the sink.
    pub frames_per_chunk: u32,
}

/// Frames of a whole get that wait for its sink, at most.
const FRAMES_WAITING_MAX: u64 = 64;
/// Frames of other chunks that degraded reads of one get hold at once, at most.
pub const PARITY_FRAMES_MAX: u32 = 64;

impl GetWindow {
    /// The window for chunks of at most `chunk_bytes` each.
    #[must_use]
    pub fn plan(chunk_bytes: u64) -> Self {
        let frames = chunk_bytes.div_ceil(FRAME_SIZE as u64).max(1);
        let chunks = (FRAMES_WAITING_MAX / frames).clamp(CHUNKS_IN_FLIGHT, SMALL_CHUNKS_IN_FLIGHT);
        let frames_per_chunk = (FRAMES_WAITING_MAX / chunks).min(frames);
        Self {
            chunks: usize::try_from(chunks).expect("a small number"),
            frames_per_chunk: u32::try_from(frames_per_chunk).expect("a small number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_put_holds_more_frames_than_its_budget() {
        for width in 1..=32 {
            for chunk_bytes in [1, 64 << 10, 1 << 20, 5 << 20, 64 << 20, 1 << 30] {
                let window = PutWindow::plan(width, chunk_bytes);
                assert!(window.stripes >= 1 && window.stripes <= STRIPES_IN_FLIGHT_MAX);
                let frame_bytes = chunk_bytes.min(FRAME_SIZE as u64);
                let held = window.frames_held(width as u64) * frame_bytes;
                let at_most = held.min(window.stripes as u64 * width as u64 * chunk_bytes);
                assert!(at_most <= FRAMES_BYTES_MAX, "{width} x {chunk_bytes}: {window:?}");
            }
        }
    }

    #[test]
    fn usual_policies_keep_several_chunks_in_flight() {
        assert_eq!(PutWindow::plan(1, 64 << 20).stripes, 4);
        assert_eq!(PutWindow::plan(5, 64 << 20).stripes, 2);
        assert_eq!(PutWindow::plan(9, 64 << 20).stripes, 2);
        assert_eq!(PutWindow::plan(1, 64 << 10).stripes, 16);
        assert!(!PutWindow::plan(32, 64 << 20).is_pipelined);
    }

    #[test]
    fn no_get_holds_more_frames_than_its_budget() {
        for chunk_bytes in [1, 64 << 10, 1 << 20, 3 << 20, 64 << 20, 1 << 30] {
            let window = GetWindow::plan(chunk_bytes);
            assert!(window.frames_per_chunk >= 1);
            let frames = window.chunks as u64 * u64::from(window.frames_per_chunk);
            assert!(frames <= FRAMES_WAITING_MAX, "{chunk_bytes}: {window:?}");
        }
    }
}
