//! Spans of requests, and where they go. Only fronts that are built with them have any.

use serde::{Deserialize, Serialize};

/// What is not said holds as the agent's flags say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpanSettings {
    /// There are spans.
    pub on: Option<bool>,
    /// Name or address of the collector.
    pub host: Option<String>,
    /// Its port, where it takes OTLP over HTTP.
    pub port: u16,
    /// As whom the front tells them.
    pub service: Option<String>,
    /// Which requests are sampled.
    pub sampler: Option<Sampler>,
    /// Of a million requests so many, where a part is.
    pub per_million: u32,
    /// Whoever began a trace says whether it is sampled.
    pub parent_based: bool,
    /// Traces of clients go on.
    pub trusts: bool,
}

/// Which requests are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sampler {
    /// All.
    Always,
    /// None.
    Never,
    /// A part.
    Part,
}

impl Default for SpanSettings {
    fn default() -> Self {
        SpanSettings {
            on: None,
            host: None,
            port: 4318,
            service: None,
            sampler: None,
            per_million: 10_000,
            parent_based: true,
            trusts: true,
        }
    }
}

impl SpanSettings {
    /// `HOST:PORT`, if there is one and spans are wanted.
    pub fn collector(&self) -> Option<String> {
        let host = self.host.as_ref().filter(|_| self.on == Some(true))?;
        let is_v6 = host.contains(':') && !host.starts_with('[');
        Some(if is_v6 { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) })
    }

    /// Of a million requests so many, if that is said.
    pub fn part(&self) -> Option<u32> {
        self.sampler.map(|sampler| match sampler {
            Sampler::Always => 1_000_000,
            Sampler::Never => 0,
            Sampler::Part => self.per_million,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_and_parts() {
        let at = |host: &str, on| SpanSettings { on, host: Some(host.into()), ..SpanSettings::default() }.collector();
        assert_eq!(at("tempo.monitoring", Some(true)).as_deref(), Some("tempo.monitoring:4318"));
        assert_eq!(at("2001:db8::1", Some(true)).as_deref(), Some("[2001:db8::1]:4318"));
        assert_eq!((at("a", None), at("a", Some(false))), (None, None));
        let part = |sampler| SpanSettings { sampler, ..SpanSettings::default() }.part();
        let all = [None, Some(Sampler::Always), Some(Sampler::Never), Some(Sampler::Part)];
        assert_eq!(all.map(part), [None, Some(1_000_000), Some(0), Some(10_000)]);
    }
}
