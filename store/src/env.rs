//! The environment of the Hub's own tools, read once at start: where the caches are, which Hub, which token,
//! which switches. Names and precedence are those of huggingface_hub 2.4; an empty value counts as not set.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::os;

/// The Hub when `HF_ENDPOINT` is not set.
pub const ENDPOINT_DEFAULT: &str = "https://huggingface.co";
/// Time-out for metadata and for downloads when the environment sets none: 10 s (huggingface_hub's defaults).
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Bytes of a token file that are looked at; real tokens have about 40.
const TOKEN_FILE_BYTES_MAX: u64 = 16_384;

/// An access token of the Hub. Its value appears in no debug or display output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Cleans a token as read from a variable or file: line breaks, outer spaces and the mark that some editors put before a
    /// text go; `None` if nothing is left.
    #[must_use]
    pub fn new(raw: &str) -> Option<Self> {
        let clean: String = raw.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let clean = clean.trim_start_matches('\u{feff}').trim();
        if clean.is_empty() { None } else { Some(Self(clean.to_owned())) }
    }

    /// The value, for the Authorization header and nothing else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What the environment says. The fields are public so that command-line options can override them.
#[derive(Clone)]
pub struct Env {
    /// Root of the HF cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`.
    pub hub_cache: PathBuf,
    /// Root of zest's own cache: `ZEST_CACHE_DIR`, else `~/.cache/zest` (where the original keeps its caches
    /// too).
    pub zest_cache: PathBuf,
    /// `HF_ENDPOINT` without a trailing slash. It may hold a user name and password: not for showing.
    pub endpoint: String,
    /// `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` or `$HF_HOME/token`; none if
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`: no request at all.
    pub offline: bool,
    /// `HF_HUB_DISABLE_SYMLINKS`: files stand in `snapshots/` themselves.
    pub disable_symlinks: bool,
    /// `HF_HUB_DISABLE_SHARED_BLOBS` (or `HF_HUB_DISABLE_XET`): no store shared by all repositories.
    pub disable_shared_blobs: bool,
    /// `HF_HUB_DISABLE_XET`: plain downloads only.
    pub disable_xet: bool,
    /// `HF_HUB_DISABLE_PROGRESS_BARS`.
    pub disable_progress: bool,
    /// `HF_HUB_ETAG_TIMEOUT`, whole seconds.
    pub etag_timeout: Duration,
    /// `HF_HUB_DOWNLOAD_TIMEOUT`, whole seconds.
    pub download_timeout: Duration,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.endpoint.rsplit('@').next().unwrap_or_default();
        f.debug_struct("Env")
            .field("hub_cache", &self.hub_cache)
            .field("zest_cache", &self.zest_cache)
            .field("endpoint", &host)
            .field("token", &self.token)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// Reads this process's environment, and the token file it points to.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_vars(&std::env::vars_os().collect())
    }

    /// Reads an environment given as a map; nothing else but the token file is looked at.
    #[must_use]
    pub fn from_map(vars: &BTreeMap<String, String>) -> Self {
        Self::from_vars(&vars.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// As [`Env::from_map`], where values may be no text: the names of folders are any bytes.
    #[must_use]
    pub fn from_vars(vars: &BTreeMap<OsString, OsString>) -> Self {
        let get_os = |name: &str| vars.get(OsStr::new(name)).filter(|value| !value.is_empty());
        // What is no folder is text; a value that is none then is no such value.
        let get = |name: &str| get_os(name).and_then(|value| value.to_str());
        let flag = |name: &str| get(name).is_some_and(is_true);
        let path = |value: &OsString| expand(value, vars);

        let home = get_os("HOME").or_else(|| get_os("USERPROFILE")).map_or(Path::new("."), Path::new);
        let cache_home = get_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), path);
        let hf_home = get_os("HF_HOME").map_or_else(|| cache_home.join("huggingface"), path);
        let hub_cache = get_os("HF_HUB_CACHE")
            .or_else(|| get_os("HUGGINGFACE_HUB_CACHE"))
            .map_or_else(|| hf_home.join("hub"), path);
        let zest_cache = get_os("ZEST_CACHE_DIR").map_or_else(|| cache_home.join("zest"), path);
        let token = if flag("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            let token_path = get_os("HF_TOKEN_PATH").map_or_else(|| hf_home.join("token"), path);
            get("HF_TOKEN")
                .and_then(Token::new)
                .or_else(|| get("HUGGING_FACE_HUB_TOKEN").and_then(Token::new))
                .or_else(|| read_token(&token_path))
        };
        let disable_xet = flag("HF_HUB_DISABLE_XET");
        let endpoint = get("HF_ENDPOINT").unwrap_or(ENDPOINT_DEFAULT).trim_end_matches('/').to_owned();
        let seconds = |name: &str| {
            let value =
                get(name).and_then(|value| value.trim().parse::<u64>().ok()).filter(|&seconds| seconds > 0);
            value.map_or(TIMEOUT_DEFAULT, Duration::from_secs)
        };
        Self {
            hub_cache,
            zest_cache,
            endpoint,
            token,
            offline: get("HF_HUB_OFFLINE").or_else(|| get("TRANSFORMERS_OFFLINE")).is_some_and(is_true),
            disable_symlinks: flag("HF_HUB_DISABLE_SYMLINKS"),
            disable_shared_blobs: flag("HF_HUB_DISABLE_SHARED_BLOBS") || disable_xet,
            disable_xet,
            disable_progress: flag("HF_HUB_DISABLE_PROGRESS_BARS"),
            etag_timeout: seconds("HF_HUB_ETAG_TIMEOUT"),
            download_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
        }
    }

    /// The options of the HF cache that follow from the switches.
    #[must_use]
    pub fn cache_options(&self) -> crate::CacheOptions {
        crate::CacheOptions { shared_blobs: !self.disable_shared_blobs, symlinks: !self.disable_symlinks }
    }
}

/// The values that huggingface_hub takes for "yes".
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn read_token(path: &Path) -> Option<Token> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(TOKEN_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Token::new(&text(&bytes))
}

/// Text as editors and shells write it: UTF-8, or with a mark before it UTF-16 (PowerShell's `>`). What is no text stays as
/// signs that no token has, so that it is named and not passed over.
fn text(bytes: &[u8]) -> String {
    let units = |of: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(move |pair| of([pair[0], pair[1]]));
    let wide = |units: Vec<u16>| String::from_utf16_lossy(&units);
    match bytes {
        [0xff, 0xfe, ..] => wide(units(u16::from_le_bytes).collect()),
        [0xfe, 0xff, ..] => wide(units(u16::from_be_bytes).collect()),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Expands a leading `~` and `$NAME` / `${NAME}` anywhere, once, in that order. What is not set stays as it
/// stands, and so does every byte that is no text.
fn expand(value: &OsStr, vars: &BTreeMap<OsString, OsString>) -> PathBuf {
    let var = |name: &[u8]| vars.get(&os::text_of(name.to_vec())).map(|value| os::bytes_of(value));
    let mut rest = os::bytes_of(value);
    let mut out = Vec::with_capacity(rest.len());
    if let Some(tail) = rest.strip_prefix(b"~")
        && (tail.is_empty() || tail.starts_with(b"/"))
        && let Some(mut home) = var(b"HOME").or_else(|| var(b"USERPROFILE"))
    {
        while let Some(shorter) = home.strip_suffix(b"/") {
            home = shorter;
        }
        out.extend_from_slice(home);
        rest = tail;
    }
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        let tail = &rest[at + 1..];
        let braced = tail.strip_prefix(b"{");
        let closing = braced.and_then(|inner| inner.iter().position(|&byte| byte == b'}'));
        let (name, len) = match (braced, closing) {
            (Some(inner), Some(end)) => (&inner[..end], end + 2),
            _ => {
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let len = tail.iter().position(|byte| !is_name(byte)).unwrap_or(tail.len());
                (&tail[..len], len)
            }
        };
        match var(name) {
            Some(value) => out.extend_from_slice(value),
            None => out.extend_from_slice(&rest[at..=at + len]),
        }
        rest = &tail[len..];
    }
    out.extend_from_slice(rest);
    os::text_of(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Env {
        let mut map: BTreeMap<String, String> =
            vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        map.entry("HOME".to_owned()).or_insert_with(|| "/home/u".to_owned());
        Env::from_map(&map)
    }

    #[test]
    fn an_empty_environment_gives_the_usual_places() {
        let env = env(&[]);
        assert_eq!(env.hub_cache, Path::new("/home/u/.cache/huggingface/hub"));
        assert_eq!(env.zest_cache, Path::new("/home/u/.cache/zest"));
        assert_eq!(env.endpoint, "https://huggingface.co");
        assert_eq!(env.etag_timeout, Duration::from_secs(10));
        assert!(env.token.is_none() && !env.offline && !env.disable_xet && !env.disable_shared_blobs);
    }

    #[test]
    fn the_more_special_variable_wins() {
        let base = [
            ("XDG_CACHE_HOME", "/x"),
            ("HF_HOME", "/h"),
            ("HUGGINGFACE_HUB_CACHE", "/old"),
            ("HF_HUB_CACHE", "/new"),
        ];
        let expected = ["/x/huggingface/hub", "/h/hub", "/old", "/new"];
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(env(&base[..=n]).hub_cache, Path::new(expected));
        }
        assert_eq!(env(&[("XDG_CACHE_HOME", "/x")]).zest_cache, Path::new("/x/zest"), "ours moves, too");
        assert_eq!(env(&[("XDG_CACHE_HOME", "/x"), ("ZEST_CACHE_DIR", "/z")]).zest_cache, Path::new("/z"));
        assert_eq!(env(&[("HF_HOME", "")]).hub_cache, Path::new("/home/u/.cache/huggingface/hub"));
    }

    #[test]
    fn home_and_variables_are_expanded() {
        let with = |value| env(&[("HF_HUB_CACHE", value), ("DISK", "/mnt/d"), ("A_1", "q")]).hub_cache;
        assert_eq!(with("~/hub"), Path::new("/home/u/hub"));
        assert_eq!(with("$DISK/${A_1}x/$A_1"), Path::new("/mnt/d/qx/q"));
        assert_eq!(with("/a/$NOPE/${NOPE}/$"), Path::new("/a/$NOPE/${NOPE}/$"));
        assert_eq!(with("${DISK"), Path::new("${DISK"));
        assert_eq!(with("~other/hub"), Path::new("~other/hub"));
    }

    #[test]
    fn folders_whose_names_are_no_text_stay_what_they_are() {
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let vars = BTreeMap::from([
            ("HOME".into(), bytes(b"/home/\xe9")),
            ("HF_HOME".into(), bytes(b"~/caf\xe9/$X/${Y\xff}")),
            ("X".into(), bytes(b"x\xfe")),
            ("HF_HUB_DOWNLOAD_TIMEOUT".into(), bytes(b"\xff")),
        ]);
        let env = Env::from_vars(&vars);
        assert_eq!(env.hub_cache.as_os_str().as_bytes(), b"/home/\xe9/caf\xe9/x\xfe/${Y\xff}/hub");
        assert_eq!(env.zest_cache.as_os_str().as_bytes(), b"/home/\xe9/.cache/zest");
        assert_eq!(env.download_timeout, Duration::from_secs(10));
    }

    #[test]
    fn switches_take_the_values_of_the_official_client() {
        for yes in ["1", "on", "Yes", "TRUE"] {
            assert!(env(&[("HF_HUB_OFFLINE", yes)]).offline);
        }
        for no in ["0", "", "off", "2", "y"] {
            assert!(!env(&[("HF_HUB_OFFLINE", no)]).offline, "{no}");
        }
        assert!(env(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!env(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(env(&[("HF_HUB_DISABLE_XET", "1")]).disable_shared_blobs);
        assert_eq!(env(&[("HF_ENDPOINT", "http://hub.local:8080//")]).endpoint, "http://hub.local:8080");
        assert_eq!(env(&[("HF_HUB_DOWNLOAD_TIMEOUT", "30")]).download_timeout, Duration::from_secs(30));
        assert_eq!(env(&[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")]).download_timeout, Duration::from_secs(10));
    }

    #[test]
    fn the_token_is_found_in_order_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        std::fs::write(dir.path().join("other"), " hf_other \r\n").unwrap();
        let token = |vars: &[(&str, &str)]| env(vars).token.map(|token| token.as_str().to_owned());
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        for written in [
            b"\xef\xbb\xbfhf_file\r\n".to_vec(),
            b"\xff\xfe"
                .iter()
                .copied()
                .chain("hf_file\r\n".encode_utf16().flat_map(u16::to_le_bytes))
                .collect(),
            b"\xfe\xff".iter().copied().chain("hf_file".encode_utf16().flat_map(u16::to_be_bytes)).collect(),
        ] {
            std::fs::write(dir.path().join("token"), written).unwrap();
            assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        }
        let other = format!("{home}/other");
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", &other)]).as_deref(), Some("hf_other"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(),
            Some("hf_old")
        );
        let both = [("HUGGING_FACE_HUB_TOKEN", "hf_old"), ("HF_TOKEN", "hf_new\n")];
        assert_eq!(token(&both).as_deref(), Some("hf_new"));
        assert_eq!(token(&[("HF_TOKEN", "x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let shown = format!("{:?}", env(&both));
        assert!(shown.contains("***") && !shown.contains("hf_new"), "{shown}");
    }
}
