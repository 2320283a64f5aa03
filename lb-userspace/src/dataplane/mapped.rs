//! Arrays of the kernel in the agent's memory: reads without a system call, and the aligned stores that the programs
//! never see torn.
#![expect(unsafe_code, reason = "aya has no mmap for arrays; the mapping is shared with the kernel")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;

/// A `BPF_F_MMAPABLE` array. Elements are read and written word by word: a word is whole, an element need not be.
pub(crate) struct MappedArray<T> {
    base: NonNull<AtomicU64>,
    bytes: usize,
    len: u32,
    access: Access,
    element: PhantomData<T>,
}

/// Whether a mapping may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

// SAFETY: the mapping belongs to no thread, and every access to it is an atomic one.
unsafe impl<T> Send for MappedArray<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8), "an element is whole words, so the kernel's stride is its size");
        size_of::<T>() / 8
    };

    /// Maps an array of `len` elements; the caller has compared the map's value size with `T`.
    pub(crate) fn map(fd: BorrowedFd<'_>, len: u32, access: Access) -> io::Result<Self> {
        let bytes = len as usize * size_of::<T>();
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new shared mapping at an address of the kernel's choice; no existing memory is touched.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned the null address"))?;
        Ok(Self { base, bytes, len, access, element: PhantomData })
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Reads an element; `None` beyond the end.
    pub(crate) fn read(&self, index: u32) -> Option<T> {
        let words = self.element(index)?;
        let mut value = std::mem::MaybeUninit::<T>::uninit();
        for (position, word) in words.iter().enumerate() {
            let word = word.load(Ordering::Acquire);
            // SAFETY: `position` is below the number of words of `T`, so the write stays inside `value`; it may be
            // unaligned for a u64.
            unsafe { value.as_mut_ptr().cast::<u64>().add(position).write_unaligned(word) };
        }
        // SAFETY: all words of `value` are written, and every bit pattern is a valid `Pod`.
        Some(unsafe { value.assume_init() })
    }

    /// Writes an element in ascending order of its words, each by one store that releases those before it.
    /// `false` beyond the end, or if the mapping is not for writing.
    pub(crate) fn write(&self, index: u32, value: &T) -> bool {
        let Some(words) = self.writable(index) else { return false };
        for (position, word) in words.iter().enumerate() {
            // SAFETY: `position` is below the number of words of `T`; the read may be unaligned.
            let new = unsafe { std::ptr::from_ref(value).cast::<u64>().add(position).read_unaligned() };
            word.store(new, Ordering::Release);
        }
        true
    }

    /// Writes one word of an element; `false` beyond the end, or if the mapping is not for writing.
    pub(crate) fn store(&self, index: u32, word: usize, value: u64) -> bool {
        let Some(target) = self.writable(index).and_then(|words| words.get(word)) else { return false };
        target.store(value, Ordering::Release);
        true
    }

    /// A store to a read-only mapping would be a fault.
    fn writable(&self, index: u32) -> Option<&[AtomicU64]> {
        self.element(index).filter(|_| self.access == Access::Write)
    }

    fn element(&self, index: u32) -> Option<&[AtomicU64]> {
        if index >= self.len {
            return None;
        }
        // SAFETY: `index` is inside the mapping, which lives as long as `self`, is aligned to a page and holds
        // `WORDS` words per element; `writable` guards stores.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(index as usize * Self::WORDS), Self::WORDS) })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
