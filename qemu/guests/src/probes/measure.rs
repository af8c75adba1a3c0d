//! Reading the clock around an instruction, and making a figure of many such readings.

/// Rounds before those that count: caches fill, pages are mapped.
pub const WARM_UP: usize = 16;
/// Rounds that count.
pub const ROUNDS: usize = 200;
/// All rounds.
pub const ALL: usize = WARM_UP + ROUNDS;

/// What was measured of one thing: instructions.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// The least.
    pub min: u64,
    /// As many rounds took more as took less.
    pub median: u64,
    /// The most.
    pub max: u64,
}

impl core::fmt::Display for Figure {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            formatter,
            "probe {} {} {} {}",
            self.name, self.min, self.median, self.max
        )
    }
}

/// Measures something in [`ALL`] rounds: `round` is given the round's number and gives ticks, of which `empty` are not the thing's own.
pub fn figure(name: &'static str, empty: u64, mut round: impl FnMut(usize) -> u64) -> Figure {
    let mut ticks = [0; ROUNDS];
    // One loop for all: what a hypervisor keeps of an instruction goes by its address.
    for number in 0..ALL {
        let taken = round(number).saturating_sub(empty);
        if let Some(place) = number
            .checked_sub(WARM_UP)
            .and_then(|counted| ticks.get_mut(counted))
        {
            *place = taken;
        }
    }
    Figure::of(name, &mut ticks)
}

impl Figure {
    /// Of all readings.
    pub fn of(name: &'static str, ticks: &mut [u64]) -> Self {
        ticks.sort_unstable();
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        Self {
            name,
            min: at(0),
            median: at(ticks.len() / 2),
            max: at(ticks.len().saturating_sub(1)),
        }
    }
}

/// What the readings take by themselves.
pub fn nothing() -> u64 {
    // SAFETY: nothing is between the readings.
    unsafe { ticks_of!("", 0, 0, 0, 0) }
}

/// Ticks from a reading of the clock to the next, with an instruction between them: its text, then what EAX, ECX, EDX and RDI hold
/// before it. It may change EAX, EBX, ECX, EDX, RSI and the flags; `call` may be used.
macro_rules! ticks_of {
    ($instruction:literal, $eax:expr, $ecx:expr, $edx:expr, $rdi:expr) => {{
        let (start, end): (u64, u64);
        core::arch::asm!(
            "mov r12, rbx",                 // RBX is not the assembler's to give
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "mov r8, rax",
            "mov eax, r9d",
            "mov ecx, r10d",
            "mov edx, r11d",
            $instruction,
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "mov rbx, r12",
            out("r8") start,
            out("rax") end,
            in("r9") { let value: u64 = $eax; value },
            in("r10") { let value: u64 = $ecx; value },
            in("r11") { let value: u64 = $edx; value },
            in("rdi") { let value: u64 = $rdi; value },
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("r12") _,
        );
        let (start, end): (u64, u64) = (start, end);
        end.wrapping_sub(start)
    }};
}
pub(crate) use ticks_of;
