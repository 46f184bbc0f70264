//! Numbers as people read them: decimal units, as hf and disk makers use them.

use std::collections::BTreeMap;
use std::time::Duration;

/// Columns from which on a name can be cut at both ends: 4. Ours.
const MIDDLE_MIN: usize = 4;

/// `0 B`, `12.3 kB`, `486.0 MB`, `1.23 GB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be printed as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let places = if unit >= 2 { 2 } else { 1 };
    format!("{value:.places$} {}", UNITS[unit])
}

/// `0a1b`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

/// `115 MB/s`; nothing sensible for a rate that is not a number.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    if !bytes_per_second.is_finite() || bytes_per_second < 0.0 {
        return "- B/s".to_owned();
    }
    match bytes_per_second {
        r if r < 1e3 => format!("{r:.0} B/s"),
        r if r < 1e6 => format!("{:.0} kB/s", r / 1e3),
        r if r < 9.95e6 => format!("{:.1} MB/s", r / 1e6),
        r if r < 9.995e8 => format!("{:.0} MB/s", r / 1e6),
        r => format!("{:.2} GB/s", r / 1e9),
    }
}

/// `0.42 s`, `7.3 s`, `42 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.995 => format!("{s:.2} s"),
        s if s < 9.95 && s.fract() != 0.0 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3599.5 => {
            let whole = s.round() as u64;
            format!("{} min {:02} s", whole / 60, whole % 60)
        }
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// Time still to go: whole seconds, rounded up, because nobody is promised more than that.
pub(crate) fn time_left(time: Duration) -> String {
    duration(Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}

/// `4612` as `4,612`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `4,612 files`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Whole per cent, 100 only when all is done.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if done >= total { 100 } else { (u128::from(done) * 100 / u128::from(total)) as u64 }
}

/// The last `width` characters of a path, its beginning shortened to `…`: the end tells files apart.
pub(crate) fn path_tail(path: &str, width: usize) -> String {
    let mut clean = printable(path);
    if clean.len() > width {
        clean.drain(..clean.len() - width.saturating_sub(1));
        clean.insert(0, '…');
    }
    clean.into_iter().collect()
}

/// Paths in so many columns each. Those that end alike, as the files of one model do (`model-00001-of-00006.safetensors`), are cut
/// at their ends, too, so that they stay different where they are.
pub(crate) fn path_names(paths: &[&str], width: usize) -> Vec<String> {
    let mut names: Vec<String> = paths.iter().map(|path| path_tail(path, width)).collect();
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        alike.entry(name.clone()).or_default().push(index);
    }
    for group in alike.into_values().filter(|group| group.len() > 1 && width >= MIDDLE_MIN) {
        let paths: Vec<Vec<char>> = group.iter().map(|index| printable(paths[*index])).collect();
        let from_end = |path: &Vec<char>, at: usize| path.len().checked_sub(1 + at).map(|at| path[at]);
        let shortest = paths.iter().map(Vec::len).min().unwrap_or(0);
        let same = |at: &usize| paths.iter().all(|path| from_end(path, *at) == from_end(&paths[0], *at));
        let same = (0..shortest).take_while(same).count();
        for (index, path) in std::iter::zip(group, &paths) {
            let end = path.len() - same;
            let begin = end.saturating_sub(width - 2);
            let cut: String = path[begin..end].iter().collect();
            if path.len() > width && !cut.is_empty() {
                names[index] = format!("{}{cut}…", if begin > 0 { "…" } else { "" });
            }
        }
    }
    names
}

/// A control character in a file name must not steer the terminal.
fn printable(path: &str) -> Vec<char> {
    path.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_never_read_1000_of_a_unit() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_951, "1.0 MB"),
            (486_000_000, "486.0 MB"),
            (1_234_000_000, "1.23 GB"),
            (u64::MAX, "18446.74 PB"),
        ];
        for (given, want) in cases {
            assert_eq!(bytes(given), want);
        }
    }

    #[test]
    fn rates_keep_two_to_three_digits() {
        assert_eq!(rate(0.0), "0 B/s");
        assert_eq!(rate(4.24e6), "4.2 MB/s");
        assert_eq!(rate(1.15e8), "115 MB/s");
        assert_eq!(rate(9.999e8), "1.00 GB/s");
        assert_eq!(rate(f64::NAN), "- B/s");
    }

    #[test]
    fn durations_never_read_60_seconds() {
        let cases = [
            (0.42, "0.42 s"),
            (7.34, "7.3 s"),
            (59.7, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (7620.0, "2 h 07 min"),
        ];
        for (given, want) in cases {
            assert_eq!(duration(Duration::from_secs_f64(given)), want);
        }
    }

    #[test]
    fn time_left_is_whole_seconds_and_never_none() {
        assert_eq!(time_left(Duration::from_millis(3)), "1 s");
        assert_eq!(time_left(Duration::from_millis(3001)), "4 s");
        assert_eq!(time_left(Duration::from_secs(61)), "1 min 01 s");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!((count(7), count(999), count(1000), count(1234567)).3, "1,234,567");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(4612, "chunk"), "4,612 chunks");
    }

    #[test]
    fn a_hundred_per_cent_means_all() {
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(5, 5), 100);
        assert_eq!(percent(0, 0), 100);
    }

    #[test]
    fn long_paths_keep_their_end_and_lose_control_characters() {
        assert_eq!(path_tail("short", 10), "short");
        assert_eq!(path_tail("folder/model-00001.safetensors", 12), "…safetensors");
        assert_eq!(path_tail("a\u{1b}[31m", 10), "a?[31m");
    }

    #[test]
    fn names_that_are_cut_stay_different() {
        let shards: Vec<String> = (1..=3).map(|i| format!("model-0000{i}-of-00006.safetensors")).collect();
        let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
        assert_eq!(path_names(&shards, 16), ["model-00001…", "model-00002…", "model-00003…"]);
        assert_eq!(path_names(&shards, 8), ["…-00001…", "…-00002…", "…-00003…"]);
        assert_eq!(path_names(&shards, 40), shards);
        assert_eq!(path_names(&shards[..1], 16), ["…006.safetensors"]);
        let mixed = ["config.json", shards[0], shards[1]];
        assert_eq!(path_names(&mixed, 16), ["config.json", "model-00001…", "model-00002…"]);
        let folders = ["unet/model.safetensors", "vae/model.safetensors"];
        assert_eq!(path_names(&folders, 16), ["unet…", "vae…"]);
        assert_eq!(path_names(&["a.bin", "model-1.bin"], 6), ["a.bin", "…1.bin"]);
        assert!(path_names(&[], 5).is_empty());
        for width in 1..40 {
            assert!(path_names(&shards, width).iter().all(|name| name.chars().count() <= width), "{width}");
        }
    }
}
