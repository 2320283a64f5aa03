//! How to make the verifier forget.

/// Gives the word back, of whose bits the verifier knows nothing any more. It follows a register to the stack and back only
/// if it is read in the size that it was written in (kernel/bpf/verifier.c, `check_stack_read_fixed_off`).
#[inline(always)]
pub(crate) fn forget(word: u64) -> u64 {
    let place = word;
    let from = (&raw const place).cast::<u32>();
    // SAFETY: two aligned halves of a word on the stack. Volatile: else LLVM would read nothing.
    let (first, second) = unsafe {
        core::ptr::write_volatile((&raw const place).cast_mut(), word);
        (core::ptr::read_volatile(from), core::ptr::read_volatile(from.add(1)))
    };
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
