//! What is refused, and in which words.

use mmtrain_preference::{AnswerLogps, Kto, PairLogps, Preference, PreferenceError, PreferenceLoss, Step};

fn answer(policy: f64) -> AnswerLogps {
    AnswerLogps { policy, reference: Some(-9.0), tokens: 3.0 }
}

fn pair(policy: f64) -> PairLogps {
    PairLogps { chosen: answer(policy), rejected: answer(-4.0), ablated: None }
}

fn dpo() -> Preference {
    Preference::single(0.1, PreferenceLoss::Sigmoid { label_smoothing: 0.0 })
}

fn refused(objective: &Preference, pairs: &[PairLogps]) -> String {
    objective.evaluate(pairs, &Step::of(pairs)).expect_err("to be refused").to_string()
}

#[test]
fn a_number_that_is_none_names_its_pair() {
    let message = refused(&dpo(), &[pair(-1.0), pair(f64::NAN)]);
    assert_eq!(message, "pair 1: the chosen policy log-probability is NaN");
    let mut pairs = [pair(-1.0), pair(-2.0), pair(-3.0)];
    pairs[2].rejected.reference = Some(f64::NEG_INFINITY);
    assert_eq!(refused(&dpo(), &pairs), "pair 2: the rejected reference log-probability is -inf");
    pairs[2].rejected.reference = Some(-1.0);
    pairs[0].chosen.tokens = f64::NAN;
    assert_eq!(refused(&dpo(), &pairs), "pair 0: the chosen token count is NaN");
}

#[test]
fn a_loss_that_overflows_names_its_pair() {
    let message = refused(&Preference::single(0.1, PreferenceLoss::SppoHard), &[pair(-1.0), pair(-1e200)]);
    assert_eq!(message, "pair 1: the loss is inf");
}

#[test]
fn what_a_loss_reads_has_to_be_there() {
    let mut pairs = [pair(-1.0)];
    pairs[0].rejected.reference = None;
    let message = refused(&dpo(), &pairs);
    assert_eq!(message, "pair 0: no reference log-probability of the rejected answer, which `sigmoid` reads");
    let simpo = Preference::single(2.0, PreferenceLoss::Simpo { gamma: 0.5, label_smoothing: 0.0 });
    assert!(simpo.evaluate(&pairs, &Step::of(&pairs)).is_ok());
    let message = refused(&Preference::mdpo(0.1), &[pair(-1.0)]);
    assert_eq!(message, "pair 0: no log-probability behind an ablated picture, which `image_conditional` reads");
    pairs[0] = pair(-1.0);
    pairs[0].chosen.tokens = 0.0;
    assert_eq!(refused(&dpo(), &pairs), "pair 0: the chosen answer has 0 supervised tokens, wanted more than 0");
}

#[test]
fn a_step_has_at_least_what_is_given() {
    let pairs = [pair(-1.0), pair(-2.0)];
    let step = Step { pairs: 1, ..Step::of(&pairs) };
    assert_eq!(
        dpo().evaluate(&pairs, &step).expect_err("to be refused").to_string(),
        "the step has 1 pairs, those given have 2"
    );
    let step = Step { chosen_tokens: 5.0, ..Step::of(&pairs) };
    let message = dpo().evaluate(&pairs, &step).expect_err("to be refused").to_string();
    assert_eq!(message, "the step has 5 chosen tokens, those given have 6");
    assert!(dpo().evaluate(&[], &Step::of(&[])).is_err());
    let step = Step { delta: f64::NAN, ..Step::of(&pairs) };
    assert!(dpo().evaluate(&pairs, &step).is_err());
}

#[test]
fn parameters_outside_their_range_are_named_with_the_range() {
    let message = |beta, loss| Preference::single(beta, loss).validate().expect_err("to be refused").to_string();
    let sigmoid = |label_smoothing| PreferenceLoss::Sigmoid { label_smoothing };
    assert_eq!(message(0.0, sigmoid(0.0)), "`beta` is 0, wanted a number above 0");
    let smoothing = "`label_smoothing` of `sigmoid` is 0.5, wanted a number from 0 to below 0.5";
    assert_eq!(message(0.1, sigmoid(0.5)), smoothing);
    assert!(Preference::single(0.1, sigmoid(f64::NAN)).validate().is_err());
    let robust = message(0.1, PreferenceLoss::Robust { label_smoothing: 0.5 });
    assert_eq!(robust, "`label_smoothing` of `robust` is 0.5, wanted a number from 0 to below 0.5");
    let exo = message(0.1, PreferenceLoss::ExoPair { label_smoothing: 0.0 });
    assert_eq!(exo, "`label_smoothing` of `exo_pair` is 0, wanted a number above 0 and below 0.5");
    let tau = message(0.1, PreferenceLoss::Discopop { tau: 2.0 });
    assert_eq!(tau, "`tau` of `discopop` is 2, wanted a number above 0 and at most 1");
    let gamma = message(0.1, PreferenceLoss::Simpo { gamma: -1.0, label_smoothing: 0.0 });
    assert_eq!(gamma, "`gamma` of `simpo` is -1, wanted a number that is at least 0");
    let weight = dpo().with(PreferenceLoss::Sft, -0.5).validate().expect_err("to be refused").to_string();
    assert_eq!(weight, "weight of `sft` is -0.5, wanted a number that is at least 0");
    let kto = Kto { beta: 0.1, desirable_weight: 0.0, undesirable_weight: 1.0 };
    assert_eq!(
        kto.validate().expect_err("to be refused").to_string(),
        "`desirable_weight` of `kto` is 0, wanted a number above 0"
    );
}

#[test]
fn an_objective_of_nothing_is_refused_and_weights_of_zero_read_nothing() {
    assert_eq!(Preference { beta: 0.1, terms: vec![] }.validate(), Err(PreferenceError::NoTerms));
    let mut silent = dpo();
    silent.terms[0].weight = 0.0;
    assert_eq!(silent.validate(), Err(PreferenceError::NoTerms));
    assert!(!silent.with(PreferenceLoss::Orpo, 1.0).needs_reference());
}

#[test]
fn names_are_unique_and_found() {
    for loss in PreferenceLoss::all() {
        assert_eq!(PreferenceLoss::named(loss.name()), Some(*loss));
        assert_eq!(loss.validate(), Ok(()));
    }
    assert_eq!(PreferenceLoss::named("dpo"), None);
}
