//! A `newc` archive in memory: what Linux unpacks into its first root.

use std::io::Cursor;

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::error::{Error, Result};

/// An archive being made.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn next(&mut self, name: &str, kind: ModeFileType, mode: u32) -> Builder {
        self.inode += 1;
        Builder::new(name)
            .ino(self.inode)
            .nlink(1)
            .mode(mode)
            .set_mode_file_type(kind)
    }

    /// Adds a directory.
    pub(crate) fn directory(&mut self, name: &str) -> Result<()> {
        self.add(name, ModeFileType::Directory, 0o755, b"")
    }

    fn add(&mut self, name: &str, kind: ModeFileType, mode: u32, content: &[u8]) -> Result<()> {
        let builder = self.next(name, kind, mode);
        self.write(builder, content)
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.add(name, ModeFileType::Regular, mode, content)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &[u8]) -> Result<()> {
        self.add(name, ModeFileType::Symlink, 0o777, target)
    }

    /// Adds a character device that only its owner may use.
    pub(crate) fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let builder = self
            .next(name, ModeFileType::Char, 0o600)
            .rdev_major(major)
            .rdev_minor(minor);
        self.write(builder, b"")
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        trailer(self.bytes).map_err(Error::file("the initramfs"))
    }

    fn write(&mut self, builder: Builder, content: &[u8]) -> Result<()> {
        let wrong = || Error::file("the initramfs");
        let length = u32::try_from(content.len())
            .map_err(|_| Error::missing("a file of the initramfs exceeds 4 GiB"))?;
        let mut writer = builder.write(&mut self.bytes, length);
        std::io::copy(&mut Cursor::new(content), &mut writer).map_err(wrong())?;
        writer.finish().map_err(wrong())?;
        Ok(())
    }
}
