//! Which files of a repository a pull wants: shell patterns with the rules of `huggingface_hub`.
//!
//! The rules are those of Python's `fnmatch` as `filter_repo_objects` applies it, so that a command line
//! that works with `hf download` picks the same files here:
//! - `*` matches everything, `/` included; `?` one character; `[seq]` one character of a set, `[!seq]` one
//!   outside it; there is no escape character; a `[` that is never closed stands for itself.
//! - a pattern that ends with `/` means everything below that folder.
//! - matching is case-sensitive and covers the whole path.
//!
//! [`Filter`] is pure. Its work is bounded by pattern length × path length for every input.

/// What a pull takes from a repository's tree.
///
/// A path is wanted if it is one of `files` (when any are named) or matches any of `include` (when any are
/// given), and matches none of `exclude`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    files: Vec<String>,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Filter {
    /// Builds a filter. Empty `files` and `include` mean "everything".
    pub fn new(files: &[String], include: &[String], exclude: &[String]) -> Self {
        let compile = |list: &[String]| list.iter().map(|text| Pattern::new(text)).collect();
        Self { files: files.to_vec(), include: compile(include), exclude: compile(exclude) }
    }

    /// Whether the path belongs to the pull.
    pub fn wants(&self, path: &str) -> bool {
        let named = self.files.iter().any(|file| file == path);
        let matched = self.include.iter().any(|pattern| pattern.matches(path));
        let everything = self.files.is_empty() && self.include.is_empty();
        (everything || named || matched) && !self.exclude.iter().any(|pattern| pattern.matches(path))
    }

    /// The files named one by one that `paths` lacks, in the order they were named: asking for a file that
    /// does not exist is an error, while a pattern may match nothing.
    pub fn missing<'a>(&'a self, paths: &[&str]) -> Vec<&'a str> {
        self.files.iter().map(String::as_str).filter(|file| !paths.contains(file)).collect()
    }
}

/// Where all that a pattern can match lies, if the pattern itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    /// It is the path of one file.
    File(&'a str),
    /// Everything it matches is below this folder.
    Folder(&'a str),
}

/// What of `pattern` is literal; `None` if it may match at the top.
pub(crate) fn literal(pattern: &str) -> Option<Literal<'_>> {
    let wild = pattern.find(['*', '?', '[']);
    if wild.is_none() && !pattern.ends_with('/') {
        return Some(Literal::File(pattern));
    }
    let folder = pattern[..wild.unwrap_or(pattern.len())].rsplit_once('/')?.0;
    (!folder.is_empty()).then_some(Literal::Folder(folder))
}

/// Whether `pattern` covers the whole of `path`. For many paths, [`Pattern::new`] once is cheaper.
pub fn fnmatch(pattern: &str, path: &str) -> bool {
    Pattern::new(pattern).matches(path)
}

/// Whether a pull of these files and patterns takes `path`. For many paths, [`Filter::new`] once is cheaper.
pub fn selected(path: &str, files: &[String], include: &[String], exclude: &[String]) -> bool {
    Filter::new(files, include, exclude).wants(path)
}

/// One compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyOne,
    AnyRun,
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    /// Whether this token, which must not be [`Token::AnyRun`], matches one character.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(want) => *want == c,
            Self::AnyOne => true,
            Self::AnyRun => unreachable!("runs are handled by the caller"),
            Self::Set { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

impl Pattern {
    /// Compiles a pattern. Every string is a valid pattern.
    pub fn new(text: &str) -> Self {
        let mut chars: Vec<char> = text.chars().collect();
        if chars.last() == Some(&'/') {
            chars.push('*');
        }
        let mut tokens = Vec::with_capacity(chars.len());
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            at += 1;
            let token = match c {
                // Neighbouring runs say no more than one, and cost time in the matcher.
                '*' if tokens.last() == Some(&Token::AnyRun) => continue,
                '*' => Token::AnyRun,
                '?' => Token::AnyOne,
                '[' => match set_end(&chars, at) {
                    Some(end) => {
                        let set = parse_set(&chars[at..end]);
                        at = end + 1;
                        set
                    }
                    None => Token::Literal('['),
                },
                c => Token::Literal(c),
            };
            tokens.push(token);
        }
        Self { tokens }
    }

    /// Whether the pattern covers the whole of `path`.
    pub fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let (mut token, mut at) = (0, 0);
        // On a mismatch only the latest run needs to take one character more: an earlier run could give
        // the later tokens nothing that the latest cannot give.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::AnyRun) => {
                    retry = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(single) if path.get(at).is_some_and(|&c| single.takes(c)) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                None if at == path.len() => return true,
                _ => {}
            }
            match retry {
                Some((after, start)) if start < path.len() => {
                    token = after;
                    at = start + 1;
                    retry = Some((after, start + 1));
                }
                _ => return false,
            }
        }
    }
}

/// Index of the `]` that closes the set whose first character is at `start`.
fn set_end(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    if chars.get(at) == Some(&'!') {
        at += 1;
    }
    // A `]` in the first place is a member, not the end.
    if chars.get(at) == Some(&']') {
        at += 1;
    }
    (at..chars.len()).find(|&i| chars[i] == ']')
}

/// Reads what stands between the brackets. A range that runs backwards (`z-a`) has no members, as in Python.
fn parse_set(body: &[char]) -> Token {
    let (negated, body) = match body.split_first() {
        Some(('!', rest)) => (true, rest),
        _ => (false, body),
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < body.len() {
        if at + 2 < body.len() && body[at + 1] == '-' {
            if body[at] <= body[at + 2] {
                ranges.push((body[at], body[at + 2]));
            }
            at += 3;
        } else {
            ranges.push((body[at], body[at]));
            at += 1;
        }
    }
    Token::Set { negated, ranges }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_literal_part_of_a_pattern_says_where_to_look() {
        use super::{Literal, literal};
        for (pattern, part) in [
            ("config.json", Some(Literal::File("config.json"))),
            ("data/a b/", Some(Literal::Folder("data/a b"))),
            ("data/train/*.parquet", Some(Literal::Folder("data/train"))),
            ("data/train-[0-9]/x", Some(Literal::Folder("data"))),
            ("data/?", Some(Literal::Folder("data"))),
            ("*.json", None),
            ("train*/x", None),
            ("/", None),
            ("", Some(Literal::File(""))),
        ] {
            assert_eq!(literal(pattern), part, "{pattern}");
        }
    }

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        fnmatch(pattern, path)
    }

    fn filter(files: &[&str], include: &[&str], exclude: &[&str]) -> Filter {
        let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        Filter::new(&own(files), &own(include), &own(exclude))
    }

    #[test]
    fn a_star_crosses_folders() {
        assert!(matches("*.safetensors", "model.safetensors"));
        assert!(matches("*.safetensors", "unet/deep/model.safetensors"));
        assert!(matches("unet/*", "unet/deep/model.safetensors"));
        assert!(!matches("*.safetensors", "model.safetensors.index.json"));
    }

    #[test]
    fn a_pattern_covers_the_whole_path() {
        assert!(!matches("config", "config.json"));
        assert!(!matches("config.json", "sub/config.json"));
        assert!(matches("", ""));
        assert!(!matches("", "a"));
        assert!(matches("*", ""));
    }

    #[test]
    fn a_trailing_slash_means_everything_below() {
        assert!(matches("tokenizer/", "tokenizer/vocab.json"));
        assert!(matches("tokenizer/", "tokenizer/deep/er.json"));
        assert!(!matches("tokenizer/", "tokenizer"));
        assert!(!matches("tokenizer/", "tokenizer.json"));
    }

    #[test]
    fn case_counts() {
        assert!(!matches("readme*", "README.md"));
    }

    #[test]
    fn sets_have_ranges_negation_and_literal_brackets() {
        assert!(matches("model-0000[1-3].bin", "model-00002.bin"));
        assert!(!matches("model-0000[1-3].bin", "model-00004.bin"));
        assert!(matches("[!a]b", "xb") && !matches("[!a]b", "ab"));
        assert!(matches("[]]", "]") && matches("[!]]", "x") && !matches("[!]]", "]"));
        assert!(matches("[a-]", "-") && matches("[-a]", "-"));
        assert!(!matches("[z-a]", "m") && matches("[!z-a]", "m"));
        assert!(matches("a[b", "a[b") && matches("[", "[") && matches("[!", "[!") && matches("[]", "[]"));
        assert!(matches("[^a]", "^"), "only ! negates");
    }

    #[test]
    fn a_question_mark_is_one_character_not_one_byte() {
        assert!(matches("?.bin", "ä.bin") && matches("?", "/") && !matches("?", ""));
    }

    #[test]
    fn names_with_spaces_and_hashes_are_ordinary() {
        assert!(matches("sub dir/*", "sub dir/a#b.bin"));
    }

    #[test]
    fn many_stars_cost_no_more_than_their_length() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(&pattern, &"a".repeat(20_000)));
    }

    #[test]
    fn nothing_asked_means_everything() {
        assert!(filter(&[], &[], &[]).wants("any/thing"));
        assert!(!filter(&[], &[], &["any/"]).wants("any/thing"));
    }

    #[test]
    fn exclude_wins_over_include_and_over_names() {
        let filter = filter(&["a.bin"], &["*.json"], &["secret*", "a.*"]);
        assert!(filter.wants("b.json"));
        assert!(!filter.wants("secret.json") && !filter.wants("a.bin") && !filter.wants("b.bin"));
    }

    #[test]
    fn named_files_are_taken_literally_and_missed_by_name() {
        let filter = filter(&["a*.bin", "b.bin"], &[], &[]);
        assert!(filter.wants("a*.bin") && !filter.wants("ab.bin"));
        assert_eq!(filter.missing(&["b.bin", "ab.bin"]), ["a*.bin"]);
    }
}
