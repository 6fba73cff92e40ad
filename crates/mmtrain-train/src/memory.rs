//! Memory: what the process holds, what is free, and what a run is going to need.

pub(crate) mod groups;

use std::path::Path;

use burn::tensor::Device;
use fs_err as fs;
use mmtrain_config::Recompute;
use mmtrain_model::Vlm;
use mmtrain_model::attention::{scores_at_once, tape_keeps_scores};
use mmtrain_model::config::{CrossAttentionConfig, EncoderConfig, TextConfig, VlmConfig};
use mmtrain_model::device::DeviceMemory;
use mmtrain_model::params::{ParamInfo, Part, Tuned};
use serde::{Deserialize, Serialize};

use crate::driver::Trained;

const F32: u64 = 4;

/// Resident memory of this process.
pub fn resident_bytes() -> u64 {
    status_kib("VmRSS:") * 1024
}

/// Highest resident memory of this process so far.
pub fn peak_bytes() -> u64 {
    status_kib("VmHWM:") * 1024
}

/// Lets [`peak_bytes`] begin anew (`clear_refs` of `proc(5)`); where that cannot be, the peak stays that of the whole process.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Memory of the machine.
pub fn total_bytes() -> u64 {
    kib("/proc/meminfo", "MemTotal:") * 1024
}

/// Memory that can be had without swapping, of the machine and of the control groups of this process.
pub fn available_bytes() -> u64 {
    let of_groups = groups::left(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    (kib("/proc/meminfo", "MemAvailable:") * 1024).min(of_groups.unwrap_or(u64::MAX))
}

/// Memory that tensors find on a device: the host's for a CPU, its own for a GPU whose driver says it.
pub fn available_on(device: &Device) -> Option<u64> {
    if *device == Device::flex() { Some(available_bytes()) } else { DeviceMemory::of(device).map(|memory| memory.free) }
}

/// What a GPU's allocator holds, in bytes, by name; nothing of a CPU, whose memory is the process's.
///
/// `device/bytes_reserved` is at least `device/bytes_in_use`: pages are kept for what comes.
pub fn of_device(device: &Device) -> impl Iterator<Item = (String, f64)> + use<> {
    let usage = device.memory_pool_usage();
    let named = usage.map(|usage| [("bytes_in_use", usage.bytes_in_use), ("bytes_reserved", usage.bytes_reserved)]);
    named.into_iter().flatten().map(|(name, bytes)| (format!("device/{name}"), bytes as f64))
}

fn status_kib(key: &str) -> u64 {
    kib("/proc/self/status", key)
}

fn kib(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Sizes of one micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct MicroShape {
    /// Rows.
    pub batch: usize,
    /// Tokens per row.
    pub seq: usize,
    /// Images.
    pub images: usize,
    /// Micro-batches computed at the same time.
    pub ranks: usize,
    /// Micro-batches that a rank computes one after the other in a step.
    pub passes: usize,
    /// Whether scores of attentions are in memory: not where the kernel of the CPU forms them.
    pub scores: bool,
    /// Bytes of a number in the blocks: 2 where they compute in 16 bits. Scores, logits and gradients are f32 all the same.
    pub width: u64,
    /// What graphs of blocks hold of weights.
    pub copies: Copies,
}

/// Bytes that the graph of a block holds for each of its weights beside the weight itself: casts to 16 bits, and what `DoRA` makes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// Of the encoder.
    pub encoder: u64,
    /// Of the decoder.
    pub decoder: u64,
}

impl Copies {
    /// Where weights are held in f32 and blocks compute in 16 bits.
    const CAST: u64 = 2;
    /// The weight with its adapter, and its direction, both in f32.
    const DORA: u64 = 8;

    /// Of one part.
    pub fn of_part(is_dora: bool, is_cast: bool) -> u64 {
        u64::from(is_dora) * Self::DORA + u64::from(is_cast) * Self::CAST
    }
}

/// What a run is going to need, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// All parameters.
    pub weights: u64,
    /// Gradients of the trained ones, for each rank until it hands them on.
    pub gradients: u64,
    /// Moments of the trained ones.
    pub optimizer: u64,
    /// Block inputs, kept graphs, and the scores that attention forms at once.
    pub activations: u64,
    /// Logits of a chunk, forward and backward.
    pub head: u64,
    /// What of `gradients`, `activations` and `head` is not held at the same time: a backward pass lets go of a block's graph where it
    /// makes its gradients.
    pub in_turn: u64,
    /// Parameters and moments of the step that is being saved while the next one updates them; beyond the total, since most
    /// checkpoints are written before that.
    pub saving: u64,
}

impl MemoryEstimate {
    /// What steps hold.
    pub fn total(&self) -> u64 {
        let all = sum([self.weights, self.gradients, self.optimizer, self.activations, self.head]);
        all.saturating_sub(self.in_turn)
    }

    /// What a step holds beside which a checkpoint is still being written.
    pub fn at_most(&self) -> u64 {
        self.total().saturating_add(self.saving)
    }
}

/// How many blocks of encoder and decoder keep their graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepPlan {
    /// Encoder blocks, from the first.
    pub encoder: usize,
    /// Decoder blocks, from the first.
    pub decoder: usize,
}

/// Decides block by block: as many graphs as fit in `budget` bytes, those of the decoder first.
pub fn keep_plan(
    config: &VlmConfig,
    shape: MicroShape,
    trained: Trained,
    recompute: Recompute,
    budget: u64,
) -> KeepPlan {
    let all = KeepPlan { encoder: config.encoder.num_layers(), decoder: config.text.num_hidden_layers };
    match recompute {
        Recompute::None => all,
        Recompute::All => KeepPlan { encoder: 0, decoder: 0 },
        Recompute::Auto => {
            let ranks = shape.ranks as u64;
            let kept = |blocks| decoder_graph_bytes(config, shape, trained.decoder, blocks).saturating_mul(ranks);
            let decoder = (1..=all.decoder).take_while(|&blocks| kept(blocks) <= budget).last().unwrap_or(0);
            let left = budget - kept(decoder);
            let encoder_block = encoder_block_bytes(&config.encoder, shape).saturating_mul(ranks);
            let encoder =
                if trained.encoder.is_trained() { all.encoder.min((left / encoder_block.max(1)) as usize) } else { 0 };
            KeepPlan { encoder, decoder }
        }
    }
}

/// Sums up a run's memory. Activation counts are tensors that the tape holds per block.
///
/// Without what saves hold.
pub fn estimate(model: &Vlm, trained: Trained, shape: MicroShape, keep: KeepPlan, chunk_rows: usize) -> MemoryEstimate {
    let infos = Part::ALL.iter().flat_map(|&part| model.infos(part)).collect::<Vec<_>>();
    let tuned = infos.iter().filter(|info| trained.part(info.part).trains(info)).collect::<Vec<_>>();
    let (config, ranks) = (&model.config, shape.ranks as u64);
    let is_encoder_trained = trained.encoder.is_trained();
    let encoder_inputs = if is_encoder_trained { encoder_input_elements(&config.encoder, shape) } else { 0 };
    let encoder_graphs = (keep.encoder.max(usize::from(is_encoder_trained)) as u64)
        .saturating_mul(encoder_block_bytes(&config.encoder, shape));
    let of_encoder = encoder_inputs.saturating_mul(shape.width).saturating_add(encoder_graphs).saturating_mul(ranks);
    let kept = decoder_graph_bytes(config, shape, trained.decoder, keep.decoder);
    let decoder_graphs = kept.max(largest_stretch_bytes(config, shape, trained.decoder));
    let decoder_inputs = decoder_input_elements(config, shape).saturating_mul(shape.width);
    let of_decoder = sum([decoder_inputs, decoder_graphs, passing_scores(config, shape)]).saturating_mul(ranks);
    let activations = of_encoder.saturating_add(of_decoder);
    let rows = chunk_rows.min(shape.batch * shape.seq);
    let head = product([shape.ranks, 4, rows, config.text.vocab_size]).saturating_mul(F32);
    let of_gradients = Gradients::of(&tuned, shape);
    let gradients = of_gradients.all();
    let last = if is_encoder_trained {
        encoder_block_bytes(&config.encoder, shape)
    } else {
        largest_stretch_bytes(config, shape, trained.decoder)
    };
    // A backward pass begins with those of the head, gets to the encoder with all others, and ends with all.
    let beginning = sum([activations, head, of_gradients.head]);
    let middle = sum([of_encoder, gradients.saturating_sub(of_gradients.encoder)]);
    let end = last.saturating_mul(ranks).saturating_add(gradients);
    let at_once = if shape.passes <= 1 { beginning.max(middle).max(end) } else { u64::MAX };
    MemoryEstimate {
        weights: elements(infos.iter()).saturating_mul(F32),
        gradients,
        optimizer: elements(tuned).saturating_mul(2 * F32),
        activations,
        head,
        in_turn: sum([activations, head, gradients]).saturating_sub(at_once),
        saving: 0,
    }
}

/// Gradients of all ranks together, in bytes.
struct Gradients {
    /// Of what stands behind the decoder's blocks, and of its table of tokens.
    head: u64,
    blocks: u64,
    connector: u64,
    encoder: u64,
}

impl Gradients {
    fn of(tuned: &[&ParamInfo], shape: MicroShape) -> Self {
        let ranks = shape.ranks as u64;
        let bytes = |wanted: &dyn Fn(&ParamInfo) -> bool, times: u64| {
            elements(tuned.iter().copied().filter(|info| wanted(info))).saturating_mul(times).saturating_mul(F32)
        };
        // Of its last micro-batch a rank hands on each block of the decoder as it leaves it.
        let of_blocks = if shape.passes <= 1 { 1 } else { ranks };
        Self {
            head: bytes(&|info| info.part == Part::Decoder && !is_decoder_block(info), ranks),
            blocks: bytes(&is_decoder_block, of_blocks),
            connector: bytes(&|info| info.part == Part::Connector, ranks),
            encoder: bytes(&|info| info.part == Part::Encoder, ranks),
        }
    }

    fn all(&self) -> u64 {
        sum([self.head, self.blocks, self.connector, self.encoder])
    }
}

fn elements<'a>(infos: impl IntoIterator<Item = &'a ParamInfo>) -> u64 {
    sum(infos.into_iter().map(|info| info.elements() as u64))
}

fn is_decoder_block(info: &ParamInfo) -> bool {
    info.name.strip_prefix(Part::Decoder.prefix()).is_some_and(|path| path.starts_with("model.layers."))
}

/// Sizes come from files that nobody vouches for: what is too much stays too much.
fn sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

/// As [`sum`].
fn product<const N: usize>(numbers: [usize; N]) -> u64 {
    numbers.into_iter().fold(1, |product, number| product.saturating_mul(number as u64))
}

/// What goes into the decoder's blocks and into the layers between them, and what those read.
fn decoder_input_elements(config: &VlmConfig, shape: MicroShape) -> u64 {
    let (hidden, layers) =
        (config.text.hidden_size, config.cross_attention().map_or(0, CrossAttentionConfig::num_layers));
    let stretches = config.text.num_hidden_layers + layers;
    let memory = config.cross_attention().map_or(0, |cross| product([shape.images, keys(config, cross), hidden]));
    product([shape.batch, shape.seq, hidden, stretches]).saturating_add(memory)
}

/// The tapes of the first `blocks` blocks of the decoder, and of the layers before each of them.
fn decoder_graph_bytes(config: &VlmConfig, shape: MicroShape, tuned: Tuned, blocks: usize) -> u64 {
    let layers = config.cross_attention().map_or(0, |cross| {
        let kept = cross.before_blocks.iter().filter(|&&before| before < blocks).count() as u64;
        kept.saturating_mul(reading_layer_bytes(config, cross, shape))
    });
    (blocks as u64).saturating_mul(decoder_block_bytes(&config.text, shape, tuned)).saturating_add(layers)
}

/// The largest tape of one stretch, which is there in the backward pass even where none is kept.
fn largest_stretch_bytes(config: &VlmConfig, shape: MicroShape, tuned: Tuned) -> u64 {
    let layer = config.cross_attention().map_or(0, |cross| reading_layer_bytes(config, cross, shape));
    decoder_block_bytes(&config.text, shape, tuned).max(layer)
}

/// What the tape of one cross-attention layer holds: as a block of the decoder, with 6 tensors of the keys' width for each
/// key, and scores.
fn reading_layer_bytes(config: &VlmConfig, cross: &CrossAttentionConfig, shape: MicroShape) -> u64 {
    let keys = keys(config, cross);
    let widths = 14 * cross.hidden_size + 5 * cross.intermediate_size;
    let of_keys = product([6, shape.images, keys, cross.num_attention_heads, cross.head_dim]);
    let widths = sum([product([shape.batch, shape.seq, widths]), of_keys]).saturating_mul(shape.width);
    widths.saturating_add(reading_scores(config, cross, shape).in_each)
}

/// Keys that a typical medium has in a memory.
fn keys(config: &VlmConfig, cross: &CrossAttentionConfig) -> usize {
    cross.resampler.as_ref().map_or_else(|| config.encoder.typical_tokens(), |resampler| resampler.num_latents)
}

/// Values of a token that the tape of one decoder block holds: 2 tensors of the MLP's width, and of the stream's about 10, of which
/// about 5 are there for the gradients of weights.
fn decoder_widths(config: &TextConfig, tuned: Tuned) -> usize {
    let of_stream = if tuned.is_trained() { 10 } else { 5 };
    of_stream * config.hidden_size + 2 * config.intermediate_size
}

/// What the tape of one decoder block holds, scores included.
fn decoder_block_bytes(config: &TextConfig, shape: MicroShape, tuned: Tuned) -> u64 {
    let widths = product([shape.batch, shape.seq, decoder_widths(config, tuned)]).saturating_mul(shape.width);
    let copies = decoder_block_weights(config).saturating_mul(shape.copies.decoder);
    sum([widths, copies, decoder_scores(config, shape).in_each])
}

/// Weights of the linear layers of one decoder block.
fn decoder_block_weights(config: &TextConfig) -> u64 {
    let heads = 2 * config.num_attention_heads + 2 * config.num_key_value_heads;
    let attention = product([config.hidden_size, heads, config.head_dim]);
    attention.saturating_add(product([3, config.hidden_size, config.intermediate_size]))
}

/// What goes into the encoder's blocks, all of them.
fn encoder_input_elements(config: &EncoderConfig, shape: MicroShape) -> u64 {
    let [hidden, ..] = config.block_sizes();
    product([shape.images, config.typical_tokens(), hidden, config.num_layers()])
}

/// As [`decoder_widths`] for a position of the encoder: about 8 of the width, 2 of the MLP's.
fn encoder_widths(config: &EncoderConfig) -> usize {
    let [hidden, inner, _] = config.block_sizes();
    8 * hidden + 2 * inner
}

/// As [`decoder_block_bytes`].
fn encoder_block_bytes(config: &EncoderConfig, shape: MicroShape) -> u64 {
    let widths = product([shape.images, config.typical_tokens(), encoder_widths(config)]).saturating_mul(shape.width);
    let [hidden, inner, _] = config.block_sizes();
    let weights = product([4, hidden, hidden]).saturating_add(product([2, hidden, inner]));
    sum([widths, weights.saturating_mul(shape.copies.encoder), encoder_scores(config, shape).in_each])
}

/// Bytes of an attention's scores: what the tape of each stretch holds of them, or else what only one holds at a time.
struct Scores {
    in_each: u64,
    once: u64,
}

impl Scores {
    /// `matrices` of them, for each row and head.
    fn new(shape: MicroShape, matrices: usize, [rows, heads]: [usize; 2], [queries, keys]: [usize; 2]) -> Self {
        if !shape.scores {
            return Self { in_each: 0, once: 0 };
        }
        let bytes = product([matrices, scores_at_once(rows.saturating_mul(heads), queries, keys)]).saturating_mul(F32);
        if tape_keeps_scores(queries, keys) {
            Self { in_each: bytes, once: 0 }
        } else {
            Self { in_each: 0, once: bytes }
        }
    }
}

fn decoder_scores(config: &TextConfig, shape: MicroShape) -> Scores {
    Scores::new(shape, 4, [shape.batch, config.num_attention_heads], [shape.seq, shape.seq])
}

/// Of a cross-attention layer, over the keys of a row.
fn reading_scores(config: &VlmConfig, cross: &CrossAttentionConfig, shape: MicroShape) -> Scores {
    let of_row = shape.images.div_ceil(shape.batch.max(1)).saturating_mul(keys(config, cross));
    Scores::new(shape, 4, [shape.batch, cross.num_attention_heads], [shape.seq, of_row])
}

fn encoder_scores(config: &EncoderConfig, shape: MicroShape) -> Scores {
    let ([.., heads], tokens) = (config.block_sizes(), config.typical_tokens());
    Scores::new(shape, 3, [shape.images, heads], [tokens, tokens])
}

/// The most that exist of the scores that no tape holds.
fn passing_scores(config: &VlmConfig, shape: MicroShape) -> u64 {
    let reading = config.cross_attention().map_or(0, |cross| reading_scores(config, cross, shape).once);
    decoder_scores(&config.text, shape).once.max(encoder_scores(&config.encoder, shape).once).max(reading)
}

#[cfg(test)]
mod tests {
    use mmtrain_model::config::TextFamily;

    use super::*;

    fn shape(seq: usize) -> MicroShape {
        MicroShape {
            batch: 2,
            seq,
            images: 0,
            ranks: 1,
            passes: 1,
            scores: true,
            width: F32,
            copies: Copies::default(),
        }
    }

    #[test]
    fn gradients_take_the_place_of_graphs_unless_those_of_an_earlier_micro_batch_are_there() {
        let model = crate::driver::tests::model();
        let all = Trained { encoder: Tuned::Full, connector: Tuned::Full, decoder: Tuned::Full };
        let of = |seq, passes| {
            let shape = MicroShape { passes, images: 1, ..shape(seq) };
            estimate(&model, all, shape, KeepPlan { encoder: 9, decoder: 9 }, 8)
        };
        let beside = |memory: &MemoryEstimate| memory.total() - memory.weights - memory.optimizer;
        let (short, long) = (of(1, 1), of(4096, 1));
        assert!(beside(&short) >= short.gradients && beside(&short) < short.gradients + short.activations, "{short:?}");
        // Graphs of long rows outweigh gradients, but those of the head come first.
        let head = model.infos(Part::Decoder).into_iter().filter(|info| !is_decoder_block(info));
        let head = F32 * elements(&head.collect::<Vec<_>>());
        assert_eq!(beside(&long), long.activations + long.head + head);
        let twice = of(4096, 2);
        assert_eq!(beside(&twice), twice.gradients + twice.activations + twice.head);
        let saved = MemoryEstimate { saving: 7, ..twice };
        assert_eq!((saved.total(), saved.at_most()), (twice.total(), twice.total() + 7));
    }

    #[test]
    fn a_block_of_long_rows_holds_no_scores_beyond_those_that_exist_at_once() {
        let config = TextConfig::class_defaults(TextFamily::Llama);
        let matrices = |seq| 4 * 2 * config.num_attention_heads as u64 * F32 * seq * seq;
        let short = decoder_scores(&config, shape(512));
        assert_eq!((short.in_each, short.once), (matrices(512), 0));
        let long = decoder_scores(&config, shape(4096));
        // As many scores as are formed at once, of 64 heads of two rows.
        assert_eq!((long.in_each, long.once), (0, 4 * F32 * (64 * 4096 * 1024)));
        let [block, twice] = [4096, 8192].map(|seq| decoder_block_bytes(&config, shape(seq), Tuned::Frozen));
        assert_eq!(2 * block, twice);
        let half = MicroShape { width: 2, ..shape(4096) };
        assert_eq!(2 * decoder_block_bytes(&config, half, Tuned::Frozen), block, "no scores are held in a block");
        let copied = MicroShape { copies: Copies { encoder: 0, decoder: 2 }, ..shape(4096) };
        let weights = 4 * config.hidden_size.pow(2) + 3 * config.hidden_size * config.intermediate_size;
        assert_eq!(decoder_block_bytes(&config, copied, Tuned::Frozen), block + 2 * weights as u64);
        assert_eq!(
            [Copies::of_part(true, false), Copies::of_part(false, true), Copies::of_part(true, true)],
            [8, 2, 10]
        );
        let in_kernels = decoder_scores(&config, MicroShape { scores: false, ..shape(512) });
        assert_eq!((in_kernels.in_each, in_kernels.once), (0, 0));
    }
}
