//! The three stages of training, and how one leads to the next.

use std::path::PathBuf;

use clap::ValueEnum;
use mmtrain_config::{Request, RunConfig, TemplateKind, mentions};
use mmtrain_data::{Feedback, RawSample, Source};
use mmtrain_text::Role;

use crate::commands::config_dirs;
use crate::fail::Refusal;
use crate::run_dir::newest_finished;

/// A stage of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Caption alignment.
    Pretrain,
    /// Instruction tuning.
    Sft,
    /// Preference alignment.
    Dpo,
}

impl Stage {
    /// As the command is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Sft => "sft",
            Self::Dpo => "dpo",
        }
    }

    /// The stage whose runs it starts from.
    fn before(self) -> Option<Self> {
        match self {
            Self::Pretrain => None,
            Self::Sft => Some(Self::Pretrain),
            Self::Dpo => Some(Self::Sft),
        }
    }

    /// The configuration that is used where none is named.
    pub(crate) fn preset(self) -> Option<&'static str> {
        match self {
            Self::Pretrain => None,
            Self::Sft | Self::Dpo => Some(self.name()),
        }
    }

    /// The run to start from where `--init` names none: the newest finished one of the stage before, unless the
    /// configuration itself says where the decoder comes from.
    pub(crate) fn parent(self, config: Option<&str>) -> anyhow::Result<Option<PathBuf>> {
        let Some(before) = self.before() else { return Ok(None) };
        let (dirs, own) = (config_dirs(), ["model.decoder.weights", "model.decoder.arch"]);
        let request = Request { config: config.or(self.preset()), search: &dirs, ..Request::default() };
        for key in own {
            if mentions(&request, key)? {
                return Ok(None);
            }
        }
        match newest_finished(before.name())? {
            Some(run) => Ok(Some(run)),
            None => Err(self.nothing_before(before).into()),
        }
    }

    fn nothing_before(self, before: Self) -> Refusal {
        let (own, before) = (self.name(), before.name());
        Refusal::usage(
            format!("`{own}` starts from a model, and there is no finished {before} run in `checkpoints/`"),
            format!(
                "finish one with `mmtrain {before} --config …`, name a model with `--init RUN|CKPT|HF_DIR`, or give a \
                 configuration with `model.decoder.weights`"
            ),
        )
    }

    /// Refuses an objective of another stage.
    pub(crate) fn check(self, config: &RunConfig) -> anyhow::Result<()> {
        let compares = config.objective.is_preference();
        match (self, compares) {
            (Self::Dpo, false) => Err(Refusal::usage(
                "`mmtrain dpo` compares answers, and `objective.kind` is \"next_token\"",
                "set `objective.kind = \"preference\"`, as the preset `dpo` has it (`extends = \"dpo\"`)",
            )
            .into()),
            (Self::Pretrain | Self::Sft, true) => Err(Refusal::usage(
                format!("`objective.kind = \"preference\"` is for `mmtrain dpo`, this is `mmtrain {}`", self.name()),
                "run `mmtrain dpo` with this configuration",
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// Samples from which is seen what a source holds.
const LOOKED_AT: usize = 16;

/// The first sample of a source that can be read.
fn first_of(source: &dyn Source) -> Option<RawSample> {
    (0..source.len().min(LOOKED_AT)).find_map(|index| source.get(index).ok())
}

fn check_pairing(name: &str, sample: &RawSample, config: &RunConfig) -> anyhow::Result<()> {
    let Some(feedback) = sample.feedback.as_ref().filter(|_| config.objective.is_preference()) else { return Ok(()) };
    match (config.objective.is_unpaired(), matches!(feedback, Feedback::Rejected(_))) {
        (true, true) => Err(Refusal::usage(
            format!("source `{name}` holds pairs, and `objective.loss` \"kto\" learns from single answers"),
            "`split_pairs = true` of the source makes two answers of each pair; other losses learn from pairs",
        )
        .into()),
        (false, false) => Err(Refusal::usage(
            format!("source `{name}` holds single answers that are judged, and this loss compares two"),
            "`objective.loss = \"kto\"` learns from them",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Whether most samples of a source have several answers.
fn converses(source: &dyn Source) -> bool {
    let looked_at = (0..source.len().min(LOOKED_AT)).filter_map(|index| source.get(index).ok());
    let answers = looked_at.map(|sample| {
        let turns = sample.conversation.turns.iter();
        turns.filter(|turn| turn.role == Role::Assistant).count()
    });
    let (several, one) = answers.partition::<Vec<_>, _>(|&answers| answers > 1);
    several.len() > one.len()
}

/// Refuses data of another stage: judged answers where nothing is compared, answers that nobody judged where something is, and
/// conversations of several turns where `plain` writes captions, which would leave most samples out.
pub(crate) fn refuse_other_stage(name: &str, source: &dyn Source, config: &RunConfig) -> anyhow::Result<()> {
    let Some(sample) = first_of(source) else { return Ok(()) };
    check_pairing(name, &sample, config)?;
    match (config.objective.is_preference(), sample.feedback.is_some()) {
        (false, true) => Err(Refusal::usage(
            format!("source `{name}` holds judged answers, which preference alignment (`mmtrain dpo`) learns from"),
            "`better_answer = true` of the source learns the better answers only",
        )
        .into()),
        (true, false) => {
            let captions = sample.conversation.turns.first().is_none_or(|turn| turn.text().trim().is_empty());
            let (what, fit) = if captions {
                ("captions", "alignment (`mmtrain pretrain`)")
            } else {
                ("conversations", "instruction tuning (`mmtrain sft`)")
            };
            Err(Refusal::usage(
                format!("source `{name}` holds {what}, which {fit} learns from; preferences are pairs of answers"),
                "give pairs: `rlhf-v`, `rlaif-v`, `vlfeedback`, rows with `chosen` and `rejected`, …",
            )
            .into())
        }
        (false, false) if config.data.template == TemplateKind::Plain && converses(source) => Err(Refusal::usage(
            format!(
                "source `{name}` holds conversations of several turns, which instruction tuning (`mmtrain sft`) learns from; \
                 `data.template = \"plain\"` writes one caption a sample"
            ),
            "run `mmtrain sft`, or set `data.template` to one for conversations, such as \"vicuna_v1\"",
        )
        .into()),
        _ => Ok(()),
    }
}
