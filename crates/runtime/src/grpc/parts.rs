//! Frames in parts: a stored frame crosses in messages of at most
//! [`PART_BYTES_MAX`], the last of which says so.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use dfs_core::data::frame::STORED_MAX;

use super::limit::{ASSEMBLY_BUFFERS_MAX, PART_BYTES_MAX};
use super::wire::FramePart;

/// The parts of `frame` in order. An empty frame has one empty part.
pub(crate) fn split(frame: Bytes) -> impl Iterator<Item = FramePart> + Send {
    let mut rest = Some(frame);
    std::iter::from_fn(move || {
        let mut bytes = rest.take()?;
        if bytes.len() > PART_BYTES_MAX {
            rest = Some(bytes.split_off(PART_BYTES_MAX));
        }
        Some(FramePart { bytes, is_last: rest.is_none() })
    })
}

/// Parts that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartError {
    /// Together longer than any frame.
    #[error("the parts of a frame have more than {STORED_MAX} bytes")]
    FrameTooLong,
    /// Longer than a part may be.
    #[error("a part of a frame has {0} bytes, at most {PART_BYTES_MAX} are allowed")]
    PartTooLong(usize),
    /// Without bytes, and not the end: it could go on for ever.
    #[error("a part of a frame is empty and not the last")]
    Empty,
}

/// Puts frames together again, in buffers that it uses anew once their
/// readers have let go of them.
#[derive(Default)]
pub(crate) struct Assembler {
    open: BytesMut,
    handed_out: VecDeque<Bytes>,
}

impl Assembler {
    /// Takes the next part; gives the frame when it was the last.
    ///
    /// # Errors
    /// [`PartError`] when these parts are no frame. The stream is then over.
    pub(crate) fn push(&mut self, part: FramePart) -> Result<Option<Bytes>, PartError> {
        let length = part.bytes.len();
        if length > PART_BYTES_MAX {
            return Err(PartError::PartTooLong(length));
        }
        if self.open.len() + length > STORED_MAX {
            return Err(PartError::FrameTooLong);
        }
        if self.open.is_empty() && part.is_last {
            return Ok(Some(part.bytes));
        }
        if length == 0 && !part.is_last {
            return Err(PartError::Empty);
        }
        if self.open.capacity() == 0 {
            self.open = self.buffer();
        }
        self.open.extend_from_slice(&part.bytes);
        if !part.is_last {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.open).freeze();
        if self.handed_out.len() == ASSEMBLY_BUFFERS_MAX {
            self.handed_out.pop_front();
        }
        self.handed_out.push_back(frame.clone());
        Ok(Some(frame))
    }

    /// True between two frames.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.open.is_empty()
    }

    fn buffer(&mut self) -> BytesMut {
        let free = self.handed_out.iter().position(Bytes::is_unique);
        let reused = free.and_then(|index| self.handed_out.remove(index)?.try_into_mut().ok());
        let mut buffer = reused.unwrap_or_default();
        buffer.clear();
        buffer.reserve(STORED_MAX);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(assembler: &mut Assembler, frame: &Bytes) -> Bytes {
        let parts: Vec<_> = split(frame.clone()).collect();
        let (last, first) = parts.split_last().expect("at least one part");
        for part in first {
            assert_eq!(assembler.push(part.clone()), Ok(None));
        }
        assembler.push(last.clone()).expect("parts of a frame").expect("the last")
    }

    #[test]
    fn frames_of_every_length_arrive_as_they_were_sent() {
        let mut assembler = Assembler::default();
        for length in [0, 1, PART_BYTES_MAX - 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, STORED_MAX] {
            let frame: Bytes = (0..length).map(|i| (i % 251) as u8).collect();
            assert_eq!(whole(&mut assembler, &frame), frame, "{length} bytes");
            assert!(assembler.is_at_boundary());
        }
    }

    #[test]
    fn a_buffer_that_was_let_go_is_used_again() {
        let mut assembler = Assembler::default();
        let frame = Bytes::from(vec![7; STORED_MAX]);
        let first = whole(&mut assembler, &frame);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(whole(&mut assembler, &frame).as_ptr(), place);
    }

    #[test]
    fn a_frame_that_is_still_read_is_not_written_over() {
        let mut assembler = Assembler::default();
        let kept: Vec<_> = (0..10u8)
            .map(|i| whole(&mut assembler, &Bytes::from(vec![i; 2 * PART_BYTES_MAX])))
            .collect();
        for (i, frame) in kept.iter().enumerate() {
            assert!(frame.iter().all(|byte| usize::from(*byte) == i));
        }
    }

    #[test]
    fn parts_that_sum_to_more_than_a_frame_are_refused() {
        let mut assembler = Assembler::default();
        let part = FramePart { bytes: Bytes::from(vec![0; PART_BYTES_MAX]), is_last: false };
        for _ in 0..STORED_MAX / PART_BYTES_MAX {
            assert_eq!(assembler.push(part.clone()), Ok(None));
        }
        assert_eq!(assembler.push(part), Err(PartError::FrameTooLong));
    }

    #[test]
    fn oversized_and_empty_parts_are_refused() {
        let long = FramePart { bytes: Bytes::from(vec![0; PART_BYTES_MAX + 1]), is_last: true };
        let empty = FramePart { bytes: Bytes::new(), is_last: false };
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(long), Err(PartError::PartTooLong(PART_BYTES_MAX + 1)));
        assert_eq!(assembler.push(empty), Err(PartError::Empty));
    }
}
