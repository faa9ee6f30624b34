//! Shows records: a table for people, one JSON document for programs.

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::record::{PartRecord, Record};

/// A line per part.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["rig", "proves", "part", "done", "of full", "result", "s"]);
    for record in records {
        if let Some(why) = &record.not_run {
            table.add_row([record.rig.as_str(), "", "", "", "", &format!("NOT RUN: {why}"), ""]);
        }
        for (name, part) in record.parts.iter().filter(|_| record.not_run.is_none()) {
            table.add_row([
                record.rig.clone(),
                record.promises.join(" "),
                name.clone(),
                format!("{} {}", part.tally.done, part.unit),
                format!("{:.0} %", 100.0 * part.tally.done as f64 / part.full.max(1) as f64),
                result(part),
                format!("{:.0}", part.seconds),
            ]);
        }
    }
    table.to_string()
}

/// One word, and what a control found.
#[must_use]
pub fn result(part: &PartRecord) -> String {
    if let Some(why) = &part.not_run {
        return format!("NOT RUN: {why}");
    }
    match (part.failed(), part.passed(), part.control) {
        (true, _, true) => format!("NOT CAUGHT ({} of {} rounds)", part.caught, part.rounds),
        (true, _, false) => format!("FAILED: {}", part.tally.violations.first().map_or("", |it| it)),
        (_, true, true) => format!("control caught ({} of {} rounds)", part.caught, part.rounds),
        (_, true, false) => "passed".to_owned(),
        _ => format!("not complete ({} of {})", part.tally.done, part.goal),
    }
}

/// The whole result.
#[must_use]
pub fn json(records: &[Record]) -> Value {
    json!({
        "passed": records.iter().all(Record::passed),
        "rigs": records,
    })
}

/// The page that is published beside the records.
#[must_use]
pub fn page(records: &[Record]) -> String {
    let mut page = "# What the rigs found\n\nWritten by `prove publish` from the records beside it, which runs of \
                    `./scripts/prove --budget full` add to. \"Of full\" is how much of a release's count is done; a \
                    control is the same experiment over something deliberately broken, which has to be caught.\n"
        .to_owned();
    for record in records {
        page.push_str(&format!(
            "\n## `{}` ({})\n\n{} · {} · commits {} · `{}`\n\n",
            record.rig,
            record.promises.join(", "),
            record.date,
            record.machine,
            record.commits.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            record.command,
        ));
        if let Some(why) = &record.not_run {
            page.push_str(&format!("Not run: {why}\n"));
            continue;
        }
        page.push_str("| part | done | of full | result | seen |\n|---|--:|--:|---|---|\n");
        for (name, part) in &record.parts {
            page.push_str(&format!(
                "| {name} | {} {} | {:.0} % | {} | {} |\n",
                part.tally.done,
                part.unit,
                100.0 * part.tally.done as f64 / part.full.max(1) as f64,
                result(part).replace('|', "\\|"),
                seen(part),
            ));
        }
    }
    page
}

/// What a part counted and measured, in one line.
fn seen(part: &PartRecord) -> String {
    let counts = part.tally.counts.iter().map(|(name, count)| format!("{count} {name}"));
    let worst = part.tally.worst.iter().map(|(name, value)| format!("{name} ≤ {value:.1}"));
    counts.chain(worst).collect::<Vec<_>>().join(", ")
}
