//! Samples at one rate to samples at another, by `rubato`'s transforms of overlapping blocks.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::MediaError;

/// Least samples of a block, on the side with the lower rate: the filter is as long, and passes all but the highest
/// few hundredths of the band.
const MIN_BLOCK: usize = 1024;

/// As many samples as [`SoundLength::at`](crate::SoundLength::at) says, the first at the same instant.
pub(super) fn resample(samples: Vec<f32>, from: u32, to: u32) -> Result<Vec<f32>, MediaError> {
    if from == to || samples.is_empty() {
        return Ok(samples);
    }
    let failed = |detail: String| MediaError::audio(format!("from {from} to {to} hertz: {detail}"));
    let length = crate::SoundLength { samples: samples.len() as u64, rate: from }.at(to) as usize;
    let (from, to) = (from as usize, to as usize);
    let mut resampler =
        Fft::<f32>::new_custom(from, to, block(from, to), 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|e| failed(e.to_string()))?;
    let input = InterleavedSlice::new(&samples, 1, samples.len()).map_err(|e| failed(e.to_string()))?;
    let output = resampler.process_all(&input, samples.len(), None).map_err(|e| failed(e.to_string()))?;
    let mut output = output.take_data();
    output.truncate(length);
    Ok(output)
}

/// Input samples of a block: an even number of the ratio's periods, so that the delay is a whole number of samples on
/// both sides and can be taken off.
fn block(from: usize, to: usize) -> usize {
    let divisor = greatest_common_divisor(from, to);
    let (from, to) = (from / divisor, to / divisor);
    let periods = MIN_BLOCK.div_ceil(from.min(to)).next_multiple_of(2);
    periods * from
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
