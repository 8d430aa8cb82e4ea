//! Work on all cores whose result does not depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Autograd walks its graph recursively; a model of some dozen layers needs more than a thread's usual 2 MiB.
const STACK_BYTES: usize = 64 << 20;

/// Applies `work` to every item, as many at a time as there are cores, and hands each result to `take` in the items'
/// order. At most one finished result per core waits for its turn, so memory stays bounded.
pub(crate) fn for_each_in_order<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut take: impl FnMut(R)) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for wave in items.chunks(cores) {
        match wave {
            [only] => take(work(only)),
            _ => on_threads(wave, &work).into_iter().for_each(&mut take),
        }
    }
}

fn on_threads<T: Sync, R: Send>(items: &[T], work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(vec![]);
    let worker = || {
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
        {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in items {
            let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, worker);
            if spawned.is_err() {
                worker(); // no thread to be had: do its share here
            }
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_items_order() {
        for count in [0, 1, 2, 3, 17] {
            let items: Vec<usize> = (0..count).collect();
            let mut out = vec![];
            for_each_in_order(&items, |item| item * 2, |result| out.push(result));
            assert_eq!(out, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
