//! Columns of text.

/// Lines with columns as wide as their widest cell, two spaces apart. Notes stand below their row.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<([String; N], Vec<String>)>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self {
            rows: vec![(head.map(str::to_owned), Vec::new())],
        }
    }

    pub(crate) fn row(&mut self, cells: [String; N], notes: Vec<String>) {
        self.rows.push((cells, notes));
    }

    pub(crate) fn render(&self) -> String {
        let mut widths = [0; N];
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for (cells, notes) in &self.rows {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
            for note in notes {
                text.push_str("  ");
                text.push_str(note);
                text.push('\n');
            }
        }
        text
    }
}

/// A length of time in its two largest units: `1.2s`, `3m 4s`, `2h 0m`, `5d 1h`.
pub(crate) fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", millis % 1000 / 100),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_notes_stand_below() {
        let mut table = Table::new(["NAME", "N"]);
        table.row(["a".into(), "1".into()], vec!["why".into()]);
        table.row(["longer".into(), "22".into()], vec![]);
        assert_eq!(table.render(), "NAME    N\na       1\n  why\nlonger  22\n");
    }

    #[test]
    fn times_have_two_units() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_250, "1.2s"),
            (184_000, "3m 4s"),
            (7_200_000, "2h 0m"),
            (435_600_000, "5d 1h"),
        ] {
            assert_eq!(time(millis), text);
        }
    }
}
