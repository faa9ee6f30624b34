//! `tenterhook check`: every problem of a config at once, without starting anything.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::Global;
use super::failure::{Exit, Failure};
use super::output;
use crate::config::{self, Config, ConfigError, Problem};
use crate::model::SystemClock;

/// Checks the config: exit 0 when the gateway would start with it, 2 when not
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Prints one JSON object a problem instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let config = match config::load(&global.config, &super::environment(), SystemClock::wall()) {
        Ok(config) => config,
        Err(error) if args.json => {
            for problem in &error.problems {
                output::json(&wire(problem, "error"))?;
            }
            return Err(Failure::silent(Exit::Usage));
        }
        Err(error) => return Err(refusal(&error)),
    };
    let refused = super::runtime()?.block_on(destinations(&config));
    for problem in &config.warnings {
        if args.json {
            output::json(&wire(problem, "warning"))?;
        } else {
            output::note(format!("warning: {}\n", problem.render(&config.path)));
        }
    }
    for problem in &refused {
        if args.json {
            output::json(&wire(problem, "error"))?;
        } else {
            output::note(problem.render(&config.path));
        }
    }
    if !refused.is_empty() {
        return Err(Failure::silent(Exit::Usage));
    }
    if !args.json {
        output::line(format!(
            "{} is fine: sources {}, destinations {}",
            config.path.display(),
            config.sources.len(),
            config.destinations.len()
        ))?;
    }
    Ok(())
}

/// Reads the config, or says everything that is wrong with it.
pub(super) fn load(global: &Global, environment: &BTreeMap<String, String>) -> Result<Config, Failure> {
    config::load(&global.config, environment, SystemClock::wall()).map_err(|error| refusal(&error))
}

/// Destinations that the gateway would not start with.
async fn destinations(config: &Config) -> Vec<Problem> {
    let mut refused = Vec::new();
    for (name, configured) in &config.destinations {
        if let Err(error) = configured.destination.check().await
            && error.refuses_start
        {
            let key = format!("destinations.{name}");
            refused.push(Problem { line: None, key, message: error.message, hint: error.hint });
        }
    }
    refused
}

fn refusal(error: &ConfigError) -> Failure {
    output::note(error.render());
    Failure::silent(Exit::Usage)
}

fn wire(problem: &Problem, severity: &str) -> serde_json::Value {
    json!({
        "severity": severity,
        "line": problem.line,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    })
}
