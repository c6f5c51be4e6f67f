//! Measured values with units and references, and their output.

/// Figures in the order of their measurement.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

/// A row of the table.
pub struct Figure {
    work: String,
    unit: &'static str,
    /// The result of each repeat.
    values: Times,
    reference: Option<(&'static str, Times)>,
    goal: &'static str,
}

impl Figures {
    /// Adds and prints a value that was measured once.
    pub fn add(&mut self, work: &str, value: f64, unit: &'static str) {
        self.push(Figure::new(work, unit, vec![value]));
    }

    /// Adds and prints a figure.
    pub fn push(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.0.push(figure);
    }

    /// Prints all figures as a Markdown table.
    pub fn print(&self) {
        println!("\n| work | measured: median (range) | reference | ratio | goal |\n| --- | --- | --- | --- | --- |");
        for figure in &self.0 {
            println!("{}", figure.row());
        }
    }
}

impl Figure {
    /// Makes a figure of the results of all repeats.
    pub fn new(work: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { work: work.into(), unit, values: Times::new(values), reference: None, goal: "" }
    }

    /// Adds a reference that was measured in the same run, in the same unit.
    #[must_use]
    pub fn against(mut self, reference: &'static str, values: Vec<f64>) -> Self {
        self.reference = Some((reference, Times::new(values)));
        self
    }

    #[must_use]
    pub fn goal(mut self, goal: &'static str) -> Self {
        self.goal = goal;
        self
    }

    fn row(&self) -> String {
        let (reference, ratio) = match &self.reference {
            Some((what, values)) => {
                let ratio = number(self.values.percentile(50) / values.percentile(50));
                (format!("{what}: {}", values.spread(self.unit)), format!("{ratio} ×"))
            }
            None => (String::new(), String::new()),
        };
        format!("| {} | {} | {reference} | {ratio} | {} |", self.work, self.values.spread(self.unit), self.goal)
    }
}

/// Durations in seconds, or other values, in ascending order.
pub struct Times(Vec<f64>);

impl Times {
    /// Sorts values.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Returns the percentile (nearest rank), or 0 if there are no values.
    pub fn percentile(&self, share: usize) -> f64 {
        let rank = (self.0.len() * share).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// Returns the median, and the range if there are several values.
    fn spread(&self, unit: &str) -> String {
        let median = format!("{} {unit}", number(self.percentile(50)));
        match self.0.as_slice() {
            [least, .., most] => format!("{} ({}–{})", median.trim_end(), number(*least), number(*most)),
            _ => median.trim_end().to_owned(),
        }
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times = Times::new(vec![4.0, 1.0, 3.0, 2.0]);
        assert!((times.percentile(50) - 2.0).abs() < f64::EPSILON);
        assert!((times.percentile(95) - 4.0).abs() < f64::EPSILON);
        assert!((Times::new(Vec::new()).percentile(50)).abs() < f64::EPSILON);
    }

    #[test]
    fn rows_have_range_reference_ratio_and_goal() {
        let figure = Figure::new("parse", "ms", vec![50.0, 30.0, 40.0]);
        assert_eq!(figure.row(), "| parse | 40.00 ms (30.00–50.00) |  |  |  |");
        let figure = figure.against("lines", vec![0.5]).goal("≤ 50 ms");
        assert_eq!(figure.row(), "| parse | 40.00 ms (30.00–50.00) | lines: 0.50 ms | 80.00 × | ≤ 50 ms |");
    }
}
