//! Every cursor continues with the tail of the whole run, whatever shares a row or a micro-batch.

use std::sync::{Arc, OnceLock};

use mmtrain_text::TextTokenizer;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{Made, preparer, tokenizer};
use crate::{SampleId, Source};

const MAX_SEQ: usize = 24;

/// A run: what is loaded, and how.
#[derive(Debug, Clone)]
struct Case {
    /// Words of each sample of each source, 0 of one that is left out.
    lengths: Vec<Vec<usize>>,
    weights: Vec<f64>,
    config: LoaderConfig,
}

fn cases() -> impl Strategy<Value = Case> {
    let sample = || prop_oneof![1 => Just(0_usize), 4 => 1_usize..12];
    let usable = |source: &Vec<usize>| source.iter().any(|&words| words > 0);
    let first = prop::collection::vec(sample(), 3..20).prop_filter("something is usable", usable);
    let others =
        prop::collection::vec((prop::collection::vec(sample(), 3..20), prop_oneof![Just(0.4), Just(1.6)]), 0..3);
    let (sizes, packing) = ((1_usize..4, 1_usize..3), prop::option::of(1_usize..12));
    let bucketing = prop::option::of(1_usize..4);
    let all = (first, prop_oneof![Just(1.0), Just(2.5)], others, sizes, packing, bucketing, any::<(u64, bool)>());
    all.prop_map(|(first, weight, others, (micro, passes), packing, bucketing, (seed, shuffle))| {
        let config = LoaderConfig {
            seed,
            global_batch_size: micro * passes,
            micro_batch_size: micro,
            packing: packing.map(|window| Packing { max_seq: MAX_SEQ, window }),
            bucketing: bucketing.map(|steps| Bucketing { steps }),
            workers: 1,
            prefetch_steps: 1,
            max_skip_ratio: 1.0,
            shuffle,
        };
        let (lengths, weights) = std::iter::once((first, weight)).chain(others).unzip();
        Case { lengths, weights, config }
    })
}

/// The same tokenizer for all cases: learning one takes longer than all the rest.
fn learned() -> Arc<TextTokenizer> {
    static LEARNED: OnceLock<Arc<TextTokenizer>> = OnceLock::new();
    LEARNED.get_or_init(|| Arc::new(tokenizer())).clone()
}

/// What a step holds, without how long it took.
type Content = (Vec<HostBatch>, Cursor, Vec<SampleId>, usize);

impl Case {
    fn loader(&self, config: LoaderConfig, cursor: Cursor) -> StepLoader {
        let sources = self.lengths.iter().zip(&self.weights).enumerate().map(|(number, (lengths, &weight))| {
            let made = Made { name: format!("made-{number}"), lengths: lengths.clone() };
            (Arc::new(made) as Arc<dyn Source>, weight)
        });
        let mixture = Arc::new(Mixture::new(sources.collect()).expect("a mixture"));
        let preparer = Preparer { tokenizer: learned(), max_seq: MAX_SEQ, ..preparer() };
        StepLoader::new(mixture, Arc::new(preparer), config, cursor).expect("a loader")
    }

    fn steps(&self, config: LoaderConfig, cursor: Cursor, count: usize) -> Vec<Content> {
        let mut loader = self.loader(config, cursor);
        let steps = (0..count).map(|_| loader.next_step().expect("a step"));
        let skipped = |step: &StepBatch| step.skipped.iter().map(|skip| skip.id.clone()).collect();
        steps.map(|step| (step.micro_batches.clone(), step.cursor_after, skipped(&step), step.samples)).collect()
    }
}

fn ids(steps: &[Content]) -> Vec<SampleId> {
    steps.iter().flat_map(|(batches, ..)| batches).flat_map(|batch| batch.ids.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_resume_at_any_step_continues_with_the_tail_of_the_whole_run(case in cases()) {
        const STEPS: usize = 7;
        let whole = case.steps(case.config.clone(), Cursor::default(), STEPS);
        for done in 1..STEPS {
            let tail = case.steps(case.config.clone(), whole[done - 1].1, STEPS - done);
            prop_assert_eq!(&tail, &whole[done..], "after step {}", done);
        }
    }

    #[test]
    fn workers_and_prefetch_change_nothing(case in cases(), workers in 2_usize..5, prefetch_steps in 1_usize..4) {
        let config = LoaderConfig { workers, prefetch_steps, ..case.config.clone() };
        let same = case.steps(case.config.clone(), Cursor::default(), 5);
        prop_assert_eq!(case.steps(config, Cursor::default(), 5), same);
    }

    /// Nothing is lost, doubled or invented: what comes is what comes without packing and bucketing.
    #[test]
    fn rows_hold_the_samples_of_the_plain_order_window_by_window(case in cases()) {
        let mut arranged = case.loader(case.config.clone(), Cursor::default());
        let mut steps = Vec::new();
        // Until a window ends with a step.
        while steps.is_empty() || (arranged.cursor().rows > 0 && steps.len() < 40) {
            let step = arranged.next_step().expect("a step");
            steps.push((step.micro_batches, step.cursor_after, Vec::new(), step.samples));
        }
        if arranged.cursor().rows > 0 {
            return Ok(());
        }
        let mut found = ids(&steps);
        let one = LoaderConfig {
            global_batch_size: 1,
            micro_batch_size: 1,
            packing: None,
            bucketing: None,
            ..case.config.clone()
        };
        let mut expected = ids(&case.steps(one, Cursor::default(), found.len()));
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn packed_rows_are_no_longer_than_allowed(case in cases()) {
        for (batches, ..) in case.steps(case.config.clone(), Cursor::default(), 4) {
            for batch in batches {
                prop_assert!(batch.samples.iter().all(|row| row.last().is_some_and(|last| last.end <= MAX_SEQ)));
                prop_assert_eq!(batch.ids.len(), batch.samples.iter().map(Vec::len).sum::<usize>());
                prop_assert_eq!(batch.input_ids.len(), batch.batch * batch.seq);
            }
        }
    }
}

/// Lengths 1 to 60, as captions and conversations have them.
fn mixed() -> Case {
    let lengths = vec![(0..600).map(|i| 1 + (i * 37 + i / 7) % 19).collect()];
    let config = LoaderConfig {
        seed: 3,
        global_batch_size: 8,
        micro_batch_size: 4,
        packing: None,
        bucketing: None,
        workers: 1,
        prefetch_steps: 1,
        max_skip_ratio: 0.0,
        shuffle: true,
    };
    Case { lengths, weights: vec![1.0], config }
}

/// Fifty loaders, each killed somewhere ahead of what was used of it, and then one to the end.
#[test]
fn each_sample_comes_once_an_epoch_whatever_interrupts_it() {
    const EPOCHS: usize = 3;
    let case = mixed();
    let steps = EPOCHS * case.lengths[0].len() / case.config.global_batch_size;
    let bucketed = LoaderConfig { bucketing: Some(Bucketing { steps: 5 }), ..case.config.clone() };
    for config in [case.config.clone(), bucketed] {
        let whole = case.steps(config.clone(), Cursor::default(), steps);
        let (mut done, mut cursor) = (Vec::new(), Cursor::default());
        for kill in 0..50 {
            let config = LoaderConfig { workers: 1 + kill % 3, prefetch_steps: 1 + kill % 5, ..config.clone() };
            let mut part = case.steps(config, cursor, 1 + kill * 7 % 8);
            // Steps that were made since the last save are lost with the process.
            part.truncate(1 + kill % part.len());
            cursor = part[part.len() - 1].1;
            done.append(&mut part);
        }
        done.append(&mut case.steps(config, cursor, steps - done.len()));
        assert_eq!(done, whole);
        let mut times = std::collections::BTreeMap::new();
        for id in ids(&done) {
            *times.entry(id).or_insert(0) += 1;
        }
        assert_eq!(times.len(), case.lengths[0].len());
        assert!(times.values().all(|&times| times == EPOCHS), "{times:?}");
    }
}

/// Share of positions that hold no token.
fn padding(case: &Case, config: LoaderConfig) -> f64 {
    let steps = case.steps(config, Cursor::default(), 12);
    let batches = steps.iter().flat_map(|(batches, ..)| batches);
    let (tokens, all) =
        batches.fold((0, 0), |(tokens, all), batch| (tokens + batch.tokens(), all + batch.input_ids.len()));
    1.0 - tokens as f64 / all as f64
}

#[test]
fn bucketing_and_packing_leave_little_fill() {
    let case = mixed();
    let plain = padding(&case, case.config.clone());
    let bucketed = padding(&case, LoaderConfig { bucketing: Some(Bucketing { steps: 12 }), ..case.config.clone() });
    let packing = Some(Packing { max_seq: MAX_SEQ, window: 64 });
    let packed = padding(&case, LoaderConfig { packing, ..case.config.clone() });
    assert!(plain > 0.3 && bucketed < 0.6 * plain && packed < 0.15, "{plain} {bucketed} {packed}");
}

#[test]
fn a_cursor_behind_the_rows_of_its_window_is_refused() {
    let case = mixed();
    let config = LoaderConfig { packing: Some(Packing { max_seq: MAX_SEQ, window: 4 }), ..case.config.clone() };
    let error = case.loader(config, Cursor { rows: 5, ..Cursor::default() }).next_step().expect_err("refused");
    assert!(error.to_string().starts_with("cursor stands behind 5 rows of a window that has "), "{error}");
    assert!(error.hint().is_some());
}
