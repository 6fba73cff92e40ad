//! What holds for every format: equal bytes, no work twice, nothing half-made, nothing overwritten.

use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use mmtrain_synth::{Like, SynthError, SynthOptions, SynthReport, write_dataset, write_dataset_until};

use crate::support::{Outcome, contents, has_ffmpeg, make, small};

#[test]
fn the_same_options_write_the_same_bytes_with_one_thread_and_many() -> Outcome<()> {
    for like in Like::ALL.iter().copied().filter(|like| !like.is_video() || has_ffmpeg()) {
        // each clip costs a process
        let small = || SynthOptions { samples: if like.is_video() { 6 } else { 25 }, ..small() };
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let (many, one) = (make(like, &small())?, one_thread.install(|| make(like, &small()).expect("a data set")));
        let (many, one) = (contents(many.path())?, contents(one.path())?);
        assert!(many == one, "{like}: one thread and many write the same");
        let other = contents(make(like, &SynthOptions { seed: 8, ..small() })?.path())?;
        let differ = many.iter().filter(|(name, bytes)| other.get(*name) != Some(bytes)).count();
        assert!(differ > many.len() / 2, "{like}: another seed is another data set");
    }
    Ok(())
}

#[test]
fn a_data_set_of_another_format_is_not_taken_for_this_one() -> Outcome<()> {
    let root = make(Like::Cc3m, &small())?;
    let error = write_dataset(Like::LlavaInstruct, root.path(), &small()).expect_err("it is like cc3m");
    assert!(error.to_string().contains("it is like cc3m, asked for llava-instruct"), "{error}");
    Ok(())
}

#[test]
fn making_it_twice_is_no_work_and_other_options_are_refused() -> Outcome<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("set");
    fs::create_dir(&out)?;
    let first = write_dataset(Like::Cc3m, &out, &small())?;
    let again = write_dataset(Like::Cc3m, &out, &small())?;
    assert_eq!(again, SynthReport { created: false, ..first });
    let error = write_dataset(Like::Cc3m, &out, &SynthOptions { seed: 8, ..small() }).expect_err("another seed");
    assert!(error.to_string().contains("seed is 7, asked for 8"), "{error}");
    assert!(error.hint().is_some());
    fs::remove_file(out.join("cc3m-train-0001.tar"))?;
    let error = write_dataset(Like::Cc3m, &out, &small()).expect_err("a shard is missing");
    assert!(error.to_string().contains("`cc3m-train-0001.tar` is gone"), "{error}");
    Ok(())
}

#[test]
fn a_stop_is_heeded_within_a_few_samples_and_leaves_nothing_behind() -> Outcome<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("set");
    // In the first shard, in the last one, and after the last sample.
    for asked in [3, 30, 31] {
        let count = AtomicUsize::new(0);
        let stop = || count.fetch_add(1, Ordering::SeqCst) >= asked;
        let error = write_dataset_until(&stop, Like::Cc3m, &out, &small()).expect_err("stopped");
        assert!(matches!(&error, SynthError::Stopped { path } if *path == out), "{error}");
        assert!(count.into_inner() <= asked + 2 * rayon::current_num_threads(), "asked no further");
        assert_eq!(fs::read_dir(root.path())?.count(), 0, "nothing is left after {asked} samples");
    }
    assert!(write_dataset(Like::Cc3m, &out, &small())?.created);
    Ok(())
}

#[test]
fn foreign_directories_are_left_alone() -> Outcome<()> {
    let root = tempfile::tempdir()?;
    fs::write(root.path().join("thesis.tex"), "years of work")?;
    let error = write_dataset(Like::Cc3m, root.path(), &small()).expect_err("not ours");
    assert!(matches!(error, SynthError::NotOurs { .. }));
    assert_eq!(contents(root.path())?.len(), 1);
    Ok(())
}
