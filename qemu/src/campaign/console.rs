//! What a guest printed, to be compared.

use regex::Regex;

/// A console's lines without the kernel's times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// All of them.
    pub all: Vec<String>,
    /// Those that are not the kernel's.
    pub work: Vec<String>,
    /// Whether the kernel gave up.
    pub panicked: bool,
}

impl Console {
    /// Takes a console apart. `times` are what else is a time in the kernel's lines.
    #[must_use]
    pub fn of(bytes: &[u8], times: &[Regex]) -> Self {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let mut console = Self {
            all: Vec::new(),
            work: Vec::new(),
            panicked: text.contains("Kernel panic - not syncing"),
        };
        for line in text.split('\n') {
            match without_time(line) {
                Some(rest) => {
                    let timeless =
                        |line: String, time: &Regex| time.replace_all(&line, "(time)").into_owned();
                    console
                        .all
                        .push(times.iter().fold(rest.to_owned(), timeless));
                }
                None => {
                    console.all.push(line.to_owned());
                    console.work.push(line.to_owned());
                }
            }
        }
        console
    }
}

/// A line of the kernel's without its `[seconds]`; `None` if it is not one.
fn without_time(line: &str) -> Option<&str> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = time.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(seconds) && micros.len() == 6 && digits(micros)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_guests_own_output_counts() {
        assert_eq!(without_time("[    0.123456] a"), Some(" a"));
        assert_eq!(without_time("[    0.12] a"), None);
        assert_eq!(without_time("x[    0.123456] a"), None);
    }

    #[test]
    fn what_a_plan_calls_a_time_is_one_in_the_kernels_lines_only() {
        let times = [Regex::new(r"offset of \d+ cycles").unwrap()];
        let console = Console::of(
            b"[    0.000000] offset of 12 cycles\noffset of 12 cycles\n",
            &times,
        );
        assert_eq!(console.all, [" (time)", "offset of 12 cycles", ""]);
    }
}
