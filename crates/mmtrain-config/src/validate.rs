//! What types and ranges cannot say: values that have to fit each other.

use std::collections::BTreeSet;

use crate::datasets::dataset_presets;
use crate::hint;
use crate::keys::default_gamma;
use crate::{
    AudioArch, ConnectorConfig, DecoderArch, DecoderConfig, DecoderFamily, EncoderConfig, ModelConfig, ObjectiveConfig,
    PartConfig, PreferenceLossKind, RunConfig, ScheduleConfig, ScheduleKind, SourceConfig, TrainConfig, VisionArch,
    VisionFamily,
};

/// Values that do not fit each other.
#[derive(Debug, PartialEq)]
pub(crate) struct Conflict {
    /// The keys involved; the first one is where the user is sent.
    pub(crate) keys: Vec<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Conflict {
    fn new(keys: &[&str], message: String) -> Self {
        Self { keys: keys.iter().map(|key| (*key).to_owned()).collect(), message, hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Everything in `config` that does not fit.
pub(crate) fn conflicts(config: &RunConfig) -> Vec<Conflict> {
    let mut found = Vec::new();
    found.extend(sources(config));
    found.extend(batch_sizes(&config.train));
    found.extend(ranks(&config.train));
    found.extend(packing(config));
    found.extend(trained_parts(&config.train));
    found.extend(feature_cache(&config.train));
    found.extend(decay(&config.schedule));
    found.extend(best(config));
    found.extend(resampled_rows(config));
    found.extend(packed_pairs(config));
    found.extend(unpaired(&config.objective));
    found.extend(unread(&config.objective));
    found.extend(split_pairs(config));
    found.extend(encoder(&config.model.encoder));
    found.extend(connector(&config.model));
    found.extend(decoder(&config.model.decoder));
    found.extend(tokenizer(config));
    found.extend(sequence_length(config));
    found
}

/// What resampled memories give to samples that share a row is not yet what they give to each alone.
fn resampled_rows(config: &RunConfig) -> Option<Conflict> {
    let resampled = matches!(config.model.connector, ConnectorConfig::CrossAttention { num_latents: Some(_), .. });
    (config.data.packing && resampled).then(|| {
        let keys = ["data.packing", "model.connector.num_latents"];
        let message = "`data.packing` does not go with cross-attention behind a resampler".to_owned();
        Conflict::new(&keys, message).hint("set `data.packing = false`, or leave `model.connector.num_latents` out")
    })
}

/// A pair is a row of its own.
fn packed_pairs(config: &RunConfig) -> Option<Conflict> {
    (config.data.packing && config.objective.is_preference()).then(|| {
        let keys = ["data.packing", "objective.kind"];
        let message = "`data.packing` does not go with `objective.kind` \"preference\"".to_owned();
        Conflict::new(&keys, message).hint("set `data.packing = false`: both answers of a pair share a row already")
    })
}

/// What is said of pairs does not go with answers that are judged by themselves.
fn unpaired(objective: &ObjectiveConfig) -> Vec<Conflict> {
    let ObjectiveConfig::Preference { terms, sft_weight, dense, weight, .. } = objective else {
        return Vec::new();
    };
    let conflict = |key: &str| {
        let message = format!("`{key}` is for pairs of answers, and `objective.loss` \"kto\" learns from single ones");
        Conflict::new(&[key, "objective.loss"], message).hint(format!("leave `{key}` out, or choose another loss"))
    };
    if objective.is_unpaired() {
        let of_pairs = [
            ("objective.terms", !terms.is_empty()),
            ("objective.sft_weight", *sft_weight > 0.0),
            ("objective.weight", (*weight - 1.0).abs() > 0.0),
            ("objective.dense", dense.is_some()),
        ];
        return of_pairs.into_iter().filter(|(_, set)| *set).map(|(key, _)| conflict(key)).collect();
    }
    let added = terms.iter().position(|term| term.loss == PreferenceLossKind::Kto);
    let of_added = added.map(|index| {
        let key = format!("objective.terms.{index}.loss");
        let message = format!("`{key}` \"kto\" learns from single answers, the losses that it is added to from pairs");
        Conflict::new(&[&key], message).hint("set `objective.loss = \"kto\"` alone")
    });
    of_added.into_iter().collect()
}

/// Parameters that none of the losses has.
fn unread(objective: &ObjectiveConfig) -> Vec<Conflict> {
    let ObjectiveConfig::Preference {
        loss, terms, label_smoothing, gamma, desirable_weight, undesirable_weight, ..
    } = objective
    else {
        return Vec::new();
    };
    let has = |kinds: &[PreferenceLossKind]| {
        let mut losses = std::iter::once(*loss).chain(terms.iter().map(|term| term.loss));
        losses.any(|loss| kinds.contains(&loss))
    };
    // A run's own configuration states the defaults.
    let is_set = |value: f64, usual: f64| (value - usual).abs() > 0.0;
    let parameters = [
        ("label_smoothing", label_smoothing.is_some(), PreferenceLossKind::SMOOTHED),
        ("gamma", is_set(*gamma, default_gamma()), &[PreferenceLossKind::Simpo]),
        ("desirable_weight", is_set(*desirable_weight, 1.0), &[PreferenceLossKind::Kto]),
        ("undesirable_weight", is_set(*undesirable_weight, 1.0), &[PreferenceLossKind::Kto]),
    ];
    let conflict = |(name, _, kinds): (&str, bool, &[PreferenceLossKind])| {
        let key = format!("objective.{name}");
        let kinds = kinds.iter().map(|kind| format!("\"{}\"", kind.name())).collect::<Vec<_>>();
        let message = format!("`{key}` is for {}, `objective.loss` is \"{}\"", hint::all_of(&kinds), loss.name());
        Conflict::new(&[&key, "objective.loss"], message).hint(format!("leave `{key}` out, or choose another loss"))
    };
    parameters.into_iter().filter(|(_, is_set, kinds)| *is_set && !has(kinds)).map(conflict).collect()
}

/// Pairs are split for what learns from single answers.
fn split_pairs(config: &RunConfig) -> Vec<Conflict> {
    let numbered = |key: &str, sources: &[SourceConfig]| {
        (0..sources.len()).map(|index| format!("{key}.{index}")).collect::<Vec<_>>()
    };
    let data = &config.data;
    let keys = [numbered("data.sources", &data.sources), numbered("data.held_out", &data.held_out)].concat();
    let sources = keys.into_iter().zip(data.sources.iter().chain(&data.held_out));
    let sources = sources.chain(data.eval.iter().map(|source| ("data.eval".to_owned(), source)));
    let split = sources.filter(|(_, source)| source.split_pairs);
    let conflict = |(path, source): (String, &SourceConfig)| {
        let key = format!("{path}.split_pairs");
        if source.better_answer {
            let better = format!("{path}.better_answer");
            let message = format!("`{key}` makes two answers of a pair, `{better}` leaves one");
            return Some(Conflict::new(&[&key, &better], message).hint("leave one of them out"));
        }
        (!config.objective.is_unpaired()).then(|| {
            let message = format!("`{key}` is for `objective.loss` \"kto\", which learns from single answers");
            Conflict::new(&[&key, "objective.loss"], message).hint(format!("leave `{key}` out"))
        })
    };
    split.filter_map(conflict).collect()
}

/// Features change with the encoder that makes them.
fn feature_cache(train: &TrainConfig) -> Option<Conflict> {
    (train.feature_cache.is_some() && !train.encoder.tuning.is_frozen()).then(|| {
        let keys = ["train.feature_cache", "train.encoder.tuning"];
        let message = "`train.feature_cache` is for an encoder that does not change, this one is trained".to_owned();
        Conflict::new(&keys, message)
            .hint("leave `train.feature_cache` out, or set `train.encoder.tuning = \"frozen\"`")
    })
}

/// Other curves fall from the warm-up on.
fn decay(schedule: &ScheduleConfig) -> Option<Conflict> {
    (schedule.decay_ratio.is_some() && schedule.kind != ScheduleKind::WarmupStableDecay).then(|| {
        let keys = ["schedule.decay_ratio", "schedule.kind"];
        let message = format!("`{}` is for `{}` \"warmup_stable_decay\"", keys[0], keys[1]);
        Conflict::new(&keys, message)
            .hint(format!("leave `{}` out, or set `{} = \"warmup_stable_decay\"`", keys[0], keys[1]))
    })
}

fn sources(config: &RunConfig) -> Vec<Conflict> {
    let sources = &config.data.sources;
    let mut found = Vec::new();
    if sources.is_empty() {
        let conflict = Conflict::new(&["data.sources"], "no data: `data.sources` is empty".to_owned());
        found.push(conflict.hint("give `--data` a directory or a known data set, such as `cc3m`".to_owned()));
    }
    let mut names = BTreeSet::new();
    for (index, source) in sources.iter().enumerate() {
        let key = format!("data.sources.{index}");
        if !names.insert(&source.name) {
            let name = format!("{key}.name");
            found
                .push(Conflict::new(&[&name], format!("`{name}`: another source is called `{}` already", source.name)));
        }
        found.extend(source_itself(source, &key));
    }
    found.extend(config.data.eval.iter().flat_map(|source| source_itself(source, "data.eval")));
    for (index, source) in config.data.held_out.iter().enumerate() {
        let key = format!("data.held_out.{index}");
        // Evaluations go by their names; `held_out` is the one of `data.eval`.
        let before = &config.data.held_out[..index];
        if source.name == "held_out" || before.iter().any(|other| other.name == source.name) {
            let name = format!("{key}.name");
            let message = format!("`{name}`: another evaluation is called `{}` already", source.name);
            found.push(Conflict::new(&[&name], message));
        }
        found.extend(source_itself(source, &key));
    }
    for (index, source) in config.learned_from().enumerate() {
        found.extend(source_itself(source, &format!("model.tokenizer.train_bpe.sources.{index}")));
    }
    found
}

fn source_itself(source: &SourceConfig, key: &str) -> Vec<Conflict> {
    let mut found = Vec::new();
    if source.name.trim().is_empty() {
        let name = format!("{key}.name");
        found.push(Conflict::new(&[&name], format!("`{name}` is empty")));
    }
    let Some(synth) = &source.synth else { return found };
    let (min, max, like) =
        (format!("{key}.synth.min_objects"), format!("{key}.synth.max_objects"), format!("{key}.synth.like"));
    if synth.min_objects > synth.max_objects {
        let message = format!("`{min}` ({}) is above `{max}` ({})", synth.min_objects, synth.max_objects);
        found.push(Conflict::new(&[&min, &max], message));
    }
    let known: Vec<_> = dataset_presets().iter().filter(|preset| preset.synth).map(|preset| preset.name).collect();
    if !known.contains(&synth.like.as_str()) {
        let near = hint::nearest(&synth.like, known.iter().copied());
        let hint =
            near.map_or_else(|| format!("one of: {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
        found.push(Conflict::new(&[&like], format!("`{like}`: no way to make data like `{}`", synth.like)).hint(hint));
    }
    found
}

fn batch_sizes(train: &TrainConfig) -> Option<Conflict> {
    let (global, micro) = (train.global_batch_size.get(), train.micro_batch_size.get());
    (global % micro != 0).then(|| {
        let keys = ["train.global_batch_size", "train.micro_batch_size"];
        let message = format!("`{}` ({global}) is not a multiple of `{}` ({micro})", keys[0], keys[1]);
        Conflict::new(&keys, message)
            .hint(format!("the nearest micro-batch that divides it: {}", nearest_divisor(global, micro)))
    })
}

/// Only evaluations have a best one.
fn best(config: &RunConfig) -> Option<Conflict> {
    config.checkpoint.best.as_ref()?;
    let is_evaluated = config.data.eval.is_some() || !config.data.held_out.is_empty();
    let (key, hint) = match (is_evaluated, config.train.eval_every) {
        (false, _) => ("data.eval", "say what is evaluated in `[data.eval]`, or leave `checkpoint.best` out"),
        (true, 0) => ("train.eval_every", "set `train.eval_every`, or leave `checkpoint.best` out"),
        (true, _) => return None,
    };
    let message = format!("`checkpoint.best` is the best evaluation, and without `{key}` there is none");
    Some(Conflict::new(&["checkpoint.best", key], message).hint(hint))
}

/// How many rows an epoch gives is known when it has been packed; schedule and length need it before.
fn packing(config: &RunConfig) -> Option<Conflict> {
    (config.data.packing && config.train.epochs.is_some()).then(|| {
        let message = "`train.epochs` says nothing about the steps of a run with `data.packing`".to_owned();
        Conflict::new(&["train.epochs", "data.packing"], message).hint("set `train.steps`")
    })
}

/// A rank without a micro-batch would have nothing to do. Reported where the batch sizes themselves are right.
fn ranks(train: &TrainConfig) -> Option<Conflict> {
    let (global, micro) = (train.global_batch_size.get(), train.micro_batch_size.get());
    let passes = train.grad_accum_steps();
    (train.ranks > passes && global.is_multiple_of(micro)).then(|| {
        let keys = ["train.ranks", "train.micro_batch_size", "train.global_batch_size"];
        let message = format!(
            "`{}` ({}) is above the {passes} micro-batches of a step (`{}` {global} / `{}` {micro})",
            keys[0], train.ranks, keys[2], keys[1]
        );
        Conflict::new(&keys, message).hint(format!("at most {passes}, or 0 for as many as there are cores"))
    })
}

/// The divisor of `number` that is nearest to `wish`; the smaller one of two.
fn nearest_divisor(number: usize, wish: usize) -> usize {
    let below = (1..=wish.min(number)).rev().find(|divisor| number.is_multiple_of(*divisor)).unwrap_or(1);
    let above = (wish..=number).find(|divisor| number.is_multiple_of(*divisor)).unwrap_or(below);
    if above - wish.min(above) < wish.abs_diff(below) { above } else { below }
}

fn trained_parts(train: &TrainConfig) -> Option<Conflict> {
    let frozen = |part: &PartConfig| part.tuning.is_frozen();
    (frozen(&train.encoder) && frozen(&train.connector) && frozen(&train.decoder)).then(|| {
        let keys = ["train.connector.tuning", "train.encoder.tuning", "train.decoder.tuning"];
        let message = "nothing is trained: encoder, connector and decoder are frozen".to_owned();
        Conflict::new(&keys, message).hint("`train.connector.tuning = { full = { lr = 1e-3 } }` trains the connector")
    })
}

fn encoder(encoder: &EncoderConfig) -> Vec<Conflict> {
    match (&encoder.arch, &encoder.audio_arch) {
        (Some(arch), _) => vision(encoder, arch),
        (None, Some(arch)) => audio(encoder, arch),
        (None, None) => Vec::new(),
    }
}

/// What is said of pictures says nothing to an encoder of sounds.
fn audio(encoder: &EncoderConfig, arch: &AudioArch) -> Vec<Conflict> {
    let own = EncoderConfig::default();
    let of_pictures = [
        ("model.encoder.feature_layer", encoder.feature_layer != own.feature_layer),
        ("model.encoder.image_fit", encoder.image_fit.is_some()),
        ("model.encoder.second", encoder.second.is_some()),
        ("model.encoder.video", encoder.video != own.video),
    ];
    let of_pictures = of_pictures.into_iter().filter(|(_, set)| *set).map(|(key, _)| {
        let message = format!("`{key}` is for towers that see, `model.encoder.audio_arch` hears");
        Conflict::new(&[key, "model.encoder.audio_arch"], message).hint(format!("leave `{key}` out"))
    });
    let heads = divides(
        "model.encoder.audio_arch",
        ("hidden_size", arch.hidden_size),
        ("num_attention_heads", arch.num_attention_heads),
    );
    of_pictures.chain(heads).collect()
}

fn vision(encoder: &EncoderConfig, arch: &VisionArch) -> Vec<Conflict> {
    let (blocks, layer) = (arch.num_hidden_layers, encoder.feature_layer);
    let too_deep = (layer.unsigned_abs() as usize > blocks).then(|| {
        let keys = ["model.encoder.feature_layer", "model.encoder.arch.num_hidden_layers"];
        let message = format!("`{}` ({layer}) leaves no block of `{}` ({blocks})", keys[0], keys[1]);
        Conflict::new(&keys, message).hint(format!("from -{blocks} (the first block) to -1 (the last one)"))
    });
    let mut found: Vec<_> = too_deep.into_iter().chain(patches(arch)).collect();
    found.extend(divides(
        "model.encoder.arch",
        ("hidden_size", arch.hidden_size),
        ("num_attention_heads", arch.num_attention_heads),
    ));
    found
}

fn patches(arch: &VisionArch) -> Option<Conflict> {
    let (image, patch) = (arch.image_size, arch.patch_size);
    let keys = ["model.encoder.arch.image_size", "model.encoder.arch.patch_size"];
    if patch > image {
        let message = format!("`{}` ({image}) is smaller than `{}` ({patch})", keys[0], keys[1]);
        return Some(Conflict::new(&keys, message));
    }
    (arch.family == VisionFamily::Clip && image % patch != 0).then(|| {
        let message = format!("`{}` ({image}) is not a multiple of `{}` ({patch})", keys[0], keys[1]);
        Conflict::new(&keys, message).hint(format!("{} or {}", image / patch * patch, (image / patch + 1) * patch))
    })
}

/// A conflict unless the second size divides the first; both are keys of the table at `path`.
fn divides(path: &str, whole: (&str, usize), part: (&str, usize)) -> Option<Conflict> {
    (!whole.1.is_multiple_of(part.1)).then(|| {
        let keys = [format!("{path}.{}", whole.0), format!("{path}.{}", part.0)];
        let message = format!("`{}` ({}) is not a multiple of `{}` ({})", keys[0], whole.1, keys[1], part.1);
        Conflict { keys: keys.to_vec(), message, hint: None }
    })
}

fn connector(model: &ModelConfig) -> Option<Conflict> {
    match &model.connector {
        ConnectorConfig::Mlp { pixel_shuffle: factor, .. } => pixel_shuffle(&model.encoder, factor.get()),
        ConnectorConfig::CrossAttention { interval, .. } => cross_attention(&model.decoder, interval.get()),
        ConnectorConfig::QFormer { hidden_size, num_attention_heads, .. } => divides(
            "model.connector",
            ("hidden_size", hidden_size.get()),
            ("num_attention_heads", num_attention_heads.get()),
        ),
    }
}

/// Without a layer nothing of an image would reach the decoder.
fn cross_attention(decoder: &DecoderConfig, interval: usize) -> Option<Conflict> {
    let blocks = decoder.arch.as_ref()?.num_hidden_layers;
    (interval > blocks).then(|| {
        let keys = ["model.connector.interval", "model.decoder.arch.num_hidden_layers"];
        let message = format!("`{}` ({interval}) is above `{}` ({blocks})", keys[0], keys[1]);
        Conflict::new(&keys, message).hint(format!("from 1 (a layer before each block) to {blocks} (one layer in all)"))
    })
}

fn pixel_shuffle(encoder: &EncoderConfig, factor: usize) -> Option<Conflict> {
    let grid = encoder.arch.as_ref()?.grid();
    (grid % factor != 0).then(|| {
        let keys = ["model.connector.pixel_shuffle", "model.encoder.arch.image_size", "model.encoder.arch.patch_size"];
        let message = format!("`{}` ({factor}) does not divide the {grid} x {grid} patches of the encoder", keys[0]);
        let divisors: Vec<_> =
            (1..=grid).filter(|divisor| grid.is_multiple_of(*divisor)).map(|divisor| divisor.to_string()).collect();
        Conflict::new(&keys, message).hint(format!("one of {}", divisors.join(", ")))
    })
}

fn decoder(decoder: &DecoderConfig) -> Vec<Conflict> {
    let Some(arch) = &decoder.arch else { return Vec::new() };
    let path = "model.decoder.arch";
    let (hidden, heads) = (("hidden_size", arch.hidden_size), ("num_attention_heads", arch.num_attention_heads));
    let mut found = Vec::new();
    found.extend(divides(path, hidden, heads));
    found.extend(divides(path, heads, ("num_key_value_heads", arch.num_key_value_heads)));
    found.extend(odd_heads(arch));
    if let (DecoderFamily::Llama, Some(window)) = (arch.family, arch.sliding_window) {
        let keys = ["model.decoder.arch.sliding_window", "model.decoder.arch.family"];
        let message = format!("`{}` ({window}) does not go with family llama, which has no window", keys[0]);
        found.push(
            Conflict::new(&keys, message).hint("`model.decoder.arch.family = \"mistral\"` is llama with a window"),
        );
    }
    found
}

fn odd_heads(arch: &DecoderArch) -> Option<Conflict> {
    let (hidden, heads, width) = (arch.hidden_size, arch.num_attention_heads, arch.head_width());
    let hint = "rotary positions turn pairs of numbers: the size of a head must be even";
    if arch.head_dim.is_some() {
        let key = "model.decoder.arch.head_dim";
        return (width % 2 != 0).then(|| Conflict::new(&[key], format!("`{key}` ({width}) is odd")).hint(hint));
    }
    (hidden % heads == 0 && width % 2 != 0).then(|| {
        let keys = ["model.decoder.arch.hidden_size", "model.decoder.arch.num_attention_heads"];
        let message =
            format!("`{}` ({hidden}) / `{}` ({heads}) gives heads of {width}, which is odd", keys[0], keys[1]);
        Conflict::new(&keys, message).hint(hint)
    })
}

fn tokenizer(config: &RunConfig) -> Option<Conflict> {
    let (tokenizer, decoder) = (&config.model.tokenizer, &config.model.decoder);
    let keys = ["model.tokenizer", "model.decoder"];
    if decoder.arch.is_some() && tokenizer.path.is_none() && tokenizer.train_bpe.is_none() {
        let message = "no tokenizer: a decoder from random numbers brings none".to_owned();
        return Some(
            Conflict::new(&keys, message)
                .hint("set `model.tokenizer.path`, or `model.tokenizer.train_bpe = { vocab_size = 512 }`"),
        );
    }
    (decoder.weights.is_some() && tokenizer.train_bpe.is_some()).then(|| {
        let message = "`model.tokenizer.train_bpe` does not go with `model.decoder.weights`, whose embeddings belong to its own tokens";
        let hint = "leave `model.tokenizer` out to use the tokenizer beside the weights";
        Conflict::new(&["model.tokenizer.train_bpe", "model.decoder.weights"], message.to_owned()).hint(hint)
    })
}

fn sequence_length(config: &RunConfig) -> Vec<Conflict> {
    let max_seq = config.data.max_seq;
    let tokens = config.model.encoder.arch.as_ref().map(|arch| config.model.connector.num_tokens(arch.num_patches()));
    let no_room = tokens.filter(|tokens| *tokens >= max_seq).map(|tokens| {
        let message = format!("`data.max_seq` ({max_seq}) leaves no room for text: an image takes {tokens} tokens");
        Conflict::new(&["data.max_seq", "model.encoder.arch", "model.connector"], message)
    });
    let positions = config.model.decoder.arch.as_ref().map(|arch| arch.max_position_embeddings);
    let too_long = positions.filter(|positions| *positions < max_seq).map(|positions| {
        let keys = ["data.max_seq", "model.decoder.arch.max_position_embeddings"];
        Conflict::new(&keys, format!("`{}` ({max_seq}) is above `{}` ({positions})", keys[0], keys[1]))
    });
    no_room.into_iter().chain(too_long).collect()
}

#[cfg(test)]
mod tests;
