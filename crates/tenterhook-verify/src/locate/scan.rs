//! Scalars out of a JSON text by their pointers, all of them in one pass, without building a value. What no pointer leads
//! through is skipped eight bytes at a time, but held to the grammar all the same: a text that is no JSON has no scalars.
//! The recursion is as deep as the pointers, not as the text. Knows nothing of what the scalars mean.

use std::borrow::Cow;

/// The most pointers of one pass: as many as the set of those that still lead on has bits.
pub(super) const POINTERS_MAX: usize = 32;

/// What is not JSON.
struct NoJson;

/// The scalars at `pointers` (RFC 6901), as text, each `None` where there is none, and all where the text is not one JSON
/// document. The last of duplicate keys wins. Pointers beyond [`POINTERS_MAX`] are not looked for.
pub(super) fn scalars(text: &[u8], pointers: &[&str]) -> Vec<Option<String>> {
    let wanted: Vec<Vec<Cow<'_, str>>> = pointers
        .iter()
        .take(POINTERS_MAX)
        .map(|pointer| pointer.split('/').skip(1).map(token).collect())
        .collect();
    let mut found = vec![None; pointers.len()];
    let all = (0..wanted.len()).fold(0, |all, index| all | 1 << index);
    let mut scan = Scan { text, at: 0, wanted: &wanted, found: &mut found, broken: 0, open: Vec::new() };
    let read = scan.value(all, 0).and_then(|()| {
        scan.space();
        if scan.at == text.len() { Ok(()) } else { Err(NoJson) }
    });
    let broken = if read.is_err() { u32::MAX } else { scan.broken };
    scan.members(broken).for_each(|index| found[index] = None);
    found
}

/// One token of a pointer, with what is escaped in it.
fn token(text: &str) -> Cow<'_, str> {
    if text.contains('~') {
        Cow::Owned(text.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(text)
    }
}

struct Scan<'s> {
    text: &'s [u8],
    at: usize,
    wanted: &'s [Vec<Cow<'s, str>>],
    found: &'s mut [Option<String>],
    /// The pointers that led through a text that is none: for them the whole is no JSON, as it is for a reader who goes
    /// that way, and not for one who passes it over.
    broken: u32,
    /// The containers that are open within what is skipped.
    open: Vec<u8>,
}

impl<'s> Scan<'s> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is not white space; it is not taken.
    fn next(&mut self) -> Result<u8, NoJson> {
        self.space();
        self.peek().ok_or(NoJson)
    }

    fn take(&mut self, byte: u8) -> Result<(), NoJson> {
        if self.next()? == byte {
            self.at += 1;
            return Ok(());
        }
        Err(NoJson)
    }

    /// Reads a value that the pointers in `set` lead to, or through, at this depth.
    fn value(&mut self, set: u32, depth: usize) -> Result<(), NoJson> {
        let start = match self.next()? {
            b'{' => return self.object(set, depth),
            b'[' => return self.array(set, depth),
            _ => self.at,
        };
        self.scalar()?;
        let Ok(value) = leaf(&self.text[start..self.at]) else {
            self.broken |= set;
            return Ok(());
        };
        for index in self.members(set).filter(|index| self.wanted[*index].len() == depth) {
            self.found[index].clone_from(&value);
        }
        Ok(())
    }

    fn object(&mut self, set: u32, depth: usize) -> Result<(), NoJson> {
        self.at += 1;
        if self.next()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.next()? != b'"' {
                return Err(NoJson);
            }
            let start = self.at;
            self.string()?;
            let on = match string(&self.text[start..self.at]) {
                Ok(key) => self.leading_on(set, depth, &key),
                Err(NoJson) => {
                    self.broken |= set;
                    0
                }
            };
            self.take(b':')?;
            self.follow(on, depth)?;
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(NoJson),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, set: u32, depth: usize) -> Result<(), NoJson> {
        self.at += 1;
        if self.next()? == b']' {
            self.at += 1;
            return Ok(());
        }
        // Only a token that is written as an index can be one.
        let indexed = |index: &usize| {
            let token = self.wanted[*index].get(depth);
            token.is_some_and(|token| token.starts_with(|first: char| first.is_ascii_digit()))
        };
        let set = self.members(set).filter(indexed).fold(0, |set, index| set | 1 << index);
        for index in 0_usize.. {
            let on = if set == 0 { 0 } else { self.leading_on(set, depth, &index.to_string()) };
            self.follow(on, depth)?;
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(NoJson),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads the value that the pointers in `on` lead to; what they found under the same key before does not count.
    fn follow(&mut self, on: u32, depth: usize) -> Result<(), NoJson> {
        if on == 0 {
            return self.skip();
        }
        self.members(on).for_each(|index| self.found[index] = None);
        self.value(on, depth + 1)
    }

    fn leading_on(&self, set: u32, depth: usize, key: &str) -> u32 {
        let leads = |index: &usize| self.wanted[*index].get(depth).is_some_and(|token| token == key);
        self.members(set).filter(leads).fold(0, |set, index| set | 1 << index)
    }

    fn members(&self, set: u32) -> impl Iterator<Item = usize> + use<> {
        (0..self.wanted.len()).filter(move |index| set >> index & 1 == 1)
    }

    /// Skips a value of any depth.
    fn skip(&mut self) -> Result<(), NoJson> {
        self.open.clear();
        loop {
            match self.next()? {
                opening @ (b'{' | b'[') => {
                    self.at += 1;
                    // `}` and `]` stand two behind what they close.
                    if self.next()? == opening + 2 {
                        self.at += 1;
                    } else {
                        self.open.push(opening);
                        if opening == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended, and with it perhaps what it was in.
            loop {
                let Some(opening) = self.open.last().copied() else { return Ok(()) };
                match self.next()? {
                    b',' => {
                        self.at += 1;
                        if opening == b'{' {
                            self.key()?;
                        }
                        break;
                    }
                    closing if closing == opening + 2 => {
                        self.at += 1;
                        self.open.pop();
                    }
                    _ => return Err(NoJson),
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), NoJson> {
        if self.next()? != b'"' {
            return Err(NoJson);
        }
        self.string()?;
        self.take(b':')
    }

    /// Passes over a value that is no container.
    fn scalar(&mut self) -> Result<(), NoJson> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(NoJson),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NoJson> {
        if !self.text[self.at..].starts_with(word) {
            return Err(NoJson);
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a string, from quotation mark to quotation mark.
    fn string(&mut self) -> Result<(), NoJson> {
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(NoJson),
            }
        }
    }

    /// Up to the next quotation mark, backslash or control character, or to the end.
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = ONES << 7;
        // A byte of zero becomes one with its highest bit set; what that does to the bytes above it does not matter, as
        // only the lowest is looked at.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
        while let Some(eight) = self.text[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*eight);
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let found =
                zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), NoJson> {
        let digits = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(NoJson),
        };
        let end = self.at + 2 + digits;
        let hex = self.text.get(self.at + 2..end).ok_or(NoJson)?;
        if !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(NoJson);
        }
        self.at = end;
        Ok(())
    }

    fn number(&mut self) -> Result<(), NoJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        if zero && digits > 1 {
            return Err(NoJson);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<usize, NoJson> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NoJson) } else { Ok(self.at - start) }
    }
}

/// What a string in its quotation marks says.
fn string(quoted: &[u8]) -> Result<Cow<'_, str>, NoJson> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice(quoted).map(Cow::Owned).map_err(|_| NoJson);
    }
    std::str::from_utf8(&quoted[1..quoted.len() - 1]).map(Cow::Borrowed).map_err(|_| NoJson)
}

/// The text of a scalar that has one: no null, and no number but an integer of 64 bits, because two others may read alike.
fn leaf(text: &[u8]) -> Result<Option<String>, NoJson> {
    Ok(match text.first() {
        Some(b'"') => Some(string(text)?.into_owned()),
        Some(b'n') => None,
        _ => {
            let text = std::str::from_utf8(text).map_err(|_| NoJson)?;
            let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            if number && !text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(NoJson);
            }
            let whole = text.parse::<u64>().is_ok() || text != "-0" && text.parse::<i64>().is_ok();
            (whole || text.starts_with(['t', 'f'])).then(|| text.to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8], pointers: &[&str]) -> Vec<Option<String>> {
        scalars(text, pointers)
    }

    #[test]
    fn all_pointers_are_followed_in_one_pass() {
        let text =
            br#" {"id" : 7, "data":{"id":"a","list":[{"x":true},[1,{"y":"\u00fc"}]]},"a/b":{"~":-3}} "#;
        let pointers = ["/id", "/data/id", "/data/list/0/x", "/data/list/1/1/y", "/a~1b/~0", "/data", "/no"];
        let expected = [Some("7"), Some("a"), Some("true"), Some("ü"), Some("-3"), None, None];
        assert_eq!(found(text, &pointers), expected.map(|value| value.map(str::to_owned)));
    }

    #[test]
    fn a_scalar_and_what_is_below_it_can_both_be_asked_for_and_the_last_key_wins() {
        let both = ["/a", "/a/b"];
        assert_eq!(found(br#"{"a":{"b":1},"a":2}"#, &both), [Some("2".to_owned()), None]);
        assert_eq!(found(br#"{"a":2,"a":{"b":1}}"#, &both), [None, Some("1".to_owned())]);
        assert_eq!(found(br#"{"a":{"b":1},"a":{}}"#, &both), [None, None]);
    }

    #[test]
    fn what_is_no_json_has_no_scalars() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":1}x",
            "{\"a\":01}",
            "{\"a\":1,\"b\":[1,]}",
            "{\"a\":1,\"b\":[1 2]}",
            "{\"a\":1,\"b\":\"\\x\"}",
            "{\"a\":1,\"b\":\"\\u12g4\"}",
            "{\"a\":1,\"b\":\"\n\"}",
            "{\"a\":1,\"b\":1.}",
            "{\"a\":1,\"b\":1e}",
            "{\"a\":1,\"b\":-}",
            "{\"a\":1,\"b\":tru}",
            "{\"a\":1,\"b\":{]}",
            "{\"a\":1,\"b\":[}}",
            "{\"a\":1,\"b\":{\"c\"}}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,\"b\":{\"c\":1,}}",
            "{\"a\":1,\"b\":{,}}",
            "\u{feff}{\"a\":1}",
            "{\"a\":1,\"b\":\"",
        ] {
            assert_eq!(found(text.as_bytes(), &["/a"]), [None], "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }
}
