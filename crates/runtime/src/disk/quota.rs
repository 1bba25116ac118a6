//! How many bytes a folder may hold, and how many it holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The account of one folder. Clones share it.
#[derive(Clone)]
pub(super) struct Quota(Option<Arc<Account>>);

struct Account {
    bytes_max: u64,
    used: AtomicU64,
}

impl Quota {
    /// No bound, nothing counted.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// At most `bytes_max`, of which `used` are taken.
    pub(super) fn new(bytes_max: u64, used: u64) -> Self {
        Self(Some(Arc::new(Account { bytes_max, used: AtomicU64::new(used) })))
    }

    /// Takes `bytes` more.
    ///
    /// # Errors
    /// `StorageFull` when they are not there; nothing is taken then.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let Some(account) = &self.0 else { return Ok(()) };
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= account.bytes_max);
        match account.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the folder holds {used} of {} allowed bytes", account.bytes_max),
            )),
        }
    }

    /// Gives `bytes` back.
    pub(super) fn give(&self, bytes: u64) {
        if let Some(account) = &self.0 {
            let less = |used: u64| Some(used.saturating_sub(bytes));
            let _ = account.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
    }

    /// Bytes allowed and bytes left, where there is a bound.
    pub(super) fn room(&self) -> Option<(u64, u64)> {
        let account = self.0.as_ref()?;
        let used = account.used.load(Ordering::Acquire);
        Some((account.bytes_max, account.bytes_max.saturating_sub(used)))
    }
}
