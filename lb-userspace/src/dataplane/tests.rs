//! The data plane against the kernel, each test in a network namespace and on a pin path of its own. Needs root; without
//! it every test says that it did not run.

mod hop_watch;
mod kube_proxy;
mod lifecycle;
mod maps;
mod neighbours;
mod stage;
