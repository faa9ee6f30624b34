//! The list grammars of signature headers: `t=1,v1=ab,v1=cd`, `v1,YWI= v1a,Y2Q=`, `1700000000000,ab,cd`. Knows how to
//! take one apart and to write one; knows nothing of what the entries mean.

use crate::error::{Reason, VerifyError, refuse};

/// More signatures than any provider sends in one request; beyond it every further one would buy work for nothing.
pub(crate) const CANDIDATES_MAX: usize = 16;

/// One list grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListRule {
    /// Between groups, each of which has its own timestamp (Persona: a blank).
    pub(crate) groups: Option<String>,
    /// Between items.
    pub(crate) items: String,
    /// Between an item's key and its value; `None`: items are positional.
    pub(crate) kv: Option<String>,
    /// The key of a signature; unused in a positional list, where every other item is one.
    pub(crate) signature: String,
    /// Where the timestamp stands, if in this list.
    pub(crate) timestamp: Option<ListTime>,
}

/// Where a list holds its timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListTime {
    Key(String),
    Index(usize),
}

/// The signatures of a request with what goes with each: at most [`CANDIDATES_MAX`], in place, so that a longer list
/// costs its sender and not us.
#[derive(Debug)]
pub(crate) struct Candidates<'v> {
    list: [Candidate<'v>; CANDIDATES_MAX],
    len: usize,
}

/// One signature as it arrived, not decoded yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate<'v> {
    pub(crate) text: &'v str,
    /// The timestamp of its group, where the list holds it.
    pub(crate) time: Option<&'v str>,
    /// Which group it is of: those of one group stand together and cover the same content.
    pub(crate) group: usize,
}

impl<'v> Candidates<'v> {
    /// None.
    pub(crate) fn none() -> Self {
        Self { list: [Candidate::default(); CANDIDATES_MAX], len: 0 }
    }

    /// One without a list around it.
    pub(crate) fn one(text: &'v str) -> Self {
        let mut one = Self::none();
        one.list[0].text = text;
        one.len = 1;
        one
    }

    /// One more, or the refusal of a request that has more than any provider sends.
    pub(crate) fn push(&mut self, candidate: Candidate<'v>) -> Result<(), VerifyError> {
        let Some(place) = self.list.get_mut(self.len) else {
            let detail = format!("more than {CANDIDATES_MAX} signatures in one request");
            return Err(refuse(Reason::TooManyCandidates, detail));
        };
        *place = candidate;
        self.len += 1;
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[Candidate<'v>] {
        &self.list[..self.len]
    }

    /// Those that stand together, group by group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Candidate<'v>]> {
        self.as_slice().chunk_by(|one, other| one.group == other.group)
    }
}

impl ListRule {
    /// Takes a header value apart. A group without a signature is nothing that could be tried, and left out.
    pub(crate) fn read<'v>(&self, value: &'v str) -> Result<Candidates<'v>, VerifyError> {
        let mut found = Candidates::none();
        let mut entries = 0;
        match &self.groups {
            None => entries += self.group(value, 0, &mut found)?,
            Some(separator) => {
                for (group, text) in value.split(separator.as_str()).enumerate() {
                    entries += self.group(text, group, &mut found)?;
                }
            }
        }
        if entries == 0 {
            return Err(refuse(Reason::MalformedSignature, "not a list of the provider's form"));
        }
        if found.len == 0 {
            let detail = format!("no entry `{}` in the signature list", self.signature);
            return Err(refuse(Reason::NoSupportedScheme, detail));
        }
        Ok(found)
    }

    /// Reads one group, and says how many entries of whatever name it has.
    fn group<'v>(
        &self,
        text: &'v str,
        group: usize,
        found: &mut Candidates<'v>,
    ) -> Result<usize, VerifyError> {
        let first = found.len;
        let mut time = None;
        let mut entries = 0;
        for (index, item) in text.split(self.items.as_str()).enumerate() {
            let Some(kv) = &self.kv else {
                entries += 1;
                match &self.timestamp {
                    Some(ListTime::Index(at)) if *at == index => time = Some(item),
                    _ => found.push(Candidate { text: item, time: None, group })?,
                }
                continue;
            };
            // `t=1, v1=ab` says the same as `t=1,v1=ab`; what is signed does not cover the list itself.
            let Some((key, value)) = item.trim_start_matches(' ').split_once(kv.as_str()) else { continue };
            entries += 1;
            if matches!(&self.timestamp, Some(ListTime::Key(name)) if name == key) {
                // Two timestamps in one group: which one was signed is anybody's guess, so neither counts.
                if time.replace(value).is_some() {
                    return Err(refuse(Reason::MalformedTimestamp, "two timestamps in one signature list"));
                }
            } else if key == self.signature {
                found.push(Candidate { text: value, time: None, group })?;
            }
        }
        // The timestamp may stand behind the signatures that go with it.
        let len = found.len;
        for candidate in &mut found.list[first..len] {
            candidate.time = time;
        }
        Ok(entries)
    }

    /// Writes a list with one signature: what `sign` sends.
    pub(crate) fn write(&self, time: Option<&str>, signature: &str) -> String {
        let entry = |key: &str, value: &str| match &self.kv {
            Some(kv) => format!("{key}{kv}{value}"),
            None => value.to_owned(),
        };
        let signature = entry(&self.signature, signature);
        match (&self.timestamp, time) {
            (Some(ListTime::Key(key)), Some(time)) => {
                format!("{}{}{signature}", entry(key, time), self.items)
            }
            (Some(ListTime::Index(0)), Some(time)) => format!("{time}{}{signature}", self.items),
            (Some(ListTime::Index(_)), Some(time)) => format!("{signature}{}{time}", self.items),
            _ => signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripe() -> ListRule {
        ListRule {
            groups: None,
            items: ",".to_owned(),
            kv: Some("=".to_owned()),
            signature: "v1".to_owned(),
            timestamp: Some(ListTime::Key("t".to_owned())),
        }
    }

    fn read<'v>(rule: &ListRule, value: &'v str) -> Vec<(Option<&'v str>, &'v str, usize)> {
        let found = rule.read(value).unwrap();
        found.as_slice().iter().map(|one| (one.time, one.text, one.group)).collect()
    }

    #[test]
    fn entries_of_other_names_are_skipped() {
        let rule = stripe();
        assert_eq!(read(&rule, "t=1,v1=ab,v0=zz,v1=cd"), [(Some("1"), "ab", 0), (Some("1"), "cd", 0)]);
        assert_eq!(read(&rule, "v1=ab,t=1"), [(Some("1"), "ab", 0)]);
        assert_eq!(rule.read("t=1,v0=ab").unwrap_err().reason, Reason::NoSupportedScheme);
        assert_eq!(rule.read("nonsense").unwrap_err().reason, Reason::MalformedSignature);
        assert_eq!(rule.read("t=1,t=2,v1=ab").unwrap_err().reason, Reason::MalformedTimestamp);
    }

    #[test]
    fn groups_keep_their_own_timestamps() {
        let rule = ListRule { groups: Some(" ".to_owned()), ..stripe() };
        let two = [(Some("1"), "ab", 0), (Some("2"), "cd", 1)];
        assert_eq!(read(&rule, "t=1,v1=ab t=2,v1=cd"), two);
        assert_eq!(rule.read("t=1,v1=ab t=2,v1=cd").unwrap().groups().count(), 2);
        let times = "t=3 ".repeat(2_000);
        assert_eq!(read(&rule, &format!("{times}t=1,v1=ab")), [(Some("1"), "ab", 2_000)]);
    }

    #[test]
    fn a_positional_list_names_its_timestamp_by_index() {
        let rule = ListRule { kv: None, timestamp: Some(ListTime::Index(0)), ..stripe() };
        let time = Some("1700000000000");
        assert_eq!(read(&rule, "1700000000000,ab,cd"), [(time, "ab", 0), (time, "cd", 0)]);
        assert_eq!(rule.write(Some("17"), "ab"), "17,ab");
    }

    #[test]
    fn candidates_are_capped() {
        let header = format!("t=1{}", ",v1=ab".repeat(17));
        assert_eq!(stripe().read(&header).unwrap_err().reason, Reason::TooManyCandidates);
        let header = format!("t=1{}", ",v1=ab".repeat(16));
        assert_eq!(stripe().read(&header).unwrap().as_slice().len(), 16);
        let positional = ListRule { kv: None, timestamp: None, ..stripe() };
        let refused = positional.read(&"ab,".repeat(2_000)).unwrap_err();
        assert_eq!(refused.reason, Reason::TooManyCandidates);
    }
}
