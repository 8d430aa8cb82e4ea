//! Counting faults: how many a plugin had, how many in a row, and since when it is not called any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Fault};

/// What a rubric remembers from batch to batch: the fault counts of its graders, by name.
///
/// Plain data to be stored with a checkpoint and given back to [`Rubric::restore`](crate::Rubric::restore), so that a
/// resumed run stops and quarantines exactly where an uninterrupted one would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RubricState {
    pub(super) tallies: BTreeMap<String, Tally>,
}

/// The counts of one grader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    /// The plugin the row of faults and the quarantine belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plugin: Option<Digest>,
    pub(super) faults: u64,
    pub(super) faults_in_a_row: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quarantine: Option<Quarantine>,
}

/// Why a plugin is not called any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quarantine {
    since_step: u32,
    faults: u32,
}

impl Tally {
    /// Takes note of the answer to one sample, at a training step.
    pub(super) fn note(&mut self, fault: Option<&Fault>, step: u32, quarantine_after: Option<u32>) {
        // Saturating, because counts may come from a file that somebody edited.
        self.faults = self.faults.saturating_add(u64::from(fault.is_some()));
        match fault {
            None => self.faults_in_a_row = 0,
            Some(Fault::Quarantined { .. }) => {}
            Some(_) => self.faults_in_a_row = self.faults_in_a_row.saturating_add(1),
        }
        let faults = self.faults_in_a_row;
        if self.quarantine.is_none() && quarantine_after.is_some_and(|after| faults >= after) {
            self.quarantine = Some(Quarantine { since_step: step, faults });
        }
    }

    /// The answer of a plugin that is not called any more.
    pub(super) fn refusal(&self) -> Option<Fault> {
        self.quarantine.map(|Quarantine { since_step, faults }| Fault::Quarantined { since_step, faults })
    }

    /// Another plugin starts with a clean record; the faults of the run stay counted.
    pub(super) fn forgive(&mut self) {
        self.faults_in_a_row = 0;
        self.quarantine = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, `x` for a fault, one batch a word, and what is to be counted after them.
    #[track_caller]
    fn check(answers: &str, quarantine_after: Option<u32>, faults: u64, in_a_row: u32, since: Option<u32>) {
        let mut tally = Tally::default();
        for (step, batch) in answers.split(' ').enumerate() {
            let refusal = tally.refusal();
            for answer in batch.chars() {
                let fault = (answer == 'x').then(|| Fault::Internal("broken".into()));
                tally.note(refusal.as_ref().or(fault.as_ref()), step as u32, quarantine_after);
            }
        }
        let found = (tally.faults, tally.faults_in_a_row, tally.quarantine.map(|quarantine| quarantine.since_step));
        assert_eq!(found, (faults, in_a_row, since), "{answers} with {quarantine_after:?}");
    }

    #[test]
    fn faults_are_counted_and_too_many_in_a_row_end_the_calls() {
        check("....", Some(1), 0, 0, None);
        check("xx.x", None, 3, 1, None);
        check("xx.xx", Some(3), 4, 2, None);
        check("x.x. xx ..", Some(3), 4, 0, None);
        check(".xx x.", Some(3), 3, 0, Some(1));
        // The batch under way is finished, good answers included; the next one is not asked for.
        check("xxx.. ...", Some(3), 6, 0, Some(0));
        check("xxxx", Some(1), 4, 4, Some(0));
    }

    #[test]
    fn counts_from_an_edited_file_do_not_overflow() {
        let state: RubricState =
            serde_json::from_str(r#"{"a":{"faults":18446744073709551615,"faults_in_a_row":4294967295}}"#).unwrap();
        let mut tally = state.tallies["a"].clone();
        tally.note(Some(&Fault::Trap("t".into())), 1, Some(1));
        assert_eq!((tally.faults, tally.faults_in_a_row), (u64::MAX, u32::MAX));
        assert!(serde_json::from_str::<RubricState>(r#"{"a":{"faults":-1,"faults_in_a_row":0}}"#).is_err());
    }

    #[test]
    fn another_plugin_starts_anew_and_the_run_remembers() {
        let mut tally = Tally::default();
        (0..3).for_each(|step| tally.note(Some(&Fault::Trap("t".into())), step, Some(2)));
        assert_eq!(tally.refusal(), Some(Fault::Quarantined { since_step: 1, faults: 2 }));
        tally.forgive();
        assert_eq!(tally, Tally { faults: 3, ..Tally::default() });
    }
}
