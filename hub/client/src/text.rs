//! Text that came from a server, made fit for messages: bounded, one line, free of control characters and of our secrets.

/// Longest text of a server in one of our messages: 500 characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 500;

/// The words of an error answer: the Hub's `X-Error-Message`, else the `error` or `message` field of a JSON body, else the body.
pub(super) fn message(header: Option<&str>, body: &[u8], secrets: &[&str]) -> String {
    let json = || {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let field = value.get("error").or_else(|| value.get("message"))?;
        field.as_str().map(str::to_owned)
    };
    let text =
        header.map(str::to_owned).or_else(json).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    clean(&text, secrets)
}

/// `text` with secrets replaced, control characters and runs of white space turned into one space, and a bounded length.
pub(super) fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    clip(&text, MESSAGE_CHARS_MAX)
}

/// The first `chars_max` characters on one line.
pub(super) fn clip(text: &str, chars_max: usize) -> String {
    // Besides C0 and C1, direction overrides could make a terminal show another text than the one logged.
    let odd = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let line: String = text.chars().map(|c| if odd(c) { ' ' } else { c }).take(4 * chars_max).collect();
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(chars_max) {
        line.truncate(at);
        line.push('…');
    }
    line
}

/// The innermost cause of a library error; its own text would show the address with its signature.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "request failed".to_owned(),
    };
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A network or parser message, bounded to one line of 200 characters.
pub(super) fn shorter(text: &str) -> String {
    clip(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoed_secrets_and_terminal_codes_do_not_reach_messages() {
        let body = b"{\"error\": \"bad header\\u001b[2J Bearer hf_secret\\n given\"}";
        assert_eq!(message(None, body, &["hf_secret", ""]), "bad header [2J Bearer *** given");
    }

    #[test]
    fn texts_are_bounded_whatever_comes() {
        assert_eq!(message(None, &[b'x'; 9999], &[]).chars().count(), MESSAGE_CHARS_MAX + 1);
        assert_eq!(message(Some("from the header"), b"{}", &[]), "from the header");
        assert_eq!(message(None, &[0xff, 0xfe], &[]), "\u{fffd}\u{fffd}");
    }
}
