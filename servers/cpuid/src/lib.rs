//! Answers CPUID by masking the host's leaves.
#![no_std]
#![forbid(unsafe_code)]
