//! Golden files and properties.

mod golden;
mod kubernetes;
pub(crate) mod properties;
pub(crate) mod scale;
