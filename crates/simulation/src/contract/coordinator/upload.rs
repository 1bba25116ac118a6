//! How a file comes to be.

use std::collections::BTreeSet;

use dfs_core::api::{
    BeginPut, Commit, Committed, CoordinatorService, Kind, Lookup, Place, PutMode, Retarget,
};
use dfs_core::id::{FileId, Handle, NodeId};
use futures_util::future::join;

use super::{CHUNK, Speaker, assert_kind, commit_of, name, sealed, store, three_nodes, wish};

pub(super) async fn too_few_nodes_are_said_with_the_fix(coordinator: &dyn CoordinatorService) {
    let nobody = coordinator.begin_put(wish("a", Some(10))).await;
    assert_kind(nobody, Kind::Insufficient, "no node at all");
    Speaker::new("n1", 1).join(coordinator).await;
    let one = coordinator.begin_put(wish("a", Some(10))).await;
    let error = assert_kind(one, Kind::Insufficient, "one node for two copies");
    assert!(error.message.contains('2') && error.message.contains('1'), "{error}");
    let unsafe_wish = BeginPut { allow_unsafe: true, ..wish("a", Some(10)) };
    let grant = coordinator.begin_put(unsafe_wish).await.expect("it was allowed by name");
    assert_eq!(grant.first.expect("a size was given").targets[0].len(), 1);
}

pub(super) async fn a_file_is_visible_from_its_commit_on(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let lookup = |version| {
        let name = name("dir/a");
        coordinator.lookup(Lookup { name, version, first_stripe: 0 })
    };
    let grant = coordinator.begin_put(wish("dir/a", Some(1000))).await.expect("begin");
    let placement = grant.first.clone().expect("a size was given");
    let nodes: BTreeSet<&NodeId> = placement.targets[0].iter().map(|t| &t.node).collect();
    assert_eq!((placement.targets.len(), nodes.len()), (1, 2), "two nodes for one chunk");
    assert_kind(lookup(None).await, Kind::NotFound, "before the commit");

    let committed = coordinator.commit(commit_of(&grant, 1000)).await.expect("commit");
    assert_eq!((committed.info.id, committed.info.size), (grant.upload, 1000));
    assert_eq!(committed.copies_missing, 0);
    let again = coordinator.commit(commit_of(&grant, 1000)).await.expect("a repeated commit");
    assert_eq!((again.info.id, again.info.name), (committed.info.id, committed.info.name));

    let map = lookup(None).await.expect("lookup");
    assert_eq!((map.info.id, map.info.size, map.stripes.len()), (grant.upload, 1000, 1));
    let chunk = &map.stripes[0].chunks[0];
    let expected = &sealed(&placement, 1000).chunks[0];
    assert_eq!((chunk.digest, chunk.raw_len), (expected.digest, 1000));
    let found: BTreeSet<&NodeId> = chunk.copies.iter().map(|copy| &copy.node).collect();
    assert_eq!(found, nodes);
    assert_eq!(lookup(Some(grant.upload)).await.expect("this version").info, map.info);
    let other = lookup(Some(FileId(grant.upload.0 + 1000))).await;
    assert_kind(other, Kind::NotFound, "another version");
    let taken = coordinator.begin_put(wish("dir/a", Some(1))).await;
    assert_kind(taken, Kind::Exists, "a name that is taken");

    store(coordinator, "empty", 0, PutMode::IfAbsent).await.expect("an empty file");
    let empty = Lookup { name: name("empty"), version: None, first_stripe: 0 };
    let map = coordinator.lookup(empty).await.expect("lookup");
    assert_eq!((map.info.size, map.info.chunks, map.stripes.len()), (0, 0, 0));
}

pub(super) async fn a_long_file_is_placed_stripe_by_stripe(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let grant = coordinator.begin_put(wish("long", None)).await.expect("begin");
    assert_eq!(grant.first, None, "no size was given");
    let upload = grant.upload;
    let ask = |first_stripe, stripes, sealed| {
        let (failed, chunk_bytes_max) = (Vec::new(), None);
        coordinator.place(Place { upload, first_stripe, stripes, sealed, failed, chunk_bytes_max })
    };
    let first = ask(0, vec![1; 10], Vec::new()).await.expect("ten stripes");
    let again = ask(0, vec![1; 10], Vec::new()).await;
    assert_eq!(again.as_ref(), Ok(&first), "the answer was lost, the call repeated");
    let gap = ask(11, vec![1; 3], Vec::new()).await;
    assert_kind(gap, Kind::Invalid, "a stripe after one that was not placed");
    let done: Vec<_> = first.iter().map(|placement| sealed(placement, CHUNK)).collect();
    let second = ask(10, vec![1; 3], done.clone()).await.expect("three more");
    let again = ask(10, vec![1; 3], done).await;
    assert_eq!(again.as_ref(), Ok(&second), "the answer was lost, the call repeated");
    let indices: Vec<u32> = first.iter().chain(&second).map(|p| p.index).collect();
    assert_eq!(indices, (0..13).collect::<Vec<u32>>());
    let handles: BTreeSet<Handle> = first.iter().chain(&second).map(|p| p.first_handle).collect();
    assert_eq!(handles.len(), 13, "no handle twice");
    let mut last: Vec<_> = second.iter().map(|placement| sealed(placement, CHUNK)).collect();
    last[2].chunks[0].raw_len = 5;
    last[2].chunks[0].stored_len = 17;
    let size = 12 * CHUNK + 5;
    let committed = coordinator.commit(Commit { upload, size, sealed: last, request: None }).await;
    assert_eq!(committed.expect("commit").info.chunks, 13);
    let map = coordinator
        .lookup(Lookup { name: name("long"), version: None, first_stripe: 11 })
        .await
        .expect("from the middle");
    let found: Vec<u64> = map.stripes.iter().map(|stripe| stripe.chunks[0].raw_len).collect();
    assert_eq!(found, [CHUNK, 5]);
}

pub(super) async fn a_failed_target_is_replaced(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let grant = coordinator.begin_put(wish("a", Some(1000))).await.expect("begin");
    let mut placement = grant.first.clone().expect("a size was given");
    let retarget = |upload, failed: &NodeId| Retarget {
        upload,
        handle: placement.first_handle,
        failed: failed.clone(),
        reason: "connection refused".to_owned(),
        is_slow: false,
    };
    let targets = placement.targets[0].clone();
    // A node that failed may be named again, for it may be back; but not for
    // ever, and never the one that holds the other copy.
    let mut failed = targets[0].node.clone();
    let mut named = BTreeSet::new();
    for turn in 0.. {
        let answer = coordinator.retarget(retarget(grant.upload, &failed)).await;
        let Some(other) = answer.expect("retarget") else { break };
        assert!(other.node != failed && other.node != targets[1].node, "{} again", other.node);
        assert!(turn < 16, "the client is sent from one failed node to the next");
        failed = other.node.clone();
        named.insert(other.node);
    }
    assert!(named.iter().any(|node| *node != targets[0].node), "there is a third node");
    let unknown = coordinator.retarget(retarget(FileId(u64::MAX), &failed)).await;
    assert_kind(unknown, Kind::UnknownUpload, "an upload that never was");
    placement.targets[0] = vec![targets[1].clone()];
    let sealed = vec![sealed(&placement, 1000)];
    let commit = Commit { upload: grant.upload, size: 1000, sealed, request: None };
    // One copy of two cannot lose any one more node.
    assert_kind(coordinator.commit(commit).await, Kind::Insufficient, "too few copies");
}

pub(super) async fn what_does_not_add_up_is_refused(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let unknown = Commit { upload: FileId(u64::MAX), size: 0, sealed: Vec::new(), request: None };
    assert_kind(coordinator.commit(unknown).await, Kind::UnknownUpload, "an unknown upload");
    let begin = async || coordinator.begin_put(wish("a", Some(1000))).await.expect("begin");
    let refuse = async |claim: &str, spoil: &dyn Fn(&mut Commit)| {
        let mut commit = commit_of(&begin().await, 1000);
        spoil(&mut commit);
        assert_kind(coordinator.commit(commit).await, Kind::Invalid, claim);
    };
    refuse("no stripe for a file with bytes", &|commit| commit.sealed.clear()).await;
    refuse("sizes that differ", &|commit| commit.size = 999).await;
    refuse("a handle that was not placed", &|commit| commit.sealed[0].first_handle.0 += 1).await;
    refuse("a stripe number that was not placed", &|commit| commit.sealed[0].index = 3).await;
    refuse("fewer chunks than the shape", &|commit| commit.sealed[0].chunks.clear()).await;
    refuse("a holder that is no member", &|commit| {
        commit.sealed[0].chunks[0].holders[0] = NodeId::new("stranger").expect("a good id");
    })
    .await;
    let nothing = coordinator.lookup(Lookup { name: name("a"), version: None, first_stripe: 0 });
    assert_kind(nothing.await, Kind::NotFound, "nothing became visible");
    let huge = Place {
        upload: begin().await.upload,
        first_stripe: 1,
        stripes: vec![1; 65],
        sealed: Vec::new(),
        failed: Vec::new(),
        chunk_bytes_max: None,
    };
    assert_kind(coordinator.place(huge).await, Kind::Invalid, "more stripes than one call may");
}

pub(super) async fn an_aborted_upload_is_gone(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let grant = coordinator.begin_put(wish("a", Some(1000))).await.expect("begin");
    coordinator.abort(grant.upload).await.expect("abort");
    coordinator.abort(grant.upload).await.expect("abort again");
    let late = coordinator.commit(commit_of(&grant, 1000)).await;
    assert_kind(late, Kind::UnknownUpload, "a commit after the abort");
    store(coordinator, "a", 1000, PutMode::IfAbsent).await.expect("the name is free");
}

pub(super) async fn of_two_writers_of_a_name_one_wins(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let first = coordinator.begin_put(wish("a", Some(10))).await.expect("begin");
    let second = coordinator.begin_put(wish("a", Some(20))).await.expect("begin");
    let won = coordinator.commit(commit_of(&second, 20)).await.expect("who commits first");
    let late = coordinator.commit(commit_of(&first, 10)).await;
    assert_kind(late, Kind::Exists, "who commits second");
    let replace = |size| BeginPut { mode: PutMode::Replace, ..wish("b", Some(size)) };
    let first = coordinator.begin_put(replace(10)).await.expect("begin");
    let second = coordinator.begin_put(replace(20)).await.expect("begin");
    coordinator.commit(commit_of(&second, 20)).await.expect("who commits first");
    let late = coordinator.commit(commit_of(&first, 10)).await;
    assert_kind(late, Kind::Superseded, "who began first and commits second");
    let lookup = Lookup { name: name("a"), version: None, first_stripe: 0 };
    assert_eq!(coordinator.lookup(lookup).await.expect("lookup").info.id, won.info.id);
}

pub(super) async fn of_two_commits_at_once_each_hears_of_its_own_file(
    coordinator: &dyn CoordinatorService,
) {
    three_nodes(coordinator).await;
    let replace = |size| BeginPut { mode: PutMode::Replace, ..wish("a", Some(size)) };
    let first = coordinator.begin_put(replace(10)).await.expect("begin");
    let second = coordinator.begin_put(replace(20)).await.expect("begin");
    let commits = (commit_of(&first, 10), commit_of(&second, 20));
    let (one, two) = join(coordinator.commit(commits.0), coordinator.commit(commits.1)).await;
    let two = two.expect("the later version is never refused").info;
    assert_eq!((two.id, two.size), (second.upload, 20));
    // The earlier one is refused where it came second after all.
    if let Ok(Committed { info: one, .. }) = one {
        assert_eq!((one.id, one.size), (first.upload, 10), "not of the other one");
    }
}

pub(super) async fn a_replaced_file_has_the_later_version(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    let old = store(coordinator, "a", 10, PutMode::IfAbsent).await.expect("store");
    let new = store(coordinator, "a", 20, PutMode::Replace).await.expect("replace");
    assert!(new.info.id > old.info.id);
    let lookup = |version| Lookup { name: name("a"), version, first_stripe: 0 };
    assert_eq!(coordinator.lookup(lookup(None)).await.expect("lookup").info.size, 20);
    let gone = coordinator.lookup(lookup(Some(old.info.id))).await;
    assert_kind(gone, Kind::NotFound, "the old version");
    assert_eq!(coordinator.usage(String::new()).await.expect("usage").files, 1);
}
