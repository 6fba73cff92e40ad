use mmtrain_model::params::Tuned;

use super::*;
use crate::driver::tests::model;

fn nudged(model: &Vlm, wanted: impl Fn(&str) -> bool) -> Vlm {
    Part::ALL.into_iter().fold(model.clone(), |nudged, part| {
        let mut values = model.params(part).into_iter().map(|param| (param.info.name, param.value + 1e-3));
        let mut values = values.by_ref().collect::<FlatTensors>();
        nudged.assign(part, &mut |info| values.remove(&info.name).filter(|_| wanted(&info.name)))
    })
}

/// As an update finds them that leads from one model to the other.
fn changes(before: &Vlm, after: &Vlm) -> Changes {
    let mut changes = Changes::new(Part::ALL);
    for part in Part::ALL {
        for (old, new) in before.params(part).into_iter().zip(after.params(part)) {
            changes.look(&old.info, old.value, new.value);
        }
    }
    changes
}

const CONNECTOR: Trained = Trained { connector: Tuned::Full, ..Trained::NOTHING };

#[test]
fn a_frozen_tensor_that_moves_is_named() {
    let before = model();
    let mut verification = Verification::new(&before, CONNECTOR);
    let after =
        nudged(&before, |name| name.starts_with("multi_modal_projector.") || name.ends_with("model.norm.weight"));
    let error = verification
        .check(changes(&before, &after), &after, &[Part::Connector], 1)
        .expect_err("the decoder's norm moved");
    let text = error.to_string();
    assert!(text.contains("changed, though frozen") && text.contains("language_model.model.norm.weight"), "{text}");
}

#[test]
fn a_trained_part_that_stays_in_spite_of_gradients_is_named_and_one_that_got_none_waits() {
    let before = model();
    let mut verification = Verification::new(&before, CONNECTOR);
    verification.check(Changes::new(Part::ALL), &before, &[], 1).expect("no gradient, no change");
    assert!(verification.changes().is_some());
    let error =
        verification.check(Changes::new(Part::ALL), &before, &[Part::Connector], 2).expect_err("it did not move");
    assert!(error.to_string().contains("did not change, though trained"), "{error}");
    let after = nudged(&before, |name| name == "multi_modal_projector.linear_1.bias");
    verification.check(changes(&before, &after), &after, &[Part::Connector], 3).expect("one of its tensors moved");
    assert!(verification.changes().is_none());
}

#[test]
fn a_part_that_no_gradient_reaches_is_not_waited_for_without_end() {
    let before = model();
    let mut verification = Verification::new(&before, CONNECTOR);
    for step in 1..PATIENCE {
        verification.check(Changes::new(Part::ALL), &before, &[], step).expect("nothing to say");
        assert!(verification.changes().is_some(), "{step}");
    }
    verification.check(Changes::new(Part::ALL), &before, &[], PATIENCE).expect("a warning");
    assert!(verification.changes().is_none());
}

#[test]
fn beside_adapters_the_weights_have_to_stay() {
    let lora = crate::driver::tests::lora();
    let before = model().with_adapters(Part::Decoder, &lora).expect("attached");
    let trained = Trained { decoder: Tuned::Adapters, ..Trained::NOTHING };
    let adapters = nudged(&before, |name| name.contains(".lora_"));
    let mut verification = Verification::new(&before, trained);
    verification
        .check(changes(&before, &adapters), &adapters, &[Part::Decoder], 1)
        .expect("adapters moved, weights stayed");
    let mut verification = Verification::new(&before, trained);
    let weight = nudged(&before, |name| name.contains(".lora_") || name.ends_with("0.self_attn.q_proj.weight"));
    assert!(verification.check(changes(&before, &weight), &weight, &[Part::Decoder], 1).is_err());
}

#[test]
fn a_part_is_reached_by_gradients_from_which_an_update_follows() {
    let gradient = |value: f32| Tensor::<1>::from_data([0.0, value], &Device::flex());
    let gradients = FlatTensors::from([
        ("language_model.model.norm.weight".to_owned(), gradient(-1e-6)),
        ("multi_modal_projector.linear_1.bias".to_owned(), gradient(0.0)),
        ("vision_tower.vision_model.post_layernorm.weight".to_owned(), gradient(1e-20)),
    ]);
    assert_eq!(reached(&gradients), [Part::Decoder]);
}
