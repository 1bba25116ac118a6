//! `stat`: one file, down to where each copy is.

use std::sync::Arc;

use dfs_core::api::{
    ChunkMap, Condition, CoordinatorService, CopyAt, CopyState, FileInfo, FileMap, Lookup,
    NodeState, StripeMap,
};
use dfs_core::id::Handle;
use dfs_core::name::FileName;
use serde_json::{Value, json};

use super::ls;
use crate::cli::StatArgs;
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::table::Grid;
use crate::output::{self, json, size, time, words};

/// Shows a file.
pub(super) async fn run(args: StatArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let name = FileName::new(args.name).map_err(|e| Failure::usage(e.to_string()))?;
    let (info, stripes) = match look_up(&cluster, &name, args.chunks).await {
        Ok(found) => found,
        Err(failure) => {
            let way = "list it with ls, or sum it up with du";
            return Err(ls::or_folder(&cluster, name.as_str(), failure, way).await);
        }
    };
    if args.answer.json {
        let mut answer = json!({ "file": json::file(&info) });
        if args.chunks {
            answer["stripes"] = stripes.iter().enumerate().map(stripe_json).collect();
        }
        json::print("stat", answer)?;
        return Ok(Code::Ok);
    }
    for line in describe(&info) {
        output::line(line)?;
    }
    if args.chunks {
        for line in chunk_table(&stripes).lines("  ") {
            output::line(line)?;
        }
    }
    Ok(Code::Ok)
}

/// A file and its map, of which all pages if `all`.
async fn look_up(
    cluster: &Cluster,
    name: &FileName,
    all: bool,
) -> Result<(FileInfo, Vec<StripeMap>), Failure> {
    let mut stripes = Vec::new();
    let mut version = None;
    loop {
        let first_stripe = u32::try_from(stripes.len())
            .map_err(|_| Failure::new(Code::Other, "the file has more stripes than can be"))?;
        let request = Lookup { name: name.clone(), version, first_stripe };
        let ask = |coordinator: Arc<dyn CoordinatorService>| {
            let request = request.clone();
            async move { coordinator.lookup(request).await }
        };
        let FileMap { info, stripes: page, .. } = cluster.client.call(ask).await?;
        version = Some(info.id);
        let is_last = page.is_empty();
        stripes.extend(page);
        if is_last || !all || stripes.len() >= info.stripes as usize {
            return Ok((info, stripes));
        }
    }
}

fn describe(info: &FileInfo) -> Vec<String> {
    vec![
        info.name.to_string(),
        format!(
            "  size      {} bytes: {} logical, {} stored, {} raw ({})",
            info.size,
            size::bytes(info.size),
            size::bytes(info.stored_bytes),
            size::bytes(info.raw_bytes),
            size::times(info.raw_bytes, info.size),
        ),
        format!(
            "  policy    {}, chunks of at most {}",
            info.policy,
            size::bytes(u64::from(info.policy.chunk_size)),
        ),
        format!(
            "  layout    {} in {}",
            size::counted(u64::from(info.chunks), "chunk"),
            size::counted(u64::from(info.stripes), "stripe"),
        ),
        format!("  version   {}, stored {}", info.id, time::for_people(info.created_ms)),
        format!("  state     {}", state(info)),
        format!("  survives  {}", words::survives(info)),
    ]
}

/// The state of a file: one word of five, and what follows from it.
fn state(info: &FileInfo) -> String {
    let missing = size::counted(info.copies_missing, "copy");
    match info.condition {
        Condition::Full => "full: every copy is there".into(),
        Condition::Degraded => format!("degraded: {missing} missing, repair makes them anew"),
        Condition::AtRisk => {
            format!("at risk: {missing} missing, and one more loss may lose data")
        }
        Condition::Unreachable => {
            "unreachable: it cannot be read until nodes come back that hold its copies".into()
        }
        Condition::Lost => "lost: it cannot be rebuilt from any copy that exists".into(),
        Condition::Unknown => "unknown: nodes have not reported what they hold".into(),
    }
}

fn chunk_table(stripes: &[StripeMap]) -> Grid {
    let mut grid =
        Grid::new(&[">CHUNK", ">STRIPE", ">HANDLE", ">RAW", ">STORED", "COPIES", "SHA-256"]);
    let mut chunk = 0u64;
    for (number, stripe) in stripes.iter().enumerate() {
        for (slot, map) in stripe.chunks.iter().enumerate() {
            let what = if slot < usize::from(stripe.shape.data) {
                chunk += 1;
                (chunk - 1).to_string()
            } else {
                format!("parity {}", slot - usize::from(stripe.shape.data))
            };
            grid.row(vec![
                what,
                number.to_string(),
                handle(stripe, slot).to_string(),
                size::bytes(map.raw_len),
                size::bytes(map.stored_len),
                copies(map),
                map.digest.to_string(),
            ]);
        }
    }
    grid
}

/// The handle of chunk `slot`: absent data chunks leave a gap before parity.
fn handle(stripe: &StripeMap, slot: usize) -> Handle {
    let data = usize::from(stripe.shape.data);
    let position =
        if slot < data { slot } else { usize::from(stripe.shape.coding.data) + slot - data };
    Handle(stripe.first_handle.0.saturating_add(position as u64))
}

fn copies(map: &ChunkMap) -> String {
    if map.copies.is_empty() {
        return "none".into();
    }
    map.copies.iter().map(copy).collect::<Vec<_>>().join(" ")
}

/// `n1` when all is well, else `n1(offline)`, `n1(bad)`.
fn copy(copy: &CopyAt) -> String {
    match (copy.presence, copy.state) {
        (CopyState::Held, NodeState::Online) => copy.node.to_string(),
        (CopyState::Held | CopyState::Unknown, state) if state != NodeState::Online => {
            format!("{}({})", copy.node, json::node_state(state))
        }
        (presence, _) => format!("{}({})", copy.node, json::copy_state(presence)),
    }
}

fn stripe_json((number, stripe): (usize, &StripeMap)) -> Value {
    let chunks: Vec<Value> = stripe
        .chunks
        .iter()
        .enumerate()
        .map(|(slot, map)| {
            json!({
                "role": if slot < usize::from(stripe.shape.data) { "data" } else { "parity" },
                "handle": handle(stripe, slot).0,
                "sha256": map.digest.to_string(),
                "raw_bytes": map.raw_len,
                "stored_bytes": map.stored_len,
                "copies": map.copies.iter().map(copy_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "stripe": number, "parity": stripe.shape.coding.to_string(), "chunks": chunks })
}

fn copy_json(copy: &CopyAt) -> Value {
    json!({
        "node": copy.node.as_str(),
        "address": copy.address,
        "node_state": json::node_state(copy.state),
        "copy_state": json::copy_state(copy.presence),
    })
}
