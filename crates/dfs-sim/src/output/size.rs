//! Sizes and rates for people, in IEC units.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `17 B`, `1.5 KiB`, `256 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 99.95);
    let number = format!("{value:.digits$}");
    format!("{} {}", number.strip_suffix(".0").unwrap_or(&number), UNITS[unit])
}

/// `812 MiB/s`.
pub(crate) fn rate(count: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-6);
    format!("{}/s", bytes((count as f64 / seconds) as u64))
}

/// `2.0x`: how many times `whole` is in `count`.
pub(crate) fn times(count: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.2}x", count as f64 / whole as f64)
}

/// `12 files`, `1 file`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('y') => format!("{count} {}ies", &noun[..noun.len() - 1]),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_right() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (256 << 20, "256 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (5_368_709_120, "5 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "copy"), "1 copy");
        assert_eq!(counted(2, "copy"), "2 copies");
        assert_eq!(counted(0, "file"), "0 files");
    }
}
