//! The log of a daemon in the background: lines with the time, in a file that does not grow for ever.

use crate::DaemonError;
use crate::os;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A log that is longer is set aside: 5 MiB, weeks of an ordinary daemon.
pub const LOG_BYTES_MAX: u64 = 5 << 20;

/// Logs that were set aside and are kept: 2, as `zest.log.1` (the newer) and `zest.log.2`.
pub const LOGS_KEPT: u32 = 2;

/// A log. For its owner alone, as it names what is fetched.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    bytes_max: u64,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens it, or begins it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path) -> Result<Self, DaemonError> {
        Self::with_limit(path, LOG_BYTES_MAX)
    }

    fn with_limit(path: &Path, bytes_max: u64) -> Result<Self, DaemonError> {
        let open = Mutex::new(open(path).map_err(DaemonError::file(path))?);
        Ok(Self { path: path.to_owned(), bytes_max, open })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line. A full disk costs the line and nothing else.
    pub fn line(&self, text: &str) {
        let text = format!("{} {text}\n", timestamp(SystemTime::now()));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes + text.len() as u64 > self.bytes_max && open.bytes > 0 {
            self.set_aside(&mut open);
        }
        if open.file.write_all(text.as_bytes()).is_ok() {
            open.bytes += text.len() as u64;
        }
    }

    fn set_aside(&self, now: &mut Open) {
        let old = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..LOGS_KEPT).rev() {
            let _not_there = std::fs::rename(old(number), old(number + 1));
        }
        if std::fs::rename(&self.path, old(1)).is_ok()
            && let Ok(fresh) = open(&self.path)
        {
            *now = fresh;
        }
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let file = os::follow_no_link(os::for_owner(&mut options)).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes })
}

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / DAY_S, since.as_secs() % DAY_S);
    // Days since 1 March of year 0, in eras of 400 years (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let milli = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_log_is_set_aside_when_it_is_long_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("zest.log");
        let log = LogFile::with_limit(&path, 100).expect("writable");
        for number in 0..20 {
            log.line(&format!("line number {number:03}"));
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .expect("there")
            .map(|entry| entry.expect("there").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["zest.log", "zest.log.1", "zest.log.2"]);
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(text.ends_with("line number 019\n") && text.len() <= 100, "{text}");
        // Whoever opens it again goes on.
        LogFile::with_limit(&path, 1000).expect("writable").line("more");
        assert!(std::fs::read_to_string(&path).expect("there").starts_with(&text));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }
}
