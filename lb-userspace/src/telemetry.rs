//! The log: text or JSON on stderr, with a level that can be changed while the process runs.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt as format};

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("text or json".to_owned()),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may fail.
    Warn,
    /// And what changes.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl LogLevel {
    const ALL: [(LogLevel, &str, LevelFilter); 5] = [
        (LogLevel::Error, "error", LevelFilter::ERROR),
        (LogLevel::Warn, "warn", LevelFilter::WARN),
        (LogLevel::Info, "info", LevelFilter::INFO),
        (LogLevel::Debug, "debug", LevelFilter::DEBUG),
        (LogLevel::Trace, "trace", LevelFilter::TRACE),
    ];

    const fn row(self) -> (LogLevel, &'static str, LevelFilter) {
        Self::ALL[self as usize]
    }

    /// Ours at this level; libraries not below warn, whose debug lines would bury ours.
    fn filter(self) -> Targets {
        let ours = self.row().2;
        Targets::new()
            .with_default(ours.min(LevelFilter::WARN))
            .with_target("lb_userspace", ours)
            .with_target("weir", ours)
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(text));
        found.map(|row| row.0).ok_or_else(|| "error, warn, info, debug or trace".to_owned())
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// Changes the level of the log.
#[derive(Clone)]
pub struct LevelHandle {
    filter: reload::Handle<Targets, Registry>,
}

impl LevelHandle {
    /// The level in force.
    pub fn get(&self) -> LogLevel {
        let ours = |filter: &Targets| {
            let enabled = |row: &&(LogLevel, &str, LevelFilter)| {
                row.2.into_level().is_some_and(|level| filter.would_enable("lb_userspace", &level))
            };
            LogLevel::ALL.iter().filter(enabled).map(|row| row.0).max()
        };
        self.filter.with_current(ours).ok().flatten().unwrap_or_default()
    }

    /// Puts another level in force; false if the log is gone.
    pub fn set(&self, level: LogLevel) -> bool {
        self.filter.reload(level.filter()).is_ok()
    }
}

/// Sends the log of this process to stderr.
pub fn init(log_format: LogFormat, level: LogLevel) -> Result<LevelHandle, TryInitError> {
    let (layer, handle) = layer(log_format, level, std::io::stderr, std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(handle)
}

fn layer<W>(log_format: LogFormat, level: LogLevel, writer: W, colours: bool) -> (impl Layer<Registry>, LevelHandle)
where
    W: for<'w> format::MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level.filter());
    let output = match log_format {
        LogFormat::Text => format::layer().with_writer(writer).with_target(false).with_ansi(colours).boxed(),
        LogFormat::Json => format::layer().json().flatten_event(true).with_writer(writer).with_target(false).boxed(),
    };
    (output.with_filter(filter), LevelHandle { filter: handle })
}

/// A handle whose log goes nowhere, for tests of those who hold one.
/// An error with its causes; those that the error itself repeats stand there once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) fn detached(log_format: LogFormat, level: LogLevel) -> LevelHandle {
    let (layer, handle) = layer(log_format, level, std::io::sink, false);
    // The handle works as long as the layer lives.
    Box::leak(Box::new(layer));
    handle
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose lines can be read back.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn level_changes_while_running() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (layer, handle) = layer(LogFormat::Text, LogLevel::Info, move || writer.clone(), false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::debug!("hidden");
            assert_eq!(handle.get(), LogLevel::Info);
            assert!(handle.set(LogLevel::Debug));
            tracing::debug!("shown");
            assert_eq!(handle.get(), LogLevel::Debug);
        });
        assert!(lines.text().contains("shown") && !lines.text().contains("hidden"), "{}", lines.text());
    }

    #[test]
    fn libraries_stay_quiet_at_debug() {
        let filter = LogLevel::Debug.filter();
        assert!(filter.would_enable("lb_userspace::agent", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("hyper::proto", &tracing::Level::INFO));
        assert!(filter.would_enable("hyper::proto", &tracing::Level::WARN));
        assert!(!LogLevel::Error.filter().would_enable("hyper::proto", &tracing::Level::WARN));
    }

    #[test]
    fn json_is_one_object_per_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (layer, _handle) = layer(LogFormat::Json, LogLevel::Info, move || writer.clone(), false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(code = "x-y", "first");
            tracing::info!("second");
        });
        let text = lines.text();
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((rows.len(), &rows[0]["code"], &rows[0]["message"]), (2, &"x-y".into(), &"first".into()));
        assert_eq!(rows[0]["level"], "WARN");
    }

    #[test]
    fn levels_and_formats_read_what_they_print() {
        for (level, name, _) in LogLevel::ALL {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("verbose".parse::<LogLevel>(), Err("error, warn, info, debug or trace".to_owned()));
        assert_eq!("yaml".parse::<LogFormat>(), Err("text or json".to_owned()));
    }
}
