//! Wrong folders, and whose orders count.

use std::time::Duration;

use dfs_simulation::World;

use super::*;

#[test]
fn a_folder_is_refused_for_its_reason() {
    World::run(1, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        thin(1, 100).write_to(&*node, context()).await.expect("write");
        host.kill();
        let other = NodeSettings { id: NodeId::new("n2").expect("good"), ..settings(&host) };
        let error = Node::open(host.start(), other).await.err().expect("another node's folder");
        assert!(matches!(error, NodeStartError::AnotherNode { .. }), "{error}");
        assert!(error.to_string().contains("belongs to node n1, not to n2"), "{error}");

        let identity = host.disk().read_file("identity").expect("it is there");
        let text = String::from_utf8(identity.clone()).expect("text");
        host.disk().plant_file("identity", text.replace("identity 2", "identity 7").as_bytes());
        let error = try_start(&host).await.err().expect("a newer folder");
        assert!(matches!(error, NodeStartError::Newer(_)), "{error}");

        host.disk().plant_file("identity", text.replace("epoch 5", "epoch 4").as_bytes());
        let error = try_start(&host).await.err().expect("a damaged identity");
        assert!(matches!(error, NodeStartError::DamagedIdentity(_)), "{error}");

        host.disk().unplant_file("identity");
        let error = try_start(&host).await.err().expect("chunks of nobody");
        assert!(matches!(error, NodeStartError::NoIdentity), "{error}");

        host.disk().plant_file("identity", &identity);
        let node = start(&host).await;
        assert_eq!(read(&node, 1).await, Ok(thin(1, 100).whole()));
    });
}

#[test]
fn an_address_that_is_none_is_not_written_down() {
    World::run(4, async |world| {
        let host = world.add_host("n1", 4001);
        let node = try_start(&host).await.expect("the node starts");
        let long = format!("{}:1", "a".repeat(300));
        for address in ["", "-", "a b:1", "c:1\nid n2", long.as_str()] {
            let adopt = Adopt {
                context: context(),
                coordinator: address.to_owned(),
                replaces: dfs_core::id::Run::default(),
                has_ended: false,
                position: 1,
                numbers_end: 1 << 40,
            };
            assert_kind(node.adopt(adopt).await, Kind::Invalid);
        }
        assert_kind(thin(1, 100).write_to(&*node, context()).await, Kind::WrongIdentity);
        adopt(&node).await.expect("it still belongs to nobody");
    });
}

#[test]
fn a_run_once_adopted_is_remembered_over_a_power_cut() {
    World::run(2, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        let later = sample::context(1, 8);
        // No order raises the run, only an adoption that names what it replaces.
        assert_kind(thin(1, 100).write_to(&*node, later).await, Kind::StaleEpoch);
        let takeover = Adopt {
            context: later,
            coordinator: "nowhere:9".to_owned(),
            replaces: context().run,
            has_ended: true,
            position: 1,
            numbers_end: 1 << 40,
        };
        node.adopt(takeover).await.expect("it names the run that it replaces");
        thin(1, 100).write_to(&*node, later).await.expect("write");
        assert_kind(thin(2, 100).write_to(&*node, context()).await, Kind::StaleEpoch);
        host.crash();
        let node = try_start(&host).await.expect("the node starts");
        assert_kind(adopt(&node).await, Kind::StaleEpoch);
        let doomed = node.delete_chunks(context(), vec![Handle(1)]).await;
        assert_kind(doomed, Kind::StaleEpoch);
        assert_eq!(read(&node, 1).await, Ok(thin(1, 100).whole()));
    });
}

#[test]
fn a_node_without_its_coordinator_serves_and_takes_nothing() {
    World::run(3, async |world| {
        let host = world.add_host("n1", 4001);
        let node = start(&host).await;
        host.spawn(node.clone().run());
        thin(1, 100).write_to(&*node, context()).await.expect("write");
        world.pass(Duration::from_millis(12_001)).await;
        let text = assert_kind(thin(2, 100).write_to(&*node, context()).await, Kind::Unavailable);
        assert!(text.contains(NOWHERE), "{text}");
        assert_eq!(read(&node, 1).await, Ok(thin(1, 100).whole()));
        node.delete_chunks(context(), vec![Handle(1)]).await.expect("orders are heeded");
        adopt(&node).await.expect("it hears from its coordinator");
        thin(2, 100).write_to(&*node, context()).await.expect("and takes chunks again");

        host.kill();
        let node = try_start(&host).await.expect("the node starts");
        assert_kind(thin(3, 100).write_to(&*node, context()).await, Kind::Unavailable);
        node.leave().await;
        let _ = adopt(&node).await;
        assert_kind(thin(3, 100).write_to(&*node, context()).await, Kind::Unavailable);
    });
}
