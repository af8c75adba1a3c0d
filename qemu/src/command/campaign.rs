//! `atoll campaign`: runs plans, and looks at what they left.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::campaign::record::Record;
use crate::campaign::replay::Replay;
use crate::campaign::runner::{Campaign, Options};
use crate::campaign::{report, store};
use crate::cli::{CampaignCommand, Common};
use crate::error::{Error, Result};
use crate::progress::note;

/// Something is not as it was promised.
const BROKEN: u8 = 1;

/// Does what was asked.
pub(super) fn run(what: &CampaignCommand, common: &Common) -> Result<ExitCode> {
    match what {
        CampaignCommand::Run { plan, out, shard, resume, jobs, most } => {
            let campaign = Campaign::open(plan, out, common.permission())?;
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            let options = Options { shard: *shard, resume: *resume, jobs: jobs.unwrap_or(cpus), most: *most };
            tell(&campaign.run(options)?, out)
        }
        CampaignCommand::Report(records) => tell(&store::all(&records.dir)?, &records.dir),
        CampaignCommand::Merge { from, out } => {
            let records = store::merge(from)?;
            fs::create_dir_all(out).map_err(Error::file(out))?;
            store::write(&store::file(out, (1, 1)), &records)?;
            if let Some(plan) = from.iter().map(|dir| dir.join("plan.toml")).find(|plan| plan.is_file()) {
                fs::copy(&plan, out.join("plan.toml")).map_err(Error::file(&plan))?;
            }
            tell(&records, out)
        }
        CampaignCommand::Replay { id, records } => {
            let replay = Replay::prepare(&records.dir, id, common.permission())?;
            let (was, is) = (&replay.record, replay.again());
            println!("{id}: {}, as recorded: {}", is.outcome.name(), was.outcome.name());
            let same = was.outcome == is.outcome && was.console == is.console && was.events == is.events;
            if !same {
                note("the run differs from its record");
                println!("{}", serde_json::to_string_pretty(&is).unwrap_or_default());
            }
            Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
        }
        CampaignCommand::Minimise { id, records } => {
            let replay = Replay::prepare(&records.dir, id, common.permission())?;
            let least = replay.minimise(|record| note(format!("{} faults do", record.faults.len())));
            for fault in &least.faults {
                println!("{fault}");
            }
            let same = least.outcome == replay.record.outcome;
            Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
        }
    }
}

/// Writes the report and says what matters of it.
fn tell(records: &[Record], dir: &Path) -> Result<ExitCode> {
    report::write(records, dir)?;
    print!("{}", report::summary(records));
    let failures: Vec<&Record> = report::failures(records).collect();
    for failure in failures.iter().take(20) {
        println!("not as promised: {} ({}, {})", failure.id, failure.outcome.name(), failure.end);
    }
    println!("{}", dir.join("report.html").display());
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}
