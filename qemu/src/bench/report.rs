//! All figures together: as a table for a reader, as JSON for a program, and held against the bars.

use std::fmt::{self, Display, Write as _};

use super::bars;
use super::probes::Figure;

/// What was measured. What was not asked for is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Exits on Atoll.
    pub atoll: Vec<Figure>,
    /// The same on KVM.
    pub kvm: Vec<Figure>,
    /// How long the guest waits when servers are restarted and swapped.
    pub waits: Vec<Figure>,
    /// A boot of Linux.
    pub boot: Option<Boot>,
    /// What a reader of the table has to know: a line each.
    pub notes: Vec<String>,
}

/// Instructions from a kernel's entry to its shell's prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// On Atoll.
    pub atoll: u64,
    /// Directly in QEMU.
    pub bare: u64,
}

impl Report {
    fn on_kvm(&self, name: &str) -> Option<&Figure> {
        self.kvm.iter().find(|figure| figure.name == name)
    }

    /// Each bar that is broken, as a line.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let probes = self.atoll.iter().chain(&self.waits).filter_map(|figure| {
            let bar = bars::of(&figure.name).filter(|bar| figure.median > *bar)?;
            Some(format!(
                "{}: {} instructions, at most {bar} are promised",
                figure.name, figure.median
            ))
        });
        let boot = self.boot.filter(|boot| {
            boot.atoll.saturating_mul(100) > boot.bare.saturating_mul(bars::BOOT_HUNDREDTHS)
        });
        let boot = boot.map(|boot| {
            let most = bars::BOOT_HUNDREDTHS as f64 / 100.0;
            format!(
                "boot: {:.3} of the instructions without Atoll, at most {most} are promised",
                boot.atoll as f64 / boot.bare as f64
            )
        });
        probes.chain(boot).collect()
    }

    /// `{"probes":[{"name":"cpuid","atoll":N,"kvm":N},...,{"name":"boot","atoll":N,"bare":N}]}`: medians. What was not measured is null.
    #[must_use]
    pub fn json(&self) -> String {
        let number =
            |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let mut entries: Vec<String> = Vec::new();
        for figure in &self.atoll {
            let kvm = number(self.on_kvm(&figure.name).map(|figure| figure.median));
            entries.push(format!(
                "{{\"name\":\"{}\",\"atoll\":{},\"kvm\":{kvm}}}",
                figure.name, figure.median
            ));
        }
        for figure in &self.waits {
            entries.push(format!(
                "{{\"name\":\"{}\",\"atoll\":{},\"max\":{}}}",
                figure.name, figure.median, figure.max
            ));
        }
        if let Some(boot) = self.boot {
            entries.push(format!(
                "{{\"name\":\"boot\",\"atoll\":{},\"bare\":{}}}",
                boot.atoll, boot.bare
            ));
        }
        format!("{{\"probes\":[\n{}\n]}}\n", entries.join(",\n"))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = |atoll: u64, other: u64| format!("{:.2}", atoll as f64 / other.max(1) as f64);
        row(formatter, ["", "Atoll", "at most", "KVM", "ratio"])?;
        for figure in &self.atoll {
            let bar = bars::of(&figure.name).map_or_else(String::new, grouped);
            let (kvm, ratio) = match self.on_kvm(&figure.name) {
                Some(kvm) => (spread(kvm), ratio(figure.median, kvm.median)),
                None => ("-".to_owned(), "-".to_owned()),
            };
            row(
                formatter,
                [&figure.name, &spread(figure), &bar, &kvm, &ratio],
            )?;
        }
        if !self.waits.is_empty() {
            writeln!(formatter)?;
            row(formatter, ["the guest waits", "Atoll", "at most", "", ""])?;
        }
        for figure in &self.waits {
            let bar = bars::of(&figure.name).map_or_else(String::new, grouped);
            row(formatter, [&figure.name, &spread(figure), &bar, "", ""])?;
        }
        if let Some(Boot { atoll, bare }) = self.boot {
            let bar = format!("{:.1} x", bars::BOOT_HUNDREDTHS as f64 / 100.0);
            writeln!(formatter)?;
            row(formatter, ["", "Atoll", "at most", "QEMU alone", "ratio"])?;
            row(
                formatter,
                [
                    "boot",
                    &grouped(atoll),
                    &bar,
                    &grouped(bare),
                    &ratio(atoll, bare),
                ],
            )?;
        }
        if !self.notes.is_empty() {
            writeln!(formatter, "\n{}", self.notes.join("\n"))?;
        }
        Ok(())
    }
}

fn row(
    formatter: &mut fmt::Formatter<'_>,
    [name, atoll, bar, other, ratio]: [&str; 5],
) -> fmt::Result {
    writeln!(
        formatter,
        "{name:<16} {atoll:>26} {bar:>8} {other:>26} {ratio:>8}"
    )
}

/// The median, and in brackets the least and the most.
fn spread(figure: &Figure) -> String {
    format!(
        "{} ({}..{})",
        grouped(figure.median),
        grouped(figure.min),
        grouped(figure.max)
    )
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            let _ = text.write_char(',');
        }
        let _ = text.write_char(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, median: u64) -> Figure {
        Figure {
            name: name.into(),
            min: median - 1,
            median,
            max: median + 1,
        }
    }

    #[test]
    fn a_median_at_its_bar_holds_and_one_above_it_does_not() {
        let report = Report {
            atoll: vec![
                figure("cpuid", 700),
                figure("out", 701),
                figure("mail", 9_999),
            ],
            ..Report::default()
        };
        let broken = report.broken();
        assert_eq!(broken, ["out: 701 instructions, at most 700 are promised"]);
    }

    #[test]
    fn a_boot_that_takes_a_third_more_breaks_its_bar() {
        let boot = |atoll| {
            Report {
                boot: Some(Boot { atoll, bare: 300 }),
                ..Report::default()
            }
            .broken()
            .len()
        };
        assert_eq!((boot(390), boot(400)), (0, 1));
    }

    #[test]
    fn the_json_has_a_null_for_what_was_not_measured() {
        let report = Report {
            atoll: vec![figure("cpuid", 5), figure("out", 6)],
            kvm: vec![figure("cpuid", 10)],
            waits: vec![figure("swap_mmu", 7)],
            boot: Some(Boot { atoll: 3, bare: 2 }),
            notes: Vec::new(),
        };
        let expected = "{\"probes\":[\n{\"name\":\"cpuid\",\"atoll\":5,\"kvm\":10},\n{\"name\":\"out\",\"atoll\":6,\"kvm\":null},\n\
                        {\"name\":\"swap_mmu\",\"atoll\":7,\"max\":8},\n\
                        {\"name\":\"boot\",\"atoll\":3,\"bare\":2}\n]}\n";
        assert_eq!(report.json(), expected);
    }

    #[test]
    fn the_table_shows_a_ratio_where_both_were_measured() {
        let report = Report {
            atoll: vec![figure("cpuid", 1_000)],
            kvm: vec![figure("cpuid", 4_000)],
            ..Report::default()
        };
        let table = report.to_string();
        let line = table.lines().nth(1).unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "cpuid 1,000 (999..1,001) 700 4,000 (3,999..4,001) 0.25"
        );
    }
}
