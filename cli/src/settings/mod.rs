//! Where flags have their values from: the command line, else a variable of the environment, else the configuration file, else
//! the default.
//!
//! Flags are not listed a second time: what clap knows of a command is asked for every one of its flags. A value found is made
//! the flag's default, so that it is read, checked and refused by the same code as one that was typed, while conflicts are
//! between typed flags alone. A flag that contradicts a typed one is not looked for.

mod command;
mod file;

pub(crate) use command::run;
pub(crate) use file::{File, FileError};

use crate::commands::Cli;
use crate::seed::SeedArgs;
use clap::builder::OsStr as Word;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, parser::ValueSource};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What the names of variables begin with.
const PREFIX: &str = "ZEST_";

/// Flags that have no variable and no key: tokens belong to neither (`HF_TOKEN` and `zest`'s own variable are read elsewhere),
/// and the others ask for a text.
const NEITHER: [&str; 3] = ["token", "help", "version"];

/// Flags without a variable, as one of that name means something else: where zest's own cache is.
const NO_VARIABLE: [&str; 1] = ["cache_dir"];

/// Commands that help where something is wrong, or run another one whatever is wrong, and need no value to be right: what the file
/// says wrong is passed over for them, with a word.
const HELPERS: [&str; 5] = ["stop", "status", "logs", "doctor", "run"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The variable of this name.
    Variable(String),
    /// The configuration file, under this key.
    File(String),
}

/// Values of one flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The flag's name in clap.
    pub(crate) id: String,
    /// Its name on the command line, without dashes.
    pub(crate) flag: String,
    pub(crate) values: Vec<String>,
    pub(crate) source: Source,
}

/// The environment, as far as it matters here.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// The environment of this process.
pub(crate) fn variables() -> Variables {
    std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX)).collect()
}

/// Reads the command line of a program, and for flags that it does not have the variables and the file. Gives what is wrong with
/// the file, too, where that stops nothing.
///
/// # Errors
/// As clap's; a value that does not fit is said to come from where it comes from.
pub(crate) fn parse<P: CommandFactory + FromArgMatches>(
    arguments: &[OsString],
    variables: &Variables,
    file: Result<File, FileError>,
) -> Result<(P, Option<String>), clap::Error> {
    let plain = P::command();
    // Whatever is wrong with the line itself is said first, and help is not kept from anybody by a broken file.
    let typed = plain.clone().ignore_errors(true).try_get_matches_from(arguments)?;
    if needs_no_settings(&typed) {
        return Ok((P::from_arg_matches(&plain.try_get_matches_from(arguments)?)?, None));
    }
    let fail = |text: String| plain.clone().error(ErrorKind::ValueValidation, text);
    if typed.subcommand_name().is_some_and(|name| HELPERS.contains(&name)) {
        let (file, wrong) = match file {
            Ok(file) => {
                let wrong = file.check().err();
                (file, wrong)
            }
            Err(wrong) => (File::default(), Some(wrong)),
        };
        let wrong = wrong.map(|wrong| wrong.to_string());
        let refused = match with_settings(arguments, &plain, &typed, variables, &file) {
            // What it says that is known still holds: not to ask the DHT, say.
            Ok(parsed) => {
                let said = wrong.map(|wrong| format!("{wrong}: passed over here, other commands refuse it"));
                return Ok((parsed, said));
            }
            Err(refused) => refused,
        };
        // Typed wrong, or in a variable: without the file it is the same.
        let parsed = with_settings(arguments, &plain, &typed, variables, &File::default())?;
        let wrong = wrong.unwrap_or_else(|| reason(&refused));
        return Ok((parsed, Some(format!("{wrong}: nothing of the configuration file is used"))));
    }
    let file = file.map_err(|error| fail(error.to_string()))?;
    file.check().map_err(|error| fail(error.to_string()))?;
    with_settings(arguments, &plain, &typed, variables, &file).map(|parsed| (parsed, None))
}

/// The same with a file that was read.
fn with_settings<P: FromArgMatches>(
    arguments: &[OsString],
    plain: &Command,
    typed: &ArgMatches,
    variables: &Variables,
    file: &File,
) -> Result<P, clap::Error> {
    let fail = |text: String| plain.clone().error(ErrorKind::ValueValidation, text);
    let settings = found(plain, typed, variables, file).map_err(&fail)?;
    let read = |settings: &[Setting]| with(plain.clone(), typed, settings).try_get_matches_from(arguments);
    let error = match read(&settings) {
        Ok(matches) => return P::from_arg_matches(&matches),
        Err(error) => error,
    };
    if let Err(typed_wrong) = plain.clone().try_get_matches_from(arguments)
        && typed_wrong.kind() != ErrorKind::MissingRequiredArgument
    {
        return Err(typed_wrong);
    }
    // One value at a time shows whose fault it is.
    for setting in &settings {
        let alone = read(std::slice::from_ref(setting));
        if let Err(wrong) = alone
            && matches!(wrong.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
        {
            return Err(fail(format!("{}: {}", setting.source.words(file), reason(&wrong))));
        }
    }
    Err(error)
}

impl Source {
    /// For people.
    pub(crate) fn words(&self, file: &File) -> String {
        match self {
            Self::Variable(name) => name.clone(),
            Self::File(key) => format!("{key} in {}", file.path().display()),
        }
    }
}

/// What clap objects to, without the name of the flag and the hint, which speak of a command line.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// `zest config` mends the file, so it must run when the file is broken; the other texts do not depend on it.
fn needs_no_settings(typed: &ArgMatches) -> bool {
    matches!(typed.subcommand_name(), Some("config" | "version" | "completions" | "man" | "help"))
}

/// Every command of both programs, as clap has built it.
fn commands() -> Vec<Command> {
    let (mut zest, mut seed) = (Cli::command(), SeedArgs::command());
    zest.build();
    seed.build();
    let own = zest.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    own.cloned().chain([seed]).collect()
}

/// The command that was typed, or the program itself where it has none.
fn chosen<'a>(plain: &'a Command, typed: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    match typed.subcommand().and_then(|(name, matches)| Some((plain.find_subcommand(name)?, matches))) {
        Some(sub) => sub,
        None => (plain, typed),
    }
}

/// The settings for what the line does not say.
fn found(
    plain: &Command,
    typed: &ArgMatches,
    variables: &Variables,
    file: &File,
) -> Result<Vec<Setting>, String> {
    let mut built = plain.clone();
    built.build();
    let (command, matches) = chosen(&built, typed);
    let is_typed = |arg: &Arg| {
        let id = arg.get_id().as_str();
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let given: Vec<&Arg> = command.get_arguments().filter(|arg| is_typed(arg)).collect();
    let mut settings = Vec::new();
    for arg in flags(command) {
        let contradicts = |other: &&Arg| {
            let conflicts = |a: &Arg, b: &Arg| {
                command.get_arg_conflicts_with(a).iter().any(|rival| rival.get_id() == b.get_id())
            };
            conflicts(arg, other) || conflicts(other, arg)
        };
        if is_typed(arg) || given.iter().any(contradicts) {
            continue;
        }
        settings.extend(setting(command.get_name(), arg, variables, file)?);
    }
    Ok(settings)
}

/// What variable or file say of one flag of a command.
pub(crate) fn setting(
    command: &str,
    arg: &Arg,
    variables: &Variables,
    file: &File,
) -> Result<Option<Setting>, String> {
    let Some(flag) = arg.get_long() else { return Ok(None) };
    let make =
        |values, source| Setting { id: arg.get_id().to_string(), flag: flag.to_owned(), values, source };
    if let Some(name) = variable(arg)
        && let Some(value) = variables.get(OsString::from(&name).as_os_str())
    {
        let value = value.to_str().ok_or_else(|| format!("{name} is not UTF-8"))?.trim();
        // Kubernetes names a service that is called zest so in every pod beside it.
        let foreign = flag == "port" && (value.starts_with("tcp://") || value.starts_with("udp://"));
        if !value.is_empty() && !foreign {
            let values = match arg.get_action() {
                ArgAction::Append => value.split(',').map(|part| part.trim().to_owned()).collect(),
                ArgAction::SetTrue => vec![truth(&name, value)?.to_string()],
                _ => vec![value.to_owned()],
            };
            return Ok(Some(make(values, Source::Variable(name))));
        }
    }
    let Some((key, values)) = file.values(command, arg) else { return Ok(None) };
    Ok(Some(make(values, Source::File(key))))
}

/// The flags of a command that can be set elsewhere.
pub(crate) fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        arg.get_long().is_some() && !arg.is_hide_set() && !NEITHER.contains(&arg.get_id().as_str())
    })
}

/// The variable that says the same as a flag.
pub(crate) fn variable(arg: &Arg) -> Option<String> {
    let long = arg.get_long()?;
    let id = arg.get_id().as_str();
    if NEITHER.contains(&id) || NO_VARIABLE.contains(&id) || arg.is_hide_set() {
        return None;
    }
    // Older than the rule.
    if long == "public-mirror" {
        return Some("ZEST_PUBLIC_MIRRORS".to_owned());
    }
    Some(format!("{PREFIX}{}", long.replace('-', "_").to_ascii_uppercase()))
}

/// Yes or no. Anything else is said, not guessed.
fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Ok(false),
        _ => Err(format!("{name} is {value:?}: true or false is wanted")),
    }
}

/// The program's definition with settings as defaults.
fn with(plain: Command, typed: &ArgMatches, settings: &[Setting]) -> Command {
    let set = |command: Command| {
        settings.iter().fold(command, |command, setting| {
            let values: Vec<Word> = setting.values.iter().cloned().map(Word::from).collect();
            if command.get_arguments().any(|arg| arg.get_id().as_str() == setting.id) {
                command.mut_arg(&setting.id, |arg| arg.required(false).default_values(values))
            } else {
                command
            }
        })
    };
    // A global flag belongs to the program, and is handed down to its commands.
    let plain = set(plain);
    match typed.subcommand_name() {
        Some(name) => plain.mut_subcommand(name, set),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{OriginPolicy, PullArgs};
    use crate::commands;

    fn line(text: &str) -> Vec<OsString> {
        std::iter::once("zest").chain(text.split_whitespace()).map(OsString::from).collect()
    }

    fn parsed(text: &str, vars: &[(&str, &str)], file: &str) -> Result<Cli, clap::Error> {
        let variables = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
        parse(&line(text), &variables, File::from_text("/etc/config.toml", file)).map(|(cli, _)| cli)
    }

    fn pull(text: &str, vars: &[(&str, &str)], file: &str) -> PullArgs {
        match parsed(text, vars, file).expect("a valid line").command {
            commands::Command::Pull(args) => *args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file() {
        let file = "max-upload = \"1M\"\n";
        assert_eq!(pull("pull a/b", &[], file).upload.max_upload, Some(1_000_000));
        let vars = [("ZEST_MAX_UPLOAD", "2M")];
        assert_eq!(pull("pull a/b", &vars, file).upload.max_upload, Some(2_000_000));
        assert_eq!(pull("pull a/b --max-upload 3M", &vars, file).upload.max_upload, Some(3_000_000));
    }

    #[test]
    fn a_table_is_for_one_command_and_beats_what_is_for_all() {
        let file = "policy = \"spare-origin\"\n[pull]\npolicy = \"fastest\"\nno-listen = true\n[seed]\nmax-upload = 1000000\n";
        let args = pull("pull a/b", &[], file);
        assert_eq!((args.policy, args.no_listen), (Some(OriginPolicy::Fastest), true));
        assert_eq!(args.upload.max_upload, None);
    }

    #[test]
    fn flags_that_may_be_repeated_take_lists() {
        let file = "peers = [\"10.0.0.5\", \"10.0.0.6:7000\"]\n";
        assert_eq!(pull("pull a/b", &[], file).peer, ["10.0.0.5:6881", "10.0.0.6:7000"]);
        let vars = [("ZEST_PEER", "a, b:1")];
        assert_eq!(pull("pull a/b", &vars, file).peer, ["a:6881", "b:1"]);
        assert_eq!(pull("pull a/b -p c", &vars, file).peer, ["c:6881"]);
        let mirrors = |text: &str| pull("pull a/b", &[], text).discovery.public_mirror;
        assert_eq!(
            mirrors("public-mirrors = [\"https://a.example\"]\n"),
            mirrors("public-mirror = \"https://a.example\"\n")
        );
    }

    #[test]
    fn what_contradicts_a_typed_flag_is_left_out() {
        let args = pull("pull a/b --listen 127.0.0.1", &[("ZEST_NO_LISTEN", "1")], "no-p2p = true\n");
        assert!(!args.no_listen && !args.no_p2p && args.listen.is_some());
        let args = pull("pull a/b --no-p2p", &[("ZEST_PEER", "a")], "");
        assert!(args.no_p2p && args.peer.is_empty());
    }

    #[test]
    fn switches_are_yes_or_no_and_nothing_else() {
        assert!(pull("pull a/b", &[("ZEST_NO_DHT", "1")], "").discovery.no_dht);
        assert!(!pull("pull a/b", &[("ZEST_NO_DHT", "0")], "no-dht = true\n").discovery.no_dht);
        assert!(!pull("pull a/b", &[("ZEST_NO_DHT", "")], "").discovery.no_dht);
        let error = parsed("pull a/b", &[("ZEST_NO_DHT", "maybe")], "").expect_err("no truth").to_string();
        assert!(error.contains("ZEST_NO_DHT is \"maybe\""), "{error}");
    }

    #[test]
    fn a_required_flag_may_come_from_elsewhere() {
        let cli = parsed("hub", &[], "[hub]\nroot = \"/srv\"\nport = 9000\n").expect("valid");
        let commands::Command::Hub(args) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!((args.root.to_str(), args.port), (Some("/srv"), 9000));
        assert!(parsed("hub", &[("ZEST_PORT", "tcp://10.0.0.1:6881"), ("ZEST_ROOT", "/x")], "").is_ok());
    }

    #[test]
    fn a_value_that_does_not_fit_is_blamed_on_where_it_stands() {
        let error = parsed("pull a/b", &[], "max-upload = \"10k\"\n").expect_err("too low").to_string();
        assert!(error.contains("max-upload in /etc/config.toml") && error.contains("262144"), "{error}");
        let error = parsed("pull a/b", &[("ZEST_POLICY", "slow")], "").expect_err("no policy").to_string();
        assert!(error.contains("ZEST_POLICY: ") && error.contains("slow"), "{error}");
    }

    #[test]
    fn global_flags_have_variables_and_keys_too() {
        assert!(parsed("pull a/b", &[], "json = true\n").expect("valid").json);
        assert_eq!(parsed("pull a/b", &[("ZEST_VERBOSE", "2")], "").expect("valid").verbose, 2);
        // Typed: what contradicts it is gone.
        let cli = parsed("pull a/b -q", &[("ZEST_VERBOSE", "2")], "").expect("valid");
        assert_eq!((cli.quiet, cli.verbose), (true, 0));
    }

    #[test]
    fn tokens_have_no_place_in_a_file_and_other_keys_must_be_flags() {
        for (file, want) in [
            ("token = \"hf_x\"", "HF_TOKEN"),
            ("max-uplaod = 1", "max-uplaod: no command has a flag --max-uplaod (is max-upload meant?)"),
            ("[pull]\nno-dth = true", "pull has no flag --no-dth (is no-dht meant?)"),
            ("[sevre]\nno-dht = true", "[sevre] is no command (is serve meant?)"),
            ("zzzzzz = 1", "no command has a flag --zzzzzz\n"),
            ("max_upload = 1", "max-upload"),
            ("[pul]\n", "pul"),
            ("[hub]\npolicy = \"fastest\"", "policy"),
            ("[demo]\nroot = 5", "root"),
            ("peer = [[1]]", "peer"),
            ("peer = 1.5", "peer"),
            ("peer = ", "line 1"),
        ] {
            let error = parsed("pull a/b", &[], file).expect_err(file).to_string();
            assert!(error.contains(want) && error.contains("/etc/config.toml"), "{file}: {error}");
            assert!(!error.contains("hf_x"), "{error}");
        }
    }

    #[test]
    fn help_and_mistakes_do_not_depend_on_the_file() {
        let error = parsed("pull --help", &[], "nonsense").expect_err("help");
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        let error = parsed("pull a/b --frob", &[], "max-upload = \"1M\"").expect_err("no such flag");
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        assert!(parsed("version", &[], "nonsense").is_ok());
    }

    #[test]
    fn what_helps_does_not_depend_on_the_file_and_says_what_is_wrong_with_it() {
        let said = |text: &str, file: &str| {
            let file = File::from_text("/etc/config.toml", file);
            parse::<Cli>(&line(text), &Variables::new(), file).expect("valid").1
        };
        for command in ["stop", "status", "logs", "doctor", "run -- true"] {
            for (file, want) in
                [("max-uplod = 1", "max-uplod"), ("nonsense", "line 1"), ("json = 5", "json is 5")]
            {
                let text = said(command, file).unwrap_or_default();
                assert!(
                    text.contains("/etc/config.toml") && text.contains(want),
                    "{command}, {file}: {text}"
                );
            }
            assert_eq!(said(command, "max-upload = \"10M\""), None);
        }
        let wrong = said("doctor", "[doctor]\nwait = 9000").unwrap_or_default();
        assert!(wrong.contains("doctor.wait in /etc/config.toml"), "{wrong}");
        let mistyped = parsed("status --frob", &[], "max-uplod = 1").expect_err("no such flag");
        assert_eq!(mistyped.kind(), ErrorKind::UnknownArgument);
        assert!(parsed("status", &[("ZEST_JSON", "maybe")], "max-uplod = 1").is_err());
    }

    #[test]
    fn every_flag_has_one_variable_and_no_two_commands_disagree_about_one() {
        let mut root = Cli::command();
        root.build();
        let mut actions: BTreeMap<String, bool> = BTreeMap::new();
        for command in root.get_subcommands() {
            for arg in flags(command) {
                let Some(name) = variable(arg) else { continue };
                let switch = arg.get_action().takes_values();
                assert_eq!(*actions.entry(name.clone()).or_insert(switch), switch, "{name}");
            }
        }
        assert!(actions.len() > 30, "{actions:?}");
    }
}
