//! Prints how many samples per second are made, of each format.
//!
//! `cargo run --release -p mmtrain-synth --example synth_speed [SAMPLES]`

#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::Instant;

use mmtrain_synth::{Like, Split, SynthOptions, scene_image, write_dataset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let samples = std::env::args().nth(1).map_or(Ok(2_000), |s| s.parse())?;
    let root = tempfile::tempdir()?;
    for &like in Like::ALL {
        let start = Instant::now();
        match write_dataset(like, &root.path().join(like.name()), &SynthOptions::new(samples, 1)) {
            Ok(report) => {
                let made = report.train_samples + report.validation_samples;
                let speed = made as f64 / start.elapsed().as_secs_f64();
                println!(
                    "{like}: {made} samples, {} files, {} bytes, {speed:.0} samples/s",
                    report.files, report.bytes
                );
            }
            Err(error) => println!("{like}: {error}"),
        }
    }
    let start = Instant::now();
    for index in 0..2_000 {
        std::hint::black_box(scene_image(1, Split::Train, index, 64));
    }
    println!("scene_image on one thread: {:.0} samples/s", 2_000.0 / start.elapsed().as_secs_f64());
    Ok(())
}
