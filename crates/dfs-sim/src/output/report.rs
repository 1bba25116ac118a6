//! What a `put` or a `get` tells when it is done.

use std::path::Path;
use std::time::Duration;

use dfs_core::client::{ChunkNote, GetSummary, NoteHow, PutSummary};
use serde_json::{Value, json};

use super::{json, size, time, words};

/// Notes that people are shown; all of them are in the JSON.
const NOTES_SHOWN_MAX: usize = 5;

/// A stored file, for people.
pub(crate) fn put_lines(summary: &PutSummary, took: Duration) -> Vec<String> {
    let file = &summary.file;
    let mut lines = vec![
        format!(
            "stored {}: {} in {} ({}), {}",
            file.name,
            size::bytes(file.size),
            time::span(took),
            size::rate(file.size, took),
            file.policy,
        ),
        format!(
            "  {} logical, {} stored, {} raw ({}); survives {}",
            size::bytes(file.size),
            size::bytes(file.stored_bytes),
            size::bytes(file.raw_bytes),
            size::times(file.raw_bytes, file.size),
            words::survives(file),
        ),
    ];
    let replaced = summary.replaced.iter().map(|copy| {
        format!(
            "  chunk {} went to {} instead of {}: {}",
            copy.handle, copy.replacement, copy.failed, copy.reason
        )
    });
    lines.extend(bounded(replaced.collect()));
    if summary.copies_missing > 0 {
        lines.push(format!(
            "  degraded: {} left to repair, as nodes are away or full (see status)",
            size::counted(summary.copies_missing, "copy")
        ));
        let left = summary.left_to_repair.iter().map(|copy| {
            format!("  chunk {} has no copy on {}: {}", copy.handle, copy.failed, copy.reason)
        });
        lines.extend(bounded(left.collect()));
    }
    if summary.restarts > 0 {
        let restarts = size::counted(u64::from(summary.restarts), "time");
        lines.push(format!("  the coordinator restarted: the put began anew {restarts}"));
    }
    lines
}

/// Many stored files, for people.
pub(crate) fn put_total_lines(summaries: &[&PutSummary], took: Duration) -> Vec<String> {
    let sum = |of: fn(&PutSummary) -> u64| summaries.iter().map(|summary| of(summary)).sum::<u64>();
    let logical = sum(|summary| summary.file.size);
    let mut lines = vec![
        format!(
            "stored {}: {} in {} ({})",
            size::counted(summaries.len() as u64, "file"),
            size::bytes(logical),
            time::span(took),
            size::rate(logical, took),
        ),
        format!(
            "  {} logical, {} stored, {} raw",
            size::bytes(logical),
            size::bytes(sum(|summary| summary.file.stored_bytes)),
            size::bytes(sum(|summary| summary.file.raw_bytes)),
        ),
    ];
    let missing = sum(|summary| summary.copies_missing);
    if missing > 0 {
        lines.push(format!("  degraded: {} left to repair", size::counted(missing, "copy")));
    }
    lines
}

/// A stored file, for machines.
pub(crate) fn put_json(summary: &PutSummary, took: Duration) -> Value {
    let mut value = json::file(&summary.file);
    value["took_ms"] = json::ms(took).into();
    value["copies_missing"] = summary.copies_missing.into();
    value["is_degraded"] = (summary.copies_missing > 0).into();
    value["restarts"] = summary.restarts.into();
    value["replaced"] = summary
        .replaced
        .iter()
        .map(|copy| {
            json!({
                "handle": copy.handle.0,
                "failed": copy.failed.as_str(),
                "reason": copy.reason,
                "replacement": copy.replacement.as_str(),
            })
        })
        .collect();
    value["left_to_repair"] = summary
        .left_to_repair
        .iter()
        .map(|copy| {
            json!({
                "handle": copy.handle.0, "failed": copy.failed.as_str(), "reason": copy.reason,
            })
        })
        .collect();
    value
}

/// A fetched file, for people.
pub(crate) fn get_lines(
    summary: &GetSummary,
    target: Option<&Path>,
    took: Duration,
) -> Vec<String> {
    let to = target.map(|path| format!(" to {}", path.display())).unwrap_or_default();
    let mut lines = vec![format!(
        "fetched {}{to}: {} in {} ({}), {}",
        summary.info.name,
        size::bytes(summary.bytes),
        time::span(took),
        size::rate(summary.bytes, took),
        verified(summary),
    )];
    lines.extend(way_lines(summary));
    lines
}

/// Which chunks took another way than the first choice.
pub(crate) fn way_lines(summary: &GetSummary) -> Vec<String> {
    let mut lines = Vec::new();
    if summary.may_be_old {
        lines.push(
            "  this may be old: the coordinator does not lead most of its nodes (see status)"
                .to_owned(),
        );
    }
    let (other, parity): (Vec<&ChunkNote>, Vec<&ChunkNote>) =
        summary.notes.iter().partition(|note| matches!(note.how, NoteHow::OtherCopy { .. }));
    for (count, way, notes) in [
        (summary.from_other_copy, "from another copy", other),
        (summary.from_parity, "rebuilt from parity", parity),
    ] {
        if count > 0 {
            lines.push(format!("  {} {way}:", size::counted(count, "chunk")));
            lines.extend(bounded(notes.into_iter().map(note_line).collect()));
        }
    }
    for bad in summary.bad.iter().take(NOTES_SHOWN_MAX) {
        lines.push(format!(
            "  bad copy of chunk {} on {}, reported: {}",
            bad.handle, bad.node, bad.reason
        ));
    }
    lines
}

/// Many fetched files, for people.
pub(crate) fn get_total_lines(
    summaries: &[&GetSummary],
    folder: &Path,
    took: Duration,
) -> Vec<String> {
    let sum = |of: fn(&GetSummary) -> u64| summaries.iter().map(|summary| of(summary)).sum::<u64>();
    let bytes = sum(|summary| summary.bytes);
    let mut lines = vec![format!(
        "fetched {} to {}: {} in {} ({})",
        size::counted(summaries.len() as u64, "file"),
        folder.display(),
        size::bytes(bytes),
        time::span(took),
        size::rate(bytes, took),
    )];
    let ways = [
        (sum(|summary| summary.from_other_copy), "from another copy"),
        (sum(|summary| summary.from_parity), "rebuilt from parity"),
    ];
    for (count, way) in ways.into_iter().filter(|(count, _)| *count > 0) {
        lines.push(format!("  {} {way}", size::counted(count, "chunk")));
    }
    lines
}

/// A fetched file, for machines.
pub(crate) fn get_json(summary: &GetSummary, target: Option<&Path>, took: Duration) -> Value {
    let mut value = json::file(&summary.info);
    value["out"] = target.map(|path| path.display().to_string()).into();
    value["fetched_bytes"] = summary.bytes.into();
    value["took_ms"] = json::ms(took).into();
    value["may_be_old"] = summary.may_be_old.into();
    value["chunks_read"] = summary.chunks.into();
    value["chunks_verified"] = summary.chunks_verified.into();
    value["chunks_from_other_copy"] = summary.from_other_copy.into();
    value["chunks_from_parity"] = summary.from_parity.into();
    value["notes"] = summary.notes.iter().map(note_json).collect();
    value["bad_copies"] = summary
        .bad
        .iter()
        .map(|bad| {
            json!({
                "handle": bad.handle.0, "node": bad.node.as_str(), "reason": bad.reason,
            })
        })
        .collect();
    value
}

fn verified(summary: &GetSummary) -> String {
    let in_part = summary.chunks.saturating_sub(summary.chunks_verified);
    let mut parts = Vec::new();
    if summary.chunks_verified > 0 || in_part == 0 {
        parts.push(format!(
            "SHA-256 of {} verified",
            size::counted(summary.chunks_verified, "chunk")
        ));
    }
    if in_part > 0 {
        parts.push(format!("CRC32C of {} read in part", size::counted(in_part, "chunk")));
    }
    parts.join(", ")
}

fn note_line(note: &ChunkNote) -> String {
    match &note.how {
        NoteHow::OtherCopy { node, instead_of, why } => {
            format!("  chunk {} from {node} instead of {instead_of}: {why}", note.chunk)
        }
        NoteHow::Parity { stripe, rows, nodes, why } => {
            let nodes: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
            format!(
                "  chunk {} from the rest of stripe {stripe} on {} ({}): {why}",
                note.chunk,
                nodes.join(", "),
                size::counted(u64::from(*rows), "frame"),
            )
        }
    }
}

fn note_json(note: &ChunkNote) -> Value {
    let mut value = json!({ "chunk": note.chunk, "handle": note.handle.0 });
    match &note.how {
        NoteHow::OtherCopy { node, instead_of, why } => {
            value["from"] = "other_copy".into();
            value["node"] = node.as_str().into();
            value["instead_of"] = instead_of.as_str().into();
            value["why"] = why.as_str().into();
        }
        NoteHow::Parity { stripe, rows, nodes, why } => {
            value["from"] = "parity".into();
            value["stripe"] = (*stripe).into();
            value["frames"] = (*rows).into();
            value["nodes"] = nodes.iter().map(|node| node.as_str()).collect();
            value["why"] = why.as_str().into();
        }
    }
    value
}

/// The first few lines, indented, and how many more there are.
fn bounded(lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(NOTES_SHOWN_MAX);
    let mut shown: Vec<String> =
        lines.into_iter().take(NOTES_SHOWN_MAX).map(|line| format!("  {line}")).collect();
    if more > 0 {
        shown.push(format!("    and {more} more (--json names them all)"));
    }
    shown
}
