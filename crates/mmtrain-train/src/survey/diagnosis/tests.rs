use super::*;
use crate::checkpoint::Inspected;
use crate::survey::{BadBatch, QuarantineState};

fn checkpoint(step: u64, fault: Option<&str>) -> Inspected {
    Inspected { step, dir: dir_name(step).into(), bytes: 10, fault: fault.map(|said| Fault::Damaged(said.to_owned())) }
}

/// A run with good checkpoints of steps 4 and 8, and a line for every step.
fn healthy() -> Survey {
    Survey {
        path: "run".into(),
        checkpoints: vec![checkpoint(4, None), checkpoint(8, None)],
        leftovers: Vec::new(),
        latest: Pointer::To(8),
        best: Pointer::Absent,
        lock: LockState::Free,
        metrics: Some(MetricsState { lines: 8, last_step: Some(8), ..MetricsState::default() }),
        quarantine: QuarantineState::default(),
        bad_batch: None,
        finished: None,
        writable: true,
        bytes: 100,
    }
}

fn facts() -> Facts {
    Facts { config: ConfigState::Good, missing_weights: Vec::new(), log_every: 1, has_info: true }
}

#[track_caller]
fn check(survey: &Survey, facts: &Facts, words: &[(Severity, &str)], advice: &Advice) {
    let diagnosis = diagnose(survey, facts);
    for (severity, word) in words {
        let is_said = |finding: &Finding| finding.severity == *severity && finding.message.contains(word);
        assert!(diagnosis.findings.iter().any(is_said), "no {severity:?} `{word}` in {:#?}", diagnosis.findings);
    }
    assert_eq!(diagnosis.findings.len(), words.len(), "{:#?}", diagnosis.findings);
    assert_eq!(&diagnosis.advice, advice);
}

use Severity::{Note, Problem, Warning};

#[test]
fn nothing_is_said_of_a_healthy_run_and_it_goes_on_or_is_used() {
    check(&healthy(), &facts(), &[], &Advice::Resume(Some(8)));
    check(&Survey { finished: Some(8), ..healthy() }, &facts(), &[], &Advice::Use);
    // The best of them stays, however old it is.
    check(&Survey { best: Pointer::To(4), ..healthy() }, &facts(), &[], &Advice::Resume(Some(8)));
}

#[test]
fn a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before() {
    let damaged = vec![checkpoint(4, None), checkpoint(8, Some("no manifest"))];
    let survey = Survey { checkpoints: damaged, ..healthy() };
    let expected = [(Problem, "`step-00000008` is not good: no manifest"), (Warning, "`latest` says step 8")];
    check(&survey, &facts(), &expected, &Advice::Resume(Some(4)));
    let survey = Survey { finished: Some(8), ..survey };
    let expected = [expected[0], expected[1], (Problem, "steps 5 to 8 are lost")];
    check(&survey, &facts(), &expected, &Advice::Resume(Some(4)));
}

#[test]
fn without_a_good_checkpoint_nothing_goes_on_but_a_run_that_has_not_begun() {
    let all = vec![checkpoint(4, Some("no manifest"))];
    let survey = Survey { checkpoints: all, latest: Pointer::To(4), ..healthy() };
    check(&survey, &facts(), &[(Problem, "step-00000004")], &Advice::StartAnew);
    let vacant = Survey { checkpoints: Vec::new(), latest: Pointer::Absent, metrics: None, ..healthy() };
    check(&vacant, &facts(), &[(Warning, "no checkpoint yet")], &Advice::Resume(None));
    let missing = Facts { config: ConfigState::Missing, ..facts() };
    check(&vacant, &missing, &[(Warning, "no checkpoint yet"), (Problem, "`config.toml` is gone")], &Advice::StartAnew);
}

#[test]
fn checkpoints_that_only_seem_bad_are_no_reason_to_start_anew() {
    let bad = |step: u64, fault: &Fault| Inspected { fault: Some(fault.clone()), ..checkpoint(step, None) };
    let all = |fault: &Fault| Survey { checkpoints: vec![bad(4, fault), bad(8, fault)], ..healthy() };
    let problem = [(Problem, "step-00000004"), (Problem, "step-00000008")];
    for (fault, advice) in [
        (Fault::OtherRun, Advice::RemoveRunInfo),
        (Fault::Denied("`manifest.json` may not be read".to_owned()), Advice::MakeReadable),
    ] {
        let Diagnosis { findings, advice: found } = diagnose(&all(&fault), &facts());
        assert_eq!(found, advice, "{findings:?}");
        let said = findings.iter().filter(|finding| problem.iter().any(|(_, name)| finding.message.contains(name)));
        assert!(said.count() >= 2, "{findings:?}");
    }
}

#[test]
fn whoever_works_on_it_is_left_alone() {
    let leftovers = vec![Leftover { name: ".tmp-step-00000012-7".into(), kind: LeftoverKind::Unfinished, bytes: 5 }];
    let held = LockState::Held { holder: "pid 7".into() };
    let survey = Survey { lock: held, leftovers: leftovers.clone(), latest: Pointer::To(4), ..healthy() };
    check(&survey, &facts(), &[], &Advice::Watch);
    let survey = Survey { leftovers, ..healthy() };
    check(&survey, &facts(), &[(Warning, "1 leftover(s) of a process that died, 5 bytes")], &Advice::Resume(Some(8)));
}

#[test]
fn a_configuration_that_stands_in_the_way_is_put_back() {
    let unreadable = ConfigState::Unreadable { reason: "line 3".into() };
    let edited = ConfigState::Edited { changes: vec!["train.seed: 1 -> 2".into()] };
    for (config, words) in [(unreadable, "line 3"), (edited, "train.seed: 1 -> 2")] {
        check(&healthy(), &Facts { config, ..facts() }, &[(Problem, words)], &Advice::RestoreConfig(8));
    }
    let missing = Facts { config: ConfigState::Missing, ..facts() };
    check(&healthy(), &missing, &[(Warning, "`config.toml` is gone")], &Advice::Resume(Some(8)));
}

#[test]
fn weights_come_before_everything_but_whoever_works_on_it() {
    let weights = vec![PathBuf::from("hf/siglip")];
    let gone = Facts { missing_weights: weights.clone(), ..facts() };
    let survey = Survey { finished: Some(8), ..healthy() };
    check(&survey, &gone, &[(Problem, "`hf/siglip`")], &Advice::RestoreWeights(weights));
}

#[test]
fn a_step_that_is_not_finite_is_gone_around_while_it_lies_ahead() {
    let bad = |step| Some(BadBatchState::Read(BadBatch { step, what: "loss".into(), samples: 4 }));
    let survey = Survey { bad_batch: bad(9), ..healthy() };
    check(&survey, &facts(), &[(Problem, "a resume makes the same step again")], &Advice::Reorder(Some(8)));
    let nothing =
        Survey { checkpoints: Vec::new(), latest: Pointer::Absent, metrics: None, bad_batch: bad(1), ..healthy() };
    let said = [(Problem, "a resume makes the same step again"), (Warning, "there is no checkpoint yet")];
    check(&nothing, &facts(), &said, &Advice::Reorder(None));
    let survey = Survey { bad_batch: bad(8), ..healthy() };
    check(&survey, &facts(), &[(Note, "passed it since")], &Advice::Resume(Some(8)));
    let survey = Survey { bad_batch: Some(BadBatchState::Unreadable { unreadable: "EOF".into() }), ..healthy() };
    check(&survey, &facts(), &[(Warning, "`bad_batch.json`, which says which one")], &Advice::Resume(Some(8)));
}

#[test]
fn metrics_reach_as_far_as_the_checkpoints() {
    let with = |state| Survey { metrics: state, ..healthy() };
    let next = Advice::Resume(Some(8));
    check(&with(None), &facts(), &[(Warning, "`metrics.jsonl` is gone")], &next);
    let short = MetricsState { lines: 6, last_step: Some(6), ..MetricsState::default() };
    check(&with(Some(short.clone())), &facts(), &[(Warning, "ends at step 6")], &next);
    check(&with(Some(short)), &Facts { log_every: 3, ..facts() }, &[], &next);
    let none = MetricsState::default();
    check(&with(Some(none)), &Facts { log_every: 0, ..facts() }, &[], &next);
    let odd = MetricsState {
        lines: 9,
        unreadable: 2,
        torn: true,
        out_of_order: 1,
        gaps: vec![(2, 4), (6, 9)],
        last_step: Some(9),
        faults: 0,
    };
    let expected = [
        (Warning, "2 line(s)"),
        (Warning, "goes back in steps 1 time(s)"),
        (Warning, "lost lines between steps 2 and 4, 6 and 9"),
        (Note, "cut off"),
    ];
    check(&with(Some(odd)), &facts(), &expected, &next);
}

#[test]
fn pointers_are_hints_and_their_faults_warnings() {
    let astray = Pointer::Astray("step-00000099".into());
    let survey = Survey { latest: astray.clone(), best: astray, ..healthy() };
    let expected = [(Warning, "`latest` says `step-00000099`"), (Warning, "`best` says `step-00000099`")];
    check(&survey, &facts(), &expected, &Advice::Resume(Some(8)));
    let survey = Survey { latest: Pointer::Absent, ..healthy() };
    check(&survey, &facts(), &[(Warning, "`latest` is gone")], &Advice::Resume(Some(8)));
}

#[test]
fn what_may_not_be_written_is_copied_before_it_goes_on() {
    let survey = Survey { writable: false, ..healthy() };
    check(&survey, &facts(), &[(Warning, "may not be written")], &Advice::Copy);
    check(&Survey { finished: Some(8), ..survey }, &facts(), &[(Warning, "may not be written")], &Advice::Use);
}

#[test]
fn the_worst_comes_first() {
    let survey =
        Survey { checkpoints: vec![checkpoint(4, None), checkpoint(8, Some("x"))], writable: false, ..healthy() };
    let diagnosis = diagnose(&survey, &facts());
    let severities = diagnosis.findings.iter().map(|finding| finding.severity).collect::<Vec<_>>();
    assert!(severities.is_sorted_by(|a, b| a >= b) && severities.len() == 3, "{severities:?}");
}
