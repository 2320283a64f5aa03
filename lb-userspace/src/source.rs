//! Where objects come from: one event vocabulary for every source, and the store of what they said.

pub mod derive;
pub mod dir;
pub mod kinds;
pub mod kube;
pub mod object;
pub mod parse;
pub mod rules;
pub mod store;
pub mod yaml;

pub use object::{Body, Kind, Object, ObjectKey, Origin};
pub use store::{Changes, Objects};

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::model::Problem;

/// What a source says. `Init`, `InitApply` and `InitDone` bring a complete picture: objects that it held before and that
/// were not named in between are gone. `Apply` and `Delete` bring single changes after that.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// A complete picture begins. What the source said before holds until `InitDone`.
    Init,
    /// One object of the picture.
    InitApply(Object),
    /// The picture is complete.
    InitDone,
    /// An object is new or has changed.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectKey),
    /// Everything that is wrong with the input of this source, as of now: replaces what it said before.
    Problems(Vec<Problem>),
    /// Every file of this source that was not once read well since the start, as of now: what it asked for before, if it
    /// did, nobody knows. Comes before `InitDone` if there is one.
    Unread(BTreeSet<PathBuf>),
}
