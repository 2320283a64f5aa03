//! Golden files and properties.

mod golden;
mod kubernetes;
mod properties;
mod scale;
