//! `zest config`: where the file is, what it says, and which value comes from where.

use super::{File, FileError, Setting, Source, Variables, file, flags, setting, variable};
use crate::args::{ConfigAction, ConfigArgs};
use crate::failure::{Failure, Kind};
use crate::ui::Ui;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What a new file says. Every line is a comment: a file that is only looked at changes nothing.
const TEMPLATE: &str = "\
# Flags of zest that are always meant. Keys are flags without dashes; what is typed beats what stands here.
#
# max-upload = \"10M\"                  # upload to peers at most this many bytes per second
# upload-budget = \"20G\"               # and this many per day
# peer = [\"seedbox.lan\"]              # ask these machines first
# tracker = [\"udp://tracker.example:6969\"]
# lan-only = true
#
# [pull]                               # for one command alone
# policy = \"spare-origin\"
";

/// # Errors
/// If the file cannot be read, or says what no flag takes.
pub(crate) fn run(args: ConfigArgs, ui: &Ui) -> Result<(), Failure> {
    match args.action {
        ConfigAction::Show { command } => show(command.as_deref(), ui),
        ConfigAction::Path => {
            let path = file::place().ok_or_else(homeless)?;
            match ui.json() {
                true => {
                    ui.data(&json!({"path": path.to_string_lossy(), "exists": path.exists()}).to_string())
                }
                false => ui.path(&path),
            }
        }
        ConfigAction::Edit => edit(ui),
    }
}

fn homeless() -> Failure {
    Failure::new(Kind::Usage, "this user has no home folder").hint("set ZEST_CONFIG to the path of a file")
}

fn wrong(error: &FileError) -> Failure {
    Failure::new(Kind::Usage, error.to_string()).hint("`zest config edit` opens it")
}

/// One flag of one command, and what is known of it.
struct Row {
    command: String,
    flag: String,
    values: Vec<String>,
    from: Option<Source>,
}

fn show(only: Option<&str>, ui: &Ui) -> Result<(), Failure> {
    // What is wrong with it is what somebody may look for here.
    let (file, problem) = match File::read() {
        Ok(file) => {
            let problem = file.check().err();
            (file, problem)
        }
        Err(error) => (File::default(), Some(error)),
    };
    let problem = problem.map(|error| error.to_string());
    let variables = super::variables();
    let rows = rows(only, &file, &variables)?;
    let unknown = unknown(&variables);
    let path = file::place().unwrap_or_default();
    if ui.json() {
        let rows: Vec<Value> = rows.iter().map(Row::document).collect();
        let document = json!({
            "file": path.to_string_lossy(),
            "exists": path.exists(),
            "problem": problem,
            "values": rows,
            "unknown_variables": unknown,
        });
        return ui.data(&document.to_string());
    }
    let there = if path.exists() { "" } else { " (not there)" };
    ui.text(&format!("file: {}{there}", path.display()))?;
    if let Some(problem) = problem {
        ui.warn(format!("{problem}: commands that use it refuse it (`zest config edit`)"));
    }
    for name in &unknown {
        ui.text(&format!("{name} is set and means nothing to zest"))?;
    }
    let width = rows.iter().map(|row| row.name().len()).max().unwrap_or(0);
    let value_width = rows.iter().map(|row| row.values.join(", ").len()).max().unwrap_or(0).min(40);
    for row in &rows {
        let from = match &row.from {
            Some(source) => source.words(&file),
            None => "default".to_owned(),
        };
        ui.text(&format!("{:<width$}  {:<value_width$}  {from}", row.name(), row.values.join(", ")))?;
    }
    if rows.is_empty() {
        ui.say(
            "nothing is set: flags have their defaults, `zest config show pull` lists those of one command",
        );
    }
    Ok(())
}

impl Row {
    fn name(&self) -> String {
        format!("{} --{}", self.command, self.flag)
    }

    fn document(&self) -> Value {
        let from = match &self.from {
            Some(Source::Variable(name)) => json!({"kind": "variable", "name": name}),
            Some(Source::File(key)) => json!({"kind": "file", "key": key}),
            None => json!({"kind": "default"}),
        };
        json!({"command": self.command, "flag": self.flag, "values": self.values, "from": from})
    }
}

fn rows(only: Option<&str>, file: &File, variables: &Variables) -> Result<Vec<Row>, Failure> {
    let usage = |text: String| Failure::new(Kind::Usage, text);
    let commands = super::commands();
    if let Some(name) = only
        && !commands.iter().any(|command| command.get_name() == name)
    {
        return Err(usage(format!("{name:?} is no command")).hint("`zest help` lists them"));
    }
    let mut rows = Vec::new();
    for command in &commands {
        if only.is_some_and(|name| command.get_name() != name) {
            continue;
        }
        for arg in flags(command) {
            let set = setting(command.get_name(), arg, variables, file).map_err(usage)?;
            let (values, from) = match set {
                Some(Setting { values, source, .. }) => (values, Some(source)),
                None if only.is_some() => (defaults(arg), None),
                None => continue,
            };
            let values = values.iter().map(|value| without_secrets(value)).collect();
            let flag = arg.get_long().unwrap_or_default().to_owned();
            rows.push(Row { command: command.get_name().to_owned(), flag, values, from });
        }
    }
    Ok(rows)
}

fn defaults(arg: &clap::Arg) -> Vec<String> {
    arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect()
}

/// Variables that look as if they were meant for zest, and are not read.
fn unknown(variables: &Variables) -> Vec<String> {
    /// Those that are no flags.
    const OTHER: [&str; 4] = ["ZEST_CACHE_DIR", "ZEST_CONFIG", "ZEST_LOG", "ZEST_TOKEN"];
    let commands = super::commands();
    let known =
        |name: &str| commands.iter().flat_map(flags).any(|arg| variable(arg).as_deref() == Some(name));
    let names = variables.keys().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !OTHER.contains(&name.as_str()) && !known(name)).collect()
}

/// A value for the screen: what stands before the `@` of an address, and a tracker's passkey, are nobody's business.
fn without_secrets(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("***@{host}"));
    let path = path.split_once('?').map_or(path.to_owned(), |(path, _)| format!("{path}?***"));
    let hide = |part: &str| match part.len() >= PASSKEY_BYTES_MIN
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        true => "***".to_owned(),
        false => part.to_owned(),
    };
    let path: Vec<String> = path.split('/').map(hide).collect();
    format!("{scheme}://{host}{}", path.join("/"))
}

/// A part of a tracker's path that is this long and has letters and digits alone is taken for a passkey (they have 32).
const PASSKEY_BYTES_MIN: usize = 16;

fn edit(ui: &Ui) -> Result<(), Failure> {
    let path = file::place().ok_or_else(homeless)?;
    create(&path).map_err(|error| Failure::new(Kind::Disk, format!("{}: {error}", path.display())))?;
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    // An editor may be several words, as `code --wait`: the shell takes it apart, and the path stays one argument.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{} \"$1\"", editor.to_string_lossy()), "sh"])
        .arg(&path)
        .status()
        .map_err(|error| Failure::new(Kind::Other, format!("no shell: {error}")))?;
    if !status.success() {
        let text = format!("{} ended with {status}", editor.to_string_lossy());
        return Err(Failure::new(Kind::Other, text).hint("set EDITOR to the editor you use"));
    }
    let file = File::read().and_then(|file| file.check().map(|()| file)).map_err(|error| wrong(&error))?;
    let set = keys_set(&rows(None, &file, &Variables::new())?);
    let set = crate::ui::units::counted(set as u64, "key");
    ui.say(format!("{} is in order: {set} set", path.display()));
    Ok(())
}

/// Keys of the file that set something: one at the top holds for several commands.
fn keys_set(rows: &[Row]) -> usize {
    let key = |row: &Row| match &row.from {
        Some(Source::File(key)) => Some(key.clone()),
        _ => None,
    };
    rows.iter().filter_map(key).collect::<BTreeSet<_>>().len()
}

/// Makes the file if it is not there, for its owner alone.
fn create(path: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    match crate::os::for_owner(options.write(true).create_new(true)).open(path) {
        Ok(mut file) => file.write_all(TEMPLATE.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_changes_nothing_and_is_right_without_its_hashes() {
        let file = File::from_text("/c", TEMPLATE).expect("TOML");
        assert!(rows(None, &file, &Variables::new()).is_ok_and(|rows| rows.is_empty()));
        let (_, meant) = TEMPLATE.split_once("#\n").expect("an empty line");
        let open: String =
            meant.lines().map(|line| format!("{}\n", line.trim_start_matches(['#', ' ']))).collect();
        let file = File::from_text("/c", &open).unwrap_or_else(|error| panic!("{error}: {open}"));
        file.check().unwrap_or_else(|error| panic!("{error}: {open}"));
        let rows = rows(None, &file, &Variables::new()).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(rows.iter().any(|row| row.name() == "pull --policy"), "{open}");
    }

    #[test]
    fn a_key_that_holds_for_several_commands_is_one_key() {
        let text = "max-upload = \"10M\"\n[pull]\npolicy = \"spare-origin\"\n[serve]\npolicy = \"fastest\"\n";
        let file = File::from_text("/c", text).expect("TOML");
        let rows = rows(None, &file, &Variables::new()).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(rows.len() > 3, "the first is a flag of several commands");
        assert_eq!(keys_set(&rows), 3);
    }

    #[test]
    fn a_shown_value_has_no_secret() {
        for (given, want) in [
            ("https://user:pass@hub.example/x", "https://***@hub.example/x"),
            ("https://t.example/0123456789abcdef0123456789abcdef/announce", "https://t.example/***/announce"),
            ("udp://t.example:6969/announce?passkey=x", "udp://t.example:6969/announce?***"),
            ("10M", "10M"),
        ] {
            assert_eq!(without_secrets(given), want);
        }
    }
}
