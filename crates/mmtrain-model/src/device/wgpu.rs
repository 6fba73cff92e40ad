//! GPUs by way of Vulkan, Metal or `DirectX`, and drivers of Vulkan in software.

use burn::tensor::{Device, DeviceKind};

use super::{ModelError, OpenDevice, compute};

/// The GPU that wgpu takes for the strongest, or the one that `CUBECL_WGPU_DEFAULT_DEVICE` names.
pub(super) fn open() -> Result<OpenDevice, ModelError> {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let Err(reason) = compute(&device) else { return Ok(OpenDevice { device, name: "wgpu".to_owned() }) };
    Err(ModelError::Device {
        message: format!("wgpu was asked for, and no GPU computes ({reason})"),
        hint: "see that `vulkaninfo --summary` lists a device, name one in CUBECL_WGPU_DEFAULT_DEVICE (such as `DiscreteGpu(0)`), \
               or pass `--device cpu`"
            .to_owned(),
    })
}
