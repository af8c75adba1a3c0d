//! `atoll campaign`: runs plans, and looks at what they left.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::campaign::record::Record;
use crate::campaign::replay::Replay;
use crate::campaign::runner::{Campaign, Options};
use crate::campaign::sweep::draw;
use crate::campaign::{host, report, store};
use crate::cli::{CampaignCommand, Common};
use crate::error::{Error, Result};
use crate::progress::note;
use crate::shown::{document, print};

/// Something is not as it was promised.
const BROKEN: u8 = 1;

/// Does what was asked.
pub(super) fn run(what: &CampaignCommand, common: &Common) -> Result<ExitCode> {
    match what {
        CampaignCommand::Run {
            plan, host: true, ..
        } => {
            let report = host::run(plan)?;
            print(&report)?;
            Ok(if report.failures.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(BROKEN)
            })
        }
        CampaignCommand::Run {
            plan,
            out,
            shard,
            resume,
            jobs,
            most,
            ..
        } => {
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            let options = Options {
                shard: *shard,
                resume: *resume,
                jobs: jobs.unwrap_or(cpus),
                most: *most,
            };
            let campaign = Campaign::open(plan, out, options, common.permission())?;
            tell(&campaign.run(options)?, out)
        }
        CampaignCommand::Report {
            brief: true,
            records,
        } => {
            print(report::brief(&store::all(&records.dir)?))?;
            Ok(ExitCode::SUCCESS)
        }
        CampaignCommand::Report {
            brief: false,
            records,
        } => tell(&store::all(&records.dir)?, &records.dir),
        CampaignCommand::Merge { from, out } => {
            let records = store::merge(from)?;
            fs::create_dir_all(out).map_err(Error::file(out))?;
            if !store::all(out)?.is_empty() {
                let what = format!(
                    "{}: has records already; merge into a directory that has none",
                    out.display()
                );
                return Err(Error::Usage { what });
            }
            store::write(&store::file(out, (1, 1)), &records)?;
            if let Some(plan) = from
                .iter()
                .map(|dir| dir.join(store::PLAN))
                .find(|plan| plan.is_file())
            {
                fs::copy(&plan, out.join(store::PLAN)).map_err(Error::file(&plan))?;
            }
            tell(&records, out)
        }
        CampaignCommand::Replay {
            ids,
            sample,
            seed,
            records,
        } => {
            let mut replay = Replay::open(&records.dir, common.permission())?;
            let ids = if ids.is_empty() {
                drawn(&replay.records, *sample, *seed)?
            } else {
                ids.clone()
            };
            let mut same = true;
            for id in ids {
                let was = replay.record(&id)?;
                let is = replay.again(&was)?;
                print(format_args!(
                    "{id}: {}, as recorded: {}\n",
                    is.outcome.name(),
                    was.outcome.name()
                ))?;
                if !was.equals(&is) {
                    note("the run differs from its record");
                    document(&is)?;
                    same = false;
                }
            }
            Ok(if same {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(BROKEN)
            })
        }
        CampaignCommand::Minimise { id, records } => {
            let mut replay = Replay::open(&records.dir, common.permission())?;
            let record = replay.record(id)?;
            let told = |record: &Record| {
                note(format!(
                    "{} faults at {} messages do",
                    record.faults.len(),
                    record.injected
                ))
            };
            let least = replay.minimise(&record, told)?;
            print(format_args!(
                "{id}: {}, as recorded: {}\n",
                least.outcome.name(),
                record.outcome.name()
            ))?;
            for fault in &least.faults {
                print(format_args!("{fault}\n"))?;
            }
            let same = least.outcome == record.outcome;
            Ok(if same {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(BROKEN)
            })
        }
    }
}

/// The names of some records, drawn at random, and said with what they can be drawn again.
fn drawn(records: &[Record], sample: usize, seed: Option<u64>) -> Result<Vec<String>> {
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let seed = seed.unwrap_or_else(clock);
    print(format_args!(
        "{sample} of {} records, drawn with --seed {seed}\n",
        records.len()
    ))?;
    let mut numbered: Vec<(u64, &Record)> = (1..)
        .map(|place: u64| draw(seed ^ draw(place)))
        .zip(records)
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered
        .into_iter()
        .take(sample)
        .map(|(_, record)| record.id.clone())
        .collect())
}

/// Writes the report and says what matters of it.
fn tell(records: &[Record], dir: &Path) -> Result<ExitCode> {
    report::write(records, dir)?;
    print(report::summary(records))?;
    let failures: Vec<&Record> = report::failures(records).collect();
    for failure in failures.iter().take(20) {
        print(format_args!(
            "not as promised: {} ({}, {})\n",
            failure.id,
            failure.outcome.name(),
            failure.end
        ))?;
    }
    print(format_args!("{}\n", dir.join("report.html").display()))?;
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BROKEN)
    })
}
