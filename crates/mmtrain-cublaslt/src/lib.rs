//! Products of matrices by NVIDIA's cuBLASLt on tensors of Burn's: a spike, to know what they would bring (`docs/decisions/0015`).
//!
//! Nothing trains through it: `mmtrain bench gemm_bf16` and `gemm_bf16_cublaslt` measure it beside Burn's product.

#[cfg(feature = "cuda")]
mod products;
#[cfg(not(feature = "cuda"))]
#[path = "without.rs"]
mod products;

pub use products::{Error, Products};
