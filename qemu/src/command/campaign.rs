//! `atoll campaign`: runs plans, and looks at what they left.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::campaign::runner::{Campaign, Options};
use crate::cli::{CampaignCommand, Common};
use crate::error::Result;

/// Does what was asked.
pub(super) fn run(what: &CampaignCommand, common: &Common) -> Result<ExitCode> {
    match what {
        CampaignCommand::Run { plan, out, shard, resume, jobs, most } => {
            let campaign = Campaign::open(plan, out, common.permission())?;
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            let options = Options { shard: *shard, resume: *resume, jobs: jobs.unwrap_or(cpus), most: *most };
            let records = campaign.run(options)?;
            let mut counts = BTreeMap::new();
            for record in &records {
                *counts.entry(record.outcome).or_insert(0) += 1;
            }
            for (outcome, count) in counts {
                println!("{:>8} {}", count, outcome.name());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
