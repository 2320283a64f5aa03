//! Where in the files a Problem lies.

use std::collections::HashMap;

use crate::model::{ObjectRef, Problem};
use crate::source::{Objects, Origin};

/// Fills in file and line of every Problem that names an object from a file.
pub fn locate(objects: &Objects, problems: &mut [Problem]) {
    if problems.iter().all(|problem| problem.file.is_some()) {
        return;
    }
    let origins: HashMap<ObjectRef, &Origin> =
        objects.iter().filter_map(|(key, object)| Some((key.reference(), object.origin.as_deref()?))).collect();
    for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
        if let Some(origin) = origins.get(&problem.object) {
            let line = origin.document.line_of(problem.field.as_deref().unwrap_or_default());
            *problem = problem.clone().in_file(&origin.file, Some(line));
        }
    }
}
