//! Slaney's mel filters, as `mel_filter_bank(norm="slaney", mel_scale="slaney")` in `audio_utils.py` makes them.

/// Where the scale turns from linear to logarithmic, in hertz and in mel.
const KNEE: (f64, f64) = (1000.0, 15.0);

/// Triangles over the bins of a spectrum, each with what is not zero of it.
pub(crate) struct MelBank {
    bands: Vec<Band>,
}

struct Band {
    start: usize,
    weights: Vec<f64>,
}

impl MelBank {
    /// `mels` triangles between 0 and `max_hertz` over `bins` bins that reach from 0 to `nyquist`, in hertz.
    pub(crate) fn new(mels: usize, bins: usize, max_hertz: f64, nyquist: f64) -> Self {
        let top = hertz_to_mel(max_hertz);
        let corner = |i: usize| mel_to_hertz(top * i as f64 / (mels + 1) as f64);
        let corners: Vec<f64> = (0..mels + 2).map(corner).collect();
        let bin = |i: usize| nyquist * i as f64 / (bins - 1) as f64;
        let bands = corners.windows(3).map(|c| Band::new([c[0], c[1], c[2]], bins, bin));
        Self { bands: bands.collect() }
    }

    /// Energy in each band; `power` is `[bins]`.
    pub(crate) fn energies<'a>(&'a self, power: &'a [f64]) -> impl Iterator<Item = f64> {
        self.bands.iter().map(|band| band.weights.iter().zip(&power[band.start..]).map(|(w, p)| w * p).sum())
    }
}

impl Band {
    /// A triangle with its feet at the first and last corner, of area one in hertz.
    fn new([left, peak, right]: [f64; 3], bins: usize, bin: impl Fn(usize) -> f64) -> Self {
        let area = 2.0 / (right - left);
        let height =
            |i: usize| ((bin(i) - left) / (peak - left)).min((right - bin(i)) / (right - peak)).max(0.0) * area;
        let weights: Vec<f64> = (0..bins).map(height).collect();
        let start = weights.iter().position(|&w| w > 0.0).unwrap_or(0);
        let end = weights.iter().rposition(|&w| w > 0.0).map_or(start, |last| last + 1);
        Self { start, weights: weights[start..end].to_vec() }
    }
}

/// 3 mel for 200 hertz up to 1 kHz, then 27 mel for a factor of 6.4.
fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < KNEE.0 { 3.0 * hertz / 200.0 } else { KNEE.1 + (hertz / KNEE.0).ln() * (27.0 / 6.4_f64.ln()) }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel < KNEE.1 { 200.0 * mel / 3.0 } else { KNEE.0 * ((6.4_f64.ln() / 27.0) * (mel - KNEE.1)).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum and number of weights, as numpy gives them for Whisper's two banks.
    #[test]
    fn the_banks_are_those_of_whisper() {
        for (mels, sum, nonzero) in [(80, 1.999_024_1, 391), (128, 3.190_985_5, 394)] {
            let bank = MelBank::new(mels, 201, 8000.0, 8000.0);
            let weights = || bank.bands.iter().flat_map(|band| &band.weights);
            assert!((weights().sum::<f64>() - sum).abs() < 1e-6, "{mels}: {}", weights().sum::<f64>());
            assert_eq!(weights().filter(|&&w| w != 0.0).count(), nonzero, "{mels}");
        }
    }

    #[test]
    fn the_scale_and_its_inverse_agree() {
        for hertz in [0.0, 1.0, 999.0, 1000.0, 1001.0, 8000.0] {
            assert!((mel_to_hertz(hertz_to_mel(hertz)) - hertz).abs() < 1e-9 * (1.0 + hertz));
        }
        assert!((hertz_to_mel(6400.0) - 42.0).abs() < 1e-12);
    }
}
