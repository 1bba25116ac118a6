//! Values that people write: times, ranges, durability.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use dfs_core::env::Durability;
use dfs_core::units::Span;

/// Reads `500ms`, `90s`, `5m`, `2h`, `1d`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse().map(|Span(time)| time)
}

/// Reads a whole number of `range`.
pub(crate) fn whole<T>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64>,
{
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            format!("expected a whole number from {} to {}", range.start(), range.end())
        })
    }
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

/// Reads a pattern of names or paths.
pub(super) fn parse_pattern(text: &str) -> Result<glob::Pattern, String> {
    let text = text.strip_prefix('/').unwrap_or(text);
    glob::Pattern::new(text.strip_suffix('/').unwrap_or(text))
        .map_err(|e| format!("{} (at character {})", e.msg, e.pos + 1))
}

/// A range of handles, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandleRange {
    /// The first handle.
    pub(crate) first: u64,
    /// The first handle behind it.
    pub(crate) end: u64,
}

impl FromStr for HandleRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once("..").and_then(|(first, end)| {
            Some(Self { first: first.parse().ok()?, end: end.parse().ok()? })
        });
        numbers.filter(|range| range.first < range.end).ok_or_else(|| {
            format!("{text:?} is not a range of handles: write FIRST..END as fsck shows it")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_say_what_was_expected() {
        let jobs = whole::<u8>(1..=64);
        assert_eq!(jobs("64"), Ok(64));
        for text in ["0", "65", "x", "", "-1", "1.5", "70000"] {
            assert_eq!(jobs(text), Err("expected a whole number from 1 to 64".to_owned()));
        }
    }

    #[test]
    fn a_range_of_handles_is_taken_as_it_is_shown() {
        assert_eq!("7..9".parse(), Ok(HandleRange { first: 7, end: 9 }));
        for bad in ["", "7", "7-9", "9..7", "7..7", "7..", "..9", "a..b", "7...9"] {
            assert!(bad.parse::<HandleRange>().is_err(), "{bad}");
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
