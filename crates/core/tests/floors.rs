//! The inner fences: modules use only what stands on their own floor or
//! below, and the roles never use each other.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each floor, from the lowest.
const FLOORS: [&[&str]; 4] = [
    &["block_map", "data", "id", "name", "policy", "placement", "units", "mutant", "limit", "mark"],
    &["catalog", "presence", "health", "lease", "repair", "verdict"],
    &["env", "api", "ledger"],
    &["coordinator", "node", "client"],
];

#[test]
fn arrows_point_down_and_roles_do_not_meet() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses_seen = 0;
    let mut broken = Vec::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).expect("it was found in there");
        let module = inside.components().next().expect("it has a name").as_os_str();
        let module = module.to_string_lossy().trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for used in used_modules(&text) {
            uses_seen += 1;
            if !may_use(&module, &used) {
                broken.push(format!("{} uses crate::{used}", inside.display()));
            }
        }
    }
    assert!(uses_seen > 100, "the search for uses is broken: it saw {uses_seen}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_fence_knows_a_breach() {
    assert!(may_use("node", "api") && may_use("placement", "policy"));
    assert!(!may_use("data", "catalog") && !may_use("catalog", "env"));
    assert!(!may_use("client", "node") && !may_use("coordinator", "client"));
}

fn may_use(module: &str, used: &str) -> bool {
    let (Some(own), Some(other)) = (floor(module), floor(used)) else {
        panic!("crate::{used}, used by {module}, stands on no floor: add it to FLOORS");
    };
    let are_roles = own == FLOORS.len() - 1 && other == own;
    other <= own && (!are_roles || module == used)
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The first segments of all paths that begin with `crate::`, also in braces.
fn used_modules(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        assert!(!name.is_empty(), "write one `use crate::…` a module, without outer braces");
        found.push(name);
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
