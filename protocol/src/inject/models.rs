//! What can go wrong.

/// What a model's argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It has none.
    Nothing,
    /// A span of ticks.
    Ticks,
    /// A span of ticks, signed: two's complement.
    Skew,
    /// A bit, counted from the first byte's lowest, modulo what there is; or [`Injection::RANDOM`](super::Injection::RANDOM).
    Bit,
    /// A value.
    Value,
    /// A [`Place`].
    Place,
    /// A [`Surplus`].
    Surplus,
    /// An interrupt line.
    Line,
    /// A server's number.
    Server,
    /// The place of an image's name in the plan's text.
    Image,
}

macro_rules! numbered {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// Its name in plans.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $($name::$variant => $number,)* }
            }

            /// The one with this number.
            #[must_use]
            pub const fn with_number(number: u64) -> Option<Self> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }

            /// The one with this name.
            #[must_use]
            pub fn with_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }
    };
}

numbered! {
    /// What goes wrong. "Honest" below means that nothing but the transaction discipline stands between the fault and the guest.
    Model {
        /// The server executes an undefined instruction instead of handling the message.
        Crash = 1, "crash";
        /// The server handles the message, changes its memory, and crashes before it answers.
        CrashLate = 2, "crash-late";
        /// The server spins and never answers.
        Hang = 3, "hang";
        /// The server answers only after so many ticks of spinning.
        Slow = 4, "slow";
        /// The server handles the message; its answer never arrives.
        DropAnswer = 5, "drop-answer";
        /// The message never arrives, and nobody notices: a lost interrupt, timer or mail; an exit gets an empty answer.
        Lose = 6, "lose";
        /// The message is delivered twice: the first answer is late, and is dropped with all that the server did to its state.
        Duplicate = 7, "duplicate";
        /// After this message, the next two pieces of mail change places.
        Reorder = 8, "reorder";
        /// The server's previous answer arrives in place of this one.
        Stale = 9, "stale";
        /// One bit of the message flips.
        FlipMessage = 10, "flip-message";
        /// One bit of the answer flips.
        FlipAnswer = 11, "flip-answer";
        /// The answer is no postcard.
        Malformed = 12, "malformed";
        /// The first value of the answer (a register's, a leaf's, an offered vector, an address, a time) becomes another.
        WrongValue = 13, "wrong-value";
        /// One bit of the server's program flips.
        FlipText = 14, "flip-text";
        /// One bit of its static data flips.
        FlipData = 15, "flip-data";
        /// One bit of its stack flips.
        FlipStack = 16, "flip-stack";
        /// One bit of its vault flips: of the working copy, and of the committed one.
        FlipVault = 17, "flip-vault";
        /// The server writes where it may not.
        WildWrite = 18, "wild-write";
        /// The answer asks for more than there is.
        Exhaust = 19, "exhaust";
        /// The answer carries an effect that the server was never granted.
        Ungranted = 20, "ungranted";
        /// An interrupt line rises and falls that nobody has driven.
        Spurious = 21, "spurious";
        /// The message says another time.
        ClockSkew = 22, "clock-skew";
        /// Another server (the supervisor is 0) is faulted while this message is handled.
        Kill = 23, "kill";
        /// While the message is handled, the supervisor is ordered to put another image into the server's place.
        Swap = 24, "swap";
    }
}

numbered! {
    /// Where a wild write goes.
    Place {
        /// The server's own program, which it may only read.
        Text = 0, "text";
        /// The kernel.
        Kernel = 1, "kernel";
        /// Where another server would be, if they shared an address space.
        Server = 2, "server";
        /// The committed copy of its own vault.
        Vault = 3, "vault";
        /// Guest memory, which it may only read, if at all.
        Guest = 4, "guest";
        /// The message page, which it may only read.
        Message = 5, "message";
    }
}

numbered! {
    /// What is asked for too much of.
    Surplus {
        /// Effects in one answer.
        Effects = 0, "effects";
        /// Mail to one server.
        Mail = 1, "mail";
        /// Timers.
        Timers = 2, "timers";
        /// Page frames: mappings without end.
        Frames = 3, "frames";
        /// Results of port reads.
        Results = 4, "results";
    }
}

impl Model {
    /// What its argument says.
    #[must_use]
    pub const fn needs(self) -> Needs {
        match self {
            Model::Slow => Needs::Ticks,
            Model::ClockSkew => Needs::Skew,
            Model::FlipMessage
            | Model::FlipAnswer
            | Model::FlipText
            | Model::FlipData
            | Model::FlipStack
            | Model::FlipVault => Needs::Bit,
            Model::WrongValue => Needs::Value,
            Model::WildWrite => Needs::Place,
            Model::Exhaust => Needs::Surplus,
            Model::Spurious => Needs::Line,
            Model::Kill => Needs::Server,
            Model::Swap => Needs::Image,
            _ => Needs::Nothing,
        }
    }

    /// Whether committed state, and what reaches it, is as it would be without the fault: the guest must not notice such a fault.
    #[must_use]
    pub const fn leaves_state_intact(self) -> bool {
        matches!(
            self,
            Model::Crash
                | Model::CrashLate
                | Model::Hang
                | Model::Slow
                | Model::DropAnswer
                | Model::Duplicate
                | Model::Malformed
                | Model::WildWrite
                | Model::Exhaust
                | Model::Ungranted
                | Model::Kill
                | Model::Swap
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_model() {
        for model in Model::ALL {
            assert_eq!(Model::with_number(u64::from(model.number())), Some(*model));
            assert_eq!(Model::with_name(model.name()), Some(*model));
        }
        assert_eq!(Model::with_number(0), None);
        assert_eq!(Model::with_name(""), None);
    }
}
