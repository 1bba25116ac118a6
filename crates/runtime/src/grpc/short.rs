//! What both ends of short calls agree on: how many go into one message.

use std::collections::VecDeque;

use prost::Message;

use super::limit::COORDINATOR_MESSAGE_BYTES_MAX;

/// A message is full once it has this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// The longest single call or answer: alone it makes a message that a
/// coordinator or a client still takes.
pub(crate) const ITEM_BYTES_MAX: usize = COORDINATOR_MESSAGE_BYTES_MAX - (1 << 10);

/// The next message's calls or answers, from the front of `items`: as many as
/// are there, up to [`BATCH_BYTES`], and at least one where there is one.
pub(crate) fn batch<T: Message>(items: &mut VecDeque<T>) -> Vec<T> {
    let mut bytes = 0;
    let count = items.iter().take_while(|item| {
        let is_first = bytes == 0;
        bytes += item.encoded_len();
        is_first || bytes <= BATCH_BYTES
    });
    let count = count.count();
    items.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::wire::WriteWhole;

    fn write(len: usize) -> WriteWhole {
        WriteWhole { frame: vec![7; len].into(), ..WriteWhole::default() }
    }

    #[test]
    fn a_message_is_filled_and_not_overfilled() {
        let mut items: VecDeque<_> =
            [BATCH_BYTES / 2, BATCH_BYTES / 3, BATCH_BYTES, 0, 1].into_iter().map(write).collect();
        let lens = |batch: Vec<WriteWhole>| -> Vec<usize> {
            batch.iter().map(|write| write.frame.len()).collect()
        };
        assert_eq!(lens(batch(&mut items)), [BATCH_BYTES / 2, BATCH_BYTES / 3]);
        assert_eq!(lens(batch(&mut items)), [BATCH_BYTES], "one goes whatever its length");
        assert_eq!(lens(batch(&mut items)), [0, 1]);
        assert!(batch(&mut items).is_empty());
    }
}
