//! The escape key, as in QEMU: Ctrl-A and a letter are for the tool, everything else is for the guest.

/// Ctrl-A.
const KEY: u8 = 0x01;

/// What the user is told on Ctrl-A h.
pub const HELP: &str =
    "\r\nCtrl-A x  end QEMU\r\nCtrl-A h  this help\r\nCtrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

/// What typed bytes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the guest.
    Send(Vec<u8>),
    /// End QEMU.
    Quit,
    /// Say what the escape key does.
    Help,
}

/// Remembers a Ctrl-A whose letter has not come yet.
#[derive(Clone, Debug, Default)]
pub struct Escape {
    pending: bool,
}

impl Escape {
    /// Takes typed bytes apart.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut typed = Vec::new();
        let mut plain = Vec::new();
        for &byte in bytes {
            let command = match (self.pending, byte) {
                (false, KEY) => {
                    self.pending = true;
                    continue;
                }
                (true, b'x' | b'X') => Some(Typed::Quit),
                (true, b'h' | b'H' | b'?') => Some(Typed::Help),
                _ => None,
            };
            self.pending = false;
            match command {
                Some(command) => {
                    if !plain.is_empty() {
                        typed.push(Typed::Send(std::mem::take(&mut plain)));
                    }
                    typed.push(command);
                }
                None => plain.push(byte),
            }
        }
        if !plain.is_empty() {
            typed.push(Typed::Send(plain));
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_goes_to_the_guest() {
        assert_eq!(
            Escape::default().feed(b"ls\r"),
            [Typed::Send(b"ls\r".to_vec())]
        );
    }

    #[test]
    fn the_key_and_its_letter_may_come_apart() {
        let mut escape = Escape::default();
        assert_eq!(escape.feed(b"a\x01"), [Typed::Send(b"a".to_vec())]);
        assert_eq!(
            escape.feed(b"xb"),
            [Typed::Quit, Typed::Send(b"b".to_vec())]
        );
    }

    #[test]
    fn the_key_twice_sends_it_once() {
        assert_eq!(
            Escape::default().feed(b"\x01\x01x"),
            [Typed::Send(b"\x01x".to_vec())]
        );
    }

    #[test]
    fn ctrl_c_is_the_guests() {
        assert_eq!(
            Escape::default().feed(b"\x03"),
            [Typed::Send(b"\x03".to_vec())]
        );
    }
}
