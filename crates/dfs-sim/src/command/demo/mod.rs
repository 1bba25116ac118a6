//! `demo`: the store at work, told in a few lines with real figures.
//!
//! Coordinator and nodes are processes of their own, started from this very
//! program, so that a node can really be killed.

mod material;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{ClusterStatus, Lookup, PolicyOverrides, PutMode, StripeMap};
use dfs_core::client::{
    Client, ClientSettings, GetSummary, Progress, PutOptions, PutSummary, first_choice,
};
use dfs_core::data::digest::Digest;
use dfs_core::env::Durability;
use dfs_core::id::NodeId;
use dfs_core::name::FileName;
use dfs_core::policy::{Compression, ParitySpec, PlacementStrategy, PolicySpec};
use dfs_runtime::RealWorld;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::node::shown;
use super::policy::ClusterPolicy;
use super::processes::{Folder, ProcessCluster};
use super::{source, status, up};
use crate::cli::DemoArgs;
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json, report, size, time};
use material::Material;
use verify::HashSink;

/// Small enough that a demonstration has some chunks to lose.
const CHUNK_SIZE: u32 = 8 << 20;
/// Repair begins soon: nobody wants to wait for it here.
const REPAIR_AFTER: Duration = Duration::from_secs(3);
/// How long repair may take before the demonstration gives up.
const REPAIR_WITHIN: Duration = Duration::from_secs(300);
/// How often it looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the demonstration.
pub(super) async fn run(args: DemoArgs, console: &Console) -> Outcome {
    let mut story = Story { is_silent: args.answer.json, steps: Vec::new() };
    let folder = Folder::make("demo", None, args.keep)?;
    let material = Material::prepare(args.file.as_deref(), folder.path()).await?;
    let policy = cluster_policy();
    up::keep_settings(folder.path(), &policy)?;
    let mut cluster = ProcessCluster::start(folder.path(), args.nodes, &policy).await?;
    story.tell(format!(
        "{} nodes and a coordinator, a process each, data in {}",
        args.nodes,
        shown(folder.path())
    ))?;
    let asked = client(cluster.address());
    let parity = parity_for(args.nodes);
    let copies = Plan { name: "demo/copies", replication: 2, parity: ParitySpec::None };
    let coded = Plan { name: "demo/parity", replication: 1, parity };
    for plan in [&copies, &coded] {
        put(&asked, &material, plan, &mut story).await?;
    }
    let before = status::ask(&asked).await?;
    let (victim, held) = choose_victim(&asked, &copies, &coded).await?;
    let process = cluster.kill(victim.as_str()).await?;
    let killed = Instant::now();
    story.tell(format!(
        "kill -9 {victim} (process {process}), which held {}",
        size::counted(held, "chunk")
    ))?;
    for plan in [&copies, &coded] {
        get(&asked, &material, plan, &mut story).await?;
    }
    repair(&asked, &before, killed, &victim, &mut story).await?;
    for plan in [&copies, &coded] {
        get(&asked, &material, plan, &mut story).await?;
    }
    story.tell(format!("{victim} is gone for good, and nothing was lost"))?;
    cluster.stop().await;
    if args.answer.json {
        let kept = args.keep.then(|| folder.path().display().to_string());
        json::print("demo", json!({ "steps": story.steps, "data": kept }))?;
    }
    if args.keep {
        console.note(format!("go on with: dfs-sim up --data {}", shown(folder.path())));
    }
    Ok(Code::Ok)
}

/// What was told, and how.
struct Story {
    is_silent: bool,
    steps: Vec<Value>,
}

impl Story {
    fn tell(&mut self, text: String) -> Result<(), Failure> {
        self.tell_with(text, Vec::new(), Value::Null)
    }

    fn tell_with(&mut self, text: String, more: Vec<String>, data: Value) -> Result<(), Failure> {
        if !self.is_silent {
            output::line(format!("{:>2}. {text}", self.steps.len() + 1))?;
            for line in more {
                output::line(format!("   {line}"))?;
            }
        }
        self.steps.push(json!({ "text": text, "data": data }));
        Ok(())
    }
}

/// How one of the two files is stored.
struct Plan {
    name: &'static str,
    replication: u8,
    parity: ParitySpec,
}

impl Plan {
    fn file_name(&self) -> FileName {
        FileName::new(self.name).expect("the names are constants and keep the rules")
    }
}

fn cluster_policy() -> ClusterPolicy {
    ClusterPolicy {
        spec: PolicySpec {
            replication: 2,
            parity: ParitySpec::None,
            compression: Compression::Lz4,
            chunk_size: CHUNK_SIZE,
        },
        placement: PlacementStrategy::RoundRobin,
        repair_after: REPAIR_AFTER,
        delete_grace: Duration::from_secs(60),
        durability: Durability::Strict,
        allow_unsafe: false,
    }
}

/// A code that leaves one node free, so that repair has somewhere to go.
fn parity_for(nodes: u8) -> ParitySpec {
    match nodes {
        ..6 => ParitySpec::Xor { data: nodes - 2 },
        6..12 => ParitySpec::ReedSolomon { data: nodes - 3, parity: 2 },
        _ => ParitySpec::ReedSolomon { data: 8, parity: 3 },
    }
}

fn client(address: &str) -> Cluster {
    let env = RealWorld::new(Handle::current()).client_env();
    let coordinator = env.peers.coordinator(address);
    let wall = env.wall.clone();
    let client = Client::new(env, coordinator.clone(), ClientSettings::default()).at(address);
    Cluster { client: Arc::new(client), coordinator, wall }
}

async fn put(
    cluster: &Cluster,
    material: &Material,
    plan: &Plan,
    story: &mut Story,
) -> Result<PutSummary, Failure> {
    let options = PutOptions {
        name: plan.file_name(),
        policy: PolicyOverrides {
            replication: Some(plan.replication),
            parity: Some(plan.parity),
            ..PolicyOverrides::default()
        },
        mode: PutMode::IfAbsent,
        is_strict: true,
        allow_unsafe: false,
        allow_empty: true,
    };
    let source = source::open(&material.path).await?;
    let start = Instant::now();
    let summary = cluster
        .client
        .put(source, options, &Progress::new())
        .await
        .map_err(|e| Failure::new(e.kind.into(), e.message))?;
    let took = start.elapsed();
    let file = &summary.file;
    let text = format!(
        "put {} as {}, {}: {} ({}), {} stored, {} raw",
        size::bytes(file.size),
        file.name,
        file.policy,
        time::span(took),
        size::rate(file.size, took),
        size::bytes(file.stored_bytes),
        size::bytes(file.raw_bytes),
    );
    story.tell_with(text, Vec::new(), report::put_json(&summary, took))?;
    Ok(summary)
}

async fn get(
    cluster: &Cluster,
    material: &Material,
    plan: &Plan,
    story: &mut Story,
) -> Result<GetSummary, Failure> {
    let mut sink = HashSink::default();
    let start = Instant::now();
    let summary = cluster
        .client
        .get(&plan.file_name(), None, &mut sink, &Progress::new())
        .await
        .map_err(|e| Failure::new(e.kind.into(), e.message))?;
    let took = start.elapsed();
    check(material, plan, sink.digest())?;
    let ways: Vec<String> = [
        (summary.from_other_copy, "from another copy"),
        (summary.from_parity, "rebuilt from parity"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, way)| format!("{count} of {} {way}, ", size::counted(summary.chunks, "chunk")))
    .collect();
    let text = format!(
        "get {}: {} ({}), {}SHA-256 as it was put",
        plan.name,
        time::span(took),
        size::rate(summary.bytes, took),
        ways.concat(),
    );
    let first_note = report::way_lines(&summary).into_iter().nth(1).into_iter().collect();
    story.tell_with(text, first_note, report::get_json(&summary, None, took))?;
    Ok(summary)
}

fn check(material: &Material, plan: &Plan, found: Digest) -> Result<(), Failure> {
    if found == material.digest {
        return Ok(());
    }
    Err(Failure::new(
        Code::Integrity,
        format!("{} came back as {found}, and {} was put", plan.name, material.digest),
    ))
}

/// Waits until every copy is there again.
async fn repair(
    cluster: &Cluster,
    before: &ClusterStatus,
    killed: Instant,
    victim: &NodeId,
    story: &mut Story,
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut began: Option<Instant> = None;
    loop {
        let status = status::ask(cluster).await?;
        let repair = &status.repair;
        if repair.running + repair.done > before.repair.done && began.is_none() {
            began = Some(Instant::now());
        }
        let health = &status.health;
        let is_whole = health.lacking() == 0;
        if let Some(began) = began
            && is_whole
            && repair.waiting + repair.running == 0
        {
            let text = format!(
                "repair: {victim} was missed, and {} after the kill {} were made anew in {} ({} \
                 pulled), each read back and verified",
                time::span(began - killed),
                size::counted(repair.done - before.repair.done, "copy"),
                time::span(began.elapsed()),
                size::bytes(repair.bytes_pulled.saturating_sub(before.repair.bytes_pulled)),
            );
            let data = json!({
                "began_after_ms": json::ms(began - killed),
                "took_ms": json::ms(began.elapsed()),
                "copies": repair.done - before.repair.done,
                "pulled_bytes": repair.bytes_pulled,
            });
            return story.tell_with(text, Vec::new(), data);
        }
        if start.elapsed() > REPAIR_WITHIN {
            let screen = output::screen::lines(&status, None).join("\n");
            let message = format!("repair did not end within {REPAIR_WITHIN:?}:");
            return Err(Failure::new(Code::Other, message).followed_by(&screen));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// What the loss of one node would show.
#[derive(Default)]
struct Shown {
    /// Chunks that would be read from another copy.
    copied: u64,
    /// Chunks that would be rebuilt from parity.
    rebuilt: u64,
    /// Chunks of any kind on it.
    held: u64,
}

/// The node whose loss shows most, both ways if it can, and how many chunks
/// it holds.
async fn choose_victim(
    cluster: &Cluster,
    copies: &Plan,
    coded: &Plan,
) -> Result<(NodeId, u64), Failure> {
    let mut nodes: BTreeMap<NodeId, Shown> = BTreeMap::new();
    for plan in [copies, coded] {
        for stripe in stripes(cluster, plan).await? {
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                let is_data = slot < usize::from(stripe.shape.data);
                if let Some(first) = first_choice(&stripe, slot).filter(|_| is_data) {
                    let shown = nodes.entry(first.node.clone()).or_default();
                    let is_copied = chunk.copies.len() > 1;
                    *if is_copied { &mut shown.copied } else { &mut shown.rebuilt } += 1;
                }
                for copy in &chunk.copies {
                    nodes.entry(copy.node.clone()).or_default().held += 1;
                }
            }
        }
    }
    let worth = |shown: &Shown| (shown.copied.min(shown.rebuilt), shown.held);
    let most = nodes.into_iter().max_by_key(|(_, shown)| worth(shown));
    let none = || Failure::new(Code::Other, "no node holds anything: the file is empty");
    most.map(|(node, shown)| (node, shown.held)).ok_or_else(none)
}

async fn stripes(cluster: &Cluster, plan: &Plan) -> Result<Vec<StripeMap>, Failure> {
    let mut stripes: Vec<StripeMap> = Vec::new();
    loop {
        let first_stripe = u32::try_from(stripes.len()).unwrap_or(u32::MAX);
        let lookup = Lookup { name: plan.file_name(), version: None, first_stripe };
        let asked = cluster.client.call(|coordinator| {
            let lookup = lookup.clone();
            async move { coordinator.lookup(lookup).await }
        });
        let map = asked.await.map_err(|e| Failure::new(e.kind.into(), e.message))?;
        let is_last = map.stripes.is_empty();
        stripes.extend(map.stripes);
        if is_last || stripes.len() >= map.info.stripes as usize {
            return Ok(stripes);
        }
    }
}

/// A path in the demonstration's folder.
fn below(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}
