//! Gradients are the slopes of the losses, by central differences.

use mmtrain_preference::{AnswerLogps, BcoDelta, PairLogps, Preference, PreferenceLoss, Step};
use proptest::prelude::*;

const STEP: f64 = 1e-5;

fn answer() -> impl Strategy<Value = AnswerLogps> {
    (-200.0..-1.0_f64, -30.0..30.0_f64, 1..50_u32).prop_map(|(policy, apart, tokens)| AnswerLogps {
        policy,
        reference: Some(policy + apart),
        tokens: f64::from(tokens),
    })
}

fn pair() -> impl Strategy<Value = PairLogps> {
    (answer(), answer(), answer()).prop_map(|(chosen, rejected, ablated)| PairLogps {
        chosen,
        rejected,
        ablated: Some(ablated),
    })
}

/// Every loss with parameters at the ends of their ranges.
fn losses() -> Vec<PreferenceLoss> {
    let mut losses = PreferenceLoss::all().to_vec();
    losses.extend([
        PreferenceLoss::Sigmoid { label_smoothing: 0.3 },
        PreferenceLoss::ExoPair { label_smoothing: 0.4 },
        PreferenceLoss::Robust { label_smoothing: 0.45 },
        PreferenceLoss::BcoPair { delta: BcoDelta::Zero },
        PreferenceLoss::Aot { label_smoothing: 0.2 },
        PreferenceLoss::AotUnpaired { label_smoothing: 0.2 },
        PreferenceLoss::Discopop { tau: 1.0 },
        PreferenceLoss::Simpo { gamma: 1.4, label_smoothing: 0.1 },
        PreferenceLoss::Kto { desirable_weight: 1.33, undesirable_weight: 0.5 },
    ]);
    losses
}

/// Whether a corner or a change of order is within a few steps.
fn near_a_corner(objective: &Preference, pairs: &[PairLogps]) -> bool {
    let ratio = |answer: &AnswerLogps| answer.policy - answer.reference.expect("a reference");
    let at_hinge =
        |pair: &PairLogps| (1.0 - objective.beta * (ratio(&pair.chosen) - ratio(&pair.rejected))).abs() < 1e-3;
    let close = |values: Vec<f64>| {
        values.iter().enumerate().any(|(index, a)| values[..index].iter().any(|b| (a - b).abs() < 1e-3))
    };
    pairs.iter().any(at_hinge)
        || close(pairs.iter().map(|pair| pair.chosen.policy - pair.rejected.policy).collect())
        || close(pairs.iter().map(|pair| ratio(&pair.chosen)).collect())
        || close(pairs.iter().map(|pair| ratio(&pair.rejected)).collect())
}

type Side = (&'static str, fn(&mut PairLogps) -> &mut f64);

const SIDES: [Side; 3] = [
    ("chosen", |pair| &mut pair.chosen.policy),
    ("rejected", |pair| &mut pair.rejected.policy),
    ("ablated", |pair| &mut pair.ablated.as_mut().expect("an ablated answer").policy),
];

fn check(objective: &Preference, pairs: &[PairLogps], step: &Step) -> Result<(), TestCaseError> {
    let outcome = objective.evaluate(pairs, step).expect("valid input");
    for (index, gradient) in outcome.gradients.iter().enumerate() {
        for ((side, of), slope) in SIDES.into_iter().zip([gradient.chosen, gradient.rejected, gradient.ablated]) {
            let moved = |by: f64| {
                let mut pairs = pairs.to_vec();
                *of(&mut pairs[index]) += by;
                objective.evaluate(&pairs, step).expect("valid input").loss
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let bound = 1e-6 + 1e-5 * slope.abs() + 1e-10 * outcome.loss.abs();
            let what = format!("{objective:?}, {side} of pair {index}: {slope} is not {difference}");
            prop_assert!((slope - difference).abs() < bound, "{}", what);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn gradients_are_slopes_for_every_loss(
        pairs in prop::collection::vec(pair(), 1..5),
        beta in 0.05..0.5_f64,
        delta in -2.0..2.0_f64,
        kl in 0.0..20.0_f64,
    ) {
        let whole = Step::of(&pairs);
        let step = Step { pairs: whole.pairs + 3, chosen_tokens: whole.chosen_tokens + 70.0, delta, kl };
        for loss in losses() {
            let objective = Preference::single(beta, loss);
            prop_assume!(!near_a_corner(&objective, &pairs));
            check(&objective, &pairs, &step)?;
        }
        for objective in [Preference::mpo(beta), Preference::mdpo(beta), Preference::orpo(beta)] {
            check(&objective, &pairs, &step)?;
        }
    }

    #[test]
    fn a_step_has_the_same_loss_and_gradients_however_it_is_cut(
        pairs in prop::collection::vec(pair(), 2..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let step = Step { delta: 0.3, kl: 1.0, ..Step::of(&pairs) };
        let cut = cut.index(pairs.len());
        for loss in losses().into_iter().filter(|loss| !loss.ranks_pairs()) {
            let objective = Preference::single(0.1, loss);
            let whole = objective.evaluate(&pairs, &step).expect("valid input");
            let [first, second] = [&pairs[..cut], &pairs[cut..]].map(|part| objective.evaluate(part, &step).expect("valid input"));
            prop_assert!((first.loss + second.loss - whole.loss).abs() < 1e-12 * (1.0 + whole.loss.abs()));
            prop_assert_eq!([first.gradients, second.gradients].concat(), whole.gradients);
            let mut metrics = first.metrics;
            metrics.merge(&second.metrics);
            for (name, value) in metrics.values() {
                let wanted = whole.metrics.values()[name];
                prop_assert!((value - wanted).abs() < 1e-12 * (1.0 + wanted.abs()), "{}: {} is not {}", name, value, wanted);
            }
        }
    }
}
