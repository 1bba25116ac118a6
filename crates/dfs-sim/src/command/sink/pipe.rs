//! Bytes that go out in order and once.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dfs_core::client::Sink;
use tokio::task::spawn_blocking;

use super::flatten;

/// Standard output, or another thing that only takes bytes in order.
pub(in crate::command) struct PipeSink {
    pipe: Arc<Mutex<Box<dyn Write + Send>>>,
    is_closed: bool,
}

impl PipeSink {
    /// Standard output.
    pub(in crate::command) fn standard_output() -> Self {
        Self::of(Box::new(io::stdout()))
    }

    /// Any pipe or device.
    pub(in crate::command) fn of(pipe: Box<dyn Write + Send>) -> Self {
        Self { pipe: Arc::new(Mutex::new(pipe)), is_closed: false }
    }

    /// Whether the reader has closed its end: it has seen enough.
    pub(in crate::command) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[async_trait]
impl Sink for PipeSink {
    fn is_ordered(&self) -> bool {
        true
    }

    async fn write(&mut self, _offset: u64, bytes: Bytes) -> io::Result<()> {
        let pipe = self.pipe.clone();
        let written = spawn_blocking(move || {
            let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
            pipe.write_all(&bytes)?;
            pipe.flush()
        });
        let written = flatten(written.await);
        self.is_closed |= written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        written
    }
}
