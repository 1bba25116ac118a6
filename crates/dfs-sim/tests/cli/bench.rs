//! `dfs-sim bench`: what it measures is not judged here, only that it does,
//! and what it leaves.

use std::fs;

use super::harness::{Answer, program};
use super::unit::has_one_unit;

fn bench(args: &[&str]) -> Answer {
    Answer::of(program().arg("bench").args(args))
}

#[test]
fn large_files_are_measured_told_and_removed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let page = folder.path().join("bench.html");
    let (data, html) = (folder.path().to_str().expect("text"), page.to_str().expect("text"));
    let args = ["--only", "large", "--size", "4M", "--data", data, "--html", html, "--json"];
    let answer = bench(&args).ended(0).json();
    has_one_unit(&answer);
    let runs = answer["large"].as_array().expect("a list");
    assert_eq!(runs.len(), 16, "eight kinds, put and get");
    for run in runs {
        assert_eq!(run["logical_bytes"], 4 << 20);
        assert!(run["took_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{run}");
        assert!(run["used"]["nodes_cpu_ms"].is_number(), "{run}");
        assert!(run["limit_cpu_ms_per_gb"].is_null(), "limits were not asked for");
    }
    let of = |policy: &str| {
        let is_it = |run: &&serde_json::Value| run["policy"] == policy && run["data"] == "random";
        runs.iter().find(is_it).expect("it was measured")["raw_bytes"].as_u64().expect("bytes")
    };
    assert!(of("R=3") > 3 * (4 << 20) && of("rs:4+2") < 2 * (4 << 20));
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.contains("<div class=bar>") && !text.contains("http"), "it needs no network");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(left.len(), 1, "only the page is left: {left:?}");
}

#[test]
fn a_catalog_of_the_size_that_was_asked_for_is_measured() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = folder.path().to_str().expect("text");
    let args = ["--only", "catalog", "--files", "2000", "--chunks", "3", "--data", data, "--json"];
    let answer = bench(&args).ended(0).json();
    has_one_unit(&answer);
    let catalog = &answer["catalog"];
    let sizes = catalog["sizes"].as_array().expect("a list");
    let of = |size: &serde_json::Value| (size["files"].as_u64(), size["chunks"].as_u64());
    assert_eq!(of(sizes.last().expect("a size")), (Some(2000), Some(6000)));
    let pauses = catalog["pauses"].as_array().expect("a list");
    assert_eq!(pauses.len(), 5, "as many works of the coordinator's own");
    for pause in pauses {
        assert!(pause["lookup_ms"]["max"].as_f64().is_some_and(|ms| ms > 0.0), "{pause}");
    }
    assert!(catalog["rebuilds_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_way_out() {
    let refused = bench(&["--coord", "127.0.0.1:9", "--only", "failure"]).ended(2);
    refused.complained(&["a cluster of its own only"]);
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let refused = bench(&["--only", "large", "--size", "900T", "--data", data]).ended(9);
    refused.complained(&["of free space are needed", "--data"]);
    bench(&["--files", "7"]).ended(2).complained(&["--files 7", "at least 1000 files"]);
    bench(&["--only", "everything"]).ended(2).complained(&["limits", "catalog"]);
}
