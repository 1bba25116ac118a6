//! The units of what is told to machines.

use serde_json::Value;

/// Panics unless every size in `answer` is in bytes, every duration in
/// milliseconds, and each is named so.
#[track_caller]
pub(crate) fn has_one_unit(answer: &Value) {
    match answer {
        Value::Object(fields) => {
            for (key, value) in fields {
                if value.is_number() || value["p50"].is_number() {
                    assert!(names_its_unit(key), "{key} in {answer}");
                }
                has_one_unit(value);
            }
        }
        Value::Array(values) => values.iter().for_each(has_one_unit),
        _ => {}
    }
}

/// Whether a field that holds a number has a name that says its unit, where
/// it needs one. Rates end in `_per_second`, and bytes a second is the only one
/// of a size.
fn names_its_unit(key: &str) -> bool {
    const OTHER_UNITS: [&str; 14] = [
        "s", "sec", "secs", "seconds", "us", "ns", "minutes", "hours", "kb", "mb", "gb", "kib",
        "mib", "gib",
    ];
    const QUANTITIES: [&str; 17] = [
        "bytes", "size", "logical", "stored", "raw", "used", "free", "total", "memory", "ms",
        "took", "uptime", "lasts", "duration", "latency", "age", "pace",
    ];
    if key.ends_with("_bytes_per_second") || key == "bytes_per_second" {
        return true;
    }
    let words: Vec<&str> =
        key.trim_end_matches("_per_second").trim_end_matches("_per_gb").split('_').collect();
    let is_known = |words: &[&str]| words.iter().any(|word| QUANTITIES.contains(word));
    let has_unit = words.len() > 1 && (key.ends_with("_bytes") || key.contains("_ms"));
    !words.iter().any(|word| OTHER_UNITS.contains(word)) && (has_unit || !is_known(&words))
}
