//! Statics of a program that runs alone: one CPU, and handlers that do not touch what they interrupt.

use core::cell::UnsafeCell;

/// A static that is reached by pointer.
#[derive(Debug)]
#[repr(transparent)]
pub struct Alone<T>(UnsafeCell<T>);

// SAFETY: a guest has one CPU; who dereferences the pointer answers for handlers.
unsafe impl<T> Sync for Alone<T> {}

impl<T> Alone<T> {
    /// Holds `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}
