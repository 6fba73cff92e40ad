//! `mmtrain generate`

mod said;
pub(crate) mod stats;

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use mmtrain_data::Preparer;
use mmtrain_generate::{GenerateOptions, Generated, Location, Prompt, SamplingConfig, generate, read_messages};
use mmtrain_media::MediaLayout;
use mmtrain_score::PlacedBoxes;
use mmtrain_text::MediaKind;
use serde_json::{Value, json};

use self::said::Said;
use self::stats::{Meter, Stats};
use super::{Context, note, print_json};
use crate::boxes::{self, Picture};
use crate::cli::{AnswerArgs, GenerateArgs};
use crate::fail::Refusal;
use crate::model_dir::{self, LoadedModel};
use crate::shown::{self, Sources};

/// Runs the command. The answer goes to stdout, as it is made; several stand there behind one another once all are made.
pub(crate) fn run(context: &Context, args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    args.draw.as_deref().map(drawable).transpose()?;
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let preparer = &loaded.preparer;
    let asked = asked(args, preparer)?;
    args.draw.as_deref().map(|out| spare(out, &asked)).transpose()?;
    let (prompts, pictures): (Vec<_>, Vec<_>) = asked.into_iter().map(|asked| (asked.prompt, asked.picture)).unzip();
    let pictures = decoded(args, &pictures)?;
    let options = options(&args.how, preparer)?;
    let mut said = Said::new(preparer, args, prompts.len());
    let mut meter = Meter::start(prompts.iter().map(|prompt| prompt.input_ids.len()).sum());
    let hear = &mut |number: usize, token| {
        meter.heard();
        said.hear(number, token)
    };
    let answers = generate(&loaded.model, &prompts, &options, hear)?;
    let texts = said.end()?;
    let stats = args.stats.then(|| meter.end(&loaded.model, &prompts, &answers));
    let placed = placed(&loaded, &pictures, &answers);
    draw(args, pictures, &placed)?;
    if args.json {
        print_json(&report(args, &texts, &answers, &placed, stats)?)?;
    } else {
        let shown = placed.iter().flatten().filter(|_| args.boxes);
        shown.into_iter().try_for_each(|placed| print_json(&boxes::as_json(placed)))?;
        if let Some(stats) = stats {
            note(&stats.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The boxes of each answer about a picture.
fn placed(loaded: &LoadedModel, pictures: &[Option<Picture>], answers: &[Generated]) -> Vec<Option<PlacedBoxes>> {
    let unit = boxes::unit(&loaded.model.config, &loaded.preparer);
    let of_answer = |(picture, answer): (&Option<Picture>, &Generated)| {
        // Boxes may stand between special tokens.
        let text = loaded.preparer.tokenizer.spell(&answer.tokens);
        picture.as_ref().map(|picture| picture.boxes_of(&text, unit))
    };
    pictures.iter().zip(answers).map(of_answer).collect()
}

/// Refuses, before anything is computed, a place where no picture can be written.
fn drawable(out: &Path) -> Result<(), Refusal> {
    if out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        return Err(Refusal::usage(format!("`--draw {}`", out.display()), "a PNG is written: `--draw OUT.png`"));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(Refusal::missing(
            format!("`{}` is no directory", folder.display()),
            "`--draw` writes into one that is there",
        )),
        None => Ok(()),
    }
}

/// Writes the first picture with the boxes of the first answer, where that is wanted.
fn draw(args: &GenerateArgs, pictures: Vec<Option<Picture>>, placed: &[Option<PlacedBoxes>]) -> anyhow::Result<()> {
    let first = pictures.into_iter().next().flatten();
    match (&args.draw, first, placed.first()) {
        (Some(out), Some(picture), Some(Some(placed))) => picture.draw(placed, out),
        _ => Ok(()),
    }
}

fn report(
    args: &GenerateArgs,
    texts: &[String],
    answers: &[Generated],
    placed: &[Option<PlacedBoxes>],
    stats: Option<Stats>,
) -> anyhow::Result<Value> {
    let of_answer = |((text, answer), placed): ((&String, &Generated), &Option<PlacedBoxes>)| {
        let said = json!({ "text": text.trim(), "tokens": answer.tokens.len(), "finished": answer.finished });
        match placed.as_ref().filter(|_| args.boxes) {
            Some(placed) => merged(said, boxes::as_json(placed)),
            None => said,
        }
    };
    let mut all = texts.iter().zip(answers).zip(placed).map(of_answer).collect::<Vec<_>>();
    let said = if all.len() == 1 { all.remove(0) } else { json!({ "answers": all }) };
    match stats {
        Some(stats) => Ok(merged(said, json!({ "stats": serde_json::to_value(stats)? }))),
        None => Ok(said),
    }
}

/// How the command line wants answers, which end where the template's do.
pub(crate) fn options(how: &AnswerArgs, preparer: &Preparer) -> anyhow::Result<GenerateOptions> {
    let sampling = SamplingConfig {
        temperature: how.temperature,
        top_k: how.top_k,
        top_p: how.top_p,
        min_p: how.min_p,
        repetition_penalty: how.repetition_penalty,
        seed: how.seed,
    };
    sampling.check()?;
    let stop_ids = preparer.template.stop_ids(&preparer.tokenizer);
    Ok(GenerateOptions { max_new_tokens: how.max_new_tokens, sampling, stop_ids })
}

/// Refuses a place where something lies that is shown, under whichever name.
fn spare(out: &Path, asked: &[Asking]) -> Result<(), Refusal> {
    let Ok(there) = out.metadata().map(|found| (found.dev(), found.ino())) else { return Ok(()) };
    let is_there = |file: &PathBuf| file.metadata().is_ok_and(|found| (found.dev(), found.ino()) == there);
    if asked.iter().flat_map(|asking| &asking.files).any(is_there) {
        let hint = "what is shown would be lost: name another file";
        return Err(Refusal::usage(format!("`--draw {}`", out.display()), hint));
    }
    Ok(())
}

/// What a model is asked.
struct Asking {
    prompt: Prompt,
    /// Files that are shown.
    files: Vec<PathBuf>,
    /// The bytes of the first picture, and what became of it; where they are wanted.
    picture: Option<(Vec<u8>, MediaLayout)>,
}

fn asked(args: &GenerateArgs, preparer: &Preparer) -> anyhow::Result<Vec<Asking>> {
    if let Some(file) = &args.messages {
        let sources = Sources { files: true, hosts: args.allow_remote.clone() };
        return of_messages(file, &sources, preparer, args).with_context(|| format!("`{}`", file.display()));
    }
    let kinds = [(&args.image, MediaKind::Image), (&args.video, MediaKind::Video), (&args.audio, MediaKind::Audio)];
    let files = kinds.into_iter().flat_map(|(files, kind)| files.iter().map(move |file| (kind, file)));
    let media = files.map(|(kind, file)| shown::of_file(preparer, kind, file)).collect::<anyhow::Result<Vec<_>>>()?;
    let first = args.image.first().filter(|_| wants_boxes(args));
    let picture = first.map(|file| anyhow::Ok((fs_err::read(file)?, media[0].input.layout.clone()))).transpose()?;
    let nothing = [String::new()];
    let asked = if args.prompt.is_empty() { &nothing[..] } else { &args.prompt };
    let asking = |text: &String| {
        let files = [&args.image, &args.video, &args.audio].into_iter().flatten().cloned().collect();
        Ok(Asking { prompt: Prompt::of_user(preparer, text, &media)?, files, picture: picture.clone() })
    };
    asked.iter().map(asking).collect()
}

fn wants_boxes(args: &GenerateArgs) -> bool {
    args.boxes || args.draw.is_some()
}

/// One conversation, or several.
fn of_messages(
    file: &Path,
    sources: &Sources,
    preparer: &Preparer,
    args: &GenerateArgs,
) -> anyhow::Result<Vec<Asking>> {
    let missing = |error: std::io::Error| Refusal::missing(error.to_string(), "`--messages` takes a JSON file");
    let text = fs_err::read_to_string(file).map_err(missing)?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Refusal::usage(format!("no JSON: {error}"), "`--messages` takes a JSON list of messages"))?;
    let conversations = match &json {
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_array) => list.as_slice(),
        other => std::slice::from_ref(other),
    };
    let asking = conversations.iter().map(|messages| {
        let asked = read_messages(messages)?;
        let media = shown::media(sources, preparer, &asked.media)?;
        let first = asked.media.iter().position(|medium| medium.kind == MediaKind::Image).filter(|_| wants_boxes(args));
        let picture = first.map(|at| {
            let bytes = shown::bytes_of(sources, preparer, &asked.media[at])?;
            anyhow::Ok((bytes, media[at].input.layout.clone()))
        });
        let places = asked.media.iter().flat_map(|medium| &medium.places);
        let files = places.filter_map(|place| match place {
            Location::File(path) => Some(path.clone()),
            Location::Data(_) | Location::Remote(_) => None,
        });
        Ok(Asking {
            prompt: Prompt::of_conversation(preparer, &asked.conversation, &media)?,
            files: files.collect(),
            picture: picture.transpose()?,
        })
    });
    asking.collect()
}

/// The pictures of which answers speak, where boxes are wanted.
fn decoded(args: &GenerateArgs, pictures: &[Option<(Vec<u8>, MediaLayout)>]) -> anyhow::Result<Vec<Option<Picture>>> {
    if wants_boxes(args) && pictures.first().is_some_and(Option::is_none) {
        let hint = "show one with `--image`, or in the first conversation of `--messages`";
        return Err(Refusal::usage("boxes are those of a picture, and none is shown", hint).into());
    }
    let picture = |of_answer: &Option<(Vec<u8>, MediaLayout)>| {
        of_answer.as_ref().map(|(bytes, layout)| Picture::new(bytes, layout)).transpose()
    };
    pictures.iter().map(picture).collect()
}

/// Two objects as one.
fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

/// Goes on hearing, or does not.
fn unless(ended: bool) -> ControlFlow<()> {
    if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
