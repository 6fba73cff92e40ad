//! The objects of an answer.

use serde_json::{Value, json};

use crate::engine::Finish;

/// What all objects of one answer share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Of the request.
    pub(crate) id: String,
    /// Name of the model.
    pub(crate) model: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
}

impl Reply {
    /// The whole answer.
    pub(crate) fn whole(&self, text: &str, finish: Finish, tokens: usize) -> Value {
        let message = json!({ "role": "assistant", "content": text, "refusal": null });
        let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish.name() });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": self.usage(tokens),
        })
    }

    /// A piece of it; `null` for the usage where that comes at the end.
    pub(crate) fn piece(&self, delta: &Value, finish: Option<Finish>, usage_follows: bool) -> Value {
        let finish = finish.map(Finish::name);
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        let mut piece = self.chunk(&json!([choice]));
        if usage_follows {
            piece["usage"] = Value::Null;
        }
        piece
    }

    /// The last piece, where it is asked for.
    pub(crate) fn total(&self, tokens: usize) -> Value {
        let mut piece = self.chunk(&json!([]));
        piece["usage"] = self.usage(tokens);
        piece
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        })
    }

    fn usage(&self, tokens: usize) -> Value {
        let prompt = self.prompt_tokens;
        json!({ "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens })
    }
}
