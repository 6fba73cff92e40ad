//! The instruction that InstructBLIP's Q-Former reads beside its queries, in BERT's tokens.
//!
//! Follows `InstructBlipQFormerEmbeddings` (`modeling_instructblip.py`): words with learned positions, counted
//! from zero whatever the number of queries, and one norm of queries and words.
//!
//! Dims: `batch` of media, `len` of the longest instruction, `queries`, `width` of the queries.

use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::prelude::*;
use burn::tensor::TensorData;

use super::q_former::norm;
use crate::attention::Mask;
use crate::config::{InstructionConfig, QFormerConfig};
use crate::error::ModelError;
use crate::norm::LayerNorm;

/// An instruction for each medium, padded at the end.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// `[batch, len]`
    ids: Tensor<2, Int>,
    /// Which of them are words, row-major.
    words: Vec<bool>,
}

impl Instruction {
    /// From token ids, a list for each medium; lists may have different lengths.
    pub fn new(ids: &[Vec<usize>], config: &InstructionConfig, device: &Device) -> Result<Self, ModelError> {
        let len = ids.iter().map(Vec::len).max().unwrap_or(0);
        check(ids, len, config)?;
        let row = |row: &Vec<usize>| (0..len).map(|at| row.get(at).copied()).collect::<Vec<_>>();
        let padded = ids.iter().flat_map(row).collect::<Vec<_>>();
        let values = padded.iter().map(|id| id.unwrap_or(0) as i64).collect::<Vec<_>>();
        let words = padded.iter().map(Option::is_some).collect();
        Ok(Self { ids: Tensor::from_data(TensorData::new(values, [ids.len(), len]), device), words })
    }

    /// That of one medium.
    pub(super) fn of_medium(&self, medium: usize) -> Self {
        let len = self.ids.dims()[1];
        let words = self.words[medium * len..(medium + 1) * len].to_vec();
        Self { ids: self.ids.clone().slice_dim(0, medium..medium + 1), words }
    }

    /// Hides padding; queries and words see each other in both directions.
    pub(super) fn mask(&self, queries: usize, device: &Device) -> Mask {
        let [batch, len] = self.ids.dims();
        let row = |words: &[bool]| [vec![true; queries], words.to_vec()].concat();
        let keep = self.words.chunks_exact(len).flat_map(row).collect::<Vec<_>>();
        Mask::keys_kept(&keep, batch, device)
    }
}

/// Each medium has an instruction, and the tables have its words and positions.
fn check(ids: &[Vec<usize>], len: usize, config: &InstructionConfig) -> Result<(), ModelError> {
    let refuse = |message: String, hint: &str| Err(ModelError::Input { message, hint: hint.into() });
    if len == 0 {
        return refuse(
            "no instruction has a token".into(),
            "leave the instruction out, then the Q-Former runs on its queries alone",
        );
    }
    if len > config.max_position_embeddings {
        return refuse(
            format!("an instruction of {len} tokens, the Q-Former has {} positions", config.max_position_embeddings),
            "cut it to as many tokens",
        );
    }
    match ids.iter().flatten().find(|&&id| id >= config.vocab_size) {
        None => Ok(()),
        Some(id) => refuse(
            format!("token {id} in an instruction, the Q-Former has {} words", config.vocab_size),
            "the instruction is in BERT's tokens, not in the language model's",
        ),
    }
}

/// Words, positions, and the norm of queries and words.
#[derive(Module, Debug)]
pub struct InstructionEmbeddings {
    /// `[vocab, width]`
    pub word_embeddings: Embedding,
    /// `[positions, width]`
    pub position_embeddings: Embedding,
    /// Of queries and words.
    pub layernorm: LayerNorm,
}

impl InstructionEmbeddings {
    pub(super) fn new(sizes: InstructionConfig, config: &QFormerConfig, device: &Device) -> Self {
        let table = |rows: usize| {
            EmbeddingConfig::new(rows, config.hidden_size).with_initializer(Initializer::Zeros).init(device)
        };
        Self {
            word_embeddings: table(sizes.vocab_size),
            position_embeddings: table(sizes.max_position_embeddings),
            layernorm: norm(config, device),
        }
    }

    /// `[batch, queries, width]` to `[batch, queries + len, width]`
    pub(super) fn forward(&self, queries: Tensor<3>, instruction: Option<&Instruction>) -> Tensor<3> {
        self.layernorm.forward(match instruction {
            None => queries,
            Some(instruction) => Tensor::cat(vec![queries, self.words(&instruction.ids)], 1),
        })
    }

    /// `[batch, len, width]`
    fn words(&self, ids: &Tensor<2, Int>) -> Tensor<3> {
        let positions = self.position_embeddings.weight.val().slice_dim(0, 0..ids.dims()[1]);
        self.word_embeddings.forward(ids.clone()) + positions.unsqueeze::<3>()
    }
}
