//! What a model says, as it says it.

use std::io::Write as _;
use std::ops::ControlFlow;

use mmtrain_data::Preparer;
use mmtrain_generate::TextStream;
use mmtrain_text::TextError;

use super::unless;
use crate::cli::GenerateArgs;
use crate::commands::print;
use crate::terminal::printable;

/// The texts of all answers. A single one is printed as it grows, unless JSON is wanted.
pub(super) struct Said<'a> {
    streams: Vec<TextStream<'a>>,
    is_printed: bool,
    is_streamed: bool,
    failed: Option<TextError>,
}

impl<'a> Said<'a> {
    pub(super) fn new(preparer: &'a Preparer, args: &GenerateArgs, answers: usize) -> Self {
        let stream = || {
            let stream = TextStream::new(&preparer.tokenizer, args.how.stop.clone());
            if args.special { stream.spelled() } else { stream }
        };
        let streams = (0..answers).map(|_| stream()).collect();
        Self { streams, is_printed: !args.json, is_streamed: !args.json && answers == 1, failed: None }
    }

    /// Takes a token of an answer, and says whether it has ended with it.
    pub(super) fn hear(&mut self, number: usize, token: u32) -> ControlFlow<()> {
        match self.streams[number].push(token) {
            Ok(new) => self.show(&new),
            Err(error) => self.failed = Some(error),
        }
        unless(self.failed.is_some() || self.streams[number].is_stopped())
    }

    /// All texts. Whatever is not printed yet is printed.
    pub(super) fn end(mut self) -> anyhow::Result<Vec<String>> {
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        let mut texts = Vec::new();
        for number in 0..self.streams.len() {
            let rest = self.streams[number].end()?;
            self.show(&rest);
            texts.push(self.streams[number].text().to_owned());
        }
        if self.is_streamed {
            print("")?;
        } else if self.is_printed {
            let numbered = texts.iter().enumerate().map(|(number, text)| format!("{}: {}\n", number + 1, text.trim()));
            print(&numbered.collect::<String>())?;
        }
        Ok(texts)
    }

    fn show(&self, new: &str) {
        if self.is_streamed {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "{}", printable(new)).and_then(|()| out.flush());
        }
    }
}
