//! How a command fails: a kind with its exit code, what went wrong, and what to do next.

use serde_json::json;
use std::fmt;
use std::time::Duration;
use zest_runtime_tokio::FileFailure;

/// Kinds of failure, each with its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything without a code of its own.
    Other,
    /// The command line does not make sense.
    Usage,
    /// No valid token, or no access to a gated repository.
    Auth,
    /// No such repository, revision or file.
    NotFound,
    /// Offline, or nobody could be reached.
    Network,
    /// Bytes are not what the Hub says they are.
    Verify,
    /// No room, no permission, or an I/O error.
    Disk,
    /// A file cannot be stored under its name, or something else stands in its place.
    Place,
    /// Stopped by the user.
    Interrupted,
    /// Whoever read standard output has seen enough: nothing is said of it.
    Unread,
}

impl Kind {
    /// The kind that a word of [`Kind::word`] stands for.
    pub(crate) fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.word() == word).unwrap_or(Self::Other)
    }

    /// Every kind, in the order of the exit codes.
    const ALL: [Self; 10] = [
        Self::Other,
        Self::Usage,
        Self::Auth,
        Self::NotFound,
        Self::Network,
        Self::Verify,
        Self::Disk,
        Self::Place,
        Self::Interrupted,
        Self::Unread,
    ];

    /// The process's exit code. 130 is what shells report for a program that Ctrl-C ended (128 + SIGINT), 141 for one that
    /// nobody read any more (128 + SIGPIPE).
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Auth => 3,
            Self::NotFound => 4,
            Self::Network => 5,
            Self::Verify => 6,
            Self::Disk => 7,
            Self::Place => 8,
            Self::Interrupted => 130,
            Self::Unread => 141,
        }
    }

    /// The word that stands for the kind in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Auth => "auth",
            Self::NotFound => "not-found",
            Self::Network => "network",
            Self::Verify => "verify",
            Self::Disk => "disk",
            Self::Place => "place",
            Self::Interrupted => "interrupted",
            Self::Unread => "unread",
        }
    }
}

/// A command's failure, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What went wrong, lower case, with values.
    pub(crate) message: String,
    /// What the user can do next.
    pub(crate) hint: Option<String>,
    /// How long a server asks us to stay away, if that is what went wrong and it said so.
    pub(crate) retry_after: Option<Duration>,
    /// The files that could not be had, where others were.
    pub(crate) files: Vec<FileFailure>,
    /// There is no such repository, or none that is shown to us.
    pub(crate) no_repo: bool,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            hint: None,
            retry_after: None,
            files: Vec::new(),
            no_repo: false,
        }
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// One JSON object on one line: `{"error":{"kind","message","hint","exit_code"}}`, `retry_after_s` where a server asked for a
    /// pause, and `files` (each `path`, `kind`, `message`) where some could not be had and the others are in place.
    pub(crate) fn to_json(&self) -> String {
        let mut error = json!({
            "kind": self.kind.word(),
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.kind.exit_code(),
        });
        if let Some(wait) = self.retry_after {
            error["retry_after_s"] = json!(wait.as_secs_f64());
        }
        if !self.files.is_empty() {
            error["files"] = json!(self.files);
        }
        json!({ "error": error }).to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

/// Turns an I/O error of the command itself (its own folders, standard output) into a failure that names the
/// thing concerned.
pub(crate) fn disk(what: impl fmt::Display, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Disk, format_args!("{what}: {error}"))
}

/// Standard output takes no more: it is full, or nobody reads it, as after `| head`.
pub(crate) fn output(error: &std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::BrokenPipe => Kind::Unread,
        _ => Kind::Other,
    };
    Failure::new(kind, format_args!("standard output: {error}"))
}

/// Whatever a pull runs into while it stops, the user stopped it.
pub(crate) fn interrupted(failure: Failure) -> Failure {
    let hint = "run the same command again to go on where it stopped: what is proven is kept";
    match failure.kind {
        Kind::Interrupted => Failure::new(Kind::Interrupted, "interrupted").hint(hint),
        _ => Failure::new(Kind::Interrupted, format_args!("interrupted ({failure})")).hint(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_exit_code_and_word() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        let mut words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 130, 141]);
        codes.dedup();
        words.sort_unstable();
        words.dedup();
        assert_eq!((codes.len(), words.len()), (10, 10));
        assert!(Kind::ALL.iter().all(|kind| Kind::of_word(kind.word()) == *kind));
        assert_eq!(Kind::of_word("new"), Kind::Other);
    }

    #[test]
    fn json_keeps_kind_message_hint_and_code() {
        let failure = Failure::new(Kind::NotFound, "no file \"x\"").hint("look again");
        let value: serde_json::Value = serde_json::from_str(&failure.to_json()).expect("valid JSON");
        assert_eq!(value["error"]["kind"], "not-found");
        assert_eq!(value["error"]["message"], "no file \"x\"");
        assert_eq!(value["error"]["hint"], "look again");
        assert_eq!(value["error"]["exit_code"], 4);
        assert_eq!(value["error"].get("retry_after_s"), None);
    }

    #[test]
    fn json_lists_the_files_that_could_not_be_had() {
        let mut failure = Failure::new(Kind::Place, "2 of 3 files could not be had");
        let file = |path: &str, kind: Kind| FileFailure {
            path: path.to_owned(),
            kind: kind.word().to_owned(),
            message: "why".to_owned(),
        };
        failure.files = vec![file("a \"b\".txt", Kind::Place), file("c", Kind::Verify)];
        let value: serde_json::Value = serde_json::from_str(&failure.to_json()).expect("valid JSON");
        let want = json!([
            {"path": "a \"b\".txt", "kind": "place", "message": "why"},
            {"path": "c", "kind": "verify", "message": "why"},
        ]);
        assert_eq!(value["error"]["files"], want);
    }

    #[test]
    fn json_says_how_long_a_server_asked_us_to_stay_away() {
        let mut failure = Failure::new(Kind::Network, "too many requests");
        failure.retry_after = Some(Duration::from_millis(12_500));
        let value: serde_json::Value = serde_json::from_str(&failure.to_json()).expect("valid JSON");
        assert_eq!(value["error"]["retry_after_s"], 12.5);
    }

    #[test]
    fn a_failure_while_stopping_is_still_an_interruption() {
        let failure = interrupted(Failure::new(Kind::Network, "no route"));
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::Interrupted, "interrupted (no route)"));
    }
}
