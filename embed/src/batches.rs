//! Batches with a maximum length and a maximum size.

use std::ops::Range;

/// Divides `sizes` into consecutive ranges of at most `count` items and `bytes` in total. A larger item has a range of its own.
pub(crate) fn batches(sizes: impl IntoIterator<Item = usize>, count: usize, bytes: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut total = 0;
    for (at, size) in sizes.into_iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < count && total + size <= bytes => {
                batch.end = at + 1;
                total += size;
            }
            _ => {
                batches.push(at..at + 1);
                total = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_are_bounded_and_complete() {
        assert_eq!(batches([1, 1, 1, 1, 1], 2, 100), [0..2, 2..4, 4..5]);
        assert_eq!(batches([4, 5, 6, 20, 1, 1], 9, 10), [0..2, 2..3, 3..4, 4..6]);
        assert!(batches([], 2, 10).is_empty());
    }
}
