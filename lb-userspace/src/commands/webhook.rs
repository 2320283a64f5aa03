//! `weir webhook`: answers the API server what is wrong with an object.

use super::failed;
use crate::cli::{Exit, WebhookArgs};
use crate::config::WebhookCommand;
use crate::telemetry::{self, LogLevel};
use crate::webhook::{self, WebhookError};

pub(super) fn run(args: &WebhookArgs) -> Exit {
    let command = match WebhookCommand::try_from(args) {
        Ok(command) => command,
        Err(error) => return failed(Exit::Usage, &error),
    };
    if let Err(error) = telemetry::init(command.log_format, LogLevel::default()) {
        return failed(Exit::Failed, &error);
    }
    match webhook::run(&command) {
        Ok(()) => Exit::Done,
        Err(error @ WebhookError::Certificate(_)) => failed(Exit::BadData, &error),
        Err(error) => failed(Exit::Unavailable, &error),
    }
}
