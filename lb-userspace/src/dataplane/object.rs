//! The kernel object, embedded.

/// The ELF object with all maps and programs of `lb-ebpf`, aligned as an ELF parser wants it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEIR_EBPF_OBJECT"));
