//! What a reader sees while a chunk is on its way elsewhere, files that cannot
//! be opened, and orders that name another digest.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use dfs_core::data::digest::Digest;
use dfs_core::env::{Access, Disk, Entry, File, Space};
use dfs_simulation::World;
use futures_util::FutureExt;

use super::*;

/// A disk on which somebody reads a chunk in the middle of each renaming and
/// each removal: after it took place, and before its caller goes on.
struct ReadBetween {
    inner: Arc<dyn Disk>,
    node: OnceLock<Arc<Node>>,
    answers: Mutex<Vec<Kind>>,
}

impl ReadBetween {
    fn read(&self) {
        let Some(node) = self.node.get() else { return };
        let answer = read(node, 1).now_or_never().expect("the disk is inline");
        self.answers.lock().expect("no panic").extend(answer.err().map(|error| error.kind));
    }
}

impl Disk for ReadBetween {
    fn create(&self, path: &str, access: Access) -> io::Result<Box<dyn File>> {
        self.inner.create(path, access)
    }
    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn File>> {
        self.inner.open(path, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)?;
        self.read();
        Ok(())
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)?;
        self.read();
        Ok(())
    }
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.inner.list(path)
    }
    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn place(&self) -> io::Result<dfs_core::env::Place> {
        self.inner.place()
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
}

#[test]
fn a_read_in_the_middle_of_a_quarantine_forgets_nothing() {
    World::run(61, async |world| {
        let host = world.add_host("n1", 4001);
        let env = host.start();
        let node = OnceLock::new();
        let disk =
            Arc::new(ReadBetween { inner: env.disk.clone(), node, answers: Mutex::default() });
        let env = dfs_core::env::Env { disk: disk.clone(), ..env };
        let node = Node::open(env, settings(&host)).await.expect("the node starts");
        adopt(&node).await.expect("adopted");
        thin(1, 2_100_000).write_to(&*node, context()).await.expect("write");
        assert!(disk.node.set(node.clone()).is_ok());
        host.disk().flip(&paths(&host, "chunks")[0], 500, 1);
        assert_kind(read(&node, 1).await, Kind::Integrity);
        assert_eq!(is_held_good(&node, 1).await, Some(false), "it is told of as bad");
        let answers = std::mem::take(&mut *disk.answers.lock().expect("no panic"));
        assert_eq!(answers, [Kind::Integrity], "the reader in between is told that it is bad");
        // Deleting it tells of nothing but that it is gone.
        node.delete_chunks(context(), vec![Handle(1)]).await.expect("delete");
        assert_eq!(is_held_good(&node, 1).await, None);
        let answers = std::mem::take(&mut *disk.answers.lock().expect("no panic"));
        assert_eq!(answers, [Kind::NotFound]);
    });
}

#[test]
fn a_chunk_file_that_cannot_be_opened_is_one_bad_copy_and_the_node_goes_on() {
    World::run(62, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        for (handle, len) in [(1, 2_100_000), (2, 2_100_000), (3, 300)] {
            thin(handle, len).write_to(&*node, context()).await.expect("write");
        }
        let closed = paths(&host, "chunks");
        let closed = closed.iter().find(|path| path.ends_with("01.chunk")).expect("chunk 1");
        host.disk().close_file(closed);
        assert_kind(read(&node, 1).await, Kind::Integrity);
        assert_eq!(is_held_good(&node, 1).await, Some(false));
        assert_eq!(node.summary().await.trouble, None, "the disk is well");
        thin(4, 300).write_to(&*node, context()).await.expect("other writes go on");

        // Before a start: one file, and the pack with the small chunks.
        let closed = paths(&host, "chunks").remove(0);
        host.disk().close_file(&closed);
        host.disk().close_file(&paths(&host, "packs").remove(0));
        host.kill();
        let node = start(&host).await;
        assert_eq!(is_held_good(&node, 2).await, Some(false));
        assert_eq!(is_held_good(&node, 3).await, None, "its pack is kept aside");
        for (handle, len) in [(2, 2_100_000), (3, 300)] {
            thin(handle, len).write_to(&*node, context()).await.expect("it is made anew");
            assert_eq!(read(&node, handle).await, Ok(thin(handle, len).whole()));
        }
    });
}

#[test]
fn an_order_with_a_wrong_digest_takes_no_good_copy_away() {
    for (seed, len) in [(63, 300), (64, 2_100_000)] {
        World::run(seed, async |world| {
            let (one, two) = (world.add_host("n1", 4001), world.add_host("n2", 4002));
            let (source, target) = (start(&one).await, start(&two).await);
            let chunk = thin(7, len);
            chunk.write_to(&*source, context()).await.expect("write");
            chunk.write_to(&*target, context()).await.expect("write");
            let mut task = chunk.rebuild_task(vec![one.address().to_owned()], &[]);
            task.digest = Digest([9; 32]);
            assert!(target.rebuild_chunk(context(), task).await.is_err());
            assert_eq!(is_held_good(&target, 7).await, Some(true), "the order was wrong");
            assert_eq!(read(&target, 7).await, Ok(chunk.whole()));

            // A copy that differs gives way once a verified one is here.
            let other = sample::chunk(context().cluster, 7, vec![200; len]);
            target.delete_chunks(context(), vec![Handle(7)]).await.expect("delete");
            other.write_to(&*target, context()).await.expect("write");
            let task = chunk.rebuild_task(vec![one.address().to_owned()], &[]);
            let receipt = target.rebuild_chunk(context(), task).await.expect("rebuild");
            assert_eq!(receipt.seal, chunk.seal);
            assert_eq!(read(&target, 7).await, Ok(chunk.whole()));
            two.crash();
            let target = start(&two).await;
            assert_eq!(read(&target, 7).await, Ok(chunk.whole()));
        });
    }
}
