//! The fields of a request for a chat completion.
//!
//! What would change the answer and is not done here (tools, several answers, log-probabilities) is refused; fields that
//! change nothing (`user`, `metadata`, `store`) are passed by.

use serde_json::{Map, Value};

use crate::engine::Options;
use crate::refusal::Refusal;
use crate::settings::Limits;

/// Most texts that may end an answer.
const STOPS: usize = 16;

/// Longest of them, in bytes.
const STOP_BYTES: usize = 256;

/// Most messages of a conversation.
const MESSAGES: usize = 4096;

/// Most values in a body, of which each takes a hundred bytes when it is read.
const VALUES: usize = 1 << 17;

/// A request for a chat completion.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// What the model goes on from; whoever makes prompts reads it.
    pub messages: Value,
    /// How.
    pub options: Options,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// Whether the last piece says how many tokens there were.
    pub include_usage: bool,
}

impl ChatRequest {
    /// Reads a body for a server of `model`. `seed` is for requests that name none.
    pub fn read(bytes: &[u8], model: &str, limits: &Limits, seed: u64) -> Result<Self, Refusal> {
        if has_more_values_than(VALUES, bytes) {
            return Err(Refusal::unreadable(format!("the body has more than {VALUES} values")).named("bad_json"));
        }
        let value = serde_json::from_slice::<Value>(bytes);
        let value =
            value.map_err(|error| Refusal::unreadable(format!("the body is no JSON: {error}")).named("bad_json"))?;
        let Value::Object(mut object) = value else {
            return Err(Refusal::unreadable("the body is no JSON object").named("bad_json"));
        };
        let messages =
            object.remove("messages").ok_or_else(|| Refusal::invalid("messages", "there are no `messages`"))?;
        if messages.as_array().is_some_and(|messages| messages.len() > MESSAGES) {
            return Err(Refusal::invalid("messages", format!("there are more than {MESSAGES} messages")));
        }
        let fields = Fields(object);
        match fields.text("model")? {
            Some(asked) if asked != model => return Err(Refusal::no_model(asked, model)),
            Some(_) => {}
            None => return Err(Refusal::invalid("model", format!("`model` is missing; it is `{model}`"))),
        }
        fields.refuse_others()?;
        let stream = fields.flag("stream")?;
        Ok(Self {
            messages,
            options: fields.options(limits, seed)?,
            stream,
            include_usage: fields.include_usage(stream)?,
        })
    }
}

/// Whether a text of JSON has more values: each stands behind a comma, a colon, or what opens a list or an object. A few bytes would
/// become a hundred each in memory.
fn has_more_values_than(most: usize, json: &[u8]) -> bool {
    let (mut values, mut in_text, mut is_escaped) = (1_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values > most
}

/// An object whose fields may be left out or null.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| wrong(key, value, "a string"))).transpose()
    }

    fn flag(&self, key: &str) -> Result<bool, Refusal> {
        let flag = self.get(key).map(|value| value.as_bool().ok_or_else(|| wrong(key, value, "true or false")));
        flag.unwrap_or(Ok(false))
    }

    /// A number that `fits`.
    fn number(&self, key: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Result<Option<f32>, Refusal> {
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite() && fits(*number));
        let read = |value| number(value).map(|number| number as f32).ok_or_else(|| wrong(key, value, expected));
        self.get(key).map(read).transpose()
    }

    fn count(&self, key: &str, expected: &str, most: usize) -> Result<Option<usize>, Refusal> {
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        let fits = |count: &usize| (1..=most).contains(count);
        let read = |value| count(value).filter(fits).ok_or_else(|| wrong(key, value, expected));
        self.get(key).map(read).transpose()
    }

    fn options(&self, limits: &Limits, seed: u64) -> Result<Options, Refusal> {
        let most = limits.new_tokens;
        let tokens = format!("a whole number from 1 to {most}");
        // The second is OpenAI's older name.
        let asked = [self.count("max_completion_tokens", &tokens, most)?, self.count("max_tokens", &tokens, most)?];
        let asked = asked.into_iter().flatten().min();
        let top_k = match self.get("top_k") {
            // Of vLLM and of `transformers`: all tokens.
            Some(value) if value.as_i64().is_some_and(|k| k == 0 || k == -1) => None,
            _ => self.count("top_k", "a whole number from 1 up", usize::MAX)?,
        };
        Ok(Options {
            max_new_tokens: asked.unwrap_or(limits.default_new_tokens.min(most)),
            temperature: self
                .number("temperature", "a number from 0 to 2", |t| (0.0..=2.0).contains(&t))?
                .unwrap_or(1.0),
            top_p: self.number("top_p", "a number above 0 and up to 1", |p| p > 1e-6 && p <= 1.0)?,
            top_k,
            min_p: self.number("min_p", "a number from 0 to 1", |p| (0.0..=1.0).contains(&p))?,
            repetition_penalty: self
                .number("repetition_penalty", "a number from 0.01 to 100", |p| (0.01..=100.0).contains(&p))?,
            seed: self.seed()?.unwrap_or(seed),
            stop: self.stop()?,
        })
    }

    fn seed(&self) -> Result<Option<u64>, Refusal> {
        let whole = |value: &Value| value.as_u64().or_else(|| value.as_i64().map(|seed| seed as u64));
        let read = |value| whole(value).ok_or_else(|| wrong("seed", value, "a whole number of 64 bits"));
        self.get("seed").map(read).transpose()
    }

    fn stop(&self) -> Result<Vec<String>, Refusal> {
        let expected = format!("a string or a list of up to {STOPS}, of 1 to {STOP_BYTES} bytes each");
        let Some(value) = self.get("stop") else { return Ok(Vec::new()) };
        let texts = match value {
            Value::Array(texts) if texts.len() <= STOPS => texts.as_slice(),
            other => std::slice::from_ref(other),
        };
        let text =
            |value: &Value| value.as_str().filter(|text| (1..=STOP_BYTES).contains(&text.len())).map(str::to_owned);
        texts.iter().map(|value| text(value).ok_or_else(|| wrong("stop", value, &expected))).collect()
    }

    fn include_usage(&self, stream: bool) -> Result<bool, Refusal> {
        let Some(value) = self.get("stream_options") else { return Ok(false) };
        let Value::Object(options) = value else { return Err(wrong("stream_options", value, "an object")) };
        if !stream {
            return Err(Refusal::invalid("stream_options", "`stream_options` goes with `stream`"));
        }
        Fields(options.clone()).flag("include_usage")
    }

    /// What the answer would not be true to.
    fn refuse_others(&self) -> Result<(), Refusal> {
        if let Some(value) = self.get("n").filter(|value| value.as_f64() != Some(1.0)) {
            return Err(wrong("n", value, "1"));
        }
        for key in ["tools", "functions", "logit_bias"] {
            let empty = |value: &Value| {
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
            };
            self.refuse(key, "an empty one", empty)?;
        }
        for key in ["frequency_penalty", "presence_penalty"] {
            self.refuse(key, "0", |value| value.as_f64() == Some(0.0))?;
        }
        self.refuse("logprobs", "false", |value| *value == Value::Bool(false))?;
        self.refuse("top_logprobs", "0", |value| value.as_u64() == Some(0))?;
        self.refuse("audio", "null", |_| false)?;
        self.refuse("modalities", "[\"text\"]", |value| *value == serde_json::json!(["text"]))?;
        self.refuse("response_format", "{\"type\": \"text\"}", |value| value.get("type") == Some(&"text".into()))
    }

    fn refuse(&self, key: &str, only: &str, fits: impl Fn(&Value) -> bool) -> Result<(), Refusal> {
        match self.get(key).filter(|value| !fits(value)) {
            Some(_) => {
                let message = format!("`{key}` is not served here: leave it out, or give {only}");
                Err(Refusal::invalid(key, message).named("unsupported_parameter"))
            }
            None => Ok(()),
        }
    }
}

/// Both sides of what does not fit.
fn wrong(key: &str, found: &Value, expected: &str) -> Refusal {
    let found = found.to_string();
    let short = found.chars().take(60).collect::<String>();
    let shown = if short.len() < found.len() { format!("{short}…") } else { short };
    Refusal::invalid(key, format!("`{key}` is {shown}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: &Value) -> Result<ChatRequest, Refusal> {
        let mut body = json!({ "model": "m", "messages": [] });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        ChatRequest::read(body.to_string().as_bytes(), "m", &Limits::default(), 7)
    }

    #[test]
    fn what_is_left_out_is_as_the_api_has_it() {
        let plain = read(&json!({})).expect("a request");
        let options = Options { max_new_tokens: 512, temperature: 1.0, seed: 7, ..Options::default() };
        assert_eq!(plain, ChatRequest { messages: json!([]), options, stream: false, include_usage: false });
        let nulls = json!({ "temperature": null, "stop": null, "n": null, "stream": null, "stream_options": null, "tools": null });
        assert_eq!(read(&nulls), Ok(plain));
    }

    #[test]
    fn a_body_of_more_values_than_a_conversation_has_is_refused_before_it_is_read() {
        let nothing = vec![0; VALUES];
        let refused = read(&json!({ "metadata": nothing })).expect_err("too many");
        assert!(refused.message().contains("131072 values"), "{refused:?}");
        // Text is no list, whatever is in it.
        assert!(read(&json!({ "user": "[\"a\\\",1,{".repeat(VALUES) })).is_ok());
        let numbers = |json: &[u8]| (1..9).find(|most| !has_more_values_than(*most, json));
        assert_eq!(numbers(br#"{"a\\": [1, "b,\"[", {}]}"#), Some(7));
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let request = read(&json!({
            "max_tokens": 9, "max_completion_tokens": 8, "temperature": 0, "top_p": 0.5, "top_k": 3, "min_p": 0.1,
            "repetition_penalty": 1.1, "seed": -1, "stop": "x", "stream": true, "stream_options": { "include_usage": true },
            "n": 1, "user": "u", "tools": [], "response_format": { "type": "text" },
        }));
        let options = Options {
            max_new_tokens: 8,
            temperature: 0.0,
            top_p: Some(0.5),
            top_k: Some(3),
            min_p: Some(0.1),
            repetition_penalty: Some(1.1),
            seed: u64::MAX,
            stop: vec!["x".to_owned()],
        };
        assert_eq!(request, Ok(ChatRequest { messages: json!([]), options, stream: true, include_usage: true }));
        let stops = read(&json!({ "stop": ["a", "b"], "top_k": -1 })).expect("a request").options;
        assert_eq!((stops.stop, stops.top_k), (vec!["a".to_owned(), "b".to_owned()], None));
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        for (field, values) in [
            ("max_tokens", json!([0, -1, 1.5, "9", 5000, 1e300])),
            ("temperature", json!([-0.1, 2.1, "1", true, []])),
            ("top_p", json!([0, 1.1, -1, {}])),
            ("top_k", json!([-2, 1.5, "x"])),
            ("min_p", json!([-0.1, 1.1])),
            ("repetition_penalty", json!([0, -1, 1e9])),
            ("seed", json!([1.5, "x", 1e30])),
            ("stop", json!([1, [1], "", [""], "x".repeat(257), vec!["x"; 17]])),
            ("stream", json!(["yes", 1])),
            ("stream_options", json!([{}, 1])),
            ("n", json!([0, 2, "1", 1e9])),
            ("tools", json!([[{}]])),
            ("logprobs", json!([true])),
            ("response_format", json!([{ "type": "json_object" }, "text"])),
            ("frequency_penalty", json!([0.1])),
            ("modalities", json!([["audio"]])),
        ] {
            for value in values.as_array().expect("a list") {
                let refusal = read(&json!({ field: value })).expect_err(field);
                assert_eq!(
                    (refusal.json()["error"]["param"].as_str(), refusal.status().as_u16()),
                    (Some(field), 400),
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn another_model_is_not_there() {
        let refusal = read(&json!({ "model": "gpt-4" })).expect_err("another");
        assert_eq!((refusal.status().as_u16(), refusal.code()), (404, Some("model_not_found")));
        assert_eq!(read(&json!({ "model": null })).expect_err("none").status().as_u16(), 400);
    }
}
