//! A put whose source can be read anywhere: several stripes at once, placed
//! ahead in batches.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Written;
use super::row::StripeCut;
use super::stripe::StripeWrite;
use super::upload::{PutError, Upload};
use crate::api::{Kind, STRIPES_PER_CALL_MAX, SealedStripe, StripePlacement};
use crate::client::Progress;
use crate::client::window::{PutWindow, STRIPES_IN_FLIGHT_MAX};
use crate::data::split::Split;
use crate::env::File;
use crate::limit::limit;
use crate::mark::{Mark, reached};
use crate::policy::StripeShape;

/// Stripes placed by one call. With those in flight and those ready, no more
/// wait unsealed than the coordinator allows.
const PLACED_PER_CALL: usize = 16;
const _: () = assert!(STRIPES_IN_FLIGHT_MAX + 2 * PLACED_PER_CALL <= STRIPES_PER_CALL_MAX);

type Placing<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<StripePlacement>, PutError>> + Send + 'a>>;

/// Cuts the source and writes all stripes.
pub(super) async fn write(
    upload: &Upload<'_>,
    file: Arc<dyn File>,
    len: u64,
    first: Option<StripePlacement>,
    progress: &Progress,
) -> Result<Written, PutError> {
    let split = Split::new(len, &upload.policy);
    let stripes = split.stripes();
    let mut ready: VecDeque<StripePlacement> = VecDeque::new();
    if let Some(first) = first.filter(|_| stripes > 0) {
        upload.check_placement(&first, 0, cut(&split, 0).data())?;
        ready.push_back(first);
    }
    let mut placed = ready.len() as u64;
    let mut started = 0;
    let mut sealed: Vec<SealedStripe> = Vec::new();
    let mut placing: Option<Placing<'_>> = None;
    let mut running = FuturesUnordered::new();
    let window = window(&split, upload);
    let placed_per_call = limit(PLACED_PER_CALL, 2);
    while started < stripes || !running.is_empty() {
        while running.len() < window.stripes {
            let Some(placement) = ready.pop_front() else { break };
            let cut = cut(&split, started);
            started += 1;
            let file = file.clone();
            running.push(StripeWrite { upload, file, placement, cut, window, progress }.run());
        }
        if placing.is_none() && placed < stripes && ready.len() < placed_per_call / 2 {
            reached(Mark::PlaceSecondCall);
            let until = stripes.min(placed + placed_per_call as u64);
            let wanted = (placed..until).map(|index| cut(&split, index).data()).collect();
            let number = u32::try_from(placed).map_err(|_| too_long())?;
            placing = Some(Box::pin(upload.place(number, wanted, std::mem::take(&mut sealed))));
            placed = until;
        }
        tokio::select! {
            biased;
            Some(stripe) = running.next(), if !running.is_empty() => sealed.push(stripe?),
            more = wait_for(&mut placing), if placing.is_some() => {
                placing = None;
                ready.extend(more?);
            }
        }
    }
    Ok(Written { size: len, stripes, sealed })
}

async fn wait_for(placing: &mut Option<Placing<'_>>) -> Result<Vec<StripePlacement>, PutError> {
    match placing {
        Some(placing) => placing.await,
        None => std::future::pending().await,
    }
}

fn window(split: &Split, upload: &Upload<'_>) -> PutWindow {
    let longest = if split.chunks() == 0 { 1 } else { split.chunk_len(0) };
    let widest = if split.stripes() == 0 { 1 } else { split.stripe_data(0) };
    let shape = StripeShape { coding: upload.policy.coding, data: widest };
    PutWindow::plan(shape.chunks(), longest)
}

/// Where stripe `index` of the file lies.
fn cut(split: &Split, index: u64) -> StripeCut {
    let first_chunk = split.first_chunk(index);
    let data = u64::from(split.stripe_data(index));
    StripeCut {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        offset: split.chunk_offset(first_chunk),
        chunk_lens: (first_chunk..first_chunk + data).map(|chunk| split.chunk_len(chunk)).collect(),
    }
}

fn too_long() -> PutError {
    PutError::failed(
        Kind::Invalid,
        format!("a file has at most {} stripes: choose larger chunks", u32::MAX),
    )
}
