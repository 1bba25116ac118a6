//! From a run that failed to the smallest case that fails in the same way:
//! fewer faults, fewer ops, a shorter time (Zeller and Hildebrandt 2002,
//! *Simplifying and Isolating Failure-Inducing Input*).

use dfs_core::units::Span;

use crate::run::{Report, run};
use crate::scenario::{Op, Scenario};

/// A smaller case.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// It, with all ops one by one. Run it with the seed that it came from.
    pub scenario: Scenario,
    /// Its run.
    pub report: Report,
    /// How many runs it took to find.
    pub runs: u32,
}

/// Looks for it.
struct Search<'s> {
    seed: u64,
    /// The rule that the case breaks.
    rule: &'static str,
    runs: u32,
    runs_max: u32,
    best: Scenario,
    report: Report,
    goes_on: &'s dyn Fn() -> bool,
}

/// Shrinks `scenario`, whose run from `seed` ended in `report`, with at most
/// `runs_max` more runs and while `goes_on`.
///
/// `None` when the run broke no rule.
#[must_use]
pub fn shrink(
    scenario: &Scenario,
    seed: u64,
    report: Report,
    runs_max: u32,
    goes_on: &dyn Fn() -> bool,
) -> Option<Shrunk> {
    let rule = report.violations.first()?.rule;
    let mut best = scenario.drawn(seed);
    best.name = format!("{}-{seed}", scenario.name);
    best.about = format!("breaks {rule} from seed {seed}");
    let mut search = Search { seed, rule, runs: 0, runs_max, best, report, goes_on };
    loop {
        let before = search.size();
        search.shorten();
        search.drop_faults();
        search.drop_ops();
        search.drop_the_rest();
        if search.size() == before || search.is_over() {
            break;
        }
    }
    Some(Shrunk { scenario: search.best, report: search.report, runs: search.runs })
}

impl Search<'_> {
    fn size(&self) -> (usize, usize, usize) {
        (self.best.faults.len(), self.best.ops.len(), self.best.hard.len())
    }

    fn is_over(&self) -> bool {
        self.runs >= self.runs_max || !(self.goes_on)()
    }

    /// Takes `candidate` if it still fails in the same way.
    fn try_out(&mut self, candidate: Scenario) -> bool {
        if self.is_over() || candidate.check().is_err() {
            return false;
        }
        self.runs += 1;
        let report = run(&candidate, self.seed);
        let fails = report.violations.first().is_some_and(|found| found.rule == self.rule);
        if fails {
            (self.best, self.report) = (candidate, report);
        }
        fails
    }

    /// Nothing that comes after the violation can matter.
    fn shorten(&mut self) {
        let Some(at_ms) = self.report.violations.first().map(|found| found.at_ms) else { return };
        for margin_ms in [0, 20_000] {
            let lasts = Span::from_millis((at_ms + margin_ms).max(1));
            if lasts < self.best.lasts {
                let mut candidate = self.best.clone();
                candidate.lasts = lasts;
                candidate.faults.retain(|fault| fault.at <= lasts);
                if self.try_out(candidate) {
                    return;
                }
            }
        }
    }

    fn drop_faults(&mut self) {
        self.drop_parts(
            |scenario| scenario.faults.len(),
            |scenario, from, to| {
                scenario.faults.drain(from..to);
            },
        );
    }

    fn drop_ops(&mut self) {
        self.drop_parts(
            |scenario| scenario.ops.len(),
            |scenario, from, to| {
                let dropped: Vec<Op> = scenario.ops.drain(from..to).collect();
                // What comes later comes at the same time as before.
                for gone in dropped {
                    let later = &mut scenario.ops[from..];
                    if let Some(next) = later.iter_mut().find(|op| op.client == gone.client) {
                        next.after = Span(next.after.0 + gone.after.0);
                    }
                }
            },
        );
    }

    fn drop_the_rest(&mut self) {
        self.drop_parts(
            |scenario| scenario.hard.len(),
            |scenario, from, to| {
                scenario.hard.drain(from..to);
            },
        );
        if self.best.workload.is_some() {
            let mut candidate = self.best.clone();
            candidate.workload = None;
            self.try_out(candidate);
        }
        let clients = self.best.ops.iter().map(|op| op.client).max().unwrap_or(1);
        if clients < self.best.cluster.clients {
            let mut candidate = self.best.clone();
            candidate.cluster.clients = clients;
            self.try_out(candidate);
        }
    }

    /// Drops halves of a list, then quarters, and so on down to single items,
    /// as long as the case still fails.
    fn drop_parts(
        &mut self,
        len: impl Fn(&Scenario) -> usize,
        drop: impl Fn(&mut Scenario, usize, usize),
    ) {
        let mut part = len(&self.best).div_ceil(2);
        while part > 0 {
            let mut from = 0;
            while from < len(&self.best) && !self.is_over() {
                let mut candidate = self.best.clone();
                let to = (from + part).min(len(&candidate));
                drop(&mut candidate, from, to);
                if !self.try_out(candidate) {
                    from = to;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }
}
