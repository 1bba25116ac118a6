//! Values that people write: sizes, times, ranges.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dfs_core::env::Durability;

/// A number of bytes, written as `65536`, `64K`, `64KiB`, `64 MiB` or `64MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refusal =
            || format!("{text:?} is not a size: write bytes, or a number with K, M, G, T, MiB, MB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refusal())?;
        let unit = unit.trim().to_ascii_lowercase();
        let factor: u64 = match unit.as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(refusal()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("{text:?} is too large a size"))
    }
}

/// Reads `500ms`, `90s`, `5m`, `2h`, `1d`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let refusal = || format!("{text:?} is not a time: write a number with ms, s, m, h or d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refusal())?;
    let unit_ms: u64 = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    let ms = number.checked_mul(unit_ms).ok_or_else(|| format!("{text:?} is too long a time"))?;
    Ok(Duration::from_millis(ms))
}

/// Bytes `first` to `last`, both included: `0-499`, `500-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// The first byte.
    pub(crate) first: u64,
    /// The last byte; `None` is the end of the file.
    pub(crate) last: Option<u64>,
}

impl ByteRange {
    /// The same, half open.
    pub(crate) fn half_open(self) -> std::ops::Range<u64> {
        self.first..self.last.map_or(u64::MAX, |last| last.saturating_add(1))
    }
}

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || {
            format!("{text:?} is not a range: write FIRST-LAST (both included) or FIRST- in bytes")
        };
        let (first, last) = text.split_once('-').ok_or_else(refusal)?;
        let first: u64 = first.parse().map_err(|_| refusal())?;
        let last: Option<u64> = match last {
            "" => None,
            last => Some(last.parse().map_err(|_| refusal())?),
        };
        if last.is_some_and(|last| last < first) {
            return Err(format!("the range {text} ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "{}-{last}", self.first),
            None => write!(f, "{}-", self.first),
        }
    }
}

/// Reads `strict` or `relaxed`.
pub(crate) fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "strict" => Ok(Durability::Strict),
        "relaxed" => Ok(Durability::Relaxed),
        _ => Err(format!("{text:?} is not a durability: choose strict or relaxed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64K", 65_536),
            ("64 MiB", 64 << 20),
            ("64m", 64 << 20),
            ("64MB", 64_000_000),
            ("2T", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1.5M", "1X", "99999999999T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in
            [("5", 5_000), ("500ms", 500), ("90s", 90_000), ("5m", 300_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-5s", "5y", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        let range: ByteRange = "10-19".parse().expect("a range");
        assert_eq!(range.half_open(), 10..20);
        let range: ByteRange = "10-".parse().expect("a range");
        assert_eq!(range.half_open(), 10..u64::MAX);
        for text in ["", "-", "-5", "5", "9-3", "a-b", "1-2-3"] {
            assert!(text.parse::<ByteRange>().is_err(), "{text}");
        }
    }
}
