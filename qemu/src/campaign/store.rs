//! Records on disk: `records.jsonl`, or one file for each shard, one JSON object a line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{Error, Result};
use crate::shown::Document;

/// The file of a shard.
#[must_use]
pub fn file(dir: &Path, (shard, of): (usize, usize)) -> PathBuf {
    dir.join(if of == 1 {
        "records.jsonl".to_owned()
    } else {
        format!("records-{shard}-of-{of}.jsonl")
    })
}

/// Refuses to run where that would cost records: those of the shard, if they are not to be gone on with, or those of another plan.
pub fn check_free(dir: &Path, plan: &str, shard: (usize, usize), resume: bool) -> Result<()> {
    let used = |what: String| Error::Usage {
        what: format!("{}: {what}", dir.display()),
    };
    let records = count(&file(dir, shard))?;
    if records > 0 && !resume {
        return Err(used(format!(
            "has {records} records already: --resume goes on with them, another --out keeps them as they are"
        )));
    }
    let others = files(dir)?
        .iter()
        .map(|path| count(path))
        .sum::<Result<usize>>()?;
    let path = dir.join(PLAN);
    if others > 0 && fs::read_to_string(&path).is_ok_and(|before| before != plan) {
        return Err(used(format!(
            "has {others} records of another plan ({}): use another --out",
            path.display()
        )));
    }
    Ok(())
}

/// How many lines a file has that were written to their end; none if there is no file.
fn count(path: &Path) -> Result<usize> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.iter().filter(|byte| **byte == b'\n').count()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::file(path)(error)),
    }
}

/// The plan's name beside its records.
pub const PLAN: &str = "plan.toml";

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
        serde_json::to_writer(&mut text, &Document::of(record))
            .map_err(|error| Error::program("the record", error))?;
        text.push(b'\n');
    }
    fs::write(path, text).map_err(Error::file(path))
}

/// Adds one record.
pub fn append(file: &mut fs::File, path: &Path, record: &Record) -> Result<()> {
    let line = serde_json::to_string(&Document::of(record))
        .map_err(|error| Error::program("the record", error))?;
    writeln!(file, "{line}").map_err(Error::file(path))
}

/// All records in a directory, over all shards, by name.
pub fn all(dir: &Path) -> Result<Vec<Record>> {
    let mut records = BTreeMap::new();
    for path in files(dir)? {
        records.extend(
            read(&path)?
                .into_iter()
                .map(|record| (record.id.clone(), record)),
        );
    }
    Ok(records.into_values().collect())
}

/// All files with records in a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("records") && name.ends_with(".jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_neither_written_over_nor_mixed_with_those_of_another_plan() {
        let dir = tempfile::tempdir().unwrap();
        let free = |plan: &str, shard, resume| {
            check_free(dir.path(), plan, shard, resume).map_err(|error| error.to_string())
        };
        free("plan", (1, 2), false).unwrap();
        fs::write(dir.path().join(PLAN), "plan").unwrap();
        fs::write(file(dir.path(), (1, 2)), "").unwrap();
        free("other", (1, 2), false).expect("nothing is recorded yet");
        fs::write(file(dir.path(), (1, 2)), "{}\n{}\n{ cut sho").unwrap();

        let error = free("plan", (1, 2), false).unwrap_err();
        assert!(error.contains("has 2 records already: --resume"), "{error}");
        free("plan", (1, 2), true).unwrap();
        free("plan", (2, 2), false).expect("another shard is welcome");
        for (shard, resume) in [((1, 2), true), ((2, 2), false)] {
            let error = free("other", shard, resume).unwrap_err();
            assert!(error.contains("2 records of another plan"), "{error}");
        }
    }
}
