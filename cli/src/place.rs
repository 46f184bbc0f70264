//! What a command line names: a repository by its name, or by an address of the Hub as `hf` writes it or a browser shows it.

use crate::args::RepoKind;

/// Addresses of the public Hub, whichever Hub is configured: what is copied from a browser is meant for a mirror, too.
const PUBLIC: [&str; 4] =
    ["https://huggingface.co", "https://www.huggingface.co", "https://hf.co", "http://huggingface.co"];

/// What an address begins with that `hf` takes.
const HF: &str = "hf://";

/// Parts of a page's address behind the repository's name, before revision and path.
const PAGES: [&str; 4] = ["tree", "blob", "resolve", "raw"];

/// What was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: Option<RepoKind>,
    pub(crate) name: String,
    pub(crate) revision: Option<String>,
    /// A file, or a folder with `/` at its end.
    pub(crate) path: Option<String>,
}

/// Reads an address; `None` for a mere name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str, endpoint: &str) -> Result<Option<Named>, String> {
    if let Some(rest) = text.strip_prefix(HF) {
        return hf(rest).map(Some).map_err(|why| format!("{text:?}: {why}"));
    }
    let bases = PUBLIC.into_iter().chain([endpoint]);
    let rests = bases.filter_map(|base| text.strip_prefix(base.trim_end_matches('/')));
    if let Some(rest) = rests.into_iter().find(|rest| rest.is_empty() || rest.starts_with('/')) {
        return page(rest).map(Some).map_err(|why| format!("{text:?}: {why}"));
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Err(format!(
            "{text:?} is of another Hub than {endpoint}; HF_ENDPOINT says which one is asked"
        ));
    }
    Ok(None)
}

/// `[datasets/]ORG/NAME[@REV][/PATH]`.
fn hf(text: &str) -> Result<Named, String> {
    let (kind, rest) = kind(text);
    if rest.starts_with("buckets/") {
        return Err("buckets are no repositories".to_owned());
    }
    let mut parts = rest.splitn(3, '/');
    let (Some(org), name) = (parts.next().filter(|org| !org.is_empty()), parts.next()) else {
        return Err("a repository is missing: hf://ORG/NAME".to_owned());
    };
    let (name, mut path) = match (org.contains('@'), name) {
        // A repository without an owner is known by its revision.
        (true, _) => (org.to_owned(), rest.split_once('/').map(|(_, path)| path.to_owned())),
        (false, None) => (org.to_owned(), None),
        (false, Some(name)) => (format!("{org}/{name}"), parts.next().map(str::to_owned)),
    };
    let (name, mut revision) = match name.split_once('@') {
        Some((name, revision)) => (name.to_owned(), Some(decoded(revision)?)),
        None => (name, None),
    };
    // `refs/pr/3` and `refs/convert/parquet` have slashes of their own.
    if revision.as_deref() == Some("refs") {
        let rest = path.take().unwrap_or_default();
        let mut parts = rest.splitn(3, '/');
        let (Some(which), Some(number)) = (parts.next(), parts.next()) else {
            return Err("a revision of the form refs/pr/N is meant".to_owned());
        };
        revision = Some(format!("refs/{which}/{number}"));
        path = parts.next().map(str::to_owned);
    }
    if revision.as_deref() == Some("") {
        return Err("a revision is missing after @".to_owned());
    }
    Ok(Named { kind, name, revision, path: path.filter(|path| !path.is_empty()) })
}

/// What stands behind the Hub's address: `/[datasets/]ORG/NAME[/tree/REV[/PATH]]`.
fn page(text: &str) -> Result<Named, String> {
    let text = text.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
    let (kind, rest) = kind(text);
    let parts: Vec<&str> = rest.split('/').collect();
    let is_page = |index: usize| parts.get(index).is_some_and(|part| PAGES.contains(part));
    let of_name = if is_page(1) && !is_page(2) { 1 } else { parts.len().min(2) };
    let name = parts[..of_name].join("/");
    if name.trim_matches('/').is_empty() {
        return Err("a repository is missing".to_owned());
    }
    let name = name.trim_end_matches('/').to_owned();
    let rest: Vec<&str> = parts[of_name..].iter().copied().skip_while(|part| part.is_empty()).collect();
    let Some((page, rest)) = rest.split_first() else {
        return Ok(Named { kind, name, ..Named::default() });
    };
    if !PAGES.contains(page) {
        return Err(format!("/{page} is no page of files"));
    }
    let Some((revision, path)) = rest.split_first() else { return Err("a revision is missing".to_owned()) };
    let folder = if *page == "tree" && path.last().is_some_and(|last| !last.is_empty()) { "/" } else { "" };
    let path = decoded(&path.join("/"))?;
    let path = (!path.is_empty()).then(|| path + folder);
    Ok(Named { kind, name, revision: Some(decoded(revision)?), path })
}

/// The kind that a path begins with, and the rest.
fn kind(text: &str) -> (Option<RepoKind>, &str) {
    let kinds =
        [("models/", RepoKind::Model), ("datasets/", RepoKind::Dataset), ("spaces/", RepoKind::Space)];
    let found = kinds.into_iter().find_map(|(prefix, kind)| Some((Some(kind), text.strip_prefix(prefix)?)));
    found.unwrap_or((None, text))
}

/// `%2F` and the like as what they stand for.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(value.ok_or_else(|| format!("a % in {text:?} is not followed by two digits"))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "http://127.0.0.1:8080/hf";

    fn place(text: &str) -> Named {
        parse(text, HUB).expect(text).expect("an address")
    }

    fn some(kind: Option<RepoKind>, name: &str, revision: Option<&str>, path: Option<&str>) -> Named {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Named { kind, name: name.to_owned(), revision: own(revision), path: own(path) }
    }

    #[test]
    fn addresses_of_hf_name_kind_revision_and_path() {
        let rows = [
            ("hf://org/name", some(None, "org/name", None, None)),
            ("hf://gpt2", some(None, "gpt2", None, None)),
            ("hf://gpt2@v1/a.bin", some(None, "gpt2", Some("v1"), Some("a.bin"))),
            ("hf://org/name@v1.0/sub dir/", some(None, "org/name", Some("v1.0"), Some("sub dir/"))),
            ("hf://datasets/o/n/a/b.csv", some(Some(RepoKind::Dataset), "o/n", None, Some("a/b.csv"))),
            (
                "hf://spaces/o/n@refs/pr/3/app.py",
                some(Some(RepoKind::Space), "o/n", Some("refs/pr/3"), Some("app.py")),
            ),
            ("hf://o/n@refs%2Fpr%2F3", some(None, "o/n", Some("refs/pr/3"), None)),
        ];
        for (text, want) in rows {
            assert_eq!(place(text), want, "{text}");
        }
    }

    #[test]
    fn pages_of_the_hub_are_understood_as_they_are_copied() {
        let rows = [
            ("https://huggingface.co/org/name", some(None, "org/name", None, None)),
            ("https://huggingface.co/org/name/", some(None, "org/name", None, None)),
            ("https://hf.co/gpt2/tree/main", some(None, "gpt2", Some("main"), None)),
            ("https://huggingface.co/o/n/tree/main/onnx", some(None, "o/n", Some("main"), Some("onnx/"))),
            ("https://huggingface.co/o/n/blob/v1/a%20b.bin", some(None, "o/n", Some("v1"), Some("a b.bin"))),
            (
                "https://huggingface.co/datasets/o/n/resolve/refs%2Fconvert%2Fparquet/x/0.parquet?download=true",
                some(Some(RepoKind::Dataset), "o/n", Some("refs/convert/parquet"), Some("x/0.parquet")),
            ),
            ("http://127.0.0.1:8080/hf/o/n/raw/main/a", some(None, "o/n", Some("main"), Some("a"))),
        ];
        for (text, want) in rows {
            assert_eq!(place(text), want, "{text}");
        }
    }

    #[test]
    fn names_are_no_addresses_and_nonsense_is_refused() {
        for name in ["org/name", "gpt2", "datasets/o/n", "hf:/x"] {
            assert_eq!(parse(name, HUB), Ok(None), "{name}");
        }
        for text in [
            "hf://",
            "hf:///x",
            "hf://o/n@",
            "hf://buckets/o/n",
            "https://huggingface.co",
            "https://huggingface.co/o/n/discussions/3",
            "https://huggingface.co/o/n/tree",
            "https://huggingface.co/o/n/blob/main/%zz",
            "https://example.com/o/n",
            "http://127.0.0.1:8080/hfx/o/n",
        ] {
            assert!(parse(text, HUB).is_err(), "{text}");
        }
    }
}
