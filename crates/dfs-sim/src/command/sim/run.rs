//! `sim run`: one scenario, with all that happens.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dfs_core::units::Span;
use dfs_simulation::run::{Keep, Report, Verdict, run_kept};
use dfs_simulation::scenario::{FaultKind, Scenario, built_in};
use dfs_simulation::swarm;
use tokio::time::Instant;

use super::{list, tell};
use crate::cli::{FaultName, SimRunArgs};
use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json};

/// The largest scenario file, in bytes.
const FILE_SIZE_MAX: u64 = 16 << 20;

/// Runs it.
pub(super) async fn run(args: SimRunArgs, console: &Console) -> Outcome {
    let scenario = scenario(&args)?;
    let trace = args.trace.as_deref().map(TraceFile::create).transpose()?;
    let is_shown = !args.answer.json && !console.is_quiet;
    if is_shown {
        tell::opening(&scenario, args.seed)?;
    }
    let started = Instant::now();
    let (ran, seed, lines) = (scenario.clone(), args.seed, trace.clone());
    let report = off_the_runtime(move || {
        let mut keep = Keep::default();
        if is_shown {
            keep.timeline = Some(Box::new(tell::moment));
        }
        if let Some(file) = lines {
            keep.trace.record_to(move |line| file.write(line));
        }
        run_kept(&ran, seed, &keep)
    })
    .await?;
    let took = started.elapsed();
    if let Some(trace) = trace {
        trace.finish()?;
    }
    if args.answer.json {
        json::print("sim run", tell::report_json(&report, took))?;
    } else {
        tell::closing(&scenario, &report, took)?;
    }
    match report.verdict() {
        Verdict::Held | Verdict::NotShown(_) => return Ok(Code::Ok),
        // What was lost is in the answer already.
        Verdict::Lost(_) => return Ok(Code::AtRisk),
        Verdict::Broken => {}
    }
    explain(&scenario, report, args.answer.json).await?;
    Err(Failure::answered(Code::Integrity))
}

/// Says what was found wrong, finds a smaller case and writes it down.
pub(super) async fn explain(scenario: &Scenario, report: Report, is_json: bool) -> Outcome {
    let seed = report.seed;
    if !is_json {
        tell::violation(&report)?;
        output::note("looking for a smaller case that fails in the same way …");
    }
    let original = scenario.clone();
    let until = Instant::now() + tell::SHRINK_TIME_MAX;
    let shrunk = off_the_runtime(move || {
        let goes_on = || Instant::now() < until;
        dfs_simulation::shrink::shrink(&original, seed, report, tell::SHRINK_RUNS_MAX, &goes_on)
    })
    .await?;
    let Some(shrunk) = shrunk else { return Ok(Code::Ok) };
    let path = format!("{}.toml", shrunk.scenario.name);
    std::fs::write(&path, shrunk.scenario.to_toml())
        .map_err(|error| Failure::local("write", Path::new(&path), &error))?;
    if !is_json {
        tell::smaller(&shrunk, &path)?;
    }
    Ok(Code::Ok)
}

/// The scenario that the arguments name, changed as they say.
fn scenario(args: &SimRunArgs) -> Result<Scenario, Failure> {
    let name = args.scenario.as_str();
    let is_path = name.contains(['/', '.']);
    let mut scenario = if is_path {
        read(Path::new(name))?
    } else if name == swarm::NAME {
        swarm::scenario(args.seed)
    } else {
        built_in(name).ok_or_else(|| list::unknown(name))?
    };
    let lasts = args.hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600)).or(args.lasts);
    if let Some(lasts) = lasts {
        scenario = swarm::stretched(scenario, Span(lasts));
    }
    if let Some(nodes) = args.nodes {
        scenario.cluster.nodes = usize::from(nodes);
    }
    if let Some(words) = args.policy {
        let cluster = &mut scenario.cluster;
        cluster.replication = words.replication.unwrap_or(cluster.replication);
        cluster.parity = words.parity.unwrap_or(cluster.parity);
        cluster.compression = words.compression.unwrap_or(cluster.compression);
    }
    if let Some(faults) = &args.faults {
        let kinds: Vec<FaultKind> = faults
            .iter()
            .filter_map(|name| match name {
                FaultName::Kind(kind) => Some(*kind),
                FaultName::None => None,
            })
            .collect();
        scenario.faults = swarm::faults_of(&kinds, &scenario, args.seed);
    }
    scenario.beyond_tolerance |= args.beyond_tolerance;
    scenario.check().map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Ok(scenario)
}

fn read(path: &Path) -> Result<Scenario, Failure> {
    let failed = |error| Failure::local("read", path, &error);
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_SIZE_MAX {
        let shown = path.display();
        return Err(Failure::usage(format!("{shown} has {len} bytes: that is no scenario")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Scenario::parse(&text)
        .map_err(|e| Failure::quoting(Code::Usage, &path.display().to_string(), &e.to_string()))
}

/// Runs `work` on a thread of its own: a world has its own runtime.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (sender, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(sender.send(work())));
    result.await.map_err(|_| Failure::new(Code::Other, "the simulation ended with a panic"))
}

/// A file that takes the lines of a trace.
#[derive(Clone)]
struct TraceFile {
    path: std::path::PathBuf,
    file: Arc<Mutex<(BufWriter<File>, std::io::Result<()>)>>,
}

impl TraceFile {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|e| Failure::local("create", path, &e))?;
        let file = Arc::new(Mutex::new((BufWriter::new(file), Ok(()))));
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.1.is_ok() {
            file.1 = writeln!(file.0, "{line}");
        }
    }

    fn finish(&self) -> Result<(), Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = std::mem::replace(&mut file.1, Ok(()));
        let flushed = written.and_then(|()| file.0.flush());
        flushed.map_err(|error| Failure::local("write", &self.path, &error))
    }
}
