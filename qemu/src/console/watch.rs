//! What the tool looks for in what the guest prints: a kernel panic, and texts that something waits for.

use crate::guest::init::READY;

/// What Linux prints when it gives up.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// How much of the console's end is kept for reports.
const TAIL: usize = 4096;

/// Reads along.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    tail: Vec<u8>,
    fresh: usize,
    panicked: bool,
    ready: bool,
}

impl Watch {
    /// Takes in what the guest printed.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.fresh += bytes.len();
        let news = &self.tail[self.tail.len().saturating_sub(bytes.len() + PANIC.len())..];
        self.panicked |= contains(news, PANIC);
        self.ready |= contains(news, READY);
        let surplus = self.tail.len().saturating_sub(TAIL.max(bytes.len()));
        self.tail.drain(..surplus);
        self.fresh = self.fresh.min(self.tail.len());
    }

    /// Whether the guest's kernel panicked.
    #[must_use]
    pub fn panicked(&self) -> bool {
        self.panicked
    }

    /// Whether the guest reads its console now.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// Whether `text` has been printed since the last text that was waited for; what follows it counts for the next.
    pub fn take(&mut self, text: &[u8]) -> bool {
        let start = self.tail.len() - self.fresh;
        match self.tail[start..]
            .windows(text.len().max(1))
            .position(|window| window == text)
        {
            Some(at) => {
                self.fresh -= at + text.len();
                true
            }
            None => false,
        }
    }

    /// The last lines, for a report.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_even_when_its_line_comes_in_pieces() {
        let mut watch = Watch::default();
        for byte in b"[    1.2] Kernel panic - not syncing: Attempted to kill init!" {
            watch.feed(&[*byte]);
        }
        assert!(watch.panicked());
    }

    #[test]
    fn each_text_is_waited_for_after_the_one_before() {
        let mut watch = Watch::default();
        watch.feed(b"~ # echo\r\n");
        assert!(watch.take(b"# "));
        assert!(!watch.take(b"# "));
        watch.feed(b"~ # ");
        assert!(watch.take(b"# "));
    }

    #[test]
    fn long_output_keeps_only_its_end() {
        let mut watch = Watch::default();
        for _ in 0..10_000 {
            watch.feed(b"0123456789\n");
        }
        watch.feed(b"last\n");
        assert!(watch.tail.len() <= TAIL + 16);
        assert_eq!(watch.last_lines(1), "last");
    }
}
