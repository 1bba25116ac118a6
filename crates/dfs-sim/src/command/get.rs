//! `get`: fetch a file, or all files of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::api::{FileInfo, ListEntry};
use dfs_core::client::{ClientError, GetSummary, Progress};
use dfs_core::name::FileName;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::closed::is_closed;
use super::flight::Budget;
use super::ls;
use super::same::{Comparison, Way};
use super::select::Selection;
use super::sink::{PipeSink, Target};
use crate::cli::{ByteRange, GetArgs};
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::progress::Done;
use crate::output::{self, json, report, size};

/// How a folder is fetched.
const RECURSIVE: &str = "fetch it with get --recursive";

/// Fetches what is named.
pub(super) async fn run(mut args: GetArgs, console: &Console) -> Outcome {
    args.out = args.out.or(args.place.take());
    let cluster = console.cluster(&args.cluster)?;
    if args.recursive {
        return get_many(&args, &cluster, console).await;
    }
    let name = FileName::new(args.name.as_str()).map_err(|e| Failure::usage(e.to_string()))?;
    let target = match &args.out {
        Some(out) if out.as_os_str() == "-" => {
            let beside = if args.answer.json { Beside::Json } else { Beside::Summary };
            return to_standard_output(&name, args.range, beside, &cluster, console).await;
        }
        Some(out) if out.is_dir() => out.join(base_of(&name)),
        Some(out) => out.clone(),
        None => PathBuf::from(base_of(&name)),
    };
    let comparison = Comparison::new(&cluster, console, args.choice.checksum, Way::Get);
    if args.update && comparison.is_same(&name, &target).await? {
        return answer_unchanged(&target, args.answer.json, console);
    }
    let place = Place { target: &target, is_forced: args.force || args.update };
    let progress = Arc::new(Progress::new());
    let gauge = progress.clone();
    let meter =
        console.meter("get", Arc::new(move || (gauge.done_bytes(), gauge.total_bytes()).into()));
    let start = Instant::now();
    let summary = match fetch(&cluster, &name, args.range, place, &progress).await {
        Ok(summary) => summary,
        Err(failure) => {
            return Err(ls::or_folder(&cluster, name.as_str(), failure, RECURSIVE).await);
        }
    };
    drop(meter);
    let took = start.elapsed();
    if args.answer.json {
        let files = vec![report::get_json(&summary, Some(&target), took)];
        let took_ms = json::ms(took);
        let answer = json!({ "files": files, "failed": [], "unchanged": 0, "took_ms": took_ms });
        json::print("get", answer)?;
    } else if !console.is_quiet {
        for line in report::get_lines(&summary, Some(&target), took) {
            output::line(line)?;
        }
    }
    Ok(Code::Ok)
}

/// The answer when the one file that was named is there already.
fn answer_unchanged(target: &Path, wants_json: bool, console: &Console) -> Outcome {
    if wants_json {
        json::print("get", json!({ "files": [], "failed": [], "unchanged": 1, "took_ms": 0 }))?;
    } else if !console.is_quiet {
        output::line(format!("{} is as it is stored: not fetched", target.display()))?;
    }
    Ok(Code::Ok)
}

/// What is told on stderr of a file that went to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// The summary.
    Summary,
    /// The summary, for machines.
    Json,
    /// What was out of order, if anything.
    Trouble,
}

/// Writes a file to standard output.
pub(super) async fn to_standard_output(
    name: &FileName,
    range: Option<ByteRange>,
    beside: Beside,
    cluster: &Cluster,
    console: &Console,
) -> Outcome {
    let progress = Progress::new();
    let start = Instant::now();
    if is_closed(io::stdout()) {
        // No failure: a program that throws an output away may do it like this.
        console.note("standard output is closed or the null device: nobody gets these bytes");
    }
    let mut sink = PipeSink::standard_output();
    let fetched =
        cluster.client.get(name, range.map(ByteRange::half_open), &mut sink, &progress).await;
    let summary = match fetched {
        Ok(summary) => summary,
        Err(_) if sink.is_closed() => return Ok(Code::Ok),
        Err(error) => {
            let failure = from_client(error);
            return Err(ls::or_folder(cluster, name.as_str(), failure, RECURSIVE).await);
        }
    };
    let took = start.elapsed();
    let lines = match beside {
        Beside::Json => {
            json::note(&report::get_json(&summary, None, took));
            return Ok(Code::Ok);
        }
        Beside::Summary => report::get_lines(&summary, None, took),
        Beside::Trouble => report::way_lines(&summary),
    };
    lines.iter().for_each(|line| console.note(line));
    Ok(Code::Ok)
}

/// Where a file goes.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    target: &'a Path,
    is_forced: bool,
}

async fn fetch(
    cluster: &Cluster,
    name: &FileName,
    range: Option<ByteRange>,
    place: Place<'_>,
    progress: &Progress,
) -> Result<GetSummary, Failure> {
    let range = range.map(ByteRange::half_open);
    match Target::open(place.target, place.is_forced).await? {
        Target::Pipe(mut sink) => {
            cluster.client.get(name, range, &mut sink, progress).await.map_err(from_client)
        }
        Target::File(mut sink) => {
            let fetched = cluster.client.get(name, range, &mut sink, progress).await;
            // What the disk says explains more than that the get failed.
            let told = |error| sink.failure().unwrap_or_else(|| from_client(error));
            let summary = fetched.map_err(told)?;
            sink.finish().await?;
            Ok(summary)
        }
    }
}

fn from_client(error: ClientError) -> Failure {
    Failure::new(error.kind.into(), error.message)
}

fn base_of(name: &FileName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}

/// A file that was fetched, or why not.
type Fetched = Result<(GetSummary, PathBuf, Duration), (String, Failure)>;
/// The same, or `None` for one that was there already.
type Looked = Result<Option<(GetSummary, PathBuf, Duration)>, (String, Failure)>;

async fn get_many(args: &GetArgs, cluster: &Cluster, console: &Console) -> Outcome {
    let prefix = ls::folder_prefix(&args.name);
    let default = args.name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let folder = match &args.out {
        Some(out) if out.as_os_str() == "-" => {
            return Err(Failure::usage("--recursive needs a folder: --out - takes one file"));
        }
        Some(out) => out.clone(),
        None if default.is_empty() => PathBuf::from("."),
        None => PathBuf::from(default),
    };
    let files = list_all(cluster, &prefix).await?;
    if files.is_empty() {
        let message = format!("there is no folder {:?}", args.name);
        return Err(Failure::new(Code::NotFound, message));
    }
    let (include, exclude) = (&args.choice.include, &args.choice.exclude);
    let selection = Selection { include, exclude };
    let below =
        |info: &FileInfo| info.name.as_str().strip_prefix(&*prefix).unwrap_or_default().to_owned();
    let jobs: Vec<(FileInfo, Arc<Progress>)> = files
        .into_iter()
        .filter(|info| selection.takes(&below(info)))
        .map(|info| (info, Arc::new(Progress::new())))
        .collect();
    let total: u64 = jobs.iter().map(|(info, _)| info.size).sum();
    let gauges: Vec<Arc<Progress>> = jobs.iter().map(|(_, progress)| progress.clone()).collect();
    let ended = Arc::new(AtomicU64::new(0));
    let (counted, count) = (ended.clone(), gauges.len() as u64);
    let gauge = move || Done {
        done: gauges.iter().map(|gauge| gauge.done_bytes()).sum(),
        total,
        files: Some((counted.load(Ordering::Relaxed), count)),
    };
    let meter = console.meter("get", Arc::new(gauge));
    let start = Instant::now();
    let budget = Budget::new();
    let (folder, prefix) = (&folder, prefix.as_str());
    let comparison = &Comparison::new(cluster, console, args.choice.checksum, Way::Get);
    let done: Vec<Looked> = stream::iter(jobs)
        .map(|(info, progress)| {
            let (budget, ended) = (budget.clone(), ended.clone());
            async move {
                let _room = budget.room_for(info.size).await;
                let start = Instant::now();
                let fetched = async {
                    let below = info.name.as_str().strip_prefix(prefix).unwrap_or_default();
                    let target = place_below(folder, below)?;
                    if args.update && comparison.is_same(&info.name, &target).await? {
                        progress.pass_over(info.size);
                        return Ok(None);
                    }
                    let is_forced = args.force || args.update;
                    let place = Place { target: &target, is_forced };
                    let summary = fetch(cluster, &info.name, None, place, &progress).await?;
                    Ok(Some((summary, target, start.elapsed())))
                };
                let fetched = fetched.await;
                ended.fetch_add(1, Ordering::Relaxed);
                fetched.map_err(|failure| (info.name.to_string(), failure))
            }
        })
        .buffer_unordered(usize::from(args.jobs))
        .collect()
        .await;
    drop(meter);
    let count = done.len();
    let results: Vec<Fetched> = done.into_iter().filter_map(Result::transpose).collect();
    let unchanged = count - results.len();
    answer(&results, unchanged, folder, start.elapsed(), args.answer.json, console)
}

async fn list_all(cluster: &Cluster, prefix: &str) -> Result<Vec<FileInfo>, Failure> {
    let mut pages = ls::Pages::new(cluster, prefix.to_owned(), false);
    let mut files = Vec::new();
    while let Some(page) = pages.next().await? {
        files.extend(page.into_iter().filter_map(|entry| match entry {
            ListEntry::File(info) => Some(info),
            ListEntry::Folder { .. } => None,
        }));
    }
    Ok(files)
}

/// The path of `below` under `folder`, whose folders are made. Never leaves
/// `folder`: not by the name, and not through a link that lies there.
fn place_below(folder: &Path, below: &str) -> Result<PathBuf, Failure> {
    // The coordinator is believed in nothing that becomes a path.
    let checked = FileName::new(below).map_err(|e| Failure::new(Code::Other, e.to_string()))?;
    let mut path = folder.to_owned();
    let made = |path: &Path| {
        fs::create_dir_all(path).map_err(|e| Failure::local("make the folder", path, &e))
    };
    made(&path)?;
    let mut segments = checked.as_str().split('/').peekable();
    while let Some(segment) = segments.next() {
        path.push(segment);
        if segments.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let message = format!("{} is in the way: it is no folder", path.display());
                return Err(Failure::new(Code::Exists, message));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => made(&path)?,
            Err(e) => return Err(Failure::local("look at", &path, &e)),
        }
    }
    Ok(path)
}

fn answer(
    results: &[Fetched],
    unchanged: usize,
    folder: &Path,
    took: Duration,
    wants_json: bool,
    console: &Console,
) -> Outcome {
    let fetched = || results.iter().filter_map(|result| result.as_ref().ok());
    let failed = || results.iter().filter_map(|result| result.as_ref().err());
    for (name, failure) in failed() {
        output::note(format!("dfs-sim: {name}: {failure}"));
    }
    if wants_json {
        let files: Vec<Value> = fetched()
            .map(|(summary, target, took)| report::get_json(summary, Some(target), *took))
            .collect();
        let failed: Vec<Value> = failed()
            .map(
                |(name, failure)| json!({ "name": name, "error": json::failure(failure)["error"] }),
            )
            .collect();
        json::print(
            "get",
            json!({
                "files": files,
                "failed": failed,
                "unchanged": unchanged,
                "took_ms": json::ms(took),
            }),
        )?;
    } else if !console.is_quiet {
        let summaries: Vec<&GetSummary> = fetched().map(|(summary, ..)| summary).collect();
        for line in report::get_total_lines(&summaries, folder, took) {
            output::line(line)?;
        }
        if unchanged > 0 {
            output::line(format!("  {} there already", size::counted(unchanged as u64, "file")))?;
        }
    }
    match failed().next() {
        None => Ok(Code::Ok),
        Some((_, failure)) => {
            let count = failed().count() as u64;
            output::note(format!("dfs-sim: {} not fetched", size::counted(count, "file")));
            Err(Failure::answered(failure.code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("in");
        let path = place_below(&folder, "a/b/c").expect("a place");
        assert_eq!(path, folder.join("a/b/c"));
        assert!(folder.join("a/b").is_dir());
        for name in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(place_below(&folder, name).is_err(), "{name:?}");
        }
        std::os::unix::fs::symlink(root.path(), folder.join("link")).expect("a link");
        let refused = place_below(&folder, "link/x").expect_err("leads out");
        assert_eq!(refused.code, Code::Exists);
    }
}
