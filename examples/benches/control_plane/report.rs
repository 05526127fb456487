//! The table and the JSON file.

use serde_json::{Map, Value, json};

/// One figure.
#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    note: String,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn add(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        note: impl Into<String>,
    ) {
        let row = Row {
            name: name.into(),
            value,
            unit,
            note: note.into(),
        };
        eprintln!("  {}: {} {}", row.name, number(row.value), row.unit);
        self.0.push(row);
    }

    pub fn print(&self) {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        println!("{:width$}  {:>12}  {:<9}  note", "what", "value", "unit");
        for row in &self.0 {
            println!(
                "{:width$}  {:>12}  {:<9}  {}",
                row.name,
                number(row.value),
                row.unit,
                row.note
            );
        }
    }

    pub fn write(&self, path: &str) -> std::io::Result<()> {
        let rows: Map<String, Value> = self
            .0
            .iter()
            .map(|row| {
                let figure = json!({ "value": row.value, "unit": row.unit, "note": row.note });
                (row.name.clone(), figure)
            })
            .collect();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
        std::fs::write(
            format!("{root}{path}"),
            serde_json::to_string_pretty(&rows)?,
        )
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// The middle one.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(&values, 0.5)
}

/// The one that so great a share is below.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share) as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}
