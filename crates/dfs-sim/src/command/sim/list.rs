//! `sim list`, `sim show`: the built-in scenarios.

use dfs_simulation::scenario::{BUILT_IN, built_in};
use serde_json::{Value, json};

use crate::cli::AnswerArgs;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json};

/// Lists them.
pub(super) fn list(answer: AnswerArgs) -> Outcome {
    let scenarios = || BUILT_IN.iter().filter_map(|scenario| built_in(scenario.name));
    if answer.json {
        let all: Vec<Value> = scenarios()
            .map(|scenario| {
                json!({
                    "name": scenario.name,
                    "about": one_line(&scenario.about),
                    "lasts_ms": scenario.lasts.as_millis(),
                    "nodes": scenario.cluster.nodes,
                    "faults": scenario.faults.len(),
                })
            })
            .collect();
        json::print("sim list", json!({ "scenarios": all }))?;
        return Ok(Code::Ok);
    }
    for scenario in scenarios() {
        let cluster = &scenario.cluster;
        let (nodes, lasts) = (cluster.nodes, scenario.lasts);
        output::line(format!("{} ({nodes} nodes, {lasts})", scenario.name))?;
        for line in scenario.about.trim().lines() {
            output::line(format!("  {line}"))?;
        }
    }
    output::line("swarm (drawn from the seed)")?;
    output::line("  Another cluster, other clients and other faults for each seed.")?;
    Ok(Code::Ok)
}

/// Prints one as a file.
pub(super) fn show(name: &str) -> Outcome {
    let found = BUILT_IN.iter().find(|scenario| scenario.name == name);
    let scenario = found.ok_or_else(|| unknown(name))?;
    output::line(scenario.text.trim_end())?;
    Ok(Code::Ok)
}

/// There is no scenario of that name.
pub(super) fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = BUILT_IN.iter().map(|scenario| scenario.name).collect();
    Failure::new(
        Code::NotFound,
        format!(
            "there is no scenario {name:?}; built in are {}, swarm; a file is named with its path, \
             such as ./{name}.toml",
            names.join(", ")
        ),
    )
}

/// A text of several lines as one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
