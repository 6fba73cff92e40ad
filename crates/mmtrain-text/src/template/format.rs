//! The templates that are known by name: their names, tokens and system prompts.

use std::str::FromStr;

/// A template that is known by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Picture, then caption.
    #[default]
    Plain,
    /// `Input: <image>`, then `Response: {caption}`.
    Article,
    /// `USER: … ASSISTANT: …`, of Vicuna and `LLaVA` 1.5.
    VicunaV1,
    /// `[INST] … [/INST] …`.
    Llama2,
    /// Headers and `<|eot_id|>`.
    Llama3,
    /// `<|im_start|>`, `<|im_end|>` and a line break, as Qwen writes it.
    Chatml,
    /// `ChatML` with the media markers of `Qwen2-VL` and Qwen2-Audio.
    Qwen2Vl,
    /// `### Instruction:`, `### Response:`.
    Alpaca,
    /// Media, instruction, answer.
    Instructblip,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Article,
        Self::VicunaV1,
        Self::Llama2,
        Self::Llama3,
        Self::Chatml,
        Self::Qwen2Vl,
        Self::Alpaca,
        Self::Instructblip,
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Article => "article",
            Self::VicunaV1 => "vicuna_v1",
            Self::Llama2 => "llama2",
            Self::Llama3 => "llama3",
            Self::Chatml => "chatml",
            Self::Qwen2Vl => "qwen2_vl",
            Self::Alpaca => "alpaca",
            Self::Instructblip => "instructblip",
        }
    }

    /// The special tokens that it places by name; a tokenizer that is trained for it is given them.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Self::Llama3 => &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            Self::Chatml => &["<|im_start|>", "<|im_end|>"],
            Self::Qwen2Vl => &["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"],
            _ => &[],
        }
    }

    /// Standing orders where the conversation gives none.
    pub(super) fn default_system(self) -> Option<&'static str> {
        match self {
            Self::VicunaV1 => Some(
                "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
                 detailed, and polite answers to the user's questions.",
            ),
            Self::Chatml | Self::Qwen2Vl => Some("You are a helpful assistant."),
            Self::Alpaca => Some(
                "Below is an instruction that describes a task. Write a response that appropriately completes the \
                 request.",
            ),
            _ => None,
        }
    }

    /// Whether there is a place for standing orders.
    pub(super) fn takes_system(self) -> bool {
        !matches!(self, Self::Plain | Self::Article | Self::Instructblip)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join("`, `");
            format!("unknown template `{name}`, known are `{known}`")
        })
    }
}
