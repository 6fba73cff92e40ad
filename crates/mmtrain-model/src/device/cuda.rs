//! GPUs of CUDA.

use burn::tensor::{Device, DeviceType};

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cudarc::driver::CudaContext;

use super::{DeviceMemory, ModelError, OpenDevice, compute};

/// Names a directory for compiled kernels and for what tuning chose.
const CACHE: &str = "MMTRAIN_KERNEL_CACHE";

/// GPUs that the driver shows; none without a driver.
pub(super) fn count() -> usize {
    remember_kernels();
    Device::enumerate(DeviceType::Cuda).len()
}

/// Probes before touching: without a driver the first use of `Device::cuda` panics, and so does the
/// first kernel without NVRTC or the CUDA headers.
pub(super) fn open(index: usize) -> Result<OpenDevice, ModelError> {
    remember_kernels();
    let found = Device::enumerate(DeviceType::Cuda);
    let Some(device) = found.get(index) else {
        return Err(ModelError::Device {
            message: format!("cuda:{index} was asked for, {} CUDA device(s) answer", found.len()),
            hint: "check the driver with `nvidia-smi`, or pass `--device cpu`".to_owned(),
        });
    };
    match compute(device) {
        Ok(()) => Ok(OpenDevice { device: device.clone(), name: format!("cuda:{index}") }),
        Err(reason) => Err(ModelError::Device {
            message: format!("cuda:{index} answers, but a first kernel could not be compiled and run ({reason})"),
            hint: "kernels are compiled at run time: put libnvrtc.so (CUDA 12.8 or newer, not newer than the \
                   driver) on the loader's path and the CUDA headers under CUDA_PATH or /usr/local/cuda"
                .to_owned(),
        }),
    }
}

/// What the driver says, which counts GPUs as Burn does.
pub(super) fn memory(device: &Device) -> Option<DeviceMemory> {
    let index = Device::enumerate(DeviceType::Cuda).iter().position(|found| found == device)?;
    let (free, total) = CudaContext::new(index).ok()?.mem_get_info().ok()?;
    Some(DeviceMemory { free: free as u64, total: total as u64 })
}

/// What was compiled and tuned once is there at the next start, in the directory that [`CACHE`] names or else in the user's cache;
/// the directory can be copied to another machine with the same GPU and driver. A `cubecl.toml` that names a place has its way.
///
/// Has no effect once a device was touched.
fn remember_kernels() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    if matches!(config.environment.path, CacheConfig::Target) {
        let named = std::env::var_os(CACHE).filter(|directory| !directory.is_empty());
        config.environment.path =
            named.map_or(CacheConfig::Global, |directory| CacheConfig::Directory(directory.into()));
    }
    CubeClRuntimeConfig::try_set(config);
}
