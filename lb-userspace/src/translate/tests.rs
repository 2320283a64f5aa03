//! Golden files and properties.

mod golden;
mod properties;
mod scale;
