//! Where in the files a Problem lies.

use crate::model::{ObjectRef, Problem};
use crate::source::{Kind, ObjectKey, Objects, Origin};

/// Fills in file and line of every Problem that names an object from a file.
pub fn locate(objects: &Objects, problems: &mut [Problem]) {
    for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
        if let Some(origin) = origin(objects, &problem.object) {
            let line = origin.lines.line_of(problem.field.as_deref().unwrap_or_default());
            *problem = problem.clone().in_file(&origin.file, Some(line));
        }
    }
}

fn origin<'a>(objects: &'a Objects, named: &ObjectRef) -> Option<&'a Origin> {
    let key = ObjectKey {
        kind: Kind::from_name(named.kind.as_deref()?)?,
        namespace: named.namespace.clone().unwrap_or_default(),
        name: named.name.clone()?,
    };
    objects.get(&key)?.origin.as_deref()
}
