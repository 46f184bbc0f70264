//! A few fields of a large JSON object, read as it comes: the rest is passed over, however long it is.
//!
//! The answer to a revision call lists every file of the repository, 60 bytes and more for each of half a million, and says
//! what is asked for in three short fields.

use crate::limits::FIELD_BYTES_MAX;
use std::collections::BTreeMap;

/// Reads the wanted fields of the outermost object. Give it the bytes in order with [`Fields::push`].
pub(super) struct Fields<'a> {
    wanted: &'a [&'a str],
    found: BTreeMap<String, serde_json::Value>,
    /// Objects and arrays that are open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    ended: bool,
    /// Text of the key, then of the value, at the outermost level; `None` while what goes by is not wanted.
    text: Option<Vec<u8>>,
    key: Option<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(wanted: &'a [&'a str]) -> Self {
        Fields {
            wanted,
            found: BTreeMap::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            ended: false,
            text: Some(Vec::new()),
            key: None,
        }
    }

    /// Takes the next bytes; whether all that is wanted has been found.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<bool, String> {
        for &byte in bytes {
            self.step(byte)?;
        }
        Ok(self.wanted.iter().all(|name| self.found.contains_key(*name)))
    }

    /// What was found when the answer is over.
    pub(super) fn finish(self) -> Result<BTreeMap<String, serde_json::Value>, String> {
        let has_all = self.wanted.iter().all(|name| self.found.contains_key(*name));
        if self.ended || has_all { Ok(self.found) } else { Err("it ends too soon".to_owned()) }
    }

    fn step(&mut self, byte: u8) -> Result<(), String> {
        if self.in_string {
            self.keep(byte)?;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(());
        }
        if self.ended || self.depth == 0 {
            return match byte {
                b' ' | b'\t' | b'\r' | b'\n' => Ok(()),
                b'{' if !self.ended => {
                    self.depth = 1;
                    Ok(())
                }
                _ => Err("it is not one JSON object".to_owned()),
            };
        }
        match byte {
            b':' if self.depth == 1 && self.key.is_none() => {
                let text = self.text.take().unwrap_or_default();
                let key = serde_json::from_slice::<String>(&text).map_err(|error| error.to_string())?;
                // Values that nobody wants are not kept.
                self.text = self.wanted.contains(&key.as_str()).then(Vec::new);
                self.key = Some(key);
            }
            b',' if self.depth == 1 => self.value_is_over()?,
            b'}' if self.depth == 1 => {
                if self.key.is_some() {
                    self.value_is_over()?;
                }
                (self.depth, self.ended) = (0, true);
            }
            _ => {
                self.keep(byte)?;
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self
                            .depth
                            .checked_sub(1)
                            .filter(|depth| *depth > 0)
                            .ok_or("a bracket too many")?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<(), String> {
        let Some(text) = &mut self.text else { return Ok(()) };
        if text.len() >= FIELD_BYTES_MAX {
            return Err(format!("a field of more than {FIELD_BYTES_MAX} bytes"));
        }
        text.push(byte);
        Ok(())
    }

    fn value_is_over(&mut self) -> Result<(), String> {
        let key = self.key.take().ok_or("a value without a name")?;
        if let Some(text) = self.text.replace(Vec::new()) {
            let value = serde_json::from_slice(&text).map_err(|error| format!("{key}: {error}"))?;
            self.found.insert(key, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> Result<BTreeMap<String, serde_json::Value>, String> {
        let mut fields = Fields::new(&["sha", "private", "gated"]);
        for part in text.as_bytes().chunks(step) {
            fields.push(part)?;
        }
        fields.finish()
    }

    #[test]
    fn fields_are_found_among_others_and_those_below_are_not_mistaken_for_them() {
        let text = r#" {"id": "a/b", "tags": ["sha", {"sha": "no", "x": [1, "}"]}], "s\u0068a": "y\"e,s}", "n": -1.5e3,
            "private": false, "siblings": [{"rfilename": "a\\"}, {"gated": 1}], "gated" : "manual" } "#;
        for step in [1, 3, text.len()] {
            let found = read(text, step).unwrap();
            assert_eq!(found["sha"], "y\"e,s}");
            assert_eq!((&found["private"], &found["gated"]), (&false.into(), &"manual".into()));
        }
        assert!(read("{}", 1).unwrap().is_empty());
        assert_eq!(read(r#"{"sha":null}"#, 1).unwrap()["sha"], serde_json::Value::Null);
    }

    #[test]
    fn what_is_wanted_ends_the_reading_and_the_rest_may_be_of_any_length() {
        let mut fields = Fields::new(&["sha"]);
        let row = br#"{"rfilename":"data/train-00000.parquet"},"#;
        assert!(!fields.push(br#"{"siblings":["#).unwrap());
        for _ in 0..100_000 {
            assert!(!fields.push(row).unwrap());
        }
        assert!(fields.push(br#"1],"sha":"x","#).unwrap());
        assert_eq!(fields.finish().unwrap()["sha"], "x");
    }

    #[test]
    fn other_things_than_one_object_are_refused() {
        let long = format!(r#"{{"sha":"{}"}}"#, "x".repeat(FIELD_BYTES_MAX));
        let name = format!(r#"{{"{}":1}}"#, "x".repeat(FIELD_BYTES_MAX));
        for bad in [
            "<html>",
            "[]",
            "",
            "{",
            r#"{"a""#,
            r#"{"a":"#,
            r#"{"a":1"#,
            r#"{"sha":x}"#,
            "{}{}",
            "{]}",
            r#"{"a":1]}"#,
            "{,}",
            r#"{"sha":"a" "b"}"#,
            "{a:1}",
            &long,
            &name,
        ] {
            assert!(read(bad, 7).is_err(), "{bad:.40}");
        }
    }
}
