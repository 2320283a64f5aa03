//! `weir migrate`: old manifests to today's API versions.

use super::{failed, print, say};
use crate::cli::{Exit, MigrateArgs};
use crate::config::Manifests;
use crate::migrate::{Change, migrate};
use crate::model::Severity;

pub(super) fn run(args: &MigrateArgs) -> Exit {
    let manifests = match Manifests::try_from(args) {
        Ok(manifests) => manifests,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let migrated = match migrate(&args.path, &manifests.settings(None, &[])) {
        Ok(migrated) => migrated,
        Err(error) => return failed(Exit::Unavailable, &error),
    };
    for change in &migrated.changes {
        say(&line(change));
    }
    let (rewritten, told) = (migrated.changes.len(), migrated.problems.len());
    say(&format!("{rewritten} objects rewritten; {told} remarks of weir check stand above what they concern"));
    let broken = migrated.problems.iter().any(|problem| problem.severity == Severity::Error);
    match print(&migrated.text) {
        Exit::Done if broken => Exit::BadData,
        exit => exit,
    }
}

fn line(change: &Change) -> String {
    let Change { file, line, object, from, to, notes } = change;
    let mut text = format!("{}:{line}: {object}: {from} is {to} now", file.display());
    for note in notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}
