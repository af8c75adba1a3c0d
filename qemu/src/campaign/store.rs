//! Records on disk: `records.jsonl`, or one file for each shard, one JSON object a line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{Error, Result};

/// The file of a shard.
#[must_use]
pub fn file(dir: &Path, (shard, of): (usize, usize)) -> PathBuf {
    dir.join(if of == 1 {
        "records.jsonl".to_owned()
    } else {
        format!("records-{shard}-of-{of}.jsonl")
    })
}

/// Reads one file. A last line that was cut short, because the tool was ended while it wrote, is left out.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| Error::Campaign {
            file: path.display().to_string(),
            line: number + 1,
            what: error.to_string(),
        })
    };
    text[..whole].lines().enumerate().map(parse).collect()
}

/// Writes a file anew.
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)
            .map_err(|error| Error::program("the record", error))?;
        text.push(b'\n');
    }
    fs::write(path, text).map_err(Error::file(path))
}

/// Adds one record.
pub fn append(file: &mut fs::File, path: &Path, record: &Record) -> Result<()> {
    let line =
        serde_json::to_string(record).map_err(|error| Error::program("the record", error))?;
    writeln!(file, "{line}").map_err(Error::file(path))
}

/// All records in a directory, over all shards, by name.
pub fn all(dir: &Path) -> Result<Vec<Record>> {
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("records") && name.ends_with(".jsonl") {
            records.extend(
                read(&path)?
                    .into_iter()
                    .map(|record| (record.id.clone(), record)),
            );
        }
    }
    Ok(records.into_values().collect())
}

/// All records of several directories. They must be of one plan and of one machine: figures of two are not one figure.
pub fn merge(dirs: &[PathBuf]) -> Result<Vec<Record>> {
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    let mut first: BTreeMap<String, Record> = BTreeMap::new();
    for dir in dirs {
        for record in all(dir)? {
            let known = first
                .entry(record.phase.clone())
                .or_insert_with(|| record.clone());
            let mut differences = known
                .depends
                .on(&record.depends)
                .differences(&record.depends);
            if known.plan != record.plan {
                differences.push(format!("plan: {} and {}", known.plan, record.plan));
            }
            if !differences.is_empty() {
                let what = format!(
                    "{}: its records are of another machine: {}",
                    dir.display(),
                    differences.join("; ")
                );
                return Err(Error::Usage { what });
            }
            records.insert(record.id.clone(), record);
        }
    }
    Ok(records.into_values().collect())
}
