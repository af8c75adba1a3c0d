//! Nested paging, filled lazily, and the decoder for device accesses.
#![no_std]
#![forbid(unsafe_code)]
