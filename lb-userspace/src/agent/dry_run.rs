//! `weir agent --dry-run`: what an agent would write, and nothing else.

use std::io::Write;
use std::time::Duration;

use super::deny_list::DenyList;
use super::error::AgentError;
use super::facts::Facts;
use super::{node, problems, sources};
use crate::compile::{Ids, compile};
use crate::config::Config;
use crate::dataplane::{self, DataplaneError};
use crate::diff::diff;
use crate::plan::Plan;
use crate::pools;
use crate::reconcile::Found;
use crate::source::Objects;
use crate::status::print_problems;
use crate::tables::Tables;
use crate::translate::translate;

/// A directory is read in far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints the Plan to stdout and the Problems to stderr.
pub(super) async fn run(config: &Config) -> Result<(), AgentError> {
    sources::readable(&config.sources)?;
    let facts = Facts::find(config)?;
    let actual = actual(config)?;
    let mut objects = read(config, &facts).await?;
    let mut settings = config.manifests.settings(Some(&facts.name), &facts.node_ips);
    let mut giver = pools::Giver::new(pools::Memory::read(&dataplane::run_dir(&config.pin_path)).only_read());
    let giving = giver.turn(&mut objects, &mut settings);
    let (desired, mut problems) = translate(&objects, &settings);
    problems.extend(giving.problems.iter().cloned());
    problems.extend(config.not_yet.iter().cloned());
    let taken = node::taken(&config.manifests, &facts.nodeport_addresses);
    problems.extend(taken.problems.iter().cloned());
    let denied = DenyList::new(config.deny_list.clone());
    problems.extend(denied.problems().iter().cloned());
    let mut node = facts.node(config, &taken);
    node.denied = denied.networks().or_else(|| Some(actual.denied.clone()));
    let (compiled, _) = compile(&desired, &node, &Ids::restore(&actual));
    problems.extend(compiled.problems);
    let unread: Vec<_> = objects.unread().collect();
    let (tables, kept) = match unread.is_empty() {
        true => (compiled.tables, 0),
        false => {
            let (tables, kept) = Found::new(&actual).keep(&actual, &compiled.tables);
            (tables.into(), kept)
        }
    };
    problems.extend(problems::services_kept(kept, &unread));
    print(&diff(&actual, &tables), &print_problems(&problems)).map_err(AgentError::Runtime)
}

/// What the maps hold; nothing where nothing is pinned.
fn actual(config: &Config) -> Result<Tables, AgentError> {
    match dataplane::inspect(&config.pin_path) {
        Ok(inspection) => Ok(inspection.tables),
        Err(DataplaneError::NotPinned { .. }) => Ok(Tables::default()),
        Err(error) => Err(error.into()),
    }
}

/// The first complete picture of all sources, or as much of it as comes in time.
async fn read(config: &Config, facts: &Facts) -> Result<Objects, AgentError> {
    let api = sources::connect(&config.sources).await?;
    let mut objects = Objects::new(config.sources.len());
    let mut events = sources::start(config, facts, api.as_ref());
    let all = async {
        while !objects.complete() {
            let Some((source, event)) = events.recv().await else { return };
            objects.handle(source, event);
        }
    };
    // Whatever is missing then stands among the Problems.
    let _ = tokio::time::timeout(PATIENCE, all).await;
    Ok(objects)
}

fn print(plan: &Plan, problems: &str) -> std::io::Result<()> {
    std::io::stderr().write_all(problems.as_bytes())?;
    let mut stdout = std::io::stdout().lock();
    if plan.is_empty() { stdout.write_all(b"nothing to do\n") } else { write!(stdout, "{plan}") }
}
