//! Times for people and machines.

use std::time::Duration;

/// RFC 3339, UTC, to the second or finer: `2026-11-22T13:30:54.012Z`.
pub(crate) fn rfc3339(ms: u64) -> String {
    timestamp(ms).map_or_else(|| format!("{ms} ms"), |at| at.to_string())
}

/// `2026-11-22 13:30:54Z`.
pub(crate) fn for_people(ms: u64) -> String {
    timestamp(ms - ms % 1000)
        .map_or_else(|| format!("{ms} ms"), |at| at.to_string().replacen('T', " ", 1))
}

fn timestamp(ms: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

/// `52 ms`, `4.2 s`, `12 s`, `3m 20s`, `2h 5m`, `4d 1h`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(for_people(1_700_000_000_123), "2023-11-14 22:13:20Z");
        // Beyond what a calendar holds: shown, not a panic.
        assert_eq!(rfc3339(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn spans_name_their_two_largest_units() {
        for (ms, text) in [
            (52, "52 ms"),
            (4_200, "4.2 s"),
            (12_000, "12 s"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }
}
