//! Durations and sizes in messages for people.

use std::fmt;
use std::time::Duration;

use super::limits::Fixed;

/// Displays a duration with one unit and at most three decimals: `5 s`, `1.5 s`, `200 ms`, `2 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayDuration(pub Duration);

impl fmt::Display for DisplayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        match (self.0.as_secs(), nanos) {
            (0, 0) => f.write_str("0 s"),
            (0, 1..1_000_000) => write!(f, "{} µs", Fixed(nanos)),
            (0, _) => write!(f, "{} ms", Fixed(nanos / 1000)),
            (seconds, _) if self.0.subsec_nanos() == 0 && seconds.is_multiple_of(3600) => {
                write!(f, "{} h", seconds / 3600)
            }
            (seconds, _) if self.0.subsec_nanos() == 0 && seconds.is_multiple_of(60) => {
                write!(f, "{} min", seconds / 60)
            }
            _ => write!(f, "{} s", Fixed(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX))),
        }
    }
}

/// Displays a size in bytes with one unit and at most three decimals: `64 MiB`, `1.5 KiB`, `100 bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplaySize(pub u64);

impl fmt::Display for DisplaySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (power, unit) = match self.0 {
            1 => return f.write_str("1 byte"),
            0..1024 => return write!(f, "{} bytes", self.0),
            size if size < 1 << 20 => (10, "KiB"),
            size if size < 1 << 30 => (20, "MiB"),
            size if size < 1 << 40 => (30, "GiB"),
            _ => (40, "TiB"),
        };
        let thousandths = (u128::from(self.0) * 1000) >> power;
        write!(f, "{} {unit}", Fixed(u64::try_from(thousandths).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        let cases = [
            (0, "0 s"),
            (1_500, "1.5 µs"),
            (200_000_000, "200 ms"),
            (1_500_000_000, "1.5 s"),
            (5_000_000_000, "5 s"),
            (90_000_000_000, "90 s"),
            (600_000_000_000, "10 min"),
            (7_200_000_000_000, "2 h"),
        ];
        for (nanos, text) in cases {
            assert_eq!(DisplayDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn sizes_have_one_unit() {
        let cases = [
            (1, "1 byte"),
            (100, "100 bytes"),
            (1536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (u64::MAX, "16777215.999 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(DisplaySize(bytes).to_string(), text);
        }
    }
}
