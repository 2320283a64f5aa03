//! Lines that the programs log, for debugging: only with the feature `bpf-log`, which no release carries.

#![expect(unsafe_code, reason = "tokio wants the promise that the logger keeps its descriptor")]

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::DataplaneError;

/// Passes the lines on to our own log at debug level, for as long as the runtime lives.
pub(crate) fn follow(object: &mut Ebpf) -> Result<(), DataplaneError> {
    let failed = |error: String| DataplaneError::map("AYA_LOGS")(std::io::Error::other(error));
    let logger = EbpfLogger::init_with_logger(object, ToTracing).map_err(|error| failed(error.to_string()))?;
    // SAFETY: the logger owns its descriptor for as long as it lives, and gives the same one at every call.
    let lines = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut lines = lines.map_err(|error| failed(error.to_string()))?;
    tokio::spawn(async move {
        while let Ok(mut ready) = lines.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}

/// aya-log writes to the `log` crate's trait.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        tracing::enabled!(target: "weir::kernel", tracing::Level::DEBUG)
    }

    fn log(&self, record: &Record<'_>) {
        tracing::debug!(target: "weir::kernel", "{}", record.args());
    }

    fn flush(&self) {}
}
