//! Taking a command's output, and its status, out of everything else that the guest prints.

use crate::guest::init::{DONE, END, FILES, Marks};

/// After the status.
const STATUS_END: u8 = 0x1f;

/// Passes on what stands between the marks.
#[derive(Clone, Debug)]
pub struct Extract {
    begin: Vec<u8>,
    prefix: Vec<u8>,
    files: Vec<u8>,
    pending: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    Within,
    /// In the files that are brought back, between the command's output and its end.
    Files,
    After(Option<i32>),
}

impl Extract {
    /// For output between these marks.
    #[must_use]
    pub fn new(marks: &Marks) -> Self {
        Self {
            begin: marks.begin(),
            prefix: marks.prefix(),
            files: Vec::new(),
            pending: Vec::new(),
            state: State::Before,
        }
    }

    /// Takes in what the guest printed, gives what of it is the command's.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let mut output = Vec::new();
        loop {
            match self.state {
                State::Before => {
                    let Some(at) = find(&self.pending, &self.begin) else {
                        self.keep_last(self.begin.len());
                        return output;
                    };
                    self.pending.drain(..at + self.begin.len());
                    self.state = State::Within;
                }
                State::Within | State::Files => {
                    let before = self.before_mark();
                    let passed = self.pending.drain(..before);
                    if self.state == State::Within {
                        output.extend(passed);
                    } else {
                        self.files.extend(passed);
                    }
                    let Some(tag) = self.pending.get(self.prefix.len()..) else {
                        return output;
                    };
                    let next = [
                        (END, State::After(None)),
                        (FILES, State::Files),
                        (DONE, State::Within),
                    ];
                    if let Some((tag, next)) = next.iter().find(|(known, _)| tag.starts_with(known))
                    {
                        self.pending.drain(..self.prefix.len() + tag.len());
                        self.state = *next;
                    } else if next.iter().any(|(known, _)| known.starts_with(tag)) {
                        return output;
                    } else {
                        // Nothing of ours: the prefix is the command's own output.
                        output.extend(self.pending.drain(..self.prefix.len()));
                    }
                }
                State::After(None) => {
                    let Some(at) = self.pending.iter().position(|byte| *byte == STATUS_END) else {
                        return output;
                    };
                    let status = String::from_utf8_lossy(&self.pending[..at])
                        .trim()
                        .parse()
                        .unwrap_or(123);
                    self.state = State::After(Some(status));
                }
                State::After(Some(_)) => {
                    self.pending.clear();
                    return output;
                }
            }
        }
    }

    /// How many bytes there are before what may be a mark.
    fn before_mark(&self) -> usize {
        find(&self.pending, &self.prefix).unwrap_or_else(|| {
            let length = self.pending.len();
            let kept = (1..self.prefix.len().min(length + 1))
                .rev()
                .find(|kept| self.pending.ends_with(&self.prefix[..*kept]));
            length - kept.unwrap_or(0)
        })
    }

    /// The files that the guest has shown.
    pub fn take_files(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.files)
    }

    fn keep_last(&mut self, count: usize) {
        let surplus = self.pending.len().saturating_sub(count);
        self.pending.drain(..surplus);
    }

    /// What was held back because the end mark might have begun in it; to be printed if the guest ended early.
    pub fn rest(&mut self) -> Vec<u8> {
        if self.state == State::Within {
            std::mem::take(&mut self.pending)
        } else {
            Vec::new()
        }
    }

    /// Whether the command was started.
    #[must_use]
    pub fn started(&self) -> bool {
        self.state != State::Before
    }

    /// The command's status, when it has ended.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        match self.state {
            State::After(status) => status,
            _ => None,
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(marks: &Marks, output: &[u8], status: i32) -> Vec<u8> {
        [
            b"[ 0.1] booting\r\n",
            &marks.begin()[..],
            output,
            &marks.end()[..],
            format!("{status}\x1f\r\n[ 9.9] off").as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn only_the_commands_output_comes_through_however_it_is_cut() {
        let marks = Marks::new("7f");
        let output = b"one\ntwo \x1eatoll:other:end:0\x1f no newline at the end";
        let bytes = stream(&marks, output, 3);
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut extract = Extract::new(&marks);
            let got: Vec<u8> = bytes
                .chunks(size)
                .flat_map(|chunk| extract.feed(chunk))
                .collect();
            assert_eq!(
                (got.as_slice(), extract.status()),
                (&output[..], Some(3)),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn files_come_between_the_output_and_its_end_however_they_are_cut() {
        let marks = Marks::new("7f");
        let files = [
            &marks.prefix()[..],
            FILES,
            b"aGk=\r\n",
            &marks.prefix(),
            DONE,
        ]
        .concat();
        let bytes = stream(&marks, &[b"one\n", &files[..]].concat(), 0);
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut extract = Extract::new(&marks);
            let got: Vec<u8> = bytes
                .chunks(size)
                .flat_map(|chunk| extract.feed(chunk))
                .collect();
            assert_eq!(
                (got.as_slice(), extract.status(), extract.take_files()),
                (&b"one\n"[..], Some(0), b"aGk=\r\n".to_vec()),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_guest_that_dies_within_the_command_leaves_no_status_but_its_output() {
        let marks = Marks::new("7f");
        let mut extract = Extract::new(&marks);
        let mut got = extract.feed(&[&marks.begin()[..], b"half"].concat());
        got.extend(extract.rest());
        assert_eq!(
            (got.as_slice(), extract.status(), extract.started()),
            (&b"half"[..], None, true)
        );
    }
}
