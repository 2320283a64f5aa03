//! The table, in Markdown.

use std::collections::BTreeMap;
use std::fmt;

use super::case::Case;

pub(crate) struct Report {
    /// The first is the one that the others are compared with.
    proxies: Vec<&'static str>,
    cases: Vec<Case>,
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Report {
    pub(crate) fn new(proxies: Vec<&'static str>) -> Self {
        Report { proxies, cases: Vec::new(), values: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, case: &Case, proxy: &'static str, value: f64) {
        if !self.cases.iter().any(|known| known.name == case.name) {
            self.cases.push(*case);
        }
        self.values.entry((case.name, proxy)).or_default().push(value);
    }

    /// Ratios of the same round, sorted.
    fn ratios(&self, case: &Case, proxy: &'static str) -> Vec<f64> {
        let (of, to) = (&self.values[&(case.name, proxy)], &self.values[&(case.name, self.proxies[0])]);
        sorted(of.iter().zip(to).map(|(of, to)| of / to))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| case | unit |")?;
        self.proxies.iter().try_for_each(|proxy| write!(f, " {proxy} |"))?;
        self.proxies[1..].iter().try_for_each(|proxy| write!(f, " {proxy} to {} |", self.proxies[0]))?;
        writeln!(f, " target |")?;
        writeln!(f, "|---|---|{}---|", "---|".repeat(2 * self.proxies.len() - 1))?;
        for case in &self.cases {
            write!(f, "| {} | {} |", case.name, case.unit())?;
            for proxy in &self.proxies {
                write!(f, " {:.1} |", middle(&sorted(self.values[&(case.name, *proxy)].iter().copied())))?;
            }
            for proxy in &self.proxies[1..] {
                let ratios = self.ratios(case, proxy);
                write!(f, " {:.2} ({:.2}–{:.2}) |", middle(&ratios), ratios[0], ratios[ratios.len() - 1])?;
            }
            if case.is_absolute() {
                writeln!(f, " {:.0} {} |", case.target, case.unit())?;
            } else {
                writeln!(f, " {:.2} |", case.target)?;
            }
        }
        Ok(())
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
