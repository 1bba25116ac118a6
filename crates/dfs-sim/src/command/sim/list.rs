//! `sim list`, `sim show`: the built-in scenarios.

use dfs_simulation::scenario::{BUILT_IN, Scenario, built_in};
use serde_json::{Value, json};

use crate::cli::AnswerArgs;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json};

/// Lists them.
pub(super) fn list(answer: AnswerArgs) -> Outcome {
    let scenarios = || BUILT_IN.iter().filter_map(|scenario| built_in(scenario.name));
    if answer.json {
        let all: Vec<Value> = scenarios().map(|scenario| summary(&scenario)).collect();
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

/// Prints one as a file, or in JSON with the file as a text.
pub(super) fn show(name: &str, answer: AnswerArgs) -> Outcome {
    let found = BUILT_IN.iter().find(|scenario| scenario.name == name);
    let scenario = found.ok_or_else(|| unknown(name))?;
    if answer.json {
        let mut whole = built_in(name).as_ref().map(summary).ok_or_else(|| unknown(name))?;
        whole["toml"] = scenario.text.into();
        json::print("sim show", json!({ "scenario": whole }))?;
        return Ok(Code::Ok);
    }
    output::lines(scenario.text.trim_end())?;
    Ok(Code::Ok)
}

/// What it is about, for machines.
fn summary(scenario: &Scenario) -> Value {
    json!({
        "name": scenario.name,
        "about": one_line(&scenario.about),
        "lasts_ms": scenario.lasts.as_millis(),
        "nodes": scenario.cluster.nodes,
        "faults": scenario.faults.len(),
    })
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
