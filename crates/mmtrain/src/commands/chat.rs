//! `mmtrain chat`

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mmtrain_data::{Medium, Preparer};
use mmtrain_generate::{GenerateOptions, Prompt, Session, TextStream};
use mmtrain_model::Vlm;
use mmtrain_text::{Conversation, MediaKind, MediaRef, Part, Role, Turn};
use serde_json::{Value, json};

use super::generate::options;
use super::{Context, note, print};
use crate::cli::ChatArgs;
use crate::fail::Refusal;
use crate::terminal::printable;
use crate::{fail, model_dir, shown};

const HELP: &str = "/image FILE, /video FILE, /audio FILE   show something with what you say next
/reset                                  forget everything
/save FILE                              write the conversation as JSON messages; with one more question, for `generate --messages`
/stats                                  tokens and memory of the last answer
/quit                                   end (or end of input)";

/// Runs the command: a line of stdin is a turn, or a command that begins with a slash.
pub(crate) fn run(context: &Context, args: &ChatArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let options = options(&args.how, &loaded.preparer)?;
    let mut chat = Chat::new(&loaded.model, &loaded.preparer, args, options);
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal && !context.quiet {
        note("/help says what else can be said");
    }
    let mut lines = std::io::stdin().lock().split(b'\n');
    loop {
        if is_terminal {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "> ").and_then(|()| out.flush());
        }
        let line = lines.next().transpose()?;
        if line.is_none_or(|line| chat.bytes(&line).is_break()) {
            // Whoever types has seen it; a script that pipes its lines has not.
            return Ok(chat.failed.filter(|_| !is_terminal).map_or(ExitCode::SUCCESS, ExitCode::from));
        }
    }
}

/// A conversation at the terminal.
struct Chat<'a> {
    preparer: &'a Preparer,
    args: &'a ChatArgs,
    options: GenerateOptions,
    session: Session<'a>,
    conversation: Conversation,
    media: Vec<Medium>,
    files: Vec<PathBuf>,
    /// What is shown with what is said next.
    shown: Vec<MediaRef>,
    /// Of the last answer.
    last: String,
    /// Exit code of what went wrong first.
    failed: Option<u8>,
    model: &'a Vlm,
}

impl<'a> Chat<'a> {
    fn new(model: &'a Vlm, preparer: &'a Preparer, args: &'a ChatArgs, options: GenerateOptions) -> Self {
        let mut chat = Self {
            preparer,
            args,
            options,
            session: Session::new(model),
            conversation: Conversation { turns: Vec::new() },
            media: Vec::new(),
            files: Vec::new(),
            shown: Vec::new(),
            last: "nothing was said yet".to_owned(),
            failed: None,
            model,
        };
        chat.reset();
        chat
    }

    fn bytes(&mut self, line: &[u8]) -> ControlFlow<()> {
        match std::str::from_utf8(line) {
            Ok(line) => self.line(line.trim()),
            Err(error) => {
                let hint = "what is said has to be in UTF-8";
                self.refuse(
                    &Refusal::usage(format!("byte {} of the line is no text", error.valid_up_to() + 1), hint).into(),
                )
            }
        }
    }

    /// Says what went wrong; the conversation goes on.
    fn refuse(&mut self, error: &anyhow::Error) -> ControlFlow<()> {
        self.failed.get_or_insert_with(|| fail::exit_code(error));
        note(&format!("error: {error:#}"));
        if let Some(hint) = fail::hint(error) {
            note(&format!("hint: {hint}"));
        }
        ControlFlow::Continue(())
    }

    /// A command or a turn. What goes wrong with it is said, and the conversation goes on without it.
    fn line(&mut self, line: &str) -> ControlFlow<()> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let file = Path::new(rest.trim());
        let done = match word {
            "" => Ok(()),
            "/quit" | "/exit" => return ControlFlow::Break(()),
            "/help" => {
                note(HELP);
                Ok(())
            }
            "/reset" => {
                self.reset();
                Ok(())
            }
            "/stats" => {
                note(&self.last);
                Ok(())
            }
            "/image" | "/video" | "/audio" | "/save" if rest.trim().is_empty() => {
                Err(Refusal::usage(format!("`{word}` without a file"), format!("`{word} FILE`")).into())
            }
            "/image" => self.show(MediaKind::Image, file),
            "/video" => self.show(MediaKind::Video, file),
            "/audio" => self.show(MediaKind::Audio, file),
            "/save" => self.save(file),
            word if word.starts_with('/') => {
                Err(Refusal::usage(format!("no command `{word}`"), "/help lists them").into())
            }
            _ => self.say(line),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.refuse(&error),
        }
    }

    fn reset(&mut self) {
        self.session = Session::new(self.model);
        let orders = self.args.system.iter().map(|system| Turn::said(Role::System, system.as_str()));
        self.conversation = Conversation { turns: orders.collect() };
        self.media.clear();
        self.files.clear();
        self.shown.clear();
    }

    fn show(&mut self, kind: MediaKind, file: &Path) -> anyhow::Result<()> {
        let medium = shown::of_file(self.preparer, kind, file)?;
        self.shown.push(MediaRef { kind, index: self.media.len() });
        self.media.push(medium);
        self.files.push(std::path::absolute(file)?);
        Ok(())
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let (before, shown) = (self.conversation.turns.len(), std::mem::take(&mut self.shown));
        let parts = shown.iter().copied().map(Part::Media).chain([Part::Text(text.to_owned())]).collect();
        self.conversation.turns.push(Turn::new(Role::User, parts));
        match self.answer() {
            Ok(text) => {
                self.conversation.turns.push(Turn::said(Role::Assistant, text));
                Ok(())
            }
            Err(error) => {
                // What was to be shown still is, with what is said instead.
                self.conversation.turns.truncate(before);
                self.shown = shown;
                if !self.shown.is_empty() {
                    note("what was to be shown is shown with what is said next; /reset forgets it");
                }
                Err(error)
            }
        }
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let prompt = Prompt::of_conversation(self.preparer, &self.conversation, &self.media)?;
        let mut stream = TextStream::new(&self.preparer.tokenizer, self.args.how.stop.clone());
        let mut failed = None;
        let mut hear = |token| match stream.push(token) {
            Ok(new) => {
                write_out(&new);
                if stream.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        let said = self.session.answer(&prompt, &self.options, &mut hear)?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        write_out(&stream.end()?);
        print("")?;
        let cache = self.session.cache_bytes() as f64 / f64::from(1 << 20);
        self.last = format!(
            "{} tokens of the prompt, {} of them from the cache; {} tokens of the answer; keys and values {cache:.1} MiB",
            prompt.input_ids.len(),
            self.session.reused(),
            said.tokens.len(),
        );
        Ok(stream.text().trim_end().to_owned())
    }

    fn save(&self, file: &Path) -> anyhow::Result<()> {
        if file.exists() && file.extension().is_none_or(|extension| extension != "json") {
            let hint = "only `.json` files are written over";
            return Err(Refusal::usage(format!("`{}` is there already", file.display()), hint).into());
        }
        let messages = self.conversation.turns.iter().map(|turn| {
            let parts = turn.parts.iter().map(|part| self.written(part)).collect::<Vec<_>>();
            json!({ "role": turn.role.name(), "content": parts })
        });
        let text = serde_json::to_string_pretty(&messages.collect::<Vec<_>>())?;
        Ok(fs_err::write(file, text + "\n")?)
    }

    fn written(&self, part: &Part) -> Value {
        match part {
            Part::Text(text) => json!({ "type": "text", "text": text }),
            Part::Media(medium) => {
                let kind = match medium.kind {
                    MediaKind::Image => "image",
                    MediaKind::Video => "video",
                    MediaKind::Audio => "audio",
                };
                json!({ "type": kind, kind: self.files[medium.index] })
            }
        }
    }
}

fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{}", printable(text)).and_then(|()| out.flush());
}
