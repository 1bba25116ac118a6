//! One peer's share of what all peers use together.
//!
//! A peer is an address. It may take another place while it holds fewer than
//! [`SHARE_FACTOR`] times what is free: alone two thirds of all, and the more
//! others there are, the less. So there is always room for one more peer,
//! and nothing is set aside that nobody uses. The rule is the dynamic
//! threshold of Choudhury and Hahne ("Dynamic Queue Length Thresholds for
//! Shared-Memory Packet Switches", IEEE/ACM ToN 6(2), 1998).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::futures::TaskLocalFuture;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use crate::grpc::limit::{PEERS_MAX, SHARE_FACTOR, WRITES_PER_PEER_MAX};

tokio::task_local! {
    /// The peer whose call a task works for.
    static PEER: Option<IpAddr>;
}

/// The peer whose call the present task works for, where that is known.
pub(super) fn peer() -> Option<IpAddr> {
    PEER.try_with(|peer| *peer).unwrap_or_default()
}

/// Runs `work` for `peer`.
pub(super) fn for_peer<F: Future>(
    peer: Option<IpAddr>,
    work: F,
) -> TaskLocalFuture<Option<IpAddr>, F> {
    PEER.scope(peer, work)
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// A service that knows whose call it serves.
#[derive(Clone)]
pub(super) struct Peered<S>(pub(super) S);

impl<S, B> Service<http::Request<B>> for Peered<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Option<IpAddr>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let remote = request.extensions().get::<Remote>();
        let peer = remote.map(|remote| remote.0.ip().to_canonical());
        for_peer(peer, self.0.call(request))
    }
}

impl<S: NamedService> NamedService for Peered<S> {
    const NAME: &'static str = S::NAME;
}

/// Places that peers take. Clones are the same ones.
#[derive(Clone)]
pub(super) struct Shares {
    places: Arc<Semaphore>,
    held: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place that is taken, until it is dropped.
pub(super) struct Taken {
    _place: OwnedSemaphorePermit,
    held: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    peer: Option<IpAddr>,
}

/// Why a place was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Full,
    /// The peer has its share already: so many.
    Share(usize),
}

impl Shares {
    pub(super) fn of(places: Arc<Semaphore>) -> Self {
        Self { places, held: Arc::default() }
    }

    /// Takes a place for a peer; of one that is not known, no share is held.
    pub(super) fn take(&self, peer: Option<IpAddr>) -> Result<Taken, NoPlace> {
        let mut held = locked(&self.held);
        let of_peer = peer.and_then(|peer| held.get(&peer).copied()).unwrap_or(0);
        let free = self.places.available_permits();
        if of_peer > 0 && of_peer >= free.saturating_mul(SHARE_FACTOR) && free > 0 {
            return Err(NoPlace::Share(of_peer));
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| NoPlace::Full)?;
        if let Some(peer) = peer {
            *held.entry(peer).or_default() += 1;
        }
        Ok(Taken { _place: place, held: self.held.clone(), peer })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(peer) = self.peer else { return };
        let mut held = locked(&self.held);
        if let Some(count) = held.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&peer);
            }
        }
    }
}

/// Turns to write a chunk: so many for one peer, who waits for the others of
/// its own.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<IpAddr, Arc<Semaphore>>>);

impl Turns {
    /// Waits for a turn of the present peer.
    pub(super) async fn next(&self) -> Option<OwnedSemaphorePermit> {
        let peer = peer()?;
        let turns = {
            let mut turns = locked(&self.0);
            if turns.len() >= PEERS_MAX {
                turns.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let fresh = || Arc::new(Semaphore::new(WRITES_PER_PEER_MAX));
            turns.entry(peer).or_insert_with(fresh).clone()
        };
        turns.acquire_owned().await.ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, number]))
    }

    fn take_all(shares: &Shares, peer: Option<IpAddr>) -> (Vec<Taken>, NoPlace) {
        let mut taken = Vec::new();
        loop {
            match shares.take(peer) {
                Ok(place) => taken.push(place),
                Err(why) => return (taken, why),
            }
        }
    }

    #[test]
    fn no_peer_takes_what_others_need() {
        let shares = Shares::of(Arc::new(Semaphore::new(1024)));
        let (first, why) = take_all(&shares, address(1));
        assert_eq!((first.len(), why), (683, NoPlace::Share(683)));
        let (second, _) = take_all(&shares, address(2));
        assert_eq!(second.len(), 228);
        for number in 3..8 {
            assert!(shares.take(address(number)).is_ok(), "{number}");
        }
        drop(first);
        assert!(shares.take(address(1)).is_ok());
        drop(second);
        assert!(locked(&shares.held).is_empty(), "nothing is kept of those who are gone");
    }

    #[test]
    fn few_places_are_used_to_the_last() {
        let shares = Shares::of(Arc::new(Semaphore::new(2)));
        let (taken, why) = take_all(&shares, address(1));
        assert_eq!((taken.len(), why), (2, NoPlace::Full));
    }

    #[tokio::test]
    async fn a_peer_waits_for_its_own_writes_only() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..WRITES_PER_PEER_MAX {
            taken.push(for_peer(address(1), turns.next()).await.expect("a turn"));
        }
        let mut waiting = Box::pin(for_peer(address(1), turns.next()));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(for_peer(address(2), turns.next()).await.is_some(), "another is served");
        taken.pop();
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}
