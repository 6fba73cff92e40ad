//! `mmtrain data show`

use std::io::IsTerminal;
use std::process::ExitCode;

use mmtrain_data::Feedback;

use super::page;
use super::runs::Run;
use super::shown::{Seen, Shown};
use super::view::View;
use crate::cli::ShowArgs;
use crate::commands::{note, print_exactly, write_output};
use crate::setup;
use crate::terminal::printable;

/// Samples of each source without `-n`.
const SHOWN: usize = 5;

/// Prints samples, or writes a page of them.
pub(super) fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(&args.data)?;
    setup::warn_of_shards(&view.mixture);
    let style = Style::of_stdout();
    let mut shown = Vec::new();
    for source in &view.sources {
        for index in 0..source.len().min(args.data.limit.unwrap_or(SHOWN)) {
            let sample = Shown::of(source.as_ref(), index, &view.preparer);
            match (&args.html, args.data.json) {
                (Some(_), _) => shown.push(sample),
                (None, true) => print_exactly(&sample.to_json().to_string())?,
                (None, false) => print_exactly(&text(&sample, style))?,
            }
        }
    }
    if let Some(path) = &args.html {
        write_output(path, page::page(&shown, &view.preparer).as_bytes())?;
        note(&format!("written: `{}`", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// How learned words are told apart from given ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Learned green, media blue.
    Colour,
    /// Learned in brackets.
    Brackets,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` (no-color.org) asks for none.
    fn of_stdout() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !plain { Self::Colour } else { Self::Brackets }
    }

    fn run(self, run: &Run, seen: &Seen) -> String {
        match (self, run) {
            (Self::Colour, Run::Media { .. }) => format!("\x1b[34m{}\x1b[0m", medium(run, seen)),
            (Self::Brackets, Run::Media { .. }) => medium(run, seen),
            (Self::Colour, Run::Words { text, learned: true }) => format!("\x1b[32m{}\x1b[0m", printable(text)),
            (Self::Brackets, Run::Words { text, learned: true }) => format!("[{}]", printable(text)),
            (_, Run::Words { text, .. }) => printable(text).into_owned(),
        }
    }
}

/// Media as one mark: `<image 0: 640x480, 576 tokens>`.
fn medium(run: &Run, seen: &Seen) -> String {
    let Run::Media { number, tokens } = run else { return String::new() };
    let Some(medium) = seen.media.get(*number) else { return format!("<medium {number}: {tokens} tokens>") };
    let extent = medium.extent();
    let separator = if extent.is_empty() { "" } else { ", " };
    format!("<{} {number}: {extent}{separator}{tokens} tokens>", medium.kind)
}

fn text(shown: &Shown, style: Style) -> String {
    let seen = match &shown.outcome {
        Ok(seen) => seen,
        Err(skip) => {
            return printable(&format!("{}\n  left out: {} ({})\n", shown.name, skip.reason, skip.detail)).into_owned();
        }
    };
    let tokens = seen.encoded.input_ids.len();
    let head = format!("{}  {tokens} tokens, {} learned", printable(&shown.name), seen.encoded.supervised_tokens());
    let body: String = seen.runs.iter().map(|run| style.run(run, seen)).collect();
    let body = body.replace('\n', "\n  ");
    format!("{head}\n  {body}\n{}", feedback(seen))
}

/// The worse answer of a pair, or whether the answer is wanted.
fn feedback(seen: &Seen) -> String {
    match &seen.raw.feedback {
        Some(Feedback::Rejected(worse)) => {
            let answer = worse.turns.last().map(mmtrain_text::Turn::text).unwrap_or_default();
            format!("  rejected: {}\n", printable(&answer).replace('\n', "\n  "))
        }
        Some(Feedback::Wanted(wanted) | Feedback::Judged { wanted, .. }) => format!("  wanted: {wanted}\n"),
        None => String::new(),
    }
}
