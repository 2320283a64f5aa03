//! The files that names are found by: read by the agent for the front, which opens none.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

/// What the agent has told last; nothing where nobody tells.
static TOLD: ArcSwapOption<Files> = ArcSwapOption::const_empty();

/// resolv.conf(5) and hosts(5) as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Name servers, and how names are completed.
    pub resolv: String,
    /// Addresses of names.
    pub hosts: String,
}

impl Files {
    /// As they are now; one that cannot be read is empty.
    pub fn read() -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        Files { resolv: text("/etc/resolv.conf"), hosts: text("/etc/hosts") }
    }

    /// For all of this process, from now on.
    pub fn tell(self) {
        TOLD.store(Some(Arc::new(self)));
    }

    /// What was told, or else what they are now.
    pub(super) fn known() -> Arc<Self> {
        TOLD.load_full().unwrap_or_else(|| Arc::new(Self::read()))
    }
}
