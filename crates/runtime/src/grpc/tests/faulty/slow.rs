//! Peers that take little or nothing of what they asked for: they hold back
//! whoever sends to them, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dfs_core::api::{NodeService, Result, WriteHeader, WritePart};
use dfs_core::data::frame::FRAME_SIZE;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use super::super::{context, soon, three_frames};
use super::link::{Gate, OPEN, STOPPED, WAYS, Way};
use super::watched::Watched;
use super::{Faulty, greet, settle, short_chunk, whole};
use crate::grpc::limit::{FRAMES_READ_AHEAD, STREAM_WINDOW_BYTES};

/// Frames of a stream that may be under way: those that fill its window, one
/// that HTTP/2 has begun to send, one that is being split into parts, and one
/// that waits to be read ahead.
const FRAMES_UNDER_WAY_MAX: usize =
    STREAM_WINDOW_BYTES as usize / FRAME_SIZE + 3 + FRAMES_READ_AHEAD;

/// Frames of a stream, far more than may be under way.
const FRAMES: usize = 20;

/// How much further a slow road opens at a time.
const ROAD_STEP_BYTES: usize = 300_000;

/// Streams that stand still on one connection.
const STREAMS: usize = 12;

/// Begins to write so many frames and a seal, and counts those frames that
/// were asked for.
fn write_frames(
    node: Arc<dyn NodeService>,
    frames: usize,
) -> (Arc<AtomicUsize>, JoinHandle<Result<()>>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let frame = three_frames().frames[0].clone();
    let parts = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(WritePart::Frame(frame.clone()))
    });
    let seal = stream::iter([Ok(WritePart::Seal(three_frames().seal))]);
    let parts = parts.take(frames).chain(seal);
    let header = WriteHeader { context: context(), chunk: three_frames().header };
    let writing = tokio::spawn(async move { node.write_chunk(header, parts.boxed()).await });
    (asked, writing)
}

#[tokio::test]
async fn a_slow_reader_holds_back_the_node_and_goes_on_where_it_was() {
    let faulty = Faulty::start(Watched::endless(three_frames())).await;
    let mut read = soon(faulty.node().read_chunk(whole())).await.expect("it begins");
    for taken in 1..10 {
        soon(read.frames.next()).await.expect("a frame").expect("a good one");
        settle().await;
        let asked = faulty.service.frames_asked.get();
        assert!(asked <= taken + FRAMES_UNDER_WAY_MAX, "{asked} frames for {taken}");
    }
}

#[tokio::test]
async fn readers_that_stand_still_hold_back_no_other_call() {
    let faulty = Faulty::start(Watched::endless(three_frames())).await;
    let node = faulty.node();
    let mut reads = Vec::new();
    for _ in 0..STREAMS {
        reads.push(soon(node.read_chunk(whole())).await.expect("it begins"));
    }
    settle().await;
    soon(greet(&*node)).await.expect("a call goes on");
    let last = reads.last_mut().expect("there are some");
    for _ in 0..8 {
        soon(last.frames.next()).await.expect("a frame").expect("a good one");
    }
    assert_eq!(faulty.link.standing(), 1, "all over one connection");
    let asked = faulty.service.frames_asked.get();
    assert!(asked <= STREAMS * FRAMES_UNDER_WAY_MAX + 8, "{asked} frames");
}

#[tokio::test]
async fn a_node_that_takes_nothing_holds_back_the_writer_and_no_other_call() {
    let mut service = Watched::chunk(short_chunk());
    service.takes_writes = false;
    let faulty = Faulty::start(service).await;
    let node = faulty.node();
    let writes: Vec<_> = (0..STREAMS).map(|_| write_frames(node.clone(), FRAMES)).collect();
    faulty.service.waiting.until(STREAMS).await;
    settle().await;
    for (asked, writing) in &writes {
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked <= FRAMES_UNDER_WAY_MAX, "{asked} frames");
        assert!(!writing.is_finished());
    }
    soon(greet(&*node)).await.expect("a call goes on");
    assert_eq!(faulty.link.standing(), 1, "all over one connection");
    for (_, writing) in writes {
        writing.abort();
    }
}

/// Opens a road little by little until `work` is done, and looks each time
/// that no more frames were asked for than came through and may be under way.
async fn open_slowly(
    faulty: &Faulty,
    way: Way,
    asked: impl Fn() -> usize,
    work: JoinHandle<Result<()>>,
) {
    for step in 1.. {
        let bytes = step * ROAD_STEP_BYTES;
        let slow = Gate::Carry(bytes as u64);
        faulty.link.set(WAYS.map(|it| if it == way { slow } else { OPEN }));
        settle().await;
        let (asked, carried) = (asked(), bytes / FRAME_SIZE);
        assert!(asked <= carried + FRAMES_UNDER_WAY_MAX, "{asked} frames, {carried} came through");
        if work.is_finished() {
            break;
        }
    }
    work.await.expect("no panic").expect("slow is not broken");
}

#[tokio::test]
async fn a_slow_road_holds_back_the_node_and_brings_every_frame() {
    let faulty = Faulty::start(Watched::endless(three_frames())).await;
    faulty.link.set([OPEN, STOPPED]);
    let node = faulty.node();
    let reading = tokio::spawn(async move {
        let mut read = node.read_chunk(whole()).await?;
        for _ in 0..FRAMES {
            let frame = read.frames.next().await.expect("it has no end")?;
            assert_eq!(frame, three_frames().frames[0]);
        }
        Ok(())
    });
    let asked = faulty.service.frames_asked.clone();
    open_slowly(&faulty, Way::ToClient, || asked.get(), reading).await;
}

#[tokio::test]
async fn a_slow_road_holds_back_the_writer_and_brings_every_frame() {
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    faulty.link.set([STOPPED, OPEN]);
    let (asked, writing) = write_frames(faulty.node(), FRAMES);
    open_slowly(&faulty, Way::ToServer, || asked.load(Ordering::Relaxed), writing).await;
    let frames = vec![three_frames().frames[0].clone(); FRAMES];
    assert_eq!(faulty.service.writes()[0].frames, frames);
}
