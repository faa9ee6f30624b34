//! `tenterhook init`: a working config for one provider, with one question.

use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use tenterhook_verify::provider;

use super::Global;
use super::failure::{Exit, Failure};
use super::output;
use super::signing::closest;
use crate::config::init;

/// Writes a commented config for a provider, to the file that `--config` names
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The provider's name; asked for when it is left out
    provider: Option<String>,
    /// Where your application takes events
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000/hooks")]
    handler: String,
    /// Overwrites a file that is there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: &InitArgs) -> Result<(), Failure> {
    let name = args.provider.clone().map_or_else(ask, Ok)?;
    let entry = provider::provider(&name).ok_or_else(|| {
        let known = provider::catalog().iter().map(|entry| entry.name.as_str());
        Failure::new(Exit::NotFound, format!("there is no provider `{name}` in the catalog")).hint(
            closest(&name, known).map_or_else(
                || "`tenterhook providers` lists the names; for one of your own, start from `tenterhook.example.toml`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            ),
        )
    })?;
    let start = init::start(entry, &args.handler);
    let path = &global.config;
    let mut options = OpenOptions::new();
    options.write(true).create_new(!args.force).create(true).truncate(args.force);
    let written = options.open(path).and_then(|mut file| file.write_all(start.config.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage(format!("`{}` is there already", path.display()))
            .hint("name another file with `--config FILE`, or overwrite it with `--force`"),
        _ => Failure::usage(format!("cannot write `{}`: {error}", path.display())),
    })?;
    output::line(format!("wrote {}", path.display()))?;
    output::line("")?;
    output::line("next:")?;
    for (variable, what) in &start.variables {
        output::line(format!("  export {variable}=…    # {what}"))?;
    }
    output::line("  tenterhook check")?;
    output::line("  tenterhook serve")?;
    output::line("")?;
    output::line(format!("give {} this URL: https://YOUR-HOST{}", entry.display, start.path))?;
    for pitfall in &start.pitfalls {
        output::line(format!("take care: {pitfall}"))?;
    }
    Ok(())
}

fn ask() -> Result<String, Failure> {
    let names: Vec<_> = provider::catalog().iter().map(|entry| entry.name.as_str()).collect();
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("which provider?").hint(format!("`tenterhook init NAME`: {}", names.join(", ")))
        );
    }
    output::note(format!("Which provider? ({})", names.join(", ")));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
