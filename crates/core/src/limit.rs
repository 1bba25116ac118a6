//! Limits that a simulated world may shrink.
//!
//! A page of 4,096 entries, or a batch of 1,024, is never full in a small
//! simulated cluster, so the code that goes on to the next one would never
//! run there. Under the hard place `small-limits` each limit has a small
//! value on the thread of that world; a real world has none but the usual.

use std::cell::Cell;

thread_local! {
    static IS_SMALL: Cell<bool> = const { Cell::new(false) };
}

/// Returns a limit: `usual`, or `small` in a world with small limits.
#[inline]
pub fn limit<T>(usual: T, small: T) -> T {
    if IS_SMALL.get() { small } else { usual }
}

/// Makes limits usual again when it is dropped.
#[must_use]
pub struct SmallLimits(());

/// Makes all limits of the world on this thread small.
pub fn make_small() -> SmallLimits {
    IS_SMALL.set(true);
    SmallLimits(())
}

impl Drop for SmallLimits {
    fn drop(&mut self) {
        IS_SMALL.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_small_on_one_thread_for_as_long_as_the_guard_lives() {
        assert_eq!(limit(4096, 3), 4096);
        let small = make_small();
        assert_eq!(limit(4096, 3), 3);
        let other = std::thread::spawn(|| limit(4096, 3)).join().expect("no panic");
        assert_eq!(other, 4096);
        drop(small);
        assert_eq!(limit(4096, 3), 4096);
    }
}
