//! Clusters of real processes in temporary folders, on free ports.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take until it serves, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often, and with which pauses, a condition is looked for.
const LOOKS_MAX: u32 = 600;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The program, with none of the settings of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dfs-sim"));
    let ours = std::env::vars_os().map(|(key, _)| key);
    for key in ours.filter(|key| key.to_string_lossy().starts_with("DFS_SIM_")) {
        command.env_remove(key);
    }
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR"));
    command.env("HOME", nowhere).env("XDG_CONFIG_HOME", nowhere).current_dir(nowhere);
    command
}

/// What a command said and ended with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}{}", self.text(), self.stderr))
    }

    /// Panics with all that was said unless it ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.text(), self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Panics unless stderr has all of `words`.
    #[track_caller]
    pub(crate) fn complained(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        self
    }
}

/// A process that serves.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|said| panic!("it did not start:\n{said}"))
    }

    /// As [`Self::start`], with a standard output whose reader is gone.
    pub(crate) fn start_unread(command: &mut Command) -> Self {
        command.stdout(Stdio::piped());
        Self::launch(command).unwrap_or_else(|said| panic!("it did not start:\n{said}"))
    }

    /// As [`Self::start`]; what it said when it ends instead.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, String> {
        Self::launch(command.stdout(Stdio::null()))
    }

    fn launch(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("stderr was asked for");
        drop(child.stdout.take());
        let said = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = mpsc::channel();
        let heard = said.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    // Only the first address is waited for.
                    drop(sender.send(address));
                }
                heard.lock().expect("nobody panics with it").push(line);
            }
        });
        let mut server = Self { child, address: String::new(), said };
        match receiver.recv_timeout(READY_WITHIN) {
            Ok(address) => {
                server.address = address;
                Ok(server)
            }
            Err(_) => Err(server.said()),
        }
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").join("\n")
    }

    /// Waits until it has said `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        eventually(&format!("it says {words:?}"), || {
            let said = self.said();
            if said.contains(words) { Ok(()) } else { Err(said) }
        });
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it was started here");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        self.child.wait().expect("it was started here")
    }

    /// Ctrl-C or `kill`: sends a signal and waits for the end.
    pub(crate) fn end_by(&mut self, signal: Signal) -> ExitStatus {
        send(&self.child, signal);
        self.child.wait().expect("it was started here")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.address, self.said());
        }
    }
}

/// Sends a signal to a process that was started here.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it runs");
}

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" listens on ")?;
    Some(rest.split_once(',')?.0.to_owned())
}

/// Looks until it finds, or panics with what it saw last.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let mut seen = String::new();
    for _ in 0..LOOKS_MAX {
        match look() {
            Ok(found) => return found,
            Err(instead) => seen = instead,
        }
        thread::park_timeout(LOOK_PAUSE);
    }
    panic!("waited in vain until {what}; last seen:\n{seen}");
}

/// Nodes and a coordinator.
pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) nodes: Vec<Server>,
    coordinator: Option<Server>,
    address: String,
    flags: Vec<String>,
}

impl Cluster {
    /// Starts `n1` to `nN` and a coordinator with `flags`, all on free ports,
    /// and waits until every node is online.
    pub(crate) fn start(nodes: usize, flags: &[&str]) -> Self {
        Self::start_with(nodes, flags, &[])
    }

    /// As [`Self::start`], with `node_flags` for every node.
    pub(crate) fn start_with(nodes: usize, flags: &[&str], node_flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), nodes, flags, node_flags)
    }

    /// As [`Self::start_with`], on the data that `folder` has.
    pub(crate) fn start_in(
        folder: TempDir,
        nodes: usize,
        flags: &[&str],
        node_flags: &[&str],
    ) -> Self {
        let start = |number| {
            let mut command = node_command(folder.path(), number, "127.0.0.1:0");
            Server::start(command.args(node_flags))
        };
        let nodes: Vec<Server> = (1..=nodes).map(start).collect();
        let mut cluster = Self {
            folder,
            nodes,
            coordinator: None,
            address: "127.0.0.1:0".to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        cluster.start_coordinator();
        cluster.wait_until_online(cluster.nodes.len());
        cluster
    }

    /// Starts the coordinator (again), where it was before.
    pub(crate) fn start_coordinator(&mut self) {
        let addresses: Vec<&str> = self.nodes.iter().map(|node| node.address.as_str()).collect();
        let mut command = program();
        command
            .args(["coord", "--listen", &self.address, "--nodes", &addresses.join(",")])
            .arg("--data")
            .arg(self.path("coord"))
            .args(&self.flags);
        let coordinator = Server::start(&mut command);
        self.address.clone_from(&coordinator.address);
        self.coordinator = Some(coordinator);
    }

    /// Starts node `number` (again), where it was before.
    pub(crate) fn restart_node(&mut self, number: usize) {
        let address = self.nodes[number - 1].address.clone();
        self.nodes[number - 1] =
            Server::start(&mut node_command(self.folder.path(), number, &address));
    }

    /// What the coordinator is started with from now on.
    pub(crate) fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    pub(crate) fn coordinator(&mut self) -> &mut Server {
        self.coordinator.as_mut().expect("it was started")
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A path in the cluster's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program as a client of this cluster, in the cluster's folder.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).env("DFS_SIM_COORD", &self.address).current_dir(self.folder.path());
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.client(arguments))
    }

    /// Runs a client command with these bytes on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Answer {
        let mut command = self.client(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        let input = input.to_vec();
        let feeder = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("it was started here");
        // A program that fails early does not read all.
        drop(feeder.join().expect("writing does not panic"));
        Answer {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The answer of `status --json`.
    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "--json"]).ended(0).json()
    }

    /// Waits until `count` nodes are online.
    #[track_caller]
    pub(crate) fn wait_until_online(&self, count: usize) {
        self.wait_until(&format!("{count} nodes are online"), |status| {
            let nodes = status["nodes"].as_array().expect("a list");
            let online = nodes.iter().filter(|node| node["state"] == "online").count();
            online == count && status["health"] != "not_known_yet"
        });
    }

    /// Waits until the status is as `is_so` wants it.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        eventually(what, || {
            let status = self.status();
            if is_so(&status) { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Writes a file of `len` bytes into the cluster's folder.
    pub(crate) fn make_file(&self, name: &str, len: usize) -> Vec<u8> {
        let bytes = material(len);
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, &bytes).expect("a file");
        bytes
    }

    /// What a file in the cluster's folder holds.
    pub(crate) fn read_file(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// All chunk and pack files of a node.
    pub(crate) fn stored_files(&self, node: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in ["chunks", "packs"] {
            find_files(&self.path(node).join(folder), &mut found);
        }
        found
    }
}

fn node_command(folder: &Path, number: usize, listen: &str) -> Command {
    let name = format!("n{number}");
    let mut command = program();
    command.args(["node", "--id", &name, "--listen", listen, "--data"]).arg(folder.join(&name));
    command
}

fn find_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Copies a folder and all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

/// Bytes that compress by half, the same every time.
pub(crate) fn material(len: usize) -> Vec<u8> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64 (Marsaglia 2003), each word followed by zeros.
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }
    bytes.truncate(len);
    bytes
}
