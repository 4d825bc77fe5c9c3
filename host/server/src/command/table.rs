//! Tables of aligned text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

/// Meaning of a cell. A colour on a terminal, nothing in a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No colour.
    #[default]
    Plain,
    /// Bold.
    Heading,
    /// A command to copy.
    Command,
    /// Healthy.
    Good,
    /// Needs attention.
    Attention,
    /// Broken.
    Bad,
}

impl Tone {
    /// The colour.
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Command => AnsiColor::Cyan.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        }
    }

    /// The text with escape codes, which `anstream` drops in a pipe.
    pub(crate) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// Longest cell, in characters. Longer texts are cut.
const CELL: usize = 72;

/// Alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    has_cut_cells: bool,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            has_cut_cells: false,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells are empty, surplus cells are dropped, and long cells are cut.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let mut row = Vec::with_capacity(self.columns.len());
        for (text, tone) in cells.into_iter().take(self.columns.len()) {
            let (text, was_cut) = cut(text);
            self.has_cut_cells |= was_cut;
            row.push((text, tone));
        }
        row.resize(self.columns.len(), (String::new(), Tone::Plain));
        self.rows.push(row);
    }

    /// Whether a cell was cut.
    pub(crate) fn has_cut_cells(&self) -> bool {
        self.has_cut_cells
    }

    /// The table as lines, with two spaces between columns and no spaces at the end of a line.
    pub(crate) fn render(&self) -> String {
        let heading = self
            .columns
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Tone::Heading))
            .collect::<Vec<_>>();
        let lines: Vec<_> = std::iter::once(&heading).chain(&self.rows).collect();
        let widths: Vec<_> = (0..self.columns.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| width(&line[column].0))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            self.render_line(line, &widths, &mut text);
        }
        text
    }

    fn render_line(&self, line: &[(String, Tone)], widths: &[usize], text: &mut String) {
        let mut pending = 0;
        for ((cell, tone), (width_of_column, (_, align))) in
            line.iter().zip(widths.iter().zip(&self.columns))
        {
            let padding = width_of_column - width(cell);
            let (before, after) = match align {
                Align::Left => (0, padding),
                Align::Right => (padding, 0),
            };
            if !cell.is_empty() {
                let _ = write!(text, "{:1$}{2}", "", pending + before, tone.paint(cell));
                pending = 0;
            } else {
                pending += before;
            }
            pending += after + 2;
        }
        text.push('\n');
    }
}

/// The text, cut to the size of a cell, and whether it was cut.
fn cut(text: String) -> (String, bool) {
    match text.char_indices().nth(CELL) {
        None => (text, false),
        Some((end, _)) => (format!("{}…", text[..end].trim_end()), true),
    }
}

/// Width on a terminal, in columns. Exact for names and numbers: one column for each character.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
