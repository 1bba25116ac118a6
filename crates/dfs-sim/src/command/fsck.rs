//! `fsck`: what lies on the nodes against what the catalog knows.

use dfs_core::api::{ClusterStatus, Reason, ReasonKind, UnknownCopy};
use dfs_core::data::chunk::ChunkHeader;
use dfs_core::id::{ClusterId, Handle};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::status;
use crate::cli::{FsckArgs, HandleRange};
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::table::Grid;
use crate::output::{self, json, size, time};

/// Headers that are read at once.
const HEADERS_AT_ONCE: usize = 16;

/// One copy that the catalog does not know, and what its header says, or why
/// it does not.
struct Found {
    copy: UnknownCopy,
    header: Result<ChunkHeader, String>,
}

/// Lists unknown chunks, or lets go of kept handles.
pub(super) async fn run(args: FsckArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    if let Some(range) = args.release_kept {
        return release(&cluster, range, args.answer.json).await;
    }
    let status = status::ask(&cluster).await?;
    let found = unknown(&cluster, status.cluster).await?;
    if args.answer.json {
        json::print("fsck", as_json(&status, &found))?;
        return Ok(Code::Ok);
    }
    if !found.is_empty() {
        let mut grid = Grid::new(&[
            "NODE",
            ">HANDLE",
            ">SIZE",
            "CHUNK",
            "WRITTEN",
            "FILE WHEN IT WAS WRITTEN",
        ]);
        for Found { copy, header } in &found {
            let (chunk, written, name) = match header {
                Ok(header) => {
                    (place(header), time::rfc3339(header.created_ms), header.name.to_string())
                }
                Err(why) => ("?".to_owned(), "?".to_owned(), format!("not read: {why}")),
            };
            grid.row(vec![
                copy.node.to_string(),
                copy.handle.to_string(),
                size::bytes(copy.stored_bytes),
                chunk,
                written,
                name,
            ]);
        }
        for line in grid.lines("") {
            output::line(line)?;
        }
    }
    for line in summary(&status, &found) {
        output::line(line)?;
    }
    Ok(Code::Ok)
}

async fn release(cluster: &Cluster, range: HandleRange, is_json: bool) -> Outcome {
    let HandleRange { first, end } = range;
    cluster.client.release_kept(Handle(first), Handle(end)).await?;
    if is_json {
        json::print("fsck", json!({ "released": { "first": first, "end": end } }))?;
        return Ok(Code::Ok);
    }
    output::line(format!(
        "handles {first} to {end} are no longer kept: their chunks that no file needs are deleted \
         after the grace period (--delete-grace of the coordinator)"
    ))?;
    Ok(Code::Ok)
}

/// All unknown copies, with what their headers say.
async fn unknown(cluster: &Cluster, id: ClusterId) -> Result<Vec<Found>, Failure> {
    let mut found: Vec<Found> = Vec::new();
    loop {
        let after = found.last().map(|last| (last.copy.node.clone(), last.copy.handle));
        let page = cluster.client.unknown_page(after).await?;
        let is_last = !page.has_more || page.copies.is_empty();
        let read = |copy: UnknownCopy| async move {
            let header = cluster.client.header_of(id, &copy).await;
            Found { copy, header: header.map_err(|error| error.message) }
        };
        let read = stream::iter(page.copies).map(read).buffered(HEADERS_AT_ONCE);
        found.extend(read.collect::<Vec<_>>().await);
        if is_last {
            return Ok(found);
        }
    }
}

/// `data 3 of stripe 0`.
fn place(header: &ChunkHeader) -> String {
    let data = header.shape.coding.data;
    let (kind, number) = match header.position.checked_sub(data) {
        None => ("data", header.position),
        Some(number) => ("parity", number),
    };
    format!("{kind} {number} of stripe {}", header.stripe)
}

fn summary(status: &ClusterStatus, found: &[Found]) -> Vec<String> {
    let is_of_catalog = |reason: &Reason| {
        matches!(reason.kind, ReasonKind::OlderCatalog | ReasonKind::EmptyCatalog)
    };
    if status.verdict.reasons.iter().any(is_of_catalog) {
        let text = "this catalog does not belong to the nodes (see status): they do not report to this \
                    coordinator what they hold";
        return vec![text.to_owned()];
    }
    let bytes: u64 = found.iter().map(|found| found.copy.stored_bytes).sum();
    let mut lines = vec![match found.len() {
        0 => "the nodes that were heard hold no chunk that the catalog does not know".to_owned(),
        count => format!(
            "{} ({}) that the catalog does not know; they are kept. No content was read.",
            size::counted(count as u64, "copy"),
            size::bytes(bytes)
        ),
    }];
    let away = status.nodes.iter().filter(|node| node.state != dfs_core::api::NodeState::Online);
    let away: Vec<&str> = away.map(|node| node.id.as_str()).collect();
    if !away.is_empty() {
        lines.push(format!("not online, so perhaps not all listed: {}", away.join(", ")));
    }
    for (first, end) in &status.kept_handles {
        lines.push(format!(
            "handles {first} to {end} are kept since an older catalog was accepted; when nothing \
             of the above is needed any more: dfs-sim fsck --release-kept {first}..{end}"
        ));
    }
    lines
}

fn as_json(status: &ClusterStatus, found: &[Found]) -> Value {
    let copies = found.iter().map(|Found { copy, header }| {
        let (header, error) = match header {
            Ok(header) => (Some(header), None),
            Err(error) => (None, Some(error)),
        };
        json!({
            "node": copy.node.as_str(),
            "handle": copy.handle.0,
            "stored_bytes": copy.stored_bytes,
            "is_good": copy.is_good,
            "name_when_written": header.map(|header| header.name.as_str()),
            "file_id": header.map(|header| header.file.0),
            "file_bytes": header.and_then(|header| header.file_size),
            "written": header.map(|header| time::rfc3339(header.created_ms)),
            "stripe": header.map(|header| header.stripe),
            "position": header.map(|header| header.position),
            "error": error,
        })
    });
    json!({
        "unknown": copies.collect::<Vec<_>>(),
        "kept_handles": status::kept_handles(status),
        "nodes_not_online": status.nodes.iter()
            .filter(|node| node.state != dfs_core::api::NodeState::Online)
            .map(|node| node.id.as_str()).collect::<Vec<_>>(),
    })
}
