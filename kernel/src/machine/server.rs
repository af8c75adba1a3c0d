//! A server's memory: its address space, and the two copies of its vault.

use atoll_protocol::effect::Segment;
use atoll_protocol::grant::Limits;
use atoll_protocol::layout::{ANSWER, BUNDLE, GUEST, MESSAGE, STACK_TOP, VAULT, VAULT_MAX};
use atoll_protocol::units::{Hpa, ServerId};
use atoll_protocol::{LINE, PAGE};

use super::conversation::Conversation;
use crate::cpu::activation::Target;
use crate::memory::direct;
use crate::memory::frames::Frames;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::space::{Access, Loaders, MapError, PageSize, Space};

const VAULT_PAGES: usize = (VAULT_MAX / PAGE_SIZE) as usize;
const LINES_PER_PAGE: usize = PAGE / LINE;

/// One line, copied in words.
type Words = [u64; LINE / 8];

/// A server's memory.
pub(super) struct Memory {
    pub(super) space: Option<Space>,
    pub(super) target: Target,
    /// Bytes mapped for it.
    pub(super) guest: u64,
    pub(super) bundle: u64,
    pub(super) vault: u64,
    pub(super) working: [Hpa; VAULT_PAGES],
    pub(super) committed: [Hpa; VAULT_PAGES],
}

impl Memory {
    /// An empty slot.
    pub(super) const NONE: Memory = Memory {
        space: None,
        target: Target::NONE,
        guest: 0,
        bundle: 0,
        vault: 0,
        working: [Hpa(0); VAULT_PAGES],
        committed: [Hpa(0); VAULT_PAGES],
    };

    /// Makes an address space with pages of the conversation, stack and vault.
    pub(super) fn create(
        &mut self,
        id: ServerId,
        limits: &Limits,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        let mut space = Space::new(frames).ok_or(MapError::NoFrames)?;
        space.map_shared(
            MESSAGE,
            Conversation::message_page(id),
            Access::Read,
            frames,
        )?;
        space.map_shared(ANSWER, Conversation::answer_page(id), Access::Write, frames)?;
        #[cfg(feature = "fault-injection")]
        space.map_shared(
            atoll_protocol::layout::SABOTAGE,
            super::failing::code_page(),
            Access::Execute,
            frames,
        )?;
        for page in 1..=u64::from(limits.stack_pages) {
            space.map(STACK_TOP - page * PAGE_SIZE, Access::Write, frames)?;
        }
        self.vault = u64::from(limits.vault_lines) * LINE as u64;
        let pages = self
            .working
            .iter_mut()
            .zip(&mut self.committed)
            .take(self.vault.div_ceil(PAGE_SIZE) as usize);
        for (page, (working, committed)) in (0..).zip(pages) {
            *working = space.map(VAULT + page * PAGE_SIZE, Access::Write, frames)?;
            *committed = frames.alloc().ok_or(MapError::NoFrames)?;
        }
        self.space = Some(space);
        Ok(())
    }

    /// Maps and fills a segment; `content` is its part of the bundle.
    pub(super) fn fill(
        &mut self,
        segment: &Segment,
        content: &[u8],
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        let Some(space) = &mut self.space else {
            return Ok(());
        };
        let access = match segment.access {
            Segment::WRITE => Access::Write,
            Segment::EXECUTE => Access::Execute,
            _ => Access::Read,
        };
        for page in 0..segment.memory.div_ceil(PAGE_SIZE) {
            space.map(segment.address + page * PAGE_SIZE, access, frames)?;
        }
        self.refill(segment, content);
        Ok(())
    }

    /// Fills a segment's pages as they were first; `content` is its part of the bundle.
    pub(super) fn refill(&mut self, segment: &Segment, content: &[u8]) {
        let Some(space) = &mut self.space else { return };
        let mut content = content.chunks(PAGE);
        for page in 0..segment.memory.div_ceil(PAGE_SIZE) {
            let bytes = content.next().unwrap_or(&[]);
            let Some(frame) = space.page_mut(segment.address + page * PAGE_SIZE) else {
                return;
            };
            let (filled, rest) = frame.split_at_mut(bytes.len());
            filled.copy_from_slice(bytes);
            rest.fill(0);
        }
    }

    /// Makes the vault's working copy what the committed one is.
    pub(super) fn restore(&mut self) {
        let Some(space) = &mut self.space else { return };
        for (page, committed) in (0..).zip(
            self.committed
                .iter()
                .take(self.vault.div_ceil(PAGE_SIZE) as usize),
        ) {
            let Some(working) = space.page_mut(VAULT + page * PAGE_SIZE) else {
                return;
            };
            // SAFETY: the committed copy's frame is the kernel's alone, and this is the only reference to it.
            working.copy_from_slice(unsafe { &*direct::pointer::<[u8; PAGE]>(*committed) });
        }
    }

    /// The memory is another slot's from now on.
    pub(super) fn move_to(&mut self, id: ServerId) {
        self.change(|space| {
            space.redirect(MESSAGE, Conversation::message_page(id));
            space.redirect(ANSWER, Conversation::answer_page(id));
        });
    }

    /// Changes what is mapped. What the space was before is activated no more.
    fn change(&mut self, act: impl FnOnce(&mut Space)) {
        if let Some(space) = &mut self.space {
            act(space);
            self.target = Target::new(space, STACK_TOP, self.target.entry());
        }
    }

    /// Sets the entry point.
    pub(super) fn set_entry(&mut self, entry: u64) {
        if let Some(space) = &self.space {
            self.target = Target::new(space, STACK_TOP, entry);
        }
    }

    /// Maps guest memory read-only.
    pub(super) fn show_guest(
        &mut self,
        base: Hpa,
        size: u64,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        let Some(space) = &mut self.space else {
            return Ok(());
        };
        space.map_window(GUEST, base, size, PageSize::Large, frames)?;
        self.guest = size;
        Ok(())
    }

    /// Maps the bundle read-only.
    pub(super) fn show_bundle(
        &mut self,
        base: Hpa,
        size: u64,
        frames: &mut Frames,
    ) -> Result<(), MapError> {
        let Some(space) = &mut self.space else {
            return Ok(());
        };
        space.map_window(BUNDLE, base, size, PageSize::Small, frames)?;
        self.bundle = size;
        Ok(())
    }

    /// Gives everything back.
    pub(super) fn destroy(&mut self, cores: &impl Loaders, frames: &mut Frames) {
        if let Some(space) = self.space.take() {
            space.destroy(cores, frames);
        }
        for committed in self
            .committed
            .iter()
            .take(self.vault.div_ceil(PAGE_SIZE) as usize)
        {
            frames.free(*committed);
        }
        *self = Memory::NONE;
    }

    /// A target like its own, but for the entry point; and that.
    #[cfg(feature = "fault-injection")]
    pub(super) fn target_at(&self, entry: u64) -> Option<(Target, u64)> {
        self.space
            .as_ref()
            .map(|space| (Target::new(space, STACK_TOP, entry), self.target.entry()))
    }

    /// Copies vault lines from the working to the committed copy; the range was checked.
    #[inline(always)]
    pub(super) fn commit(&mut self, first: u16, count: u16) {
        for line in usize::from(first)..usize::from(first) + usize::from(count) {
            let page = line / LINES_PER_PAGE % VAULT_PAGES;
            let offset = (line % LINES_PER_PAGE * LINE) as u64;
            let from = direct::pointer::<Words>(Hpa(self.working[page].0 + offset));
            // SAFETY: the working copy's frame belongs to the server, which does not run now; the line lies within the page.
            let words = unsafe { from.read() };
            let to = direct::pointer::<Words>(Hpa(self.committed[page].0 + offset));
            // SAFETY: the committed copy's frame is the kernel's alone; the line lies within the page.
            unsafe { to.write(words) };
        }
    }
}
