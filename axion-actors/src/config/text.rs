//! Reads and writes times and sizes in the form that people write.

use std::time::Duration;

/// Reads a time: a number of seconds, or a text with units such as `500ms`, `1.5s`, `10m`, `1h 30m`, `PT90S`.
///
/// Settings, flows and options all read times by this function. Spaces around the text are ignored.
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => text.trim().parse::<jiff::SignedDuration>().ok()?.try_into().ok(),
    }
}

/// The shortest exact text of a time.
#[must_use]
pub fn time_text(time: Duration) -> String {
    let units: [(u128, &str); 5] =
        [(3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us")];
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    match units.iter().find(|(unit, _)| nanos.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => format!("{}.{:09}s", time.as_secs(), time.subsec_nanos()),
    }
}

/// Reads a size: a number of bytes, with or without a unit: `64K`, `200M`, `1.5GiB`, `2 kb`, `1e3`.
///
/// The units are `B`, `K`, `M`, `G` and `T` in either case, alone or followed by `B` or `iB`. Each is 1024 times the
/// one before. Settings, flows and options all read sizes by this function. Spaces around the text are ignored.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    let digits = digits.trim_end();
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << power);
    }
    let bytes = digits.parse::<f64>().ok()? * 2_f64.powi(power);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// The shortest exact text of a size.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(power, _)| bytes > 0 && bytes.is_multiple_of(1 << power)) {
        Some((power, name)) => format!("{}{name}", bytes >> power),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_with_and_without_units() {
        let cases = [
            ("2", 2000),
            ("0.5", 500),
            ("500ms", 500),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "x", "-1", "-5s", "1e400", "NaN", "inf", "5 parsecs"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let cases = [
            ("100", 100),
            ("1K", 1024),
            ("200M", 200 << 20),
            ("1.5GiB", 3 << 29),
            ("2 kb", 2048),
            ("1T", 1 << 40),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "x", "-1", "5P", "1e99", "NaN", "inf", "M", "1IB", "18446744073709551615K"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in any::<u64>(), shift in 0..50u32, bytes in any::<u64>()) {
            let time = Duration::from_nanos(nanos >> shift);
            prop_assert_eq!(parse_time(&time_text(time)), Some(time));
            let whole = Duration::from_secs(nanos >> 20);
            prop_assert_eq!(parse_time(&time_text(whole)), Some(whole));
            prop_assert_eq!(parse_size(&size_text(bytes >> shift << (shift / 2))), Some(bytes >> shift << (shift / 2)));
        }

        #[test]
        fn no_text_is_too_odd(text in ".*") {
            let _ = (parse_time(&text), parse_size(&text));
        }
    }
}
