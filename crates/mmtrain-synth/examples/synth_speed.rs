//! Prints how many samples per second are made.
//!
//! `cargo run --release -p mmtrain-synth --example synth_speed [SAMPLES]`

#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::Instant;

use mmtrain_synth::{Like, Split, SynthOptions, scene_image, write_dataset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let samples = std::env::args().nth(1).map_or(Ok(12_000), |s| s.parse())?;
    let root = tempfile::tempdir()?;
    let start = Instant::now();
    let report = write_dataset(Like::Cc3m, &root.path().join("set"), &SynthOptions::new(samples, 1))?;
    let secs = start.elapsed().as_secs_f64();
    let made = report.train_samples + report.validation_samples;
    println!("write_dataset: {made} samples, {} bytes, {:.0} samples/s", report.bytes, made as f64 / secs);
    let start = Instant::now();
    for index in 0..2_000 {
        std::hint::black_box(scene_image(1, Split::Train, index, 64));
    }
    println!("scene_image on one thread: {:.0} samples/s", 2_000.0 / start.elapsed().as_secs_f64());
    Ok(())
}
