//! CPU or GPU, chosen at run time.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "wgpu")]
mod wgpu;

use burn::tensor::{DType, Device};

use crate::error::ModelError;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU if one answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that index.
    Cuda(usize),
    /// The GPU that wgpu takes.
    Wgpu,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            None if text == "wgpu" => Ok(Self::Wgpu),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| format!("`{index}` is no GPU number")),
            _ => Err("expected auto, cpu, cuda, cuda:N or wgpu".to_owned()),
        }
    }
}

/// A device that answers.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Burn's handle.
    pub device: Device,
    /// `cpu`, `cuda:N` or `wgpu`.
    pub name: String,
}

impl OpenDevice {
    /// What a GPU calls itself, such as `NVIDIA H200`.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub fn product(&self) -> Option<String> {
        if self.is_cpu() { None } else { self.device.identity().map(|identity| identity.name) }
    }

    /// What a GPU calls itself; this program was built for none.
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    pub const fn product(&self) -> Option<String> {
        None
    }

    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        self.device == Device::flex()
    }
}

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct DeviceMemory {
    /// What can be had, by this process or another one.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl DeviceMemory {
    /// What the driver says of a GPU now; nothing of a CPU, whose memory is the host's, nor of what is there by way of wgpu.
    pub fn of(device: &Device) -> Option<Self> {
        if *device == Device::flex() { None } else { cuda::memory(device) }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu => f.write_str("wgpu"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device, or says why it cannot be had.
    pub fn open(self) -> Result<OpenDevice, ModelError> {
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Auto if cuda::count() == 0 => Ok(cpu()),
            Self::Auto => cuda::open(0),
            Self::Cuda(index) => cuda::open(index),
            Self::Wgpu => wgpu::open(),
        }
    }
}

/// Whether a device is to compute in bf16 where nothing else is asked for: a GPU that can. Those before Ampere cannot, nor does wgpu, and
/// a CPU is slower in it than in f32.
pub fn prefers_bf16(device: &Device) -> bool {
    *device != Device::flex() && device.supports_dtype(DType::BF16)
}

fn cpu() -> OpenDevice {
    OpenDevice { device: Device::flex(), name: "cpu".to_owned() }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Device, DeviceMemory, ModelError, OpenDevice};

    pub(super) fn count() -> usize {
        0
    }

    pub(super) fn open(index: usize) -> Result<OpenDevice, ModelError> {
        Err(ModelError::Device {
            message: format!("cuda:{index} was asked for, but this binary was built for the CPU only"),
            hint: "build with `cargo build --release --features cuda`, or pass `--device cpu`".to_owned(),
        })
    }

    pub(super) fn memory(_: &Device) -> Option<DeviceMemory> {
        None
    }
}

#[cfg(not(feature = "wgpu"))]
mod wgpu {
    use super::{ModelError, OpenDevice};

    pub(super) fn open() -> Result<OpenDevice, ModelError> {
        Err(ModelError::Device {
            message: "wgpu was asked for, but this binary was built without it".to_owned(),
            hint: "build with `cargo build --release --features wgpu`, or pass `--device cpu`".to_owned(),
        })
    }
}

/// Whether a small computation comes out right, or why it does not. A device that is not there panics, in whichever thread: nothing of
/// that is printed, and what was said first is the reason.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn compute(device: &Device) -> Result<(), String> {
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, OnceLock};

    use burn::tensor::Tensor;

    let (device, first) = (device.clone(), Arc::new(OnceLock::new()));
    let (before, said) = (take_hook(), first.clone());
    set_hook(Box::new(move |panic| drop(said.set(panic.payload_as_str().unwrap_or("no reason given").to_owned()))));
    let sum = catch_unwind(move || Tensor::<1>::ones([8], &device).exp().sum().into_scalar::<f32>());
    set_hook(before);
    match sum {
        Ok(sum) if (sum - 8.0 * std::f32::consts::E).abs() < 1e-3 => Ok(()),
        Ok(sum) => Err(format!("it makes {sum} of 8 e")),
        Err(_) => Err(first.get().map_or("no reason given", String::as_str).replace('\n', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_from_text() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3), DeviceChoice::Wgpu] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
        assert!("tpu".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_auto_falls_back() {
        if DeviceChoice::Cuda(0).open().is_err() {
            assert_eq!(DeviceChoice::Auto.open().expect("falls back").name, "cpu");
        }
        assert!(DeviceChoice::Cuda(4096).open().is_err());
        if cfg!(not(feature = "wgpu")) {
            let error = DeviceChoice::Wgpu.open().expect_err("it is not built in").to_string();
            assert!(error.contains("built without it"), "{error}");
        }
        assert!(!prefers_bf16(&Device::flex()));
    }
}
