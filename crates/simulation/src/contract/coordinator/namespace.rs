//! Names: listed, moved, removed.

use dfs_core::api::{
    CoordinatorService, ENTRIES_PER_PAGE_MAX, Kind, List, ListEntry, Lookup, PutMode, Remove,
    Rename, Usage,
};

use super::{assert_kind, name, store, three_nodes};

const NAMES: [&str; 6] = ["a", "dir/b", "dir/c", "dir/sub/d", "dirt", "z"];

async fn fill(coordinator: &dyn CoordinatorService) {
    three_nodes(coordinator).await;
    for (size, text) in (1..).zip(NAMES) {
        store(coordinator, text, size, PutMode::IfAbsent).await.expect("store");
    }
}

fn list(prefix: &str, limit: u32, by_folder: bool) -> List {
    List { prefix: prefix.to_owned(), after: None, limit, by_folder }
}

/// Every page, as lines.
async fn listed(coordinator: &dyn CoordinatorService, mut list: List) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let page = coordinator.list(list.clone()).await.expect("list");
        assert!(page.entries.len() <= usize::try_from(list.limit).expect("small"));
        lines.extend(page.entries.iter().map(|entry| match entry {
            ListEntry::File(info) => format!("{} {}", info.name, info.size),
            ListEntry::Folder { prefix, files, bytes } => format!("{prefix} {files} {bytes}"),
        }));
        match page.next {
            Some(next) => list.after = Some(next),
            None => return lines,
        }
    }
}

pub(super) async fn names_are_listed_in_order_page_by_page(coordinator: &dyn CoordinatorService) {
    fill(coordinator).await;
    let all = ["a 1", "dir/b 2", "dir/c 3", "dir/sub/d 4", "dirt 5", "z 6"];
    for limit in [1, 2, 5, 6, 1000] {
        assert_eq!(listed(coordinator, list("", limit, false)).await, all, "{limit} a page");
    }
    assert_eq!(listed(coordinator, list("dir/", 2, false)).await, all[1..4]);
    assert_eq!(listed(coordinator, list("dir", 9, false)).await, all[1..5], "a plain prefix");
    assert_eq!(listed(coordinator, list("nothing", 9, false)).await, [""; 0]);
    // A page that is asked to be too long is refused, or cut: never longer.
    if let Ok(page) = coordinator.list(list("", u32::MAX, false)).await {
        assert!(page.entries.len() <= ENTRIES_PER_PAGE_MAX);
    }
}

pub(super) async fn folders_are_summed_up(coordinator: &dyn CoordinatorService) {
    fill(coordinator).await;
    for limit in [1, 2, 1000] {
        let top = listed(coordinator, list("", limit, true)).await;
        assert_eq!(top, ["a 1", "dir/ 3 9", "dirt 5", "z 6"], "{limit} a page");
        let dir = listed(coordinator, list("dir/", limit, true)).await;
        assert_eq!(dir, ["dir/b 2", "dir/c 3", "dir/sub/ 1 4"], "{limit} a page");
    }
    let usage = coordinator.usage(String::new()).await.expect("usage");
    let raw_bytes = 2 * (21 + 6 * 12);
    let expected =
        Usage { files: 6, chunks: 6, logical_bytes: 21, stored_bytes: raw_bytes / 2, raw_bytes };
    assert_eq!(usage, expected, "logical, stored once, raw twice");
    let dir = coordinator.usage("dir/".to_owned()).await.expect("usage");
    assert_eq!((dir.files, dir.logical_bytes), (3, 9));
}

pub(super) async fn names_move(coordinator: &dyn CoordinatorService) {
    fill(coordinator).await;
    let rename = |from, to, mode| {
        coordinator.rename(Rename { from: name(from), to: name(to), mode, request: None })
    };
    rename("a", "moved/a", PutMode::IfAbsent).await.expect("rename");
    let taken = rename("moved/a", "z", PutMode::IfAbsent).await;
    assert_kind(taken, Kind::Exists, "onto a name that is taken");
    assert_kind(rename("a", "b", PutMode::IfAbsent).await, Kind::NotFound, "an unknown name");
    rename("moved/a", "z", PutMode::Replace).await.expect("rename over another");
    let lines = listed(coordinator, list("", 100, false)).await;
    assert_eq!(lines, ["dir/b 2", "dir/c 3", "dir/sub/d 4", "dirt 5", "z 1"]);
}

pub(super) async fn names_go(coordinator: &dyn CoordinatorService) {
    fill(coordinator).await;
    let remove = |path: &str, is_recursive, is_dry_run| {
        coordinator.remove(Remove {
            path: path.to_owned(),
            is_recursive,
            is_dry_run,
            request: None,
        })
    };
    let counted = remove("dir", true, true).await.expect("dry run");
    assert_eq!((counted.files, counted.bytes), (3, 9));
    assert_eq!(listed(coordinator, list("", 100, false)).await.len(), 6, "a dry run does nothing");
    assert_kind(remove("dir", false, false).await, Kind::NotFound, "a folder is no file");
    assert_kind(remove("none", false, false).await, Kind::NotFound, "an unknown name");
    let removed = remove("dir", true, false).await.expect("remove a folder");
    assert_eq!((removed.files, removed.bytes), (3, 9));
    let removed = remove("a", false, false).await.expect("remove a file");
    assert_eq!((removed.files, removed.bytes), (1, 1));
    assert_eq!(listed(coordinator, list("", 100, false)).await, ["dirt 5", "z 6"]);
    let gone = coordinator.lookup(Lookup { name: name("a"), version: None, first_stripe: 0 });
    assert_kind(gone.await, Kind::NotFound, "what was removed");
}
