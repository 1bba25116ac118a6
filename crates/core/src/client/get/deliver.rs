//! From the lanes to the sink: one writer, in order where the sink wants it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::api::Kind;
use crate::client::{ClientError, Sink};

/// Checked bytes on their way to the sink.
pub(super) struct Piece {
    /// Where they belong, counted from the first byte that was asked for.
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// Its lane's room, free again when the sink has taken the bytes.
    pub(super) room: OwnedSemaphorePermit,
}

/// Hands all pieces to `sink`. What waits for an earlier piece is bounded by
/// the lanes' rooms.
pub(super) async fn deliver(
    sink: &mut dyn Sink,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<(), ClientError> {
    let is_ordered = sink.is_ordered();
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    while let Some(piece) = queue.recv().await {
        if !is_ordered {
            write(sink, piece).await?;
            continue;
        }
        waiting.insert(piece.offset, piece);
        while let Some(piece) = waiting.remove(&next) {
            next += piece.bytes.len() as u64;
            write(sink, piece).await?;
        }
    }
    Ok(())
}

async fn write(sink: &mut dyn Sink, piece: Piece) -> Result<(), ClientError> {
    let Piece { offset, bytes, room } = piece;
    let written = sink.write(offset, bytes).await;
    drop(room);
    written.map_err(|error| {
        ClientError::new(Kind::Internal, format!("the output could not be written: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;

    struct Pipe {
        is_ordered: bool,
        taken: Vec<(u64, Bytes)>,
    }

    #[async_trait]
    impl Sink for Pipe {
        fn is_ordered(&self) -> bool {
            self.is_ordered
        }

        async fn write(&mut self, offset: u64, bytes: Bytes) -> io::Result<()> {
            self.taken.push((offset, bytes));
            Ok(())
        }
    }

    async fn delivered(is_ordered: bool, offsets: &[u64]) -> Vec<u64> {
        let rooms = Arc::new(Semaphore::new(offsets.len()));
        let (pieces, queue) = mpsc::channel(offsets.len());
        for offset in offsets {
            let room = rooms.clone().try_acquire_owned().expect("one for each");
            let bytes = Bytes::from_static(b"ab");
            pieces.try_send(Piece { offset: *offset, bytes, room }).expect("room for each");
        }
        drop(pieces);
        let mut pipe = Pipe { is_ordered, taken: Vec::new() };
        deliver(&mut pipe, queue).await.expect("the sink takes all");
        assert_eq!(rooms.available_permits(), offsets.len());
        pipe.taken.into_iter().map(|(offset, _)| offset).collect()
    }

    #[tokio::test]
    async fn an_ordered_sink_gets_its_bytes_in_order() {
        assert_eq!(delivered(true, &[4, 2, 6, 0, 8]).await, [0, 2, 4, 6, 8]);
    }

    #[tokio::test]
    async fn another_sink_gets_them_as_they_come() {
        assert_eq!(delivered(false, &[4, 2, 4, 0]).await, [4, 2, 4, 0]);
    }
}
