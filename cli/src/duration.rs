//! Spans of time as people write them: `90`, `30s`, `10m`, `2h`.

use std::time::Duration;

/// Least and most that a user can be willing to wait: 1 s, and a week.
const RANGE_SECONDS: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;

/// `--give-up-after`: whole seconds, minutes, hours or days; seconds if there is no unit.
pub(crate) fn give_up_after(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time (90, 30s, 10m, 2h)");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.saturating_mul(factor);
    if RANGE_SECONDS.contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err("at least 1 s and at most 7 d".to_owned())
}

/// The same the other way round, in the largest unit that leaves nothing over: `10 min`, `90 s`.
pub(crate) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "min")];
    let whole = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, seconds) in
            [("90", 90), ("30s", 30), ("10m", 600), ("10min", 600), ("2h", 7200), ("7d", 604_800)]
        {
            assert_eq!(give_up_after(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "0", "0s", "-1", "1.5m", "ten", "8d", "99999999999999999999d", "5 m", "1h30m"] {
            assert!(give_up_after(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_said_shortly() {
        let said = |seconds| words(Duration::from_secs(seconds));
        assert_eq!([said(600), said(90), said(30), said(7200)], ["10 min", "90 s", "30 s", "2 h"]);
    }
}
