//! QEMU's debugger stub: memory is written and read by GDB's remote protocol over a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::monitor::connect;
use crate::error::{Error, Result};

/// Most bytes of memory in one packet: the stub's own limit is 2 KiB of text.
const CHUNK: usize = 512;

/// An open connection. Opening it stops the machine.
#[derive(Debug)]
pub struct Debugger {
    stream: UnixStream,
}

impl Debugger {
    /// Connects to the stub that listens on `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let mut debugger = Self {
            stream: connect(path)?,
        };
        debugger.expect("Qqemu.PhyMemMode:1", "OK")?;
        Ok(debugger)
    }

    /// Writes physical memory.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let digits: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let at = address + (index * CHUNK) as u64;
            self.expect(&format!("M{at:x},{:x}:{digits}", chunk.len()), "OK")?;
        }
        Ok(())
    }

    /// Reads a number from physical memory.
    pub fn number(&mut self, address: u64) -> Result<u64> {
        let digits = self.ask(&format!("m{address:x},8"))?;
        let number = u64::from_str_radix(&digits, 16).map_err(|_| wrong(&digits))?;
        Ok(number.swap_bytes())
    }

    fn expect(&mut self, packet: &str, wanted: &str) -> Result<()> {
        match self.ask(packet)? {
            answer if answer == wanted => Ok(()),
            answer => Err(wrong(&answer)),
        }
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.stream.write_all(&frame(packet)).map_err(broken)?;
        loop {
            let answer = self.packet()?;
            self.stream.write_all(b"+").map_err(broken)?;
            // That the machine has stopped, which the monitor had it do, is told unasked.
            if !answer.starts_with(['T', 'S']) {
                return Ok(answer);
            }
        }
    }

    /// The next packet; acknowledgements before it are passed over.
    fn packet(&mut self) -> Result<String> {
        while self.byte()? != b'$' {}
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => text.push(byte),
            }
        }
        let _checksum = (self.byte()?, self.byte()?);
        String::from_utf8(text).map_err(|_| wrong("bytes"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).map_err(broken)?;
        Ok(byte[0])
    }
}

/// A packet with its checksum.
fn frame(packet: &str) -> Vec<u8> {
    let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
    format!("${packet}#{sum:02x}").into_bytes()
}

fn broken(error: std::io::Error) -> Error {
    Error::program("QEMU's debugger stub", error)
}

fn wrong(answer: &str) -> Error {
    Error::program(
        "QEMU's debugger stub",
        format_args!("it answered '{answer}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_the_sum_of_its_bytes() {
        assert_eq!(frame("OK"), b"$OK#9a");
        assert_eq!(frame(""), b"$#00");
    }
}
