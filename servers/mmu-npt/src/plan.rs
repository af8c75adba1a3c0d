//! What an instruction does, as far as the emulator carries it out: the decoder's answer, in the form that is cached.
//!
//! There is no memory operand in it: the nested fault says where the operand is.

/// A number that stands for "no register; the value is in the instruction".
pub(crate) const IMMEDIATE: u8 = atoll_protocol::effect::Forward::IMMEDIATE;

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What it does.
    pub(crate) action: Action,
    /// Its bytes.
    pub(crate) length: u8,
    /// REP, REPNE, or neither; for the string forms.
    pub(crate) repeat: Repeat,
    /// Bytes of an address: 2, 4 or 8; for the string forms.
    pub(crate) address_size: u8,
    /// Segment of a string's source, in encoding order.
    pub(crate) segment: u8,
}

/// The repeat prefix of a string form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// None.
    Once,
    /// REP, REPE.
    WhileEqual,
    /// REPNE.
    WhileNotEqual,
}

/// A source operand: a register (0 to 15, 16 to 19 for AH, CH, DH, BH), or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The register, or [`IMMEDIATE`].
    pub(crate) register: u8,
    /// The value, sign-extended.
    pub(crate) value: u64,
}

/// Two-operand arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    /// ADD.
    Add,
    /// ADC.
    AddCarry,
    /// SUB.
    Subtract,
    /// SBB.
    SubtractBorrow,
    /// CMP.
    Compare,
    /// AND.
    And,
    /// TEST.
    Test,
    /// OR.
    Or,
    /// XOR.
    Xor,
}

/// One-operand arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    /// INC.
    Increment,
    /// DEC.
    Decrement,
    /// NOT.
    Not,
    /// NEG.
    Negate,
}

/// Bit tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BitTest {
    /// BT.
    Test,
    /// BTS.
    Set,
    /// BTR.
    Reset,
    /// BTC.
    Complement,
}

/// Memory that an instruction touches: where, the nested fault says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Bytes.
    pub(crate) size: u16,
    /// Whether they are read.
    pub(crate) reads: bool,
    /// Whether they are written.
    pub(crate) writes: bool,
}

impl Touch {
    /// None.
    pub(crate) const NONE: Touch = Touch::new(0, false, false);

    pub(crate) const fn new(size: u16, reads: bool, writes: bool) -> Touch {
        Touch {
            size,
            reads,
            writes,
        }
    }

    /// Bytes that are read.
    pub(crate) const fn read(size: u16) -> Touch {
        Touch::new(size, true, false)
    }

    /// Bytes that are written.
    pub(crate) const fn written(size: u16) -> Touch {
        Touch::new(size, false, true)
    }

    /// Bytes that are read and then written.
    pub(crate) const fn changed(size: u16) -> Touch {
        Touch::new(size, true, true)
    }
}

/// What an instruction does to its memory operand of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// MOV, MOVZX, MOVSX, MOVSXD from memory; `width` bytes of the register are written.
    Load {
        register: u8,
        size: u8,
        width: u8,
        sign: u8,
    },
    /// MOV, MOVNTI to memory.
    Store { source: Source, size: u8 },
    /// Arithmetic on memory and a source; the result goes to memory.
    ToMemory {
        operation: Binary,
        source: Source,
        size: u8,
    },
    /// Arithmetic on a register and memory; the result goes to the register.
    ToRegister {
        operation: Binary,
        register: u8,
        size: u8,
    },
    /// Arithmetic on memory alone.
    InPlace { operation: Unary, size: u8 },
    /// XCHG.
    Exchange { register: u8, size: u8 },
    /// CMPXCHG.
    CompareExchange { register: u8, size: u8 },
    /// XADD.
    ExchangeAdd { register: u8, size: u8 },
    /// BT, BTS, BTR, BTC.
    Bit {
        operation: BitTest,
        index: Source,
        size: u8,
    },
    /// What the CPU itself does to this operand and to the top of the stack, with registers that nobody else has.
    Execute { operand: Touch, stack: Touch },
    /// STOS.
    StoreString { size: u8 },
    /// LODS.
    LoadString { size: u8 },
    /// MOVS.
    MoveString { size: u8 },
    /// CMPS.
    CompareString { size: u8 },
    /// SCAS.
    ScanString { size: u8 },
    /// INS.
    InString { size: u8 },
    /// OUTS.
    OutString { size: u8 },
    /// MOV CRn from a general register.
    ToControl { control: u8, register: u8 },
    /// MOV to a general register from CRn.
    FromControl { control: u8, register: u8 },
    /// MOV DRn from a general register.
    ToDebug { debug: u8, register: u8 },
    /// MOV to a general register from DRn.
    FromDebug { debug: u8, register: u8 },
    /// LMSW from a general register.
    LoadStatusWord { register: u8 },
    /// SMSW to a general register; `size` bytes of it are written.
    StoreStatusWord { register: u8, size: u8 },
    /// CLTS.
    ClearTaskSwitched,
    /// XSETBV.
    SetExtendedControl,
    /// INVD, WBINVD: nothing to do.
    Nothing,
    /// Anything else.
    Unsupported,
}
