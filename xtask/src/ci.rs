//! `cargo xtask ci`: everything that CI runs, in its order.

use anyhow::Result;

use crate::setup::{self, Use};
use crate::{lint, test};

pub(crate) fn run() -> Result<()> {
    setup::ensure(Use::Tests)?;
    lint::run()?;
    test::run(&test::Args::default())
}
