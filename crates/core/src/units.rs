//! Sizes and times as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written as `65536`, `64K`, `64KiB`, `64 MiB` or `64MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// A time, written as `500ms`, `90s`, `5m`, `2h` or `1d`; a bare number is
/// seconds. Nothing below a millisecond is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

const SPANS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refusal =
            || format!("{text:?} is not a size: write bytes, or a number with K, M, G, T, MiB, MB");
        let (number, unit) = split(text).ok_or_else(refusal)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
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

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refusal = || format!("{text:?} is not a time: write a number with ms, s, m, h or d");
        let (number, unit) = split(text).ok_or_else(refusal)?;
        let unit = match unit {
            "" => "s",
            "min" => "m",
            unit => unit,
        };
        let unit_ms = SPANS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(refusal)?.1;
        let ms =
            number.checked_mul(unit_ms).ok_or_else(|| format!("{text:?} is too long a time"))?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.0, &SIZES, "")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.as_millis(), &SPANS_MS, "s")
    }
}

/// Writes a number in the largest unit that takes it whole.
fn write_in(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    units: &[(&str, u64)],
    unit_of_nothing: &str,
) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((unit, factor)) => write!(f, "{}{unit}", number / factor),
        None => write!(f, "{number}{unit_of_nothing}"),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
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
            assert_eq!(text.parse(), Ok(Span::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-5s", "5y", "99999999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (ms, text) in
            [(0, "0s"), (1, "1ms"), (1_500, "1500ms"), (90_000, "90s"), (120_000, "2m")]
        {
            assert_eq!(Span::from_millis(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Span::from_millis(ms)));
        }
        for (bytes, text) in [(0, "0"), (1, "1"), (65_536, "64K"), (3 << 29, "1536M")] {
            assert_eq!(ByteSize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
    }
}
