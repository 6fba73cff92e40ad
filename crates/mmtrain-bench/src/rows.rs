//! The rows by name.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::{fmt, io};

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
    make: Make,
}

/// How a row is made.
#[derive(Debug, Clone, Copy)]
enum Make {
    /// It has one size.
    Fixed(fn(&Place) -> io::Result<Workload>),
    /// A step has so many of something.
    Many(Amount, fn(usize, &Place) -> io::Result<Workload>),
}

/// How many of something a step has.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Of what: `rows`, `tokens`, ….
    pub what: &'static str,
    /// Where nothing else is asked for.
    pub usual: usize,
    asked: Option<NonZeroUsize>,
}

/// Why a row is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// No row has this name.
    #[error("no row `{0}`")]
    Unknown(String),
    /// A number behind the name of a row of one size.
    #[error("row `{0}` has one size, and takes no number")]
    Fixed(&'static str),
    /// What stands behind the name.
    #[error("`{found}` behind row `{row}` is no number of {what}")]
    Amount {
        /// The row.
        row: &'static str,
        /// What stands there.
        found: String,
        /// Of what it is to be a number.
        what: &'static str,
    },
}

impl FromStr for Row {
    type Err = RowError;

    /// `decoder`, or `decoder:16` for another number of rows.
    fn from_str(text: &str) -> Result<Self, RowError> {
        let (name, asked) = text.split_once(':').map_or((text, None), |(name, asked)| (name, Some(asked)));
        let row = Self::ALL.into_iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| RowError::Unknown(name.to_owned()))?;
        match (asked, row.make) {
            (None, _) => Ok(row),
            (Some(_), Make::Fixed(_)) => Err(RowError::Fixed(row.name)),
            (Some(found), Make::Many(amount, make)) => {
                let unfit = |_| RowError::Amount { row: row.name, found: found.to_owned(), what: amount.what };
                let asked = Some(found.parse().map_err(unfit)?);
                Ok(Self { make: Make::Many(Amount { asked, ..amount }, make), ..row })
            }
        }
    }
}

impl Row {
    /// All of them, in the order in which they are best read.
    pub const ALL: [Self; 46] = [
        usual("gemm", "the product of two matrices of 2,048 x 2,048", fixed(|place| Ok(product(square(2048), place)))),
        usual(
            "gemm_linear",
            "the same as a linear layer makes it, which is another product on a CPU",
            fixed(|place| Ok(linear_product(square(2048), place))),
        ),
        usual("gemm_256", "of 256 x 256, 512 times", fixed(|place| Ok(product(square(256), place)))),
        usual("gemm_512", "of 512 x 512, 64 times", fixed(|place| Ok(product(square(512), place)))),
        usual("gemm_1024", "of 1,024 x 1,024, 8 times", fixed(|place| Ok(product(square(1024), place)))),
        usual(
            "gemm_mlp",
            "a linear layer: 512 rows, 384 inputs, 1,536 outputs, 28 times",
            fixed(|place| Ok(product(Product { rows: 512, inputs: 384, outputs: 1536 }, place))),
        ),
        usual(
            "decoder",
            "a decoder of 34 M trained whole: rows of 256 tokens",
            rows(4, |rows, place| trained(jobs::decoder(rows), place)),
        ),
        usual("vit", "ViT-B/16 forward", many("pictures", 8, |pictures, place| Ok(tower::vit(pictures, place)))),
        usual(
            "vlm",
            "caption alignment: ViT-B/16 and a decoder of 135 M frozen; rows of 196 + 60 tokens",
            rows(4, |rows, place| trained(jobs::vlm(rows), place)),
        ),
        usual(
            "lora",
            "LoRA of rank 16 in a decoder of 135 M: rows of 256 tokens, 64 of them learned",
            rows(4, |rows, place| trained(jobs::lora(rows), place)),
        ),
        usual(
            "dpo",
            "the decoder of 34 M: prompts of 192 and answers of 64 tokens, the reference known",
            many("pairs", 4, |pairs, place| preferred(pairs::dpo(pairs), place)),
        ),
        usual("prefill", "a prompt read by the decoder of 135 M", tokens(512, |n, place| Ok(read(smol(), n, place)))),
        usual(
            "decode",
            "a token by the decoder of 135 M, behind 32 to 96",
            fixed(|place| Ok(told(smol(), None, place))),
        ),
        usual(
            "prefill_qwen2",
            "a prompt, of the size of Qwen2-0.5B",
            tokens(512, |n, place| Ok(read(qwen2(), n, place))),
        ),
        usual("decode_qwen2", "a token, of the size of Qwen2-0.5B", fixed(|place| Ok(told(qwen2(), None, place)))),
        usual(
            "pictures",
            "32 JPEG files of 640 x 480 made ready for a tower of 336 x 336, on all cores",
            fixed(|_| Ok(pictures::pictures())),
        ),
        usual(
            "checkpoint",
            "the decoder of 34 M with moments written, verified and read; a token is a megabyte",
            fixed(saving::checkpoint),
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
        gpu(
            "gemm_bf16",
            "a linear layer in bf16: 4,096 rows, 2,048 inputs, 8,192 outputs, 8 times",
            fixed(|place| Ok(layers(place))),
        ),
        gpu("gemm_bf16_cublaslt", "the same by cuBLASLt (docs/decisions/0015)", fixed(layers_by_cublaslt)),
        gpu("linear_4096x4096", ABOUT_LINEAR, tokens(8192, |n, place| Ok(layer_both_ways(n, [4096, 4096], place)))),
        gpu("linear_4096x11008", ABOUT_LINEAR, tokens(8192, |n, place| Ok(layer_both_ways(n, [4096, 11008], place)))),
        gpu("linear_4096x12288", ABOUT_LINEAR, tokens(8192, |n, place| Ok(layer_both_ways(n, [4096, 12288], place)))),
        gpu("linear_1536x8960", ABOUT_LINEAR, tokens(8192, |n, place| Ok(layer_both_ways(n, [1536, 8960], place)))),
        gpu("linear_576x1536", ABOUT_LINEAR, tokens(8192, |n, place| Ok(layer_both_ways(n, [576, 1536], place)))),
        gpu(
            "attention_7b",
            "causal attention both ways, 32 heads of 128",
            tokens(4096, |n, place| Ok(kernels::of_long_attention(n, place))),
        ),
        gpu("head_151936", "output projection and loss both ways, 1,536 to 151,936", tokens(2048, kernels::of_head)),
        gpu(
            "nanovlm",
            "nanoVLM of 222 M trained whole: rows of 49 + 79 tokens",
            rows(64, |rows, place| trained(jobs::nanovlm(rows), place)),
        ),
        gpu(
            "llava_align",
            "LLaVA-1.5-7B's first stage: rows of 576 + 50 tokens, the connector trained",
            rows(16, |rows, place| trained(jobs::llava_align(rows), place)),
        ),
        gpu(
            "lora_7b",
            "LoRA of rank 16 in a decoder of 7 B: rows of 4,096 tokens, 1,024 of them learned",
            rows(1, |rows, place| trained(jobs::lora_7b(rows), place)),
        ),
        gpu(
            "qwen2_vl",
            "Qwen2-VL-2B, its tower frozen: rows of 512 tokens with pictures of four sizes",
            rows(8, |rows, place| trained(jobs::qwen2_vl_sft(rows), place)),
        ),
        gpu(
            "dpo_2b",
            "Qwen2-VL-2B's decoder: prompts of 640 and answers of 100 tokens",
            many("pairs", 8, |pairs, place| preferred(pairs::dpo_2b(pairs), place)),
        ),
        gpu(
            "dpo_7b",
            "the same with LoRA in a decoder of 7 B",
            many("pairs", 8, |pairs, place| preferred(pairs::dpo_7b(pairs), place)),
        ),
        gpu(
            "decode_qwen2_vl",
            "a token by Qwen2-VL-2B's decoder",
            fixed(|place| Ok(told(text_of_qwen2_vl(), None, place))),
        ),
        gpu(
            "decode_qwen2_vl_int8",
            "the same, its weights in 8 bits",
            fixed(|place| Ok(told(text_of_qwen2_vl(), Some(Scheme::Int8), place))),
        ),
        gpu(
            "decode_qwen2_vl_nf4",
            "the same, its weights in 4 bits",
            fixed(|place| Ok(told(text_of_qwen2_vl(), Some(Scheme::Nf4), place))),
        ),
    ];

    /// Those of a set.
    pub fn of(set: Set) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |row| row.set == set)
    }

    /// How many of what a step has, where that can be chosen.
    pub const fn amount(self) -> Option<Amount> {
        match self.make {
            Make::Fixed(_) => None,
            Make::Many(amount, _) => Some(amount),
        }
    }

    pub(crate) fn workload(self, place: &Place) -> io::Result<Workload> {
        match self.make {
            Make::Fixed(make) => make(place),
            Make::Many(Amount { usual, asked, .. }, make) => make(asked.map_or(usual, NonZeroUsize::get), place),
        }
    }
}

impl fmt::Display for Row {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.amount() {
            Some(Amount { asked: Some(asked), .. }) => write!(f, "{}:{asked}", self.name),
            _ => f.write_str(self.name),
        }
    }
}

const ABOUT_LINEAR: &str = "a linear layer and both its gradients";

const fn usual(name: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, about, set: Set::Usual, make }
}

const fn kernel(name: &'static str, about: &'static str, make: fn(&Place) -> io::Result<Workload>) -> Row {
    Row { name, about, set: Set::Kernels, make: Make::Fixed(make) }
}

const fn gpu(name: &'static str, about: &'static str, make: Make) -> Row {
    Row { name, about, set: Set::Gpu, make }
}

const fn fixed(make: fn(&Place) -> io::Result<Workload>) -> Make {
    Make::Fixed(make)
}

type MakeMany = fn(usize, &Place) -> io::Result<Workload>;

const fn many(what: &'static str, usual: usize, make: MakeMany) -> Make {
    Make::Many(Amount { what, usual, asked: None }, make)
}

const fn rows(usual: usize, make: MakeMany) -> Make {
    many("rows", usual, make)
}

const fn tokens(usual: usize, make: MakeMany) -> Make {
    many("tokens", usual, make)
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

fn read(text: TextConfig, prompt: usize, place: &Place) -> Workload {
    answering::prefill(sized(text, place), prompt, place)
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
            assert_eq!(row.name.parse::<Row>().map(|found| found.about), Ok(row.about));
        }
        assert_eq!("gem".parse::<Row>().err(), Some(RowError::Unknown("gem".to_owned())));
    }

    #[test]
    fn another_number_of_rows_is_asked_for_behind_the_name() {
        let row: Row = "nanovlm:256".parse().expect("a row");
        assert_eq!((row.name, row.to_string().as_str()), ("nanovlm", "nanovlm:256"));
        assert_eq!("nanovlm".parse::<Row>().expect("a row").to_string(), "nanovlm");
        assert_eq!("gemm:3".parse::<Row>().err(), Some(RowError::Fixed("gemm")));
        for found in ["", "0", "-1", "many", "1e3", "99999999999999999999"] {
            let error = format!("nanovlm:{found}").parse::<Row>().expect_err("no number of rows");
            assert_eq!(error.to_string(), format!("`{found}` behind row `nanovlm` is no number of rows"));
        }
    }
}
