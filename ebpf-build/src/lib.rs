//! Chooses a toolchain pair and builds the kernel object of weir.
//!
//! Two programs have to fit together: a `rustc` that has `core` for a BPF target (already compiled, or as source), and a
//! `bpf-linker` whose LLVM is at least as new as the LLVM of that `rustc`, or it cannot read what `rustc` writes.
//! They are chosen together, and the choice says why.
//!
//! `lb-userspace/build.rs` and `cargo xtask` share this crate. It has no dependencies, so that a build script that uses
//! it is cheap.

mod environment;
mod error;
mod linker;
mod llvm;
mod object;
mod rustc;
mod toolchain;
mod workspace;

pub use environment::clean_cargo;
pub use error::Error;
pub use linker::{LINKER_VERSION, Linker};
pub use llvm::Llvm;
pub use object::{Object, build};
pub use rustc::{CoreLibrary, Rustc};
pub use toolchain::{Choice, LINKER_VARIABLE, Plan, Rejected, TOOLCHAIN_VARIABLE};
pub use workspace::Workspace;
