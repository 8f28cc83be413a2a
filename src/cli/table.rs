//! Tables: plain columns, or boxed as etcdutl draws them.

/// The columns of a table, which is written row by row.
pub struct Columns<const N: usize> {
    header: [&'static str; N],
    widths: [usize; N],
    boxed: bool,
}

impl<const N: usize> Columns<N> {
    /// Columns as wide as their headings.
    #[must_use]
    pub fn new(boxed: bool, header: [&'static str; N]) -> Self {
        Self { header, widths: header.map(width), boxed }
    }

    /// Makes room for a cell.
    pub fn fit(&mut self, column: usize, cell: &str) {
        if let Some(width_now) = self.widths.get_mut(column) {
            *width_now = (*width_now).max(width(cell));
        }
    }

    /// What stands above the rows.
    #[must_use]
    pub fn head(&self) -> String {
        let (rule, row) = (self.rule(), self.row(self.header));
        rule.clone() + &row + &rule
    }

    /// A row.
    #[must_use]
    pub fn row(&self, cells: [&str; N]) -> String {
        let mut out = String::new();
        for (cell, wide) in cells.iter().zip(self.widths) {
            let room = " ".repeat(wide.saturating_sub(width(cell)));
            out += &if self.boxed { format!("| {cell}{room} ") } else { format!("{cell}{room}  ") };
        }
        if self.boxed {
            out.push('|');
        }
        out.truncate(out.trim_end().len());
        out + "\n"
    }

    /// What stands below the rows.
    #[must_use]
    pub fn foot(&self) -> String {
        self.rule()
    }

    fn rule(&self) -> String {
        if !self.boxed {
            return String::new();
        }
        self.widths.iter().map(|wide| format!("+{}", "-".repeat(wide + 2))).collect::<String>() + "+\n"
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// A whole table.
#[must_use]
pub fn table<const N: usize>(boxed: bool, header: [&'static str; N], rows: &[[String; N]]) -> String {
    let mut columns = Columns::new(boxed, header);
    for row in rows {
        row.iter().enumerate().for_each(|(column, cell)| columns.fit(column, cell));
    }
    let lines = rows.iter().map(|row| columns.row(row.each_ref().map(String::as_str)));
    columns.head() + &lines.collect::<String>() + &columns.foot()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_where_their_text_does() {
        let rows = [["a".to_owned(), String::new()], ["bcdé".to_owned(), "e".to_owned()]];
        assert_eq!(table(false, ["X", "YY"], &rows), "X     YY\na\nbcdé  e\n");
        let boxed =
            "+------+----+\n| X    | YY |\n+------+----+\n| a    |    |\n| bcdé | e  |\n+------+----+\n";
        assert_eq!(table(true, ["X", "YY"], &rows), boxed);
    }
}
