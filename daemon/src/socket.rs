//! The API's Unix socket: for this user alone, whom the system names, so that no secret has to cross it.
//!
//! It is `api.sock` in a folder that nobody else may enter: `zest` in the user's runtime folder (`XDG_RUNTIME_DIR`), or one of this
//! user's in the machine's folder for short-lived files. Where another cache's daemon has that name already, this one's has its
//! cache in its name; `daemon.json` says which it is. A lock beside it tells a socket that is in use from one that was left.

use crate::instance::{is_at, lock_file};
use crate::os::{self, make_private};
use crate::{DaemonError, Places};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use zest_hub_server::guard::{Door, Side};

/// Longest path of a socket: 103 bytes. `sun_path` has 104 on macOS and 108 on Linux (unix(7)), with the zero at its end.
const PATH_BYTES_MAX: usize = 103;

/// Bytes of the hash that stand for a cache in a socket's name: 8.
const CACHE_BYTES: usize = 8;

/// Tries to lock a name whose last holder is just taking it away: 8.
const LOCK_TRIES: u32 = 8;

/// Sockets that were left and are looked at, at most: 64.
const LEFT_MAX: usize = 64;

/// The socket, listening. It is gone when this is.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Held locked; none for a socket that somebody else has opened for us.
    lock: Option<(File, PathBuf)>,
}

impl Socket {
    /// Opens it for the daemon of a cache, who has the [claim](crate::Instance). `runtime_dir` is the user's runtime folder, if there
    /// is one.
    ///
    /// # Errors
    /// There is no folder that is this user's alone, or the socket cannot be made. A daemon does without.
    pub fn open(places: &Places, runtime_dir: Option<&Path>) -> Result<Self, DaemonError> {
        let names = ["api.sock".to_owned(), format!("api-{}.sock", name_of(places.dir()))];
        let longest = names.iter().map(String::len).max().unwrap_or(0);
        let dir = folder(runtime_dir, longest)?;
        sweep(&dir);
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for name in names {
            match Self::at(&dir.join(name)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(DaemonError::File { path: dir, source: last })
    }

    /// The one that was opened for this process, if one was.
    #[must_use]
    pub fn handed_over(given: &mut crate::Given) -> Option<Self> {
        let listener = given.unix.take()?;
        listener.set_nonblocking(true).ok()?;
        let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
        Some(Self { listener: UnixListener::from_std(listener).ok()?, path, lock: None })
    }

    fn at(path: &Path) -> io::Result<Self> {
        let lock_path = lock_path(path);
        let lock = try_lock(&lock_path)?;
        // Who had the name is gone.
        let _not_there = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        os::keep_for_owner(path)?;
        Ok(Self { listener, path: path.to_owned(), lock: Some((lock, lock_path)) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((lock, lock_path)) = &self.lock {
            let _not_there = std::fs::remove_file(&self.path);
            if is_at(lock, lock_path) {
                let _not_there = std::fs::remove_file(lock_path);
            }
        }
    }
}

impl Door for Socket {
    type Stream = UnixStream;

    /// Lets in who this user is, or the superuser, who can read the secret anyway.
    async fn accept(&self) -> io::Result<(UnixStream, Side)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // Who hung up has no name any more.
            let Ok(uid) = stream.peer_cred().map(|cred| cred.uid()) else { continue };
            if may_enter(uid, os::user()) {
                return Ok((stream, Side::User(uid)));
            }
            let path = self.path.display();
            tracing::warn!(target: zest_store::SAID, kind = "not-let-in", "user {uid} is not let in at {path}");
        }
    }
}

fn may_enter(uid: u32, owner: u32) -> bool {
    uid == owner || uid == 0
}

/// Connects to a daemon of this user. Whoever made the socket is the one who answers.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let uid = stream.peer_cred()?.uid();
    match uid == os::user() {
        true => Ok(stream),
        false => {
            let why = format!("user {uid} answers at {}", path.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

/// The cache in a socket's name.
fn name_of(cache: &Path) -> String {
    let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
    let hash = Sha256::digest(cache.as_os_str().as_encoded_bytes());
    crate::secret::hex(&hash[..CACHE_BYTES])
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// Locks a name, if nobody has it.
fn try_lock(path: &Path) -> io::Result<File> {
    for _ in 0..LOCK_TRIES {
        let file = lock_file(path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::AddrInUse),
            std::fs::TryLockError::Error(error) => error,
        })?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The first folder that is this user's alone, made if it is not there, in which a name of `name_bytes` is short enough.
fn folder(runtime_dir: Option<&Path>, name_bytes: usize) -> Result<PathBuf, DaemonError> {
    let own = format!("zest-{}", os::user());
    let runtime = runtime_dir.filter(|dir| dir.is_absolute()).map(|dir| dir.join("zest"));
    let short_lived = [std::env::temp_dir().join(&own), Path::new("/tmp").join(&own)];
    let mut last = None;
    for dir in runtime.into_iter().chain(short_lived) {
        if dir.as_os_str().len() + 1 + name_bytes > PATH_BYTES_MAX {
            continue;
        }
        match make_private(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) => last = Some(DaemonError::File { path: dir, source: error }),
        }
    }
    let long = || DaemonError::File {
        path: std::env::temp_dir(),
        source: io::Error::new(io::ErrorKind::InvalidFilename, "the path of a socket in there is too long"),
    };
    Err(last.unwrap_or_else(long))
}

/// Takes away what killed daemons of caches have left that may never have one again.
fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let locks = entries.flatten().map(|entry| entry.path());
    for path in locks.filter(|path| path.extension().is_some_and(|it| it == "lock")).take(LEFT_MAX) {
        if let Ok(_held) = try_lock(&path) {
            let _not_there = std::fs::remove_file(path.with_extension("sock"));
            let _not_there = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).expect("there").mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_where_its_user_alone_comes_and_gone_with_its_daemon() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, other) = (Places::new(&dir.path().join("a")), Places::new(&dir.path().join("b")));
        let socket = Socket::open(&one, Some(dir.path())).expect("made");
        assert_eq!(socket.path(), dir.path().join("zest/api.sock"));
        assert_eq!((mode(&dir.path().join("zest")), mode(socket.path())), (0o700, 0o600));
        let second = Socket::open(&other, Some(dir.path())).expect("made, under another name");
        assert_ne!(second.path(), socket.path());
        assert!(second.path().exists() && socket.path().exists());
        connect(second.path()).await.expect("it listens");
        let (first, second) = (socket.path().to_owned(), second);
        drop(socket);
        assert!(!first.exists() && second.path().exists());
        drop(second);
        let left: Vec<_> = std::fs::read_dir(dir.path().join("zest")).expect("there").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_taken_over_and_swept() {
        let dir = tempfile::tempdir().expect("a folder");
        let zest = dir.path().join("zest");
        std::fs::create_dir(&zest).expect("made");
        for name in ["api.sock", "api.lock", "api-0123456789abcdef.sock", "api-0123456789abcdef.lock", "else"]
        {
            std::fs::write(zest.join(name), "").expect("written");
        }
        let socket = Socket::open(&Places::new(dir.path()), Some(dir.path())).expect("made");
        connect(socket.path()).await.expect("it listens");
        let mut names: Vec<_> =
            std::fs::read_dir(&zest).expect("there").map(|it| it.expect("there").file_name()).collect();
        names.sort();
        assert_eq!(names, ["api.lock", "api.sock", "else"]);
        assert_eq!(mode(&zest), 0o700, "a folder that others could enter is closed to them");
    }

    #[test]
    fn a_folder_of_somebody_else_and_a_link_are_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        make_private(&real).expect("made");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        assert!(make_private(&link).is_err());
        std::fs::write(dir.path().join("file"), "").expect("written");
        assert!(make_private(&dir.path().join("file")).is_err());
        assert!(may_enter(1000, 1000) && may_enter(0, 1000) && !may_enter(1001, 1000) && !may_enter(1000, 0));
    }

    #[test]
    fn a_path_that_is_too_long_gives_way_to_a_short_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let long = dir.path().join("x".repeat(90));
        std::fs::create_dir(&long).expect("made");
        let chosen = folder(Some(&long), 25).expect("a short one");
        assert!(chosen.as_os_str().len() + 26 <= PATH_BYTES_MAX && !chosen.starts_with(&long), "{chosen:?}");
        assert!(!long.join("zest").exists());
    }
}
