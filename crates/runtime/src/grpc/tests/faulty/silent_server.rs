//! A server that is silent while its connection stands: the client gives it
//! up by keep-alive, whatever is under way, and connects anew.

use dfs_core::api::{Error, WriteHeader, WritePart, WriteStream};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::super::{context, soon, three_frames};
use super::link::{OPEN, STOPPED};
use super::watched::Watched;
use super::{Faulty, HANDLE, SILENCE_MAX, SILENCES, assert_lost, greet, short_chunk, whole};
use crate::grpc::limit::{LONG_CALL_TIMEOUT, SEAL_TIMEOUT};

impl Faulty {
    /// The client gave up because of keep-alive, and not later.
    fn assert_given_up(&self, error: &Error, begun: Instant) {
        assert_lost(error, &self.link.address);
        assert!(begun.elapsed() <= SILENCE_MAX, "after {:?}: {error}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_call_to_a_silent_server_is_given_up_and_the_next_one_arrives() {
    // Only keep-alive ends this call in time.
    const { assert!(LONG_CALL_TIMEOUT.as_secs() > 2 * SILENCE_MAX.as_secs()) };
    for silence in SILENCES {
        let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
        let node = faulty.node();
        greet(&*node).await.expect("the connection stands");
        let begun = faulty.fall_silent(silence);
        let error = node.verify_chunk(context(), HANDLE).await.expect_err("nobody hears");
        faulty.assert_given_up(&error, begun);
        faulty.assert_reached_again().await;
    }
}

#[tokio::test]
async fn a_server_that_takes_a_connection_and_never_speaks_is_given_up() {
    for silence in SILENCES {
        let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
        let node = faulty.node();
        let begun = faulty.fall_silent(silence);
        let error = node.verify_chunk(context(), HANDLE).await.expect_err("nobody hears");
        faulty.assert_given_up(&error, begun);
        faulty.assert_reached_again().await;
    }
}

#[tokio::test]
async fn a_read_from_a_server_that_falls_silent_ends_with_an_error() {
    for silence in SILENCES {
        let faulty = Faulty::start(Watched::endless(three_frames())).await;
        let mut read = soon(faulty.node().read_chunk(whole())).await.expect("it begins");
        let first = soon(read.frames.next()).await.expect("a frame").expect("a good one");
        assert_eq!(first, three_frames().frames[0]);
        let begun = faulty.fall_silent(silence);
        // What was under way may still come.
        let error = loop {
            match read.frames.next().await.expect("no end without an error") {
                Ok(frame) => assert_eq!(frame, three_frames().frames[0]),
                Err(error) => break error,
            }
        };
        faulty.assert_given_up(&error, begun);
        faulty.assert_reached_again().await;
    }
}

#[tokio::test]
async fn a_write_to_a_server_that_falls_silent_ends_with_an_error() {
    for silence in SILENCES {
        let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
        let node = faulty.node();
        // With one frame, or with more than any buffer holds.
        let frame = WritePart::Frame(three_frames().frames[0].clone());
        let few = stream::iter([Ok(frame.clone())]).chain(stream::pending()).boxed();
        let many = stream::repeat_with(move || Ok(frame.clone())).boxed();
        let writes: Vec<_> = [few, many]
            .into_iter()
            .map(|parts: WriteStream| {
                let node = node.clone();
                let header = WriteHeader { context: context(), chunk: three_frames().header };
                tokio::spawn(async move { node.write_chunk(header, parts).await })
            })
            .collect();
        faulty.service.frames_taken.until(3).await;
        let begun = faulty.fall_silent(silence);
        for write in writes {
            let error = write.await.expect("no panic").expect_err("nobody hears");
            faulty.assert_given_up(&error, begun);
        }
        faulty.assert_reached_again().await;
    }
}

#[tokio::test]
async fn a_sealed_chunk_whose_answer_is_lost_is_an_error_within_keep_alive() {
    const { assert!(SEAL_TIMEOUT.as_secs() > 2 * SILENCE_MAX.as_secs()) };
    let faulty = Faulty::start(Watched::chunk(short_chunk())).await;
    let node = faulty.node();
    greet(&*node).await.expect("the connection stands");
    let begun = faulty.fall_silent([OPEN, STOPPED]);
    let error = short_chunk().write_to(&*node, context()).await.expect_err("no answer");
    faulty.assert_given_up(&error, begun);
    // Nobody may conclude from the error that the chunk is not there.
    assert_eq!(faulty.service.writes()[0].end, Ok(short_chunk().seal));
    faulty.assert_reached_again().await;
}
