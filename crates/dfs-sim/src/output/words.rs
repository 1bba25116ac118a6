//! States in words for people.

/// How many losses a file survives, in words.
pub(crate) fn spares(spares: i32) -> String {
    match spares {
        ..0 => "cannot be read now".into(),
        0 => "no further loss".into(),
        1 => "the loss of any one node".into(),
        n => format!("the loss of any {n} nodes"),
    }
}
