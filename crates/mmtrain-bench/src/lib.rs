//! Workloads of fixed shapes with random weights and inputs, and how long they take.
//!
//! Each [`Row`] is what a training run or an answer does, through the same code, without data and files around it. Its shapes
//! are those of `scripts/bench/peer.py`, which does the same with PyTorch; `scripts/bench/compare.sh` runs both in turn.

mod answering;
mod kernels;
mod pairs;
mod pictures;
mod product;
pub mod rates;
mod saving;
mod shapes;
mod tower;
mod training;

use std::time::Instant;

use burn::tensor::Device;
use mmtrain_train::memory::peak_bytes;

use crate::product::{layers, layers_by_cublaslt, product, square};
use crate::rates::Product;
use crate::shapes::{qwen2, smol};

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A decoder of 34 M parameters trained whole: 4 rows of 256 tokens.
    Decoder,
    /// ViT-B/16 forward: 8 pictures.
    Vit,
    /// Caption alignment: ViT-B/16 and a decoder of 135 M frozen, the connector trained; 4 rows of 196 + 60 tokens.
    Vlm,
    /// LoRA of rank 16 in a decoder of 135 M: 4 rows of 256 tokens, a quarter of them learned.
    Lora,
    /// DPO of the decoder of 34 M: 4 pairs with prompts of 192 and answers of 64 tokens, the reference known.
    Dpo,
    /// Tokens one after the other by the decoder of 135 M, behind a prompt of 32; a step is a token.
    Decode,
    /// A prompt of 512 tokens read by the decoder of 135 M.
    Prefill,
    /// As [`Decode`](Self::Decode), by a decoder of the size of Qwen2-0.5B.
    DecodeQwen2,
    /// As [`Prefill`](Self::Prefill), by that one.
    PrefillQwen2,
    /// The device's product of two matrices of 2048 x 2048.
    Gemm,
    /// Of 256 x 256, 512 times in a step.
    Gemm256,
    /// Of 512 x 512, 64 times.
    Gemm512,
    /// Of 1024 x 1024, 8 times.
    Gemm1024,
    /// A linear layer of a small model: 512 rows, 384 inputs, 1,536 outputs, 28 times.
    GemmMlp,
    /// For GPUs: a linear layer of a large model in bf16, 4,096 rows, 2,048 inputs, 8,192 outputs, 8 times.
    GemmBf16,
    /// The same by cuBLASLt (`docs/decisions/0015`).
    GemmBf16Cublaslt,
    /// A kernel by itself, forward and backward: RMS norm.
    KernelRmsNorm,
    /// Layer norm.
    KernelLayerNorm,
    /// SwiGLU.
    KernelGated,
    /// Rotary positions.
    KernelRope,
    /// Attention.
    KernelAttention,
    /// Loss of the next token.
    KernelCrossEntropy,
    /// Update of AdamW; a token is a value.
    KernelAdamw,
    /// JPEG files of 640 x 480 made ready for a tower of 336 x 336, on all cores; no operations are counted.
    Pictures,
    /// A checkpoint of the decoder of 34 M, trained whole, written, verified and read again; a token is a megabyte.
    Checkpoint,
}

impl Row {
    /// Those for GPUs.
    pub const OF_GPUS: [Self; 2] = [Self::GemmBf16, Self::GemmBf16Cublaslt];

    /// Kernels by themselves.
    pub const OF_KERNELS: [Self; 7] = [
        Self::KernelRmsNorm,
        Self::KernelLayerNorm,
        Self::KernelGated,
        Self::KernelRope,
        Self::KernelAttention,
        Self::KernelCrossEntropy,
        Self::KernelAdamw,
    ];

    /// All that can be asked for by name.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::OF_KERNELS).chain(Self::OF_GPUS)
    }

    /// Those that are measured where none is named, in the order in which they are best read.
    pub const ALL: [Self; 16] = [
        Self::Gemm,
        Self::Gemm256,
        Self::Gemm512,
        Self::Gemm1024,
        Self::GemmMlp,
        Self::Decoder,
        Self::Vit,
        Self::Vlm,
        Self::Lora,
        Self::Dpo,
        Self::Prefill,
        Self::Decode,
        Self::PrefillQwen2,
        Self::DecodeQwen2,
        Self::Pictures,
        Self::Checkpoint,
    ];

    /// The word that users type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Vit => "vit",
            Self::Vlm => "vlm",
            Self::Lora => "lora",
            Self::Dpo => "dpo",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::DecodeQwen2 => "decode_qwen2",
            Self::PrefillQwen2 => "prefill_qwen2",
            Self::Gemm => "gemm",
            Self::Gemm256 => "gemm_256",
            Self::Gemm512 => "gemm_512",
            Self::Gemm1024 => "gemm_1024",
            Self::GemmMlp => "gemm_mlp",
            Self::GemmBf16 => "gemm_bf16",
            Self::GemmBf16Cublaslt => "gemm_bf16_cublaslt",
            Self::KernelRmsNorm => "kernel_rms_norm",
            Self::KernelLayerNorm => "kernel_layer_norm",
            Self::KernelGated => "kernel_gated",
            Self::KernelRope => "kernel_rope",
            Self::KernelAttention => "kernel_attention",
            Self::KernelCrossEntropy => "kernel_cross_entropy",
            Self::KernelAdamw => "kernel_adamw",
            Self::Pictures => "pictures",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// The workload of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::every().find(|row| row.name() == name)
    }

    fn workload(self, device: &Device, ranks: usize) -> std::io::Result<Workload> {
        Ok(match self {
            Self::Decoder => training::decoder(device, ranks)?,
            Self::Vit => tower::vit(device),
            Self::Vlm => training::vlm(device, ranks)?,
            Self::Lora => training::lora(device, ranks)?,
            Self::Dpo => pairs::dpo(device, ranks)?,
            Self::Decode => answering::decode(smol(), device),
            Self::Prefill => answering::prefill(smol(), device),
            Self::DecodeQwen2 => answering::decode(qwen2(), device),
            Self::PrefillQwen2 => answering::prefill(qwen2(), device),
            Self::Gemm => product(square(2048), device),
            Self::Gemm256 => product(square(256), device),
            Self::Gemm512 => product(square(512), device),
            Self::Gemm1024 => product(square(1024), device),
            Self::GemmMlp => product(Product { rows: 512, inputs: 384, outputs: 1536 }, device),
            Self::GemmBf16 => layers(device),
            Self::GemmBf16Cublaslt => layers_by_cublaslt(device)?,
            Self::KernelRmsNorm => kernels::of_rms_norm(device),
            Self::KernelLayerNorm => kernels::of_layer_norm(device),
            Self::KernelGated => kernels::of_gated(device),
            Self::KernelRope => kernels::of_rope(device),
            Self::KernelAttention => kernels::of_attention(device),
            Self::KernelCrossEntropy => kernels::of_cross_entropy(device),
            Self::KernelAdamw => kernels::of_adamw(device),
            Self::Pictures => pictures::pictures(),
            Self::Checkpoint => saving::checkpoint(device)?,
        })
    }
}

/// Something that can be done again and again.
struct Workload {
    /// Once; it ends when the device is through with it.
    step: Box<dyn FnMut()>,
    /// Tokens of a step; pictures, where there are only those.
    tokens: f64,
    /// Floating-point operations of a step, as the shapes need them.
    flops: f64,
}

/// How long a workload took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was measured.
    pub row: Row,
    /// Of each step.
    pub seconds: Vec<f64>,
    /// Tokens of a step.
    pub tokens: f64,
    /// Floating-point operations of a step.
    pub flops: f64,
    /// Highest resident memory of the process.
    pub peak_bytes: u64,
}

impl Measured {
    /// The middle one of the steps, in seconds.
    pub fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Tokens a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens / self.median()
    }

    /// 10⁹ floating-point operations a second.
    pub fn gflops(&self) -> f64 {
        self.flops / self.median() / 1e9
    }
}

/// Runs a workload `steps` times after `warmup` times that do not count. Peak memory is that of the process, so a figure for
/// it wants a process for each row.
///
/// # Errors
///
/// If the threads of the ranks cannot be had, or nothing can be written among the temporary files.
pub fn measure(row: Row, device: &Device, ranks: usize, warmup: usize, steps: usize) -> std::io::Result<Measured> {
    let Workload { mut step, tokens, flops } = row.workload(device, ranks)?;
    (0..warmup).for_each(|_| step());
    let mut timed = || {
        let start = Instant::now();
        step();
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..steps).map(|_| timed()).collect();
    Ok(Measured { row, seconds, tokens, flops, peak_bytes: peak_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for row in Row::every() {
            assert_eq!(Row::from_name(row.name()), Some(row));
        }
        assert_eq!(Row::from_name("gem"), None);
    }

    #[test]
    fn a_product_is_measured() {
        let measured = measure(Row::Gemm, &Device::flex(), 1, 0, 3).expect("no threads are needed");
        assert_eq!(measured.seconds.len(), 3);
        assert!(measured.gflops() > 0.0 && measured.peak_bytes > 0);
    }

    #[test]
    fn every_kernel_runs_both_ways() {
        for row in Row::OF_KERNELS {
            let measured = measure(row, &Device::flex(), 1, 0, 1).expect("nothing can be lacking");
            assert!(measured.tokens_per_second() > 0.0, "{}", row.name());
        }
    }

    #[test]
    fn a_library_of_gpus_takes_nothing_of_a_cpu() {
        let error = measure(Row::GemmBf16Cublaslt, &Device::flex(), 1, 0, 1).expect_err("no CUDA memory");
        assert!(error.to_string().contains("CUDA"), "{error}");
    }
}
