//! Buffers that a thread uses again and again: memory that is given back and asked for anew is memory that the kernel has to
//! clear, a fifth of all time where it was measured.

use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(vec![]) };
}

/// Runs `work` with a buffer of `length` numbers, which may be anything.
pub(super) fn scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    let result = work(&mut buffer[..length]);
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_do_not_meet_and_are_used_again() {
        let first = scratch(4, |outer| {
            outer.fill(1.0);
            scratch(8, |inner| inner.fill(2.0));
            assert_eq!(outer, [1.0; 4]);
            outer.as_ptr()
        });
        let again = (0..2).any(|_| scratch(4, |buffer| buffer.as_ptr()) == first);
        assert!(again);
    }
}
