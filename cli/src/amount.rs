//! Amounts of bytes as people write them: `10M`, `1.5MiB`, `800k`, and rates, where `/s` may follow.

/// Reads an amount of bytes: digits, perhaps a fraction, and perhaps a unit. `k`, `M`, `G`, `T` count in thousands, with or
/// without a `B` behind them; `Ki`, `Mi`, `Gi`, `Ti` in 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = match number.parse() {
        Ok(number) if !number_is_odd(text) => number,
        _ => return Err(format!("{text:?} is no amount of bytes (10M, 1.5MiB, 800k)")),
    };
    let unit = unit.to_ascii_lowercase();
    let factor = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 1u64,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return Err(format!("{unit:?} is no unit of bytes (k, M, G, T, KiB, MiB, GiB, TiB)")),
    };
    let bytes = number * factor as f64;
    // Beyond 2^53 a fraction of a byte cannot be told anyway.
    if bytes >= 9e15 { Err(format!("{text:?} is more than there is")) } else { Ok(bytes as u64) }
}

/// `.` alone, `1.`, `.5`: numbers to a parser, mistakes to a reader.
fn number_is_odd(text: &str) -> bool {
    let digits_at = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    !digits_at(0) || text.find('.').is_some_and(|dot| !digits_at(dot + 1))
}

/// The same per second.
fn rate(text: &str) -> Result<u64, String> {
    bytes(text.strip_suffix("/s").unwrap_or(text))
}

fn at_least(amount: u64, min: u64, what: &str) -> Result<u64, String> {
    if amount >= min {
        Ok(amount)
    } else {
        Err(format!("the least {what} is {min} bytes ({} KiB)", min >> 10))
    }
}

/// `--max-upload`.
pub(crate) fn upload_rate(text: &str) -> Result<u64, String> {
    at_least(rate(text)?, zest_runtime_tokio::UPLOAD_BYTES_S_MIN, "upload per second")
}

/// `--max-download`.
pub(crate) fn download_rate(text: &str) -> Result<u64, String> {
    at_least(rate(text)?, zest_runtime_tokio::DOWNLOAD_BYTES_S_MIN, "download per second")
}

/// `--upload-budget`.
pub(crate) fn upload_budget(text: &str) -> Result<u64, String> {
    at_least(bytes(text)?, zest_runtime_tokio::UPLOAD_BUDGET_MIN, "budget per day")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (given, want) in [
            ("0", 0),
            ("1234", 1234),
            ("800k", 800_000),
            ("10M", 10_000_000),
            ("10MB", 10_000_000),
            ("1.5MiB", 1_572_864),
            ("2gib", 2 << 30),
            ("0.25G", 250_000_000),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(bytes(given), Ok(want), "{given}");
        }
        assert_eq!(rate("10M/s"), Ok(10_000_000));
        assert_eq!(rate("10MiB"), Ok(10 << 20));
    }

    #[test]
    fn nonsense_is_refused() {
        for given in
            ["", "M", "-1", "+1", "1e6", "10 M", "10X", "1.", ".5", "1.2.3", "inf", "99999T", "10M/s", "1,5M"]
        {
            assert!(bytes(given).is_err(), "{given:?}");
        }
        assert!(rate("10M/m").is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_said_with_the_least_value() {
        assert_eq!(upload_rate("256KiB/s"), Ok(262_144));
        let error = upload_rate("100k").expect_err("too low");
        assert_eq!(error, "the least upload per second is 262144 bytes (256 KiB)");
        assert!(download_rate("1k").is_err());
        assert!(upload_budget("1000").is_err());
        assert_eq!(upload_budget("1G"), Ok(1_000_000_000));
    }
}
