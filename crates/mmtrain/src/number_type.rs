//! `--weights`: whether two-byte weights are widened when they are loaded, or block by block when they are used.

use burn::tensor::{DType, Device};
use clap::ValueEnum;
use mmtrain_config::{Precision, RunConfig};
use mmtrain_model::Vlm;
use mmtrain_model::device::{DeviceMemory, OpenDevice, prefers_bf16};
use mmtrain_model::params::{Part, Tuned};
use mmtrain_model::weights::LoadDtype;
use mmtrain_train::memory::available_bytes;
use mmtrain_train::trainer::{part_config, trained};

use crate::fail::Refusal;
use crate::sizes::gibibytes;

/// In which number type weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum WeightsChoice {
    /// As f32 where that takes at most half of the available memory, else as stored; on a GPU that computes in bf16 as stored. What is stored packed
    /// stays so.
    #[default]
    Auto,
    /// All as f32: the fastest.
    F32,
    /// Bf16 and f16 as they are; on a CPU every block is widened when it runs, a GPU computes in them.
    Stored,
}

/// In which type the blocks of a run compute; what is trained is f32 all the same.
pub(crate) fn computed_in(config: &RunConfig, device: &Device) -> DType {
    match config.train.precision {
        Precision::F32 => DType::F32,
        Precision::Auto if !prefers_bf16(device) => DType::F32,
        Precision::Bf16 | Precision::Auto => DType::BF16,
    }
}

/// Refuses a type in which the device does not compute.
pub(crate) fn check_precision(config: &RunConfig, device: &OpenDevice) -> Result<(), Refusal> {
    if config.train.precision == Precision::Bf16 && !holds_16_bits(&device.device) {
        let message = format!("`train.precision` is \"bf16\", and {} does not compute in it", device.name);
        return Err(Refusal::usage(message, "`train.precision = \"auto\"` takes f32 there"));
    }
    Ok(())
}

/// Whether weights can be held in 16 bits on a device. Where it does not compute in them, what it makes of them is wrong without a word.
pub(crate) fn holds_16_bits(device: &Device) -> bool {
    *device == Device::flex() || prefers_bf16(device)
}

/// How a run holds a part: packed where its configuration says so; what is trained is f32. What is frozen, also beside adapters, is as
/// stored where blocks compute in bf16: cast there, it is the same. Where they compute in f32, only a frozen encoder is: through connector and
/// decoder pass gradients, whose tapes would hold f32 beside what is stored.
pub(crate) fn in_training(config: &RunConfig, part: Part, device: &Device) -> LoadDtype {
    if let Some(scheme) = part_config(config, part).tuning.quantization() {
        return LoadDtype::Packed(scheme);
    }
    if !holds_16_bits(device) {
        return LoadDtype::F32;
    }
    let stays = match trained(config).part(part) {
        Tuned::Frozen => part == Part::Encoder || computed_in(config, device) == DType::BF16,
        Tuned::Adapters => computed_in(config, device) == DType::BF16,
        Tuned::Full | Tuned::From(_) => false,
    };
    if stays { LoadDtype::AsStored } else { LoadDtype::F32 }
}

/// The model with one part held so: what was made from a seed or merged is dense until then.
pub(crate) fn held(model: Vlm, part: Part, dtype: LoadDtype) -> Vlm {
    match dtype {
        LoadDtype::Packed(scheme) => model.packed(part, scheme),
        LoadDtype::F32 | LoadDtype::AsStored | LoadDtype::KeptPacked => model,
    }
}

/// Memory that weights take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// As f32.
    pub(crate) wide: u64,
    /// As stored.
    pub(crate) stored: u64,
    /// As f32, but for what is stored packed, which stays so; none where nothing is.
    pub(crate) packed: Option<u64>,
}

/// What is done, and a line about it where there was a choice.
pub(crate) type Decision = (LoadDtype, Option<String>);

impl WeightsChoice {
    /// Decides for this machine. A GPU computes in the type in which weights are held.
    pub(crate) fn decide(self, sizes: Sizes, device: &Device) -> Result<Decision, Refusal> {
        if *device == Device::flex() {
            return self.decide_within(sizes, available_bytes());
        }
        if self == Self::Stored && !holds_16_bits(device) {
            return Err(Refusal::usage(
                "this device does not compute in bf16, and weights in 16 bits are widened on it",
                "take `--weights f32`",
            ));
        }
        let available = DeviceMemory::of(device).map_or(u64::MAX, |memory| memory.free);
        self.of_gpu(sizes, prefers_bf16(device)).decide_within(sizes, available)
    }

    fn of_gpu(self, sizes: Sizes, computes_in_16_bits: bool) -> Self {
        match self {
            Self::Auto if sizes.packed.is_none() && computes_in_16_bits => Self::Stored,
            Self::Auto if sizes.packed.is_none() => Self::F32,
            _ => self,
        }
    }

    fn decide_within(self, sizes: Sizes, available: u64) -> Result<Decision, Refusal> {
        let fits_twice = sizes.wide <= available / 2;
        let dtype = match (self, sizes.packed) {
            (Self::Auto, Some(packed)) if packed <= available => LoadDtype::KeptPacked,
            _ => self.of_dense(sizes, fits_twice),
        };
        let needed = needed(sizes, dtype);
        if needed > available {
            return Err(refusal(sizes, dtype, available));
        }
        Ok((dtype, (sizes.wide != sizes.stored).then(|| line(sizes, dtype, available))))
    }

    fn of_dense(self, sizes: Sizes, fits_twice: bool) -> LoadDtype {
        match self {
            Self::F32 => LoadDtype::F32,
            Self::Auto if fits_twice || sizes.wide == sizes.stored => LoadDtype::F32,
            Self::Auto | Self::Stored => LoadDtype::AsStored,
        }
    }
}

fn needed(sizes: Sizes, dtype: LoadDtype) -> u64 {
    match (dtype, sizes.packed) {
        (LoadDtype::F32, _) => sizes.wide,
        (LoadDtype::KeptPacked, Some(packed)) => packed,
        _ => sizes.stored,
    }
}

fn line(sizes: Sizes, dtype: LoadDtype, available: u64) -> String {
    let (wide, stored) = (gibibytes(sizes.wide), gibibytes(sizes.stored));
    let available =
        if available == u64::MAX { String::new() } else { format!(" of {} available", gibibytes(available)) };
    match dtype {
        LoadDtype::F32 => format!("weights: widened to f32, {wide}{available} ({stored} as stored)"),
        LoadDtype::KeptPacked => {
            format!("weights: packed as stored, {}{available} ({wide} as f32)", gibibytes(needed(sizes, dtype)))
        }
        LoadDtype::AsStored | LoadDtype::Packed(_) => {
            let computed = if available.is_empty() { "computed in" } else { "widened block by block" };
            format!("weights: kept as stored, {stored}{available} ({wide} as f32), and {computed}")
        }
    }
}

fn refusal(sizes: Sizes, dtype: LoadDtype, available: u64) -> Refusal {
    let needed = needed(sizes, dtype);
    let hint = if dtype == LoadDtype::F32 && sizes.stored <= available {
        format!("`--weights stored` takes {}", gibibytes(sizes.stored))
    } else {
        "take a smaller model, end what else holds memory, or use a larger machine".to_owned()
    };
    let message =
        format!("the weights need {}, and {} of memory are available", gibibytes(needed), gibibytes(available));
    Refusal::usage(message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVES: Sizes = Sizes { wide: 8 << 30, stored: 4 << 30, packed: None };
    const F32: Sizes = Sizes { wide: 8 << 30, stored: 8 << 30, packed: None };

    #[test]
    fn auto_widens_where_as_much_again_stays_free() {
        let auto = |sizes, available: u64| WeightsChoice::Auto.decide_within(sizes, available << 30);
        let (dtype, line) = auto(HALVES, 16).expect("fits");
        assert_eq!(dtype, LoadDtype::F32);
        assert!(line.expect("a choice").contains("widened to f32, 8.0 GiB of 16.0 GiB available (4.0 GiB as stored)"));
        let (dtype, line) = auto(HALVES, 15).expect("fits");
        assert_eq!(dtype, LoadDtype::AsStored);
        assert!(line.expect("a choice").contains("kept as stored, 4.0 GiB of 15.0 GiB"));
        // f32 files leave nothing to choose.
        assert_eq!(auto(F32, 9).expect("fits"), (LoadDtype::F32, None));
    }

    #[test]
    fn a_gpu_computes_in_what_is_stored_unless_f32_is_asked_for() {
        let packed = Sizes { packed: Some(3 << 30), ..HALVES };
        for (choice, sizes, found) in [
            (WeightsChoice::Auto, HALVES, WeightsChoice::Stored),
            (WeightsChoice::F32, HALVES, WeightsChoice::F32),
            (WeightsChoice::Auto, packed, WeightsChoice::Auto),
        ] {
            assert_eq!(choice.of_gpu(sizes, true), found);
        }
        assert_eq!(
            WeightsChoice::Auto.of_gpu(HALVES, false),
            WeightsChoice::F32,
            "one that does not compute in 16 bits"
        );
        let (dtype, line) = WeightsChoice::Stored.decide_within(HALVES, u64::MAX).expect("fits");
        assert_eq!(dtype, LoadDtype::AsStored);
        assert_eq!(line.as_deref(), Some("weights: kept as stored, 4.0 GiB (8.0 GiB as f32), and computed in"));
    }

    #[test]
    fn what_is_packed_stays_so_unless_f32_is_asked_for() {
        let sizes = Sizes { wide: 8 << 30, stored: 2 << 30, packed: Some(3 << 30) };
        let decide = |choice: WeightsChoice, available: u64| {
            let (dtype, line) = choice.decide_within(sizes, available << 30).expect("fits");
            (dtype, line.expect("a choice"))
        };
        let (dtype, line) = decide(WeightsChoice::Auto, 64);
        assert_eq!(dtype, LoadDtype::KeptPacked);
        assert!(line.contains("packed as stored, 3.0 GiB of 64.0 GiB available (8.0 GiB as f32)"), "{line}");
        assert_eq!(decide(WeightsChoice::F32, 64).0, LoadDtype::F32);
        assert_eq!(decide(WeightsChoice::Stored, 64).0, LoadDtype::AsStored);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers_and_the_way_out() {
        let refused = WeightsChoice::F32.decide_within(HALVES, 7 << 30).expect_err("too much");
        assert_eq!(refused.message, "the weights need 8.0 GiB, and 7.0 GiB of memory are available");
        assert_eq!(refused.hint.as_deref(), Some("`--weights stored` takes 4.0 GiB"));
        let refused = WeightsChoice::Auto.decide_within(HALVES, 3 << 30).expect_err("too much");
        assert_eq!(refused.message, "the weights need 4.0 GiB, and 3.0 GiB of memory are available");
        assert!(WeightsChoice::Auto.decide_within(F32, 7 << 30).is_err());
        let (dtype, _) = WeightsChoice::Stored.decide_within(HALVES, u64::MAX).expect("fits");
        assert_eq!(dtype, LoadDtype::AsStored);
    }
}
