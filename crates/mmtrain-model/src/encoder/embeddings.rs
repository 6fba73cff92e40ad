//! The stem of a vision transformer: patches, class token, registers, positions.
//!
//! Dims: `batch` images, `rows` x `cols` patches, `side` patches along a side of the table of
//! positions. The patch embedding is a matrix product over flattened patches, which equals the
//! strided convolution of the checkpoints.

use burn::module::Param;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear};
use burn::prelude::*;

use super::buckets::PatchMask;
use super::interpolate::{Kernel, resample};
use super::linear;
use crate::config::{VisionConfig, VisionFamily};

/// Patch, class and position embedding.
#[derive(Module, Debug)]
pub struct VitEmbeddings {
    /// Stands before the patches.
    pub class_embedding: Option<ClassToken>,
    /// DINOv2's, between class token and patches; they have no position. `[1, registers, hidden]`
    pub register_tokens: Option<Param<Tensor<3>>>,
    /// `[3 * patch * patch, hidden]`
    pub patch_embedding: Linear,
    /// One row per token.
    pub position_embedding: Positions,
    #[module(skip)]
    placing: Placing,
}

/// A learned class token, in the shape of its checkpoints.
#[derive(Module, Debug)]
pub enum ClassToken {
    /// CLIP: `[hidden]`
    Flat(Param<Tensor<1>>),
    /// DINOv2 and BLIP-2: `[1, 1, hidden]`
    Deep(Param<Tensor<3>>),
}

/// A table of positions, in the shape of its checkpoints; the class token's row comes first.
#[derive(Module, Debug)]
pub enum Positions {
    /// CLIP, SigLIP, Idefics3: an embedding. `[rows, hidden]`
    Table(Embedding),
    /// DINOv2 and BLIP-2: a parameter. `[1, rows, hidden]`
    Parameter(Param<Tensor<3>>),
}

/// How patches get positions where their grid is not the table's.
#[derive(Debug, Clone, Copy)]
enum Placing {
    /// The table is resampled.
    Resampled { side: usize, kernel: Kernel },
    /// Each patch takes the row of the table that its place in the image falls into.
    Buckets { side: usize },
}

impl VitEmbeddings {
    pub(super) fn new(config: &VisionConfig, device: &Device) -> Self {
        let (hidden, patch) = (config.hidden_size, config.patch_size);
        let registers = config.registers();
        Self {
            class_embedding: config.has_class_token().then(|| ClassToken::new(config, device)),
            register_tokens: (registers > 0).then(|| Initializer::Zeros.init([1, registers, hidden], device)),
            patch_embedding: linear(3 * patch * patch, hidden, config.family != VisionFamily::Clip, device),
            position_embedding: Positions::new(config, device),
            placing: Placing::new(config),
        }
    }

    /// # Shapes
    ///
    /// - `patches`: `[batch, rows * cols, 3 * patch * patch]`; returns `[batch, tokens, hidden]`
    pub(super) fn forward(&self, patches: Tensor<3>, [rows, cols]: [usize; 2], mask: Option<&PatchMask>) -> Tensor<3> {
        let batch = patches.dims()[0];
        let x = self.patch_embedding.forward(patches);
        match self.placing {
            Placing::Resampled { side, kernel } => {
                let positions = self.resampled([rows, cols], side, kernel);
                self.with_registers(self.with_class_token(x) + positions.unsqueeze())
            }
            Placing::Buckets { side } => {
                let hidden = x.dims()[2];
                let full = PatchMask::full(batch, rows, cols);
                let ids = mask.unwrap_or(&full).position_ids(side, &x.device());
                x + self.position_embedding.table().select(0, ids).reshape([batch, rows * cols, hidden])
            }
        }
    }

    fn with_class_token(&self, x: Tensor<3>) -> Tensor<3> {
        let batch = x.dims()[0];
        match &self.class_embedding {
            Some(class) => Tensor::cat(vec![class.val().repeat_dim(0, batch), x], 1),
            None => x,
        }
    }

    fn with_registers(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let Some(registers) = &self.register_tokens else { return x };
        let class = x.clone().slice_dim(1, 0..1);
        Tensor::cat(vec![class, registers.val().repeat_dim(0, batch), x.slice_dim(1, 1..tokens)], 1)
    }

    /// Positions of class token and patches. `[tokens without registers, hidden]`
    fn resampled(&self, grid: [usize; 2], side: usize, kernel: Kernel) -> Tensor<2> {
        let table = self.position_embedding.table();
        if grid == [side, side] {
            return table;
        }
        let rows = table.dims()[0];
        let class = rows - side * side;
        let patches = resample(table.clone().slice_dim(0, class..rows), side, grid, kernel);
        if class == 0 { patches } else { Tensor::cat(vec![table.slice_dim(0, 0..class), patches], 0) }
    }
}

impl ClassToken {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        match config.family {
            VisionFamily::Clip => Self::Flat(Initializer::Zeros.init([config.hidden_size], device)),
            _ => Self::Deep(Initializer::Zeros.init([1, 1, config.hidden_size], device)),
        }
    }

    /// `[1, 1, hidden]`
    fn val(&self) -> Tensor<3> {
        match self {
            Self::Flat(token) => token.val().unsqueeze(),
            Self::Deep(token) => token.val(),
        }
    }
}

impl Positions {
    fn new(config: &VisionConfig, device: &Device) -> Self {
        let rows = config.num_patches() + usize::from(config.has_class_token());
        match config.family {
            VisionFamily::Dinov2 { .. } | VisionFamily::Blip2 => {
                Self::Parameter(Initializer::Zeros.init([1, rows, config.hidden_size], device))
            }
            _ => Self::Table(
                EmbeddingConfig::new(rows, config.hidden_size).with_initializer(Initializer::Zeros).init(device),
            ),
        }
    }

    /// `[rows, hidden]`
    fn table(&self) -> Tensor<2> {
        match self {
            Self::Table(table) => table.weight.val(),
            Self::Parameter(table) => table.val().squeeze_dim(0),
        }
    }
}

impl Placing {
    fn new(config: &VisionConfig) -> Self {
        let side = config.grid();
        match config.family {
            VisionFamily::Idefics3 | VisionFamily::SmolVlm => Self::Buckets { side },
            VisionFamily::Dinov2 { registers: 1.., .. } => Self::Resampled { side, kernel: Kernel::Antialiased },
            _ => Self::Resampled { side, kernel: Kernel::Bicubic },
        }
    }
}

/// Cuts images into flattened patches in the order (channel, row, column) of a convolution's kernel.
///
/// # Shapes
///
/// - `pixels`: `[batch, 3, height, width]`; a remainder at the right and bottom is dropped
/// - returns: `[batch, patches, 3 * patch * patch]`
pub fn patches_from_pixels(pixels: Tensor<4>, patch: usize) -> Tensor<3> {
    let [batch, channels, height, width] = pixels.dims();
    let (rows, cols) = (height / patch, width / patch);
    pixels
        .slice([0..batch, 0..channels, 0..rows * patch, 0..cols * patch])
        .reshape([batch, channels, rows, patch, cols, patch])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, rows * cols, channels * patch * patch])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn patches_keep_channel_row_column_order_and_drop_the_remainder() {
        let values = (0..3 * 5 * 5).map(|v| v as f32).collect::<Vec<_>>();
        let pixels = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 5, 5]), &Device::flex());
        let patches = patches_from_pixels(pixels, 2);
        assert_eq!(patches.dims(), [1, 4, 12]);
        let second = patches.slice([0..1, 1..2, 0..12]).into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(second, [2., 3., 7., 8., 27., 28., 32., 33., 52., 53., 57., 58.]);
    }
}
