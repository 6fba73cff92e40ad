//! Values at the start of a run, and far away from it.

use mmtrain_preference::{AnswerLogps, PairGradient, PairLogps, Preference, PreferenceLoss, Step};

fn answer(policy: f64, reference: f64) -> AnswerLogps {
    AnswerLogps { policy, reference: Some(reference), tokens: 7.0 }
}

#[test]
fn where_policy_and_reference_agree_the_loss_is_ln_2() {
    let same = |logp| answer(logp, logp);
    let pairs = [(-3.1, -78.2), (-950.7, -0.3)];
    let pairs =
        pairs.map(|(chosen, rejected)| PairLogps { chosen: same(chosen), rejected: same(rejected), ablated: None });
    for label_smoothing in [0.0, 0.25] {
        let objective = Preference::single(0.1, PreferenceLoss::Sigmoid { label_smoothing });
        let outcome = objective.evaluate(&pairs, &Step::of(&pairs)).expect("valid input");
        assert_eq!(outcome.losses, [std::f64::consts::LN_2; 2]);
        assert_eq!(outcome.loss.to_bits(), std::f64::consts::LN_2.to_bits());
        let values = outcome.metrics.values();
        assert_eq!(vec![values["rewards/margins"], values["rewards/accuracies"]], [0.0, 0.0]);
    }
}

#[test]
fn margins_of_ten_thousand_are_finite_for_every_loss() {
    for (chosen, rejected) in [(-1.0, -1e4), (-1e4, -1.0), (-1e4, -1e4), (-1e-9, -1e-9)] {
        for reference in [-1e-9, -1e4] {
            let (chosen, rejected) = (answer(chosen, reference), answer(rejected, -1e4 - reference));
            let pairs = [PairLogps { chosen, rejected, ablated: Some(rejected) }];
            for beta in [0.1, 1.0] {
                for &loss in PreferenceLoss::all() {
                    let step = Step { delta: 1e4, kl: 1e4, ..Step::of(&pairs) };
                    let outcome = Preference::single(beta, loss).evaluate(&pairs, &step).expect("valid input");
                    let gradient = outcome.gradients[0];
                    let numbers = [outcome.loss, gradient.chosen, gradient.rejected, gradient.ablated];
                    assert!(numbers.iter().all(|number| number.is_finite()), "{loss:?}: {numbers:?}");
                }
            }
        }
    }
}

#[test]
fn a_hopeless_pair_pulls_with_all_its_strength_and_a_won_one_with_none() {
    let gradient = |chosen, rejected| {
        let pairs = [PairLogps { chosen: answer(chosen, -50.0), rejected: answer(rejected, -50.0), ablated: None }];
        let objective = Preference::single(0.1, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
        objective.evaluate(&pairs, &Step::of(&pairs)).expect("valid input").gradients[0]
    };
    assert_eq!(gradient(-1e4, -1.0), PairGradient { chosen: -0.1, rejected: 0.1, ablated: 0.0 });
    assert!(gradient(-1.0, -1e4).chosen.abs() < 1e-300);
}
