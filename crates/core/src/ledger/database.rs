//! redb's database, closed so that nothing it finds then ends the process.
//!
//! redb writes as it closes, and panics where its pages make no sense. Nobody
//! is left to be told by then, and nothing that was acknowledged depends on
//! it: the next start finds what is wrong and says so.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Database;

/// A database that is closed without a panic.
pub(super) struct Closing(Option<Database>);

impl From<Database> for Closing {
    fn from(database: Database) -> Self {
        Self(Some(database))
    }
}

impl Deref for Closing {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let database = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::warn!("{} was not closed cleanly: redb gave up on it", super::LEDGER_FILE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A backend that gives up on every write once it is told to.
    #[derive(Debug, Default)]
    struct GivesUp {
        memory: InMemoryBackend,
        is_broken: Arc<AtomicBool>,
        panics: Arc<AtomicU32>,
    }

    impl StorageBackend for GivesUp {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.is_broken.load(Ordering::Relaxed) {
                self.panics.fetch_add(1, Ordering::Relaxed);
                panic!("pages that make no sense");
            }
            self.memory.write(offset, data)
        }
    }

    #[test]
    fn a_panic_while_it_is_closed_goes_no_further() {
        let backend = GivesUp::default();
        let (is_broken, panics) = (Arc::clone(&backend.is_broken), Arc::clone(&backend.panics));
        let database = Database::builder().create_with_backend(backend).expect("a new one");
        let database = Closing::from(database);
        is_broken.store(true, Ordering::Relaxed);
        drop(database);
        assert!(panics.load(Ordering::Relaxed) > 0, "it happened");
    }
}
