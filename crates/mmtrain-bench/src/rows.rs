//! The rows by name.

use std::io;

use mmtrain_model::config::TextConfig;
use mmtrain_model::quantized::Scheme;

use crate::jobs::{self, Job, smaller_text};
use crate::pairs::{self, Pairs};
use crate::product::{layer_both_ways, layers, layers_by_cublaslt, linear_product, product, square};
use crate::rates::Product;
use crate::shapes::{qwen2, qwen2_vl, smol};
use crate::{Place, Size, Workload, answering, kernels, pictures, saving, tower, training};

/// Which rows belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Measured where none is named.
    Usual,
    /// Kernels by themselves.
    Kernels,
    /// Sizes for which a GPU is needed.
    Gpu,
}

/// A workload that is asked for by its name.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The word that users type.
    pub name: &'static str,
    /// What is done in a step.
    pub about: &'static str,
    /// Where it belongs.
    pub set: Set,
    make: fn(&Place) -> io::Result<Workload>,
}

impl Row {
    /// All of them, in the order in which they are best read.
    pub const ALL: [Self; 45] = [
        usual("gemm", "the product of two matrices of 2,048 x 2,048", |place| Ok(product(square(2048), place))),
        usual("gemm_linear", "the same as a linear layer makes it, which is another product on a CPU", |place| {
            Ok(linear_product(square(2048), place))
        }),
        usual("gemm_256", "of 256 x 256, 512 times", |place| Ok(product(square(256), place))),
        usual("gemm_512", "of 512 x 512, 64 times", |place| Ok(product(square(512), place))),
        usual("gemm_1024", "of 1,024 x 1,024, 8 times", |place| Ok(product(square(1024), place))),
        usual("gemm_mlp", "a linear layer: 512 rows, 384 inputs, 1,536 outputs, 28 times", |place| {
            Ok(product(Product { rows: 512, inputs: 384, outputs: 1536 }, place))
        }),
        usual("decoder", "a decoder of 34 M trained whole: 4 rows of 256 tokens", |place| {
            trained(jobs::decoder(), place)
        }),
        usual("vit", "ViT-B/16 forward: 8 pictures", |place| Ok(tower::vit(place))),
        usual("vlm", "caption alignment: ViT-B/16 and a decoder of 135 M frozen; 4 rows of 196 + 60 tokens", |place| {
            trained(jobs::vlm(), place)
        }),
        usual("lora", "LoRA of rank 16 in a decoder of 135 M: 4 rows of 256 tokens, 64 of them learned", |place| {
            trained(jobs::lora(), place)
        }),
        usual(
            "dpo",
            "the decoder of 34 M: 4 pairs, prompts of 192 and answers of 64 tokens, the reference known",
            |place| preferred(pairs::dpo(), place),
        ),
        usual("prefill", "a prompt of 512 tokens read by the decoder of 135 M", |place| Ok(read(smol(), place))),
        usual("decode", "a token by the decoder of 135 M, behind 32 to 96", |place| Ok(told(smol(), None, place))),
        usual("prefill_qwen2", "a prompt of 512 tokens, of the size of Qwen2-0.5B", |place| Ok(read(qwen2(), place))),
        usual("decode_qwen2", "a token, of the size of Qwen2-0.5B", |place| Ok(told(qwen2(), None, place))),
        usual("pictures", "32 JPEG files of 640 x 480 made ready for a tower of 336 x 336, on all cores", |_| {
            Ok(pictures::pictures())
        }),
        usual(
            "checkpoint",
            "the decoder of 34 M with moments written, verified and read; a token is a megabyte",
            saving::checkpoint,
        ),
        kernel("kernel_rms_norm", "RMS norm, 1,024 x 576", |place| Ok(kernels::of_rms_norm(place))),
        kernel("kernel_layer_norm", "layer norm, 1,024 x 768", |place| Ok(kernels::of_layer_norm(place))),
        kernel("kernel_gated", "SwiGLU, 1,024 x 1,536", |place| Ok(kernels::of_gated(place))),
        kernel("kernel_activation", "GELU, 1,024 x 3,072", |place| Ok(kernels::of_activation(place))),
        kernel("kernel_linear", "a linear layer, 1,024 x 576 to 1,536", |place| Ok(kernels::of_linear(place))),
        kernel("kernel_gated_linear", "SwiGLU and the linear layer behind it, 1,024 x 1,536 to 576", |place| {
            Ok(kernels::of_gated_linear(place))
        }),
        kernel("kernel_by_table", "output projection by a table, 256 x 576 to 8,192", |place| {
            Ok(kernels::of_table(place))
        }),
        kernel("kernel_rope", "rotary positions, 1,024 x 9 x 64", |place| Ok(kernels::of_rope(place))),
        kernel("kernel_attention", "causal attention, 2 x 512, 9 heads of 64 to 3", |place| {
            Ok(kernels::of_attention(place))
        }),
        kernel("kernel_cross_entropy", "loss, 256 x 49,152", |place| Ok(kernels::of_cross_entropy(place))),
        kernel("kernel_adamw", "an update of 4,194,304 values; a token is a value", |place| {
            Ok(kernels::of_adamw(place))
        }),
        gpu("gemm_bf16", "a linear layer in bf16: 4,096 rows, 2,048 inputs, 8,192 outputs, 8 times", |place| {
            Ok(layers(place))
        }),
        gpu("gemm_bf16_cublaslt", "the same by cuBLASLt (docs/decisions/0015)", layers_by_cublaslt),
        gpu("linear_4096x11008", "a linear layer of 8,192 tokens and both its gradients", |place| {
            Ok(layer_both_ways([4096, 11008], place))
        }),
        gpu("linear_4096x4096", "a linear layer of 8,192 tokens and both its gradients", |place| {
            Ok(layer_both_ways([4096, 4096], place))
        }),
        gpu("linear_1536x8960", "a linear layer of 8,192 tokens and both its gradients", |place| {
            Ok(layer_both_ways([1536, 8960], place))
        }),
        gpu("linear_576x1536", "a linear layer of 8,192 tokens and both its gradients", |place| {
            Ok(layer_both_ways([576, 1536], place))
        }),
        gpu("attention_4096", "causal attention both ways, 32 heads of 128, a row of 4,096", |place| {
            Ok(kernels::of_long_attention(place))
        }),
        gpu("head_151936", "output projection and loss both ways, 2,048 tokens, 1,536 to 151,936", kernels::of_head),
        gpu("nanovlm", "nanoVLM of 222 M trained whole: 64 rows of 49 + 79 tokens", |place| {
            trained(jobs::nanovlm(), place)
        }),
        gpu("llava_align", "LLaVA-1.5-7B's first stage: 16 rows of 576 + 50 tokens, the connector trained", |place| {
            trained(jobs::llava_align(), place)
        }),
        gpu("lora_7b", "LoRA of rank 16 in a decoder of 7 B: a row of 4,096 tokens, 1,024 of them learned", |place| {
            trained(jobs::lora_7b(), place)
        }),
        gpu("qwen2_vl", "Qwen2-VL-2B, its tower frozen: 8 rows of 512 tokens with pictures of four sizes", |place| {
            trained(jobs::qwen2_vl_sft(), place)
        }),
        gpu("dpo_2b", "Qwen2-VL-2B's decoder: 8 pairs, prompts of 640 and answers of 100 tokens", |place| {
            preferred(pairs::dpo_2b(), place)
        }),
        gpu("dpo_7b", "the same with LoRA in a decoder of 7 B", |place| preferred(pairs::dpo_7b(), place)),
        gpu("decode_qwen2_vl", "a token by Qwen2-VL-2B's decoder", |place| Ok(told(text_of_qwen2_vl(), None, place))),
        gpu("decode_qwen2_vl_int8", "the same, its weights in 8 bits", |place| {
            Ok(told(text_of_qwen2_vl(), Some(Scheme::Int8), place))
        }),
        gpu("decode_qwen2_vl_nf4", "the same, its weights in 4 bits", |place| {
            Ok(told(text_of_qwen2_vl(), Some(Scheme::Nf4), place))
        }),
    ];

    /// Those of a set.
    pub fn of(set: Set) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |row| row.set == set)
    }

    /// The row of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.name == name)
    }

    pub(crate) fn workload(self, place: &Place) -> io::Result<Workload> {
        (self.make)(place)
    }
}

type Make = fn(&Place) -> io::Result<Workload>;

const fn usual(name: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, about, set: Set::Usual, make }
}

const fn kernel(name: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, about, set: Set::Kernels, make }
}

const fn gpu(name: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, about, set: Set::Gpu, make }
}

fn trained(job: Job, place: &Place) -> io::Result<Workload> {
    training::workload(&if place.size == Size::Small { job.in_small() } else { job }, place)
}

fn preferred(job: Pairs, place: &Place) -> io::Result<Workload> {
    pairs::workload(&if place.size == Size::Small { job.in_small() } else { job }, place)
}

fn sized(text: TextConfig, place: &Place) -> TextConfig {
    if place.size == Size::Small { smaller_text(text) } else { text }
}

fn read(text: TextConfig, place: &Place) -> Workload {
    answering::prefill(sized(text, place), place)
}

fn told(text: TextConfig, packed: Option<Scheme>, place: &Place) -> Workload {
    answering::decode(sized(text, place), packed, place)
}

/// With positions of text alone.
fn text_of_qwen2_vl() -> TextConfig {
    TextConfig { mrope_section: None, ..qwen2_vl() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_own() {
        for row in Row::ALL {
            assert_eq!(Row::from_name(row.name).map(|found| found.about), Some(row.about));
        }
        assert!(Row::from_name("gem").is_none());
    }
}
