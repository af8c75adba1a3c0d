//! Answers VMMCALL by the KVM convention.
#![no_std]
#![forbid(unsafe_code)]
