//! Measured values with units, and their output.

/// Values in the order of their measurement.
#[derive(Default)]
pub struct Figures(Vec<(&'static str, f64, &'static str)>);

impl Figures {
    /// Adds and prints a value.
    pub fn add(&mut self, name: &'static str, value: f64, unit: &'static str) {
        println!("{name}: {value:.3} {unit}");
        self.0.push((name, value, unit));
    }

    /// Prints all values as a Markdown table.
    pub fn print(&self) {
        println!("\n| figure | value | unit |\n| --- | --- | --- |");
        for (name, value, unit) in &self.0 {
            println!("| {name} | {value:.2} | {unit} |");
        }
    }
}

/// Durations in seconds.
pub struct Times(Vec<f64>);

impl Times {
    /// Sorts durations.
    pub fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// Returns the percentile (nearest rank), or 0 if there are no durations.
    pub fn percentile(&self, share: usize) -> f64 {
        let rank = (self.0.len() * share).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }
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
}
