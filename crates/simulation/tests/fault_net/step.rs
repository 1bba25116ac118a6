//! A process that is stopped just before any of its effects (F1, F2).

use dfs_core::api::Kind;
use dfs_core::env::{Access, Disk};
use dfs_core::id::Handle;
use dfs_simulation::task::Ended;
use dfs_simulation::{By, Stop};

use super::*;

/// Deletes one chunk and writes another, in the client's process.
async fn work(pair: &Pair) -> std::result::Result<Result<()>, Ended> {
    let link = pair.link.clone();
    let running = pair.client.spawn(async move {
        link.delete_chunks(context(), vec![Handle(1)]).await?;
        thin(2, 1_500_000).write_to(&*link, context()).await
    });
    running.await
}

/// Runs [`work`] with a stop at its step number `at`. Gives what was stopped,
/// or `None` when there is no such step any more.
async fn stop_in_work(world: &World, at: u64, stop: Stop) -> Option<String> {
    let mut pair = Pair::start(world).await;
    thin(1, 1_200_000).write_to(&*pair.link, context()).await.expect("write");
    world.stop_at(world.steps() + at, stop);
    let done = work(&pair).await;
    world.pass(SECOND).await;
    let stopped = world.stopped();
    let (node_down, client_down) = (!pair.host.is_up(), !pair.client.is_up());
    let Some(text) = stopped else {
        assert!(!node_down && !client_down);
        assert_eq!(done, Ok(Ok(())));
        return None;
    };
    assert_eq!(node_down, text.starts_with(NODE), "{text}");
    assert_eq!(client_down, text.starts_with(CLIENT), "{text}");
    assert_eq!(done.is_err(), client_down, "a dead client learns nothing: {text}");
    if node_down {
        let heard = done.expect("it lives");
        match heard {
            // It was sent before another's step.
            Ok(()) => assert!(!text.contains(": n1 "), "an answer of the dead: {text}"),
            Err(error) => assert_eq!(error.kind, Kind::Unavailable, "{text}: {error}"),
        }
        pair.restart_node().await;
    }
    assert_eq!(pair.begun(), Vec::<String>::new(), "{text}");
    let cluster = context().cluster;
    for (handle, len) in [(1, 1_200_000), (2, 1_500_000)] {
        match sample::read_whole(&*pair.spy.node, cluster, Handle(handle)).await {
            Ok(read) => assert_eq!(read, thin(handle, len).whole(), "{text}"),
            Err(error) => assert_eq!(error.kind, Kind::NotFound, "{text}: {error}"),
        }
    }
    Some(text)
}

#[test]
fn a_stop_at_each_step_leaves_whole_chunks_or_none_and_strikes_every_kind_of_step() {
    for by in [By::Kill, By::PowerCut] {
        let mut stops = Vec::new();
        for at in 0.. {
            let stop = async |world: &World| stop_in_work(world, at, Stop::owner(by)).await;
            match World::run(at, stop) {
                Some(text) => stops.push(text),
                None => break,
            }
        }
        let has = |part: &str| stops.iter().any(|text| text.contains(part));
        for part in [
            "client: ",
            "client sends to n1: write_chunk",
            "client sends to n1: frame",
            "client receives from n1: delete_chunks: ok",
            "n1 receives from client: seal",
            "n1 sends to client: write_chunk: ok",
            "n1 sync ",
            "n1 write ",
        ] {
            assert!(has(part), "no stop at {part:?} in {stops:#?}");
        }
    }
}

#[test]
fn another_host_can_be_stopped_at_any_step_and_the_step_takes_place() {
    for host in [NODE, CLIENT] {
        let mut struck_others = 0;
        for at in 0.. {
            let stop = Stop::host(host, By::Kill);
            let text = World::run(at, async |world| stop_in_work(world, at, stop.clone()).await);
            let Some(text) = text else { break };
            assert!(text.starts_with(host), "{text}");
            struck_others += u64::from(!text.contains(&format!(": {host} ")));
        }
        assert!(struck_others > 4, "{struck_others} steps of others");
    }
}

/// The first step of the delete of chunk 1 whose text has `part` in it is
/// stopped; gives what the client heard, and the pair.
async fn stop_delete(world: &World, part: &str) -> (std::result::Result<Result<()>, Ended>, Pair) {
    let pair = Pair::start(world).await;
    for handle in 1.. {
        thin(handle, 1_200_000).write_to(&*pair.link, context()).await.expect("write");
        // Learned from the like delete before: the steps are the same.
        let at = world.steps() + if handle == 1 { 1_000_000 } else { offset(part) };
        world.stop_at(at, Stop::owner(By::Kill));
        let link = pair.link.clone();
        let delete = async move { link.delete_chunks(context(), vec![Handle(handle)]).await };
        let heard = pair.client.spawn(delete).await;
        if world.stopped().is_some() {
            return (heard, pair);
        }
    }
    unreachable!("it is stopped the second time")
}

/// Where in a delete a step is: sent, received, then the disk, then back.
fn offset(part: &str) -> u64 {
    match part {
        "sends" => 0,
        "receives" => 1,
        "remove" => 2,
        _ => unreachable!("no such step"),
    }
}

#[test]
fn a_message_whose_sender_is_stopped_never_leaves() {
    World::run(1, async |world| {
        let (heard, pair) = stop_delete(world, "sends").await;
        assert!(world.stopped().expect("stopped").contains("client sends to n1: delete_chunks"));
        assert_eq!(heard, Err(Ended));
        world.pass(60 * SECOND).await;
        assert_eq!(pair.spy.notes().last().map(String::as_str), Some("write 2"));
        assert_eq!(pair.held().await.len(), 1);
    });
}

#[test]
fn a_message_whose_receiver_is_stopped_reaches_a_dead_host() {
    World::run(2, async |world| {
        let (heard, mut pair) = stop_delete(world, "receives").await;
        assert!(world.stopped().expect("stopped").contains("n1 receives from client: delete"));
        assert_unavailable(heard.expect("the client lives"), "refused");
        assert!(!pair.host.is_up());
        pair.restart_node().await;
        assert_eq!(pair.held().await.len(), 1, "the chunk was not deleted");
    });
}

#[test]
fn an_effect_of_a_disk_whose_host_is_stopped_does_not_take_place() {
    World::run(3, async |world| {
        let (heard, mut pair) = stop_delete(world, "remove").await;
        let stopped = world.stopped().expect("stopped");
        assert!(stopped.contains("n1 remove chunks/"), "{stopped}");
        assert_unavailable(heard.expect("the client lives"), "reset");
        let chunks = |pair: &Pair| {
            let files = pair.host.disk().files();
            files.into_iter().filter(|(path, _)| path.starts_with("chunks")).count()
        };
        assert_eq!(chunks(&pair), 1, "the file is still there");
        pair.restart_node().await;
        assert_eq!(pair.held().await.len(), 1);
    });
}

/// Writes a file without a sync, and is stopped at the effect after that.
async fn unsynced(world: &World, by: By) -> Option<Vec<u8>> {
    let host = world.add_host("h", 1);
    let disk = host.start().disk;
    host.disk().plant_file("f", &[1; 4096]);
    world.stop_at(world.steps() + 1, Stop::owner(by));
    let file = disk.open("f", Access::Random).expect("open");
    file.write_at(0, &[2; 4096]).expect("the first effect");
    file.sync().expect_err("the process is gone");
    assert!(!host.is_up());
    assert!(disk.list("").is_err(), "its disk is gone with it");
    assert!(host.start().disk.list("").is_ok(), "and the next process has it");
    host.disk().read_file("f")
}

#[test]
fn a_power_cut_at_a_step_may_lose_what_was_not_synced_and_a_kill_does_not() {
    let lost = |by: By| {
        let run = |seed| World::run(seed, async |world| unsynced(world, by).await);
        (0..40).filter(|seed| run(*seed) != Some(vec![2; 4096])).count()
    };
    assert_eq!(lost(By::Kill), 0);
    let cut = lost(By::PowerCut);
    assert!((5..40).contains(&cut), "{cut} of 40 power cuts lost something");
}

#[test]
fn a_process_that_stops_itself_says_and_returns_nothing_more() {
    World::run(5, async |world| {
        let pair = Pair::start(world).await;
        let (env, link) = (pair.client.env(), pair.link.clone());
        world.stop_at(world.steps(), Stop::owner(By::PowerCut));
        let running = pair.client.spawn(async move {
            let disk: Arc<dyn Disk> = env.disk.clone();
            disk.create("f", Access::Random).err().expect("the process is gone");
            // What it does until it next waits has no effect, and it waits
            // for ever.
            disk.create("g", Access::Random).err().expect("still gone");
            env.spawn(async { panic!("a dead process begins nothing") });
            let _ = link.delete_chunks(context(), vec![Handle(1)]).await;
            panic!("a dead process goes on");
        });
        let outcome: std::result::Result<(), Ended> = running.await;
        assert_eq!(outcome, Err(Ended));
        world.pass(60 * SECOND).await;
        assert_eq!(world.stopped().as_deref(), Some(&*stop_text(world)));
        assert_eq!((pair.spy.notes().len(), pair.client.disk().files().len()), (0, 0));

        // One that returns in the same breath is not heard either.
        let env = pair.client.start();
        world.stop_at(world.steps(), Stop::owner(By::Kill));
        let returned = pair.client.spawn(async move { env.disk.create_dir("d").is_err() }).await;
        assert_eq!(returned, Err(Ended));
    });
}

/// The trace says of a stop what [`World::stopped`] says.
fn stop_text(world: &World) -> String {
    let lines = world.trace().tail(usize::MAX);
    let line = lines.iter().find(|line| line.contains(" world ")).expect("a line about it");
    line.split_once(" world ").expect("found").1.to_owned()
}
