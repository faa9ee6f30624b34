//! Configs: what is refused, with which words; what is built.

mod built;
mod generated;
mod overrides;
mod providers;
mod refused;
mod schemes;
mod secrets;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tenterhook::config::{self, Config, ConfigError};
use tenterhook::model::Timestamp;

/// 2026-11-25T00:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_564_800_000);

/// The smallest config that makes sense; tests add to it or change it.
const SMALL: &str = r#"
[sources.stripe]
provider = "stripe"
secrets = ["env:STRIPE_WEBHOOK_SECRET"]

[destinations.app]
type = "http"
url = "http://127.0.0.1:3000/hooks"

[[routes]]
source = "stripe"
destination = "app"
"#;

/// A directory with a config in it, and an environment of its own.
struct Bench {
    directory: TempDir,
    environment: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        let set = [
            ("PATH", "/usr/bin:/bin"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_0123456789abcdef0123456789abcdef"),
            ("PARTNER_SECRET", "0123456789abcdef0123456789abcdef"),
            ("APP_SIGNING_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            ("ADMIN_TOKEN", "0123456789abcdef0123456789abcdef0123456789abcdef"),
        ];
        let environment = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { directory: TempDir::new().unwrap(), environment }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn executable(self, name: &str) -> Self {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self, text: &str) -> Result<Config, ConfigError> {
        let path = self.path("tenterhook.toml");
        fs::write(&path, text).unwrap();
        config::load(&path, &self.environment, NOW)
    }

    /// Every problem as people read it, without the directory of this test.
    fn refusal(&self, text: &str) -> String {
        match self.load(text) {
            Ok(_) => "loaded".to_owned(),
            Err(error) => self.neutral(&error.to_string()),
        }
    }

    /// Every warning as people read it.
    fn warnings(&self, text: &str) -> String {
        let config = match self.load(text) {
            Ok(config) => config,
            Err(error) => panic!("refused:\n{error}"),
        };
        let lines: Vec<String> =
            config.warnings.iter().map(|warning| warning.render(Path::new("tenterhook.toml"))).collect();
        self.neutral(&lines.join("\n"))
    }

    fn neutral(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

/// What is wrong with a config, as people read it.
fn refusal(text: &str) -> String {
    Bench::new().refusal(text)
}

/// The config that is built; a refusal fails the test.
fn built(text: &str) -> Config {
    match Bench::new().load(text) {
        Ok(config) => config,
        Err(error) => panic!("refused:\n{error}"),
    }
}
