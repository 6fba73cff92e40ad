//! CPU or GPU, chosen at run time.

#[cfg(feature = "cuda")]
mod cuda;

use burn::tensor::Device;

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
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| format!("`{index}` is no GPU number")),
            _ => Err("expected auto, cpu, cuda or cuda:N".to_owned()),
        }
    }
}

/// A device that answers.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Burn's handle.
    pub device: Device,
    /// `cpu` or `cuda:N`.
    pub name: String,
}

impl OpenDevice {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        self.device == Device::flex()
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
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
        }
    }
}

fn cpu() -> OpenDevice {
    OpenDevice { device: Device::flex(), name: "cpu".to_owned() }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{ModelError, OpenDevice};

    pub(super) fn count() -> usize {
        0
    }

    pub(super) fn open(index: usize) -> Result<OpenDevice, ModelError> {
        Err(ModelError::Device {
            message: format!("cuda:{index} was asked for, but this binary was built for the CPU only"),
            hint: "build with `cargo build --release --features cuda`, or pass `--device cpu`".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_from_text() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
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
    }
}
