//! Plain tables: columns two spaces apart, no lines around them, never wider than the terminal.

use std::fmt::Write as _;

const GAP: &str = "  ";
/// What a column keeps however narrow the terminal is.
const NARROWEST: usize = 6;
const CUT: char = '…';

/// On which side a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table as text; the widest columns are cut until it fits.
    pub(super) fn render(&self, width: usize) -> String {
        let widths = self.fit(width);
        let mut out = String::new();
        let header: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        for cells in std::iter::once(&header).chain(&self.rows) {
            self.line(&mut out, cells, &widths);
        }
        out
    }

    fn fit(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| length(title)).collect();
        for cells in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(length(cell));
            }
        }
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while excess > 0 {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { break };
            *widest -= 1;
            excess -= 1;
        }
        widths
    }

    fn line(&self, out: &mut String, cells: &[String], widths: &[usize]) {
        let start = out.len();
        for (index, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            let gap = if index > 0 { GAP } else { "" };
            let cell = cut(cell, *width);
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(out, "{gap}{cell:<width$}"),
                Align::Right => write!(out, "{gap}{cell:>width$}"),
            };
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
}

/// Text of at most `width` characters, with a mark where it was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A count in at most five characters: `9999`, `12.3k`, `4.56M`.
pub(super) fn count(value: u64) -> String {
    scaled(value, 1000, ["k", "M", "G", "T", "P", "E"])
}

/// Bytes in at most six characters: `9999`, `12.3Ki`.
pub(super) fn bytes(value: u64) -> String {
    scaled(value, 1024, ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
}

/// Three digits and a unit from 10,000 on, cut and not rounded, in integers.
fn scaled(value: u64, base: u64, units: [&str; 6]) -> String {
    if value < 10_000 {
        return value.to_string();
    }
    let mut unit = 0;
    let mut scale = base;
    while value / scale >= base && unit + 1 < units.len() {
        scale *= base;
        unit += 1;
    }
    let hundredths = |part: u64| u128::from(value) * u128::from(part) / u128::from(scale) % u128::from(part);
    match value / scale {
        whole @ ..10 => format!("{whole}.{:02}{}", hundredths(100), units[unit]),
        whole @ 10..100 => format!("{whole}.{}{}", hundredths(10), units[unit]),
        whole => format!("{whole}{}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("NAME", Align::Left), ("FRONTENDS", Align::Left), ("PACKETS", Align::Right)]);
        table.row(vec!["default/web".into(), "192.0.2.1:80, 192.0.2.2:80, 192.0.2.3:80".into(), "12".into()]);
        table.row(vec!["b".into(), "*:30080".into(), "1234".into()]);
        table
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(
            table().render(100),
            "NAME         FRONTENDS                                 PACKETS\n\
             default/web  192.0.2.1:80, 192.0.2.2:80, 192.0.2.3:80       12\n\
             b            *:30080                                      1234\n"
        );
    }

    #[test]
    fn the_widest_column_is_cut() {
        let text = table().render(40);
        assert!(text.contains("default/web  192.0.2.1:80, 192…       12"), "{text}");
    }

    #[test]
    fn never_wider_than_asked_down_to_what_is_readable() {
        for width in 22..120 {
            for line in table().render(width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn numbers_are_short_and_never_rounded_up() {
        let table =
            [(0, "0"), (9_999, "9999"), (10_000, "10.0k"), (12_399, "12.3k"), (999_999, "999k"), (1_050_000, "1.05M")];
        for (value, text) in table {
            assert_eq!(count(value), text);
        }
        assert_eq!(bytes(10_240), "10.0Ki");
        assert_eq!(bytes(1_048_576), "1.00Mi");
        assert_eq!(count(u64::MAX), "18.4E");
        assert_eq!(bytes(u64::MAX), "15.9Ei");
    }
}
