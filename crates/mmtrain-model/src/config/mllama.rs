//! Mllama's image tower.

use serde::{Deserialize, Serialize};

use super::Activation;

/// The tower of Llama 3.2 Vision: pictures cut into tiles, two transformers one behind the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MllamaVisionConfig {
    /// Width of both transformers.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Blocks of the first transformer.
    pub num_hidden_layers: usize,
    /// Blocks of the second, whose branches have gates.
    pub num_global_layers: usize,
    /// Attention heads (`attention_heads`).
    pub num_attention_heads: usize,
    /// Side of a square tile, pixels.
    pub image_size: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Added to the variance in the norms of the blocks.
    pub norm_eps: f64,
    /// Tiles that a picture has at most, and is padded to.
    pub max_num_tiles: usize,
    /// Blocks of the first transformer whose outputs are handed on too, ascending (`intermediate_layers_indices`).
    pub saved_layers: Vec<usize>,
    /// Tiles along both sides, by aspect ratio id; the first has id 1 (`supported_aspect_ratios`).
    pub aspect_ratios: Vec<[usize; 2]>,
    /// MLP activation.
    pub hidden_act: Activation,
}

impl MllamaVisionConfig {
    /// Patches of one tile; a remainder is dropped as a strided convolution does.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Class token and patches of one tile.
    pub fn num_tokens(&self) -> usize {
        self.num_patches() + 1
    }

    /// Tokens of one tile as the blocks see them: a multiple of eight.
    ///
    /// There is always padding: the square of an integer leaves 0, 1 or 4 when divided by eight.
    pub fn padded_tokens(&self) -> usize {
        self.num_tokens().next_multiple_of(8)
    }

    /// Rows of a table that is indexed by aspect ratio id; id 0 stands for no picture.
    pub fn num_ratio_ids(&self) -> usize {
        self.aspect_ratios.len() + 1
    }

    /// Tiles that hold picture, none for an id that there is not. For id 0 it is one, as in
    /// `build_aspect_ratio_mask` of `image_processing_mllama.py`.
    pub fn real_tiles(&self, aspect_ratio_id: usize) -> Option<usize> {
        match aspect_ratio_id.checked_sub(1) {
            None => Some(1),
            Some(index) => self.aspect_ratios.get(index).map(|[a, b]| a * b),
        }
    }

    /// Channels of the output: the last state and the saved ones (`vision_output_dim`).
    pub fn output_size(&self) -> usize {
        self.hidden_size * (1 + self.saved_layers.len())
    }
}
