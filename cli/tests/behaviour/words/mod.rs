//! What is said when something is typed wrong or goes wrong, and how it ends: one row each, a test for every row, and the same
//! rows as a page (`docs/messages.md`).

mod world;

use crate::common::{NOBODY, Server, command, folder, run, text};
use crate::refusals::{ENOSYS, EROFS, FLOCK, UNLINK, may_drop_rights, may_refuse, refusing, without_rights};
use crate::scripted_hub::{Answer, COMMIT, ListedFile, ScriptedHub, usual};
use std::fmt::Write as _;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use world::{FILES, World, has_an_address, lonely_tracker, model, model_answers};

pub(crate) use world::may_mount;

/// The page, from here.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/messages.md");

/// Above the table.
const PREFACE: &str = "\
# What is said when something is wrong

Each row is a test (`cli/tests/behaviour/words/`) that types the line and looks for these words and this exit code; \
`ZEST_SNAPSHOT=write cargo test -p zest --test behaviour -- messages_page` writes the page anew. `…` stands for what differs from \
machine to machine. What the codes mean: [using.md](using.md#exit-codes).

";

/// A situation.
struct Row {
    name: &'static str,
    situation: &'static str,
    /// What is typed, as on a shell.
    line: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
    never_says: &'static [&'static str],
    /// What this machine has to permit; where it does not, the row is not tried.
    needs: fn() -> bool,
    run: fn(&World) -> Output,
}

impl Row {
    fn check(&self) {
        if !(self.needs)() {
            return eprintln!("{}: skipped, this machine does not permit it", self.name);
        }
        let home = folder();
        let output = (self.run)(&World { home: home.path().to_owned(), line: self.line });
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(self.code), "{}: {all}", self.name);
        for words in self.says {
            let mut rest = all.as_str();
            for part in words.split('…') {
                let at =
                    rest.find(part).unwrap_or_else(|| panic!("{}: {words:?} is not said: {all}", self.name));
                rest = &rest[at + part.len()..];
            }
        }
        for words in self.never_says {
            assert!(!all.contains(words), "{}: {words:?} is said: {all}", self.name);
        }
    }

    fn as_line(&self) -> String {
        let quoted = |word: &&str| match word.contains([' ', '*']) || word.is_empty() {
            true => format!("'{word}'"),
            false => (*word).to_owned(),
        };
        let typed: Vec<String> = self.line.iter().map(quoted).collect();
        let escaped = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
        let says: Vec<String> = self.says.iter().map(|words| escaped(words)).collect();
        let line = format!("zest {}", typed.join(" "));
        format!("| {} | `{}` | {} | {} |", self.situation, line.trim_end(), says.join("<br>"), self.code)
    }
}

macro_rules! rows {
    ($($name:ident: $situation:literal, [$($word:literal),*] => $code:literal, $says:expr $(, never $never:expr)? $(, if $needs:expr)?; $run:expr;)*) => {
        const ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            situation: $situation,
            line: &[$($word),*],
            code: $code,
            says: &$says,
            never_says: rows!(@never $($never)?),
            needs: rows!(@needs $($needs)?),
            run: $run,
        }),*];

        $(#[test]
        fn $name() {
            ROWS.iter().find(|row| row.name == stringify!($name)).expect("a row").check();
        })*
    };
    (@never $never:expr) => { &$never };
    (@never) => { &[] };
    (@needs $needs:expr) => { $needs };
    (@needs) => { || true };
}

rows! {
    no_command: "Nothing is typed", [] => 2, ["Usage: zest", "zest demo"]; World::alone;
    a_command_of_another_program: "A command that is none", ["download", "org/name"] => 2,
        ["unrecognized subcommand 'download'"]; World::alone;
    no_repository: "No repository", ["pull"] => 2, ["<ORG/NAME>"]; World::alone;
    a_flag_that_is_none: "A flag that is none", ["pull", "org/name", "--frob"] => 2,
        ["unexpected argument '--frob'"]; World::alone;
    three_names: "A name with too many parts", ["pull", "a/b/c"] => 2, ["name a repository as ORG/NAME"]; World::alone;
    a_path_for_a_name: "A path where a name belongs", ["pull", "../etc"] => 2, ["name a repository as ORG/NAME"]; World::alone;
    a_port_that_is_none: "A port that is none", ["pull", "org/name", "--peer", "10.0.0.5:99999"] => 2,
        ["invalid value '10.0.0.5:99999' for '--peer"]; World::alone;
    a_rate_too_low: "A limit that cannot be kept", ["pull", "org/name", "--max-upload", "10k"] => 2,
        ["262144 bytes"]; World::alone;
    a_contradiction: "Two flags that contradict each other", ["pull", "org/name", "--no-p2p", "--peer", "10.0.0.5"] => 2,
        ["cannot be used with"]; World::alone;
    a_format_that_is_none: "A format that is none", ["pull", "org/name", "--format", "xml"] => 2,
        ["invalid value 'xml'", "human"]; World::alone;
    a_page_of_another_site: "The address of another Hub", ["pull", "https://example.com/org/name"] => 2,
        ["is of another Hub than", "HF_ENDPOINT"]; World::alone;
    a_page_without_files: "A page that has no files", ["pull", "https://huggingface.co/org/name/discussions/3"] => 2,
        ["/discussions is no page of files"]; World::alone;
    two_revisions: "Two revisions", ["pull", "hf://org/name@v1", "-r", "v2"] => 2,
        ["name two revisions", "say it once"]; World::alone;
    two_kinds: "Two kinds of repository", ["pull", "datasets/org/name", "--type", "model"] => 2,
        ["two different kinds of repository"]; World::alone;
    an_endpoint_that_is_none: "`HF_ENDPOINT=hub.lan`", ["pull", "org/name"] => 2,
        ["hub.lan"]; |world| run(&mut world.command("hub.lan"));
    a_variable_that_is_neither: "`ZEST_NO_LAN=maybe`", ["pull", "org/name"] => 2,
        ["ZEST_NO_LAN is \"maybe\": true or false is wanted"];
        |world| run(world.command(NOBODY).env("ZEST_NO_LAN", "maybe"));
    variables_that_are_empty: "`ZEST_MAX_UPLOAD=` and `ZEST_PUBLIC_MIRRORS=`: none of both", ["pull", "org/name"] => 0, ["Done: 2 files"];
        |world| {
        let hub = model();
        run(world.command(&hub.endpoint()).env("ZEST_MAX_UPLOAD", "").env("ZEST_PUBLIC_MIRRORS", ""))
    };
    a_filter_that_is_none: "`ZEST_LOG=zest_core=loud`", ["pull", "org/name"] => 0,
        ["ZEST_LOG is \"zest_core=loud\", not levels as in zest_core=debug,warn", "Done: 2 files"]; |world| {
        let hub = model();
        run(world.command(&hub.endpoint()).env("ZEST_LOG", "zest_core=loud"))
    };
    an_unknown_key: "An unknown key in the configuration file", ["pull", "org/name"] => 2, ["max_uplod"]; |world| {
        let file = world.home.join("config.toml");
        std::fs::write(&file, "max_uplod = \"1M\"\n").expect("written");
        run(world.command(NOBODY).env("ZEST_CONFIG", &file))
    };
    an_unknown_key_and_nothing_runs: "The same, and nothing runs that could be asked", ["status"] => 1,
        ["note: …config.toml: max_uplod: no command has a flag --max_uplod (is max-upload meant?): passed over here, other commands refuse it",
         "zest does not run in the background"];
        |world| run(&mut world.with_an_unknown_key());
    an_unknown_key_and_nothing_to_stop: "The same, and nothing runs that could be stopped", ["stop"] => 0,
        ["note: …config.toml: max_uplod", "No running zest server found."]; |world| run(&mut world.with_an_unknown_key());
    an_unknown_key_and_a_command: "The same, and a command is to run through zest", ["run", "--", "echo", "it runs"] => 0,
        ["note: …config.toml: max_uplod", "running without zest: zest did not start: …max_uplod", "it runs"], never ["error:"];
        |world| run(world.with_an_unknown_key().env("PATH", "/usr/bin:/bin"));
    an_unknown_key_is_shown: "The same, and somebody looks for it", ["config", "show"] => 0,
        ["file: …config.toml", "note: …config.toml: max_uplod: …", "commands that use it refuse it (`zest config edit`)", "pull --no-dht"];
        |world| run(&mut world.with_an_unknown_key());
    a_file_that_is_no_toml_is_shown: "The configuration file is no TOML", ["config", "show"] => 0,
        ["config.toml: line 1: …: commands that use it refuse it"]; |world| {
        let file = world.home.join("config.toml");
        std::fs::write(&file, "max-upload 1M\n").expect("written");
        run(world.command(NOBODY).env("ZEST_CONFIG", &file))
    };
    nobody_to_hand_over_to: "Nothing runs in the background", ["pull", "org/name", "--detach"] => 2,
        ["the pull cannot be handed over: zest does not run in the background", "`zest start` runs it there"]; World::alone;
    a_limit_that_is_not_the_daemons: "Zest runs in the background, without that limit", ["pull", "org/name", "--detach", "--max-download", "1M"] => 2,
        ["the pull cannot be handed over: --max-download is for a process of its own: what runs there keeps what it was started with",
         "without --detach the pull is done here"], never ["zest start"]; World::beside_a_daemon;
    a_name_nobody_has: "A mistyped name", ["pull", "org/nmae"] => 4,
        ["does not exist", "look whether the name is right at http://…/org/nmae", "is it a model, a dataset or a space?"];
        |world| world.with_answer(404, "X-Error-Code", "RepoNotFound");
    a_name_nobody_shows: "A name that the Hub hides, without a token", ["pull", "org/secret"] => 4,
        ["org/secret is private, gated or does not exist", "is it a model, a dataset or a space?", "HF_TOKEN"];
        |world| world.with_answer(401, "X-Error-Code", "RepoNotFound");
    a_model_for_another_program_that_nobody_has: "The same, for Ollama", ["link", "ollama", "org/nmae"] => 4,
        ["does not exist", "look whether the name is right at http://…/org/nmae"], never ["--type", "--revision"];
        |world| world.with_answer(404, "X-Error-Code", "RepoNotFound");
    a_name_nobody_has_asked_about: "The same, only asked about", ["info", "org/nmae", "--wait", "0"] => 4,
        ["does not exist", "look whether the name is right at http://…/org/nmae", "is it a model, a dataset or a space?"];
        |world| world.with_answer(404, "X-Error-Code", "RepoNotFound");
    peers_of_a_name_nobody_has: "And who has it", ["peers", "org/nmae", "--listen", "127.0.0.1:0"] => 4,
        ["does not exist", "look whether the name is right at http://…/org/nmae"];
        |world| world.with_answer(404, "X-Error-Code", "RepoNotFound");
    an_address_of_another_machine: "To listen where another machine is", ["serve", "--no-http", "--listen", "192.0.2.1:0"] => 5,
        ["cannot listen on 192.0.2.1:0", "name an address of this machine"]; World::alone;
    a_dataset_for_a_model: "Only a dataset has that name", ["pull", "org/name"] => 0,
        ["there is no model org/name, but datasets/org/name: fetching that", "From CDN:"]; |world| {
        let hub = ScriptedHub::start(|asked| match asked.target.contains("/datasets/") {
            true => model_answers(asked),
            false => Answer::new(404, "").header("X-Error-Code", "RepoNotFound"),
        });
        run(&mut world.command(&hub.endpoint()))
    };
    a_revision_nobody_has: "A revision that is none", ["pull", "org/name", "-r", "v9"] => 4,
        ["org/name has no revision \"v9\""]; |world| world.with_answer(404, "X-Error-Code", "RevisionNotFound");
    a_file_nobody_has: "A file that is none", ["pull", "org/name", "Config.json"] => 4,
        ["org/name has no file Config.json", "see what there is with --dry-run; names and patterns are case-sensitive"];
        World::with_model;
    a_pattern_without_a_match: "A pattern that fits nothing", ["pull", "org/name", "--include", "*.gguf"] => 4,
        ["no file of org/name matches", "--dry-run"]; World::with_model;
    a_gate: "A gated model", ["pull", "org/name"] => 3, ["org/name is gated: ask for access at"];
        |world| world.with_answer(403, "X-Error-Code", "GatedRepo");
    a_token_that_is_none: "A token that cannot be one", ["pull", "org/name"] => 3,
        ["the Hub token holds characters that no token can have"];
        |world| run(world.command(NOBODY).env("HF_TOKEN", "Bearer hf_x"));
    too_many_requests: "The Hub limits our rate", ["pull", "org/name", "--give-up-after", "1s"] => 5,
        ["limits our rate (429), asking us to come back in … s (tries: 1)", "come back later"];
        |world| world.with_answer(429, "Retry-After", "7.5");
    too_many_requests_until_a_date: "The Hub limits our rate until a date", ["pull", "org/name", "--give-up-after", "1s"] => 5,
        ["limits our rate (429), asking us to come back in … s (tries: 1)", "come back later"]; |world| {
        let clock = ("Date", "Fri, 31 Dec 2100 23:59:50 GMT");
        let hub = ScriptedHub::start(move |_| {
            Answer::new(429, "").header(clock.0, clock.1).header("Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT")
        });
        run(&mut world.command(&hub.endpoint()))
    };
    asked_for_longer_than_the_user_waits: "The Hub asks for a longer pause than `--give-up-after`", ["pull", "org/name", "--give-up-after", "1s"] => 5,
        ["answered 503, asking us to come back in … s (tries: 1)"]; |world| world.with_answer(503, "Retry-After", "280");
    ctrl_c: "Ctrl-C while the Hub is asked", ["pull", "org/name"] => 130,
        ["error: interrupted", "run the same command again"], never ["done", "No bytes from peers"]; World::interrupted;
    a_disk_too_small: "The disk is too small for it", ["pull", "org/name"] => 7,
        ["not enough space in", "3.0 MB needed", "too little", "make room or choose another place with --cache-dir"],
        if may_mount; |world| world.with_chunks_on("size=1m");
    a_disk_too_small_for_a_folder: "The same, in a folder of one's own", ["pull", "org/name", "--local-dir", "models"] => 7,
        ["not enough space in", "make room or choose another place with --local-dir"], never ["--cache-dir"],
        if may_mount; |world| world.with_chunks_on("size=1m");
    a_disk_without_inodes: "The file system can hold no more files", ["pull", "org/name"] => 7,
        ["no inode is free, so no file can be made there", "make room"], never ["0 bytes more needed"],
        if may_mount; |world| world.with_chunks_on("nr_inodes=8");
    a_disk_that_is_read_only: "The file system is read-only", ["pull", "org/name"] => 7,
        ["read-only file system", "make it writable for this user, or choose another place with --cache-dir"],
        if may_mount; |world| world.with_chunks_on("ro");
    nobody_answers: "The Hub cannot be reached", ["pull", "org/name", "--give-up-after", "1s"] => 5,
        ["cannot reach http://127.0.0.1:9", "check HF_ENDPOINT, the network and the proxy settings: `zest doctor`"],
        never ["--peer", "run the same command again"];
        World::alone;
    a_page_that_is_no_hub: "Something else answers, as a network's log-in page", ["pull", "org/name", "--give-up-after", "1s"] => 1,
        ["answered with a web page", "HF_ENDPOINT"]; |world| {
        let hub = ScriptedHub::start(|_| Answer::ok("<html>log in</html>").header("Content-Type", "text/html"));
        run(&mut world.command(&hub.endpoint()))
    };
    offline_and_not_here: "`HF_HUB_OFFLINE=1`, and it is not here", ["pull", "org/name"] => 5,
        ["offline, and revision main of org/name is not in the cache", "unset HF_HUB_OFFLINE, or pull it once while online"];
        |world| run(world.command(NOBODY).env("HF_HUB_OFFLINE", "1"));
    the_hub_is_gone_and_all_is_here: "The Hub cannot be asked, and all is here", ["pull", "org/name"] => 0,
        ["the Hub could not be asked", "which may have moved on", "all that is known here"],
        never ["nothing had to be fetched", "uploading to peers"]; |world| {
        let gone = Arc::new(AtomicBool::new(false));
        let is_gone = Arc::clone(&gone);
        let hub = ScriptedHub::start(move |asked| match is_gone.load(Ordering::SeqCst) {
            true => Answer::new(503, ""),
            false => model_answers(asked),
        });
        assert!(run(&mut world.command(&hub.endpoint())).status.success());
        gone.store(true, Ordering::SeqCst);
        run(&mut world.command(&hub.endpoint()))
    };
    wrong_bytes: "The Hub gives other bytes than it lists", ["pull", "org/name", "config.json"] => 6,
        ["config.json", "report it to the model's owner"], never ["make room"]; |world| {
        let hub = ScriptedHub::start(|asked| match asked.target.contains("/resolve/") {
            true => Answer::ok("[]\n"),
            false => model_answers(asked),
        });
        run(&mut world.command(&hub.endpoint()))
    };
    something_in_the_way: "A folder stands where a file belongs", ["pull", "org/name", "config.json"] => 8,
        ["config.json"], never ["make room"]; |world| {
        let snapshot = world.home.join(".cache/huggingface/hub/models--org--name/snapshots").join(COMMIT);
        std::fs::create_dir_all(snapshot.join("config.json/below")).expect("made");
        world.with_model()
    };
    a_folder_of_a_repository: "One folder of it", ["pull", "org/name", "sub dir/"] => 0, ["Done: 1 file, 6 B"]; World::with_model;
    one_file_quietly: "One file, quietly", ["pull", "-q", "org/name", "config.json"] => 0,
        ["snapshots/c0ffee0000000000000000000000000000000000/config.json"]; World::with_model;
    files_and_patterns: "Files and patterns", ["pull", "org/name", "config.json", "--include", "*.txt"] => 0,
        ["--include and --exclude are ignored, as files are named one by one", "Done: 1 file, 3 B"]; World::with_model;
    flags_of_hf: "Flags that only hf needs", ["pull", "org/name", "--max-workers", "4", "--format", "json"] => 0,
        ["\"p2p_ratio\":null"]; World::with_model;
    not_shown_to_everyone: "The Hub does not show it to everyone", ["pull", "org/name"] => 0,
        ["No bytes from peers: org/name is not readable by everyone, so nobody was asked"]; World::with_model_and_token;
    no_way_to_a_peer: "No way to find a peer is left", ["pull", "org/name"] => 0,
        ["No bytes from peers: none was named, and every way of finding one is switched off"]; World::with_chunks;
    without_peers: "Peers are switched off", ["pull", "org/name", "--no-p2p"] => 0,
        ["No bytes from peers: they were not to be asked (--no-p2p)"]; World::with_chunks;
    nobody_is_found: "The tracker knows nobody", ["pull", "org/name", "--listen", "127.0.0.1:0", "--max-download", "1M"] => 0,
        ["1 tracker can learn of the public models it fetches", "No bytes from peers: none was found that has these files"]; |world| {
        let tracker = lonely_tracker();
        world.with_chunks_and(|command| command.env("ZEST_TRACKER", tracker.endpoint()))
    };
    a_peer_that_has_nothing: "The peer has none of it", ["pull", "org/name", "--listen", "127.0.0.1:0"] => 0,
        ["No bytes from peers: none was found that has these files"], never ["cannot be reached"]; |world| {
        let home = folder();
        let mut peer = Server::start(&mut command(home.path(), &["serve", "--no-http", "--json", "-q", "--listen", "127.0.0.1:0"]));
        let address = peer.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
        world.with_chunks_and(|command| command.env("ZEST_PEER", address))
    };
    only_small_files: "It has no file in Xet", ["pull", "org/name", "--listen", "127.0.0.1:0"] => 0,
        ["No bytes from peers: what was missing is not in Xet; of such files peers give those of up to 1 MiB, and none had them"]; World::with_small_files;
    one_small_file: "Of a model that everyone may read a file is wanted that is not in Xet",
        ["pull", "org/name", "config.json", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:9"] => 0,
        ["No bytes from peers: what was missing is not in Xet; of such files peers give those of up to 1 MiB, and none had them"], never ["readable by everyone"]; World::with_small_files;
    few_files_may_be_open: "Few files may be open", ["pull", "org/name", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:9"] => 0,
        ["only 256 files may be open at once, so 128 peers at most: raise `ulimit -n`", "Done: 1 file"];
        |world| world.with_chunks_behind("ulimit -n 256");
    a_peer_that_is_not_there: "A peer that is not there", ["pull", "org/name", "--peer", "127.0.0.1:9"] => 0,
        ["peer 127.0.0.1:9 cannot be reached: …refused", "No bytes from peers: none could be reached: 127.0.0.1:9"];
        World::with_chunks;
    a_peer_that_cannot_be: "A peer whose name cannot be one", ["pull", "org/name", "--peer", "seed box"] => 2,
        ["\"seed box\" is neither a host name nor an IP address"]; World::alone;
    a_budget_that_is_spent: "Today's upload budget is spent", ["pull", "org/name", "--upload-budget", "2M", "--listen", "127.0.0.1:0", "--peer", "127.0.0.1:9"]
        => 0, ["today's --upload-budget is spent: nothing is uploaded to peers until midnight UTC"]; |world| {
        let day = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() / 86_400;
        std::fs::create_dir_all(world.home.join(".cache/zest")).expect("made");
        let account = format!(r#"{{"day":{day},"bytes":2000000}}"#);
        std::fs::write(world.home.join(".cache/zest/uploads.json"), account).expect("written");
        world.with_chunks()
    };
    an_account_that_cannot_be: "The account of the upload budget cannot be kept", ["pull", "org/name", "--upload-budget", "2M", "--peer", "127.0.0.1:9"] => 7,
        ["cannot keep the account of the upload budget in …uploads.json", "make the file writable, or leave --upload-budget out"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/zest/uploads.json")).expect("made");
        world.with_chunks()
    };
    proofs_that_cannot_be: "That everyone may read it cannot be noted", ["pull", "org/name", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"] => 0,
        ["that everyone may read org/name cannot be noted, so others ask again: …proofs", "Done: 1 file"];
        |world| world.with_a_file_at("proofs");
    a_catalog_that_cannot_be: "What is here cannot be noted", ["pull", "org/name", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"] => 0,
        ["a file is complete and not shared, as that cannot be noted: …files", "Done: 1 file"]; |world| world.with_a_file_at("files");
    places_that_cannot_be: "Whose a private file is cannot be noted", ["pull", "org/name"] => 0,
        ["model.safetensors: it cannot be noted that not everyone may read it: …places", "Done: 1 file"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/zest")).expect("made");
        std::fs::write(world.home.join(".cache/zest/places"), "").expect("written");
        let (_hub, mut zest) = world.with_token("private");
        run(&mut zest)
    };
    a_proof_that_cannot_be_taken_back: "It is private now, and that cannot be noted", ["pull", "org/name", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"] => 0,
        ["org/name is not shared any more, and other processes cannot be told: …", "org/name is not readable by everyone: peers are not asked for it"],
        if may_refuse; |world| {
        let (_hub, mut zest) = world.with_token("public");
        assert!(run(&mut zest).status.success());
        std::fs::write(world.home.join("root/models/org/name/access"), "private").expect("written");
        refusing(&[UNLINK], EROFS, || run(&mut zest))
    };
    what_is_private_is_not_uploaded: "It is private, and peers may connect meanwhile", ["pull", "org/name", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0", "--max-download", "1M"] => 0,
        ["uploading to peers from 127.0.0.1:… while fetching, and nothing of org/name", "Done: 1 file"]; |world| {
        let (_hub, mut zest) = world.with_token("private");
        run(&mut zest)
    };
    what_the_user_denied: "You denied sharing it", ["pull", "org/name", "--peer", "127.0.0.1:9"] => 0,
        ["you denied sharing org/name: peers are not asked for it (`zest share allow org/name`)", "Done: 1 file"]; |world| {
        assert!(run(&mut command(&world.home, &["share", "deny", "org/name"])).status.success());
        world.with_chunks()
    };
    xorbs_that_cannot_be: "What the original keeps cannot be kept", ["pull", "org/name", "--keep-xorbs"] => 0,
        ["a file is complete, and its xorbs could not be kept: …", "Done: 1 file"]; |world| world.with_a_file_at("xorbs");
    a_file_system_without_locks: "The file system has no locks", ["pull", "org/name"] => 0,
        ["no file locks in …: what is interrupted begins anew", "Done: 1 file"], if may_refuse;
        |world| world.with_chunks_refusing(&[FLOCK], ENOSYS);
    a_part_that_may_not_last: "Ctrl-C, and what is here cannot be made durable", ["pull", "org/name", "--max-download", "256KiB", "--no-daemon"] => 130,
        ["model.safetensors: what is fetched may be lost if power fails: …", "error: interrupted"]; |world| {
        let (_hub, endpoint) = world.chunks();
        let mut zest = world.command(&endpoint);
        zest.arg("--events").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = zest.spawn().expect("zest starts");
        let mut events = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("\"phase\":\"fetching\"") {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut events, &mut line).expect("text"), 0, "it fetches");
        }
        // The folder is not where its entry could be made durable.
        let cache = world.home.join(".cache/huggingface/hub");
        std::fs::rename(&cache, world.home.join("elsewhere")).expect("ours");
        crate::common::signal(&child, rustix::process::Signal::INT);
        std::io::Read::read_to_string(&mut events, &mut line).expect("text");
        child.wait_with_output().expect("it ends")
    };
    much_that_was_not_proven: "Much lies here that zest has not proven", ["pull", "org/name"] => 0,
        ["2 files lie here already (0.3 GB) that zest has not proven yet: reading once, beside the rest", "Done: 2 files"]; |world| {
        let (_hub, endpoint) = world.with_much();
        assert!(run(&mut world.command(&endpoint)).status.success());
        std::fs::remove_dir_all(world.home.join(".cache/zest")).expect("ours");
        run(&mut world.command(&endpoint))
    };
    a_row_that_cannot_be: "The Hub lists a file that no system can keep, and `--dry-run`", ["pull", "org/name", "--dry-run"] => 0,
        ["../evil"]; |world| {
        let hub = ScriptedHub::start(|asked| {
            let listed = |path: &str| ListedFile { path: path.to_owned(), size: 3, oid: FILES[0].2.to_owned() };
            usual(asked, &[listed("config.json"), listed("../evil")]).unwrap_or_else(|| model_answers(asked))
        });
        run(&mut world.command(&hub.endpoint()))
    };
    wrong_bytes_once: "The Hub gives other bytes, and then the right ones", ["pull", "org/name", "config.json"] => 0,
        ["config.json: what was received is not the file (…): fetching it anew", "Done: 1 file, 3 B"]; |world| {
        let asked_before = AtomicBool::new(false);
        let hub = ScriptedHub::start(move |asked| {
            let is_first = asked.target.contains("/resolve/") && !asked_before.swap(true, Ordering::SeqCst);
            let mut answer = model_answers(asked);
            if is_first {
                answer.body = b"[]\n".to_vec();
            }
            answer
        });
        run(&mut world.command(&hub.endpoint()))
    };
    a_peer_that_is_oneself: "A peer that is this machine itself", ["pull", "org/name", "--max-download", "1M"] => 0,
        ["peer 127.0.0.1:… is this machine itself: nobody else answers there", "No bytes from peers: none could be reached: 127.0.0.1:… (it is this machine's own address)"],
        never ["cannot be reached", "trying again"]; |world| {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string();
        world.with_chunks_and(|command| command.env("ZEST_LISTEN", &free).env("ZEST_PEER", &free))
    };
    a_peer_that_echoes: "A peer that repeats what it is told", ["pull", "org/name", "--listen", "127.0.0.1:0", "--max-download", "1M"] => 0,
        ["peer 127.0.0.1:… cannot be reached: what answers there only repeats what it is told"], never ["this machine"]; |world| {
        let liar = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = liar.local_addr().expect("bound").to_string();
        std::thread::spawn(move || {
            for stream in liar.incoming().flatten() {
                let mut from = stream.try_clone().expect("a socket");
                std::thread::spawn(move || {
                    let mut to = stream;
                    std::io::copy(&mut from, &mut to)
                });
            }
        });
        world.with_chunks_and(|command| command.env("ZEST_PEER", &addr))
    };
    a_peer_that_is_a_page: "The address of a page for a peer", ["pull", "org/name", "--peer", "http://10.0.0.5:6881/"] => 2,
        ["invalid value 'http://10.0.0.5:6881/' for '--peer", "HOST:PORT is wanted, without a scheme or a path: 10.0.0.5:6881"]; World::alone;
    a_file_without_a_name: "A FILE that is empty, as a variable that is not set", ["pull", "org/name", ""] => 2,
        ["invalid value '' for '[FILE]...': it is empty; without a FILE all are meant"]; World::alone;
    a_pattern_without_anything: "An empty pattern", ["pull", "org/name", "--include", ""] => 2,
        ["--include <PATTERN>", "it is empty"]; World::alone;
    a_peer_whose_name_comes_late: "A peer whose name has an address only later", ["pull", "org/name", "--peer", "late.test", "--listen", "127.0.0.1:0", "--max-download", "256KiB"] => 0,
        ["late.test", "peer \"late.test:6881\" has an address now"], if may_mount; |world| {
        let hosts = world.home.join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").expect("written");
        let (_hub, endpoint) = world.chunks();
        let zest = world.command(&endpoint);
        let mut inside = Command::new("unshare");
        let mount = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
        inside.arg(zest.get_program()).args(zest.get_args()).arg("--events").env_clear();
        inside.envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut child = inside
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut events = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("late.test") {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut events, &mut line).expect("text"), 0, "it is missed");
        }
        std::fs::write(&hosts, "127.0.0.1 localhost late.test\n").expect("written");
        std::io::Read::read_to_string(&mut events, &mut line).expect("text");
        child.wait_with_output().expect("it ends")
    };
    a_name_server_that_is_mute: "The name server says nothing to the name of a peer", ["pull", "org/name", "--peer", "late.test", "--listen", "127.0.0.1:0"] => 0,
        ["peer \"late.test:6881\": no name server has told its address; trying again until it has an address", "Done: 1 file"], if may_mount;
        |world| {
        // Whoever looks up a name waits until somebody writes into that pipe.
        let (_hub, endpoint) = world.chunks();
        let zest = world.command(&endpoint);
        let mut inside = Command::new("unshare");
        let pipe = world.home.join("hosts");
        let mount = format!("mkfifo '{0}' && mount --bind '{0}' /etc/hosts && exec \"$0\" \"$@\"", pipe.display());
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
        inside.arg(zest.get_program()).args(zest.get_args()).env_clear();
        inside.envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(inside.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(std::process::Stdio::null()))
    };
    a_list_that_is_damaged: "A list of files in the cache is damaged, and `HF_HUB_OFFLINE=1`", ["pull", "org/name"] => 0,
        ["taking the 2 that lie there as they are, some may be missing", "trees/c0ffee0000000000000000000000000000000000.json is damaged or of an unknown format: the Hub is asked for that list"]; |world| {
        assert!(world.with_model().status.success());
        let trees = world.home.join(".cache/huggingface/hub/models--org--name/trees");
        std::fs::write(trees.join(format!("{COMMIT}.json")), "{").expect("written");
        run(world.command(NOBODY).env("HF_HUB_OFFLINE", "1"))
    };
    a_file_that_another_process_fetches: "Another process holds the lock of a file", ["pull", "org/name", "config.json"] => 0,
        ["waiting for process …", "Done: 1 file, 3 B"]; |world| {
        let locks = world.home.join(".cache/huggingface/hub/.locks/models--org--name");
        std::fs::create_dir_all(&locks).expect("made");
        let file = std::fs::File::create(locks.join(format!("{}.lock", FILES[0].2))).expect("made");
        file.lock().expect("nobody else has it");
        world.with_model()
    };
    what_an_earlier_run_fetched: "A part of it is here already", ["pull", "org/name"] => 0,
        ["From disk:", "3 B", "Done: 2 files"]; |world| {
        let hub = model();
        let first = World { home: world.home.clone(), line: &["pull", "org/name", "config.json"] };
        assert!(run(&mut first.command(&hub.endpoint())).status.success());
        run(&mut world.command(&hub.endpoint()))
    };
    a_name_that_is_too_long: "A file whose name is longer than the file system takes", ["pull", "org/name"] => 8,
        ["…aaaa"], never ["make room"]; |world| {
        let hub = ScriptedHub::start(|asked| {
            let files = [ListedFile { path: "a".repeat(300), size: 3, oid: FILES[0].2.to_owned() }];
            usual(asked, &files).unwrap_or_else(|| Answer::ok("{}\n").header("etag", format!("\"{}\"", FILES[0].2)))
        });
        run(&mut world.command(&hub.endpoint()))
    };
    a_cache_that_cannot_be: "The cache cannot be written", ["pull", "org/name", "--cache-dir", "/dev/null/hub"] => 8,
        ["/dev/null/hub", "choose another place with --cache-dir"], never ["make room"]; World::with_model;
    a_file_that_has_rotted: "A file in the cache is wrong", ["verify", "org/name"] => 6,
        ["config.json", "zest cache verify --repair"]; |world| {
        let first = World { home: world.home.clone(), line: &["pull", "org/name"] };
        assert!(first.with_model().status.success());
        let blob = world.home.join(".cache/huggingface/hub/models--org--name/blobs").join(FILES[0].2);
        std::fs::write(blob, b"[]\n").expect("written");
        world.alone()
    };
    nothing_is_here_to_share: "An empty cache is shared", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["nothing is here that can be shared: `zest pull ORG/NAME` fetches something"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/huggingface/hub")).expect("made");
        world.until("nothing is here that can be shared")
    };
    a_file_while_the_hub_is_gone: "The Hub is gone, and a program asks for a file that is here", ["serve", "--listen", "127.0.0.1:0", "--http-port", "0"] => 0,
        ["org/name at …: the Hub cannot be asked: anyone could read it when it was"];
        |world| world.asked_without_a_hub("/org/name/resolve/main/model.safetensors", "anyone could read it when it was");
    a_token_while_the_hub_is_gone: "The same, by way of Xet", ["serve", "--listen", "127.0.0.1:0", "--http-port", "0"] => 0,
        ["org/name at …: the Hub cannot be asked: anyone could read it when it was"];
        |world| world.asked_without_a_hub("/api/models/org/name/xet-read-token/main", "anyone could read it when it was");
    proofs_of_a_server_that_cannot_be: "That everyone may read what is shared cannot be noted", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["that everyone may read org/name cannot be noted, so others ask again: …proofs"]; |world| {
        let forget = || {
            let proofs = world.home.join(".cache/zest/proofs");
            let _none_yet = std::fs::remove_dir_all(&proofs);
            std::fs::write(proofs, "").expect("written");
        };
        world.until_after_a_pull(forget, "cannot be noted")
    };
    a_proof_of_a_server_that_cannot_be_taken_back: "What is shared is private now, and that cannot be noted", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["org/name is not shared any more, and other processes cannot be told: …"], if may_refuse;
        |world| world.closed_and_not_noted("other processes cannot be told");
    origins_that_cannot_be: "Whose the files of another program are cannot be noted", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["where files came from cannot be noted, so it is asked again: …places"], if may_drop_rights; |world| {
        let (_hub, endpoint) = world.chunks();
        let first = World { home: world.home.clone(), line: &["pull", "org/name"] };
        assert!(run(&mut first.command(&endpoint)).status.success());
        std::fs::remove_dir_all(world.home.join(".cache/zest")).expect("ours");
        // They are indexed while nobody can be asked whose they are.
        let mut alone = Server::start(world.command(NOBODY).args(["--json", "-q"]));
        alone.event_among("indexed");
        alone.stop();
        for folder in std::fs::read_dir(world.home.join(".cache/zest/places")).expect("indexed").flatten() {
            std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555)).expect("ours");
        }
        world.until_with(|command| {
            command.env("HF_ENDPOINT", endpoint);
            *command = without_rights(command);
            command
        }, "where files came from")
    };
    a_chunk_that_has_rotted: "A shared file has rotted, and nothing but its bytes tells", ["serve", "--no-http", "--listen", "127.0.0.1:0", "--listen-port", "0"] => 0,
        ["a chunk on the disk is not what was proven, and is not uploaded: `zest verify` names the file"]; |world| {
        let (_hub, endpoint) = world.chunks();
        let first = World { home: world.home.clone(), line: &["pull", "org/name"] };
        assert!(run(&mut first.command(&endpoint)).status.success());
        crate::common::rot_unseen(&world.home);
        let asking = || {
            let said = std::fs::read_to_string(world.home.join("said")).unwrap_or_default();
            let Some(address) = said.split("listening on ").nth(1).and_then(|rest| rest.split(';').next()) else { return };
            let home = folder();
            let pull = ["pull", "org/name", "--no-daemon", "--listen", "127.0.0.1:0", "--peer", address];
            run(command(home.path(), &pull).env("HF_ENDPOINT", &endpoint));
        };
        world.until_asked(|command| command.env("HF_ENDPOINT", &endpoint), asking, "is not what was proven")
    };
    a_list_that_cannot_be_kept: "All is here, in a cache that is another user's", ["pull", "org/name"] => 0,
        ["the list of files is not kept, so it is not known offline: …"], if may_drop_rights; |world| {
        let hub = model();
        assert!(run(&mut world.command(&hub.endpoint())).status.success());
        let trees = world.home.join(".cache/huggingface/hub/models--org--name/trees");
        std::fs::remove_file(trees.join(format!("{COMMIT}.json"))).expect("it was kept");
        std::fs::set_permissions(trees, std::os::unix::fs::PermissionsExt::from_mode(0o555)).expect("ours");
        run(&mut without_rights(&world.command(&hub.endpoint())))
    };
    a_peer_without_an_address: "A peer of a server whose name has no address",
        ["serve", "--no-http", "--listen", "127.0.0.1:0", "--peer", "nobody.invalid"] => 0, ["nobody.invalid", "trying again until it has one"];
        |world| world.until("nobody.invalid");
    a_tracker_that_is_dead: "A tracker that does not answer",
        ["serve", "--no-http", "--listen", "127.0.0.1:0", "--tracker", "http://127.0.0.1:9/announce"] => 0,
        ["announcing at 1 tracker", "tracker http://127.0.0.1:9 does not know of us: …refused…; next try in …s"];
        |world| world.until_after_a_pull(|| {}, "does not know of us");
    files_that_cannot_be_noted: "What another program has fetched cannot be noted", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["not shared: …cannot be looked at: …files"]; |world| {
        let forget = || {
            std::fs::remove_dir_all(world.home.join(".cache/zest")).expect("ours");
            std::fs::create_dir_all(world.home.join(".cache/zest")).expect("made");
            std::fs::write(world.home.join(".cache/zest/files"), "").expect("written");
        };
        world.until_after_a_pull(forget, "cannot be looked at")
    };
    notes_of_what_is_denied: "What was denied cannot be read", ["share", "ls"] => 0,
        ["denied cannot be read, and it says what you denied: nothing is shared"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/huggingface/hub")).expect("made");
        std::fs::create_dir_all(world.home.join(".cache/zest")).expect("made");
        std::fs::write(world.home.join(".cache/zest/denied"), "").expect("written");
        world.alone()
    };
    no_certificates: "No certificates are here, and the Hub speaks HTTPS", ["share", "ls"] => 0,
        ["cannot ask the Hub what is public: …"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/huggingface/hub")).expect("made");
        run(world.command("https://hub.invalid").env("SSL_CERT_FILE", world.home.join("nowhere.pem")))
    };
    a_secret_that_others_can_read: "The secret of the API can be read by others", ["serve", "--listen", "127.0.0.1:0", "--http-port", "0"] => 0,
        ["the API has a new secret, as the old one is no good: …api-secret: it is not for its owner alone (chmod 600)"]; |world| {
        let path = world.home.join(".cache/zest/api-secret");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, "0".repeat(64)).expect("written");
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
        world.until("the API has a new secret")
    };
    an_endpoint_that_cannot_be: "The key of the local endpoint cannot be kept", ["serve", "--listen", "127.0.0.1:0", "--http-port", "0"] => 0,
        ["without a local endpoint: …endpoint-key"];
        |world| world.until_with_a_folder_at("endpoint-key", "without a local endpoint");
    a_hub_that_cannot_be_noted: "Which Hub is asked cannot be noted", ["serve", "--listen", "127.0.0.1:0", "--http-port", "0"] => 0,
        ["which Hub is behind the endpoint cannot be noted, so a zest that is given it asks itself"];
        |world| world.until_with_a_folder_at("endpoint-hub", "which Hub is behind the endpoint");
    a_chunk_list_that_is_damaged: "A file of the catalog is damaged", ["serve", "--no-http", "--listen", "127.0.0.1:0"] => 0,
        ["is damaged: what it describes is not shared until it is made anew"]; |world| {
        let damage = || {
            for folder in std::fs::read_dir(world.home.join(".cache/zest/files")).expect("a catalog").flatten() {
                for list in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
                    std::fs::write(list.path(), "broken").expect("written");
                }
            }
        };
        world.until_after_a_pull(damage, "is damaged")
    };
    a_hub_of_no_folder: "The folder of the own Hub is not there", ["hub", "--root", "/nowhere/models", "--port", "0"] => 7,
        ["cannot serve /nowhere/models: ", "--root is the folder that holds models/ORG/NAME/REVISION/…"]; World::alone;
    a_hub_of_nothing: "The folder of the own Hub is empty, or another than was meant", ["hub", "--port", "0"] => 0,
        ["serving 0 repositories of …root", "nothing is in …root that can be served: files belong in …root/models/ORG/NAME/main/config.json"]; |world| {
        let root = world.home.join("root");
        std::fs::create_dir_all(root.join("models--org--name/snapshots")).expect("made");
        world.until_with(|command| command.env("ZEST_ROOT", root), "can be served")
    };
    a_hub_without_revisions: "A folder of the own Hub has files where revisions belong", ["hub", "--port", "0"] => 0,
        ["serving 1 repository of …root", "org/name has no revision, so nothing of it can be had: its files belong in a folder main"]; |world| {
        let place = world.home.join("root/models/org/name");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        world.until_with(|command| command.env("ZEST_ROOT", world.home.join("root")), "no revision")
    };
    a_hub_of_a_folder_too_deep: "--root of the own Hub is a folder too deep", ["hub", "--port", "0"] => 0,
        ["serving 0 repositories of …root/models", "nothing is in …root/models that can be served: it looks as if --root …root were meant"],
        never ["files belong in"]; |world| {
        let place = world.home.join("root/models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        world.until_with(|command| command.env("ZEST_ROOT", world.home.join("root/models")), "nothing is in")
    };
    a_hub_of_a_folder_too_high: "Or one too high", ["hub", "--port", "0"] => 0,
        ["nothing is in … that can be served: it looks as if --root …root were meant"]; |world| {
        let place = world.home.join("above/root/models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        world.until_with(|command| command.env("ZEST_ROOT", world.home.join("above")), "nothing is in")
    };
    a_hub_for_others: "The own Hub is to be used by others", ["hub", "--port", "0", "--host", "0.0.0.0"] => 0,
        ["serving 1 repository of …root", "on other machines: HF_ENDPOINT=http://…:…", "on this one: HF_ENDPOINT=http://127.0.0.1:…",
         "everybody who reaches 0.0.0.0:… can read the public ones"], if has_an_address; |world| world.own_hub(|_| (), "everybody who reaches");
    a_hub_where_another_machine_is: "The own Hub is to listen where another machine is", ["hub", "--port", "0", "--host", "192.0.2.1"] => 5,
        ["cannot listen on 192.0.2.1:0", "name an address of this machine with --host"], never ["--port;"]; |world| {
        std::fs::create_dir_all(world.home.join("root/models")).expect("made");
        run(world.command(NOBODY).env("ZEST_ROOT", world.home.join("root")))
    };
    a_folder_in_itself: "A folder of the own Hub contains itself", ["hub", "--port", "0"] => 0,
        ["left out loop: it contains itself or is too deep"]; |world| {
        let put = |root: &std::path::Path| std::os::unix::fs::symlink(".", root.join("models/org/name/main/loop")).expect("made");
        world.own_hub(put, "left out loop")
    };
    a_link_to_nothing: "A file of the own Hub cannot be read", ["hub", "--port", "0"] => 0,
        ["left out gone.bin: …"]; |world| {
        let put = |root: &std::path::Path| std::os::unix::fs::symlink("nowhere", root.join("models/org/name/main/gone.bin")).expect("made");
        world.own_hub(put, "left out gone.bin")
    };
    a_name_for_one_system: "A file of the own Hub has a name that not every system can keep", ["hub", "--port", "0"] => 0,
        ["left out a file: …cannot leave its folder on any system"]; |world| {
        let put = |root: &std::path::Path| std::fs::write(root.join("models/org/name/main/\\x"), "").expect("written");
        world.own_hub(put, "left out a file")
    };
    a_name_that_is_no_text: "A file of the own Hub has a name that is no text", ["hub", "--port", "0"] => 0,
        ["left out a name in …main that is not UTF-8"]; |world| {
        let put = |root: &std::path::Path| {
            let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9");
            std::fs::write(root.join("models/org/name/main").join(name), "").expect("written");
        };
        world.own_hub(put, "not UTF-8")
    };
    an_index_that_cannot_be: "The own Hub cannot keep its index", ["hub", "--port", "0"] => 0,
        ["….zest-hub cannot be used, so files are hashed anew at the next start"]; |world| {
        let put = |root: &std::path::Path| std::fs::write(root.join(".zest-hub"), "").expect("written");
        world.own_hub(put, "hashed anew")
    };
    a_folder_that_nobody_may_list: "A folder of the own Hub may not be listed", ["hub", "--port", "0"] => 0,
        ["cannot be listed: …denied"], if may_drop_rights; |world| {
        let place = world.home.join("root/models/org/name/main/closed");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("ours");
        world.until_with(|command| {
            command.env("ZEST_ROOT", world.home.join("root"));
            *command = without_rights(command);
            command
        }, "cannot be listed")
    };
    nothing_runs: "Nothing runs that could be asked", ["status"] => 1, ["zest does not run in the background", "zest start"];
        World::alone;
    nothing_to_stop: "Nothing runs that could be stopped", ["stop"] => 0, ["No running zest server found."]; World::alone;
    a_watch_without_a_screen: "`zest start` is to show what it does", ["start", "--watch"] => 2,
        ["--watch shows on a terminal, and in the background there is none", "zest status --watch"]; World::alone;
    a_repository_that_cannot_be_removed: "Nothing of that name to remove", ["cache", "rm", "org/none"] => 4, ["org/none"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/huggingface/hub")).expect("made");
        world.alone()
    };
    nothing_to_verify: "No cache", ["verify"] => 4, ["no cache at", "HF_HUB_CACHE"]; World::alone;
    a_repository_that_is_not_here: "Nothing of it is in the cache", ["verify", "org/name"] => 4,
        ["nothing of org/name is in the cache", "zest pull org/name"]; |world| {
        std::fs::create_dir_all(world.home.join(".cache/huggingface/hub")).expect("made");
        world.alone()
    };
    a_folder_that_is_none: "A folder that is none", ["serve", "--local-dir", "/dev/null/models", "--no-http"] => 7,
        ["/dev/null/models is not a folder", "zest pull --local-dir"]; World::alone;
    two_ports: "Two ports", ["serve", "--listen", "127.0.0.1:7000", "--listen-port", "7001"] => 2,
        ["--listen says port 7000 and --listen-port says 7001"]; World::alone;
    no_time_to_look: "No time to look", ["peers", "org/name", "--wait", "0"] => 2, ["0 is not in 1..=3600"]; World::alone;
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let output = run(&mut command(home.path(), &["serve", "--no-http", "--listen", &addr]));
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {addr}")), "{}", text(&output.stderr));
}

#[test]
fn an_empty_cache_says_pull_first() {
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("made");
    let log = home.path().join("said");
    let mut serve = command(home.path(), &["serve", "--no-http", "--json", "--listen", "127.0.0.1:0"]);
    serve.stderr(std::fs::File::create(&log).expect("made"));
    let mut server = Server::start_as_told(&mut serve);
    server.event("listening");
    server.event_status();
    server.stop();
    let said = std::fs::read_to_string(&log).expect("text");
    assert!(said.contains("`zest pull ORG/NAME` fetches something"), "{said}");
}

#[test]
fn messages_page_is_the_table_and_has_thirty_rows() {
    assert!(ROWS.len() >= 30, "{}", ROWS.len());
    let mut page =
        PREFACE.to_owned() + "| situation | typed | what is said | exit code |\n|---|---|---|---|\n";
    for row in ROWS {
        writeln!(page, "{}", row.as_line()).expect("a string");
    }
    if std::env::var_os("ZEST_SNAPSHOT").is_some_and(|what| what == "write") {
        std::fs::write(PAGE, &page).expect("written");
    }
    assert_eq!(
        std::fs::read_to_string(PAGE).expect("docs/messages.md"),
        page,
        "ZEST_SNAPSHOT=write writes it anew"
    );
}
