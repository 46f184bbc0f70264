//! Where a row is tried.

use crate::common::{NOBODY, Server, command, hub, run};
use crate::refusals::{EROFS, UNLINK, refusing};
use crate::scripted_hub::{Answer, Asked, COMMIT, ListedFile, ScriptedHub, usual};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Where a row runs: a home of its own, and a command line in it.
pub(super) struct World {
    pub(super) home: PathBuf,
    pub(super) line: &'static [&'static str],
}

impl World {
    pub(super) fn command(&self, endpoint: &str) -> Command {
        let mut command = command(&self.home, self.line);
        command.env("HF_ENDPOINT", endpoint);
        command
    }

    /// With a configuration file that has a key of no flag, and one that is right.
    pub(super) fn with_an_unknown_key(&self) -> Command {
        let file = self.home.join("config.toml");
        std::fs::write(&file, "max_uplod = \"1M\"\nno-dht = true\n").expect("written");
        let mut command = self.command(NOBODY);
        command.env("ZEST_CONFIG", &file);
        command
    }

    /// With a Hub that nobody runs.
    pub(super) fn alone(&self) -> Output {
        run(&mut self.command(NOBODY))
    }

    /// The same, while zest runs in the background.
    pub(super) fn beside_a_daemon(&self) -> Output {
        let words = ["serve", "--json", "-q", "--listen", "127.0.0.1:0", "--http-port", "0"];
        let mut daemon = Server::start(&mut command(&self.home, &words));
        daemon.event_among("listening");
        let output = self.alone();
        assert_eq!(daemon.stop(), Some(0));
        output
    }

    /// With a Hub that has one public model of two small files.
    pub(super) fn with_model(&self) -> Output {
        let hub = model();
        run(&mut self.command(&hub.endpoint()))
    }

    /// The same as somebody whom it knows: what strangers may read it does not say.
    pub(super) fn with_model_and_token(&self) -> Output {
        let hub = ScriptedHub::start(|asked| match asked.header("authorization") {
            Some(_) => model_answers(asked),
            None => Answer::new(401, ""),
        });
        run(self.command(&hub.endpoint()).env("HF_TOKEN", "hf_x"))
    }

    /// With a Hub that has a file outside Xet alone, and a tracker that knows nobody.
    pub(super) fn with_small_files(&self) -> Output {
        let place = self.home.join("root/models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        let (tracker, (_hub, endpoint)) = (lonely_tracker(), hub(&self.home, &self.home.join("root")));
        run(self.command(&endpoint).env("ZEST_TRACKER", tracker.endpoint()))
    }

    /// With a Hub that answers everything so.
    pub(super) fn with_answer(&self, status: u16, name: &'static str, value: &'static str) -> Output {
        let hub = ScriptedHub::start(move |_| Answer::new(status, "").header(name, value));
        run(&mut self.command(&hub.endpoint()))
    }

    /// A server that is told to end once it has said these words, with all that it has said.
    pub(super) fn until(&self, words: &str) -> Output {
        self.until_with(|command| command, words)
    }

    /// The same, with a word to the command.
    pub(super) fn until_with(
        &self,
        prepare: impl FnOnce(&mut Command) -> &mut Command,
        words: &str,
    ) -> Output {
        self.until_asked(prepare, || (), words)
    }

    /// The same; somebody asks it something until it has said them.
    pub(super) fn until_asked(
        &self,
        prepare: impl FnOnce(&mut Command) -> &mut Command,
        ask: impl Fn(),
        words: &str,
    ) -> Output {
        let log = self.home.join("said");
        let mut command = self.command(NOBODY);
        prepare(&mut command);
        command.stderr(std::fs::File::create(&log).expect("made"));
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("zest starts");
        let said = || std::fs::read_to_string(&log).expect("text");
        while !said().contains(words) && child.try_wait().expect("a child").is_none() {
            ask();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        crate::common::signal(&child, rustix::process::Signal::TERM);
        let mut output = child.wait_with_output().expect("it ends");
        output.stderr = said().into_bytes();
        output
    }

    /// With a real Hub that has a model of 3 MB in chunks.
    pub(super) fn with_chunks(&self) -> Output {
        self.with_chunks_and(|command| command)
    }

    /// The same, with a word to the command.
    pub(super) fn with_chunks_and(&self, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Output {
        let (_hub, endpoint) = self.chunks();
        let mut command = self.command(&endpoint);
        prepare(&mut command);
        run(&mut command)
    }

    /// The same, behind a line of the shell.
    pub(super) fn with_chunks_behind(&self, line: &str) -> Output {
        let (_hub, endpoint) = self.chunks();
        let zest = self.command(&endpoint);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("{line}; exec \"$0\" \"$@\"")])
            .arg(zest.get_program())
            .args(zest.get_args());
        shell.env_clear().envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(shell.stdin(std::process::Stdio::null()))
    }

    /// The same, its Hugging Face cache on a file system of its own, mounted with these options.
    pub(super) fn with_chunks_on(&self, options: &str) -> Output {
        let cache = self.home.join(".cache/huggingface");
        std::fs::create_dir_all(&cache).expect("made");
        let (_hub, endpoint) = self.chunks();
        let mount = format!(
            "mount -t tmpfs -o {options} tmpfs '{0}' && cd '{0}' && exec \"$0\" \"$@\"",
            cache.display()
        );
        let zest = self.command(&endpoint);
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
        inside.arg(zest.get_program()).args(zest.get_args()).env_clear();
        inside.envs(zest.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(inside
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(std::process::Stdio::null()))
    }

    pub(super) fn chunks(&self) -> (Server, String) {
        hub(&self.home, &self.place_chunks())
    }

    /// A Hub's folder with a model of 3 MB.
    pub(super) fn place_chunks(&self) -> PathBuf {
        let root = self.home.join("root");
        let place = root.join("models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        let bytes: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(place.join("model.safetensors"), &bytes[..3_000_000]).expect("written");
        root
    }

    /// The same, some of its system calls refused.
    pub(super) fn with_chunks_refusing(&self, calls: &[i64], errno: u32) -> Output {
        let (_hub, endpoint) = self.chunks();
        refusing(calls, errno, || run(&mut self.command(&endpoint)))
    }

    /// With a real Hub that opens closed models to who has the token, which this has: one of 3 MB, of this access.
    pub(super) fn with_token(&self, access: &str) -> (Server, Command) {
        const TOKEN: &str = "hf_opensTheClosedOne";
        let root = self.place_chunks();
        std::fs::write(root.join("models/org/name/access"), access).expect("written");
        let words =
            ["hub", "--root", root.to_str().expect("UTF-8"), "--port", "0", "--json", "-q", "--token", TOKEN];
        let mut hub = Server::start(&mut command(&self.home, &words));
        let endpoint = hub.event("listening")["endpoint"].as_str().expect("a URL").to_owned();
        let mut zest = self.command(&endpoint);
        zest.env("HF_TOKEN", TOKEN);
        (hub, zest)
    }

    /// With a real Hub that has a model of 300 MB: nothing but holes, which take no room there.
    pub(super) fn with_much(&self) -> (Server, String) {
        let root = self.home.join("root");
        let place = root.join("models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        let file = std::fs::File::create(place.join("model.safetensors")).expect("made");
        file.set_len(300_000_000).expect("a file system with holes");
        hub(&self.home, &root)
    }

    /// With something where zest keeps its own: nothing can be written below this name.
    pub(super) fn with_a_file_at(&self, name: &str) -> Output {
        let path = self.home.join(".cache/zest").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "").expect("written");
        self.with_chunks()
    }

    /// A server of what was pulled from a Hub that is still there, until it has said these words.
    pub(super) fn until_after_a_pull(&self, prepare: impl FnOnce(), words: &str) -> Output {
        let (_hub, endpoint) = self.chunks();
        let first = Self { home: self.home.clone(), line: &["pull", "org/name"] };
        assert!(run(&mut first.command(&endpoint)).status.success());
        prepare();
        self.until_with(|command| command.env("HF_ENDPOINT", endpoint), words)
    }

    /// What the local endpoint answers to `GET`, once there is one.
    pub(super) fn ask_the_endpoint(&self, path: &str) {
        let named = run(&mut command(&self.home, &["--json", "endpoint"]));
        let named: serde_json::Value = serde_json::from_slice(&named.stdout).unwrap_or_default();
        let url = named["endpoint"].as_str().and_then(|url| url.strip_prefix("http://")).unwrap_or_default();
        let (host, key) = url.split_once('/').unwrap_or_default();
        let Some(mut stream) = std::net::TcpStream::connect(host).ok().filter(|_| named["running"] == true)
        else {
            return;
        };
        let request = format!("GET /{key}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let _gone = std::io::Write::write_all(&mut stream, request.as_bytes())
            .and_then(|()| std::io::copy(&mut stream, &mut std::io::sink()));
    }

    /// A daemon whose Hub is gone, and which has forgotten its proofs: somebody asks it for what it has fetched for another before,
    /// until it says these words.
    pub(super) fn asked_without_a_hub(&self, path: &str, words: &str) -> Output {
        let (hub, endpoint) = self.chunks();
        let mut serve = self.command(&endpoint);
        let mut before = Server::start(serve.args(["--json", "-q"]));
        before.event_among("listening");
        for path in ["/api/models/org/name/revision/main", "/org/name/resolve/main/model.safetensors", path] {
            self.ask_the_endpoint(path);
        }
        assert_eq!(before.stop(), Some(0));
        drop(hub);
        std::fs::remove_dir_all(self.home.join(".cache/zest/proofs")).expect("it could ask");
        self.until_asked(
            |command| command.env("HF_ENDPOINT", &endpoint),
            || self.ask_the_endpoint(path),
            words,
        )
    }

    /// A server of a model that everybody could read when it was pulled, and only members may now, in a process to which removing
    /// files is refused.
    pub(super) fn closed_and_not_noted(&self, words: &str) -> Output {
        let (_hub, endpoint) = self.chunks();
        let words_of_it = &["pull", "org/name", "--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"];
        let first = Self { home: self.home.clone(), line: words_of_it };
        assert!(run(&mut first.command(&endpoint)).status.success());
        // What was asked then is asked again now.
        let mut proofs = 0;
        crate::common::each_file(&self.home.join(".cache/zest/proofs"), &mut |path| {
            let text = std::fs::read_to_string(path).expect("text");
            if let Ok(mut proof) = serde_json::from_str::<serde_json::Value>(&text) {
                for name in ["asked", "until"] {
                    proof[name] = (proof[name].as_u64().expect("seconds") - 60_000).into();
                }
                std::fs::write(path, proof.to_string()).expect("ours");
                proofs += 1;
            }
        });
        assert_eq!(proofs, 1, "one commit");
        std::fs::write(self.home.join("root/models/org/name/access"), "private").expect("written");
        refusing(&[UNLINK], EROFS, || self.until_with(|command| command.env("HF_ENDPOINT", &endpoint), words))
    }

    /// A Hub of a folder that has one small file, and what is put beside it, until it has said these words.
    pub(super) fn own_hub(&self, put: impl FnOnce(&std::path::Path), words: &str) -> Output {
        let root = self.home.join("root");
        let place = root.join("models/org/name/main");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("config.json"), "{}").expect("written");
        put(&root);
        self.until_with(|command| command.env("ZEST_ROOT", root), words)
    }

    /// A server with a folder where it keeps a file, until it has said these words.
    pub(super) fn until_with_a_folder_at(&self, name: &str, words: &str) -> Output {
        std::fs::create_dir_all(self.home.join(".cache/zest").join(name)).expect("made");
        self.until(words)
    }

    /// With a Hub that accepts and says nothing, until it is asked; then Ctrl-C.
    pub(super) fn interrupted(&self) -> Output {
        let hub = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", hub.local_addr().expect("bound"));
        let mut command = self.command(&endpoint);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.spawn().expect("zest starts");
        let _asking = hub.accept().expect("it asks");
        crate::common::signal(&child, rustix::process::Signal::INT);
        child.wait_with_output().expect("it ends")
    }
}

/// The files of the scripted model.
pub(super) const FILES: [(&str, &[u8], &str); 2] = [
    ("config.json", b"{}\n", "0967ef424bce6791893e9a57bb952f80fd536e93"),
    ("sub dir/notes.txt", b"notes\n", "bfa655111293037a5564088d1a9bbca4cbcf446b"),
];

pub(super) fn model() -> ScriptedHub {
    ScriptedHub::start(model_answers)
}

pub(super) fn model_answers(asked: &Asked) -> Answer {
    let listed = |(path, bytes, oid): &(&str, &[u8], &str)| ListedFile {
        path: (*path).to_owned(),
        size: bytes.len(),
        oid: (*oid).to_owned(),
    };
    let files: Vec<ListedFile> = FILES.iter().map(listed).collect();
    usual(asked, &files).unwrap_or_else(|| {
        let path = asked.target.replace("%20", " ");
        let wanted =
            FILES.iter().find(|(name, ..)| path.split('?').next().is_some_and(|it| it.ends_with(name)));
        match wanted {
            Some((_, bytes, oid)) => Answer::ok(*bytes)
                .header("etag", format!("\"{oid}\""))
                .header("x-repo-commit", COMMIT)
                .header("accept-ranges", "bytes"),
            None => Answer::new(404, "").header("X-Error-Code", "EntryNotFound"),
        }
    })
}

/// A tracker that knows nobody.
pub(super) fn lonely_tracker() -> ScriptedHub {
    ScriptedHub::start(|_| Answer::ok("d8:intervali60e5:peers0:e"))
}

/// Whether this machine has an address for others, or at least a route to them.
pub(super) fn has_an_address() -> bool {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a free port");
    socket.connect("203.0.113.1:9").is_ok() && socket.local_addr().is_ok_and(|addr| !addr.ip().is_loopback())
}

/// Whether a file system can be mounted here, for one's own eyes.
pub(crate) fn may_mount() -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    probe.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}
