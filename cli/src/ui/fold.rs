//! Lines that are wider than the terminal, broken between words: a terminal breaks them wherever its edge is.

/// Columns by which the rest of a line stands to the right of its beginning: 2.
const HANGING: usize = 2;

/// What stands between things beside each other.
pub(super) const BETWEEN: &str = " · ";

/// The rows of a line, none wider than `room` unless a word is. What stands in backquotes is one word, as it is copied as one; so is a
/// number with its unit.
pub(super) fn fold(line: &str, room: usize) -> Vec<String> {
    if width(line) <= room {
        return vec![line.to_owned()];
    }
    let begin = line.chars().take_while(|char| *char == ' ').count();
    let hanging = " ".repeat((begin + HANGING).min(room / 2));
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut quoted = false;
    let mut word = String::new();
    for (at, char) in line.char_indices().chain([(line.len(), ' ')]) {
        // One that has no second one quotes nothing.
        quoted ^= char == '`' && (quoted || line[at + 1..].contains('`'));
        if char != ' ' || quoted || at < line.len() && is_number(&word) {
            word.push(char);
            continue;
        }
        let has_words = !row.trim().is_empty();
        if has_words && !word.is_empty() && width(&row) + width(&word) > room {
            rows.push(std::mem::replace(&mut row, hanging.clone()).trim_end().to_owned());
        }
        row += &std::mem::take(&mut word);
        row.push(' ');
    }
    rows.push(row.trim_end().to_owned());
    rows
}

fn is_number(word: &str) -> bool {
    let word = word.trim_start_matches('(');
    !word.is_empty() && word.chars().all(|char| char.is_ascii_digit() || ".,".contains(char))
}

/// As many of these as fit beside each other, the first ones first; at least a part of the first.
pub(super) fn fit(parts: &[String], room: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let between = if text.is_empty() { 0 } else { width(BETWEEN) };
        if width(&text) + between + width(part) <= room {
            if between > 0 {
                text += BETWEEN;
            }
            text += part;
        }
    }
    match parts.first() {
        Some(first) if text.is_empty() => cut(first.clone(), room),
        _ => text,
    }
}

/// As much of a text as fits into a line.
pub(super) fn cut(text: String, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// Columns of a line: its characters, but for those that set colours.
pub(super) fn width(line: &str) -> usize {
    let mut in_colour = false;
    let shown = line.chars().filter(|&char| match char {
        '\u{1b}' => {
            in_colour = true;
            false
        }
        'm' if in_colour => {
            in_colour = false;
            false
        }
        _ => !in_colour,
    });
    shown.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_broken_and_columns_stay_where_they_are() {
        let line = "  From CDN:     340.0 MB  5,301 chunks, 340.0 MB on the wire";
        assert_eq!(fold(line, 60), [line]);
        assert_eq!(fold(line, 39), ["  From CDN:     340.0 MB  5,301 chunks,", "    340.0 MB on the wire"]);
        assert_eq!(fold("a bb ccc", 4), ["a bb", "  ccc"]);
        let path = "/a/path/that/is/wider";
        assert_eq!(fold(path, 4), [path]);
        assert_eq!(fold(&format!("see {path} now"), 8), ["see", &format!("  {path}"), "  now"]);
    }

    #[test]
    fn a_command_stays_in_one_row_and_colours_take_no_columns() {
        let hint = "\u{1b}[1;36mhint:\u{1b}[0m run `zest cache verify --repair` and see";
        assert_eq!(
            fold(hint, 34),
            ["\u{1b}[1;36mhint:\u{1b}[0m run", "  `zest cache verify --repair` and", "  see"]
        );
        assert_eq!(fold("one ` is no pair", 8), ["one ` is", "  no", "  pair"]);
        assert_eq!(fold("Done: 4 files, in 17 s, 20 MB/s", 30), ["Done: 4 files, in 17 s,", "  20 MB/s"]);
        assert_eq!(
            fold("at 223 MB/s (208 MB/s received)", 20),
            ["at 223 MB/s", "  (208 MB/s", "  received)"]
        );
        assert_eq!(width("  a \u{1b}[36m━━\u{1b}[90m─\u{1b}[0m b"), 9);
    }

    #[test]
    fn parts_that_have_no_room_are_left_out_whole() {
        let parts = ["30 MB/s", "5 min 10 s left", "peers 0 B, CDN 2 MB"].map(str::to_owned);
        assert_eq!(fit(&parts, 60), "30 MB/s · 5 min 10 s left · peers 0 B, CDN 2 MB");
        assert_eq!(fit(&parts, 30), "30 MB/s · 5 min 10 s left");
        let long = ["30 MB/s", "5 min 10 s left of it all", "peers 0 B, CDN 2 MB"].map(str::to_owned);
        assert_eq!(fit(&long, 30), "30 MB/s · peers 0 B, CDN 2 MB");
        assert_eq!(fit(&parts, 5), "30 M…");
        assert_eq!(fit(&[], 5), "");
    }
}
