//! The contract suites on the roles themselves and on simulated links.

use std::sync::Arc;

use dfs_core::api::{CoordinatorService, NodeService};
use dfs_core::coordinator::CoordinatorSettings;
use dfs_core::env::Durability;
use dfs_core::id::NodeId;
use dfs_core::node::NodeSettings;
use dfs_simulation::World;
use dfs_simulation::cluster::{start_coordinator_on, start_node_on};
use dfs_simulation::contract::coordinator::{PLACEMENT, POLICY, coordinator_contract};
use dfs_simulation::contract::node::{NodeUnderTest, node_contract};

async fn new_node(world: &World, number: u16) -> (Arc<dyn NodeService>, String) {
    let host = world.add_host(&format!("n{number}"), 4000 + number);
    let settings = NodeSettings {
        id: NodeId::new(host.name()).expect("a good id"),
        address: host.address().to_owned(),
        zone: None,
        join: None,
        replace: false,
        capacity_bytes: None,
        durability: Durability::Strict,
        version: "0.0.0-simulated".to_owned(),
    };
    let node = start_node_on(&host, settings).await.expect("the node starts");
    (node, host.address().to_owned())
}

async fn new_coordinator(world: &World, number: u16) -> (Arc<dyn CoordinatorService>, String) {
    let host = world.add_host(&format!("c{number}"), 4000 + number);
    let settings = CoordinatorSettings {
        without: Vec::new(),
        accepts_older: false,
        address: host.address().to_owned(),
        nodes: Vec::new(),
        policy: POLICY,
        placement: PLACEMENT,
        durability: Durability::Strict,
        repair_after_ms: 60_000,
        delete_grace_ms: 60_000,
        upload_idle_max_ms: 600_000,
        repair_bytes_per_second_max: 0,
        allow_unsafe: false,
        version: "0.0.0-simulated".to_owned(),
    };
    let coordinator = start_coordinator_on(&host, settings).await.expect("it starts");
    (coordinator, host.address().to_owned())
}

#[test]
fn a_node_keeps_the_contract() {
    World::run(1, async |world| {
        let mut number = 0;
        node_contract(async || {
            number += 1;
            let (service, address) = new_node(world, number).await;
            NodeUnderTest { service, address }
        })
        .await;
    });
}

#[test]
fn a_node_behind_a_link_keeps_the_contract() {
    World::run(2, async |world| {
        let peers = world.add_host("client", 1).start().peers;
        let mut number = 0;
        node_contract(async || {
            number += 1;
            let (_, address) = new_node(world, number).await;
            NodeUnderTest { service: peers.node(&address), address }
        })
        .await;
    });
}

#[test]
fn a_coordinator_keeps_the_contract() {
    World::run(3, async |world| {
        let mut number = 0;
        coordinator_contract(async || {
            number += 1;
            new_coordinator(world, number).await.0
        })
        .await;
    });
}

#[test]
fn a_coordinator_behind_a_link_keeps_the_contract() {
    World::run(4, async |world| {
        let peers = world.add_host("client", 1).start().peers;
        let mut number = 0;
        coordinator_contract(async || {
            number += 1;
            peers.coordinator(&new_coordinator(world, number).await.1)
        })
        .await;
    });
}
