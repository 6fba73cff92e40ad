//! The templates that are known by name as chat templates in Jinja, for programs that know only those: what `transformers`
//! reads beside weights that a run made.
//!
//! A template has the parts, in this order: how a turn's content is written (macros), the standing orders, the turns, and what
//! stands before the answer. White space outside of expressions is nowhere kept.

use std::fmt::Write as _;

use super::dialogue::Marks;
use super::{Format, Placement, Template, Writing, content};
use crate::{MediaKind, TextTokenizer};

impl Template {
    /// The same as a chat template for the special tokens of `tokenizer`; none of what is one already.
    ///
    /// Conversations are those of `transformers`: a content is words or a list of `{"type": "text", "text": …}`,
    /// `{"type": "image"}`, and so on; prompts are those of [`Template::render_prompt`], token by token.
    pub fn to_jinja(&self, tokenizer: &TextTokenizer) -> Option<String> {
        let Writing::Known(format) = self.writing else { return None };
        let orders = self.system.as_deref().or(format.default_system()).filter(|orders| !orders.is_empty());
        let source = match format {
            Format::Plain | Format::Article | Format::Instructblip => single(format, tokenizer),
            Format::VicunaV1 | Format::Llama2 | Format::Alpaca => {
                content_macros(false, self.placement, tokenizer) + &dialogue(format, orders, tokenizer)
            }
            Format::Llama3 | Format::Chatml | Format::Qwen2Vl => {
                content_macros(format == Format::Qwen2Vl, self.placement, tokenizer) + &chat(format, orders, tokenizer)
            }
        };
        // Breaks between statements are for the eye.
        Some(source.replace("{%-", "\n{%-").trim_start().to_owned() + "\n")
    }
}

/// `text` as a literal of Jinja, in which no statement seems to begin.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("{%", "{\\u0025")
}

/// The beginning of a sequence of words, where the tokenizer has one. `transformers` tokenizes it together with the words, which
/// are no longer the first text then: what some tokenizers write in front of that is a blank here.
fn bos(tokenizer: &TextTokenizer) -> String {
    match tokenizer.bos_id() {
        Some(_) if tokenizer.marks_the_first_text_only() => "{{- bos_token ~ ' ' -}}".into(),
        Some(_) => "{{- bos_token -}}".into(),
        None => String::new(),
    }
}

/// `medium(part)`: the placeholder of a medium, between Qwen's markers with `marked`.
fn medium_macro(marked: bool, tokenizer: &TextTokenizer) -> String {
    let kinds = [(MediaKind::Image, "image"), (MediaKind::Video, "video"), (MediaKind::Audio, "audio")];
    let mut source = String::from("{%- set sounds = namespace(count=0) -%}{%- macro medium(part) -%}");
    let mut branch = "if";
    for (kind, name) in kinds {
        let token = tokenizer.placeholder_id(kind).ok().and_then(|id| tokenizer.id_to_token(id));
        let Some(token) = token else { continue };
        let _ = write!(source, "{{%- {branch} part['type'] == '{name}' -%}}");
        let (begin, end) = if marked { content::qwen_markers(kind) } else { ("", "") };
        let shown = literal(&format!("{begin}{token}{end}"));
        if marked && kind == MediaKind::Audio {
            let _ = write!(
                source,
                "{{%- set sounds.count = sounds.count + 1 -%}}{{{{- 'Audio ' ~ sounds.count ~ ': ' ~ {shown} ~ '\\n' -}}}}"
            );
        } else {
            let _ = write!(source, "{{{{- {shown} -}}}}");
        }
        branch = "elif";
    }
    if branch == "elif" {
        source.push_str("{%- else -%}");
    }
    source.push_str("{{- raise_exception('a part is neither text nor a medium that the model takes') -}}");
    if branch == "elif" {
        source.push_str("{%- endif -%}");
    }
    source + "{%- endmacro -%}"
}

/// `say(content)`: the words and media of a turn.
fn content_macros(marked: bool, placement: Placement, tokenizer: &TextTokenizer) -> String {
    let list = match placement {
        Placement::Keep => {
            "{%- set ends = namespace(first=none, last=none) -%}\
             {%- for part in content -%}{%- if part['type'] != 'text' or part['text'] | trim -%}\
             {%- set ends.first = loop.index0 if ends.first is none else ends.first -%}{%- set ends.last = loop.index0 -%}\
             {%- endif -%}{%- endfor -%}\
             {%- set at = namespace(front=true) -%}{%- if ends.first is not none -%}\
             {%- for part in content[ends.first:ends.last + 1] if part['type'] != 'text' or part['text'] -%}\
             {%- if part['type'] == 'text' -%}\
             {%- set words = part['text'].lstrip() if loop.first else part['text'] -%}\
             {%- set words = words.rstrip() if loop.last else words -%}{{- words -}}{%- set at.front = false -%}\
             {%- else -%}{{- medium(part) -}}BREAK{%- endif -%}{%- endfor -%}{%- endif -%}"
        }
        Placement::Front => {
            "{%- set said = namespace(words='') -%}\
             {%- for part in content if part['type'] == 'text' -%}\
             {%- set said.words = said.words ~ part['text'] -%}{%- endfor -%}\
             {%- for part in content if part['type'] != 'text' -%}{{- medium(part) -}}BREAK{%- endfor -%}\
             {{- said.words | trim -}}"
        }
    };
    let line_break = match (marked, placement) {
        (true, _) => "",
        (false, Placement::Keep) => {
            "{%- if at.front and not loop.last and (loop.nextitem['type'] != 'text' \
             or not loop.nextitem['text'][:1].isspace()) -%}{{- '\\n' -}}{%- endif -%}"
        }
        (false, Placement::Front) => "{%- if not loop.last or said.words | trim -%}{{- '\\n' -}}{%- endif -%}",
    };
    let list = list.replace("BREAK", line_break);
    medium_macro(marked, tokenizer)
        + "{%- macro say(content) -%}{%- if content is string -%}{{- content | trim -}}{%- else -%}"
        + &list
        + "{%- endif -%}{%- endmacro -%}"
}

/// Turns that are headed by their speaker.
fn chat(format: Format, orders: Option<&str>, tokenizer: &TextTokenizer) -> String {
    let (begin, head, end) = match format {
        Format::Llama3 => {
            let head = "{{- '<|start_header_id|>' ~ ROLE ~ '<|end_header_id|>\\n\\n' -}}";
            let begin = if tokenizer.bos_id().is_some() { "{{- bos_token -}}" } else { "" };
            (begin, head, "{{- '<|eot_id|>' -}}")
        }
        _ => ("", "{{- '<|im_start|>' ~ ROLE ~ '\\n' -}}", "{{- '<|im_end|>\\n' -}}"),
    };
    let head = |role: &str| head.replace("ROLE", role);
    let orders = orders.map(|orders| {
        format!(
            "{{%- if messages and messages[0]['role'] != 'system' -%}}{}{{{{- {} -}}}}{end}{{%- endif -%}}",
            head("'system'"),
            literal(orders.trim())
        )
    });
    let turns = format!(
        "{{%- for message in messages -%}}{}{{{{- say(message['content']) -}}}}{end}{{%- endfor -%}}\
         {{%- if add_generation_prompt -%}}{}{{%- endif -%}}",
        head("message['role']"),
        head("'assistant'")
    );
    begin.to_owned() + &orders.unwrap_or_default() + &turns
}

/// Questions and answers in turn.
fn dialogue(format: Format, orders: Option<&str>, tokenizer: &TextTokenizer) -> String {
    let marks = Marks::of(format);
    let begin = match (bos(tokenizer), format) {
        (bos, Format::Llama2) => bos,
        (bos, _) => format!("{{%- if loop.first -%}}{bos}{{%- endif -%}}"),
    };
    let orders = orders.map_or_else(|| "none".to_owned(), |orders| literal(orders.trim()));
    let system = printed(marks.before_system, "orders", marks.after_system);
    let before = printed(marks.before, "", "");
    let between = match marks.between {
        "" => String::new(),
        between => format!("{{%- if not loop.first -%}}{}{{%- endif -%}}", printed(between, "", "")),
    };
    let question = printed("", "say(message['content'])", marks.after);
    let answer = printed(marks.before_answer, "say(message['content'])", marks.after_answer);
    format!(
        "{{%- if messages and messages[0]['role'] == 'system' -%}}\
         {{%- set orders = say(messages[0]['content']) -%}}{{%- set rounds = messages[1:] -%}}\
         {{%- else -%}}{{%- set orders = {orders} -%}}{{%- set rounds = messages -%}}{{%- endif -%}}\
         {{%- for message in rounds -%}}\
         {{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}}\
         {{{{- raise_exception('user and assistant must speak in turn, the user first, at most one system turn before them') -}}}}\
         {{%- elif message['role'] == 'user' -%}}{begin}{between}\
         {{%- if loop.first and orders is not none -%}}{system}{{%- else -%}}{before}{{%- endif -%}}{question}\
         {{%- else -%}}{answer}{{{{- eos_token -}}}}{{%- endif -%}}{{%- endfor -%}}"
    )
}

/// Prints words, the value of an expression, and words; what is empty is left out.
fn printed(before: &str, expression: &str, after: &str) -> String {
    let words = |words: &str| if words.is_empty() { String::new() } else { literal(words) };
    let values = [words(before), expression.to_owned(), words(after)].into_iter().filter(|value| !value.is_empty());
    format!("{{{{- {} -}}}}", values.collect::<Vec<_>>().join(" ~ "))
}

/// One question and one answer.
fn single(format: Format, tokenizer: &TextTokenizer) -> String {
    let bos = bos(tokenizer);
    let only_if = |condition: &str, source: &str| format!("{{%- if {condition} -%}}{source}{{%- endif -%}}");
    let prompt = match format {
        Format::Article => {
            let instruction = only_if("words(shown)", "{{- 'Instruction: ' ~ words(shown) ~ '\\n' -}}");
            format!("{bos}{instruction}{{{{- 'Input: ' ~ media(shown) ~ '\\nResponse:' -}}}}")
        }
        Format::Instructblip => {
            let begin = begin_before("words(shown)", &bos);
            format!("{{{{- media(shown) -}}}}{begin}{{{{- words(shown) -}}}}")
        }
        _ => {
            let begin = begin_before("not media(shown) and (words(shown) or messages | length == 2)", &bos);
            let words = only_if("messages | length == 1", "{{- words(shown) -}}");
            format!("{begin}{{{{- media(shown) -}}}}{words}")
        }
    };
    let blank = if format == Format::Plain { "" } else { " " };
    let answer = format!("{{{{- '{blank}' ~ words(messages[1]['content']) ~ eos_token -}}}}");
    let refusal = only_if(
        "not messages or messages | length > 2 or messages[0]['role'] != 'user' \
         or (messages | length == 2 and messages[1]['role'] != 'assistant')",
        "{{- raise_exception('one user turn is taken, and one answer') -}}",
    );
    [
        medium_macro(false, tokenizer).as_str(),
        "{%- macro media(content) -%}{%- if content is not string -%}\
         {%- for part in content if part['type'] != 'text' -%}{{- medium(part) -}}{%- endfor -%}{%- endif -%}{%- endmacro -%}",
        "{%- macro words(content) -%}{%- if content is string -%}{{- content | trim -}}{%- else -%}\
         {%- set said = namespace(lines=[]) -%}\
         {%- for part in content if part['type'] == 'text' and part['text'] | trim -%}\
         {%- set said.lines = said.lines + [part['text'] | trim] -%}{%- endfor -%}\
         {{- said.lines | join('\\n') -}}{%- endif -%}{%- endmacro -%}",
        &refusal,
        "{%- set shown = messages[0]['content'] -%}",
        &prompt,
        &only_if("messages | length == 2", &answer),
    ]
    .concat()
}

/// The beginning of a sequence that words follow at once only where `condition` holds.
fn begin_before(condition: &str, bos: &str) -> String {
    match bos.strip_suffix(" ~ ' ' -}}") {
        Some(alone) => format!("{alone} ~ (' ' if {condition} else '') -}}}}"),
        None => bos.to_owned(),
    }
}
