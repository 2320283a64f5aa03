//! Ctrl-C ends the demo in an orderly way: what it made is removed when the cluster is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// Whether the user wants to end.
#[derive(Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From here on SIGINT and SIGTERM only set a flag.
    pub(super) fn watch() -> Result<Self> {
        let flag = Self(Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("signals")?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let raised = flag.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            });
            raised.0.store(true, Ordering::Relaxed);
        });
        Ok(flag)
    }

    pub(super) fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once the user wants to end.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(!self.raised(), "interrupted");
        Ok(())
    }
}
