//! Addresses for Services of type LoadBalancer: pools of them, and who gets which. Pure.

pub mod range;
