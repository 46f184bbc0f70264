//! What is drawn anew on a terminal is taken off, or left whole, however the command ends.

use crate::common::{Server, command, folder, signal};
use crate::terminal::Terminal;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

/// Rows of the terminal.
const ROWS: u16 = 40;
/// Columns of a narrow one, of two usual ones and of a wide one.
const COLUMNS: [u16; 4] = [40, 60, 80, 200];

/// A command on a terminal of its own.
struct OnTerminal {
    child: Child,
    from: File,
    screen: Terminal,
    /// All that was written.
    text: String,
    /// What is not a whole character yet.
    rest: Vec<u8>,
}

impl OnTerminal {
    fn start(command: &mut Command, columns: u16) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&near).and_then(|()| unlockpt(&near)).expect("ours");
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&near, size).expect("any size");
        let name = ptsname(&near, Vec::new()).expect("a name");
        let far = |flags| -> OwnedFd {
            rustix::fs::open(&name, flags | OFlags::NOCTTY, Mode::empty()).expect("its other end")
        };
        command.env("NO_COLOR", "1").stdout(far(OFlags::RDWR)).stderr(far(OFlags::RDWR));
        let child = command.spawn().expect("zest starts");
        // The command holds its other end no longer than its child does.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let screen = Terminal::new(columns.into(), ROWS.into());
        Self { child, from: File::from(near), screen, text: String::new(), rest: Vec::new() }
    }

    /// Takes in what was written. Gives whether more may come.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // Once nobody holds the other end there is an error (EIO).
        let Some(count) = self.from.read(&mut bytes).ok().filter(|count| *count > 0) else { return false };
        self.rest.extend(&bytes[..count]);
        // No escape sequence is cut: each picture is one write, and shorter than what is read.
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text: Vec<u8> = self.rest.drain(..whole).collect();
        self.screen.take(&text);
        self.text += std::str::from_utf8(&text).expect("whole characters");
        true
    }

    fn until(&mut self, words: &str) {
        while !self.text.contains(words) {
            assert!(self.read(), "it ended before {words:?}: {}", self.text);
        }
    }

    /// Presses Ctrl-C. Gives the code with which it ends, and what is on the screen then, with the prompt of a shell.
    fn interrupt(mut self) -> (Option<i32>, Vec<String>) {
        self.screen.take(b"^C");
        signal(&self.child, rustix::process::Signal::INT);
        while self.read() {}
        let code = self.child.wait().expect("it ends").code();
        self.screen.take(b"$");
        (code, self.screen.seen())
    }
}

#[test]
fn a_server_that_is_watched_takes_its_picture_off() {
    for columns in COLUMNS {
        let home = folder();
        let words = ["serve", "--watch", "--no-http", "--listen", "127.0.0.1:0"];
        let mut serve = OnTerminal::start(&mut command(home.path(), &words), columns);
        serve.until("uploading 0 B/s");
        let (code, seen) = serve.interrupt();
        assert_eq!(code, Some(0), "{columns}: {seen:#?}");
        let [.., stopped, prompt] = &seen[..] else { panic!("{columns}: {seen:#?}") };
        assert_eq!(
            (&**stopped, &**prompt),
            ("stopped: 0 B in 0 chunks uploaded", "$"),
            "{columns}: {seen:#?}"
        );
        let ghosts = ["sharing 0 files", "uploading 0 B/s"];
        assert!(
            !seen.iter().any(|row| ghosts.iter().any(|ghost| row.contains(ghost))),
            "{columns}: {seen:#?}"
        );
    }
}

#[test]
fn a_status_that_is_watched_leaves_its_last_picture_whole() {
    let home = folder();
    let words = ["serve", "--json", "-q", "--listen", "127.0.0.1:0", "--http-port", "0"];
    let mut server = Server::start(&mut command(home.path(), &words));
    server.event_among("listening");
    for columns in COLUMNS {
        let mut status = OnTerminal::start(&mut command(home.path(), &["status", "--watch"]), columns);
        status.until("sharing 0 files");
        let (code, seen) = status.interrupt();
        assert_eq!(code, Some(0), "{columns}: {seen:#?}");
        let text = seen.join("\n");
        assert!(text.starts_with("zest ") && text.ends_with("\n$"), "{columns}: {text}");
        assert_eq!(text.matches("sharing 0 files").count(), 1, "{columns}: {text}");
        assert!(!text.contains("^C"), "{columns}: {text}");
    }
    assert_eq!(server.stop(), Some(0));
}
