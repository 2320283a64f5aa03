//! `weir check`: manifests validated offline, without a cluster and without a data plane.

use std::path::Path;

use crate::model::{Problem, problem};
use crate::source::dir::{self, DirError};
use crate::translate::{self, Settings, configmap, translate};
use crate::{clock, expiry, pools};

/// Reads everything under a path and returns what is wrong with it, the worst first.
pub fn check(path: &Path, settings: &Settings) -> Result<Vec<Problem>, DirError> {
    let mut objects = dir::read(path)?;
    let mut settings = settings.clone();
    let giving = pools::Giver::default().turn(&mut objects, &mut settings);
    let (desired, mut problems) = translate(&objects, &settings);
    problems.extend(giving.problems.iter().cloned());
    let mut customary = configmap::check_well_known(&objects, &settings, &desired.services);
    translate::locate(&objects, &mut customary);
    problems.extend(customary);
    problems.extend(expiry::problems(&desired.tls, clock::wall()));
    problem::sort(&mut problems);
    Ok(problems)
}

#[cfg(test)]
mod tests;
