//! Answers RDMSR and WRMSR, kvmclock included.
#![no_std]
#![forbid(unsafe_code)]
