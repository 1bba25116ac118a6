//! A cluster of real processes on this machine, and its folder: what the
//! demonstration and the benchmark work on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::policy::ClusterPolicy;
use crate::exit::{Code, Failure};

/// How long a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a process may take until it has ended.
const END_WITHIN: Duration = Duration::from_secs(10);
/// Lines that are kept of a process that does not start.
const LINES_KEPT_MAX: usize = 20;

/// A folder of its own, gone at the end unless it is kept.
pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes it in `parent`, or among the temporary files. `what` stands in
    /// its name.
    pub(super) fn make(what: &str, parent: Option<&Path>, is_kept: bool) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = parent.join(format!("dfs-sim-{what}-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| Failure::local("make the folder", &path, &e))?;
        Ok(Self { path, is_kept })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(e) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("{} is left: {e}", self.path.display());
        }
    }
}

/// A coordinator and its nodes, each a process.
pub(super) struct ProcessCluster {
    coordinator: Member,
    nodes: Vec<Member>,
}

/// One process of the cluster.
struct Member {
    name: String,
    address: String,
    child: Child,
}

impl ProcessCluster {
    /// Starts `nodes` nodes, then the coordinator, on free loopback ports.
    pub(super) async fn start(
        folder: &Path,
        nodes: u8,
        policy: &ClusterPolicy,
    ) -> Result<Self, Failure> {
        let mut members = Vec::new();
        for number in 1..=nodes {
            let name = format!("n{number}");
            let data = folder.join(&name);
            let arguments: [&OsStr; 7] = [
                "node".as_ref(),
                "--id".as_ref(),
                name.as_ref(),
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--data".as_ref(),
                data.as_ref(),
            ];
            members.push(Member::start(&name, folder, &arguments).await?);
        }
        let addresses: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
        let (addresses, data) = (addresses.join(","), folder.join("coord"));
        let repair_after = format!("{}ms", policy.repair_after.as_millis());
        let delete_grace = format!("{}ms", policy.delete_grace.as_millis());
        let (replication, chunk_size) =
            (policy.spec.replication.to_string(), policy.spec.chunk_size.to_string());
        let parity = policy.spec.parity.to_string();
        let arguments: [&OsStr; 17] = [
            "coord".as_ref(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--data".as_ref(),
            data.as_ref(),
            "--nodes".as_ref(),
            addresses.as_ref(),
            "--replication".as_ref(),
            replication.as_ref(),
            "--parity".as_ref(),
            parity.as_ref(),
            "--chunk-size".as_ref(),
            chunk_size.as_ref(),
            "--repair-after".as_ref(),
            repair_after.as_ref(),
            "--delete-grace".as_ref(),
            delete_grace.as_ref(),
        ];
        let coordinator = Member::start("coord", folder, &arguments).await?;
        Ok(Self { coordinator, nodes: members })
    }

    /// Where the coordinator listens.
    pub(super) fn address(&self) -> &str {
        &self.coordinator.address
    }

    /// The process of the coordinator, then those of the nodes.
    pub(super) fn processes(&self) -> (Option<u32>, Vec<u32>) {
        let nodes = self.nodes.iter().filter_map(|node| node.child.id()).collect();
        (self.coordinator.child.id(), nodes)
    }

    /// Kills a node as `kill -9` does, and says which process that was.
    pub(super) async fn kill(&mut self, name: &str) -> Result<u32, Failure> {
        let index = self.nodes.iter().position(|member| member.name == name);
        let mut victim = self.nodes.remove(index.expect("the victim is one of the nodes"));
        let process = victim.child.id().unwrap_or_default();
        victim
            .child
            .kill()
            .await
            .map_err(|e| Failure::new(Code::Other, format!("cannot kill {name}: {e}")))?;
        Ok(process)
    }

    /// Lets all processes end, the coordinator first.
    pub(super) async fn stop(self) {
        for mut member in std::iter::once(self.coordinator).chain(self.nodes) {
            // The end of its standard input tells it to stop.
            drop(member.child.stdin.take());
            if timeout(END_WITHIN, member.child.wait()).await.is_err() {
                tracing::warn!("{} did not stop and is killed", member.name);
            }
        }
    }
}

impl Member {
    /// Starts this program with `arguments` and waits until it serves.
    async fn start(name: &str, folder: &Path, arguments: &[&OsStr]) -> Result<Self, Failure> {
        let failed =
            |what: String| Failure::quoting(Code::Other, &format!("cannot start {name}"), &what);
        let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
        // The person's own settings are not this cluster's.
        let settings = folder.join("none.toml");
        fs::write(&settings, "").map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(key, _)| key);
        for key in ours.filter(|key| key.to_string_lossy().starts_with("DFS_SIM_")) {
            command.env_remove(key);
        }
        command
            .args(arguments)
            .arg("--until-stdin-ends")
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C is for the verb, which ends them itself.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stderr = child.stderr.take().expect("stderr was asked for");
        let mut lines = BufReader::new(stderr).lines();
        let mut log = tokio::fs::File::create(folder.join(format!("{name}.log")))
            .await
            .map_err(|e| failed(e.to_string()))?;
        let mut said = Vec::new();
        let ready = async {
            while let Some(line) = lines.next_line().await.ok().flatten() {
                log.write_all(format!("{line}\n").as_bytes()).await.ok()?;
                if let Some(address) = address_in(&line) {
                    return Some(address);
                }
                said.push(line);
                said.truncate(LINES_KEPT_MAX);
            }
            None
        };
        let Some(address) = timeout(READY_WITHIN, ready).await.ok().flatten() else {
            return Err(failed(said.join("\n")));
        };
        // A pipe that nobody reads would stop it one day.
        tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.ok().flatten() {
                if log.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), address, child })
    }
}

/// The address in `node n1 listens on 127.0.0.1:4001, data in …`.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" listens on ")?;
    let (address, _) = rest.split_once(',')?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address() {
        let line = "node n1 listens on 127.0.0.1:4001, data in ./dfs-data/n1, 12 chunks";
        assert_eq!(address_in(line).as_deref(), Some("127.0.0.1:4001"));
        assert_eq!(address_in("INFO something else, altogether"), None);
    }
}
