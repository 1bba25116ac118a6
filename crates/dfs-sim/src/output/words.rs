//! States in words for people.

use dfs_core::api::{Condition, FileInfo};

/// How many losses a file survives, in words.
pub(crate) fn survives(file: &FileInfo) -> String {
    match file.spares {
        _ if file.stripes == 0 => "any loss of nodes: an empty file lives in the catalog".into(),
        _ if file.condition == Condition::Unknown => "not known".into(),
        ..0 => "cannot be read now".into(),
        0 => "no further loss".into(),
        1 => "the loss of any one node".into(),
        n => format!("the loss of any {n} nodes"),
    }
}
