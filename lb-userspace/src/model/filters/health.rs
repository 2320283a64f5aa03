//! Whether endpoints can serve: what the front asks them.

use serde::{Deserialize, Serialize};

/// A question to each endpoint of a route, asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Path, with or without a query.
    pub path: String,
    /// Host; `None`: the endpoint's address.
    pub host: Option<String>,
    /// Between two questions, in milliseconds.
    pub interval: u64,
    /// For the answer, in milliseconds.
    pub timeout: u64,
    /// An endpoint that gave so many good answers in a row takes requests again.
    pub healthy: u32,
    /// One that gave so many bad answers in a row, or none, takes none.
    pub unhealthy: u32,
    /// Statuses of good answers: ranges, both ends included.
    pub statuses: Vec<(u16, u16)>,
}

impl HealthCheck {
    /// It is a good answer.
    pub fn expects(&self, status: u16) -> bool {
        self.statuses.iter().any(|&(first, last)| (first..=last).contains(&status))
    }

    /// In a few words.
    pub fn label(&self) -> String {
        format!("health-check {}", self.path)
    }
}
