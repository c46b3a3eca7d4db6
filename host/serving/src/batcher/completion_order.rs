//! The order in which batches deliver their results, for graphs that preserve it.
//!
//! Batches are numbered when they are taken. The results of a batch are delivered once the results of all batches before it
//! have been. Pure logic without threads.

use std::collections::VecDeque;

/// The batches that have been taken and not delivered.
#[derive(Debug)]
pub(crate) struct CompletionOrder<R> {
    /// The number of the first one.
    first: u64,
    /// The results of each; `None` while it is computed.
    batches: VecDeque<Option<Vec<R>>>,
}

impl<R> Default for CompletionOrder<R> {
    fn default() -> CompletionOrder<R> {
        CompletionOrder {
            first: 0,
            batches: VecDeque::new(),
        }
    }
}

impl<R> CompletionOrder<R> {
    /// Adds a batch and returns its number.
    pub(crate) fn begin(&mut self) -> u64 {
        let number = self.first.wrapping_add(self.batches.len() as u64);
        self.batches.push_back(None);
        number
    }

    /// Ends a batch and returns all results that may be delivered now, in order. A batch that has ended before, since
    /// nobody waited for it, has no results.
    pub(crate) fn finish(&mut self, number: u64, results: Vec<R>) -> Vec<R> {
        let position = usize::try_from(number.wrapping_sub(self.first)).ok();
        let batch = position.and_then(|position| self.batches.get_mut(position));
        if let Some(batch @ None) = batch {
            *batch = Some(results);
        }
        let mut ready = Vec::new();
        while let Some(Some(_)) = self.batches.front() {
            ready.extend(self.batches.pop_front().flatten().into_iter().flatten());
            self.first = self.first.wrapping_add(1);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_wait_for_those_of_the_batches_before() {
        let mut order = CompletionOrder::default();
        let [first, second, third] = [order.begin(), order.begin(), order.begin()];
        assert!(order.finish(third, vec![5]).is_empty());
        assert!(order.finish(second, vec![3, 4]).is_empty());
        assert_eq!(order.finish(first, vec![1, 2]), [1, 2, 3, 4, 5]);
        let fourth = order.begin();
        assert_eq!(order.finish(fourth, vec![6]), [6]);
    }

    #[test]
    fn a_batch_that_nobody_waits_for_holds_nothing_up() {
        let mut order = CompletionOrder::default();
        let [first, second] = [order.begin(), order.begin()];
        assert!(order.finish(second, vec![2]).is_empty());
        assert_eq!(order.finish(first, vec![]), [2]);
        // It ends later, after other batches have begun.
        let third = order.begin();
        assert!(order.finish(first, vec![1]).is_empty());
        assert_eq!(order.finish(third, vec![3]), [3]);
    }
}
