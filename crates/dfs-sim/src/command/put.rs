//! `put`: store files, one or many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::api::{PolicyOverrides, PutMode};
use dfs_core::client::{Progress, PutOptions, PutSummary, Source};
use dfs_core::name::FileName;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::flight::Budget;
use super::same::{Comparison, Way};
use super::select::Selection;
use super::source::{self, Found, Walked};
use crate::cli::{PolicyArgs, PutArgs};
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::progress::Done;
use crate::output::report;
use crate::output::{self, json, size};

/// Stores what is named.
pub(super) async fn run(args: PutArgs, console: &Console) -> Outcome {
    let errand = Errand {
        policy: overrides(args.policy)?,
        mode: if args.force || args.update { PutMode::Replace } else { PutMode::IfAbsent },
        is_strict: args.strict,
        allow_unsafe: args.allow_unsafe,
        allow_empty: args.allow_empty,
    };
    let cluster = console.cluster(&args.cluster)?;
    if let [only] = args.sources.as_slice()
        && !only.is_dir()
        && !args.update
    {
        return put_one(only, &args, errand, &cluster, console).await;
    }
    let walked = collect(&args)?;
    put_many(walked, &args, errand, &cluster, console).await
}

/// How each file is to be stored.
#[derive(Debug, Clone, Copy)]
struct Errand {
    policy: PolicyOverrides,
    mode: PutMode,
    is_strict: bool,
    allow_unsafe: bool,
    allow_empty: bool,
}

impl Errand {
    fn options(self, name: FileName) -> PutOptions {
        let Self { policy, mode, is_strict, allow_unsafe, allow_empty } = self;
        PutOptions { name, policy, mode, is_strict, allow_unsafe, allow_empty }
    }
}

async fn put_one(
    path: &Path,
    args: &PutArgs,
    errand: Errand,
    cluster: &Cluster,
    console: &Console,
) -> Outcome {
    let (source, name) = if path.as_os_str() == "-" {
        let name = args.name.as_deref().filter(|name| !name.ends_with('/')).ok_or_else(|| {
            Failure::usage("put - reads standard input, which has no name: add --name NAME")
        })?;
        (source::standard_input()?, file_name(name)?)
    } else {
        let name = file_name(&name_of(path, args.name.as_deref())?)?;
        (source::open(path).await?, name)
    };
    let progress = Arc::new(Progress::new());
    let gauge = progress.clone();
    let meter =
        console.meter("put", Arc::new(move || (gauge.done_bytes(), gauge.total_bytes()).into()));
    let start = Instant::now();
    let summary = store(cluster, source, errand.options(name), &progress).await?;
    drop(meter);
    let took = start.elapsed();
    if args.answer.json {
        let files = vec![report::put_json(&summary, took)];
        json::print(
            "put",
            json!({
                "files": files, "failed": [], "skipped": [], "unchanged": 0, "left_out": 0,
                "took_ms": json::ms(took),
            }),
        )?;
    } else if !console.is_quiet {
        for line in report::put_lines(&summary, took) {
            output::line(line)?;
        }
    }
    Ok(Code::Ok)
}

async fn store(
    cluster: &Cluster,
    source: Source,
    options: PutOptions,
    progress: &Progress,
) -> Result<PutSummary, Failure> {
    cluster.client.put(source, options, progress).await.map_err(Failure::from)
}

/// A file that was stored, or why not.
type Stored = Result<(PutSummary, Duration), (String, Failure)>;
/// The same, or `None` for one that was stored already.
type Looked = Result<Option<(PutSummary, Duration)>, (String, Failure)>;

async fn put_many(
    walked: Walked,
    args: &PutArgs,
    errand: Errand,
    cluster: &Cluster,
    console: &Console,
) -> Outcome {
    let Walked { files, skipped, failed, left_out } = walked;
    let comparison = &Comparison::new(cluster, console, args.choice.checksum, Way::Put);
    let jobs: Vec<(Found, Arc<Progress>)> =
        files.into_iter().map(|found| (found, Arc::new(Progress::new()))).collect();
    let total: u64 = jobs.iter().map(|(found, _)| found.size).sum();
    let gauges: Vec<Arc<Progress>> = jobs.iter().map(|(_, progress)| progress.clone()).collect();
    let ended = Arc::new(AtomicU64::new(0));
    let (counted, count) = (ended.clone(), gauges.len() as u64);
    let gauge = move || Done {
        done: gauges.iter().map(|gauge| gauge.done_bytes()).sum(),
        total,
        files: Some((counted.load(Ordering::Relaxed), count)),
    };
    let meter = console.meter("put", Arc::new(gauge));
    let budget = Budget::new();
    let start = Instant::now();
    let in_flight = usize::from(args.jobs);
    let mut done: Vec<Looked> = stream::iter(jobs)
        .map(|(found, progress)| {
            let (budget, ended) = (budget.clone(), ended.clone());
            async move {
                let _room = budget.room_for(found.size).await;
                let start = Instant::now();
                let stored = async {
                    let name = file_name(&found.name)?;
                    if args.update && comparison.is_same(&name, &found.path).await? {
                        progress.pass_over(found.size);
                        return Ok(None);
                    }
                    let source = source::open(&found.path).await?;
                    let summary = store(cluster, source, errand.options(name), &progress).await?;
                    Ok(Some((summary, start.elapsed())))
                };
                let stored = stored.await;
                ended.fetch_add(1, Ordering::Relaxed);
                stored.map_err(|failure| (found.path.display().to_string(), failure))
            }
        })
        .buffer_unordered(in_flight)
        .collect()
        .await;
    drop(meter);
    done.extend(
        failed.into_iter().map(|(path, failure)| Err((path.display().to_string(), failure))),
    );
    let count = done.len();
    let results: Vec<Stored> = done.into_iter().filter_map(Result::transpose).collect();
    let beside = Beside { skipped, left_out, unchanged: count - results.len() };
    answer(&results, &beside, start.elapsed(), args.answer.json, console)
}

/// What was not stored, and is no failure.
struct Beside {
    /// No regular files.
    skipped: Vec<PathBuf>,
    /// How many files and folders the person did not mean.
    left_out: u64,
    /// How many files were stored already.
    unchanged: usize,
}

fn answer(
    results: &[Stored],
    beside: &Beside,
    took: Duration,
    wants_json: bool,
    console: &Console,
) -> Outcome {
    let stored = || results.iter().filter_map(|result| result.as_ref().ok());
    let failed = || results.iter().filter_map(|result| result.as_ref().err());
    for (path, failure) in failed() {
        output::note(format!("dfs-sim: {path}: {failure}"));
    }
    let Beside { skipped, left_out, unchanged } = beside;
    for path in skipped {
        console.note(format!("skipped {}: not a regular file", path.display()));
    }
    if wants_json {
        let files: Vec<Value> =
            stored().map(|(summary, took)| report::put_json(summary, *took)).collect();
        let failed: Vec<Value> = failed()
            .map(
                |(path, failure)| json!({ "path": path, "error": json::failure(failure)["error"] }),
            )
            .collect();
        json::print(
            "put",
            json!({
                "files": files,
                "failed": failed,
                "skipped": skipped.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
                "unchanged": unchanged,
                "left_out": left_out,
                "took_ms": json::ms(took),
            }),
        )?;
    } else if !console.is_quiet {
        let summaries: Vec<&PutSummary> = stored().map(|(summary, _)| summary).collect();
        for line in report::put_total_lines(&summaries, took) {
            output::line(line)?;
        }
        if *unchanged > 0 {
            output::line(format!("  {} stored already", size::counted(*unchanged as u64, "file")))?;
        }
        if *left_out > 0 {
            output::line(format!("  left out by --include and --exclude: {left_out}"))?;
        }
        let (failed, skipped) = (failed().count() as u64, skipped.len() as u64);
        if failed + skipped > 0 {
            output::line(format!("  not stored: {failed} failed, {skipped} skipped"))?;
        }
    }
    match failed().next() {
        None => Ok(Code::Ok),
        Some((_, failure)) => {
            let count = failed().count() as u64;
            output::note(format!("dfs-sim: {} not stored", size::counted(count, "file")));
            Err(Failure::answered(failure.code))
        }
    }
}

/// All files that the arguments name.
fn collect(args: &PutArgs) -> Result<Walked, Failure> {
    if let ([file, name], None) = (args.sources.as_slice(), &args.name)
        && file.exists()
        && name.symlink_metadata().is_err()
    {
        let (file, name) = (file.display(), name.display());
        return Err(Failure::usage(format!(
            "there is no local file {name}: to store {file} under that name, write dfs-sim put \
             {file} --name {name}"
        )));
    }
    let mut walked = Walked::default();
    for path in &args.sources {
        if path.as_os_str() == "-" && args.sources.len() == 1 {
            return Err(Failure::usage("--update compares files: put - has no file to compare"));
        }
        if path.as_os_str() == "-" {
            return Err(Failure::usage("put - stores standard input alone: name no other file"));
        }
        if args.sources.len() > 1 && args.name.as_deref().is_some_and(|name| !name.ends_with('/')) {
            return Err(Failure::usage(
                "--name names one file: with several, end it with a / to name their folder",
            ));
        }
        if !path.is_dir() {
            let size = match std::fs::metadata(path) {
                Ok(found) => found.len(),
                Err(error) => {
                    walked.failed.push((path.clone(), Failure::local("read", path, &error)));
                    continue;
                }
            };
            let name = name_of(path, args.name.as_deref())?;
            walked.files.push(Found { path: path.clone(), name, size });
            continue;
        }
        if !args.recursive {
            return Err(Failure::usage(format!(
                "{} is a folder: add --recursive to store all that is in it",
                path.display()
            )));
        }
        let prefix = name_of(path, args.name.as_deref())?;
        let (include, exclude) = (&args.choice.include, &args.choice.exclude);
        walked.add_folder(path, &prefix, Selection { include, exclude });
    }
    refuse_twins(&walked.files)?;
    Ok(walked)
}

/// Refuses two sources that would become one file: one of them would be lost.
fn refuse_twins(files: &[Found]) -> Result<(), Failure> {
    let mut by_name: BTreeMap<&str, &Path> = BTreeMap::new();
    for Found { path, name, .. } in files {
        if let Some(first) = by_name.insert(name, path) {
            return Err(Failure::usage(format!(
                "{} and {} would both be stored as {name}, and one would be lost: put them one by \
                 one, each with a --name of its own",
                first.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// The name that a local file or folder gets.
fn name_of(path: &Path, wanted: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = wanted
        && !name.ends_with('/')
    {
        return Ok(name.to_owned());
    }
    // `.` and `..` have a base name only once they are resolved.
    let resolved: PathBuf = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().map_err(|e| Failure::local("read", path, &e))?,
    };
    let base = resolved.file_name().and_then(|base| base.to_str()).ok_or_else(|| {
        Failure::usage(format!("{} has no name that is UTF-8: add --name NAME", path.display()))
    })?;
    Ok(format!("{}{base}", wanted.unwrap_or_default()))
}

fn file_name(name: &str) -> Result<FileName, Failure> {
    FileName::new(name).map_err(|e| Failure::usage(e.to_string()))
}

/// What the flags say that the cluster does not.
pub(super) fn overrides(args: PolicyArgs) -> Result<PolicyOverrides, Failure> {
    let chunk_size = args.chunk_size.map(super::policy::chunk_size).transpose()?;
    Ok(PolicyOverrides {
        replication: args.replication,
        parity: args.parity,
        compression: args.compression,
        chunk_size,
    })
}
