//! The vocabulary between sources and sinks: what should be, free of Kubernetes types.
//!
//! Everything here is plain data with `Eq` and a defined order, so that "has it changed?" is `==`.

pub mod algorithm;
pub mod backend;
pub mod certificate;
pub mod changed;
pub mod desired;
pub mod family;
pub mod filters;
pub mod name;
pub mod node;
pub mod policy;
pub mod problem;
pub mod protocol;
pub mod route;
pub mod service;
pub mod settings;
pub mod stream;
pub mod tls;
pub mod users;

pub use algorithm::Algorithm;
pub use backend::{Backend, BackendState};
pub use certificate::Certificate;
pub use changed::Changed;
pub use desired::DesiredState;
pub use family::IpFamily;
pub use node::NodeAddresses;
pub use policy::{Policy, TrafficPolicy};
pub use problem::{ObjectRef, Problem, Severity};
pub use protocol::Protocol;
pub use route::{BackendRef, PathMatch, Route, RouteKey};
pub use service::{
    Forwarding, ForwardingBy, FrontListener, Frontend, FrontendKind, Service, ServiceKey, ServiceType, Target,
};
pub use stream::{StreamPort, StreamProxy};
pub use tls::{Authorities, ClientAsk, Tls, TlsHost};
pub use users::{PasswordHash, Users};
