//! Keys that providers brought: a directory beside the store, in it a file for each source. Written whole or not at all, durable
//! before anybody is told of it, and nobody else's to read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tenterhook_verify::Secret;

use super::values;
use crate::model::{FormerKeys, SourceName, Timestamp};

/// The most keys of one source.
const KEYS_MAX: usize = 16;
/// The longest file, in bytes: room for that many of the longest keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is said of a source that waits for its first key.
pub const NO_KEY_YET: &str = "no key yet: everything is refused until the provider has brought one";

/// The directory of the keys of a store; `None` for one that ends with its process.
#[must_use]
pub fn directory(store_url: &str) -> Option<PathBuf> {
    store_url.strip_prefix("sqlite:").map(|path| PathBuf::from(format!("{path}.keys")))
}

/// The file as it is on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// The newest first.
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    learnt_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("learnt_at", &self.learnt_at).finish_non_exhaustive()
    }
}

impl Entry {
    fn ends(&self) -> Result<Option<Timestamp>, String> {
        let Some(text) = &self.not_after else { return Ok(None) };
        values::date(text).map(Some).ok_or_else(|| "`not_after` is no date".to_owned())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.ends().ok().flatten().is_some_and(|end| end <= now)
    }
}

/// The keys of a source, the newest first; none where it never learnt one. An error says what is wrong with which file, and
/// never what is in it.
pub fn read(directory: &Path, source: &SourceName) -> Result<Vec<Secret>, String> {
    secrets(&load(&file_of(directory, source))?).map_err(|why| wrong(&file_of(directory, source), &why))
}

/// Adds a key, durably, and says which ones there are now, the newest first. What was before it ends as `former` says;
/// what has ended at `now` goes. Blocks. One at a time: the store's lock sees to it that there is one process.
pub fn add(
    directory: &Path,
    source: &SourceName,
    key: &Secret,
    former: FormerKeys,
    now: Timestamp,
) -> Result<Vec<Secret>, String> {
    let path = file_of(directory, source);
    let mut file = load(&path)?;
    let text = String::from_utf8(key.expose().to_vec()).map_err(|_| "a key that is no text".to_owned())?;
    file.keys.retain(|entry| entry.key != text && !entry.is_over(now));
    match former {
        FormerKeys::Always => {}
        FormerKeys::For(time) if time.is_zero() => file.keys.clear(),
        FormerKeys::For(time) => {
            let end = now.plus(time);
            for entry in &mut file.keys {
                let ends_sooner = entry.ends().ok().flatten().is_some_and(|at| at < end);
                if !ends_sooner {
                    entry.not_after = Some(end.rfc3339());
                }
            }
        }
    }
    if file.keys.len() >= KEYS_MAX {
        let path = path.display();
        return Err(format!(
            "{KEYS_MAX} keys are kept already: take out of `{path}` what is not needed any more"
        ));
    }
    file.keys.insert(0, Entry { key: text, learnt_at: now.rfc3339(), not_after: None });
    let secrets = secrets(&file).map_err(|why| wrong(&path, &why))?;
    let json = serde_json::to_vec_pretty(&file).map_err(|error| error.to_string())?;
    write(directory, &path, &json).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    Ok(secrets)
}

/// A name of a source is safe in a path.
fn file_of(directory: &Path, source: &SourceName) -> PathBuf {
    directory.join(format!("{source}.json"))
}

fn wrong(path: &Path, why: &str) -> String {
    format!("the learnt keys in `{}` cannot be used: {why}", path.display())
}

fn load(path: &Path) -> Result<KeyFile, String> {
    let cannot = |error: io::Error| format!("cannot read the learnt keys in `{}`: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeyFile::default()),
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(path, "it is too long"));
    }
    // What serde would quote may be a key.
    serde_json::from_slice(&bytes).map_err(|error| {
        wrong(path, &format!("it is damaged at line {}, column {}", error.line(), error.column()))
    })
}

fn secrets(file: &KeyFile) -> Result<Vec<Secret>, String> {
    let secret = |entry: &Entry| {
        let until = entry.ends()?.map(Timestamp::to_system);
        Ok(Secret::new(entry.key.as_str()).during(None, until))
    };
    file.keys.iter().map(secret).collect()
}

/// Whole or not at all, and durable: the bytes, then the name, then the directory that holds it.
fn write(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => sync(directory.parent().unwrap_or(Path::new("/")))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let temporary = path.with_extension("new");
    // One that a former process left may be readable to others.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(directory)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn name() -> SourceName {
        "asana".parse().unwrap()
    }

    fn key(text: &str) -> Secret {
        Secret::new(text)
    }

    fn live(secrets: &[Secret], now: Timestamp) -> Vec<String> {
        let live = secrets.iter().filter(|secret| secret.is_live(now.to_system()));
        live.map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_key_is_there_again_and_nobody_elses_to_read() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("t.db.keys");
        assert_eq!(read(&directory, &name()).unwrap().len(), 0);
        add(&directory, &name(), &key("first"), FormerKeys::For(DAY), NOW).unwrap();
        assert_eq!(live(&read(&directory, &name()).unwrap(), NOW), ["first"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("asana.json"))), (0o700, 0o600));
    }

    #[test]
    fn former_keys_end_as_ordered_and_what_has_ended_goes() {
        let place = tempfile::tempdir().unwrap();
        let add = |text: &str, former, now| add(place.path(), &name(), &key(text), former, now).unwrap();
        add("first", FormerKeys::For(DAY), NOW);
        let both = add("second", FormerKeys::For(DAY), NOW);
        assert_eq!(live(&both, NOW.plus(DAY / 2)), ["second", "first"]);
        assert_eq!(live(&both, NOW.plus(DAY)), ["second"]);
        // The first keeps the end that it has.
        let three = add("third", FormerKeys::For(DAY), NOW.plus(DAY / 2));
        assert_eq!(live(&three, NOW.plus(DAY)), ["third", "second"]);
        let four = add("fourth", FormerKeys::Always, NOW.plus(DAY));
        assert_eq!(
            (four.len(), live(&four, NOW.plus(DAY))),
            (3, vec!["fourth".into(), "third".into(), "second".into()])
        );
        assert_eq!(live(&add("fifth", FormerKeys::For(Duration::ZERO), NOW), NOW), ["fifth"]);
    }

    #[test]
    fn there_is_a_most_of_keys_and_the_same_one_twice_is_one() {
        let place = tempfile::tempdir().unwrap();
        let add = |text: &str| add(place.path(), &name(), &key(text), FormerKeys::Always, NOW);
        for number in 0..KEYS_MAX {
            add(&format!("key {number}")).unwrap();
        }
        assert_eq!(add("key 3").unwrap().len(), KEYS_MAX);
        let refused = add("one too many").unwrap_err();
        assert!(refused.contains("asana.json") && !refused.contains("one too"), "{refused}");
    }

    #[test]
    fn a_damaged_file_is_refused_without_a_word_of_what_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        for damaged in
            [r#"{"keys":["hunter2"]}"#, r#"{"keys":[{"key":"hunter2","#, "hunter2", r#"{"hunter2":1}"#]
        {
            fs::write(place.path().join("asana.json"), damaged).unwrap();
            let refused = read(place.path(), &name()).unwrap_err();
            assert!(refused.contains("asana.json") && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn what_a_kill_left_half_written_is_not_in_the_way() {
        let place = tempfile::tempdir().unwrap();
        add(place.path(), &name(), &key("first"), FormerKeys::Always, NOW).unwrap();
        fs::write(place.path().join("asana.new"), "half a fi").unwrap();
        assert_eq!(read(place.path(), &name()).unwrap().len(), 1);
        assert_eq!(add(place.path(), &name(), &key("second"), FormerKeys::Always, NOW).unwrap().len(), 2);
    }
}
