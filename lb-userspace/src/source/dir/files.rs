//! Which files are manifests, and what each holds.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::parse::{Parsed, parse};
use crate::source::{Object, ObjectKey};

/// Largest file that is read. 10,000 Services with 10 endpoints each take about half of it.
const MAX_FILE_SIZE: u64 = 64 << 20;
/// A file whose last change is younger than this, as seen when it was read, may change again without a new time stamp:
/// file systems stamp in steps of up to two seconds.
const STAMP_STEP: Duration = Duration::from_secs(2);

/// A file as last read. Objects that it held stay while it is broken.
#[derive(Debug)]
pub(super) struct Manifest {
    stamp: Option<Stamp>,
    /// Objects in force.
    pub(super) objects: Vec<Object>,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
    /// It had to be read just now: it may be another than before.
    pub(super) fresh: bool,
    /// It was read without a Problem at least once. What a file that never was asks for is not known.
    pub(super) understood: bool,
    /// If it was read just now: what it held before, when nothing was wrong with it.
    pub(super) before: Option<Vec<Object>>,
}

/// What tells that a file is another than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Manifest {
    /// Reads a file, unless it is what `before` was read from.
    pub(super) fn read(path: &Path, before: Option<Manifest>) -> Manifest {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return broken(path, before, unreadable(path, &error)),
        };
        let stamp = file.metadata().ok().and_then(|metadata| settled_stamp(&metadata));
        match before {
            Some(manifest) if stamp.is_some() && manifest.stamp == stamp => {
                Manifest { fresh: false, before: None, ..manifest }
            }
            before => match content(&mut file) {
                Ok(Some(text)) => merge(parse(&Arc::from(path), &text), before, stamp),
                Ok(None) => broken(path, before, too_large(path)),
                Err(error) => broken(path, before, unreadable(path, &error)),
            },
        }
    }
}

/// While a file is broken anywhere, what it last held and no longer shows stays in force: a half-written or mistyped
/// object must not take down what works. What has not changed stays the very same object,
/// and what has only moved in the file the very same body.
fn merge(parsed: Parsed, before: Option<Manifest>, stamp: Option<Stamp>) -> Manifest {
    let Parsed { mut objects, problems } = parsed;
    let understood = problems.is_empty() || before.as_ref().is_some_and(|manifest| manifest.understood);
    let was_good = before.as_ref().is_none_or(|manifest| manifest.problems.is_empty());
    let held = before.map(|manifest| manifest.objects).unwrap_or_default();
    let before = was_good.then(|| held.clone());
    let mut held: HashMap<ObjectKey, Object> = held.into_iter().map(|object| (object.key(), object)).collect();
    for object in &mut objects {
        match held.remove(&object.key()) {
            Some(same) if same.is_same(object) => *object = same,
            Some(moved) if moved.body == object.body => object.body = moved.body,
            _ => {}
        }
    }
    if !problems.is_empty() {
        objects.extend(held.into_values());
    }
    Manifest { stamp, objects, problems, fresh: true, understood, before }
}

fn broken(path: &Path, before: Option<Manifest>, problem: Problem) -> Manifest {
    let (objects, understood) = before.map(|manifest| (manifest.objects, manifest.understood)).unwrap_or_default();
    Manifest {
        stamp: None,
        objects,
        problems: vec![problem.in_file(path, None)],
        fresh: true,
        understood,
        before: None,
    }
}

fn content(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut text)?;
    Ok((text.len() as u64 <= MAX_FILE_SIZE).then_some(text))
}

fn settled_stamp(metadata: &Metadata) -> Option<Stamp> {
    let age = clock::wall().duration_since(metadata.modified().ok()?).ok()?;
    (age > STAMP_STEP).then(|| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// A Problem for a file or directory that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("{} cannot be read: {error}", path.display());
    Problem::error(code::FILE_UNREADABLE, &ObjectRef::default(), what).in_file(path, None)
}

fn too_large(path: &Path) -> Problem {
    let what = format!("{} is larger than {} MiB and is not read", path.display(), MAX_FILE_SIZE >> 20);
    Problem::error(code::FILE_TOO_LARGE, &ObjectRef::default(), what)
}

/// The name is that of a manifest. Hidden files are not: editors and ConfigMap mounts (`..data`) keep copies in them.
pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && !is_hidden(path)
}

/// The name begins with a dot.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The path, with symbolic links followed, is a regular file (and not a pipe that reading would wait for).
pub(super) fn is_regular(path: &Path) -> io::Result<bool> {
    fs::metadata(path).map(|metadata| metadata.is_file())
}

/// A directory's entries, in the order of their names.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<_> =
        fs::read_dir(directory)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}
