//! A value that one side publishes and many sides wait for.
//!
//! Waiters run in the order in which they began to wait. `tokio::sync::watch`
//! wakes its waiters in an order that it draws from a thread-local generator,
//! so with it one seed of the simulator has many traces. Values between two
//! looks may be missed; this is no queue.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The side that publishes. When it is dropped, waiters get [`Gone`].
pub struct Publisher<T>(Published<T>);

/// The side that looks and waits. Clones see the same value.
pub struct Published<T>(Arc<Mutex<Inner<T>>>);

/// The publisher was dropped, so the value changes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody publishes this value any more")]
pub struct Gone;

struct Inner<T> {
    value: T,
    is_gone: bool,
    next_ticket: u64,
    /// By ticket, so that iteration is in the order of the first wait. At most
    /// one a waiting future, which removes its own when it is dropped.
    waiting: BTreeMap<u64, Waker>,
}

impl<T> Publisher<T> {
    /// Publishes a first value.
    pub fn new(value: T) -> Self {
        let inner = Inner { value, is_gone: false, next_ticket: 0, waiting: BTreeMap::new() };
        Self(Published(Arc::new(Mutex::new(inner))))
    }

    /// Returns a side that looks and waits.
    #[must_use]
    pub fn published(&self) -> Published<T> {
        self.0.clone()
    }

    /// Replaces the value and wakes all waiters.
    pub fn set(&self, value: T) {
        self.change(|inner| inner.value = value);
    }

    fn change(&self, change: impl FnOnce(&mut Inner<T>)) {
        let woken = {
            let mut inner = self.0.lock();
            change(&mut inner);
            std::mem::take(&mut inner.waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.change(|inner| inner.is_gone = true);
    }
}

impl<T> Published<T> {
    /// Returns what `look` sees in the value.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock().value)
    }

    /// Waits until `look` finds something in the value, and returns that.
    ///
    /// # Errors
    /// [`Gone`] when the publisher was dropped and the last value has nothing.
    pub async fn until<R>(&self, look: impl FnMut(&T) -> Option<R> + Unpin) -> Result<R, Gone> {
        Until { of: self, ticket: None, look }.await
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Until<'a, T, F> {
    of: &'a Published<T>,
    ticket: Option<u64>,
    look: F,
}

impl<T, R, F: FnMut(&T) -> Option<R> + Unpin> Future for Until<'_, T, F> {
    type Output = Result<R, Gone>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut inner = this.of.lock();
        if let Some(found) = (this.look)(&inner.value) {
            return Poll::Ready(Ok(found));
        }
        if inner.is_gone {
            return Poll::Ready(Err(Gone));
        }
        let ticket = *this.ticket.get_or_insert_with(|| {
            inner.next_ticket += 1;
            inner.next_ticket
        });
        inner.waiting.insert(ticket, context.waker().clone());
        Poll::Pending
    }
}

impl<T, F> Drop for Until<'_, T, F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.of.lock().waiting.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use futures_util::task::noop_waker;

    use super::*;

    type Wait<'a> = BoxFuture<'a, Result<(), Gone>>;

    /// Appends its number to a list when it is woken.
    struct Noting(usize, Arc<Mutex<Vec<usize>>>);

    impl std::task::Wake for Noting {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("no holder panics").push(self.0);
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_in_which_they_began_to_wait() {
        const WAITERS: usize = 100;
        let publisher = Publisher::new(0_u32);
        let published = publisher.published();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waits: Vec<Wait<'_>> = (0..WAITERS)
            .map(|_| published.until(|value| (*value > 1).then_some(())).boxed())
            .collect();
        let poll = |at: usize, wait: &mut Wait<'_>| {
            let waker = Waker::from(Arc::new(Noting(at, Arc::clone(&woken))));
            assert!(Future::poll(wait.as_mut(), &mut Context::from_waker(&waker)).is_pending());
        };
        waits.iter_mut().enumerate().for_each(|(at, wait)| poll(at, wait));
        publisher.set(1);
        // Polled in another order, each keeps its place.
        waits.iter_mut().enumerate().rev().for_each(|(at, wait)| poll(at, wait));
        publisher.set(1);
        let expected: Vec<usize> = (0..WAITERS).chain(0..WAITERS).collect();
        assert_eq!(*woken.lock().expect("no holder panics"), expected);
    }

    #[test]
    fn a_waiter_sees_the_value_that_it_waits_for_and_then_that_nobody_publishes() {
        let publisher = Publisher::new(1);
        let published = publisher.published();
        assert_eq!(published.until(|value| Some(*value)).now_or_never(), Some(Ok(1)));
        let mut second = Box::pin(published.until(|value| (*value == 2).then_some("two")));
        assert!(second.as_mut().now_or_never().is_none());
        publisher.set(2);
        assert_eq!(second.now_or_never(), Some(Ok("two")));
        let mut third = Box::pin(published.until(|value| (*value == 3).then_some(())));
        assert!(third.as_mut().now_or_never().is_none());
        drop(publisher);
        assert_eq!(third.now_or_never(), Some(Err(Gone)));
        assert_eq!(published.look(|value| *value), 2);
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing_behind() {
        let publisher = Publisher::new(());
        let published = publisher.published();
        {
            let mut wait = Box::pin(published.until(|()| None::<()>));
            let waker = noop_waker();
            let mut context = Context::from_waker(&waker);
            assert!(Future::poll(wait.as_mut(), &mut context).is_pending());
            assert_eq!(published.lock().waiting.len(), 1);
        }
        assert!(published.lock().waiting.is_empty());
    }
}
