//! Precedence: flag, environment, configuration file, default.

use std::fs;

use crate::harness::{Answer, Cluster, Server, program};

#[test]
fn the_coordinator_is_found_by_flag_then_environment_then_file() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let (right, wrong) = (cluster.address().to_owned(), "127.0.0.1:1".to_owned());
    let config = cluster.path("config.toml");
    let ls = |flag: Option<&str>, variable: Option<&str>, file: &str| {
        fs::write(&config, format!("[client]\ncoord = '{file}'\nretry-for = '100ms'\n"))
            .expect("a file");
        let mut command = program();
        command.arg("ls").arg("--config").arg(&config);
        command.args(flag.iter().flat_map(|address| ["--coord", address]));
        command.envs(variable.map(|address| ("DFS_SIM_COORD", address)));
        Answer::of(&mut command).code
    };
    assert_eq!(ls(Some(&right), Some(&wrong), &wrong), Some(0), "the flag wins");
    assert_eq!(ls(Some(&wrong), Some(&right), &right), Some(3), "the flag wins");
    assert_eq!(ls(None, Some(&right), &wrong), Some(0), "the environment comes next");
    assert_eq!(ls(None, Some(&wrong), &right), Some(3), "the environment comes next");
    assert_eq!(ls(None, None, &right), Some(0), "then the file");
    assert_eq!(ls(None, None, &wrong), Some(3), "then the file");
}

#[test]
fn a_file_in_the_working_folder_is_found_and_a_wrong_one_is_refused() {
    let cluster = Cluster::start(1, &["--replication", "1"]);
    let here = tempfile::tempdir().expect("a folder");
    let file = here.path().join("dfs-sim.toml");
    fs::write(&file, format!("[client]\ncoord = '{}'\n", cluster.address())).expect("a file");
    Answer::of(program().arg("ls").current_dir(here.path())).ended(0);
    fs::write(&file, "[client]\nkoord = 'x'\n").expect("a file");
    Answer::of(program().arg("ls").current_dir(here.path()))
        .ended(2)
        .complained(&["dfs-sim.toml", "koord"]);
    Answer::of(program().args(["ls", "--config", "no-such.toml"])).ended(5);
}

#[test]
fn a_node_takes_its_settings_from_the_environment_too() {
    let here = tempfile::tempdir().expect("a folder");
    let mut command = program();
    command
        .arg("node")
        .env("DFS_SIM_ID", "from-env")
        .env("DFS_SIM_LISTEN", "127.0.0.1:0")
        .current_dir(here.path());
    let node = Server::start(&mut command);
    node.says("node from-env listens on 127.0.0.1:");
    node.says("data in ./dfs-data/from-env");
    assert!(here.path().join("dfs-data/from-env").is_dir());
}

#[test]
fn completions_and_the_manual_are_there_for_packagers() {
    let script = Answer::of(program().args(["completions", "bash"])).ended(0);
    assert!(script.text().contains("dfs-sim"));
    let page = Answer::of(program().args(["man", "put"])).ended(0);
    assert!(page.text().contains(".TH"));
}
