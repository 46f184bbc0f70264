//! A program that is told by lines what to do, and answers with lines: one node or client of some implementation.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for an answer: 40 s. A node of some implementations looks around for 20 before it is ready.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running program. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Player {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// The last it wrote to its error output: mostly why it ended.
    complaint: Arc<Mutex<String>>,
}

impl Player {
    /// Starts it and waits for its `ready`, whose rest is returned.
    pub(crate) fn start(mut command: Command) -> Result<(Self, String), String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().expect("a pipe was asked for");
        each_line(output, move |line| sender.send(line).is_ok());
        let complaint = Arc::new(Mutex::new(String::new()));
        let last = complaint.clone();
        each_line(child.stderr.take().expect("a pipe was asked for"), move |line| {
            if !line.trim().is_empty() {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
            true
        });
        let input = child.stdin.take();
        let mut player = Self { child, input, lines, complaint };
        let line = player.line()?;
        let ready = line.strip_prefix("ready").ok_or(line.as_str())?.trim().to_owned();
        Ok((player, ready))
    }

    /// Tells it something and waits for its answer.
    pub(crate) fn ask(&mut self, words: &str) -> Result<String, String> {
        let input = self.input.as_mut().expect("it is there until the player is dropped");
        writeln!(input, "{words}").map_err(|_| self.ended())?;
        self.line()
    }

    fn line(&mut self) -> Result<String, String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("failed") => {
                Err(line["failed".len()..].trim_matches([':', ' ']).to_owned())
            }
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        format!("it ended with {status}: {complaint}")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // The end of its input is the word to end; who does not hear it is killed.
        drop(self.input.take());
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Hands each line to `take` until it says that it is enough. The thread ends with the program.
fn each_line(from: impl Read + Send + 'static, mut take: impl FnMut(String) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if !take(line) {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<(Player, String), String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Player::start(command)
    }

    #[test]
    fn it_answers_line_by_line() {
        let (mut player, ready) =
            shell("echo ready 127.0.0.1:7; while read x; do echo \"got $x\"; done").expect("sh");
        assert_eq!(ready, "127.0.0.1:7");
        assert_eq!(player.ask("this").as_deref(), Ok("got this"));
        assert_eq!(player.ask("that").as_deref(), Ok("got that"));
    }

    #[test]
    fn why_it_cannot_is_told() {
        assert_eq!(shell("echo failed: no node answers").err().as_deref(), Some("no node answers"));
        let why = shell("echo out of order >&2; exit 3").expect_err("it ends");
        assert!(why.contains("exit status: 3"), "{why}");
    }
}
