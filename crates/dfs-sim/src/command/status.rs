//! `status`: the cluster on one screen. `node ls`: its nodes alone.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{ClusterStatus, CoordinatorService, UNKNOWN_COUNTED_MAX, Word};
use dfs_core::id::Handle;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cli::{NodeLsArgs, StatusArgs};
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::screen::{self, Pace};
use crate::output::{self, json, time};

/// How long repair is watched to say how fast it is.
const REPAIR_WATCHED: Duration = Duration::from_secs(1);

/// Shows the cluster.
pub(super) async fn run(args: StatusArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let (status, pace) = look(&cluster).await?;
    let code = health(&status);
    if args.answer.json {
        json::print("status", as_json(&status, pace, code))?;
    } else {
        for line in screen::lines(&status, pace) {
            output::line(line)?;
        }
    }
    Ok(if args.exit_code { code } else { Code::Ok })
}

/// Lists the nodes.
pub(super) async fn list_nodes(args: NodeLsArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let status = ask(&cluster).await?;
    if args.answer.json {
        let nodes: Vec<Value> =
            status.nodes.iter().map(|node| json::node(node, status.now_ms)).collect();
        let answer = json!({
            "health": status.verdict.word.name(),
            "nodes_expected": status.nodes_expected,
            "nodes": nodes,
        });
        json::print("node ls", answer)?;
        return Ok(Code::Ok);
    }
    for line in screen::node_table(&status.nodes).lines("") {
        output::line(line)?;
    }
    for line in screen::about_nodes(&status) {
        output::line(line)?;
    }
    Ok(Code::Ok)
}

/// The coordinator's answer.
///
/// # Errors
/// As the coordinator says.
pub(super) async fn ask(cluster: &Cluster) -> Result<ClusterStatus, Failure> {
    let ask = |coordinator: Arc<dyn CoordinatorService>| async move { coordinator.status().await };
    Ok(cluster.client.call(ask).await?)
}

/// The coordinator's answer, and this machine's clock before it was asked and
/// when the answer came.
///
/// # Errors
/// As the coordinator says.
pub(super) async fn ask_timed(cluster: &Cluster) -> Result<(ClusterStatus, u64, u64), Failure> {
    let wall = &cluster.wall;
    let ask = |coordinator: Arc<dyn CoordinatorService>| {
        // Not what was waited for before the call that is answered.
        let before_ms = wall.now_ms();
        async move { Ok((coordinator.status().await?, before_ms)) }
    };
    let (status, before_ms) = cluster.client.call(ask).await?;
    Ok((status, before_ms, wall.now_ms()))
}

/// The status, and while repair runs its pace, from two looks.
async fn look(cluster: &Cluster) -> Result<(ClusterStatus, Option<Pace>), Failure> {
    let before = ask(cluster).await?;
    if before.repair.running == 0 {
        return Ok((before, None));
    }
    let start = Instant::now();
    sleep(REPAIR_WATCHED).await;
    let after = ask(cluster).await?;
    let pace = Pace::between(&before.repair, &after.repair, start.elapsed());
    Ok((after, Some(pace)))
}

/// The code that `--exit-code` ends with.
pub(super) fn health(status: &ClusterStatus) -> Code {
    match status.verdict.word {
        Word::AllWell => Code::Ok,
        Word::NotKnownYet => Code::Unavailable,
        Word::Degraded => Code::Degraded,
        Word::AtRisk | Word::Unreachable | Word::Lost => Code::AtRisk,
    }
}

/// The ranges of handles that are kept, for machines.
pub(super) fn kept_handles(status: &ClusterStatus) -> Vec<Value> {
    let range = |(first, end): &(Handle, Handle)| json!({ "first": first.0, "end": end.0 });
    status.kept_handles.iter().map(range).collect()
}

fn as_json(status: &ClusterStatus, pace: Option<Pace>, code: Code) -> Value {
    let repair = &status.repair;
    json!({
        "health": status.verdict.word.name(),
        "reasons": status.verdict.reasons.iter().map(json::reason).collect::<Vec<_>>(),
        "exit_code": code as u8,
        "now": time::rfc3339(status.now_ms),
        "cluster": status.cluster.to_string(),
        "epoch": status.run.epoch.0,
        "run": status.run.to_string(),
        "nodes_leased": status.leased,
        "nodes_counted": status.counted,
        "makes_no_changes": status.makes_no_changes,
        "kept_handles": kept_handles(status),
        "unknown": {
            "copies": status.unknown.copies,
            "stored_bytes": status.unknown.bytes,
            "is_more": status.unknown.copies >= UNKNOWN_COUNTED_MAX,
        },
        "coordinator_version": status.version,
        "uptime_ms": status.uptime_s.saturating_mul(1000),
        "policy": {
            "replication": status.policy.replication,
            "parity": status.policy.parity.to_string(),
            "compression": status.policy.compression.to_string(),
            "chunk_size_bytes": status.policy.chunk_size,
            "placement": status.placement.to_string(),
            "durability": if status.is_relaxed { "relaxed" } else { "strict" },
        },
        "promise": {
            "nodes_lost_max": status.promise.nodes_lost_max,
            "zones_lost_max": status.promise.zones_lost_max,
            "sentence": status.promise.sentence,
        },
        "stored": {
            "spares_min": status.stored.spares_min,
            "files": status.stored.files,
            "sentence": status.stored.sentence,
        },
        "nodes_expected": status.nodes_expected,
        "usage": json::usage(&status.usage),
        "garbage_bytes": status.garbage_bytes,
        "stripes": {
            "full": status.health.full,
            "degraded": status.health.degraded,
            "at_risk": status.health.at_risk,
            "unreachable": status.health.unreachable,
            "lost": status.health.lost,
            "unknown": status.health.unknown,
        },
        "repair": {
            "copies_waiting": repair.waiting,
            "copies_running": repair.running,
            "copies_done": repair.done,
            "copies_moved": repair.moved,
            "attempts_failed": repair.failed,
            "pulled_bytes": repair.bytes_pulled,
            "begins_in_ms": repair.begins_in_s.map(|seconds| seconds.saturating_mul(1000)),
            "pulled_bytes_per_second": pace.map(|pace| pace.bytes_per_s),
            "left_ms": pace.and_then(|pace| pace.time_left(repair)).map(json::ms),
        },
        "nodes": status.nodes.iter()
            .map(|node| json::node(node, status.now_ms)).collect::<Vec<_>>(),
    })
}
