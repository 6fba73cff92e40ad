//! The checkpoint of the best evaluation, and runs that end where none gets better.

use crate::support::Place;

const EVERY: &str = "-q --set train.eval_every=1 --set checkpoint.every=2 --set checkpoint.keep=1 --set train.steps=6";

#[test]
fn the_best_checkpoint_stays_and_can_be_named() {
    let place = Place::new();
    let best = "--set checkpoint.best.metric=loss --set checkpoint.best.min_delta=100";
    place.ok(&format!("pretrain --config tiny.toml --run-dir run {EVERY} {best}"));
    assert_eq!(place.read("run/best"), b"step-00000001", "nothing is better by 100");
    assert!(place.path("run/step-00000001").is_dir() && place.path("run/step-00000006").is_dir());
    assert!(!place.path("run/step-00000004").exists(), "one of the newest is kept");
    let eval = |model: &str| place.ok(&format!("eval --model {model} --data data --limit 4 --json")).stdout;
    assert_eq!(eval("run/best"), eval("run/step-00000001"));
    place.ok(&format!("pretrain --config tiny.toml --init run/best --run-dir next {EVERY}"));
    let lineage = String::from_utf8(place.read("next/run.json")).expect("text");
    assert!(lineage.contains("step-00000001"), "{lineage}");
}

#[test]
fn a_run_ends_where_no_evaluation_is_better_and_goes_on_if_asked() {
    let place = Place::new();
    let best = "--set checkpoint.best.metric=loss --set checkpoint.best.min_delta=100";
    let start = format!("pretrain --config tiny.toml {EVERY}");
    place.ok(&format!("{start} --run-dir whole"));
    let told = format!("{start} --run-dir run {best} --set checkpoint.best.patience=2").replace("-q ", "");
    let told = place.ok(&told).stderr;
    assert!(told.contains("finished at step 3 of 6, since `loss` was not better in 2 evaluations than "), "{told}");
    assert_eq!(place.read("run/finished"), b"3");
    place.ok("pretrain --resume run -q");
    assert_eq!(place.read("run/latest"), b"step-00000003", "nothing is left to do");
    place.ok("pretrain --resume run -q --set checkpoint.best.patience=0");
    for file in ["model.safetensors", "optim.safetensors"] {
        let read = |run: &str| place.read(&format!("{run}/step-00000006/{file}"));
        assert!(read("run") == read("whole"), "{file}: it went on as if it had not ended");
    }
}

#[test]
fn a_metric_that_no_evaluation_has_costs_no_steps() {
    let place = Place::new();
    let start = format!("pretrain --config tiny.toml --run-dir run {EVERY} --set checkpoint.best.metric=answers");
    place.fails(&start, 2, &["`checkpoint.best.metric`", "no `answers`", "mean_token_accuracy", "hint:"]);
    place.ok("pretrain --resume run -q --set checkpoint.best.metric=mean_token_accuracy");
    assert!(place.path("run/best").is_file());
    let none = "pretrain --config tiny.toml --set checkpoint.best.metric=loss --set train.eval_every=0";
    place.fails(none, 2, &["without `train.eval_every` there is none", "hint:"]);
}
