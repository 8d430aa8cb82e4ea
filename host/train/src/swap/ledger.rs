//! `swaps.jsonl`: what was asked of a stage and what became of it. Rows are only ever appended, and their order in the
//! file is the order in which they were decided; a run that was resumed may decide before an earlier decision's step.

use rewarden_runtime::Digest;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use super::{SWAPS, SwapKind, SwapRecord};
use crate::config::Stage;
use crate::error::Result;
use crate::run_dir::{StageDir, read_rows};

/// Swaps by whether they have happened in this continuation of the stage.
pub(crate) struct Ledger {
    done: Vec<SwapRecord>,
    /// By step, then by the order of their decisions.
    due: VecDeque<SwapRecord>,
    answered: BTreeSet<String>,
}

impl Ledger {
    /// What the stage decided so far, seen from the boundary before `first_step`.
    pub(crate) fn read(dir: &StageDir, first_step: usize) -> Result<Self> {
        let file = dir.file(SWAPS);
        let rows = if file.exists() { read_rows(&file)? } else { vec![] };
        Ok(Self::new(rows, first_step))
    }

    fn new(rows: Vec<SwapRecord>, first_step: usize) -> Self {
        let answered = rows.iter().map(|row| row.request.clone()).collect();
        let mut standing: Vec<SwapRecord> = vec![];
        for row in rows.into_iter().filter(|row| row.refused.is_none()) {
            // Decided after a resume, before the step of an earlier decision: that one never happened again.
            standing.retain(|earlier| earlier.name != row.name || earlier.step <= row.step);
            standing.push(row);
        }
        standing.sort_by_key(|row| row.step); // stable
        let (done, due): (Vec<_>, Vec<_>) = standing.into_iter().partition(|row| row.step < first_step);
        Self { done, due: due.into(), answered }
    }

    /// The next swap that an interrupted run made before this step.
    pub(crate) fn next_due(&mut self, step: usize) -> Option<SwapRecord> {
        self.due.pop_front_if(|row| row.step <= step)
    }

    /// Remembers a swap that was replayed.
    pub(crate) fn applied(&mut self, record: SwapRecord) {
        self.done.push(record);
    }

    /// Remembers the answer to a request. A new swap takes the place of those of the same reward still to be replayed.
    pub(crate) fn asked(&mut self, record: SwapRecord) {
        if record.refused.is_none() {
            self.due.retain(|later| later.name != record.name);
            self.done.push(record);
        }
    }

    /// Remembers that this request has its answer.
    pub(crate) fn answered(&mut self, request: &str) {
        self.answered.insert(request.to_owned());
    }

    pub(crate) fn has_answered(&self, request: &str) -> bool {
        self.answered.contains(request)
    }

    /// What the reward was before its last swap that was not taken back.
    pub(crate) fn before(&self, name: &str) -> Option<Digest> {
        let mut before = vec![];
        for record in self.done.iter().filter(|record| record.name == name) {
            match record.kind {
                SwapKind::Swap | SwapKind::Promote => before.push(record.from),
                SwapKind::Rollback => drop(before.pop()),
                SwapKind::Shadow | SwapKind::DropShadow => {}
            }
        }
        before.pop().flatten()
    }
}

/// The answer of the run in this directory to a request, once there is one.
pub fn swap_outcome(run: &Path, request: &str) -> Result<Option<SwapRecord>> {
    let file = run.join(Stage::Rl.name()).join(SWAPS);
    if !file.exists() {
        return Ok(None);
    }
    Ok(read_rows(&file)?.into_iter().rev().find(|record: &SwapRecord| record.request == request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: usize, name: &str, kind: SwapKind, from: u8, to: u8) -> SwapRecord {
        let digest = |byte: u8| Some(Digest::of(&[byte]));
        let request = format!("{step}-{to}");
        SwapRecord { step, request, name: name.into(), kind, from: digest(from), to: digest(to), refused: None }
    }

    fn swap(step: usize, from: u8, to: u8) -> SwapRecord {
        row(step, "a", SwapKind::Swap, from, to)
    }

    /// Rows in the file, where the run is resumed, and the steps that are replayed with what they lead to.
    #[track_caller]
    fn check_due(rows: &[SwapRecord], first_step: usize, expected: &[(usize, u8)]) {
        let mut ledger = Ledger::new(rows.to_vec(), first_step);
        let due: Vec<_> = std::iter::from_fn(|| ledger.next_due(usize::MAX)).map(|row| (row.step, row.to)).collect();
        let expected: Vec<_> = expected.iter().map(|&(step, to)| (step, Some(Digest::of(&[to])))).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn swaps_after_the_checkpoint_are_due_again() {
        check_due(&[], 0, &[]);
        check_due(&[swap(3, 1, 2), swap(7, 2, 3)], 5, &[(7, 3)]);
        check_due(&[swap(3, 1, 2), swap(7, 2, 3)], 0, &[(3, 2), (7, 3)]);
        check_due(&[swap(7, 1, 2), swap(7, 2, 3)], 7, &[(7, 2), (7, 3)]);
        check_due(&[SwapRecord { refused: Some("no".into()), ..swap(7, 1, 2) }], 5, &[]);
        // Resumed at 5 and swapped at 6: the swap at 7 did not happen again.
        check_due(&[swap(7, 1, 2), swap(6, 1, 3)], 5, &[(6, 3)]);
        check_due(&[row(7, "b", SwapKind::Swap, 1, 2), swap(6, 1, 3)], 5, &[(6, 3), (7, 2)]);
    }

    #[test]
    fn a_new_swap_takes_the_place_of_those_still_due() {
        let mut ledger = Ledger::new(vec![swap(7, 1, 2), row(8, "b", SwapKind::Swap, 1, 4)], 5);
        assert_eq!(ledger.next_due(6), None);
        assert!(ledger.has_answered("7-2") && !ledger.has_answered("6-3"));
        ledger.asked(swap(6, 1, 3));
        ledger.answered("6-3");
        assert!(ledger.has_answered("6-3"));
        assert_eq!(ledger.next_due(9).map(|row| row.name), Some("b".into()));
        assert_eq!(ledger.next_due(9), None);
    }

    #[track_caller]
    fn check_before(rows: &[SwapRecord], expected: Option<u8>) {
        let ledger = Ledger::new(rows.to_vec(), usize::MAX);
        assert_eq!(ledger.before("a"), expected.map(|byte| Digest::of(&[byte])));
    }

    #[test]
    fn rollbacks_go_back_one_by_one() {
        let back = |step, from, to| row(step, "a", SwapKind::Rollback, from, to);
        check_before(&[], None);
        check_before(&[swap(1, 1, 2)], Some(1));
        check_before(&[swap(1, 1, 2), swap(2, 2, 3)], Some(2));
        check_before(&[swap(1, 1, 2), swap(2, 2, 3), back(3, 3, 2)], Some(1));
        check_before(&[swap(1, 1, 2), swap(2, 2, 3), back(3, 3, 2), back(4, 2, 1)], None);
        check_before(&[swap(1, 1, 2), back(2, 2, 1), row(3, "a", SwapKind::Promote, 1, 5)], Some(1));
        check_before(&[row(1, "b", SwapKind::Swap, 1, 2)], None);
        check_before(&[row(1, "a", SwapKind::Shadow, 1, 2)], None);
    }
}
