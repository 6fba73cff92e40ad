//! A per-patch MLP, optionally over squares of patches: LLaVA's `linear` and `mlp2x_gelu`, nanoVLM's pixel shuffle.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;

use crate::config::{Activation, MlpConfig};
use crate::projection::Projection;

/// `linear_n(act(… act(linear_1(space_to_depth(x)))))`
#[derive(Module, Debug)]
pub struct MlpConnector {
    /// `linear_1`, `linear_2`, … of the checkpoints.
    pub linear: Vec<Projection>,
    /// Stands behind each row of LLaVA-NeXT's features. `[hidden]`
    pub image_newline: Option<Param<Tensor<1>>>,
    #[module(skip)]
    act: Activation,
    #[module(skip)]
    pixel_shuffle: usize,
}

impl MlpConnector {
    pub(super) fn new(config: &MlpConfig, vision_hidden: usize, hidden: usize, device: &Device) -> Self {
        let input = vision_hidden * config.pixel_shuffle * config.pixel_shuffle;
        let layer = |index| Projection::new(if index == 0 { input } else { hidden }, hidden, config.bias, device);
        Self {
            linear: (0..config.depth).map(layer).collect(),
            image_newline: None,
            act: config.act,
            pixel_shuffle: config.pixel_shuffle,
        }
    }

    pub(super) fn with_newline(self, hidden: usize, device: &Device) -> Self {
        Self { image_newline: Some(Initializer::Zeros.init([hidden], device)), ..self }
    }

    /// # Shapes
    ///
    /// - `features`: `[batch, patches, vision_hidden]`
    /// - returns: `[batch, patches / pixel_shuffle^2, hidden]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        self.layers(space_to_depth(features, self.pixel_shuffle))
    }

    /// As [`forward`](Self::forward) for a sequence in which the patches of a square lie one after the other.
    ///
    /// # Shapes
    ///
    /// - `features`: `[1, patches, vision_hidden]`; returns `[1, patches / pixel_shuffle^2, hidden]`
    pub fn forward_sequence(&self, features: Tensor<3>) -> Tensor<3> {
        let [batch, patches, width] = features.dims();
        let square = self.pixel_shuffle * self.pixel_shuffle;
        self.layers(features.reshape([batch, patches / square, square * width]))
    }

    fn layers(&self, mut x: Tensor<3>) -> Tensor<3> {
        for (index, layer) in self.linear.iter().enumerate() {
            if index > 0 {
                x = self.act.apply(x);
            }
            x = layer.forward(x);
        }
        x
    }
}

/// Gathers `factor x factor` neighbours of a square grid into one token, channels ordered
/// (row, column, channel) as in Idefics3, InternVL 2 and Qwen2-VL's merger.
///
/// # Shapes
///
/// - `x`: `[batch, side * side, channels]`
/// - returns: `[batch, (side / factor)^2, factor * factor * channels]`
pub fn space_to_depth(x: Tensor<3>, factor: usize) -> Tensor<3> {
    if factor == 1 {
        return x;
    }
    let [batch, tokens, channels] = x.dims();
    let side = tokens.isqrt();
    let small = side / factor;
    x.reshape([batch, small, factor, small, factor, channels]).permute([0, 1, 3, 2, 4, 5]).reshape([
        batch,
        small * small,
        factor * factor * channels,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn space_to_depth_orders_row_column_channel() {
        let values = (0..16).map(|v| v as f32).collect::<Vec<_>>();
        let x = Tensor::<3>::from_data(TensorData::new(values, [1, 16, 1]), &Device::flex());
        let y = space_to_depth(x, 2).into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(y, [0., 1., 4., 5., 2., 3., 6., 7., 8., 9., 12., 13., 10., 11., 14., 15.]);
    }
}
