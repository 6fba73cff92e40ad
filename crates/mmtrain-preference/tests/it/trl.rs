//! Values, gradients and metrics equal those of TRL and of mDPO's code on the same log-probabilities.

use std::collections::BTreeSet;

use mmtrain_preference::{
    AnswerLogps, BcoDelta, Feedback, Kto, Outcome, Preference, PreferenceLoss, RunningDelta, Step, Verdict, kl_estimate,
};
use serde_json::Value;

use crate::fixtures::{assert_all_close, assert_close, load, number, numbers, objective, pairs, pairs_with_ablated};

#[test]
fn losses_gradients_and_metrics_equal_trl() {
    let file = load("trl.json");
    let mut seen = BTreeSet::new();
    for case in file["cases"].as_array().expect("a list") {
        let (objective, pairs) = (objective(case, BcoDelta::Zero), pairs(&file, case));
        let step = Step { kl: case["metrics"].get("kl").map_or(0.0, number), ..Step::of(&pairs) };
        let outcome = objective.evaluate(&pairs, &step).expect("valid input");
        assert_same(&outcome, case);
        assert_same_metrics(&objective, &outcome, case);
        seen.extend(objective.losses().map(PreferenceLoss::name));
    }
    let of_mdpo = ["image_conditional", "anchor"];
    let missing = PreferenceLoss::all()
        .iter()
        .map(|loss| loss.name())
        .find(|name| !seen.contains(name) && !of_mdpo.contains(name));
    assert_eq!(missing, None, "a loss without a case");
}

#[test]
fn smoothing_of_dpo_and_rpo_equal_an_older_trl() {
    let file = load("trl_0_24.json");
    for case in file["cases"].as_array().expect("a list") {
        let pairs = pairs(&file, case);
        let outcome = objective(case, BcoDelta::Zero).evaluate(&pairs, &Step::of(&pairs)).expect("valid input");
        assert_same(&outcome, case);
    }
}

#[test]
fn the_running_mean_of_bco_equals_an_older_trl_over_several_micro_batches() {
    let file = load("trl_0_24.json");
    for run in file["running"].as_array().expect("a list") {
        let mut running = RunningDelta::default();
        for (index, case) in run.as_array().expect("a list").iter().enumerate() {
            let (objective, pairs) = (objective(case, BcoDelta::Running), pairs(&file, case));
            let pairs = &pairs[2 * index..2 * index + 2];
            running = objective.observe(running, pairs).expect("valid input");
            assert_close(running.mean(), number(&case["delta"]), "delta");
            let step = Step { delta: running.mean(), ..Step::of(pairs) };
            assert_same(&objective.evaluate(pairs, &step).expect("valid input"), case);
        }
    }
}

#[test]
fn presets_are_the_mixtures_of_the_fixtures() {
    let same = |preset: Preference, terms: &[(&str, f64)]| {
        let names: Vec<_> = preset.terms.iter().map(|term| (term.loss.name(), term.weight)).collect();
        assert_eq!(names, terms);
    };
    same(Preference::mpo(0.1), &[("sigmoid", 0.8), ("bco_pair", 0.2), ("sft", 1.0)]);
    same(Preference::rpo(0.1, 0.3), &[("sigmoid", 1.0), ("sft", 0.3)]);
    same(Preference::orpo(0.1), &[("orpo", 1.0), ("sft", 1.0)]);
    same(Preference::cpo(0.1, 0.7), &[("cpo", 1.0), ("sft", 0.7)]);
}

#[test]
fn single_answers_with_feedback_equal_trls_kto() {
    let file = load("trl.json");
    let kto_cases = |case: &&Value| case["terms"][0][0] == "kto";
    for case in file["cases"].as_array().expect("a list").iter().filter(kto_cases) {
        let (pairs, weights) = (pairs(&file, case), numbers(&case["weights"]));
        let kto = Kto { beta: number(&case["beta"]), desirable_weight: weights[0], undesirable_weight: weights[1] };
        let kl = kl_estimate(&mismatched(case)).expect("valid input");
        assert_close(kl, number(&case["metrics"]["kl"]), "kl");
        let chosen = pairs.iter().map(|pair| Feedback { answer: pair.chosen, verdict: Verdict::Desirable });
        let rejected = pairs.iter().map(|pair| Feedback { answer: pair.rejected, verdict: Verdict::Undesirable });
        let feedback: Vec<Feedback> = chosen.chain(rejected).collect();
        let outcome = kto.evaluate(&feedback, feedback.len(), kl).expect("valid input");
        assert_close(outcome.loss, number(&case["loss"]), "loss");
        assert_all_close(&outcome.gradients[..pairs.len()], &case["chosen"], "desirable");
        assert_all_close(&outcome.gradients[pairs.len()..], &case["rejected"], "undesirable");
        let values = outcome.metrics.values();
        for (name, wanted) in case["metrics"].as_object().expect("an object") {
            assert_close(values[name.as_str()], number(wanted), name);
        }
    }
}

#[test]
fn mdpo_equals_its_code() {
    let file = load("mdpo.json");
    for case in file["cases"].as_array().expect("a list") {
        let pairs = pairs_with_ablated(&file, case);
        let outcome = Preference::mdpo(number(&case["beta"])).evaluate(&pairs, &Step::of(&pairs)).expect("valid input");
        assert_all_close(&outcome.losses, &case["losses"], "losses");
        let gradients = &outcome.gradients;
        assert_all_close(&gradients.iter().map(|g| g.chosen).collect::<Vec<_>>(), &case["chosen"], "chosen");
        assert_all_close(&gradients.iter().map(|g| g.rejected).collect::<Vec<_>>(), &case["rejected"], "rejected");
        assert_all_close(&gradients.iter().map(|g| g.ablated).collect::<Vec<_>>(), &case["ablated"], "ablated");
        let rewards = &outcome.rewards;
        assert_all_close(&rewards.iter().map(|r| r.chosen).collect::<Vec<_>>(), &case["rewards"][0], "reward");
        assert_all_close(
            &rewards.iter().map(|r| r.ablated.expect("an ablated answer")).collect::<Vec<_>>(),
            &case["rewards"][2],
            "reward",
        );
        let margin =
            rewards.iter().map(|r| r.picture_margin().expect("an ablated answer")).sum::<f64>() / rewards.len() as f64;
        assert_close(outcome.metrics.values()["rewards/imageless_margins"], margin, "margin");
    }
}

fn mismatched(case: &Value) -> Vec<AnswerLogps> {
    let [policy, reference] = [0, 1].map(|index| numbers(&case["mismatched"][index]));
    let answer = |(&policy, &reference): (&f64, &f64)| AnswerLogps { policy, reference: Some(reference), tokens: 1.0 };
    policy.iter().zip(&reference).map(answer).collect()
}

fn assert_same(outcome: &Outcome, case: &Value) {
    let what = |part: &str| format!("{part} of {} on {}", case["terms"], case["batch"]);
    assert_close(outcome.loss, number(&case["loss"]), &what("loss"));
    let chosen: Vec<f64> = outcome.gradients.iter().map(|gradient| gradient.chosen).collect();
    let rejected: Vec<f64> = outcome.gradients.iter().map(|gradient| gradient.rejected).collect();
    assert_all_close(&chosen, &case["chosen"], &what("gradient of chosen"));
    assert_all_close(&rejected, &case["rejected"], &what("gradient of rejected"));
}

/// All that TRL reports, but for the odds of ORPO, likelihoods without an `sft`, and rewards where nothing else is learned.
fn assert_same_metrics(objective: &Preference, outcome: &Outcome, case: &Value) {
    let sft = objective.losses().any(|loss| loss == PreferenceLoss::Sft);
    let only_sft = sft && objective.terms.len() == 1;
    let left_out = |name: &str| {
        let likelihood = name == "nll_loss" && !sft;
        likelihood || name.starts_with("log_odds") || name == "kl" || (only_sft && name.starts_with("rewards/"))
    };
    let values = outcome.metrics.values();
    for (name, wanted) in case["metrics"].as_object().expect("an object").iter().filter(|(name, _)| !left_out(name)) {
        let actual = values.get(name.as_str()).unwrap_or_else(|| panic!("no metric `{name}`"));
        if name == "rewards/accuracies" {
            assert!((actual - number(wanted)).abs() < 1e-6, "TRL's accuracy is a mean of float32");
        } else {
            assert_close(*actual, number(wanted), name);
        }
    }
}
