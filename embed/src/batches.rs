//! Parts of work that are bounded in number and in bytes.

use std::ops::Range;

/// Ranges of `sizes` in order, each of at most `count` items and, but for one item alone, of at most `bytes`.
pub(crate) fn batches(sizes: impl IntoIterator<Item = usize>, count: usize, bytes: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut held = 0;
    for (at, size) in sizes.into_iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < count && held + size <= bytes => {
                batch.end = at + 1;
                held += size;
            }
            _ => {
                batches.push(at..at + 1);
                held = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_are_bounded_and_whole() {
        assert_eq!(batches([1, 1, 1, 1, 1], 2, 100), [0..2, 2..4, 4..5]);
        assert_eq!(batches([4, 5, 6, 20, 1, 1], 9, 10), [0..2, 2..3, 3..4, 4..6]);
        assert!(batches([], 2, 10).is_empty());
    }
}
