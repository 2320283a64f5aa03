//! `weir drops`: what was dropped and why.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::read::{self, Question};
use super::{failed, print, say, width};
use crate::cli::{DropsArgs, Exit};
use crate::config::Reader;
use crate::dataplane;
use crate::status::ask::{self, AskError};
use crate::status::drops::{DropListing, SampleRow, drops};
use crate::status::{print_drops, print_samples};

/// How often an agent is asked for more.
const PACE: Duration = Duration::from_millis(500);

pub(super) fn run(args: &DropsArgs) -> Exit {
    let reader = match Reader::try_from(&args.read) {
        Ok(reader) => reader,
        Err(error) => return failed(Exit::Usage, &error),
    };
    if args.follow {
        return follow(&reader, args.read.json);
    }
    let from_pins = || Ok(drops(&read::view(dataplane::inspect(&reader.pin_path)?), Vec::new(), false));
    read::answer(&reader, args.read.json, Question { path: "/api/v1/drops".to_owned(), from_pins, print: print_drops })
}

/// Prints samples as they come: as JSON one object a line.
fn follow(reader: &Reader, json: bool) -> Exit {
    let mut after = None;
    loop {
        let listing = match listing(reader, after.unwrap_or_default()) {
            Ok(listing) => listing,
            Err(error) => {
                say("only a running agent knows samples");
                return failed(Exit::Unavailable, &error);
            }
        };
        let last = listing.samples.last().map(|sample| sample.number);
        // What was there before is left out: the first answer only tells where to begin.
        if after.is_some() && last.is_some() {
            match print(&text(&listing.samples, json)) {
                Exit::Done => {}
                failed => return failed,
            }
        }
        after = last.or(after).or(Some(0));
        thread::sleep(PACE);
    }
}

fn listing(reader: &Reader, after: u64) -> Result<DropListing, AskError> {
    let path = format!("/api/v1/drops?after={after}");
    let text = ask::get(reader.admin, &path)?;
    let found = |error: serde_json::Error| AskError::Answer { admin: reader.admin, path, found: error.to_string() };
    serde_json::from_str(&text).map_err(found)
}

fn text(samples: &[SampleRow], json: bool) -> String {
    if !json {
        let table = print_samples(samples, width());
        // the header once is enough, but a screen may have scrolled: it comes with each batch
        return table;
    }
    samples.iter().map(|sample| format!("{}\n", json!(sample))).collect()
}
