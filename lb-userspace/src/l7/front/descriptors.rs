//! How many descriptors the front has, and how many of them clients may use.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Listeners, runtime and signals of a worker, with some to spare.
const PER_WORKER: u64 = 16;
/// Control socket, log and the like.
const OTHERS: u64 = 64;

/// Takes as many descriptors as the front may have; returns how many. The soft limit is 1024 nearly everywhere, for the
/// sake of programs that use select(2): a single client could hold them all.
pub(super) fn raise() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.or(current).unwrap_or(u64::MAX))
}

/// Connections of clients that each worker may have open: half of what is left, as each may need one to a backend.
pub(super) fn clients_per_worker(descriptors: u64, workers: usize) -> usize {
    let workers = (workers as u64).max(1);
    let left = descriptors.saturating_sub(OTHERS + workers * PER_WORKER);
    usize::try_from(left / 2 / workers).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_backends_share_what_is_left() {
        assert_eq!(clients_per_worker(1024, 2), (1024 - 64 - 32) / 4);
        assert_eq!(clients_per_worker(1_048_576, 1), (1_048_576 - 64 - 16) / 2);
        assert_eq!(clients_per_worker(10, 8), 1);
    }
}
