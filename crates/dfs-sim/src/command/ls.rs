//! `ls`: names, like a shell.

use std::sync::Arc;

use dfs_core::api::{
    Condition, CoordinatorService, ENTRIES_PER_PAGE_MAX, FileInfo, List, ListEntry, ListPage,
};
use serde_json::{Value, json};

use crate::cli::LsArgs;
use crate::console::{Cluster, Console};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, json, size, time};

/// Lists folders, or names files.
pub(super) async fn run(args: LsArgs, console: &Console) -> Outcome {
    let cluster = console.cluster(&args.cluster)?;
    let mut first_failure: Option<Failure> = None;
    let mut listed: Vec<Value> = Vec::new();
    for (number, path) in args.paths.iter().enumerate() {
        let is_one_of_many = args.paths.len() > 1;
        if is_one_of_many && !args.answer.json && !output::is_over() {
            if number > 0 {
                output::line("")?;
            }
            output::line(format!("{path}:"))?;
        }
        match list(&args, &cluster, path).await {
            Ok(entries) => listed.extend(entries),
            Err(failure) if is_one_of_many => {
                output::note(format!("dfs-sim: {failure}"));
                let error = &json::failure(&failure)["error"];
                listed.push(json!({ "path": path, "error": error }));
                first_failure.get_or_insert(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    if args.answer.json {
        let answer = match <[Value; 1]>::try_from(listed) {
            Ok([only]) => only,
            Err(listed) => json!({ "paths": listed }),
        };
        json::print("ls", answer)?;
    }
    first_failure.map_or(Ok(Code::Ok), |failure| Err(Failure::answered(failure.code)))
}

/// Lists one path: prints it, or returns it for the JSON.
async fn list(args: &LsArgs, cluster: &Cluster, path: &str) -> Result<Option<Value>, Failure> {
    let path = path.trim_end_matches('/');
    let prefix = folder_prefix(path);
    let mut pages = Pages::new(cluster, prefix.clone(), !args.recursive);
    let mut page = pages.next().await?.unwrap_or_default();
    // Names of a folder are shown from the folder on, unless all are asked for.
    let mut shown_from = if args.recursive { 0 } else { prefix.len() };
    if page.is_empty() && !path.is_empty() {
        page = vec![ListEntry::File(find(cluster, path).await?)];
        shown_from = 0;
    }
    if args.answer.json {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            entries.extend(page.iter().map(entry_json));
            let Some(next) = pages.next().await? else { break };
            page = next;
        }
        return Ok(Some(json!({ "path": path, "entries": entries })));
    }
    if args.long && !page.is_empty() {
        output::line(long_line("SIZE", "POLICY", "SPARES", "STORED", "NAME"))?;
    }
    loop {
        for entry in &page {
            let show = if args.long { long } else { short };
            output::line(show(entry, shown_from))?;
        }
        if output::is_over() {
            break;
        }
        let Some(next) = pages.next().await? else { break };
        page = next;
    }
    Ok(None)
}

/// The failure to find a file `path`, or that there is a folder of that name
/// and what to do with it.
pub(super) async fn or_folder(
    cluster: &Cluster,
    path: &str,
    failure: Failure,
    way: &str,
) -> Failure {
    if failure.code != Code::NotFound {
        return failure;
    }
    let mut pages = Pages::new(cluster, folder_prefix(path), true);
    pages.limit = 1;
    match pages.next().await {
        Ok(Some(page)) if !page.is_empty() => {
            Failure::new(Code::NotFound, format!("{path:?} is a folder: {way}"))
        }
        _ => failure,
    }
}

/// What the names in folder `path` start with; `""` is the root.
pub(super) fn folder_prefix(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

/// The file of that name.
///
/// # Errors
/// `NotFound`, or as the coordinator says.
pub(super) async fn find(cluster: &Cluster, path: &str) -> Result<FileInfo, Failure> {
    // Of all names that start with it, the name itself comes first.
    let mut pages = Pages::new(cluster, path.to_owned(), false);
    pages.limit = 1;
    if let Some(ListEntry::File(info)) = pages.next().await?.unwrap_or_default().pop()
        && info.name.as_str() == path
    {
        return Ok(info);
    }
    Err(Failure::new(Code::NotFound, format!("there is no file and no folder {path:?}")))
}

/// The pages of a listing, one after the other.
pub(super) struct Pages<'a> {
    cluster: &'a Cluster,
    prefix: String,
    by_folder: bool,
    limit: u32,
    after: Option<String>,
    is_done: bool,
}

impl<'a> Pages<'a> {
    /// All names that start with `prefix`; what lies deeper as one folder
    /// when `by_folder`.
    pub(super) fn new(cluster: &'a Cluster, prefix: String, by_folder: bool) -> Self {
        let limit = u32::try_from(ENTRIES_PER_PAGE_MAX).expect("a page is far below 2^32");
        Self { cluster, prefix, by_folder, limit, after: None, is_done: false }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// As the coordinator says.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListEntry>>, Failure> {
        if self.is_done {
            return Ok(None);
        }
        let request = List {
            prefix: self.prefix.clone(),
            after: self.after.take(),
            limit: self.limit,
            by_folder: self.by_folder,
        };
        let ask = |coordinator: Arc<dyn CoordinatorService>| {
            let request = request.clone();
            async move { coordinator.list(request).await }
        };
        let ListPage { entries, next, may_be_old } = self.cluster.client.call(ask).await?;
        if may_be_old && self.after.is_none() {
            output::note(OLD);
        }
        self.is_done = next.is_none();
        self.after = next;
        Ok(Some(entries))
    }
}

/// What is said of an answer that may be old.
const OLD: &str = "this may be old: the coordinator does not lead most of its nodes (see status)";

fn short(entry: &ListEntry, shown_from: usize) -> String {
    let name = match entry {
        ListEntry::File(info) => info.name.as_str(),
        ListEntry::Folder { prefix, .. } => prefix,
    };
    name.get(shown_from..).unwrap_or(name).to_owned()
}

fn long(entry: &ListEntry, shown_from: usize) -> String {
    let name = short(entry, shown_from);
    match entry {
        ListEntry::File(info) => {
            let spares = spares(info);
            let stored = time::for_people(info.created_ms);
            let policy = info.policy.to_string();
            long_line(&size::bytes(info.size), &policy, &spares, &stored, &name)
        }
        ListEntry::Folder { files, bytes, .. } => {
            long_line(&size::bytes(*bytes), "", "", &size::counted(*files, "file"), &name)
        }
    }
}

/// The spares of a file, or the state that matters more: `+2`, `at risk`,
/// `unreachable`, `lost`.
fn spares(info: &FileInfo) -> String {
    match info.condition {
        _ if info.stripes == 0 => "-".into(),
        Condition::AtRisk | Condition::Unreachable | Condition::Lost | Condition::Unknown => {
            json::condition(info.condition).replace('_', " ")
        }
        Condition::Full | Condition::Degraded => format!("+{}", info.spares.max(0)),
    }
}

fn long_line(size: &str, policy: &str, spares: &str, stored: &str, name: &str) -> String {
    format!("{size:>9}  {policy:<16}  {spares:>11}  {stored:<20}  {name}")
}

fn entry_json(entry: &ListEntry) -> Value {
    match entry {
        ListEntry::File(info) => {
            let mut value = json::file(info);
            value["kind"] = "file".into();
            value
        }
        ListEntry::Folder { prefix, files, bytes } => {
            json!({ "kind": "folder", "name": prefix, "files": files, "logical_bytes": bytes })
        }
    }
}
