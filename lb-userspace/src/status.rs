//! What `weir status`, `services`, `backends` and `routes` show: rows built by pure functions from a [`View`], as JSON
//! and as tables for the terminal.

pub mod ask;
mod backends;
pub mod capture;
pub mod drops;
pub mod explain;
pub mod filter;
pub mod flows;
mod print;
mod print_see;
mod print_top;
pub mod query;
mod routes;
pub mod row;
mod services;
mod table;
pub mod time;
pub mod top;
mod view;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use print::{print, print_problems};
pub use print_see::{print_drops, print_explain, print_flows, print_samples};
pub use print_top::print_top;
pub use view::View;

use routes::filter as filter_text;
use row::{BackendRow, RouteRow, ServiceRow, StatusRow};

/// Which listing: the name of the command, and of the path under `/api/v1/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `weir status`.
    Status,
    /// `weir services`.
    Services,
    /// `weir backends`.
    Backends,
    /// `weir routes`.
    Routes,
}

impl Name {
    /// Every listing.
    pub const ALL: [Name; 4] = [Name::Status, Name::Services, Name::Backends, Name::Routes];

    /// As typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::Status => "status",
            Name::Services => "services",
            Name::Backends => "backends",
            Name::Routes => "routes",
        }
    }
}

/// A listing. In JSON one object whose only key is the command's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Listing {
    /// `weir status`.
    Status(Box<StatusRow>),
    /// `weir services`.
    Services(Vec<ServiceRow>),
    /// `weir backends`.
    Backends(Vec<BackendRow>),
    /// `weir routes`.
    Routes(Vec<RouteRow>),
}

impl Listing {
    /// Builds a listing.
    pub fn new(name: Name, view: &View) -> Self {
        match name {
            Name::Status => Listing::Status(Box::new(view.status())),
            Name::Services => Listing::Services(services::rows(view)),
            Name::Backends => Listing::Backends(backends::rows(view)),
            Name::Routes => Listing::Routes(routes::rows(&view.routes, &view.unhealthy)),
        }
    }
}
