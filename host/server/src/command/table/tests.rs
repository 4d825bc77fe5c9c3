use super::{Align, CELL, Table, Tone};

/// The table without escape codes, as in a pipe.
fn plain(table: &Table) -> String {
    anstream::adapter::strip_str(&table.render()).to_string()
}

fn cells<const N: usize>(texts: [&str; N]) -> impl Iterator<Item = (String, Tone)> {
    texts.into_iter().map(|text| (text.to_owned(), Tone::Good))
}

#[test]
fn columns_are_aligned() {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("COUNT", Align::Right),
        ("END", Align::Left),
    ]);
    table.row(cells(["a", "1", "x"]));
    table.row(cells(["longer-ü", "1234567", "y"]));
    let lines = [
        "NAME        COUNT  END",
        "a               1  x",
        "longer-ü  1234567  y",
        "",
    ];
    assert_eq!(plain(&table), lines.join("\n"));
}

#[test]
fn missing_cells_are_empty_and_no_line_ends_in_spaces() {
    let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right), ("C", Align::Left)]);
    table.row(cells(["only one"]));
    table.row(cells(["", "", "3", "too many"]));
    let text = plain(&table);
    assert_eq!(text, "A         B  C\nonly one\n             3\n");
}

#[test]
fn cells_have_colours_for_a_terminal() {
    let mut table = Table::new(&[("A", Align::Left)]);
    table.row([("bad".to_owned(), Tone::Bad)]);
    assert!(
        table.render().contains("\u{1b}[31mbad\u{1b}[0m"),
        "{:?}",
        table.render()
    );
}

#[test]
fn a_long_cell_is_cut() {
    let shown = |text: String| {
        let mut table = Table::new(&[("TEXT", Align::Left)]);
        table.row([(text, Tone::Plain)]);
        let cell = table.render().lines().nth(1).unwrap_or_default().to_owned();
        (cell, table.has_cut_cells())
    };
    assert_eq!(shown("short".to_owned()), ("short".to_owned(), false));
    assert_eq!(shown("€".repeat(CELL)), ("€".repeat(CELL), false));
    assert_eq!(
        shown("€".repeat(CELL + 1)),
        (format!("{}…", "€".repeat(CELL)), true)
    );
}
