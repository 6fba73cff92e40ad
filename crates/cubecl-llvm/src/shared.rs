//! The compiler that refuses, and the types around it that `cubecl-cuda` names.

use core::convert::Infallible;
use core::ffi::c_char;
use core::fmt;

use cubecl_environment::backtrace::BackTrace;
use cubecl_ir::nvidia::SmArch;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::{BufferIOAttr, KernelDefinition};

use crate::nvptx::ptx_version::PtxVersion;

/// What every kernel is answered with.
const NO_LLVM: &str = "this build has no LLVM; CUDA C++ through NVRTC is used \
    (build with the cargo feature `cubecl/cuda-cpp`, as mmtrain's feature `cuda` does)";

/// What LLVM would emit code for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA PTX.
    #[default]
    Nvptx,
}

/// Options of a compilation, with the fields that `cubecl-cuda` fills in. None is read.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Architecture of an AMD GPU: never any here.
    pub arch: Option<Infallible>,
    /// Compute capability of the NVIDIA GPU.
    pub sm_arch: Option<SmArch>,
    /// PTX version to emit: never any here.
    pub ptx_version: Option<PtxVersion>,
    /// Whether scalars and metadata travel in the kernel's parameter block.
    pub grid_constants: bool,
}

/// PTX compiled by LLVM. It cannot be built: `_never` has no values.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX assembly, NUL-terminated.
    pub ptx: Vec<c_char>,
    /// LLVM IR for logging.
    pub ir: String,
    /// Shared memory that a launch reserves, in bytes.
    pub shared_memory_size: usize,
    /// What the kernel does with each buffer, in binding order.
    pub io: Vec<BufferIOAttr>,
    _never: Infallible,
}

/// A compiled kernel: only ever an [`NvptxModule`], hence never anything.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// PTX for an NVIDIA GPU.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        f.write_str(&module.ir)
    }
}

/// The LLVM compiler of a build without LLVM: it refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What to compile for.
    pub target: LlvmTarget,
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic { reason: NO_LLVM.to_owned(), backtrace: BackTrace::capture() })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

pub mod lowered_features {
    //! What a device may advertise when LLVM compiles for it.

    use cubecl_ir::DeviceProperties;

    /// The kind of GPU whose features are narrowed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum GpuTarget {
        /// NVIDIA PTX.
        Nvptx,
    }

    /// Narrows nothing. `cubecl-cuda` asks for this only when LLVM is its code generator, and
    /// then every kernel is refused, so no feature that is left standing can be relied on.
    pub fn restrict_features(_props: &mut DeviceProperties, _target: GpuTarget) {}
}

#[cfg(test)]
mod tests {
    use cubecl_ir::metadata::Info;
    use cubecl_ir::settings::{Dim3, ExecutionMode, KernelSettings};
    use cubecl_ir::{AddressType, Scope};

    use super::*;

    #[test]
    fn every_kernel_is_refused_with_the_way_out() {
        let settings = KernelSettings::new(Dim3::new_single(), ExecutionMode::default(), AddressType::default());
        let kernel = KernelDefinition { body: Scope::root(settings.clone()), info: Info::default(), settings };
        let refused = PlironCompiler::default().compile(kernel, &PlironOptions::default());
        let message = refused.expect_err("there is no LLVM").to_string();
        assert!(message.contains("this build has no LLVM"), "{message}");
        assert!(message.contains("cubecl/cuda-cpp"), "{message}");
    }
}
