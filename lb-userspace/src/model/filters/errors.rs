//! Pages of a service of one's own in the place of errors.

use serde::{Deserialize, Serialize};

use crate::model::ServiceKey;

/// Which answers are replaced, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ErrorPages {
    /// Answers with these statuses are replaced.
    pub statuses: Vec<u16>,
    /// The service that gives the pages, and stands in where the backend has no endpoint; `None`: pages come from the
    /// default backend of the front.
    pub service: Option<ServiceKey>,
    /// Answers of backends are passed on as they are; only those of the front are replaced.
    pub only_own: bool,
}
