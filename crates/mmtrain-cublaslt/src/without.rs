//! What a build without CUDA has in its place.

use burn::prelude::*;

/// Why there are no products.
#[derive(Debug, thiserror::Error)]
#[error("this build has no CUDA; one has it that was built with `--features cuda`")]
pub struct Error;

/// None of these can be had.
#[derive(Debug)]
pub enum Products {}

impl Products {
    /// Always fails.
    pub fn new(_device: &Device) -> Result<Self, Error> {
        Err(Error)
    }

    /// Of nothing.
    pub fn product(&self, _a: &Tensor<2>, _b: &Tensor<2>) -> Result<Tensor<2>, Error> {
        match *self {}
    }
}
