//! The configuration file: `$ZEST_CONFIG`, else `$XDG_CONFIG_HOME/zest/config.toml`, else `~/.config/zest/config.toml`.
//!
//! Keys are flags without their dashes. At the top they hold for every command that has the flag, in a table for the command
//! of that name alone. Values are texts, numbers, `true` or `false`; flags that may be repeated take lists of them.

use clap::{Arg, ArgAction, Command};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Names the file, where it is not in its usual place.
const PLACE: &str = "ZEST_CONFIG";

/// A name is offered for another if no more than this part of its letters differ: a third. Ours.
const CHANGES_PART: usize = 3;

/// Largest file read: 1 MiB. One of a hundred trackers has ten kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was read; nothing if there is no file.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    path: PathBuf,
    table: Table,
}

/// What is wrong with it.
#[derive(Debug)]
pub(crate) struct FileError {
    path: PathBuf,
    what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// Where the file is, or would be. `None` without a home.
pub(crate) fn place() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set(PLACE) {
        return Some(path);
    }
    let config = match set("XDG_CONFIG_HOME").filter(|path| path.is_absolute()) {
        Some(config) => config,
        None => std::env::home_dir()?.join(".config"),
    };
    Some(config.join("zest").join("config.toml"))
}

impl File {
    /// Reads the file of this user.
    ///
    /// # Errors
    /// If it is there and cannot be read, or is no TOML. One that [`PLACE`] names has to be there.
    pub(crate) fn read() -> Result<Self, FileError> {
        let Some(path) = place() else { return Ok(Self::default()) };
        let wrong = |what: String| FileError { path: path.clone(), what };
        let meta = match std::fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os(PLACE).is_none() =>
            {
                return Ok(Self { path, ..Self::default() });
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
            return Err(wrong(format!("no file of at most {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        Self::from_text(&path, &text)
    }

    /// What stands in the file at `path`.
    ///
    /// # Errors
    /// If it is no TOML.
    pub(crate) fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, FileError> {
        let path = path.as_ref().to_owned();
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { path, table }),
            Err(error) => {
                let line = error
                    .span()
                    .map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
                let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                Err(FileError { path, what: format!("{line}{}", error.message()) })
            }
        }
    }

    /// Where it is, or would be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The values of a flag for a command, and the key they stand under.
    pub(super) fn values(&self, command: &str, arg: &Arg) -> Option<(String, Vec<String>)> {
        let get = |table: &Table| {
            let (key, value) = table.iter().find(|(key, _)| is_key_of(key, arg))?;
            Some((key.clone(), words(value)?))
        };
        if let Some((key, values)) = self.table.get(command).and_then(Value::as_table).and_then(get) {
            return Some((format!("{command}.{key}"), values));
        }
        get(&self.table)
    }

    /// Refuses keys that no flag has and values that no flag can take. One file is for both programs.
    ///
    /// # Errors
    /// Names the first of them.
    pub(super) fn check(&self) -> Result<(), FileError> {
        let wrong = |what: String| FileError { path: self.path.clone(), what };
        if self.table.is_empty() {
            return Ok(());
        }
        let commands = super::commands();
        for (key, value) in &self.table {
            let Value::Table(table) = value else {
                check_one(key, value, &commands).map_err(&wrong)?;
                continue;
            };
            let Some(command) = commands.iter().find(|command| command.get_name() == key) else {
                let nearest = nearest(key, commands.iter().map(Command::get_name));
                return Err(wrong(format!("[{key}] is no command{nearest}")));
            };
            for (key, value) in table {
                check_one(key, value, std::slice::from_ref(command)).map_err(&wrong)?;
            }
        }
        Ok(())
    }
}

/// Whether a key means this flag: its name, and of one that may be repeated the plural, too.
fn is_key_of(key: &str, arg: &Arg) -> bool {
    let many = matches!(arg.get_action(), ArgAction::Append);
    arg.get_long().is_some_and(|long| key == long || many && key.strip_suffix('s') == Some(long))
}

fn known<'a>(commands: &'a [Command], key: &str) -> Option<&'a Arg> {
    commands.iter().find_map(|command| super::flags(command).find(|arg| is_key_of(key, arg)))
}

/// Whether one of the commands has this flag, and takes such values.
fn check_one(key: &str, value: &Value, commands: &[Command]) -> Result<(), String> {
    if key == "token" {
        return Err("a token has no place here: set HF_TOKEN, or use `hf auth login`".to_owned());
    }
    let of = match commands {
        [one] => format!("{} has no flag --{key}", one.get_name()),
        _ => format!("no command has a flag --{key}"),
    };
    let Some(arg) = known(commands, key) else {
        let dashes = key.replace('_', "-");
        let hint = dashes != key && known(commands, &dashes).is_some();
        let flags = commands.iter().flat_map(super::flags).filter_map(Arg::get_long);
        return Err(match hint {
            true => format!("{key}: write {dashes}"),
            false => format!("{key}: {of}{}", nearest(&dashes, flags)),
        });
    };
    let values = words(value).ok_or_else(|| {
        format!("{key} is {}: a text, a number, true or false is wanted, or a list of them", value.type_str())
    })?;
    if matches!(arg.get_action(), ArgAction::SetTrue) && !matches!(value, Value::Boolean(_)) {
        return Err(format!("{key} is {}: true or false is wanted", values.join(",")));
    }
    if value.is_array() && !matches!(arg.get_action(), ArgAction::Append) {
        return Err(format!("{key} is a list, and --{key} takes one value"));
    }
    Ok(())
}

/// What may have been meant, as words that follow; nothing if no name is like it.
fn nearest<'a>(mistyped: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = names.map(|name| (changes(mistyped, name), name)).min();
    match near.filter(|(changes, name)| *changes <= name.len().div_ceil(CHANGES_PART)) {
        Some((_, name)) => format!(" (is {name} meant?)"),
        None => String::new(),
    }
}

/// Letters to add, leave out or replace until one word is the other (Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = before + usize::from(letter != *other);
            before = row[column + 1];
            row[column + 1] = replaced.min(before + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// A value as it would be typed. `None` for what no flag takes.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Boolean(yes) => Some(vec![yes.to_string()]),
        Value::Array(values) => {
            let each = values.iter().map(|value| match value {
                Value::String(_) | Value::Integer(_) => words(value)?.pop(),
                _ => None,
            });
            each.collect()
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}
