//! A client that is silent while its connection stands: the server gives it
//! up and takes back all that was held for it.

use dfs_core::api::{WriteHeader, WritePart};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, resume, sleep};

use super::super::{context, soon, three_frames};
use super::link::{Gate, STOPPED};
use super::watched::Watched;
use super::{Faulty, SILENCE_MAX, SILENCES, greet, short_chunk, whole, within};
use crate::grpc::limit::{
    CALLS_MAX, CONNECTIONS_MAX, KEEP_ALIVE_INTERVAL, SHUTDOWN_GRACE, STALL_TIMEOUT,
};

impl Faulty {
    fn connections(&self) -> usize {
        CONNECTIONS_MAX - self.places.connections.available_permits()
    }

    fn calls(&self) -> usize {
        CALLS_MAX - self.places.calls.available_permits()
    }
}

/// The silences in which the client hears of no end, so that it cannot give
/// its place back by itself.
fn deaf() -> impl Iterator<Item = [Gate; 2]> {
    SILENCES.into_iter().filter(|[to_server, _]| *to_server != super::OPEN)
}

#[tokio::test]
async fn the_place_of_a_silent_client_is_free_again() {
    for silence in deaf() {
        let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
        greet(&*faulty.node()).await.expect("the connection stands");
        assert_eq!(faulty.connections(), 1);
        faulty.fall_silent(silence);
        within(SILENCE_MAX, "the place is free", || faulty.connections() == 0).await;
        resume();
    }
}

#[tokio::test]
async fn a_write_whose_client_falls_silent_fails_at_the_node() {
    for silence in deaf() {
        let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
        let node = faulty.node();
        let frame = WritePart::Frame(three_frames().frames[0].clone());
        let parts = stream::iter([Ok(frame)]).chain(stream::pending()).boxed();
        let header = WriteHeader { context: context(), chunk: three_frames().header };
        let writing = tokio::spawn(async move { node.write_chunk(header, parts).await });
        faulty.service.frames_taken.until(1).await;
        assert_eq!((faulty.connections(), faulty.calls()), (1, 1));
        faulty.fall_silent(silence);
        let is_over = || !faulty.service.writes().is_empty();
        within(SILENCE_MAX.max(STALL_TIMEOUT), "the write is over", is_over).await;
        faulty.service.writes()[0].end.clone().expect_err("it has no seal");
        within(SILENCE_MAX, "nothing is held", || faulty.connections() + faulty.calls() == 0).await;
        writing.abort();
        resume();
    }
}

#[tokio::test]
async fn a_read_whose_client_falls_silent_is_let_go() {
    for silence in deaf() {
        let faulty = Faulty::start(Watched::endless(three_frames())).await;
        let mut read = soon(faulty.node().read_chunk(whole())).await.expect("it begins");
        soon(read.frames.next()).await.expect("a frame").expect("a good one");
        let begun = faulty.fall_silent(silence);
        within(2 * SILENCE_MAX, "no frames are held", || faulty.service.reads.get() == 0).await;
        within(2 * SILENCE_MAX, "the place is free", || faulty.connections() == 0).await;
        assert!(begun.elapsed() <= 2 * SILENCE_MAX, "after {:?}", begun.elapsed());
        resume();
    }
}

#[tokio::test]
async fn a_call_whose_client_falls_silent_runs_on_without_a_connection() {
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    let node = faulty.node();
    let calling = tokio::spawn(async move { node.inventory(context(), None).await });
    faulty.service.waiting.until(1).await;
    faulty.fall_silent([STOPPED, STOPPED]);
    within(SILENCE_MAX, "the place is free", || faulty.connections() == 0).await;
    // A call has its effect once, whether its caller hears of it or not.
    assert_eq!(faulty.calls(), 1, "it is still under way");
    faulty.service.answers.add_permits(1);
    within(SILENCE_MAX, "it came to its end", || faulty.calls() == 0).await;
    drop(calling);
}

#[tokio::test]
async fn a_server_stops_while_a_client_that_reads_is_silent() {
    for silence in deaf() {
        let faulty = Faulty::start(Watched::endless(three_frames())).await;
        let mut read = soon(faulty.node().read_chunk(whole())).await.expect("it begins");
        soon(read.frames.next()).await.expect("a frame").expect("a good one");
        faulty.fall_silent(silence);
        // What the system and the windows hold is written; then it waits.
        sleep(KEEP_ALIVE_INTERVAL).await;
        let begun = Instant::now();
        faulty.stop.send(()).expect("it serves");
        soon(faulty.serving).await.expect("no panic").expect("it stopped");
        assert!(begun.elapsed() < 2 * SHUTDOWN_GRACE, "after {:?}", begun.elapsed());
        resume();
    }
}
