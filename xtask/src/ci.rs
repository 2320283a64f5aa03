//! `cargo xtask ci`: everything that CI runs, in its order.

use anyhow::Result;

use crate::{lint, setup, test};

pub(crate) fn run() -> Result<()> {
    setup::ensure(false)?;
    lint::run()?;
    test::run(&test::Args::default())
}
