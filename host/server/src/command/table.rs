//! Aligned columns of text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

/// How a cell is meant. Shown as a colour on a terminal, and as nothing in a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// A command that one could type.
    Command,
    /// As it should be.
    Good,
    /// Worth a look.
    Attention,
    /// Not as it should be.
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

    /// The text in that colour, with escape codes that `anstream` drops in a pipe.
    pub(crate) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// Most letters of a cell.
const CELL: usize = 72;

/// Which way a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells that are missing are empty, those beyond the last column are dropped, and long ones are cut:
    /// `--json` has all of their words.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let cells = cells.into_iter().map(|(text, tone)| (cut(text), tone));
        let mut row: Vec<_> = cells.take(self.columns.len()).collect();
        row.resize(self.columns.len(), (String::new(), Tone::Plain));
        self.rows.push(row);
    }

    /// The table as lines, two spaces between columns and none at the end of a line.
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

/// A text as it fits into a cell.
fn cut(text: String) -> String {
    match text.char_indices().nth(CELL) {
        None => text,
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// Columns of a terminal that a text takes, for names and numbers: one for each character.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
