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

/// One group of a header: a timestamp, where the list holds it, and the signatures that go with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Group<'a> {
    pub(crate) time: Option<&'a str>,
    pub(crate) signatures: Vec<&'a str>,
}

impl ListRule {
    /// Takes a header value apart.
    pub(crate) fn read<'a>(&self, value: &'a str) -> Result<Vec<Group<'a>>, VerifyError> {
        let mut groups = Vec::new();
        let mut candidates = 0;
        let mut entries = 0;
        let texts: Box<dyn Iterator<Item = &str>> = match &self.groups {
            Some(separator) => Box::new(value.split(separator.as_str())),
            None => Box::new(std::iter::once(value)),
        };
        for text in texts {
            let group = self.group(text, &mut entries)?;
            candidates += group.signatures.len();
            if candidates > CANDIDATES_MAX {
                let detail = format!("more than {CANDIDATES_MAX} signatures in one request");
                return Err(refuse(Reason::TooManyCandidates, detail));
            }
            if group.time.is_some() || !group.signatures.is_empty() {
                groups.push(group);
            }
        }
        if entries == 0 {
            return Err(refuse(Reason::MalformedSignature, "not a list of the provider's form"));
        }
        if candidates == 0 {
            let detail = format!("no entry `{}` in the signature list", self.signature);
            return Err(refuse(Reason::NoSupportedScheme, detail));
        }
        Ok(groups)
    }

    fn group<'a>(&self, text: &'a str, entries: &mut usize) -> Result<Group<'a>, VerifyError> {
        let mut group = Group::default();
        for (index, item) in text.split(self.items.as_str()).enumerate() {
            let Some(kv) = &self.kv else {
                *entries += 1;
                match &self.timestamp {
                    Some(ListTime::Index(at)) if *at == index => group.time = Some(item),
                    _ => group.signatures.push(item),
                }
                continue;
            };
            // `t=1, v1=ab` says the same as `t=1,v1=ab`; what is signed does not cover the list itself.
            let Some((key, value)) = item.trim_start_matches(' ').split_once(kv.as_str()) else { continue };
            *entries += 1;
            if matches!(&self.timestamp, Some(ListTime::Key(name)) if name == key) {
                // Two timestamps in one group: which one was signed is anybody's guess, so neither counts.
                if group.time.replace(value).is_some() {
                    return Err(refuse(Reason::MalformedTimestamp, "two timestamps in one signature list"));
                }
            } else if key == self.signature {
                group.signatures.push(value);
                if group.signatures.len() > CANDIDATES_MAX {
                    let detail = format!("more than {CANDIDATES_MAX} signatures in one request");
                    return Err(refuse(Reason::TooManyCandidates, detail));
                }
            }
        }
        Ok(group)
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

    #[test]
    fn entries_of_other_names_are_skipped() {
        let rule = stripe();
        let groups = rule.read("t=1,v1=ab,v0=zz,v1=cd").unwrap();
        assert_eq!(groups, [Group { time: Some("1"), signatures: vec!["ab", "cd"] }]);
        assert_eq!(rule.read("t=1,v0=ab").unwrap_err().reason, Reason::NoSupportedScheme);
        assert_eq!(rule.read("nonsense").unwrap_err().reason, Reason::MalformedSignature);
        assert_eq!(rule.read("t=1,t=2,v1=ab").unwrap_err().reason, Reason::MalformedTimestamp);
    }

    #[test]
    fn groups_keep_their_own_timestamps() {
        let rule = ListRule { groups: Some(" ".to_owned()), ..stripe() };
        let groups = rule.read("t=1,v1=ab t=2,v1=cd").unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1], Group { time: Some("2"), signatures: vec!["cd"] });
    }

    #[test]
    fn a_positional_list_names_its_timestamp_by_index() {
        let rule = ListRule { kv: None, timestamp: Some(ListTime::Index(0)), ..stripe() };
        let groups = rule.read("1700000000000,ab,cd").unwrap();
        assert_eq!(groups, [Group { time: Some("1700000000000"), signatures: vec!["ab", "cd"] }]);
        assert_eq!(rule.write(Some("17"), "ab"), "17,ab");
    }

    #[test]
    fn candidates_are_capped() {
        let header = format!("t=1{}", ",v1=ab".repeat(17));
        assert_eq!(stripe().read(&header).unwrap_err().reason, Reason::TooManyCandidates);
        let header = format!("t=1{}", ",v1=ab".repeat(16));
        assert_eq!(stripe().read(&header).unwrap()[0].signatures.len(), 16);
    }
}
