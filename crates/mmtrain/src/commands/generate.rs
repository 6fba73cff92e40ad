//! `mmtrain generate`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_data::{MediaContent, Preparer, RawMedium};
use mmtrain_generate::{GenerateOptions, Generated, Prompt, SamplingConfig, generate};
use mmtrain_media::MediaValues;
use mmtrain_text::MediaKind;
use serde_json::json;

use super::{Context, print_json};
use crate::cli::GenerateArgs;
use crate::fail::Refusal;
use crate::model_dir;

/// Runs the command. The answer goes to stdout, as it is made.
pub(crate) fn run(context: &Context, args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let preparer = &loaded.preparer;
    let media = media(args, preparer)?;
    let (tokenizer, template) = (&preparer.tokenizer, &preparer.template);
    let prompt = Prompt::render(tokenizer, template, &args.prompt, preparer.media_tokens, &media)?;
    let prompt = match &preparer.instruction {
        Some(instruction) => prompt.asking(instruction, &args.prompt)?,
        None => prompt,
    };
    let sampling =
        SamplingConfig { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p, seed: args.seed };
    let stop_ids = template.stop_ids(tokenizer)?;
    let options = GenerateOptions { max_new_tokens: args.max_new_tokens, sampling, stop_ids };
    let mut printer = Printer { preparer, tokens: Vec::new(), printed: 0, quiet: args.json };
    let answers = generate(&loaded.model, &[prompt], &options, &mut |_, token| printer.push(token))?;
    let Generated { tokens, finished } = answers.into_iter().next().unwrap_or_default();
    let text = preparer.tokenizer.decode(&tokens)?;
    if args.json {
        print_json(&json!({ "text": text.trim(), "tokens": tokens.len(), "finished": finished }))?;
    } else {
        printer.end(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The media of the command line: pictures, then clips, then sounds.
fn media(args: &GenerateArgs, preparer: &Preparer) -> anyhow::Result<Vec<MediaValues>> {
    let kinds = [
        (&args.image, MediaKind::Image, "`--image` takes a JPEG, PNG, WebP, GIF or BMP file"),
        (&args.video, MediaKind::Video, "`--video` takes a file that ffmpeg reads"),
        (&args.audio, MediaKind::Audio, "`--audio` takes a WAV, FLAC, MP3 or Ogg file"),
    ];
    let media = kinds.into_iter().flat_map(|(files, kind, hint)| files.iter().map(move |file| (file, kind, hint)));
    media.map(|(file, kind, hint)| medium(file, kind, hint, preparer)).collect()
}

fn medium(file: &Path, kind: MediaKind, hint: &str, preparer: &Preparer) -> anyhow::Result<MediaValues> {
    fs::metadata(file).map_err(|error| Refusal::missing(error.to_string(), hint))?;
    let input = preparer.input(&RawMedium { kind, content: MediaContent::File(file.to_owned()) });
    input.with_context(|| format!("`{}`", file.display()))
}

/// Writes what is certain of a growing answer: a character may need several tokens.
struct Printer<'a> {
    preparer: &'a Preparer,
    tokens: Vec<u32>,
    printed: usize,
    quiet: bool,
}

impl Printer<'_> {
    fn push(&mut self, token: u32) {
        self.tokens.push(token);
        let Ok(text) = self.preparer.tokenizer.decode(&self.tokens) else { return };
        if !self.quiet && !text.ends_with('\u{fffd}') {
            self.write(&text);
        }
    }

    fn write(&mut self, text: &str) {
        let Some(new) = text.get(self.printed..) else { return };
        let new = if self.printed == 0 { new.trim_start() } else { new };
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "{new}").and_then(|()| out.flush());
        self.printed = text.len();
    }

    fn end(&mut self, text: &str) -> anyhow::Result<()> {
        self.write(text);
        super::print("")
    }
}
