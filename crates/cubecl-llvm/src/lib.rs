//! Stand-in for the crate `cubecl-llvm` 0.11.3 that needs no LLVM.
//!
//! `cubecl-cuda` can turn a kernel into GPU code in two ways: CUDA C++ through NVRTC, or PTX
//! through LLVM. It always compiles both in and depends on `cubecl-llvm` without a switch, and
//! the build script of the real crate downloads LLVM 23.1. mmtrain uses the first way only
//! (cargo feature `cubecl/cuda-cpp`), so `[patch.crates-io]` in the root manifest puts this
//! crate in the place of the real one.
//!
//! It holds exactly the names that `cubecl-cuda` 0.11.3 writes down, and makes the second way
//! impossible instead of pretending: `shared::NvptxModule` and `nvptx::ptx_version::PtxVersion`
//! have no values, and `shared::PlironCompiler` answers every kernel with an error. A build in
//! which `cubecl/cuda-cpp` was forgotten therefore fails at its first kernel and says why.
//!
//! Everything sits behind the feature `nvptx`, which `cubecl-cuda` asks for: without CUDA this
//! crate is empty and pulls in nothing.
//!
//! When `cubecl` is bumped, compare this crate with the uses of `cubecl_llvm` in the new
//! `cubecl-cuda`; a name that is missing here is a compile error there. It does not serve
//! `cubecl-cpu` or `cubecl-hip`. See `docs/decisions/0004-llvm-stand-in.md`.

#[cfg(feature = "nvptx")]
pub mod nvptx;
#[cfg(feature = "nvptx")]
pub mod shared;

#[cfg(feature = "nvptx")]
pub use shared::{LlvmTarget, NvptxModule, PlironArtifact, PlironCompiler, PlironOptions};
